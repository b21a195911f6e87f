"""Masks and maps of strengths as pictures: read, checked and made regions."""

import contextlib
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnst._checks import suggestion
from jaxnst.config import STRENGTH_MAP
from jaxnst.images import Picture, PictureSource
from jaxnst.images.load import EXTENSIONS, Readable

from .regions import Regions, find_levels, make_regions


# Masks given by name, not as a picture.
MASK_NAMES = ("alpha", "rest")
# Largest relative difference between the aspects of a mask and the content picture.
_PROPORTION = 0.02
# A mask of several values up to this one holds numbers of classes, not gray levels.
_MAX_LABEL = 32 / 255
# Difference of the channels from which a pixel is colored.
_COLORED = 0.1
# Number of colors from which a mask is a picture in color.
_MAX_CLASSES = 64
# Fraction of the picture from which a color is one of a class, not of an edge.
_CLASS_SHARE = 0.005
# A mask that fills less than this fraction of the picture is told.
_HARDLY = 0.005


def split_strength(strength: Any) -> tuple[Any, PictureSource | None]:
    """Return the setting `strength`, and the map of strengths if it is one."""
    is_file = isinstance(strength, str | os.PathLike | bytes | bytearray | Readable)
    is_number = strength is None or getattr(strength, "ndim", 0) == 0
    if is_file or not is_number or hasattr(strength, "getbands"):
        return STRENGTH_MAP, strength
    return strength, None


def check_masks_alone(
    masks: Any, *, blend: object | None, devices: str | None, has_map: bool
) -> None:
    """Check masks as far as possible before any picture is read.

    Raises:
        ValueError: if there are no masks, or they do not go with another setting.
        TypeError: if the masks are not a list.
    """
    if (masks is not None or has_map) and devices is not None:
        what = "`masks`" if masks is not None else "`strength` as a picture"
        raise ValueError(f"{what} and `devices` do not go together; leave one out.")
    if masks is None:
        return
    if not isinstance(masks, list | tuple):
        raise TypeError(
            "`masks` must be a list of pictures, one for each style, got "
            f"{type(masks).__name__}."
        )
    if not masks:
        raise ValueError("`masks` is an empty list; give one mask for each style.")
    if blend is not None:
        raise ValueError(
            "`masks` gives each style its own region, so there is nothing to mix by "
            "`style_blend`; leave one of them out."
        )
    names = [mask for mask in masks if isinstance(mask, str) and mask in MASK_NAMES]
    if names.count("rest") > 1:
        raise ValueError("`masks` has 'rest' twice; give it once.")
    if len(masks) == 1 and names == ["rest"]:
        raise ValueError(
            "`masks` has 'rest' only, the part that other masks leave; give another "
            "mask, too, or leave `masks` out."
        )


def load_guiding(
    masks: Sequence[PictureSource] | None,
    strength: PictureSource | None,
    *,
    content: Picture,
    num_styles: int,
    fit_fn: Callable[[np.ndarray], np.ndarray],
    picture_fn: Callable[..., Picture],
) -> tuple[Regions, tuple[tuple[str, Picture], ...]]:
    """Return the regions, and (name in a record, picture) of each mask and the map.

    `fit_fn` gives a mask or map of the content's shape that of the result.
    """
    masks = [] if masks is None else list(masks)
    if masks and len(masks) != num_styles:
        raise ValueError(
            f"`masks` has {len(masks)} for {num_styles} style "
            f"picture{'s' * (num_styles > 1)}; give one mask for each style."
        )
    pictures: list[tuple[str, Picture]] = []
    maps: list[np.ndarray | None] = []
    for number, mask in enumerate(masks, start=1):
        if isinstance(mask, str) and mask == "rest":
            maps.append(None)
        elif isinstance(mask, str) and mask == "alpha":
            if content.alpha is None:
                raise ValueError(
                    "`masks` has 'alpha', but the content picture has no transparency; "
                    "give a picture as the mask."
                )
            maps.append(fit_fn(content.alpha))
        else:
            if getattr(mask, "dtype", None) == np.bool_:
                mask = np.asarray(mask).astype(np.float32)
            with naming_choices(mask, MASK_NAMES):
                picture = picture_fn(mask, argument="masks")
            title = f"`masks`: mask {number}"
            _check_proportions(picture, content, title)
            pictures.append((f"mask {len(pictures) + 1}", picture))
            # Numbers of 8 or 16 bits may be labels; floats mean what they say.
            is_exact = getattr(mask, "dtype", np.dtype("u1")).kind != "u"
            values = _gray(picture) if is_exact else read_mask(picture, title)
            maps.append(fit_fn(values))
            if 0 < values.mean() < _HARDLY:
                _tell(title, f"covers only {values.mean():.2%} of the picture")
    taken = sum(each for each in maps if each is not None)
    filled = [np.clip(1 - taken, 0, 1) if each is None else each for each in maps]
    strengths, levels = None, None
    if strength is not None:
        try:
            picture = picture_fn(strength, argument="strength")
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}. A strength is a number from 0 to 1, or a gray picture."
            ) from None
        _check_proportions(picture, content, "`strength`")
        pictures.append(("strength", picture))
        # Found before resizing, which makes strengths that nobody asked for.
        levels = find_levels(_gray(picture))
        strengths = fit_fn(_gray(picture))
    return make_regions(filled, strengths, levels), tuple(pictures)


