"""Regions of a picture, each with its own style or its own strength of the style.

They are read from masks and from a map of strengths, which are pictures. A mask gives
the place of a region, with soft edges: 0 outside, 1 inside. A map of strengths becomes
regions, too: a few strengths represent all, and each pixel is split between the two
nearest of them, so that the strength changes smoothly.

References:
    Gatys, Ecker, Bethge, Hertzmann, Shechtman, "Controlling Perceptual Factors in
    Neural Style Transfer", CVPR 2017, section 4. Departure: guides shrink by two
    positions of each feature map, half the receptive field of a VGG's features, and by
    less if little of a small region would be left.
"""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
from jaxtyping import Float

from jaxnst._checks import suggestion
from jaxnst._types import HostImage, HostNumbers
from jaxnst.config import STRENGTH_MAP
from jaxnst.images import Picture, PictureSource, resize
from jaxnst.images.load import EXTENSIONS, Readable
from jaxnst.networks import Network


Maps = Float[np.ndarray, "regions height width"]

# Largest sum of the masks: soft edges seldom meet exactly.
_MAX_SUM = 1.02
# A region smaller than this fraction of the picture is taken for a mistake.
_MIN_SHARE = 1e-4
# Number of strengths that represent a map, and the least: below it no style is visible.
_NUM_LEVELS = 4
_LEAST = 0.02
# A strength that fills this fraction of a map is meant as it is, if such strengths fill
# this fraction together; the others are soft edges.
_MEANT = 0.02
_MOSTLY = 0.9
# Fraction of the picture's longest side, as its inverse, over which the style fades
# outside of all regions.
_EDGES = 32
# Distance of a guide from the border of its region, in positions of the feature map.
_SHRINKING = 2
# Fraction of a region that is left at least.
_LEFT = 0.4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regions:
    """The regions of a picture, with the style and the strength of each.

    Attributes:
        maps: share of every pixel in each region, [0, 1], at the size of the result.
        styles: index of each region's style picture; None: all have the blended styles.
        strengths: strength of each region, from a map; None: there is no map.
    """

    maps: Maps
    styles: tuple[int, ...] | None
    strengths: tuple[float, ...] | None

    @property
    def shares(self) -> HostNumbers:
        """Each region's fraction of the picture."""
        return self.maps.mean((1, 2)).astype(np.float32)


def make_regions(
    masks: Sequence[np.ndarray],
    strength_map: np.ndarray | None = None,
    levels: tuple[float, ...] = (),
    *,
    is_frame: bool = False,
) -> Regions:
    """Return the regions that masks and a map of strengths make, all (H, W), [0, 1].

    There is one mask for each style picture, or none; `levels` represent the map. In a
    frame of a clip masks may be empty for a while, and those of films overlap a little.
    """
    if is_frame:
        masks = [mask / np.maximum(np.sum(masks, axis=0), 1) for mask in masks]
    else:
        _check_masks(masks)
    if strength_map is None:
        maps = np.stack(masks).astype(np.float32)
        return Regions(maps=maps, styles=tuple(range(len(masks))), strengths=None)
    parts = split_strengths(strength_map, levels)
    if not masks:
        return Regions(maps=parts, styles=None, strengths=levels)
    maps = [mask * part for mask in masks for part in parts]
    return Regions(
        maps=np.stack(maps).astype(np.float32),
        styles=tuple(number for number in range(len(masks)) for _ in levels),
        strengths=levels * len(masks),
    )


def _check_masks(masks: Sequence[np.ndarray]) -> None:
    """Check that no mask is empty and that masks do not overlap."""
    for number, mask in enumerate(masks, start=1):
        if mask.mean() < _MIN_SHARE:
            raise ValueError(
                f"`masks`: mask {number} is empty (all black); white is where its "
                "style is painted."
            )
    total = np.sum(masks, axis=0)
    if np.max(total) > _MAX_SUM:
        row, column = np.unravel_index(np.argmax(total), total.shape)
        raise ValueError(
            f"`masks` overlap: in row {row}, column {column} they add up to "
            f"{total.max():.2f}; they must add up to 1 at most."
        )


def find_levels(strengths: np.ndarray) -> tuple[float, ...]:
    """Return a few strengths above 0 that represent a map, (H, W), [0, 1]."""
    some = strengths[strengths > _LEAST]
    if not some.size:
        raise ValueError(
            "`strength` is a map that is 0 everywhere, so there is nothing to paint; "
            "make it white where the full style is wanted."
        )
    values, counts = np.unique(some.round(3), return_counts=True)
    meant = counts >= _MEANT * some.size
    if not (meant.sum() <= _NUM_LEVELS and counts[meant].sum() > _MOSTLY * some.size):
        values, meant = np.unique(_centers(some).round(3)), slice(None)
    return tuple(round(float(value), 3) for value in values[meant])


def levels_of(maps: Sequence[Picture]) -> tuple[float, ...]:
    """Return a few strengths that represent several maps; () if all of them are 0."""
    strengths = np.concatenate([_gray(each).ravel() for each in maps])
    return find_levels(strengths) if (strengths > _LEAST).any() else ()


def split_strengths(strengths: np.ndarray, levels: Sequence[float]) -> Maps:
    """Return the share of every pixel of a map in each of the strengths, [0, 1].

    They add up to 1 where the map is not below the least of the strengths.
    """
    # 0 is a level, too, but needs no style.
    is_everywhere = strengths.min() > _LEAST
    known = levels if is_everywhere else (0.0, *levels)
    clipped = np.clip(strengths, known[0], known[-1])
    rows = np.eye(len(known))[0 if is_everywhere else 1 :]
    parts = [np.interp(clipped, known, row) for row in rows]
    return np.stack(parts).astype(np.float32)


