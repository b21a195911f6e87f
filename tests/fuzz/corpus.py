"""The good inputs that the bad ones are made from."""

import contextlib
import functools
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import ExifTags, Image, features


class Corpus:
    """Good pictures, records, sweeps and weights; each is made when first used."""

    def __init__(self, folder: Path):
        self.folder = folder

    @functools.cached_property
    def content(self) -> bytes:
        """A content picture, PNG of 48 x 40 px."""
        return _saved(Image.fromarray(_pixels(1)), "PNG")

    @functools.cached_property
    def style(self) -> bytes:
        """A style picture, PNG of 48 x 40 px."""
        return _saved(Image.fromarray(_pixels(2)), "PNG")

    @functools.cached_property
    def pictures(self) -> dict[str, bytes]:
        """Pictures of all formats and modes, by name."""
        rgb = Image.fromarray(_pixels(3))
        rgba = rgb.convert("RGBA")
        rgba.putalpha(Image.linear_gradient("L").resize(rgb.size))
        gray, palette = rgb.convert("L"), rgb.quantize(16)
        deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
        floats = Image.fromarray(np.asarray(gray, np.float32) / 255)
        rotated = Image.Exif()
        rotated[ExifTags.Base.Orientation] = 6
        profile = {"icc_profile": _profile()}
        found = {
            "rgb.png": _saved(rgb, "PNG", **profile),
            "rgba.png": _saved(rgba, "PNG", exif=rotated),
            "gray.png": _saved(gray, "PNG"),
            "bits.png": _saved(rgb.convert("1"), "PNG"),
            "palette.png": _saved(palette, "PNG", transparency=3),
            "deep.png": _saved(deep, "PNG"),
            "animated.png": _saved(
                rgb, "PNG", save_all=True, append_images=[gray.convert("RGB")]
            ),
            "rgb.jpg": _saved(rgb, "JPEG", exif=rotated, **profile),
            "gray.jpg": _saved(gray, "JPEG", progressive=True),
            "cmyk.jpg": _saved(rgb.convert("CMYK"), "JPEG"),
            "rgb.webp": _saved(rgb, "WEBP", exif=rotated, **profile),
            "rgba.webp": _saved(rgba, "WEBP", lossless=True),
            "animated.webp": _saved(rgb, "WEBP", save_all=True, append_images=[rgba]),
            "rgb.gif": _saved(palette, "GIF", transparency=2),
            "animated.gif": _saved(rgb, "GIF", save_all=True, append_images=[gray]),
            "rgb.bmp": _saved(rgb, "BMP"),
            "palette.bmp": _saved(palette, "BMP"),
            "rgb.ppm": _saved(rgb, "PPM"),
            "gray.ppm": b"P2\n48 40\n255\n" + b"128 " * (48 * 40),
            "rgb.tif": _saved(rgb, "TIFF", compression="tiff_lzw", **profile),
            "rgba.tif": _saved(rgba, "TIFF", compression="tiff_deflate"),
            "bits.tif": _saved(rgb.convert("1"), "TIFF", compression="group4"),
            "jpeg.tif": _saved(rgb, "TIFF", compression="jpeg"),
            "palette.tif": _saved(palette, "TIFF", compression="packbits"),
            "lab.tif": _saved(rgb.convert("LAB"), "TIFF"),
            "deep.tif": _saved(deep, "TIFF"),
            "float.tif": _saved(floats, "TIFF"),
            "color16.tif": _tiff(np.asarray(rgb).astype(np.uint16) * 257),
            "planar.tif": _tiff(np.moveaxis(np.asarray(rgb), -1, 0), "separate"),
        }
        if features.check("avif"):
            found["rgb.avif"] = _saved(rgb, "AVIF")
        if features.check("jpg_2000"):
            found["rgb.jp2"] = _saved(rgb, "JPEG2000")
        return found

    @functools.cached_property
    def record(self) -> dict[str, Any]:
        """The record of a picture, with a trace and everything else there may be."""
        from jaxnst.images import read_record

        pair = ("content.png", "style.png", "--size", "48")
        files = self._made("stylize", *pair, "-o", "out.png")
        place = self.folder / "record.png"
        place.write_bytes(files["out.png"])
        record = read_record(place)
        terms = ("total", "content", "style", "tv", "content/relu4_2", "style/relu1_1")
        record["trace"] = {"step": [1, 2, 3], "size": [48, 48, 48]}
        record["trace"] |= {name: [3.0, 2.0, 1.0] for name in terms}
        record["result"]["strength"] = {"asked": 0.5, "reached": 0.4}
        sizes = {"size": 48, "steps": 3, "evaluations": 3, "stopped": None}
        record["result"]["sizes"] = [sizes | {"is_averaged": False}]
        why = {"size": 48, "step": 2, "reason": "the loss rose", "action": "lower rate"}
        record["recoveries"] = [why]
        record["metrics"] = {"lpips": 0.5, "gram": 0.5}
        record["finish"] = {"grain": 0.3}
        return record

    @functools.cached_property
    def swept(self) -> dict[str, bytes]:
        """The files of a sweep's folder."""
        arguments = ("content.png", "style.png", "--size", "48", "--detail", "0,1")
        return self._made("sweep", *arguments, "-o", "swept")

    def _made(self, *argv: str) -> dict[str, bytes]:
        """Return the files that a command makes, in a folder of its own."""
        from jaxnst.cli.main import main

        place = self.folder / "made"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / "content.png").write_bytes(self.content)
        (place / "style.png").write_bytes(self.style)
        with contextlib.chdir(place):
            assert main([*argv, "--quiet"]) == 0
        return {
            path.relative_to(place).as_posix(): path.read_bytes()
            for path in place.rglob("*")
            if path.is_file() and path.name not in ("content.png", "style.png")
        }

    @functools.cached_property
    def weights(self) -> dict[str, bytes]:
        """Files of weights: parts of VGG-19, by name. None is a whole network."""
        from safetensors.numpy import save

        shapes = {"features.0": (64, 3), "features.2": (64, 64), "features.5": (8, 64)}
        torch = {}
        for name, shape in shapes.items():
            torch[f"{name}.weight"] = np.zeros((*shape, 3, 3), np.float16)
            torch[f"{name}.bias"] = np.zeros(shape[:1], np.float16)
        found = {
            "torch.safetensors": save(torch, {"format": "pt"}),
            "small.safetensors": save({"a": np.ones(3, np.float32)}, {"b": "c"}),
            "empty.safetensors": save({}),
        }
        place = self.folder / "weights.h5"
        for name, write in (("keras.h5", _write_keras), ("odd.h5", _write_odd)):
            write(place)
            found[name] = place.read_bytes()
        found["torch.pth"] = _zipped(
            {"archive/data.pkl": b"\x80\x02}q\x00.", "archive/version": b"3\n"}
        )
        found["code.pth"] = _zipped({"archive/data.pkl": b"cos\nsystem\n(S'true'\ntR."})
        return found


