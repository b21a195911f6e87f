"""Writing of pictures: atomic, with an sRGB profile and the record inside."""

import json
import os
import struct
import warnings
import zlib
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


# Values in a picture above which PNG is compressed less: three times as fast, and a
# tenth larger.
_LARGE = 48_000_000
_WITH_16_BITS = (".png", ".tif", ".tiff")
_WITHOUT_ALPHA = (".jpg", ".jpeg")


def check_format(
    path: str | os.PathLike[str], *, bits: int = 8, quality: int = 95
) -> None:
    """Check that the format of an output file is known and holds what it is to hold.

    Args:
        path: output file; only its extension is looked at.
        bits: bits per channel, 8 or 16.
        quality: quality of JPEG and WebP, 1 to 100.

    Raises:
        ValueError: if the extension is unknown or cannot hold `bits` per channel, or
            if `quality` is out of range.
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


def check_output(
    path: str | os.PathLike[str], *, bits: int = 8, quality: int = 95
) -> Path:
    """Return `path` if a picture can be written there; called before any work.

    Args:
        path: output file.
        bits: bits per channel, 8 or 16.
        quality: quality of JPEG and WebP, 1 to 100.

    Raises:
        ValueError: if `check_format` raises it.
        IsADirectoryError: if the path is a folder.
        FileNotFoundError: if the folder of the file does not exist.
        OSError: if the folder or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() in EXTENSIONS or not path.is_dir():
        check_format(path, bits=bits, quality=quality)
    check_place(path)
    return path


def quantize(rgb: HostImage, alpha: HostAlpha | None, bits: int = 8) -> np.ndarray:
    """Return a picture as unsigned integers, alpha as fourth channel."""
    channels = 3 if alpha is None else 4
    pixels = np.empty((*rgb.shape[:2], channels), f"uint{bits}")
    for rows in bands_of(rgb):
        band = rgb[rows] if alpha is None else np.dstack([rgb[rows], alpha[rows]])
        pixels[rows] = np.round(np.clip(band, 0, 1) * (2**bits - 1))
    return pixels


def to_pil(rgb: HostImage, alpha: HostAlpha | None = None) -> PILImage.Image:
    """Return an 8-bit PIL image, RGB or RGBA, tagged as sRGB.

    Args:
        rgb: picture, [0, 1].
        alpha: opacity, [0, 1], or None.
    """
    image = PILImage.fromarray(quantize(rgb, alpha))
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
        ValueError, OSError: if `check_output` raises them.
    """
    path = check_output(path, bits=bits, quality=quality)
    text = ""
    if record is not None:
        text = json.dumps({TEXT_KEY: record}, separators=(",", ":"))
    if path.suffix.lower() in _WITHOUT_ALPHA and alpha is not None:
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
    pixels = quantize(np.asarray(rgb), alpha, bits)
    with atomic_write(path) as beside, beside.open("xb") as stream:
        _write(stream, path.suffix.lower(), pixels, text, quality)
    return path


def _write(
    stream: BinaryIO, extension: str, pixels: np.ndarray, text: str, quality: int
) -> None:
    software = f"jaxnst {__version__}"
    profile = srgb_profile()
    if extension in (".tif", ".tiff"):
        # Pillow writes no 16-bit color TIFF, so tifffile writes all of them.
        tifffile.imwrite(
            stream,
            pixels,
            photometric="rgb",
            extrasamples=["unassalpha"] if pixels.shape[-1] == 4 else None,
            compression="zlib",
            description=text or None,
            software=software,
            iccprofile=profile,
            metadata=None,
        )
        return
    if pixels.dtype == np.uint16:
        _write_png16(stream, pixels, text, profile)
        return
    if extension == ".png":
        options: dict[str, Any] = {"format": "PNG", "pnginfo": PngInfo()}
        options["pnginfo"].add_text(TEXT_KEY, text)
        if pixels.size > _LARGE:
            options["compress_level"] = 3
    else:
        options = {"format": "JPEG", "subsampling": "4:4:4"}
        if extension == ".webp":
            # `exact` keeps colors under transparent pixels; method 6 is the smallest.
            options = {"format": "WEBP", "exact": True, "method": 6}
        options |= {"quality": quality, "exif": PILImage.Exif()}
        options["exif"][ExifTags.Base.ImageDescription] = text
        options["exif"][ExifTags.Base.Software] = software
    PILImage.fromarray(pixels).save(stream, icc_profile=profile, **options)


def _write_png16(
    stream: BinaryIO, pixels: np.ndarray, text: str, profile: bytes
) -> None:
    """Write 16-bit color PNG, which Pillow cannot (it has no such mode)."""
    height, width, channels = pixels.shape
    color_type = {3: 2, 4: 6}[channels]
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    # Filter 2 ("up") in every row: the difference to the row above, modulo 256.
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)),
        (b"iCCP", b"sRGB\0\0" + zlib.compress(profile)),
        (b"tEXt", TEXT_KEY.encode() + b"\0" + text.encode("ascii")),
        (b"IDAT", zlib.compress(filtered.tobytes(), 6)),
        (b"IEND", b""),
    ]
    stream.write(b"\x89PNG\r\n\x1a\n")
    for kind, data in chunks:
        putchunk(stream, kind, data)
