"""Reading pictures: every kind of file and array, and everything that is wrong."""

import io
import struct
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageCms

from jaxnst.images import (
    check_picture,
    fitted_shape,
    load_picture,
    resize,
    resize_picture,
)


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
    sources = [
        path,
        str(path),
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
    return {
        "no such file": (
            tmp_path / "none.png",
            FileNotFoundError,
            r"no such file.*none\.png",
        ),
        "folder": (tmp_path, IsADirectoryError, "is a folder"),
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
        "number": (3, TypeError, "a path, a PIL image, an array, bytes or a binary file, got int"),
        "list": ([[1, 2]], TypeError, "got list"),
    }


BAD = [
    "no such file",
    "folder",
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
    with pytest.raises(ValueError, match="unpacks to more than 0 megapixels"):
        check_picture(path)
