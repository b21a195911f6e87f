"""Reading of pictures: files, PIL images and arrays become sRGB float32 arrays."""

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import logging
import os
import stat
import struct
import tempfile
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import tifffile
from jaxtyping import Array, Shaped
from PIL import Image as PILImage, ImageChops, ImageOps, JpegImagePlugin

from jaxnst._checks import (
    MAX_SIDE,
    MIN_SIDE as MIN_SIDE,
    check_path,
    no_such_file,
    one_line,
    path_text,
)
from jaxnst._memory import USABLE, host_memory
from jaxnst._types import HostAlpha, HostImage

from .color_profile import deep_converter, gray_curve, srgb_converter
from .metadata import MAX_FILE, lean, open_picture


T = TypeVar("T")

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_NAMES = "JPEG, PNG, WebP, TIFF, BMP, PPM, GIF, AVIF, JPEG 2000 or HEIC"
# A baseline JPEG is decoded at one of these fractions of its size.
_SHRINKS = (1, 2, 4, 8)
# Place of a PNG's bits a channel.
_PNG_DEPTH = 24
# What of a PNG changes its pixels, beside its critical chunks.
_PNG_COLORS = (b"tRNS", b"gAMA", b"sRGB", b"iCCP", b"eXIf")
# The last rows of a JPEG that may be missing: one row of blocks.
_MAX_MISSING = 16
# A library says nothing on stderr where no logging was set up.
for _name in ("PIL", "tifffile"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
# Only one thread at a time may move standard error.
_MOVING = threading.Lock()


# Attribute of a stream whose file the user named.
NAMED = "jaxnst_is_named"


@runtime_checkable
class Readable(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, by default all."""
        ...


PictureSource = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | Readable
    | PILImage.Image
    | Shaped[np.ndarray | Array, "..."]
)

_HAS_HEIC = importlib.util.find_spec("pillow_heif") is not None
_HAS_DEEP = importlib.util.find_spec("imagecodecs") is not None
# Of the files in a folder those are read.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm"),
    *(".avif", ".jp2", *((".heic", ".heif") if _HAS_HEIC else ())),
)
MAX_ASPECT = 10.0
# Most pixels of a picture that is read or painted: 12 GB as float32.
MAX_PIXELS = 1_000_000_000
# Pillow's own limit, which may be changed before this module is imported. Where it is
# another one, a user has set it, and it holds for every picture.
_USUAL_PIXELS = 2**30 // 4 // 3
# Bytes of the largest file that is read where the user names it.
_MAX_NAMED_FILE = 2**33
# Bytes a pixel that reading takes beside the file: decoded and turned; as float32.
_DECODED, _FLOATS = 10, 16
# A picture that is reduced as it is read stays so many times as long as is needed.
_SPARE = 2
_SLACK = 1e-3
# Pixels that are converted at once, so that only few bytes for each are needed beyond
# the picture itself.
_BAND = 2**20
# EXIF's tag of how a picture is turned; from 5 on width and height are exchanged.
_ORIENTATION = 0x0112
# Tags of TIFFs: bits of a channel, and which way gray goes.
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0102, 0x0106, 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture in memory.

    Attributes:
        rgb: sRGB, float32, [0, 1].
        alpha: opacity, float32, [0, 1]; None if the picture has none.
        sha256: hash of the file's bytes, or of an array's shape, dtype and bytes.
        name: name of the picture in messages.
    """

    rgb: HostImage
    alpha: HostAlpha | None
    sha256: str
    name: str


class _Wanted(NamedTuple):
    """What is wanted of a picture that is not decoded yet.

    Attributes:
        label: the picture's name in messages.
        is_named: whether the user named it: it may then be larger than Pillow's limit.
        size: longest side that is needed, in pixels; None: all of it is.
    """

    label: str
    is_named: bool = False
    size: int | None = None

    def factor(self, width: int, height: int) -> int:
        """Return by how much the picture is reduced; by nothing below the limit."""
        if self.size is None or width * height <= _USUAL_PIXELS:
            return 1
        sides = max(width, height) // self.size, min(width, height) // MIN_SIDE
        return max(1, min(sides) // _SPARE)

    def fault(self, width: int, height: int) -> tuple[str, str] | None:
        """Return why a picture is too large and what to do; None if it is not."""
        count, limit = width * height, PILImage.MAX_IMAGE_PIXELS
        if self.is_named and limit == _USUAL_PIXELS:
            limit = None
        if limit is not None and count > limit:
            return f"has more than {limit // 1_000_000} megapixels", (
                ", which may be an attack; if you trust it, raise the limit "
                "(--max-megapixels of the commands, in Python "
                "`PIL.Image.MAX_IMAGE_PIXELS`), or save it as a baseline JPEG of any "
                "size"
            )
        if count > MAX_PIXELS or max(width, height) > MAX_SIDE:
            most = f"{MAX_PIXELS // 1_000_000} megapixels or {MAX_SIDE} px a side"
            return f"has more than {most}", "; save it smaller"
        if count > _USUAL_PIXELS:
            needed = count * (_DECODED + _FLOATS / self.factor(width, height) ** 2)
            try:
                usable = USABLE * host_memory()
            except ValueError as error:  # the limit is no size; the file is sound
                raise RefusedError(str(error)) from error
            if needed > usable:
                return f"needs {needed / 1e9:.1f} GB of memory to be read", (
                    f", but only {usable / 1e9:.1f} GB can be used; close other "
                    "programs, or save it smaller"
                )
        return None

    def check(self, width: int, height: int) -> None:
        """Check that a picture is not too large."""
        if fault := self.fault(width, height):
            raise RefusedError(
                f"{self.label}, {width} x {height} px, {''.join(fault)}."
            )


class _Canvas:
    """A picture as it is read: some rows at a time, reduced by a whole factor."""

    def __init__(self, width: int, height: int, factor: int):
        self.width, self.height, self.factor = width, height, factor
        shape = -(-height // factor), -(-width // factor)
        self.rgb = np.empty((*shape, 3), np.float32)
        self.alpha: np.ndarray | None = None

    def bands(self) -> Iterator[slice]:
        """Yield slices of the rows that are to be put there."""
        whole = np.empty((self.height, self.width, 0))
        return bands_of(whole, multiple=self.factor)

    def put(
        self,
        rows: slice,
        levels: np.ndarray,
        most: float,
        opacity: np.ndarray | None = None,
    ) -> None:
        """Keep rows of levels from 0 to `most`, (H, W, 3), and of opacity, (H, W)."""
        first = rows.start // self.factor
        place = slice(first, first + -(-len(levels) // self.factor))
        colors = levels / np.float32(most)
        weight = None
        if opacity is not None:
            weight = opacity / np.float32(most)
            if self.alpha is None:
                self.alpha = np.empty(self.rgb.shape[:2], np.float32)
            self.alpha[place] = self._reduced(weight)
            # Hidden colors count where nothing else is.
            weight += np.float32(1e-6)
        self.rgb[place] = self._reduced(colors, weight)

    def _reduced(
        self, values: np.ndarray, weight: np.ndarray | None = None
    ) -> np.ndarray:
        """Return weighted means over squares of pixels; the last may be smaller."""
        if self.factor == 1:
            return values
        weight = np.ones(values.shape[:2], np.float32) if weight is None else weight
        if values.ndim == 3:
            weight = weight[..., None]
        sums = [values * weight, weight]
        for axis in (0, 1):
            places = np.arange(0, values.shape[axis], self.factor)
            sums = [np.add.reduceat(each, places, axis=axis) for each in sums]
        return sums[0] / sums[1]


def load_picture(
    source: PictureSource,
    *,
    argument: str = "image",
    size: int | None = None,
    is_named: bool = True,
) -> Picture:
    """Return a picture from a file, a PIL image, or an array.

    Files: JPEG, PNG, WebP, TIFF, BMP, PPM, AVIF, JPEG 2000, the first frame of a GIF,
    and HEIC if pillow-heif is installed; gray, palette, CMYK, with or without alpha.
    Gray of 16 bits is read with all of them, and so are colors of 16 bits in PNG and
    TIFF if imagecodecs is installed (otherwise with 8). EXIF orientation is applied; an
    embedded ICC profile, or the gamma of a PNG, is converted to sRGB.

    A file may have as many pixels as `PIL.Image.MAX_IMAGE_PIXELS` says (89 million
    where nobody set it), as a small one may be made to fill the memory. A path that
    the user names may have 1000 million of them, 65,535 px a side and 8 GiB, if memory
    suffices. A baseline JPEG above the limit is read at a fraction of its size, with a
    warning.

    Arrays: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16, or floats within
    [0, 1].

    A fully transparent pixel gets the mean color of the visible pixels, whatever color
    its file hides there.

    Args:
        source: path, content or open binary file of a picture, PIL image, or array.
        argument: name of the argument, for messages.
        size: longest side that is needed, in pixels. A file of more than 89 million
            pixels is then reduced by a whole factor as it is read, to at least twice
            that, which needs less memory. None: all of it is read.
        is_named: whether the user named the path; False for what was found in a folder
            or came from others.

    Raises:
        FileNotFoundError: if the file does not exist.
        IsADirectoryError: if the path is a folder.
        ValueError: if `source` is not a picture, is truncated, too small (below 32 px),
            too large (see above), more than ten times as long as wide, or has values
            that are no colors.
        TypeError: if `source` is of another type.
    """
    name = argument
    if (file := _file_of(source, argument, is_named=is_named)) is not None:
        data, name, wanted = file
        wanted = wanted._replace(size=size)
        rgb, alpha = use_picture(
            data, wanted, lambda image, read: _from_file(image, read, wanted)
        )
        digest = hashlib.sha256(data).hexdigest()
    elif isinstance(source, PILImage.Image):
        _check_shape(source.height, source.width, argument)
        wanted = _Wanted(f"`{argument}`")
        wanted.check(source.width, source.height)
        try:
            rgb, alpha = _from_pil(source, wanted)
        except (RefusedError, MemoryError):
            raise
        except Exception as error:  # as in `use_picture`
            raise ValueError(f"`{argument}` is a damaged picture: {error}.") from error
        digest = _digest(rgb, alpha)
    elif hasattr(source, "__array__") and hasattr(source, "dtype"):
        array = np.asarray(source)
        rgb, alpha = _from_array(array, argument)
        digest = _digest(array)
    else:
        raise TypeError(
            f"`{argument}` must be a path, a PIL image, an array, bytes or a binary "
            f"file, got {type(source).__name__}."
        )
    _check_shape(rgb.shape[0], rgb.shape[1], argument)
    if alpha is not None:
        _fill_hidden(rgb, alpha)
    # Only the name, as it goes into records, and the folders of a user should not.
    return Picture(rgb=rgb, alpha=alpha, sha256=digest, name=Path(name).name)


def check_picture(
    source: PictureSource, *, argument: str = "image", is_named: bool = True
) -> tuple[int, int]:
    """Return height and width of a picture, after a quick check.

    Only the header of a file is read, so damage after it is not found.

    Args:
        source: path, content or open binary file of a picture, PIL image, or array.
        argument: name of the argument, for messages.
        is_named: see `load_picture`.

    Raises:
        ValueError, TypeError, OSError: if `load_picture` raises them.
    """
    file = _file_of(source, argument, is_named=is_named)
    if file is None:
        height, width = load_picture(source, argument=argument).rgb.shape[:2]
        return height, width
    data, _, wanted = file
    height, width = use_picture(data, wanted, lambda image, _: _turned_shape(image))
    _check_shape(height, width, argument)
    return height, width


def _turned_shape(image: PILImage.Image) -> tuple[int, int]:
    """Return height and width of an opened picture once it is turned upright."""
    width, height = image.size
    # Pillow turns the size of a TIFF by itself.
    if image.format != "TIFF" and _orientation(image) in range(5, 9):
        return width, height
    return height, width


def _orientation(image: PILImage.Image) -> int:
    """Return how an opened picture is turned, in EXIF's numbers."""
    getexif_fn = type(image).getexif
    if image.width * image.height > _USUAL_PIXELS:
        # That of PNG decodes the picture, as EXIF data may come after its pixels.
        getexif_fn = PILImage.Image.getexif
    with contextlib.suppress(Exception):  # damaged EXIF data is ignored
        return getexif_fn(image).get(_ORIENTATION, 1)
    return 1


def _file_of(
    source: PictureSource, argument: str, *, is_named: bool
) -> tuple[bytes, str, _Wanted] | None:
    """Return content, name and wish of a file; None for other sources."""
    most = MAX_FILE
    if isinstance(source, str | os.PathLike):
        name = check_path(argument, source)
        most = _MAX_NAMED_FILE if is_named else MAX_FILE
        data = _read_file(Path(name), argument, most)
    elif isinstance(source, bytes | bytearray):
        name, data, is_named = argument, bytes(source), False
    elif isinstance(source, Readable) and not isinstance(source, PILImage.Image):
        try:
            with contextlib.suppress(AttributeError, OSError):
                source.seek(0)  # type: ignore[attr-defined]
            if not isinstance(source.read(0), bytes):
                raise TypeError(f"`{argument}` is a text file; open it with mode 'rb'.")
            data = _read(source)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise ValueError(
                f"`{argument}` cannot be read: {one_line(error)}"
            ) from error
        name = getattr(source, "name", argument)
        is_named = is_named and getattr(source, NAMED, False)
        name = name if isinstance(name, str) else argument
    else:
        return None
    shown = "" if name == argument else f" ({path_text(name)})"
    label = f"`{argument}`{shown}"
    if len(data) > most:
        raise _file_too_large(label, most)
    return data, name, _Wanted(label, is_named)


def _file_too_large(label: str, most: int) -> ValueError:
    size = f"{most / 2**30:.3g} GiB"
    return ValueError(f"{label} is a file of more than {size}; save it smaller.")


def _read(stream: Readable) -> bytes:
    """Return what a file holds, but not much more than `MAX_FILE`."""
    pieces, count = [], 0
    while count <= MAX_FILE and (piece := stream.read(2**24)):
        pieces.append(piece)
        count += len(piece)
    return b"".join(pieces)


def _read_file(path: Path, argument: str, most: int) -> bytes:
    """Return what a file holds; one of more than `MAX_FILE` must leave memory free."""
    shown = path_text(path)
    try:
        with path.open("rb") as stream:
            about = os.fstat(stream.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size <= MAX_FILE:
                return _read(stream)
            most = min(most, max(MAX_FILE, host_memory() // 2))
            if about.st_size > most:
                raise _file_too_large(f"`{argument}` ({shown})", most)
            return stream.read(about.st_size)
    except FileNotFoundError:
        raise FileNotFoundError(f"`{argument}`: {no_such_file(path)}") from None
    except IsADirectoryError:
        raise IsADirectoryError(
            f"`{argument}` is a folder: {shown}. Give a picture file inside it."
        ) from None
    except OSError as error:
        raise OSError(f"`{argument}`: cannot read {shown}: {error.strerror}") from error


def _digest(array: np.ndarray, alpha: np.ndarray | None = None) -> str:
    """Return the hash of an array, its alpha as a last channel."""
    shape = array.shape if alpha is None else (*array.shape[:2], array.shape[2] + 1)
    digest = hashlib.sha256(f"{shape}{array.dtype}".encode())
    for rows in bands_of(array):
        band = array[rows] if alpha is None else np.dstack([array[rows], alpha[rows]])
        digest.update(np.ascontiguousarray(band).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def bands_of(
    array: np.ndarray, num_pixels: int = _BAND, *, multiple: int = 1
) -> Iterator[slice]:
    """Yield slices of rows, of about so many pixels each, and of a multiple of rows."""
    height, width = array.shape[:2]
    step = max(1, num_pixels // max(width * multiple, 1)) * multiple
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _from_file(
    image: PILImage.Image, data: bytes, wanted: _Wanted
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return RGB and alpha, or None, of a file that was opened."""
    label = wanted.label
    if _is_deep(image, data):
        if _HAS_DEEP:
            # Of the kinds of TIFF that only Pillow reads there is no depth to be had.
            with contextlib.suppress(RefusedError):
                return _from_deep_color(image, data, wanted)
        else:
            warnings.warn(
                f"{label} has more than 8 bits a color and is read with 8; all of them "
                "need imagecodecs: pip install 'jaxnst[deep]'.",
                stacklevel=2,
            )
    if image.format == "TIFF" and _is_not_for_pillow(image):
        image = _open_tiff(data, wanted)
    return _from_pil(image, wanted)


def _is_deep(image: PILImage.Image, data: bytes) -> bool:
    """Whether a file has colors of more than 8 bits, which Pillow reads with 8."""
    if image.mode not in ("RGB", "RGBA", "LA"):
        return False
    if data.startswith(_PNG):
        # A color that is transparent is Pillow's business.
        return data[_PNG_DEPTH] == 16 and "transparency" not in image.info
    if not data.startswith(_TIFF):
        return False
    with contextlib.suppress(Exception), tifffile.TiffFile(io.BytesIO(data)) as file:
        dtype = file.pages.first.dtype
        return dtype is not None and dtype.itemsize > 1
    return False


def _from_deep_color(
    image: PILImage.Image, data: bytes, wanted: _Wanted
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return RGB and alpha, or None, of a file with colors of more than 8 bits."""
    import imagecodecs

    is_png = data.startswith(_PNG)
    pixels = imagecodecs.png_decode(data) if is_png else _tiff_pixels(data, wanted)
    pixels = _turned(pixels, _orientation(image))
    info: dict[str, Any] = dict(image.info)  # type: ignore[arg-type]
    curve = gray_curve(info, wanted.label) if pixels.shape[-1] < 3 else None
    convert = deep_converter(info, wanted.label)
    height, width = pixels.shape[:2]
    canvas = _Canvas(width, height, wanted.factor(width, height))
    has_alpha = image.mode in ("RGBA", "LA")
    for rows in canvas.bands():
        band = pixels[rows]
        if band.dtype.kind == "f":  # finer than anybody sees
            band = np.round(band * 65535).astype(np.uint16)
        if curve is None:
            values = convert(np.ascontiguousarray(band[..., :3]))
        else:
            values = _in_curve(band[..., 0] / np.float32(65535), curve)
        opacity = band[..., -1] / np.float32(65535) if has_alpha else None
        canvas.put(rows, values, 1, opacity)
    return canvas.rgb, canvas.alpha


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return a picture turned upright, as EXIF's orientation says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _from_pil(
    image: PILImage.Image, wanted: _Wanted
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return RGB and alpha, or None, of a picture."""
    label = wanted.label
    info: dict[str, Any] = dict(image.info)  # type: ignore[arg-type]
    if "transparency" in info:
        info["transparency"] = _transparent(image)
    _decode(image)
    try:
        if image.getexif().get(_ORIENTATION, 1) != 1:  # or it would copy the picture
            image = ImageOps.exif_transpose(image)
    # A damaged EXIF block may raise anything, and is no reason to refuse a picture.
    except Exception:
        warnings.warn(f"{label}: its EXIF data is damaged and ignored.", stacklevel=2)
    factor = wanted.factor(image.width, image.height)
    canvas = _Canvas(image.width, image.height, factor)
    if image.mode[0] in "IF":
        _draw_deep_gray(canvas, image, info, label)
        return canvas.rgb, canvas.alpha
    convert = srgb_converter(info, label)
    for rows in canvas.bands():
        band = image.crop((0, rows.start, image.width, rows.stop))
        band.info = info  # type: ignore[assignment]
        opaque, opacity = _split_alpha(band)
        levels = None if opacity is None else np.asarray(opacity)
        canvas.put(rows, np.asarray(convert(opaque)), 255, levels)
    return canvas.rgb, canvas.alpha


def _decode(image: PILImage.Image) -> None:
    """Decode a picture; what libtiff says on standard error becomes part of errors."""
    if image.format != "TIFF":
        image.load()
        return
    with contextlib.ExitStack() as stack:
        # First, as standard error must not be that of another thread's reading.
        stack.enter_context(_MOVING)
        try:
            words = stack.enter_context(tempfile.TemporaryFile())
            kept = os.dup(2)
        except OSError:  # there is no folder for it, or no standard error
            image.load()
            return
        os.dup2(words.fileno(), 2)
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:
            words.seek(0)
            said = words.readline(200).decode(errors="replace").strip()
            raise OSError(f"{error} ({said})" if said else str(error)) from error
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _transparent(image: PILImage.Image) -> bytes | int | tuple[int, ...]:
    """Return the transparent level, color or palette of a PNG or GIF at 8 bits."""
    level = image.info["transparency"]
    tiles = getattr(image, "tile", None)
    rawmode = tiles[0][3] if tiles else None
    if rawmode in ("L;2", "L;4"):
        return level * (85 if rawmode == "L;2" else 17)
    if rawmode == "RGB;16B":
        return tuple(each >> 8 for each in level)
    return level


def _draw_deep_gray(
    canvas: _Canvas, image: PILImage.Image, info: dict[str, Any], label: str
) -> None:
    """Put a picture of deep gray on a canvas."""
    limit = 1.0 if image.mode == "F" else 65535.0
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    (bits,) = tags.get(_BITS, (16,))[:1]
    if image.mode != "F" and 8 < bits < 16:
        limit = 2.0**bits - 1
    _check_levels(values, limit, label)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow turns 8 bits only
        values = limit - values
    curve, transparent = gray_curve(info, label), info.get("transparency")
    for rows in canvas.bands():
        colors = _in_curve(values[rows].astype(np.float32) / limit, curve)
        opacity = None if transparent is None else values[rows] != transparent
        canvas.put(rows, colors, 1, opacity)


def _in_curve(levels: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Return the colors of levels of gray, [0, 1], see `gray_curve`."""
    known = np.linspace(0, 1, len(curve))
    colors = [np.interp(levels, known, curve[:, i]) for i in range(3)]
    return np.stack(colors, -1).astype(np.float32)


def _check_levels(values: np.ndarray, limit: float, label: str) -> None:
    least, most = values.min(), values.max()
    if not (least >= 0 and most <= limit):  # NaN is refused, too
        raise RefusedError(
            f"{label} has values outside 0 to {limit:g} (from {least:g} to {most:g}), "
            "which are no colors; scale them first."
        )


def _split_alpha(image: PILImage.Image) -> tuple[PILImage.Image, PILImage.Image | None]:
    """Return the picture without alpha, and its alpha or None."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "LA":
        return image.getchannel("L"), image.getchannel("A")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    return image, None


def _from_array(
    array: np.ndarray, argument: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Check an array, and return it as RGB and alpha, or None."""
    if array.ndim != 2 and (array.ndim != 3 or array.shape[-1] not in (1, 3, 4)):
        raise ValueError(
            f"`{argument}` must have shape (height, width), optionally with 1, 3 or 4 "
            f"channels last and no batch axis, got {array.shape}."
        )
    _check_shape(array.shape[0], array.shape[1], argument)
    # Before it is converted, which takes memory.
    _Wanted(f"`{argument}`", is_named=True).check(array.shape[1], array.shape[0])
    if array.ndim == 2:
        array = array[..., None]
    # Compared by kind and size, because arrays from files may be big-endian.
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        values = array.astype(np.float32) / np.iinfo(array.dtype).max
    # ml_dtypes' bfloat16 is no np.floating, so compare the name too.
    elif np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16":
        values = array.astype(np.float32)
        least, most = values.min(), values.max()
        if not np.all(np.isfinite([least, most])):
            raise ValueError(f"`{argument}` has NaN or infinite values.")
        # Resizing and color conversion may leave values a little outside.
        if least < -_SLACK or most > 1 + _SLACK:
            advice = "divide by 255 or pass uint8" if most > 2 else "clip it"
            raise ValueError(
                f"`{argument}` must have floats within [0, 1], got {least:g} to "
                f"{most:g}; {advice}."
            )
        values = np.clip(values, 0, 1, out=values)
    else:
        raise TypeError(
            f"`{argument}` must be uint8, uint16 or floating, got {array.dtype}."
        )
    if values.shape[-1] == 1:
        return np.repeat(values, 3, axis=-1), None
    alpha = np.ascontiguousarray(values[..., 3]) if values.shape[-1] == 4 else None
    return np.ascontiguousarray(values[..., :3]), alpha


def _check_shape(height: int, width: int, argument: str) -> None:
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"`{argument}` is {width} x {height} px; it must be at least "
            f"{MIN_SIDE} px in both directions."
        )
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(
            f"`{argument}` is {width} x {height} px, more than {MAX_ASPECT:g} times as "
            "long as it is wide; crop it."
        )


def _fill_hidden(rgb: np.ndarray, alpha: np.ndarray) -> None:
    """Give fully transparent pixels the mean color of the visible ones."""
    if not alpha.any() or alpha.all():
        return
    bands = [(rgb[rows], alpha[rows]) for rows in bands_of(rgb)]
    total = sum(np.einsum("hwc,hw->c", *band, dtype=float) for band in bands)
    rgb[alpha == 0] = total / alpha.sum(dtype=float)


class RefusedError(ValueError):
    """A picture that could be read, and is refused."""


def use_picture(
    data: bytes, wanted: _Wanted, use_fn: Callable[[PILImage.Image, bytes], T]
) -> T:
    """Return what a function makes of a picture, opened and not yet decoded.

    It gets the file's bytes, too, without what nobody needs.
    """
    label = wanted.label
    try:
        return _use(lean(data), wanted, use_fn)
    except RefusedError:
        raise
    except MemoryError:
        raise MemoryError(
            f"{label} needs more memory to be read than there is; close other "
            "programs, or save it smaller."
        ) from None
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
            found = _use(mended[0], wanted, use_fn)
            warnings.warn(f"{label}: {mended[1]}.", stacklevel=2)
            return found
    except RefusedError:
        raise
    except Exception:  # as damaged as before
        pass
    raise ValueError(message)


def _use(
    data: bytes, wanted: _Wanted, use_fn: Callable[[PILImage.Image, bytes], T]
) -> T:
    with warnings.catch_warnings():
        # Pillow warns of odd metadata; the errors that matter are raised.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
        try:
            image = _open(data, wanted)
        except PILImage.UnidentifiedImageError:
            if not data.startswith(_TIFF):
                raise
            image = _open_tiff(data, wanted)
        with image:
            wanted.check(image.width, image.height)
            return use_fn(image, data)


def _open(data: bytes, wanted: _Wanted) -> PILImage.Image:
    if data.startswith(_JPEG):
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
        _shrink(image, wanted)
        return image
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC and b"avif" not in data[8:64]:
        try:
            import pillow_heif
        except ImportError:
            raise RefusedError(
                f"{wanted.label} is a HEIC picture; reading it needs pillow-heif, "
                "install it with: pip install 'jaxnst[heic]' (or save the picture as "
                "JPEG)."
            ) from None
        return pillow_heif.HeifImageFile(io.BytesIO(data))
    return open_picture(data)


def _shrink(image: JpegImagePlugin.JpegImageFile, wanted: _Wanted) -> None:
    """Let a large JPEG be decoded at a fraction of its size."""
    width, height = image.size
    # A progressive one is kept in memory as a whole, however small it is decoded.
    if "progressive" in image.info:
        return
    enough = wanted.factor(width, height)
    enough = max(scale for scale in _SHRINKS if scale <= enough)
    fault = wanted.fault(width, height)
    for scale in _SHRINKS:
        smaller = -(-width // scale), -(-height // scale)
        if scale < enough or wanted.fault(*smaller) is not None:
            continue
        if scale > 1:
            image.draft(None, (width // scale, height // scale))
        if scale > enough and fault is not None:
            warnings.warn(
                f"{wanted.label}, {width} x {height} px, {fault[0]}, so it is read at "
                f"{image.width} x {image.height} px.",
                stacklevel=2,
            )
        return


def _is_not_for_pillow(image: PILImage.Image) -> bool:
    """Whether Pillow refuses a TIFF as it is decoded, or reads it wrongly.

    It refuses large ones, and cannot read 16 bits in one plane for each color.
    """
    limit = PILImage.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > 2 * limit:
        return True
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(tifffile.TIFF.TAGS["BitsPerSample"], (8,))
    planar = tags.get(tifffile.TIFF.TAGS["PlanarConfiguration"], 1)
    return planar == tifffile.PLANARCONFIG.SEPARATE and max(bits) > 8 and len(bits) > 1


def _open_tiff(data: bytes, wanted: _Wanted) -> PILImage.Image:
    """Return a TIFF that Pillow cannot read, with 8 bits."""
    array = _tiff_pixels(data, wanted)
    if array.dtype.kind == "f":
        array = np.round(array * 255).astype(np.uint8)
    else:
        array = (array >> 8 * (array.dtype.itemsize - 1)).astype(np.uint8)
    image = PILImage.fromarray(array)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.iccprofile:
            image.info["icc_profile"] = page.iccprofile
        image.getexif()[_ORIENTATION] = page.tags.valueof(_ORIENTATION, default=1)
    return image


def _tiff_pixels(data: bytes, wanted: _Wanted) -> np.ndarray:
    """Return the pixels of a TIFF of gray or colors, up to 16 bits or [0, 1]."""
    label, kind = wanted.label, ""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            kind = f"{page.dtype} {getattr(page.photometric, 'name', page.photometric)}"
            wanted.check(page.imagewidth, page.imagelength)
            count = page.samplesperpixel
            if count > 4 or page.photometric not in (1, 2):
                raise ValueError(f"{count} channels")
            array = page.asarray()
            if page.axes == "SYX":
                array = np.moveaxis(array, 0, -1)
            is_premultiplied = tuple(page.extrasamples) == (1,)
            bits = int(page.bitspersample)
    except RefusedError:
        raise
    # As with Pillow, damage shows as nearly any exception.
    except Exception as error:
        is_said = kind and isinstance(error, ValueError | NotImplementedError)
        fault = f"{kind}: {error}" if is_said else f"{kind} damaged".strip()
        fault = fault[:200]  # a damaged tag may hold thousands of numbers
        raise RefusedError(
            f"{label} is a TIFF that cannot be read ({fault}); save it as RGB with "
            "8 or 16 bits, or as PNG."
        ) from None
    if array.dtype.kind == "f":
        _check_levels(array, 1, label)
    elif array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise RefusedError(f"{label} is a TIFF of {array.dtype}, which is not read.")
    elif 8 < bits < 16:
        array = np.round(array * np.float32(65535 / (2**bits - 1))).astype(np.uint16)
    if is_premultiplied:
        most = 1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
        opacity = np.maximum(array[..., -1:] / np.float32(most), 1 / most)
        array[..., :-1] = np.minimum(np.round(array[..., :-1] / opacity, 6), most)
    return array


def _mend(data: bytes) -> tuple[bytes, str] | None:
    """Return a file with harmless damage left out, and what it was; None for others."""
    if data.startswith(_PNG):
        kept = _PNG + b"".join(_sound_chunks(data))
        return kept, "its extra data is damaged or too large, and is ignored"
    if data.startswith(_JPEG) and _has_all_rows(data):
        return data + b"\xff\xd9", "its end is missing; what is there is read"
    return None


def _sound_chunks(data: bytes) -> Iterator[bytes]:
    """Yield the chunks of a PNG that are needed and undamaged."""
    place = len(_PNG)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        chunk = data[place : place + 12 + length]
        is_critical = not kind[0] & 0x20
        is_whole = chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))
        if is_critical or (kind in _PNG_COLORS and is_whole):
            yield chunk
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
