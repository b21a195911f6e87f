"""Reading pictures: every kind of file and array, and everything that is wrong."""

import importlib.util
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from jaxnst.cli.main import main
from jaxnst.images import (
    check_picture,
    fitted_shape,
    load,
    load_picture,
    resize,
    resize_picture,
    save_picture,
)
from jaxnst.images.metadata import lean
from jaxnst.images.resizing import fill_hidden, only_visible


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.bmp", {}),
        ("a.tif", {"compression": "tiff_lzw"}),
        ("a.webp", {"lossless": True}),
        ("a.ppm", {}),
    ],
)
def test_lossless_files_are_read_exactly(tmp_path, pixels, name, options):
    picture = load_picture(saved(tmp_path, Image.fromarray(pixels), name, **options))
    assert picture.alpha is None
    assert picture.rgb.dtype == np.float32
    np.testing.assert_array_equal(picture.rgb, pixels.astype(np.float32) / 255)
    assert picture.name == name


def test_jpeg_is_read(tmp_path, content):
    array = np.round(content * 255).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(array), "a.jpg", quality=98, subsampling=0)
    assert np.abs(load_picture(path).rgb - content).max() < 0.05


def test_first_frame_of_a_gif(tmp_path):
    frames = [Image.new("P", (40, 40), index) for index in (1, 2)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(load_picture(path).rgb[5, 5], [1, 0, 0], atol=0.01)


def test_gray_palette_and_one_bit(tmp_path):
    ramp = np.arange(40 * 40, dtype=np.uint32).reshape(40, 40) % 256
    gray = Image.fromarray(ramp.astype(np.uint8))
    expected = np.repeat(ramp[..., None], 3, axis=-1) / np.float32(255)
    picture = load_picture(saved(tmp_path, gray, "gray.png"))
    np.testing.assert_allclose(picture.rgb, expected, atol=1e-6)
    picture = load_picture(saved(tmp_path, gray.convert("P"), "palette.png"))
    np.testing.assert_allclose(picture.rgb, expected, atol=1e-6)
    bits = Image.fromarray(ramp > 127)
    picture = load_picture(saved(tmp_path, bits, "bits.png"))
    np.testing.assert_array_equal(picture.rgb[..., 0], (ramp > 127).astype(np.float32))


def test_sixteen_bit_gray_keeps_its_depth(tmp_path):
    deep = (np.arange(40 * 40).reshape(40, 40) * 40).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        picture = load_picture(saved(tmp_path, Image.fromarray(deep), name))
        np.testing.assert_allclose(picture.rgb[..., 1] * 65535, deep, atol=0.01)


def test_sixteen_bit_gray_with_a_transparent_level(tmp_path):
    deep = (np.arange(40 * 40).reshape(40, 40) * 32).astype(np.uint16)
    path = saved(tmp_path, Image.fromarray(deep), "a.png", transparency=320)
    picture = load_picture(path)
    np.testing.assert_allclose(picture.rgb[1:, :, 1] * 65535, deep[1:], atol=0.1)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, np.float32(deep != 320))


@pytest.mark.parametrize(
    "mode", ["LA", "La", "PA", "RGBa", "RGBX", "1", "HSV", "YCbCr"]
)
def test_other_modes_of_pillow(pixels, mode):
    image = Image.fromarray(pixels)
    if mode == "La":
        image = image.convert("LA")
    elif mode == "RGBa":
        image = image.convert("RGBA")
    image = image.convert(mode)
    picture = load_picture(image)
    assert (picture.alpha is not None) == (mode in ("LA", "La", "PA", "RGBa"))
    expected = np.asarray(Image.fromarray(pixels).convert("L"), np.float32) / 255
    if mode in ("LA", "La"):
        np.testing.assert_allclose(picture.rgb[..., 0], expected, atol=1 / 255)
    elif mode not in ("1", "PA"):
        np.testing.assert_allclose(picture.rgb, pixels / 255.0, atol=0.05)


def test_damaged_exif_is_ignored_with_a_warning(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(pixels), "a.png", exif=b"Exif\0\0nonsense")
    with pytest.warns(UserWarning, match="EXIF data is damaged"):
        picture = load_picture(path)
    np.testing.assert_allclose(picture.rgb, pixels / 255.0, atol=1e-6)


def test_cmyk(tmp_path):
    image = Image.new("CMYK", (40, 40), (0, 255, 255, 0))
    for name in ("a.tif", "a.jpg"):
        picture = load_picture(saved(tmp_path, image, name))
        assert picture.rgb[0, 0] == pytest.approx([1, 0, 0], abs=0.02)


def test_alpha_is_kept_and_hidden_colors_are_not(tmp_path, pixels):
    alpha = np.full((40, 50), 255, np.uint8)
    alpha[:10] = 0
    alpha[10:12] = 77
    rgba = Image.fromarray(np.dstack([pixels, alpha]))
    for name in ("a.png", "a.tif"):
        picture = load_picture(saved(tmp_path, rgba, name))
        assert picture.alpha is not None
        np.testing.assert_array_equal(np.round(picture.alpha * 255), alpha)
        np.testing.assert_allclose(picture.rgb[10:], pixels[10:] / 255.0, atol=1e-6)
        hidden = picture.rgb[:10].reshape(-1, 3)
        assert np.ptp(hidden, axis=0).max() == 0
        visible = np.average(pixels[10:], axis=(0, 1), weights=alpha[10:])
        np.testing.assert_allclose(hidden[0], visible / 255, atol=1e-5)


