"""Pictures that say where: masks of regions, and maps of strengths."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._checks import suggestion
from ._types import HostAlpha
from .config import STRENGTH_MAP
from .images import Picture, PictureSource, resize
from .images.reading import EXTENSIONS
from .regions import Regions, make_regions
from .tiling import Fade, make_tileable


# Masks that are no pictures of their own.
MASK_NAMES = ("alpha", "rest")
# By how much the proportions of a mask may differ from the content picture's.
_PROPORTION = 0.02


class Guiding(NamedTuple):
    """What says where.

    Attributes:
        regions: of the result.
        pictures: (what it is called in a record, picture) of all that were read.
    """

    regions: Regions
    pictures: tuple[tuple[str, Picture], ...]


def split_strength(strength: Any) -> tuple[Any, PictureSource | None]:
    """Tell a strength for all of a picture from a map of strengths.

    Returns:
        The setting, and the picture if it is one.
    """
    is_path = isinstance(strength, str | os.PathLike)
    is_number = strength is None or getattr(strength, "ndim", 0) == 0
    if is_path or not is_number or hasattr(strength, "getbands"):
        return STRENGTH_MAP, strength
    return strength, None


def check_masks_alone(
    masks: Any, *, blend: object | None, devices: str | None, has_map: bool
) -> None:
    """Check what can be known of masks before any picture is read.

    Args:
        masks: as for `jaxnst.stylize`.
        blend: whether styles are blended.
        devices: as `TransferConfig` has it.
        has_map: whether there is a map of strengths.

    Raises:
        ValueError: if there is none, or something does not go with them.
        TypeError: if it is no list.
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
        raise ValueError("`masks` is an empty list; give one for each style.")
    if blend is not None:
        raise ValueError(
            "each of the `masks` has a style of its own, which leaves nothing to "
            "`style_blend`; leave one of them out."
        )
    names = [mask for mask in masks if isinstance(mask, str) and mask in MASK_NAMES]
    if names.count("rest") > 1:
        raise ValueError("`masks` has 'rest' twice; there is one rest.")
    if len(masks) == 1 and names == ["rest"]:
        raise ValueError("`masks` has 'rest' only; it is what other masks leave.")


def load_guiding(
    masks: Sequence[PictureSource] | None,
    strength: PictureSource | None,
    *,
    content: Picture,
    num_styles: int,
    shape: tuple[int, int],
    fade: Fade,
    wraps: tuple[bool, bool],
    picture_fn: Callable[..., Picture],
) -> Guiding | None:
    """Read masks and a map of strengths; None if there are none.

    Args:
        masks: as for `jaxnst.stylize`.
        strength: a map, likewise.
        content: the picture that they are of.
        num_styles: how many style pictures there are.
        shape: height and width of the result.
        fade: how its borders are, see `jaxnst.tiling`.
        wraps: whether it goes on at its other end, down and across.
        picture_fn: as `load_picture`.

    Raises:
        ValueError, TypeError, OSError: if one is unusable.
    """
    if masks is None and strength is None:
        return None
    masks = [] if masks is None else list(masks)
    if masks and len(masks) != num_styles:
        raise ValueError(
            f"`masks` has {len(masks)} for {num_styles} style "
            f"picture{'s' * (num_styles > 1)}; give one for each style."
        )
    pictures: list[tuple[str, Picture]] = []

    def fitted(values: np.ndarray) -> np.ndarray:
        return resize(make_tileable(values, fade), shape, wraps=wraps)

    def read(source: PictureSource, argument: str, title: str) -> np.ndarray:
        picture = picture_fn(_plain(source), argument=argument)
        _check_proportions(picture, content, title)
        name = f"mask {len(pictures) + 1}" if argument == "masks" else argument
        pictures.append((name, picture))
        return fitted(_gray(picture))

    maps: list[np.ndarray | None] = []
    for number, mask in enumerate(masks, start=1):
        if isinstance(mask, str) and mask == "rest":
            maps.append(None)
        elif isinstance(mask, str) and mask == "alpha":
            maps.append(fitted(_opacity(content)))
        else:
            try:
                maps.append(read(mask, "masks", f"`masks`: mask {number}"))
            except FileNotFoundError as error:
                raise _with_names(error, mask) from None
    taken = sum(each for each in maps if each is not None)
    filled = [np.clip(1 - taken, 0, 1) if each is None else each for each in maps]
    strengths = None
    if strength is not None:
        try:
            strengths = read(strength, "strength", "`strength`")
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}. A strength is a number from 0 to 1, or a gray picture."
            ) from None
    return Guiding(make_regions(filled, strengths), tuple(pictures))


def _plain(source: PictureSource) -> PictureSource:
    """Return masks of True and False as pictures."""
    if getattr(source, "dtype", None) == np.bool_:
        return np.asarray(source).astype(np.float32)
    return source


def _gray(picture: Picture) -> np.ndarray:
    gray = picture.rgb.mean(-1)
    return gray if picture.alpha is None else gray * picture.alpha


def _opacity(content: Picture) -> HostAlpha:
    if content.alpha is None:
        raise ValueError(
            "`masks` has 'alpha', but the content picture has no transparency; give a "
            "mask of its own."
        )
    return content.alpha


def _check_proportions(picture: Picture, content: Picture, title: str) -> None:
    height, width = picture.rgb.shape[:2]
    rows, columns = content.rgb.shape[:2]
    if abs((width * rows) / (height * columns) - 1) > _PROPORTION:
        raise ValueError(
            f"{title} is {width} x {height} px and the content picture {columns} x "
            f"{rows} px; it must have the same proportions."
        )


def _with_names(error: FileNotFoundError, mask: PictureSource) -> FileNotFoundError:
    name = Path(mask).name if isinstance(mask, str | os.PathLike) else ""
    is_file = name.lower().endswith(EXTENSIONS)
    hint = "" if is_file else suggestion(name, MASK_NAMES)
    return FileNotFoundError(
        f"{error}.{hint} Known besides pictures: {', '.join(MASK_NAMES)}."
    )
