"""Distances from the style that are left, relative to the content picture.

Every gap is distance(image, style) / distance(content, style): 0 for the style, 1 for a
picture as far from the style as the content picture, above 1 for one farther away. If
content and style are equal, it is finite.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnst._types import FeatureMap, Features, Image, Scalar, StyleImage
from jaxnst.losses import (
    fit_gaussian,
    gaussian_target,
    gram_loss,
    gram_matrix,
    wasserstein_distance,
)
from jaxnst.losses.sliced_wasserstein import projection_directions, sliced_quantiles


_NUM_DIRECTIONS = 128
# Least distance of content and style, as a fraction of the size of the style's own
# statistics; smaller ones count as this much, so that every gap is finite.
_SMALLEST_GAP = 1e-3
# For a style picture whose statistics are all 0.
_SMALLEST_SIZE = 1e-6

# The distance of any features from the style's, and the size of the style's statistics.
_Distances = tuple[Callable[[Array], Scalar], Scalar]


def gram_gap(image: Features, content: Features, style: Features) -> Scalar:
    """Return the gap of the Gram matrices, averaged over the layers; 0 or more.

    Args:
        image: activations of the stylized picture.
        content: activations of the content picture, at the same layers.
        style: activations of the style picture, at the same layers.

    References:
        The distance of a layer is the root of eq. 4 in Gatys, Ecker, Bethge, CVPR 2016.
    """
    return _mean_gap(_gram_distances, image, content, style)


def wasserstein_gap(image: Features, content: Features, style: Features) -> Scalar:
    """Return the gap of the features' distributions, averaged over the layers.

    Gram matrices hold only second moments. The sliced Wasserstein distance compares the
    whole distributions, so it also finds what optimizing Gram matrices misses.

    Args:
        image: activations of the stylized picture.
        content: activations of the content picture, at the same layers.
        style: activations of the style picture, at the same layers.

    References:
        Heitz, Vanhoey, Chambon, Belcour, "A Sliced Wasserstein Loss for Neural Texture
        Synthesis", CVPR 2021. Differs from it: 128 fixed directions for all layers,
        and the distance itself, not its square.
    """
    return _mean_gap(_sliced_distances, image, content, style)


def bures_gap(image: Features, content: Features, style: Features) -> Scalar:
    """Return the gap of means and covariances, averaged over the layers.

    It is the Bures-Wasserstein distance of the features, taken as normal distributions.
    Variances count by their roots, so channels of large variance dominate less than in
    Gram matrices.

    Args:
        image: activations of the stylized picture.
        content: activations of the content picture, at the same layers.
        style: activations of the style picture, at the same layers.

    References:
        Mroueh, "Wasserstein Style Transfer", AISTATS 2020; the distance is that of
        `jaxnst.losses.wasserstein_distance`.
    """
    return _mean_gap(_bures_distances, image, content, style)


def palette_gap(image: Image, content: Image, style: StyleImage) -> Scalar:
    """Return the gap of the colors, by sliced Wasserstein distance in OKLab.

    It depends on how many pixels have each color, not on where they are.

    Args:
        image: stylized picture, sRGB, [0, 1].
        content: content picture, sRGB, [0, 1].
        style: style picture, sRGB, [0, 1], of any size.
    """
    pictures = ({"palette": each} for each in (image, content, style))
    return _mean_gap(_palette_distances, *pictures)


def _mean_gap(
    distances_fn: Callable[[Array], _Distances],
    image: Mapping[str, Array],
    content: Mapping[str, Array],
    style: Mapping[str, Array],
) -> Scalar:
    gaps = []
    for name in style:
        distance_fn, size = distances_fn(style[name])
        floor = jnp.maximum(_SMALLEST_GAP * size, _SMALLEST_SIZE)
        start = jnp.maximum(distance_fn(content[name]), floor)
        gaps.append(distance_fn(image[name]) / start)
    return jnp.mean(jnp.stack(gaps))


def _gram_distances(style: FeatureMap) -> _Distances:
    target = gram_matrix(style)
    size = jnp.sqrt(gram_loss(jnp.zeros_like(target), target))
    return lambda features: jnp.sqrt(gram_loss(gram_matrix(features), target)), size


def _bures_distances(style: FeatureMap) -> _Distances:
    target = gaussian_target(fit_gaussian(style))

    def distance(features: FeatureMap) -> Scalar:
        return wasserstein_distance(fit_gaussian(features), target, smoothing=0.0)

    return distance, jnp.sqrt(target.size)


def _sliced_distances(style: Array, directions: np.ndarray | None = None) -> _Distances:
    channels = style.shape[-1]
    if directions is None:
        directions = projection_directions(channels, _NUM_DIRECTIONS)

    def quantiles(features: Array) -> Array:
        return sliced_quantiles(features.reshape(-1, channels), directions)

    target = quantiles(style)
    return (
        lambda features: jnp.mean(jnp.abs(quantiles(features) - target)),
        jnp.mean(jnp.abs(target)),
    )


def _palette_distances(style: StyleImage) -> _Distances:
    distance_fn, size = _sliced_distances(oklab(style), _hemisphere(64))
    return lambda image: distance_fn(oklab(image)), size


# Ottosson's matrices: from linear sRGB to the responses of the cones, and from their
# cube roots to lightness, green-red and blue-yellow.
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)


def oklab(image: Image) -> Image:
    """Return a picture in OKLab, where distances are those that people see.

    Args:
        image: sRGB, [0, 1].

    Returns:
        Lightness, 0 to 1, and two opponent colors, about -0.4 to 0.4.

    References:
        Ottosson, "A perceptual color space for image processing", 2020. Chosen over
        CIELAB because its blues keep their hue, and because it needs no viewing
        conditions.
    """
    linear = jnp.where(
        image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4
    )
    return _apply(_TO_LAB, jnp.cbrt(_apply(_TO_CONES, linear)))


def _hemisphere(num_directions: int) -> np.ndarray:
    """Return evenly spread directions in space, by a Fibonacci spiral."""
    height = (np.arange(num_directions) + 0.5) / num_directions
    angle = np.arange(num_directions) * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - height**2)
    spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle), height])
    return spiral.astype(np.float32)


def _apply(matrix: np.ndarray, image: jax.Array) -> jax.Array:
    return jnp.einsum("hwc,dc->hwd", image, matrix, precision=jax.lax.Precision.HIGHEST)