def test_palette_with_a_transparent_color(tmp_path):
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (0, 0, 20, 40))
    picture = load_picture(saved(tmp_path, image, "a.png", transparency=0))
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 1
    assert picture.alpha[0, 39] == 0
    np.testing.assert_array_equal(picture.rgb[0, 0], [0, 1, 0])


def test_exif_orientation_is_applied(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view
    path = saved(tmp_path, Image.fromarray(pixels), "a.png", exif=exif)
    np.testing.assert_allclose(
        load_picture(path).rgb, np.rot90(pixels, -1) / 255.0, atol=1e-6
    )
    tiff = saved(tmp_path, Image.fromarray(pixels), "a.tif", exif=exif)
    assert check_picture(path) == check_picture(tiff) == (50, 40)


def swapped_profile():
    """sRGB with the red and blue primaries exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    data = bytearray(profile.tobytes())
    (count,) = struct.unpack(">I", data[128:132])
    places = {
        bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)
    }
    red, blue = places[b"rXYZ"] + 4, places[b"bXYZ"] + 4
    data[red : red + 8], data[blue : blue + 8] = (
        data[blue : blue + 8],
        data[red : red + 8],
    )
    return bytes(data)


@pytest.mark.parametrize("with_alpha", [False, True])
def test_color_profile_is_converted(tmp_path, pixels, with_alpha):
    array = (
        np.dstack([pixels, np.full((40, 50), 200, np.uint8)]) if with_alpha else pixels
    )
    image = Image.fromarray(array)
    path = saved(tmp_path, image, "a.png", icc_profile=swapped_profile())
    picture = load_picture(path)
    np.testing.assert_allclose(picture.rgb, pixels[..., ::-1] / 255.0, atol=0.02)
    assert (picture.alpha is not None) == with_alpha


def darker_profile():
    """sRGB with a curve of 4.4 in place of its own, about twice as steep."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    data = bytearray(profile.tobytes())
    (count,) = struct.unpack(">I", data[128:132])
    for i in range(count):
        name, offset, _ = struct.unpack(">4sII", data[132 + 12 * i : 144 + 12 * i])
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            # A parametric curve of type 0: x to the power of a 16.16 fixed number.
            data[offset : offset + 16] = b"para" + struct.pack(">IHHI", 0, 0, 0, 288358)
    return bytes(data)


def test_color_profiles_of_gray_pictures_are_converted(tmp_path):
    """Gray files may carry profiles made for RGB; 8 and 16 bits come out alike."""
    levels = np.linspace(0, 255, 40 * 40).reshape(40, 40).round().astype(np.uint8)
    options = {"icc_profile": darker_profile()}
    shallow = saved(tmp_path, Image.fromarray(levels), "a.png", **options)
    deep = saved(tmp_path, Image.fromarray(levels * np.uint16(257)), "b.png", **options)
    linear = (levels / 255.0) ** (288358 / 65536)
    expected = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    for path in (shallow, deep):
        found = load_picture(path).rgb
        np.testing.assert_allclose(found[..., 1], expected, atol=0.01)


def test_broken_color_profile_is_left_aside_with_a_warning(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(pixels), "a.png", icc_profile=b"nonsense")
    with pytest.warns(UserWarning, match=r"a\.png.*color profile cannot be used"):
        picture = load_picture(path)
    np.testing.assert_allclose(picture.rgb, pixels / 255.0, atol=1e-6)


def test_kinds_of_sources_agree(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(pixels), "a.png")
    floats = pixels.astype(np.float32) / 255
    data = path.read_bytes()
    opened = path.open("rb")
    sources = [
        path,
        str(path),
        data,
        bytearray(data),
        io.BytesIO(data),
        opened,
        opened,  # read from its start each time
        Image.open(path),
        pixels,
        floats,
        floats.astype(np.float64),
        jnp.asarray(floats),
        jnp.asarray(pixels),
        pixels.astype(np.uint16) * 257,
    ]
    for source in sources:
        np.testing.assert_allclose(load_picture(source).rgb, floats, atol=1e-6)
        assert check_picture(source) == (40, 50)
    assert load_picture(opened).name == "a.png"
    opened.close()
    with pytest.raises(TypeError, match="open it with mode 'rb'"):
        load_picture(io.StringIO("text"))  # type: ignore[arg-type]


def test_arrays_of_other_channels(pixels):
    gray = pixels[..., 0]
    for array in (gray, gray[..., None]):
        picture = load_picture(array)
        np.testing.assert_allclose(picture.rgb[..., 2], gray / 255.0, atol=1e-6)
    rgba = load_picture(np.dstack([pixels, gray])).alpha
    assert rgba is not None
    np.testing.assert_allclose(rgba, gray / 255.0, atol=1e-6)
    big_endian = (pixels.astype(np.uint16) * 257).astype(">u2")
    np.testing.assert_allclose(load_picture(big_endian).rgb, pixels / 255.0, atol=1e-6)
    beyond = np.full((32, 32, 3), 1.0000002, np.float32)
    assert load_picture(beyond).rgb.max() == 1
    half = load_picture(jnp.asarray(pixels / 256.0, jnp.bfloat16))
    np.testing.assert_allclose(half.rgb, pixels / 256.0, atol=0.01)


def test_the_hash_tells_pictures_apart(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(pixels), "a.png")
    import hashlib

    assert load_picture(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    digests = {load_picture(array).sha256 for array in (pixels, pixels + 1, pixels[1:])}
    assert len(digests) == 3


def bad_sources(tmp_path, pixels):
    good = saved(tmp_path, Image.fromarray(pixels), "good.png").read_bytes()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "half.png").write_bytes(good[: len(good) // 2])
    jpeg = saved(tmp_path, Image.fromarray(pixels), "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    floats = pixels.astype(np.float32) / 255
    nan = floats.copy()
    nan[3, 3, 1] = np.nan
    negative = np.where(floats > 0.5, floats, -0.25).astype(np.float32)
    signed = Image.fromarray(np.full((40, 40), -1.0, np.float32))
    signed.save(tmp_path / "signed.tif")
    closed = io.BytesIO()
    closed.close()
    return {
        "no such file": (
            tmp_path / "none.png",
            FileNotFoundError,
            r"no such file.*none\.png",
        ),
        "folder": (tmp_path, IsADirectoryError, "is a folder"),
        "long name": (tmp_path / ("9" * 5000), ValueError, "999.*may have 255 bytes"),
        "closed file": (closed, ValueError, "cannot be read: .*closed file"),
        "text": (
            tmp_path / "text.png",
            ValueError,
            "is not a picture that can be read",
        ),
        "empty": (tmp_path / "empty.jpg", ValueError, "is not a picture"),
        "half png": (tmp_path / "half.png", ValueError, "damaged or truncated"),
        "half jpeg": (tmp_path / "half.jpg", ValueError, "damaged or truncated"),
        "small": (pixels[:31], ValueError, "50 x 31 px; it must be at least 32"),
        "long": (np.zeros((32, 330, 3)), ValueError, "more than 10 times"),
        "nan": (nan, ValueError, "NaN or infinite"),
        "bytes as floats": (
            floats * 255,
            ValueError,
            r"within \[0, 1\].*divide by 255",
        ),
        "negative": (negative, ValueError, r"got -0.25.*clip it"),
        "signed tiff": (tmp_path / "signed.tif", ValueError, "outside 0 to 1"),
        "batch": (floats[None], ValueError, r"no batch axis, got \(1, 40, 50, 3\)"),
        "rank": (floats[0, 0], ValueError, r"got \(3,\)"),
        "channels": (floats[..., :2], ValueError, r"got \(40, 50, 2\)"),
        "integers": (pixels.astype(np.int64), TypeError, "got int64"),
        "flags": (pixels > 3, TypeError, "got bool"),
        "number": (
            3,
            TypeError,
            "a path, a PIL image, an array, bytes or a binary file, got int",
        ),
        "list": ([[1, 2]], TypeError, "got list"),
    }


BAD = [
    "no such file",
    "folder",
    "long name",
    "closed file",
    "text",
    "empty",
    "half png",
    "half jpeg",
    "small",
    "long",
    "nan",
    "bytes as floats",
    "negative",
    "signed tiff",
    "batch",
    "rank",
    "channels",
    "integers",
    "flags",
    "number",
    "list",
]


@pytest.mark.parametrize("kind", BAD)
def test_bad_pictures_are_named(tmp_path, pixels, kind, as_installed):
    source, error, message = bad_sources(tmp_path, pixels)[kind]
    with pytest.raises(error, match=message) as caught:
        load_picture(source, argument="content")
    assert "`content`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("1", (3000, 3000)), "a.png")
    for limit in (
        8_000_000,
        4_000_000,
    ):  # Pillow warns above it, and raises above twice
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=r"more than \d megapixels"):
            load_picture(path)


def test_damaged_files_never_raise_anything_else(tmp_path, rng):
    """Flip bytes at random in small files of every format."""
    image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    for extension in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"):
        stream = io.BytesIO()
        image.save(stream, extension)
        good = np.frombuffer(stream.getvalue(), np.uint8)
        for _ in range(60):
            data = good.copy()
            places = rng.integers(0, len(data), rng.integers(1, 20))
            data[places] = rng.integers(0, 256, len(places))
            path = tmp_path / "damaged"
            path.write_bytes(data.tobytes()[: rng.integers(1, len(data) + 1)])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    picture = load_picture(path)
                except ValueError as error:
                    assert "\n" not in str(error)  # noqa: PT017
                else:
                    assert np.all(np.isfinite(picture.rgb))


def test_fitted_shape():
    assert fitted_shape((427, 640, 3), 512) == (342, 512)
    assert fitted_shape((640, 427), 512) == (512, 342)
    assert fitted_shape((100, 100), 300) == (300, 300)


def test_resizing_is_antialiased_and_in_range(rng):
    """A fine checkerboard turns gray, not black or white; edges do not overshoot."""
    checkerboard = (np.indices((128, 128)).sum(0) % 2).astype(np.float32)
    small = resize(np.repeat(checkerboard[..., None], 3, -1), (32, 32))
    np.testing.assert_allclose(small[4:-4, 4:-4], 0.5, atol=0.02)
    steps = np.zeros((32, 32, 3), np.float32)
    steps[:, 16:] = 1
    large = resize(steps, (80, 100))
    assert large.shape == (80, 100, 3)
    assert large.min() == 0
    assert large.max() == 1
    assert large.dtype == np.float32
    flat = resize(np.full((40, 50, 3), 0.3, np.float32), (77, 33))
    np.testing.assert_allclose(flat, 0.3, rtol=1e-5)


def test_resized_picture_takes_its_alpha_along(pixels):
    picture = load_picture(np.dstack([pixels, pixels[..., 0]]))
    resized = resize_picture(picture, 25)
    assert resized.rgb.shape == (20, 25, 3)
    assert resized.alpha is not None
    assert resized.alpha.shape == (20, 25)
    same = resize_picture(picture, 50)
    assert same.alpha is picture.alpha


def test_a_header_is_checked_without_the_rest(tmp_path, pixels):
    """All that is wrong with it is said as in loading; what comes later is not seen."""
    path = saved(tmp_path, Image.fromarray(pixels), "a.png")
    assert check_picture(path) == (40, 50)
    assert check_picture(pixels) == (40, 50)
    path.write_bytes(path.read_bytes()[:100])
    assert check_picture(path) == (40, 50)
    with pytest.raises(ValueError, match="damaged or truncated"):
        load_picture(path)
    small = saved(tmp_path, Image.new("L", (31, 40)), "small.png")
    long = saved(tmp_path, Image.new("L", (500, 40)), "long.png")
    text = tmp_path / "text.png"
    text.write_text("no picture")
    for bad in (small, long, text, tmp_path, tmp_path / "none.png"):
        with pytest.raises((ValueError, OSError)) as found:
            check_picture(bad, argument="style")
        with pytest.raises(found.type) as expected:
            load_picture(bad, argument="style")
        assert str(found.value) == str(expected.value)


def test_a_header_that_promises_too_much_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("L", (100, 100)), "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    with pytest.raises(ValueError, match="has more than 0 megapixels"):
        check_picture(path)


def test_too_little_memory_is_no_damage(tmp_path, pixels, monkeypatch):
    path = saved(tmp_path, Image.fromarray(pixels), "a.png")

    def run_out(*_):
        raise MemoryError("Unable to allocate 3 GiB")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", run_out)
    with Image.open(path) as opened, pytest.raises(MemoryError):
        load_picture(opened)
    with pytest.raises(MemoryError, match=r"a\.png\) needs more memory to be read"):
        load_picture(path)


def test_tiffs_read_side_by_side_leave_standard_error_as_it_is(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(np.tile(pixels, (8, 8, 1))), "a.tif")
    before = os.fstat(2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(load_picture, [path] * 32))
    assert os.path.samestat(before, os.fstat(2))


def test_tiff_is_read_without_a_folder_for_temporary_files(
    tmp_path, pixels, monkeypatch
):
    path = saved(tmp_path, Image.fromarray(pixels), "a.tif")

    def fail():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    np.testing.assert_array_equal(np.round(load_picture(path).rgb * 255), pixels)


@pytest.fixture
def low_limit(monkeypatch):
    """Pillow's own limit as if it were 0.6 megapixels, and that of files 3 MB."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600_000)
    monkeypatch.setattr(load, "_USUAL_PIXELS", 600_000)
    monkeypatch.setattr(load, "MAX_FILE", 3_000_000)


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "webp", "bmp"])
def test_large_files_are_read_where_the_user_names_them(
    tmp_path, low_limit, pixels, extension
):
    whole = np.tile(pixels, (26, 26, 1))
    path = saved(tmp_path, Image.fromarray(whole), f"a.{extension}")
    picture = load_picture(path)
    assert check_picture(path) == picture.rgb.shape[:2] == (1040, 1300)
    if extension in ("png", "tif", "bmp"):
        np.testing.assert_array_equal(np.round(picture.rgb * 255), whole)
    if extension == "tif":
        save_picture(path, picture.rgb)  # in compressed strips
        np.testing.assert_array_equal(load_picture(path).rgb, picture.rgb)
    load_picture(whole)  # it is in memory already
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        if extension == "jpg":
            with pytest.warns(UserWarning, match="so it is read at 650 x 520 px"):
                load_picture(source, is_named=False)
            continue
        with pytest.raises(ValueError, match=r"more than (0 megapixels|0\.0.* GiB)"):
            load_picture(source, is_named=False)
        with pytest.raises(ValueError, match=r"more than (0 megapixels|0\.0.* GiB)"):
            check_picture(source, is_named=False)


def test_a_limit_of_the_users_own_holds_for_all(tmp_path, pixels):
    """Also where it was set before jaxnst was imported, as `--max-megapixels` is."""
    assert load._USUAL_PIXELS == Image.MAX_IMAGE_PIXELS
    path = saved(tmp_path, Image.fromarray(np.tile(pixels, (26, 26, 1))), "a.png")
    code = "import sys; from jaxnst.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["finish", str(path), "-o", str(tmp_path / "b.png"), "--levels"]
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--max-megapixels", "1"],
        capture_output=True,
        text=True,
    )
    assert "1300 x 1040 px, has more than 1 megapixels" in found.stderr


def test_no_picture_is_read_beyond_memory_and_all_limits(
    tmp_path, low_limit, pixels, monkeypatch
):
    image = Image.fromarray(np.tile(pixels, (26, 26, 1)))
    png, jpg, bmp = (
        saved(tmp_path, image, f"a.{end}") for end in ("png", "jpg", "bmp")
    )
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "30M")
    for read_fn in (load_picture, check_picture):
        with pytest.raises(ValueError, match=r"1300 x 1040 px, needs 0.0 GB of memory"):
            read_fn(png)
    with pytest.warns(UserWarning, match=r"needs 0.0 GB of memory.*, so it is read at"):
        assert load_picture(jpg).rgb.shape == (520, 650, 3)
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "5M")
    with pytest.raises(ValueError, match=r"a file of more than 0.00279 GiB"):
        check_picture(bmp)
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "much")
    with pytest.raises(ValueError, match=r"^`JAXNST_MEMORY_LIMIT` must be a size"):
        check_picture(png)
    monkeypatch.delenv("JAXNST_MEMORY_LIMIT")
    monkeypatch.setattr(load, "MAX_PIXELS", 1_000_000)
    for limit in (600_000, None, 10**9):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match="or 65535 px a side; save it smaller"):
            load_picture(png)


@pytest.mark.parametrize("kind", ["rgb", "rgba", "gray16", "rgb16"])
def test_large_pictures_are_reduced_as_they_are_read(low_limit, tmp_path, rng, kind):
    """By the mean of squares, in which hidden pixels do not count."""
    shape = (801, 1283, {"rgb": 3, "rgba": 4}.get(kind, 3))
    dtype = np.uint16 if kind.endswith("16") else np.uint8
    levels = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    path = tmp_path / "a.png"
    if kind == "gray16":
        levels[:] = levels[..., :1]
        Image.fromarray(levels[..., 0]).save(path)
    elif kind == "rgb16":
        pytest.importorskip("imagecodecs")
        path.write_bytes(deep_file(levels))
    else:
        Image.fromarray(levels).save(path)
    picture = load_picture(path, size=64)
    assert picture.rgb.shape == (81, 129, 3)
    values = levels / np.iinfo(dtype).max
    weight = values[..., 3:] if kind == "rgba" else np.ones_like(values[..., :1])
    for place, block in (
        ((0, 0), (slice(0, 10), slice(0, 10))),
        ((40, 7), (slice(400, 410), slice(70, 80))),
        ((80, 128), (slice(800, 801), slice(1280, 1283))),  # what is left at the border
    ):
        mean = np.average(
            values[block][..., :3].reshape(-1, 3),
            axis=0,
            weights=weight[block].ravel(),
        )
        np.testing.assert_allclose(picture.rgb[place], mean, atol=1e-4)
        if picture.alpha is not None:
            found = picture.alpha[place]
            np.testing.assert_allclose(found, weight[block].mean(), atol=1e-5)
    assert load_picture(path, size=641).rgb.shape == (801, 1283, 3)
    assert load_picture(path).sha256 == picture.sha256


def test_reducing_keeps_no_large_arrays(low_limit, tmp_path):
    import tracemalloc

    path = saved(tmp_path, Image.new("L", (4000, 4000)), "a.png")
    tracemalloc.start()
    assert load_picture(path, size=256).rgb.shape == (572, 572, 3)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100_000_000  # of 192 for all of it as float32


def test_a_painting_reads_no_more_than_it_needs(low_limit, tmp_path, rng):
    """By the same way as the commands, with all that depends on sizes."""
    from jaxnst.config import make_config
    from jaxnst.transfer.inputs import load_inputs

    levels = rng.integers(0, 256, (640, 960, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(levels), "a.png")
    config = make_config(size=96)
    inputs = load_inputs(path, [path], None, config, load_picture)
    assert inputs.shape == (64, 96)
    assert inputs.content.rgb.shape == inputs.styles[0].rgb.shape == (128, 192, 3)


def test_large_pictures_need_few_bytes_beyond_themselves(tmp_path, rng):
    """Twelve bytes a pixel are the result; decoding takes less than 25 more."""
    import tracemalloc

    image = Image.fromarray(rng.integers(0, 256, (1500, 4000, 4), dtype=np.uint8))
    path = saved(tmp_path, image, "a.tif")
    tracemalloc.start()
    picture = load_picture(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # What Pillow allocates, 8 bytes a pixel, is not traced.
    assert most / picture.rgb[..., 0].size < 16 + 25 - 8


@pytest.mark.parametrize("name", ["a.avif", "a.jp2"])
def test_avif_and_jpeg_2000(tmp_path, name, content):
    image = Image.fromarray(np.round(content * 255).astype(np.uint8))
    picture = load_picture(saved(tmp_path, image, name, quality=100))
    assert np.abs(picture.rgb.mean((0, 1)) - content.mean((0, 1))).max() < 0.02


def test_heic_is_read_or_its_package_is_named(tmp_path, content, monkeypatch):
    header = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"pip install 'jaxnst\[heic\]'"):
        load_picture(header)
    monkeypatch.undo()
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.fromarray(np.round(content * 255).astype(np.uint8))
    pillow_heif.from_pillow(image).save(tmp_path / "a.heic", quality=95)
    picture = load_picture(tmp_path / "a.heic")
    assert np.abs(picture.rgb.mean((0, 1)) - content.mean((0, 1))).max() < 0.02
    with pytest.raises(ValueError, match="damaged or truncated"):
        load_picture(header)


def gray_profile():
    """A gray profile: the header of sRGB, its white and its curve."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (count,) = struct.unpack_from(">I", data, 128)
    tags = {
        name: data[place : place + size]
        for name, place, size in struct.iter_unpack(">4sII", data[132:][: 12 * count])
    }
    white, curve = tags[b"wtpt"], tags[b"gTRC"]
    place = 128 + 4 + 2 * 12
    table = struct.pack(">I4sII", 2, b"wtpt", place, len(white))
    table += struct.pack(">4sII", b"kTRC", place + len(white), len(curve))
    body = data[16:128].replace(b"RGB ", b"GRAY", 1) + table + white + curve
    return struct.pack(">I", 16 + len(body)) + data[4:16] + body


def test_a_gray_profile_on_a_color_picture_is_ignored_with_a_warning(tmp_path, pixels):
    options = {"icc_profile": gray_profile()}
    path = saved(tmp_path, Image.fromarray(pixels), "a.png", **options)
    with pytest.warns(UserWarning, match="it is for gray pictures"):
        picture = load_picture(path)
    np.testing.assert_allclose(picture.rgb, pixels / 255.0, atol=1e-6)
    gray = saved(tmp_path, Image.fromarray(pixels[..., 0]), "b.png", **options)
    found = load_picture(gray).rgb
    np.testing.assert_allclose(found[..., 2], pixels[..., 0] / 255.0, atol=0.02)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiffs_that_pillow_cannot_read(tmp_path, rng, channels, dtype, planar):
    levels = (0.1 + 0.9 * rng.random((40, 50, channels))).astype(np.float32)
    array = levels if dtype == np.float32 else np.round(levels * 65535).astype(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif",
        array if planar == "contig" else np.moveaxis(array, -1, 0),
        photometric="minisblack" if channels == 2 else "rgb",
        planarconfig=planar,
        extrasamples=None if channels == 3 else ["unassalpha"],
    )
    picture = load_picture(tmp_path / "a.tif")
    colors = levels[..., :3] if channels > 2 else levels[..., :1].repeat(3, -1)
    np.testing.assert_allclose(picture.rgb, colors, atol=1 / 255)
    if channels != 3:
        assert picture.alpha is not None
        np.testing.assert_allclose(picture.alpha, levels[..., -1], atol=1 / 255)


def test_gray_tiffs_from_white_to_black(tmp_path):
    ramp = np.linspace(0, 65535, 50).astype(np.uint16)[None].repeat(40, 0)
    tifffile.imwrite(tmp_path / "a.tif", ramp, photometric="miniswhite")
    found = load_picture(tmp_path / "a.tif").rgb[..., 0]
    np.testing.assert_allclose(found, 1 - ramp / 65535, atol=1e-3)


DEEP = pytest.mark.skipif(
    importlib.util.find_spec("imagecodecs") is None, reason="needs the extra deep"
)


def deep_file(levels, **options: Any):
    """Return a TIFF of 16 bits, or a PNG where nothing is said about it."""
    if not options:
        channels = levels.shape[-1]
        rows = levels.astype(">u2").tobytes()
        stride = 2 * levels.shape[1] * channels
        lines = [rows[i : i + stride] for i in range(0, len(rows), stride)]
        kind = {2: 4, 3: 2, 4: 6}[channels]
        header = (levels.shape[1], levels.shape[0], 16, kind)
        return png(header, [], b"".join(b"\0" + line for line in lines))
    stream = io.BytesIO()
    options = {"photometric": "rgb"} | options
    tifffile.imwrite(stream, levels, **options)
    return stream.getvalue()


@DEEP
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_tiffs_of_odd_depths(tmp_path, rng, photometric, bits):
    channels = (3,) if photometric == "rgb" else ()
    levels = rng.random((40, 50, *channels), np.float32)
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.round(levels * (2**bits - 1)).astype(np.uint16),
        photometric=photometric,
        bitspersample=bits,
    )
    found = load_picture(tmp_path / "a.tif").rgb
    np.testing.assert_allclose(
        found, levels if channels else levels[..., None].repeat(3, -1), atol=1 / 255
    )


@DEEP
def test_deep_gray_with_opacity_heeds_its_profile(tmp_path):
    ramp = np.linspace(0, 65535, 50).astype(np.uint16)[None].repeat(40, 0)
    full = np.full_like(ramp, 65535)
    pictures = []
    for name, levels in (("a.tif", [ramp]), ("b.tif", [ramp, full])):
        tifffile.imwrite(
            tmp_path / name,
            np.stack(levels, -1)[..., 0] if len(levels) == 1 else np.stack(levels, -1),
            photometric="minisblack",
            extrasamples=["unassalpha"] if len(levels) > 1 else None,
            iccprofile=gray_profile(),
        )
        pictures.append(load_picture(tmp_path / name).rgb)
    np.testing.assert_allclose(pictures[0], pictures[1], atol=2e-3)


@DEEP
@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "lzw"}, {"compression": "zlib", "planarconfig": "separate"}],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_colors_of_16_bits_keep_all_of_them(rng, options, channels):
    levels = rng.integers(1, 2**16, (40, 50, channels), dtype=np.uint16)
    given = levels
    if options.get("planarconfig"):
        given = np.moveaxis(levels, -1, 0).copy()
    if options and channels == 4:
        options = options | {"extrasamples": ["unassalpha"]}
    picture = load_picture(deep_file(given, **options))
    found = np.round(picture.rgb * 65535)
    np.testing.assert_array_equal(found, levels[..., :3])
    assert (picture.alpha is None) == (channels == 3)
    if picture.alpha is not None:
        np.testing.assert_array_equal(np.round(picture.alpha * 65535), levels[..., 3])


