"""Reading of pictures: files, PIL images and arrays become sRGB float32 arrays."""

import contextlib
import dataclasses
import hashlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Array, Shaped
from PIL import Image as PILImage, ImageOps

from jaxnst._checks import MIN_SIDE as MIN_SIDE
from jaxnst._types import HostAlpha, HostImage

from .color_profile import gray_curve, to_srgb
from .metadata import FORMATS


PictureSource = (
    str | os.PathLike[str] | PILImage.Image | Shaped[np.ndarray | Array, "..."]
)

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm")
MAX_ASPECT = 10.0
_SLACK = 1e-3
# EXIF's tag of how a picture is turned; from 5 on width and height are exchanged.
_ORIENTATION = 0x0112


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


def load_picture(source: PictureSource, *, argument: str = "image") -> Picture:
    """Return a picture from a file, a PIL image, or an array.

    Files: JPEG, PNG, WebP, TIFF, BMP, PPM and the first frame of a GIF; gray, palette,
    CMYK, 16-bit gray, with or without alpha. (Pillow reads 16-bit *color* as 8-bit.)
    EXIF orientation is applied; an embedded ICC profile is converted to sRGB.

    Arrays: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16, or floats within
    [0, 1].

    A fully transparent pixel gets the mean color of the visible pixels, whatever color
    its file hides there.

    Args:
        source: path of a file, PIL image, or array.
        argument: name of the argument, for messages.

    Raises:
        FileNotFoundError: if the file does not exist.
        IsADirectoryError: if the path is a folder.
        ValueError: if `source` is not a picture, is truncated, too small (below 32 px),
            too large (above `PIL.Image.MAX_IMAGE_PIXELS`), more than ten times as long
            as wide, or has values that are no colors.
        TypeError: if `source` is of another type.
    """
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        with _open_file(Path(name), argument) as stream:
            data = stream.read()
        rgba = _decode_file(data, argument, name)
        digest = hashlib.sha256(data).hexdigest()
    elif isinstance(source, PILImage.Image):
        name = argument
        try:
            rgba = _from_pil(source, f"`{argument}`")
        except _NotAColorError:
            raise
        except Exception as error:  # see `_decode_file`
            raise ValueError(f"`{argument}` is a damaged picture: {error}.") from error
        digest = _digest(rgba)
    elif hasattr(source, "__array__") and hasattr(source, "dtype"):
        name = argument
        array = np.asarray(source)
        digest = _digest(array)
        rgba = _from_array(array, argument)
    else:
        raise TypeError(
            f"`{argument}` must be a path, a PIL image or an array, "
            f"got {type(source).__name__}."
        )
    _check_shape(rgba.shape[0], rgba.shape[1], argument)
    alpha = np.ascontiguousarray(rgba[..., 3]) if rgba.shape[2] == 4 else None
    rgb = np.ascontiguousarray(rgba[..., :3])
    if alpha is not None:
        rgb = _fill_hidden(rgb, alpha)
    # Only the name, as it goes into records, and the folders of a user should not.
    return Picture(rgb=rgb, alpha=alpha, sha256=digest, name=Path(name).name)


def check_picture(source: PictureSource, *, argument: str = "image") -> tuple[int, int]:
    """Return height and width of a picture, after a quick check.

    Only the header of a file is read, so damage after it is not found.

    Args:
        source: path of a file, PIL image, or array.
        argument: name of the argument, for messages.

    Raises:
        ValueError, TypeError, OSError: if `load_picture` raises them.
    """
    if not isinstance(source, str | os.PathLike):
        height, width = load_picture(source, argument=argument).rgb.shape[:2]
        return height, width
    name = os.fspath(source)
    with (
        _open_file(Path(name), argument) as stream,
        _open_picture(stream, f"`{argument}` ({name})") as image,
    ):
        width, height = image.size
        with contextlib.suppress(Exception):  # damaged EXIF data is ignored
            # Pillow turns the size of a TIFF by itself.
            if image.format != "TIFF" and image.getexif().get(_ORIENTATION) in range(
                5, 9
            ):
                width, height = height, width
    _check_shape(height, width, argument)
    return height, width


def _digest(array: np.ndarray) -> str:
    header = f"{array.shape}{array.dtype}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()


@contextlib.contextmanager
def _open_file(path: Path, argument: str) -> Iterator[io.BufferedReader]:
    if path.is_dir():
        raise IsADirectoryError(
            f"`{argument}` is a folder: {path}. Give a picture file inside it."
        )
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError:
        raise FileNotFoundError(f"`{argument}`: no such file: {path}") from None
    except OSError as error:
        raise OSError(f"`{argument}`: cannot read {path}: {error.strerror}") from error


def _decode_file(data: bytes, argument: str, name: str) -> np.ndarray:
    label = f"`{argument}` ({name})"
    with _open_picture(io.BytesIO(data), label) as image:
        return _from_pil(image, label)


