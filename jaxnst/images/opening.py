"""Opening of picture files: which formats, how large, and which damage is harmless."""

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import tifffile
from PIL import Image as PILImage, ImageChops, JpegImagePlugin

from .metadata import FORMATS


T = TypeVar("T")

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_NAMES = "JPEG, PNG, WebP, TIFF, BMP, PPM, GIF, AVIF, JPEG 2000 or HEIC"
# A baseline JPEG above the limit is decoded at 1/2 to 1/8 of its size.
_MAX_SHRINK = 8
# Pillow needs a time that grows with the square of the number of these segments.
_MAX_EXIF_SEGMENTS = 64
# What of a PNG changes its pixels, beside its critical chunks.
_PNG_COLORS = (b"tRNS", b"gAMA", b"sRGB", b"iCCP", b"eXIf")
# The last rows of a JPEG that may be missing: one row of blocks.
_MAX_MISSING = 16
# A library says nothing on stderr where no logging was set up.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class RefusedError(ValueError):
    """A picture that could be read, and is refused."""


def use_picture(data: bytes, label: str, use_fn: Callable[[PILImage.Image], T]) -> T:
    """Return what a function makes of the picture in a file.

    Args:
        data: content of the file.
        label: name of the picture, for messages.
        use_fn: function of the opened picture, which may not be decoded yet.

    Raises:
        ValueError: if it is no picture, is damaged, or is too large.
    """
    try:
        return _use(lean(data), label, use_fn)
    except RefusedError:
        raise
    except PILImage.UnidentifiedImageError:
        message = f"{label} is not a picture that can be read; expected {_NAMES}."
    # On damaged files Pillow raises almost any exception (OSError, SyntaxError,
    # struct.error, IndexError, zlib.error, ...): all mean the same to the user.
    except Exception as error:
        message = (
            f"{label} is damaged or truncated: {error}. Save it again from its source."
        )
    try:
        if mended := _mend(data):
            found = _use(mended[0], label, use_fn)
            warnings.warn(f"{label}: {mended[1]}.", stacklevel=2)
            return found
    except RefusedError:
        raise
    except Exception:  # as damaged as before
        pass
    raise ValueError(message)


def _use(data: bytes, label: str, use_fn: Callable[[PILImage.Image], T]) -> T:
    with warnings.catch_warnings():
        # Pillow warns of odd metadata; the errors that matter are raised.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
        try:
            image = _open(data, label)
        except PILImage.DecompressionBombError:
            raise _too_large(label) from None
        except PILImage.UnidentifiedImageError:
            if not data.startswith(_TIFF):
                raise
            image = _open_tiff(data, label)
        with image:
            _check_megapixels(image.width * image.height, label)
            if image.format == "TIFF" and _is_planar_and_deep(image):
                image = _open_tiff(data, label)
            return use_fn(image)


def _open(data: bytes, label: str) -> PILImage.Image:
    stream = io.BytesIO(data)
    if data.startswith(_JPEG):
        # Its own class, as `PIL.Image.open` refuses what is shrunk here.
        image = JpegImagePlugin.JpegImageFile(stream)
        _shrink(image, label)
        return image
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC and b"avif" not in data[8:64]:
        try:
            import pillow_heif  # type: ignore[import-not-found]
        except ImportError:
            raise RefusedError(
                f"{label} is a HEIC picture; reading it needs pillow-heif, install it "
                "with: pip install 'jaxnst[heic]' (or save the picture as JPEG)."
            ) from None
        return pillow_heif.HeifImageFile(stream)
    return PILImage.open(stream, formats=FORMATS)


def _check_megapixels(num_pixels: int, label: str) -> None:
    if num_pixels > (PILImage.MAX_IMAGE_PIXELS or num_pixels):
        raise _too_large(label)


def _too_large(label: str) -> RefusedError:
    limit = (PILImage.MAX_IMAGE_PIXELS or 0) // 1_000_000
    return RefusedError(
        f"{label} unpacks to more than {limit} megapixels, which may be an attack; if "
        "you trust it, save it smaller, or as a baseline JPEG of any size (in Python, "
        "`PIL.Image.MAX_IMAGE_PIXELS` is the limit)."
    )