@DEEP
def test_deep_colors_are_those_of_their_8_bits(rng):
    """Profile, gamma, orientation and premultiplied alpha, as Pillow has them."""
    levels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"none").replace(b"gXYZ", b"rXYZ")
    swapped = swapped.replace(b"none", b"gXYZ")
    for options in (
        {"iccprofile": swapped},
        *({"extratags": [(274, "H", 1, way, False)]} for way in range(2, 9)),
    ):
        shallow = load_picture(deep_file(levels, **options)).rgb
        deep = load_picture(deep_file(levels.astype(np.uint16) * 257, **options)).rgb
        np.testing.assert_allclose(deep, shallow, atol=1e-4)
    with pytest.warns(UserWarning, match="profile cannot be used"):
        deep = load_picture(
            deep_file(levels.astype(np.uint16) * 257, iccprofile=gray_profile())
        ).rgb
    np.testing.assert_allclose(deep, levels / 255.0, atol=1e-6)
    premultiplied = np.full((40, 50, 4), 20000, np.uint16)
    premultiplied[..., 3] = 40000
    file = deep_file(premultiplied, extrasamples=["assocalpha"])
    np.testing.assert_allclose(load_picture(file).rgb, 0.5, atol=1e-4)
    linear = (b"gAMA", struct.pack(">I", 100000))
    row = b"\0" + (b"\x40\x00" * 3) * 40
    found = load_picture(png((40, 32, 16, 2), [linear], row * 32)).rgb
    np.testing.assert_allclose(found, 0.5371, atol=1e-4)  # of 0.25, by sRGB's formula