def _centers(values: np.ndarray) -> np.ndarray:
    """Return the few numbers that represent many (k-means in one dimension)."""
    centers = np.unique(np.quantile(values, (np.arange(_NUM_LEVELS) + 0.5) / 4))
    spread = np.linspace(values.min(), values.max(), _NUM_LEVELS)
    centers = np.unique(np.concatenate([centers, spread[[0, -1]]]))
    sample = np.quantile(values, np.linspace(0, 1, 1001))
    for _ in range(20):
        nearest = np.argmin(np.abs(sample[:, None] - centers), axis=1)
        centers = np.array([sample[nearest == i].mean() for i in np.unique(nearest)])
        while len(centers) > _NUM_LEVELS:  # merge the two nearest
            close = np.argmin(np.diff(centers))
            centers[close] = centers[close : close + 2].mean()
            centers = np.delete(centers, close + 1)
    return centers


def guides_at(
    regions: Regions,
    network: Network,
    shape: tuple[int, int],
    layers: Collection[str],
) -> dict[str, Float[np.ndarray, "regions _ _"]]:
    """Return {layer: weight of each feature-map position in each region, [0, 1]}."""
    wraps = network.wraps
    maps = np.stack(
        [resize(each, shape, wraps=wraps, is_mask=True) for each in regions.maps]
    )
    down, across = network.margins
    seen = np.pad(maps, ((0, 0), (down, down), (across, across)), mode="reflect")
    return {
        layer: np.stack(
            [
                _shrunk(resize(each, layer_shape, wraps=wraps, is_mask=True), wraps)
                for each in seen
            ]
        ).astype(np.float32)
        for layer, layer_shape in network.layer_shapes(shape, layers).items()
    }


def keep_outside(
    image: HostImage, content: HostImage, regions: Regions, *, wraps: tuple[bool, bool]
) -> HostImage:
    """Return a picture that is the content where no region is, but for a soft edge.

    No style pulls there, and the steps of Adam, which have the same length whatever the
    gradient, would leave specks.
    """
    is_outside = regions.maps.sum(0) <= 0
    if not is_outside.any():
        return image
    if is_outside.all():
        return content
    edge = max(2, max(image.shape) // _EDGES)
    around = [(edge * wraps[0],) * 2, (edge * wraps[1],) * 2]
    padded = np.pad(is_outside, around, mode="wrap")
    distance = np.asarray(scipy.ndimage.distance_transform_edt(padded))
    (top, _), (left, _) = around
    distance = distance[top : top + image.shape[0], left : left + image.shape[1]]
    share = np.clip(distance / edge, 0, 1)[..., None]
    return (image + share * (content - image)).astype(np.float32)


def _shrunk(guide: np.ndarray, wraps: tuple[bool, bool]) -> np.ndarray:
    """Return a guide, drawn back from the border of its region."""
    modes: Any = ["wrap" if each else "nearest" for each in wraps]
    for reach in range(_SHRINKING, 0, -1):
        smaller = scipy.ndimage.minimum_filter(guide, 2 * reach + 1, mode=modes)
        if smaller.sum() >= _LEFT * guide.sum():
            return smaller
    return guide


# Masks given by name, not as a picture.
MASK_NAMES = ("alpha", "rest")
# Largest relative difference between the aspects of a mask and the content picture.
_PROPORTION = 0.02
# A mask of several values up to this one holds numbers of classes, not gray levels.
MAX_LABEL = 32 / 255
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
    """Check masks as far as possible before any picture is read."""
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
    levels: tuple[float, ...] = (),
    is_frame: bool = False,
) -> tuple[Regions, tuple[tuple[str, Picture], ...]]:
    """Return the regions, and (name in a record, picture) of each mask and the map.

    `fit_fn` gives a mask or map of the content's shape that of the result. `levels`
    represent the map; by default they are found. `is_frame` is that of `make_regions`.
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
            is_array = hasattr(mask, "__array__") and hasattr(mask, "dtype")
            kind = np.asarray(mask).dtype.kind if is_array else "u"
            if kind == "b":
                mask = np.asarray(mask).astype(np.float32)
            with naming_choices(mask, MASK_NAMES):
                picture = picture_fn(mask, argument="masks")
            title = f"`masks`: mask {number}"
            _check_proportions(picture, content, title)
            pictures.append((f"mask {len(pictures) + 1}", picture))
            # Numbers of 8 or 16 bits may be labels; floats mean what they say.
            values = _read_mask(picture, title) if kind == "u" else _gray(picture)
            maps.append(fit_fn(values))
            if 0 < values.mean() < _HARDLY and not is_frame:
                _tell(title, f"covers only {values.mean():.2%} of the picture")
    taken = sum(each for each in maps if each is not None)
    filled = [np.clip(1 - taken, 0, 1) if each is None else each for each in maps]
    strengths = None
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
        levels = levels or find_levels(_gray(picture))
        strengths = fit_fn(_gray(picture))
    regions = make_regions(filled, strengths, levels, is_frame=is_frame)
    return regions, tuple(pictures)


def _read_mask(picture: Picture, title: str) -> np.ndarray:
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
    if len(levels) > 2 and levels[-1] <= MAX_LABEL:
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
