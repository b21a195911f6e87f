"""Correspondence: for each patch of a picture the most similar one of the styles."""

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


class Origins(NamedTuple):
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


class Link(NamedTuple):
    """A patch of a picture and the most similar one of a style picture.

    Attributes:
        center: row and column of the patch's center in the picture, in pixels.
        style: number of the style picture.
        source: row and column of the center of the similar patch there, in pixels.
        similarity: cosine of the two features, -1 to 1.
    """

    center: tuple[float, float]
    style: int
    source: tuple[float, float]
    similarity: float


def correspondence_layers(layers: Sequence[str]) -> list[str]:
    """Return the two layers at which patches are compared, finer and coarser.

    Of five layers these are the third and the fourth, which respond to one stroke and
    to several.

    Args:
        layers: style layers, from fine to coarse.
    """
    if len(layers) < 3:
        return list(layers)
    return [layers[len(layers) // 2], layers[-2 if len(layers) > 3 else -1]]


def find_origins(
    network: Network,
    image: HostImage,
    styles: Sequence[AnyHostImage],
    layers: Sequence[str],
) -> list[Origins]:
    """Return, for each layer, the most similar style patches of a picture's patches.

    Features are compared by the cosine of their angle, less their mean over the style
    pictures, as in `jaxnst.losses.neighbor_error`, but with all positions of the style
    pictures. The similarities are computed in blocks that fit into memory.

    Args:
        network: network with the layers.
        image: picture, RGB in [0, 1].
        styles: style pictures, at the size at which they were used for painting.
        layers: names of the layers.

    References:
        The matching is that of Li, Wand, "Combining Markov Random Fields and
        Convolutional Neural Networks for Image Synthesis", CVPR 2016, eq. 3, with the
        features centered and patches of one place.
    """
    # Style pictures do not wrap around, though the picture may.
    unwrapped = network.changed(padding="reflect") if any(network.wraps) else network
    names = tuple(layers)
    own = compiled_features(network, jnp.asarray(image), layers=names)
    others = [
        compiled_features(unwrapped, jnp.asarray(style), layers=names)
        for style in styles
    ]
    found = []
    for layer in names:
        centers, inside = _places(own[layer].shape[:2], image.shape[:2], network)
        sources, pictures, samples = [], [], []
        for number, (style, features) in enumerate(zip(styles, others, strict=True)):
            places, within = _places(
                features[layer].shape[:2], style.shape[:2], unwrapped
            )
            sources.append(places.reshape(-1, 2))
            pictures.append(np.full(len(sources[-1]), number))
            flat = _flat(np.asarray(features[layer])[within])
            samples.append(flat)
        place, similarity = compiled_match(
            _flat(np.asarray(own[layer])[inside]), np.concatenate(samples)
        )
        shape = centers.shape[:2]
        place = np.asarray(place).reshape(shape)
        stride = _stride(own[layer].shape[0], image.shape[0], network.margins[0])
        found.append(
            Origins(
                layer=layer,
                stride=stride,
                patch=round(_PATCH * stride),
                centers=centers,
                styles=np.concatenate(pictures)[place],
                sources=np.concatenate(sources)[place],
                similarity=np.asarray(similarity).reshape(shape),
            )
        )
    return found


def rebuild(
    origins: Origins, shape: tuple[int, int], styles: Sequence[AnyHostImage]
) -> HostImage:
    """Return the picture rebuilt from pixels of the style pictures.

    The pixels around each position are those around its most similar position.

    Args:
        origins: correspondence of the picture.
        shape: height and width of the picture, in pixels.
        styles: style pictures, as in `find_origins`.
    """
    rows, columns = (
        np.abs(np.arange(length)[:, None] + 0.5 - centers[None]).argmin(1)
        for length, centers in zip(
            shape, (origins.centers[:, 0, 0], origins.centers[0, :, 1]), strict=True
        )
    )
    grid = np.ix_(rows, columns)
    here = np.stack(
        np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij"), axis=-1
    )
    there = origins.sources[grid] + (here + 0.5 - origins.centers[grid])
    rebuilt = np.zeros((*shape, 3), np.float32)
    for number, style in enumerate(styles):
        y, x = (
            np.clip(np.floor(there[..., axis]).astype(int), 0, style.shape[axis] - 1)
            for axis in (0, 1)
        )
        is_here = origins.styles[grid] == number
        rebuilt[is_here] = style[y, x][is_here]
    return rebuilt


def position_map(
    origins: Origins, style_shapes: Sequence[tuple[int, int]]
) -> Float[np.ndarray, "rows columns 3"]:
    """Return the position of each most similar patch as a color, see `position_colors`.

    Args:
        origins: correspondence of the picture.
        style_shapes: height and width of the style pictures, in pixels.
    """
    colors = np.zeros((*origins.styles.shape, 3), np.float32)
    for number, shape in enumerate(style_shapes):
        y, x = (
            np.clip(origins.sources[..., axis] / shape[axis], 0, 1) for axis in (0, 1)
        )
        is_here = origins.styles == number
        colors[is_here] = position_colors(y, x)[is_here]
    return colors


def position_colors(
    down: Float[np.ndarray, "*shape"], across: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape 3"]:
    """Return colors that stand for positions, interpolated between four corners.

    Args:
        down: vertical position, 0 at the top, 1 at the bottom.
        across: horizontal position, 0 at the left, 1 at the right.
    """
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


def pick_links(origins: Origins, lightness: Map, count: int = 8) -> list[Link]:
    """Return similar and detailed patches that lie far from each other.

    Args:
        origins: correspondence of the picture.
        lightness: lightness of the picture, [0, 1].
        count: largest number of patches.
    """
    shape = origins.similarity.shape
    half = max(1, origins.patch // 2)
    spread = np.zeros(shape)
    for index in np.ndindex(shape):
        y, x = origins.centers[index].astype(int)
        window = lightness[max(0, y - half) : y + half, max(0, x - half) : x + half]
        spread[index] = window.std() if window.size else 0.0
    score = np.maximum(origins.similarity, 0) * np.sqrt(spread)
    # Patches that reach beyond the border cannot be shown whole.
    for axis in (0, 1):
        centers = origins.centers[..., axis]
        size = lightness.shape[axis]
        score[(centers < half) | (centers > size - half)] = 0
    reach = 0.8 * np.sqrt(lightness.size / count)
    links = []
    for _ in range(count):
        best = np.unravel_index(int(score.argmax()), shape)
        if score[best] <= 0:
            break
        center, source = origins.centers[best], origins.sources[best]
        distance = np.sqrt(np.sum(np.square(origins.centers - center), axis=-1))
        score = np.where(distance < reach, 0.0, score)
        links.append(
            Link(
                center=(float(center[0]), float(center[1])),
                style=int(origins.styles[best]),
                source=(float(source[0]), float(source[1])),
                similarity=float(origins.similarity[best]),
            )
        )
    return links


def match(
    own: Float[Array, "points channels"], samples: Float[Array, "samples channels"]
) -> tuple[Int[Array, " points"], Float[Array, " points"]]:
    """Return the sample that is most similar to each point, and its similarity.

    Args:
        own: features of the points.
        samples: features of the style pictures.
    """
    target = center_samples(samples)
    units = unit_samples(own - target.center[None])
    nearest = nearest_samples(units, target.unit)
    return nearest, jnp.sum(units * target.unit[nearest], axis=1)


def features(
    network: Network, image: Image, *, layers: tuple[str, ...]
) -> dict[str, FeatureMap]:
    """Return feature maps in float32.

    Args:
        network: network with the layers.
        image: picture, RGB in [0, 1].
        layers: names of the layers.
    """
    found = network(image, layers)
    return {layer: found[layer].astype(jnp.float32) for layer in layers}


compiled_features = jax.jit(features, static_argnames=("layers",))
compiled_match = jax.jit(match)


def _flat(features: np.ndarray) -> np.ndarray:
    return features.reshape(-1, features.shape[-1])


def _stride(count: int, length: int, margin: int) -> float:
    """Return the distance of a feature map's positions in pixels, a power of two."""
    return float(2 ** round(np.log2((length + 2 * margin) / count)))


def _places(
    count: tuple[int, int], shape: tuple[int, int], network: Network
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return the positions of a feature map inside its picture, and their indices."""
    centers, inside = [], []
    for number, length, margin in zip(count, shape, network.margins, strict=True):
        stride = _stride(number, length, margin)
        middle = (np.arange(number) + 0.5) * stride - margin
        within = np.flatnonzero((middle > 0) & (middle < length))
        centers.append(middle[within])
        inside.append(within)
    grid = np.stack(np.meshgrid(*centers, indexing="ij"), axis=-1)
    return grid, np.ix_(*inside)
