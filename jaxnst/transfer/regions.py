"""Regions of a picture, each with its own style or its own strength of the style.

A mask gives the place of a region, with soft edges: 0 outside, 1 inside. A map of
strengths becomes regions, too: a few strengths represent all, and each pixel is split
between the two nearest of them, so that the strength changes smoothly.

References:
    Gatys, Ecker, Bethge, Hertzmann, Shechtman, "Controlling Perceptual Factors in
    Neural Style Transfer", CVPR 2017, section 4. Departure: guides shrink by two
    positions of each feature map, half the receptive field of a VGG's features, and by
    less if little of a small region would be left.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxnst._checks import suggestion
from jaxnst._types import HostAlpha, HostNumbers
from jaxnst.config import STRENGTH_MAP
from jaxnst.images import Picture, PictureSource, resize
from jaxnst.images.load import EXTENSIONS
from jaxnst.images.tiling import Fade, make_tileable
from jaxnst.networks import Network


Maps = Float[np.ndarray, "regions height width"]

# Largest sum of the masks: soft edges seldom meet exactly.
_MAX_SUM = 1.02
# A region smaller than this fraction of the picture is taken for a mistake.
_MIN_SHARE = 1e-4
# Number of strengths that represent a map, and the least: below it no style is visible.
_NUM_LEVELS = 4
_LEAST = 0.02
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


class Guides(NamedTuple):
    """The weights of feature-map positions in each region.

    Attributes:
        guides: {layer: weights [0, 1] of shape (regions, rows, columns)}.
        shares: each region's fraction of the picture.
    """

    guides: Mapping[str, Float[np.ndarray, "regions _ _"]]
    shares: HostNumbers


def make_regions(
    masks: Sequence[np.ndarray], strength_map: np.ndarray | None
) -> Regions:
    """Return the regions that masks and a map of strengths make.

    Args:
        masks: one mask for each style picture, or none; (H, W), [0, 1].
        strength_map: map of strengths of the same size, if there is one; [0, 1].
    """
    check_masks(masks)
    if strength_map is None:
        assert masks
        maps = np.stack(masks).astype(np.float32)
        return Regions(maps=maps, styles=tuple(range(len(masks))), strengths=None)
    levels, parts = split_strengths(strength_map)
    if not masks:
        return Regions(maps=parts, styles=None, strengths=levels)
    maps = [mask * part for mask in masks for part in parts]
    return Regions(
        maps=np.stack(maps).astype(np.float32),
        styles=tuple(number for number in range(len(masks)) for _ in levels),
        strengths=levels * len(masks),
    )


def check_masks(masks: Sequence[np.ndarray]) -> None:
    """Check that no mask is empty and that masks do not overlap.

    Raises:
        ValueError: if a mask is empty, or masks add up to more than 1 somewhere.
    """
    for number, mask in enumerate(masks, start=1):
        if mask.mean() < _MIN_SHARE:
            raise ValueError(
                f"`masks`: mask {number} is empty (all black); white is where its "
                "style is painted."
            )
    if not masks:
        return
    total = np.sum(masks, axis=0)
    if total.max() > _MAX_SUM:
        row, column = np.unravel_index(np.argmax(total), total.shape)
        raise ValueError(
            f"`masks` overlap: in row {row}, column {column} they add up to "
            f"{total.max():.2f}; they must add up to 1 at most."
        )


def split_strengths(strengths: np.ndarray) -> tuple[tuple[float, ...], Maps]:
    """Return a few strengths that represent a map, and each pixel's share of them.

    Args:
        strengths: map of strengths, (H, W), [0, 1].

    Returns:
        The strengths above 0, and their maps, [0, 1], which add up to 1 where the
        strength is not below the least of them.

    Raises:
        ValueError: if the map is 0 everywhere.
    """
    some = strengths[strengths > _LEAST]
    if not some.size:
        raise ValueError(
            "`strength` is a map that is 0 everywhere, so there is nothing to paint; "
            "make it white where the full style is wanted."
        )
    levels = np.unique(np.round(_centers(some), 3))
    # 0 is a level, too, but needs no style.
    is_everywhere = some.size == strengths.size
    known = levels if is_everywhere else np.concatenate([[0.0], levels])
    clipped = np.clip(strengths, known[0], known[-1])
    parts = [
        np.interp(clipped, known, np.eye(len(known))[index])
        for index in range(len(known))
    ]
    parts = parts[0 if is_everywhere else 1 :]
    return tuple(map(float, levels)), np.stack(parts).astype(np.float32)


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
) -> Guides:
    """Return the weights of feature-map positions in each region."""
    wraps = network.wraps
    maps = np.stack([resize(each, shape, wraps=wraps) for each in regions.maps])
    down, across = network.margins
    seen = np.pad(maps, ((0, 0), (down, down), (across, across)), mode="reflect")
    guides = {}
    for layer, layer_shape in layer_shapes(network, shape, layers).items():
        guides[layer] = np.stack(
            [_shrunk(resize(each, layer_shape, wraps=wraps), wraps) for each in seen]
        ).astype(np.float32)
    return Guides(guides, regions.shares)


def layer_shapes(
    network: Network, shape: tuple[int, int], layers: Collection[str]
) -> dict[str, tuple[int, int]]:
    """Return {layer: height and width of its feature map}."""
    image = jax.ShapeDtypeStruct((*shape, 3), jnp.float32)
    found = jax.eval_shape(
        functools.partial(_features, layers=tuple(layers)), network, image
    )
    return {layer: found[layer].shape[:2] for layer in layers}


def _features(network, image, *, layers):
    return network(image, layers)


def _shrunk(guide: np.ndarray, wraps: tuple[bool, bool]) -> np.ndarray:
    """Return a guide, drawn back from the border of its region."""
    for reach in range(_SHRINKING, 0, -1):
        smaller = _least_near(guide, reach, wraps)
        if smaller.sum() >= _LEFT * guide.sum():
            return smaller
    return guide


def _least_near(guide: np.ndarray, reach: int, wraps: tuple[bool, bool]) -> np.ndarray:
    """Return the least value within `reach` of each position (an erosion)."""
    for axis in (0, 1):
        around = [(0, 0), (0, 0)]
        around[axis] = (reach, reach)
        padded = np.pad(guide, around, mode="wrap" if wraps[axis] else "edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis)
        guide = windows.min(-1)
    return guide


# Masks given by name, not as a picture.
MASK_NAMES = ("alpha", "rest")
# Largest relative difference between the aspects of a mask and the content picture.
_PROPORTION = 0.02


class Guiding(NamedTuple):
    """Regions, and the pictures they were made from.

    Attributes:
        regions: regions of the result.
        pictures: (name in a record, picture) of each mask or map that was read.
    """

    regions: Regions
    pictures: tuple[tuple[str, Picture], ...]


def split_strength(strength: Any) -> tuple[Any, PictureSource | None]:
    """Return the setting `strength`, and the map of strengths if it is one."""
    is_path = isinstance(strength, str | os.PathLike)
    is_number = strength is None or getattr(strength, "ndim", 0) == 0
    if is_path or not is_number or hasattr(strength, "getbands"):
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
    shape: tuple[int, int],
    fade: Fade,
    wraps: tuple[bool, bool],
    picture_fn: Callable[..., Picture],
) -> Guiding | None:
    """Return the regions of masks and a map of strengths; None if there are none."""
    if masks is None and strength is None:
        return None
    masks = [] if masks is None else list(masks)
    if masks and len(masks) != num_styles:
        raise ValueError(
            f"`masks` has {len(masks)} for {num_styles} style "
            f"picture{'s' * (num_styles > 1)}; give one mask for each style."
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
    """Return a mask of booleans as numbers, anything else as it is."""
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
            "picture as the mask."
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
        f"{error}.{hint} Give a picture, or one of: {', '.join(MASK_NAMES)}."
    )
