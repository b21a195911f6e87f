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
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jaxtyping import Float

from jaxnst._types import HostImage, HostNumbers
from jaxnst.images import resize
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
    strength_map: np.ndarray | None,
    levels: tuple[float, ...] | None = None,
) -> Regions:
    """Return the regions that masks and a map of strengths make.

    Args:
        masks: one mask for each style picture, or none; (H, W), [0, 1].
        strength_map: map of strengths of the same size, if there is one; [0, 1].
        levels: strengths that represent the map; None: they are found in it.
    """
    check_masks(masks)
    if strength_map is None:
        maps = np.stack(masks).astype(np.float32)
        return Regions(maps=maps, styles=tuple(range(len(masks))), strengths=None)
    levels = find_levels(strength_map) if levels is None else levels
    parts = split_strengths(strength_map, levels)
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


def find_levels(strengths: np.ndarray) -> tuple[float, ...]:
    """Return a few strengths above 0 that represent a map, (H, W), [0, 1].

    Raises:
        ValueError: if the map is 0 everywhere.
    """
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
        for layer, layer_shape in layer_shapes(network, shape, layers).items()
    }


def keep_outside(
    image: HostImage, content: HostImage, regions: Regions, *, wraps: tuple[bool, bool]
) -> HostImage:
    """Return a picture that is the content where no region is, but for a soft edge.

    No style pulls there, and the steps of Adam, which have the same length whatever the
    gradient, would leave specks.
    """
    is_outside = regions.maps.sum(0) <= 0
    if not is_outside.any() or is_outside.all():
        return image
    edge = max(2, max(image.shape) // _EDGES)
    around = [(edge * wraps[0],) * 2, (edge * wraps[1],) * 2]
    padded = np.pad(is_outside, around, mode="wrap")
    distance = np.asarray(scipy.ndimage.distance_transform_edt(padded))
    (top, _), (left, _) = around
    distance = distance[top : top + image.shape[0], left : left + image.shape[1]]
    share = np.clip(distance / edge, 0, 1)[..., None]
    return (image + share * (content - image)).astype(np.float32)


def layer_shapes(
    network: Network, shape: tuple[int, int], layers: Collection[str]
) -> dict[str, tuple[int, int]]:
    """Return {layer: height and width of its feature map}."""
    image = jax.ShapeDtypeStruct((*shape, 3), jnp.float32)
    found = jax.eval_shape(
        lambda network, image: network(image, tuple(layers)), network, image
    )
    return {layer: found[layer].shape[:2] for layer in layers}


def _shrunk(guide: np.ndarray, wraps: tuple[bool, bool]) -> np.ndarray:
    """Return a guide, drawn back from the border of its region."""
    modes: Any = ["wrap" if each else "nearest" for each in wraps]
    for reach in range(_SHRINKING, 0, -1):
        smaller = scipy.ndimage.minimum_filter(guide, 2 * reach + 1, mode=modes)
        if smaller.sum() >= _LEFT * guide.sum():
            return smaller
    return guide