@DEEP
@pytest.mark.parametrize("name", ["out.png", "out.tif"])
def test_no_level_is_lost_from_file_to_file(tmp_path, name):
    """A filter of no effect; with the profile that jaxnst writes itself."""
    ramp = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    levels = np.stack([ramp, ramp[::-1], ramp.T], axis=-1)
    (tmp_path / "in.png").write_bytes(deep_file(levels))
    for source, output in (("in.png", name), (name, f"again_{name}")):
        arguments = [str(tmp_path / source), "-o", str(tmp_path / output)]
        assert main(["finish", *arguments, "--contrast", "0", "--bits", "16"]) == 0
    found = np.round(load_picture(tmp_path / f"again_{name}").rgb * 65535)
    np.testing.assert_array_equal(found, levels)


def test_deep_colors_are_read_with_8_bits_where_nothing_reads_more(rng, monkeypatch):
    levels = rng.integers(0, 2**16, (40, 50, 3), dtype=np.uint16)
    monkeypatch.setattr("jaxnst.images.load._HAS_DEEP", False)
    with pytest.warns(UserWarning, match=r"pip install 'jaxnst\[deep\]'"):
        found = load_picture(deep_file(levels)).rgb
    np.testing.assert_allclose(found, levels / 65535.0, atol=1 / 255)


