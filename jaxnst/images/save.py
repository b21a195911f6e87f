"""Writing of pictures: atomic, with an sRGB profile and the record inside.

PNG and TIFF are written some rows at a time, so that even the largest picture needs
little memory beside itself.
"""

import json
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from PIL import ExifTags, Image as PILImage
from PIL.PngImagePlugin import PngInfo, putchunk

from jaxnst import __version__
from jaxnst._checks import check_count, shown
from jaxnst._types import HostAlpha, HostImage

from .color_profile import srgb_profile
from .files import atomic_write, check_place
from .load import bands_of
from .metadata import EXTENSIONS as EXTENSIONS, TEXT_KEY


_WITH_16_BITS = (".png", ".tif", ".tiff")
_JPEG = (".jpg", ".jpeg")
# Bytes of text that a JPEG holds, in its segment of EXIF.
_MAX_EXIF = 65_000
# Longest sides, in pixels, of the formats that cannot hold every picture.
_LONGEST = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383}
# Values in a picture above which PNG is compressed less, three times as fast, and
# written by rows: a twentieth larger than by Pillow, which copies the picture.
_LARGE = 48_000_000
_FAST, _USUAL = 3, 6
# Bytes of a strip of TIFF, about, and of compressed data in a chunk of PNG.
_STRIP = 2**18
_CHUNK = 2**20
_SOFTWARE = f"jaxnst {__version__}"
# Bytes that a TIFF with offsets of 32 bits holds, with some for what is beside pixels.
_MAX_TIFF = 2**32 - 2**25


def check_format(
    path: str | os.PathLike[str], *, bits: int = 8, quality: int = 95, longest: int = 0
) -> None:
    """Check that the format of an output file is known and holds what it is to hold.

    Args:
        path: output file; only its extension is looked at.
        bits: bits per channel, 8 or 16.
        quality: quality of JPEG and WebP, 1 to 100.
        longest: longest side of the picture, in pixels; 0 if it is not known yet.

    Raises:
        ValueError: if the extension is unknown or cannot hold `bits` per channel or
            a picture so long, or if `quality` is out of range.
    """
    extension = Path(path).suffix.lower()
    if extension not in EXTENSIONS:
        what = f"unknown extension {shown(extension)}" if extension else "no extension"
        raise ValueError(f"output {path}: {what}; known: {', '.join(EXTENSIONS)}")
    if bits not in (8, 16):
        raise ValueError(f"`bits` must be 8 or 16, got {shown(bits)}.")
    check_count("quality", quality, maximum=100)
    if bits == 16 and extension not in _WITH_16_BITS:
        raise ValueError(
            f"output {path}: {extension} cannot hold 16 bits; use .png or .tif"
        )
    if longest > (most := _LONGEST.get(extension, longest)):
        raise ValueError(
            f"output {path}: {extension} cannot hold {shown(longest)} px a side, only "
            f"{most}; use .png or .tif"
        )