@contextlib.contextmanager
def _open_picture(
    stream: io.BytesIO | io.BufferedReader, label: str
) -> Iterator[PILImage.Image]:
    """Open a picture, and reword the errors of Pillow while it is open."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata; the errors that matter are raised below.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.simplefilter("error", PILImage.DecompressionBombWarning)
            with PILImage.open(stream, formats=FORMATS) as image:
                yield image
    except PILImage.UnidentifiedImageError:
        raise ValueError(
            f"{label} is not a picture that can be read; expected JPEG, PNG, WebP, "
            "TIFF, BMP, PPM or GIF."
        ) from None
    except (PILImage.DecompressionBombError, PILImage.DecompressionBombWarning):
        limit = (PILImage.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise ValueError(
            f"{label} unpacks to more than {limit} megapixels, which may be an attack; "
            "if you trust it, make it smaller first or raise "
            "`PIL.Image.MAX_IMAGE_PIXELS`."
        ) from None
    except _NotAColorError:
        raise
    # On damaged files Pillow raises almost any exception (OSError, SyntaxError,
    # struct.error, IndexError, zlib.error, ...): all mean the same to the user.
    except Exception as error:
        raise ValueError(
            f"{label} is damaged or truncated: {error}. Save it again from its source."
        ) from error


class _NotAColorError(ValueError):
    """The values of a picture that could be read are no colors."""


def _from_pil(image: PILImage.Image, label: str) -> np.ndarray:
    """Decode to (H, W, 3 or 4) float32."""
    image.load()
    try:
        image = ImageOps.exif_transpose(image)
    # A damaged EXIF block may raise anything, and is no reason to refuse a picture.
    except Exception:
        warnings.warn(f"{label}: its EXIF data is damaged and ignored.", stacklevel=2)
    if image.mode in _DEEP_GRAY_LIMITS or image.mode.startswith("I;16"):
        rgb, alpha = _from_deep_gray(image, label)
    else:
        opaque, alpha = _split_alpha(image)
        rgb = np.asarray(to_srgb(opaque, label).convert("RGB"), np.float32) / 255
    return rgb if alpha is None else np.dstack([rgb, alpha])


_DEEP_GRAY_LIMITS = {"I": 65535.0, "F": 1.0}


def _from_deep_gray(
    image: PILImage.Image, label: str
) -> tuple[np.ndarray, np.ndarray | None]:
    limit = _DEEP_GRAY_LIMITS.get(image.mode, 65535.0)
    values = np.asarray(image).astype(np.float32)
    if not np.all((values >= 0) & (values <= limit)):
        raise _NotAColorError(
            f"{label} has values outside 0 to {limit:g} (from {values.min():g} to "
            f"{values.max():g}), which are no gray levels; scale them first."
        )
    transparent = image.info.get("transparency")
    alpha = None if transparent is None else (values != transparent).astype(np.float32)
    levels = values / limit
    curve = gray_curve(image, label)
    channels = [
        np.interp(levels, np.linspace(0, 1, 256), curve[:, i]) for i in range(3)
    ]
    return np.dstack(channels).astype(np.float32), alpha


def _split_alpha(
    image: PILImage.Image,
) -> tuple[PILImage.Image, np.ndarray | None]:
    """Return the picture without alpha, and its alpha in [0, 1] or None."""
    if image.mode == "La":
        image = image.convert("LA")
    has_alpha = image.has_transparency_data
    if image.mode == "LA":
        opaque, alpha = image.getchannel("L"), image.getchannel("A")
        opaque.info = image.info
    elif has_alpha:
        rgba = image.convert("RGBA")
        opaque, alpha = rgba.convert("RGB"), rgba.getchannel("A")
        opaque.info = image.info
    else:
        return image, None
    return opaque, np.asarray(alpha, np.float32) / 255


def _from_array(array: np.ndarray, argument: str) -> np.ndarray:
    """Check and scale an array to (H, W, 3 or 4) float32."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"`{argument}` must have shape (height, width), optionally with 1, 3 or 4 "
            f"channels last and no batch axis, got {array.shape}."
        )
    # Compared by kind and size, because arrays from files may be big-endian.
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        values = array.astype(np.float32) / np.iinfo(array.dtype).max
    # ml_dtypes' bfloat16 is no np.floating, so compare the name too.
    elif np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16":
        values = array.astype(np.float32)
        if not np.all(np.isfinite(values)):
            raise ValueError(f"`{argument}` has NaN or infinite values.")
        least, most = (values.min(), values.max()) if values.size else (0.0, 1.0)
        # Resizing and color conversion may leave values a little outside.
        if least < -_SLACK or most > 1 + _SLACK:
            advice = "divide by 255 or pass uint8" if most > 2 else "clip it"
            raise ValueError(
                f"`{argument}` must have floats within [0, 1], got {least:g} to "
                f"{most:g}; {advice}."
            )
        values = np.clip(values, 0, 1)
    else:
        raise TypeError(
            f"`{argument}` must be uint8, uint16 or floating, got {array.dtype}."
        )
    return np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values


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


def _fill_hidden(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return rgb
    mean = np.average(rgb[~hidden], axis=0, weights=alpha[~hidden])
    return np.where(hidden[..., None], mean.astype(np.float32), rgb)
