"""Correspondence: for each patch of a picture the most similar one of the styles."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnst._types import AnyHostImage, FeatureMap, HostImage, Image
from jaxnst.losses.nearest_neighbor import center_samples, nearest_samples, unit_samples
from jaxnst.networks import Network

from .attribution import Map


# Width of a patch, in positions of a feature map. With a VGG that is the receptive
# field of relu3_1, and most of what deeper layers respond to.
_PATCH = 6


class Correspondence(NamedTuple):
    """Correspondence of a picture to the style pictures, at one layer.

    Attributes:
        layer: name of the layer.
        stride: distance from one position of its feature map to the next, in pixels.
        patch: width of a patch, in pixels.
        centers: row and column of each position in the picture, in pixels.
        styles: number of the style picture with the most similar position.
        sources: row and column of that position in its style picture, in pixels.
        similarity: cosine of the two features, -1 to 1.
    """

    layer: str
    stride: float
    patch: int
    centers: Float[np.ndarray, "_ _ 2"]
    styles: Int[np.ndarray, "_ _"]
    sources: Float[np.ndarray, "_ _ 2"]
    similarity: Float[np.ndarray, "_ _"]


class Match(NamedTuple):
    """A patch and the most similar one of a style picture; their centers in pixels."""

    center: tuple[float, float]
    style: int
    source: tuple[float, float]
    similarity: float


def correspondence_layers(layers: Sequence[str]) -> list[str]:
    """Return the two middle layers, or the only one, of layers from fine to coarse.

    Of five layers these are the third and the fourth, which respond to one stroke and
    to several.
    """
    middle = (len(layers) - 1) // 2
    return list(layers[middle : middle + 2])


def find_correspondences(
    network: Network,
    image: HostImage,
    styles: Sequence[AnyHostImage],
    layers: Sequence[str],
) -> list[Correspondence]:
    """Return, for each layer, the most similar style patches of a picture's patches.

    Features are compared by the cosine of their angle, less their mean over the style
    pictures, as in `jaxnst.losses.neighbor_error`, but with all positions of the style
    pictures. The similarities are computed in blocks that fit into memory.

    Args:
        network: network with the layers.
        image: picture, RGB in [0, 1].
        styles: style pictures, RGB in [0, 1], at the size at which they were used for
            painting.
        layers: names of the layers.

    References:
        The matching is that of Li, Wand, "Combining Markov Random Fields and
        Convolutional Neural Networks for Image Synthesis", CVPR 2016, eq. 3, with the
        features centered and patches of one place.
    """
    # Style pictures do not wrap around, though the picture may.
    unwrapped = network.changed(padding="reflect") if any(network.wraps) else network
    names = tuple(layers)
    own = _features(network, jnp.asarray(image), layers=names)
    others = [
        _features(unwrapped, jnp.asarray(style), layers=names) for style in styles
    ]
    found = []
    for layer in names:
        centers, points = _positions(own[layer], image.shape, network)
        parts = [
            _positions(features[layer], style.shape, unwrapped)
            for style, features in zip(styles, others, strict=True)
        ]
        sources = np.concatenate([places.reshape(-1, 2) for places, _ in parts])
        numbers = np.repeat(np.arange(len(parts)), [len(part) for _, part in parts])
        index, similarity = _nearest(
            points, np.concatenate([part for _, part in parts])
        )
        shape = centers.shape[:2]
        index = np.asarray(index).reshape(shape)
        stride = _stride(own[layer].shape[0], image.shape[0], network.margins[0])
        found.append(
            Correspondence(
                layer=layer,
                stride=stride,
                patch=round(_PATCH * stride),
                centers=centers,
                styles=numbers[index],
                sources=sources[index],
                similarity=np.asarray(similarity).reshape(shape),
            )
        )
    return found


def rebuild(
    nearest: Correspondence, shape: tuple[int, int], styles: Sequence[AnyHostImage]
) -> HostImage:
    """Return the picture of height and width `shape`, rebuilt from style pixels.

    The pixels around each position are those around its most similar position.
    """
    rows, columns = (
        np.abs(np.arange(length)[:, None] + 0.5 - centers[None]).argmin(1)
        for length, centers in zip(
            shape, (nearest.centers[:, 0, 0], nearest.centers[0, :, 1]), strict=True
        )
    )
    grid = np.ix_(rows, columns)
    here = np.moveaxis(np.indices(shape), 0, -1)
    there = nearest.sources[grid] + (here + 0.5 - nearest.centers[grid])
    rebuilt = np.zeros((*shape, 3), np.float32)
    for number, style in enumerate(styles):
        y, x = (
            np.clip(np.floor(there[..., axis]).astype(int), 0, style.shape[axis] - 1)
            for axis in (0, 1)
        )
        is_here = nearest.styles[grid] == number
        rebuilt[is_here] = style[y, x][is_here]
    return rebuilt


def position_map(
    nearest: Correspondence, style_shapes: Sequence[tuple[int, int]]
) -> Float[np.ndarray, "rows columns 3"]:
    """Return the position of each most similar patch as a color."""
    places = np.clip(nearest.sources / np.asarray(style_shapes)[nearest.styles], 0, 1)
    return position_colors(places[..., 0], places[..., 1])


def position_colors(
    down: Float[np.ndarray, "*shape"], across: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape 3"]:
    """Return colors that stand for positions, from 0 at the top left to 1."""
    # The color-blind can tell these four apart (blue, turquoise, red, yellow).
    corners = np.array(
        [
            [[0.10, 0.25, 0.70], [0.20, 0.75, 0.85]],
            [[0.75, 0.15, 0.20], [0.98, 0.85, 0.25]],
        ],
        np.float32,
    )
    top = corners[0, 0] + across[..., None] * (corners[0, 1] - corners[0, 0])
    bottom = corners[1, 0] + across[..., None] * (corners[1, 1] - corners[1, 0])
    return (top + down[..., None] * (bottom - top)).astype(np.float32)


def pick_matches(
    nearest: Correspondence, lightness: Map, count: int = 8
) -> list[Match]:
    """Return up to `count` similar and detailed patches far from each other."""
    shape = nearest.similarity.shape
    half = max(1, nearest.patch // 2)
    spread = np.zeros(shape)
    for index in np.ndindex(shape):
        y, x = nearest.centers[index].astype(int)
        window = lightness[max(0, y - half) : y + half, max(0, x - half) : x + half]
        spread[index] = window.std() if window.size else 0.0
    score = np.maximum(nearest.similarity, 0) * np.sqrt(spread)
    # Patches that reach beyond the border cannot be shown whole.
    for axis in (0, 1):
        centers = nearest.centers[..., axis]
        size = lightness.shape[axis]
        score[(centers < half) | (centers > size - half)] = 0
    reach = 0.8 * np.sqrt(lightness.size / count)
    matches = []
    for _ in range(count):
        best = np.unravel_index(int(score.argmax()), shape)
        if score[best] <= 0:
            break
        center, source = nearest.centers[best], nearest.sources[best]
        distance = np.sqrt(np.sum(np.square(nearest.centers - center), axis=-1))
        score = np.where(distance < reach, 0.0, score)
        matches.append(
            Match(
                center=(float(center[0]), float(center[1])),
                style=int(nearest.styles[best]),
                source=(float(source[0]), float(source[1])),
                similarity=float(nearest.similarity[best]),
            )
        )
    return matches


@jax.jit
def _nearest(
    own: Float[Array, "points channels"], samples: Float[Array, "samples channels"]
) -> tuple[Int[Array, " points"], Float[Array, " points"]]:
    """Return the sample that is most similar to each point, and its similarity."""
    target = center_samples(samples)
    units = unit_samples(own - target.center[None])
    nearest = nearest_samples(units, target.unit)
    return nearest, jnp.sum(units * target.unit[nearest], axis=1)


@functools.partial(jax.jit, static_argnames=("layers",))
def _features(
    network: Network, image: Image, *, layers: tuple[str, ...]
) -> dict[str, FeatureMap]:
    found = network(image, layers)
    return {layer: found[layer].astype(jnp.float32) for layer in layers}


def _stride(count: int, length: int, margin: int) -> float:
    """Return the distance of a feature map's positions in pixels, a power of two."""
    return float(2 ** round(np.log2((length + 2 * margin) / count)))


def _positions(
    features: FeatureMap, shape: Sequence[int], network: Network
) -> tuple[np.ndarray, np.ndarray]:
    """Return places (rows, columns, 2) inside a picture, and their features (n, c)."""
    centers, inside = [], []
    for number, length, margin in zip(
        features.shape[:2], shape[:2], network.margins, strict=True
    ):
        middle = (np.arange(number) + 0.5) * _stride(number, length, margin) - margin
        inside.append(np.flatnonzero((middle > 0) & (middle < length)))
        centers.append(middle[inside[-1]])
    within = np.asarray(features)[np.ix_(*inside)]
    grid = np.stack(np.meshgrid(*centers, indexing="ij"), axis=-1)
    return grid, within.reshape(-1, within.shape[-1])