def test_tiffs_that_are_not_read_are_named(tmp_path):
    for array, message in [
        (np.zeros((40, 40, 3), np.int32), "is a TIFF of int32"),
        (np.full((40, 40, 3), 7, np.float32), "outside 0 to 1"),
    ]:
        tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb")
        with pytest.raises(ValueError, match=message):
            load_picture(tmp_path / "a.tif")


def png(header, chunks, rows):
    """Write a PNG chunk by chunk; a chunk's name in lower case has a wrong checksum."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data) ^ (kind == b"badC"))
        for kind, data in parts
    )


def test_harmless_damage_is_read_with_a_warning(tmp_path, content):
    rows = b"".join(b"\0" + bytes(range(40)) for _ in range(40))
    header, text = (40, 40, 8, 0), b"key\0\0" + zlib.compress(bytes(2**21))
    expected = load_picture(png(header, [], rows)).rgb
    for chunk in [(b"badC", b"x"), (b"zTXt", text)]:
        with pytest.warns(UserWarning, match="extra data is damaged or too large"):
            found = load_picture(png(header, [chunk, (b"gAMA", b"\0\0\xb1\x8f")], rows))
        np.testing.assert_array_equal(found.rgb, expected)
    image = Image.fromarray(np.round(content * 255).astype(np.uint8))
    for options in ({}, {"progressive": True}):
        whole = saved(tmp_path, image, "a.jpg", **options).read_bytes()
        with pytest.warns(UserWarning, match="its end is missing"):
            found = load_picture(whole[:-2]).rgb
        np.testing.assert_array_equal(found, load_picture(whole).rgb)
        with pytest.raises(ValueError, match="damaged or truncated"):
            load_picture(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("bits", "kind", "level"), [(1, 0, 1), (2, 0, 2), (4, 0, 3), (8, 0, 7), (16, 2, 9)]
)
def test_a_transparent_color_of_any_depth(bits, kind, level):
    width, channels = 64, 3 if kind == 2 else 1
    values = np.arange(width) % 2 ** min(bits, 8)
    if bits == 16:
        values = values * 256
        level *= 256
    wide = np.repeat(values, channels)
    digits = "".join(f"{value:0{bits}b}" for value in wide)
    row = b"\0" + int(digits, 2).to_bytes(len(digits) // 8)
    data = png(
        (width, 32, bits, kind),
        [(b"tRNS", struct.pack(">H", level) * channels)],
        row * 32,
    )
    alpha = load_picture(data).alpha
    assert alpha is not None
    np.testing.assert_array_equal(alpha[5], np.float32(values != level))


@pytest.mark.parametrize("bits", [8, 16])
def test_the_gamma_of_a_png_is_heeded_where_nothing_else_is_said(bits):
    step = bits // 8
    row = b"\0" + b"".join(int(257 * i).to_bytes(2)[:step] for i in range(256))
    linear = (b"gAMA", struct.pack(">I", 100000))
    header, levels = (256, 32, bits, 0), np.arange(256) / 255
    found = load_picture(png(header, [linear], row * 32)).rgb[3, :, 1]
    expected = np.where(
        levels <= 0.0031308, 12.92 * levels, 1.055 * levels ** (1 / 2.4) - 0.055
    )
    np.testing.assert_allclose(found, expected, atol=0.6 / 255)
    for chunks in ([linear, (b"sRGB", b"\0")], [(b"gAMA", struct.pack(">I", 45455))]):
        found = load_picture(png(header, chunks, row * 32)).rgb[3, :, 1]
        np.testing.assert_allclose(found, levels, atol=1e-5)


def test_thousands_of_metadata_segments_are_left_out(tmp_path, content):
    image = Image.fromarray(np.round(content * 255).astype(np.uint8))
    whole = saved(tmp_path, image, "a.jpg").read_bytes()
    exif = b"Exif\0\0" + bytes(60000)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    data = whole[:2] + 1000 * segment + whole[2:]
    assert len(lean(data)) < len(whole) + 2 * len(segment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the EXIF is nonsense
        np.testing.assert_array_equal(load_picture(data).rgb, load_picture(whole).rgb)


def test_jpegs_above_the_limit_are_decoded_smaller(tmp_path, content, monkeypatch):
    image = Image.fromarray(np.round(content * 255).astype(np.uint8)).resize((401, 323))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9000)
    path = saved(tmp_path, image, "a.jpg")
    with pytest.warns(UserWarning, match=r"401 x 323 px, has more.*101 x 81 px"):
        picture = load_picture(path)
    assert picture.rgb.shape == (81, 101, 3)
    assert np.abs(picture.rgb.mean((0, 1)) - content.mean((0, 1))).max() < 0.02
    path = saved(tmp_path, image, "b.jpg", progressive=True)
    with pytest.raises(ValueError, match="or save it as a baseline JPEG"):
        load_picture(path)


def test_only_the_visible_part_of_a_picture_counts(pixels, rng):
    """Gaps and surroundings are replaced by visible pixels, and nothing else."""
    visible = np.zeros((120, 100), np.uint8)
    visible[40:80, 30:80] = 255
    visible[50:60, 40:60] = 0
    hidden = rng.integers(0, 256, (120, 100, 3), dtype=np.uint8)
    hidden[40:80, 30:80] = pixels // 2
    found = only_visible(load_picture(np.dstack([hidden, visible])))
    assert found.alpha is None
    assert found.rgb.shape == (40, 50, 3)
    is_seen = visible[40:80, 30:80] > 0
    colors = pixels // 2 / np.float32(255)
    np.testing.assert_array_equal(found.rgb[is_seen], colors[is_seen])
    known = {tuple(color) for color in colors[is_seen].round(4)}
    assert {tuple(color) for color in found.rgb[~is_seen].round(4)} <= known
    opaque = load_picture(pixels)
    assert only_visible(opaque) is opaque


def test_hidden_parts_continue_what_is_visible(pixels):
    """No line and no other color begins where a picture begins to be visible."""
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None, :, None]
    rgba = np.broadcast_to(ramp, (40, 64, 4)).copy()
    rgba[..., 3] = np.clip((np.arange(64) - 24) / 16, 0, 1)  # a soft edge
    rgba[:, :32, :3] = (1, 0, 0)  # another color, under it
    picture = load_picture(rgba)
    found = fill_hidden(picture)
    np.testing.assert_array_equal(found.alpha, picture.alpha)
    np.testing.assert_allclose(found.rgb[:, 32:], picture.rgb[:, 32:])
    np.testing.assert_allclose(found.rgb[0, 1:32], found.rgb[0, 63:32:-1], atol=1e-6)
    opaque = load_picture(pixels)
    assert fill_hidden(opaque) is opaque
