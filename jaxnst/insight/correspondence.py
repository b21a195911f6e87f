"""Where strokes come from: for every patch the most similar one of the painting."""

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


# A patch is so many places of a feature map wide. With a VGG that is all that relu3_1
# sees, and most of what deeper layers respond to.
_PATCH = 6


class Origins(NamedTuple):
    """For every place of a layer's feature map, the most similar one of the styles.

    Attributes:
        layer: its name.
        stride: pixels from one place to the next.
        patch: width of what is called a patch, in pixels.
        centers: row and column of each place in the picture, in pixels, (rows, columns,
            2).
        styles: which style picture the similar place is in.
        sources: row and column of its center in that picture, in pixels.
        similarity: cosine of the two features, from -1 to 1.
    """

    layer: str
    stride: float
    patch: int
    centers: Float[np.ndarray, "_ _ 2"]
    styles: Int[np.ndarray, "_ _"]
    sources: Float[np.ndarray, "_ _ 2"]
    similarity: Float[np.ndarray, "_ _"]


class Link(NamedTuple):
    """A patch and where it comes from, in pixels of the two pictures.

    Attributes:
        center: row and column in the picture.
        style: which style picture.
        source: row and column there.
        similarity: cosine of the two features.
    """

    center: tuple[float, float]
    style: int
    source: tuple[float, float]
    similarity: float


def origin_layers(layers: Sequence[str]) -> list[str]:
    """Return the two layers at which patches are compared, finer and coarser.

    Args:
        layers: the style layers, from fine to coarse; of five the third and the fourth,
            which see a stroke and some strokes.
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
    """Return where every patch of a picture comes from, at each layer.

    Compared are the features of `network`, less their mean over the style pictures, by
    the cosine of their angle, as `jaxnst.losses.neighbor_error` does; but with every
    place of the style pictures. So many similarities are held at a time as fit.

    Args:
        network: whose layers they are.
        image: the picture.
        styles: the style pictures, as large as its painting looked at them.
        layers: at which they are compared.

    References:
        The matching is that of Li, Wand, "Combining Markov Random Fields and
        Convolutional Neural Networks for Image Synthesis", CVPR 2016, eq. 3, with the
        features centered and patches of one place.
    """
    # A painting does not go around, though the picture may.
    looking = network.changed(padding="reflect") if any(network.wraps) else network
    names = tuple(layers)
    own = compiled_features(network, jnp.asarray(image), layers=names)
    others = [
        compiled_features(looking, jnp.asarray(style), layers=names) for style in styles
    ]
    found = []
    for layer in names:
        centers, inside = _places(own[layer].shape[:2], image.shape[:2], network)
        sources, pictures, samples = [], [], []
        for number, (style, features) in enumerate(zip(styles, others, strict=True)):
            places, within = _places(
                features[layer].shape[:2], style.shape[:2], looking
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
    """Return a picture put together of the painting's own pixels.

    Around the center of every place lie those that lie around its origin.

    Args:
        origins: of the picture.
        shape: height and width of it.
        styles: as in `find_origins`.
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
    """Return a color for where in the painting every place comes from.

    As `position_colors` has it; of several styles each has a third, or so, of it.
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
    """Return the color that stands for a place: a corner's, or in between.

    Args:
        down: 0 at the top, 1 at the bottom.
        across: 0 at the left, 1 at the right.
    """
    # Four that the color-blind tell apart, too (blue, yellow, orange-red, pale gray).
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
    """Return patches that show best where they come from, far from each other.

    Those that are most like their origin and have something to be seen in them.

    Args:
        origins: of the picture.
        lightness: of the picture, [0, 1].
        count: how many at most.
    """
    shape = origins.similarity.shape
    half = max(1, origins.patch // 2)
    spread = np.zeros(shape)
    for index in np.ndindex(shape):
        y, x = origins.centers[index].astype(int)
        window = lightness[max(0, y - half) : y + half, max(0, x - half) : x + half]
        spread[index] = window.std() if window.size else 0.0
    score = np.maximum(origins.similarity, 0) * np.sqrt(spread)
    # A patch that leaves the picture cannot be seen whole.
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
    """Return which sample is most similar to every point, and how similar it is."""
    target = center_samples(samples)
    units = unit_samples(own - target.center[None])
    nearest = nearest_samples(units, target.unit)
    return nearest, jnp.sum(units * target.unit[nearest], axis=1)


def features(
    network: Network, image: Image, *, layers: tuple[str, ...]
) -> dict[str, FeatureMap]:
    """Return feature maps, in float32."""
    found = network(image, layers)
    return {layer: found[layer].astype(jnp.float32) for layer in layers}


compiled_features = jax.jit(features, static_argnames=("layers",))
compiled_match = jax.jit(match)


def _flat(features: np.ndarray) -> np.ndarray:
    return features.reshape(-1, features.shape[-1])


def _stride(count: int, length: int, margin: int) -> float:
    """Return the pixels from one place of a feature map to the next: 1, 2, 4, ..."""
    return float(2 ** round(np.log2((length + 2 * margin) / count)))


def _places(
    count: tuple[int, int], shape: tuple[int, int], network: Network
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return the centers of a feature map's places in pixels, and which are inside."""
    centers, inside = [], []
    for number, length, margin in zip(count, shape, network.margins, strict=True):
        stride = _stride(number, length, margin)
        middle = (np.arange(number) + 0.5) * stride - margin
        within = np.flatnonzero((middle > 0) & (middle < length))
        centers.append(middle[within])
        inside.append(within)
    grid = np.stack(np.meshgrid(*centers, indexing="ij"), axis=-1)
    return grid, np.ix_(*inside)