def _shrink(image: JpegImagePlugin.JpegImageFile, label: str) -> None:
    """Let a JPEG above the limit be decoded at a fraction of its size."""
    limit, num_pixels = PILImage.MAX_IMAGE_PIXELS, image.width * image.height
    # A progressive one is kept in memory as a whole, however small it is decoded.
    if limit is None or num_pixels <= limit or "progressive" in image.info:
        return
    for scale in (2, 4, _MAX_SHRINK):
        if num_pixels <= limit * scale**2:
            whole = image.size
            image.draft(None, (-(-image.width // scale), -(-image.height // scale)))
            warnings.warn(
                f"{label}: {whole[0]} x {whole[1]} px are above the limit of "
                f"{limit // 1_000_000} megapixels, so it is read at {image.width} x "
                f"{image.height} px.",
                stacklevel=2,
            )
            return


def _is_planar_and_deep(image: PILImage.Image) -> bool:
    """Whether Pillow reads a TIFF wrongly: 16 bits, in one plane for each color."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(tifffile.TIFF.TAGS["BitsPerSample"], (8,))
    planar = tags.get(tifffile.TIFF.TAGS["PlanarConfiguration"], 1)
    return planar == tifffile.PLANARCONFIG.SEPARATE and max(bits) > 8 and len(bits) > 1


def _open_tiff(data: bytes, label: str) -> PILImage.Image:
    """Return a TIFF that Pillow cannot read, with 8 bits."""
    kind = "its kind"
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            kind = f"{page.dtype} {getattr(page.photometric, 'name', page.photometric)}"
            _check_megapixels(page.imagewidth * page.imagelength, label)
            count = page.samplesperpixel
            if count > 4 or page.photometric not in (1, 2):
                raise ValueError(f"{count} channels")
            array = page.asarray()
            if page.axes == "SYX":
                array = np.moveaxis(array, 0, -1)
            profile, orientation = page.iccprofile, page.tags.valueof(274, default=1)
    except RefusedError:
        raise
    # As with Pillow, damage shows as nearly any exception.
    except Exception as error:
        raise RefusedError(
            f"{label} is a TIFF that cannot be read ({kind}: {error}); save it as RGB "
            "with 8 or 16 bits, or as PNG."
        ) from None
    if array.dtype.kind == "f":
        if not np.all((array >= 0) & (array <= 1)):
            raise RefusedError(
                f"{label} has values outside 0 to 1 (from {array.min():g} to "
                f"{array.max():g}), which are no colors; scale them first."
            )
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        array = (array >> 8 * (array.dtype.itemsize - 1)).astype(np.uint8)
    else:
        raise RefusedError(f"{label} is a TIFF of {array.dtype}, which is not read.")
    image = PILImage.fromarray(array)
    if profile:
        image.info["icc_profile"] = profile
    image.getexif()[274] = orientation
    return image


def lean(data: bytes) -> bytes:
    """Return a JPEG without its EXIF and Photoshop segments where they are too many."""
    if not data.startswith(_JPEG):
        return data
    pieces, last, count, place = [], 0, 0, 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        kind, (length,) = data[place + 1], struct.unpack_from(">H", data, place + 2)
        name = data[place + 4 : place + 10]
        if (kind == 0xE1 and name == b"Exif\0\0") or kind == 0xED:
            count += 1
            if count > 1:
                pieces.append(data[last:place])
                last = place + 2 + length
        place += 2 + length
    return b"".join([*pieces, data[last:]]) if count > _MAX_EXIF_SEGMENTS else data


def _mend(data: bytes) -> tuple[bytes, str] | None:
    """Return a file with harmless damage left out, and what it was; None for others."""
    if data.startswith(_PNG):
        kept = b"".join(_PNG if not place else chunk for place, chunk in _chunks(data))
        return kept, "its extra data is damaged or too large, and is ignored"
    if data.startswith(_JPEG) and _has_all_rows(data):
        return data + b"\xff\xd9", "its end is missing; what is there is read"
    return None


def _chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield place and bytes of the chunks of a PNG that are needed and undamaged."""
    yield 0, b""
    place = len(_PNG)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        chunk = data[place : place + 12 + length]
        is_critical = not kind[0] & 0x20
        is_whole = chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))
        if is_critical or (kind in _PNG_COLORS and is_whole):
            yield place, chunk
        place += len(chunk)


def _has_all_rows(data: bytes) -> bool:
    """Whether a JPEG lacks at most its end and its last row of blocks.

    Where data is missing, what follows it is decoded; so the picture changes with it.
    """
    pictures = [
        JpegImagePlugin.JpegImageFile(io.BytesIO(data + tail + b"\xff\xd9"))
        for tail in (b"", 64 * b"\x55")
    ]
    width, height = pictures[0].size
    if width * height > (PILImage.MAX_IMAGE_PIXELS or width * height):
        return False
    differs = ImageChops.difference(*pictures).getbbox()
    return differs is None or height - differs[1] <= _MAX_MISSING
