"""Distances from the style that are left, relative to the content picture.

Every gap is distance(image, style) / distance(content, style): 0 for the style, 1 for a
picture as far from the style as the content picture, above 1 for one farther away.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

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
# statistics; smaller ones count as this much.
SMALLEST_GAP = 1e-3
# For a style picture whose statistics are all 0.
_SMALLEST_SIZE = 1e-6


def relative_gap(distance: Scalar, start: Scalar, size: Scalar) -> Scalar:
    """Return `distance / start`, finite even for equal content and style.

    Args:
        distance: distance from the image to the style.
        start: distance from the content to the style.
        size: size of the style's statistics, in the units of the distances; `start`
            counts as at least a thousandth of it.

    Returns:
        0 or more; 0 only if `distance` is 0.
    """
    floor = jnp.maximum(SMALLEST_GAP * size, _SMALLEST_SIZE)
    return distance / jnp.maximum(start, floor)


def gram_gap(image: Features, content: Features, style: Features) -> Scalar:
    """Return the gap of the Gram matrices, averaged over the layers.

    Args:
        image: activations of the stylized picture.
        content: activations of the content picture, at the same layers.
        style: activations of the style picture, at the same layers.

    Returns:
        0 for the style, 1 for a picture as far from it as the content picture; for
        equal content and style see `relative_gap`.

    References:
        The distance of a layer is the root of eq. 4 in Gatys, Ecker, Bethge, CVPR 2016.
    """
    return _mean_gap(gram_matrix, _frobenius_distance, image, content, style)


def wasserstein_gap(image: Features, content: Features, style: Features) -> Scalar:
    """Return the gap of the distributions of features, averaged over the layers.

    Gram matrices hold only second moments. The sliced Wasserstein distance compares the
    whole distributions, so it also finds what optimizing Gram matrices misses.

    Args:
        image: activations of the stylized picture.
        content: activations of the content picture, at the same layers.
        style: activations of the style picture, at the same layers.

    Returns:
        0 for the style, 1 for a picture as far from it as the content picture; for
        equal content and style see `relative_gap`.

    References:
        Heitz, Vanhoey, Chambon, Belcour, "A Sliced Wasserstein Loss for Neural Texture
        Synthesis", CVPR 2021. Differs from it: 128 fixed directions for all layers,
        and the distance itself, not its square.
    """
    return _mean_gap(_layer_quantiles, _mean_distance, image, content, style)


def bures_gap(image: Features, content: Features, style: Features) -> Scalar:
    """Return the gap of means and covariances, averaged over the layers.

    It is the Bures-Wasserstein distance of the features, taken as normal distributions.
    Variances count by their roots, so channels of large variance dominate less than in
    Gram matrices.

    Args:
        image: activations of the stylized picture.
        content: activations of the content picture, at the same layers.
        style: activations of the style picture, at the same layers.

    Returns:
        0 for the style, 1 for a picture as far from it as the content picture; for
        equal content and style see `relative_gap`.

    References:
        Mroueh, "Wasserstein Style Transfer", AISTATS 2020; the distance is that of
        `jaxnst.losses.wasserstein_distance`.
    """
    gaps = []
    for name in style:
        target = gaussian_target(fit_gaussian(style[name]))
        distance, start = (
            wasserstein_distance(fit_gaussian(each[name]), target, smoothing=0.0)
            for each in (image, content)
        )
        gaps.append(relative_gap(distance, start, jnp.sqrt(target.size)))
    return jnp.mean(jnp.stack(gaps))


def _mean_gap(
    statistic_fn: Callable[[FeatureMap], Array],
    distance_fn: Callable[[Array, Array], Scalar],
    image: Features,
    content: Features,
    style: Features,
) -> Scalar:
    gaps = []
    for name in style:
        target = statistic_fn(style[name])
        distance = distance_fn(statistic_fn(image[name]), target)
        start = distance_fn(statistic_fn(content[name]), target)
        size = distance_fn(jnp.zeros_like(target), target)
        gaps.append(relative_gap(distance, start, size))
    return jnp.mean(jnp.stack(gaps))


def _frobenius_distance(gram: Array, target: Array) -> Scalar:
    return jnp.sqrt(gram_loss(gram, target))


def _layer_quantiles(features: FeatureMap) -> Float[Array, "directions quantiles"]:
    channels = features.shape[-1]
    directions = projection_directions(channels, _NUM_DIRECTIONS)
    return sliced_quantiles(features.reshape(-1, channels), directions)


def _mean_distance(quantiles: Array, target: Array) -> Scalar:
    return jnp.mean(jnp.abs(quantiles - target))


_NUM_HUES = 64

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
    cones = _apply(_TO_CONES, linear)
    return _apply(_TO_LAB, jnp.cbrt(cones))


def palette_gap(image: Image, content: Image, style: StyleImage) -> Scalar:
    """Return the gap of the colors, by sliced Wasserstein distance in OKLab.

    It depends on how many pixels have each color, not on where they are.

    Args:
        image: stylized picture, sRGB, [0, 1].
        content: content picture, sRGB, [0, 1].
        style: style picture, sRGB, [0, 1], of any size.

    Returns:
        0 for the style's palette, 1 for a palette as far from it as the content's; for
        equal palettes of content and style see `relative_gap`.
    """
    target = _quantiles(style)
    distance = jnp.mean(jnp.abs(_quantiles(image) - target))
    start = jnp.mean(jnp.abs(_quantiles(content) - target))
    # The size of the palette is its distance from black.
    return relative_gap(distance, start, jnp.mean(jnp.abs(target)))


def _quantiles(image: jax.Array) -> jax.Array:
    directions = _hemisphere(_NUM_HUES)
    return sliced_quantiles(oklab(image).reshape(-1, 3), directions)


def _hemisphere(num_directions: int) -> np.ndarray:
    """Return evenly spread directions in space, by a Fibonacci spiral."""
    height = (np.arange(num_directions) + 0.5) / num_directions
    angle = np.arange(num_directions) * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - height**2)
    spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle), height])
    return spiral.astype(np.float32)


def _apply(matrix: np.ndarray, image: jax.Array) -> jax.Array:
    return jnp.einsum("hwc,dc->hwd", image, matrix, precision=jax.lax.Precision.HIGHEST)