def check_output(
    path: str | os.PathLike[str], *, bits: int = 8, quality: int = 95, longest: int = 0
) -> Path:
    """Return `path` if a picture can be written there; called before any work.

    Args:
        path: output file.
        bits: bits per channel, 8 or 16.
        quality: quality of JPEG and WebP, 1 to 100.
        longest: longest side of the picture, in pixels; 0 if it is not known yet.

    Raises:
        TypeError: if the path is neither text nor a path.
        ValueError: if `check_format` raises it.
        IsADirectoryError: if the path is a folder.
        FileNotFoundError: if the folder of the file does not exist.
        OSError: if the folder or the file cannot be written.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"`output` must be text or a path, got {shown(path)}.")
    path = Path(path)
    if path.suffix.lower() in EXTENSIONS or not path.is_dir():
        check_format(path, bits=bits, quality=quality, longest=longest)
    check_place(path)
    return path


def quantize(rgb: HostImage, alpha: HostAlpha | None, bits: int = 8) -> np.ndarray:
    """Return a picture as unsigned integers, alpha as fourth channel."""
    channels = 3 if alpha is None else 4
    pixels = np.empty((*rgb.shape[:2], channels), f"uint{bits}")
    for rows in bands_of(rgb):
        pixels[rows] = _levels(rgb, alpha, rows, bits)
    return pixels


def _levels(
    rgb: HostImage, alpha: HostAlpha | None, rows: slice, bits: int
) -> np.ndarray:
    """Return some rows of a picture as unsigned integers."""
    band = rgb[rows] if alpha is None else np.dstack([rgb[rows], alpha[rows]])
    return np.round(np.clip(band, 0, 1) * (2**bits - 1)).astype(f"uint{bits}")


def to_pil(rgb: HostImage, alpha: HostAlpha | None = None) -> PILImage.Image:
    """Return an 8-bit PIL image, RGB or RGBA, tagged as sRGB.

    Args:
        rgb: picture, [0, 1].
        alpha: opacity, [0, 1], or None.
    """
    height, width = rgb.shape[:2]
    image = PILImage.new("RGB" if alpha is None else "RGBA", (width, height))
    for rows in bands_of(rgb):
        band = PILImage.fromarray(_levels(rgb, alpha, rows, 8))
        image.paste(band, (0, rows.start))
    image.info["icc_profile"] = srgb_profile()
    return image


def save_picture(
    path: str | os.PathLike[str],
    rgb: HostImage,
    alpha: HostAlpha | None = None,
    *,
    record: dict[str, Any] | None = None,
    bits: int = 8,
    quality: int = 95,
) -> Path:
    """Write a picture to a file, all of it or nothing.

    Sides of up to 65,535 px are written; JPEG holds 65,500 and WebP 16,383. A TIFF of
    more than 4 GB before compression is a BigTIFF.

    Args:
        path: output file; the extension chooses the format.
        rgb: picture, [0, 1].
        alpha: opacity, [0, 1], or None; JPEG has none: there the picture is laid on
            white, with a warning.
        record: metadata to keep inside the file, see `read_record`.
        bits: bits per channel, 8, or 16 for PNG and TIFF.
        quality: quality of JPEG and WebP, 1 to 100.

    Returns:
        The path of the file.

    Raises:
        TypeError, ValueError, OSError: if `check_output` raises them.
    """
    longest = max(rgb.shape[:2])
    path = check_output(path, bits=bits, quality=quality, longest=longest)
    text = ""
    if record is not None:
        text = json.dumps({TEXT_KEY: record}, separators=(",", ":"))
    rgb = np.asarray(rgb)
    if path.suffix.lower() in _JPEG and len(text) > _MAX_EXIF:
        warnings.warn(
            f"{path.name}: the settings are too long for a JPEG, which has no record "
            "of them; use .png, .webp or .tif to keep it.",
            stacklevel=2,
        )
        text = ""
    if path.suffix.lower() in _JPEG and alpha is not None:
        warnings.warn(
            f"{path.name}: JPEG has no transparency, so the picture is laid on white; "
            "use .png, .webp or .tif to keep it.",
            stacklevel=2,
        )
        laid = np.empty_like(rgb)
        for rows in bands_of(rgb):
            opacity = alpha[rows, :, None]
            laid[rows] = rgb[rows] * opacity + (1 - opacity)
        rgb, alpha = laid, None
    with atomic_write(path) as beside, beside.open("xb") as stream:
        _write(stream, path.suffix.lower(), rgb, alpha, text, bits, quality)
    return path


def _write(
    stream: BinaryIO,
    extension: str,
    rgb: HostImage,
    alpha: HostAlpha | None,
    text: str,
    bits: int,
    quality: int,
) -> None:
    if extension in (".tif", ".tiff"):
        _write_tiff(stream, rgb, alpha, text, bits)
        return
    if extension == ".png" and (bits == 16 or rgb.size > _LARGE):
        _write_png(stream, rgb, alpha, text, bits)
        return
    options: dict[str, Any]
    if extension == ".png":
        options = {"format": "PNG", "pnginfo": PngInfo()}
        options["pnginfo"].add_text(TEXT_KEY, text)
    else:
        options = {"format": "JPEG", "subsampling": "4:4:4"}
        if extension == ".webp":
            # `exact` keeps colors under transparent pixels; method 6 is the smallest.
            options = {"format": "WEBP", "exact": True, "method": 6}
        options |= {"quality": quality, "exif": PILImage.Exif()}
        options["exif"][ExifTags.Base.ImageDescription] = text
        options["exif"][ExifTags.Base.Software] = _SOFTWARE
    to_pil(rgb, alpha).save(stream, icc_profile=srgb_profile(), **options)


def _write_tiff(
    stream: BinaryIO, rgb: HostImage, alpha: HostAlpha | None, text: str, bits: int
) -> None:
    """Write a TIFF in compressed strips; Pillow writes none of 16-bit colors."""
    height, width, channels = *rgb.shape[:2], 3 if alpha is None else 4
    num_rows = max(1, _STRIP // (width * channels * bits // 8))

    def strips() -> Iterator[bytes]:
        with ThreadPoolExecutor() as pool:
            for rows in bands_of(rgb, multiple=num_rows):
                band = _levels(rgb, alpha, rows, bits)
                tops = range(0, len(band), num_rows)
                pieces = (band[top : top + num_rows].tobytes() for top in tops)
                yield from pool.map(zlib.compress, pieces)

    tifffile.imwrite(
        stream,
        strips(),
        shape=(height, width, channels),
        dtype=f"uint{bits}",
        byteorder="<",
        # By itself only for data that are not compressed.
        bigtiff=height * width * channels * bits // 8 > _MAX_TIFF,
        rowsperstrip=num_rows,
        photometric="rgb",
        extrasamples=None if alpha is None else ["unassalpha"],
        compression="zlib",
        metadata=None,
        description=text or None,
        software=_SOFTWARE,
        iccprofile=srgb_profile(),
    )


def _write_png(
    stream: BinaryIO, rgb: HostImage, alpha: HostAlpha | None, text: str, bits: int
) -> None:
    """Write a PNG by rows; Pillow needs all of it at once, and has no 16-bit colors."""
    height, width = rgb.shape[:2]
    color_type = 2 if alpha is None else 6
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    stream.write(b"\x89PNG\r\n\x1a\n")
    putchunk(stream, b"IHDR", header)
    putchunk(stream, b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile()))
    putchunk(stream, b"tEXt", TEXT_KEY.encode() + b"\0" + text.encode("ascii"))
    level = _FAST if rgb.size > _LARGE else _USUAL
    packer, waiting, above = zlib.compressobj(level), b"", None
    for rows in bands_of(rgb):
        levels = _levels(rgb, alpha, rows, bits).astype(f">u{bits // 8}")
        values = levels.view(np.uint8).reshape(len(levels), -1)
        # Filter 2 ("up") in every row: the difference to the row above, modulo 256.
        filtered = np.empty((len(values), values.shape[1] + 1), np.uint8)
        filtered[:, 0] = 2
        filtered[0, 1:] = values[0] if above is None else values[0] - above
        filtered[1:, 1:] = values[1:] - values[:-1]
        above = values[-1]
        waiting += packer.compress(filtered.data)
        if len(waiting) >= _CHUNK:
            putchunk(stream, b"IDAT", waiting)
            waiting = b""
    putchunk(stream, b"IDAT", waiting + packer.flush())
    putchunk(stream, b"IEND", b"")