def read_mask(picture: Picture, title: str) -> np.ndarray:
    """Return how far each pixel of a mask is inside, [0, 1].

    Mostly that is its brightness. Masks of other tools are read as what they must mean,
    with a warning that says so: a shape of one color on transparency by its opacity, a
    label map of two values, or of one color on black, as outside and inside.

    Raises:
        ValueError: if it has several classes, so that it is not clear which is inside.
    """
    rgb, alpha = picture.rgb, picture.alpha
    opacity = 1.0 if alpha is None else alpha
    if alpha is not None and alpha.min() < 1 and alpha.max() > 0:
        shown = rgb[alpha > 0]
        if np.ptp(shown, axis=0).max() < 1 / 255:
            if shown.max() < 1:
                _tell(title, "is one color on transparency; its opacity is taken")
            return alpha
    found = _colors(rgb)
    if found is None:
        return _read_gray(rgb.mean(-1), title) * opacity
    if len(found) > _MAX_CLASSES or len(found) == 1:
        _tell(title, "is a picture in color; its brightness is taken")
        return rgb.mean(-1) * opacity
    outside, *others = sorted(found, key=np.mean)
    inside = others[-1]
    if len(others) > 1 or (outside.max() > _COLORED and inside.min() < 1 - _COLORED):
        raise ValueError(
            f"{title} has {len(found)} colors, and which of them is inside is not "
            "clear; give a gray mask for each style, white where it is painted."
        )
    _tell(title, "has two colors; the brighter one is inside")
    way = inside - outside
    return np.clip((rgb - outside) @ (way / (way @ way)), 0, 1) * opacity


def _read_gray(gray: np.ndarray, title: str) -> np.ndarray:
    levels = np.flatnonzero(np.bincount(np.rint(65535 * gray).astype(int).ravel()))
    levels = levels / 65535
    if len(levels) == 2 and (levels[0] > 0 or levels[1] < 1):
        low, high = (f"{255 * level:.3g}" for level in levels)
        _tell(title, f"has the values {low} and {high} of 255; {high} is inside")
        return (gray > levels.mean()).astype(np.float32)
    if len(levels) > 2 and levels[-1] <= _MAX_LABEL:
        raise ValueError(
            f"{title} has {len(levels)} values from {255 * levels[0]:.3g} to "
            f"{255 * levels[-1]:.3g} of 255, which look like numbers of classes; give "
            "a mask for each style, white where it is painted."
        )
    return gray


def _colors(rgb: np.ndarray) -> list[np.ndarray] | None:
    """Return the colors of the classes of a mask; None if it is gray."""
    if (np.ptp(rgb, axis=-1) > _COLORED).mean() < _CLASS_SHARE:
        return None
    codes = np.rint(255 * rgb).astype(np.int64) @ (1 << 16, 1 << 8, 1)
    values, counts = np.unique(codes, return_counts=True)
    classes = values[counts >= _CLASS_SHARE * codes.size]
    if counts[np.isin(values, classes)].sum() < 0.9 * codes.size or len(classes) < 2:
        classes = values  # a picture, not classes with soft edges
    return [np.array([c >> 16, c >> 8 & 255, c & 255]) / 255 for c in classes[:99]]


def _tell(title: str, text: str) -> None:
    warnings.warn(f"{title} {text}.", stacklevel=2)


def _gray(picture: Picture) -> np.ndarray:
    gray = picture.rgb.mean(-1)
    return gray if picture.alpha is None else gray * picture.alpha


def _check_proportions(picture: Picture, content: Picture, title: str) -> None:
    height, width = picture.rgb.shape[:2]
    rows, columns = content.rgb.shape[:2]
    if abs((width * rows) / (height * columns) - 1) > _PROPORTION:
        raise ValueError(
            f"{title} is {width} x {height} px and the content picture {columns} x "
            f"{rows} px; it must have the same proportions."
        )


@contextlib.contextmanager
def naming_choices(source: PictureSource, known: Collection[str]) -> Iterator[None]:
    """Add the known names to the error about a picture that was not found."""
    try:
        yield
    except FileNotFoundError as error:
        name = Path(source).name if isinstance(source, str | os.PathLike) else ""
        is_file = name.lower().endswith(EXTENSIONS)
        hint = "" if is_file else suggestion(name, known)
        raise FileNotFoundError(
            f"{error}.{hint} Give a picture, or one of: {', '.join(known)}."
        ) from None