def _pixels(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (5, 6, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC)
    return np.asarray(smooth)


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _profile() -> bytes:
    from jaxnst.images.color_profile import srgb_profile

    return srgb_profile()


def _tiff(array: np.ndarray, planar: str = "contig") -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(
        stream, array, photometric="rgb", planarconfig=planar, byteorder="<"
    )
    return stream.getvalue()


def _write_keras(place: Path) -> None:
    """Write the shapes of VGG-19; no values are stored, so the file is small."""
    import h5py

    widths = {1: (64, 2), 2: (128, 2), 3: (256, 4), 4: (512, 4), 5: (512, 4)}
    before = 3
    with h5py.File(place, "w") as file:
        for block, (width, depth) in widths.items():
            for number in range(1, depth + 1):
                name = f"block{block}_conv{number}"
                file.create_dataset(
                    f"{name}/{name}/kernel:0", (3, 3, before, width), "f4"
                )
                file.create_dataset(f"{name}/{name}/bias:0", (width,), "f4")
                before = width


def _write_odd(place: Path) -> None:
    """Write everything that HDF5 has and a file of weights should not."""
    import h5py

    with h5py.File(place, "w") as file:
        file["a"] = np.ones(3)
        file["text"] = "text"
        file["empty"] = h5py.Empty("f")
        file["soft"] = h5py.SoftLink("/a")
        file["loop"] = h5py.SoftLink("/loop")
        file["far"] = h5py.ExternalLink("canary.h5", "/a")
        file.create_dataset("huge", (2**40,), "f4", chunks=(1024,))
        file.create_group("a b/\x1b[2J")
        file.attrs["x"] = "y" * 100


def _zipped(files: dict[str, bytes]) -> bytes:
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()
