"""How much of the way from the content to the style is left, in style and in colors.

Every gap is distance(image, style) / distance(content, style): 0 where the style is
reached, 1 for a picture that is no nearer to it than the content picture, above 1 for
one that is farther away.
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
# Where content and style differ by less than this part of the style's own size, there
# is no gap to speak of, and what is left is measured against that part instead.
SMALLEST_GAP = 1e-3
# Serves a style picture that has no size at all.
_SMALLEST_SIZE = 1e-6


def relative_gap(distance: Scalar, start: Scalar, size: Scalar) -> Scalar:
    """Return `distance / start`, finite even for equal content and style.

    Args:
        distance: from the image to the style.
        start: from the content to the style.
        size: of the style itself, in the units of the distances; `start` counts as at
            least a thousandth of it.

    Returns:
        0 or more; 0 if and only if `distance` is 0.
    """
    floor = jnp.maximum(SMALLEST_GAP * size, _SMALLEST_SIZE)
    return distance / jnp.maximum(start, floor)


def gram_gap(image: Features, content: Features, style: Features) -> Scalar:
    """Gap of the Gram matrices: mean over the layers of the ratio of their distances.

    Args:
        image: activations of the picture.
        content: of the content picture, of the same layers.
        style: of the style picture, of the same layers.

    Returns:
        0: style reached, 1: as far as the content picture. Equal content and style:
        see `relative_gap`.

    References:
        The distance of a layer is the root of eq. 4 in Gatys, Ecker, Bethge, CVPR 2016.
    """
    return _mean_gap(gram_matrix, _frobenius_distance, image, content, style)


def wasserstein_gap(image: Features, content: Features, style: Features) -> Scalar:
    """Gap of the distributions of features, by sliced Wasserstein distance.

    Gram matrices hold the second moments alone; this sees the whole distribution, so
    also what a picture optimized for Gram matrices gets wrong.

    Args:
        image: activations of the picture.
        content: of the content picture, of the same layers.
        style: of the style picture, of the same layers.

    Returns:
        0: style reached, 1: as far as the content picture. Equal content and style:
        see `relative_gap`.

    References:
        Heitz, Vanhoey, Chambon, Belcour, "A Sliced Wasserstein Loss for Neural Texture
        Synthesis", CVPR 2021. Differs from it: 128 directions that never change, for
        all layers, and the distance itself, not its square.
    """
    return _mean_gap(_layer_quantiles, _mean_distance, image, content, style)


def bures_gap(image: Features, content: Features, style: Features) -> Scalar:
    """Gap of means and covariances, by the Bures-Wasserstein distance.

    What an exact transport of the features' normal distributions would still have to
    move; large variances count by their roots, so loud channels rule less than in Gram
    matrices.

    Args:
        image: activations of the picture.
        content: of the content picture, of the same layers.
        style: of the style picture, of the same layers.

    Returns:
        0: style reached, 1: as far as the content picture. Equal content and style:
        see `relative_gap`.

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

# Ottosson's matrices: linear sRGB to the responses of the cones, and the cube roots of
# those to lightness, green-red and blue-yellow.
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
    """Return the colors of a picture where distance is what people see.

    Args:
        image: sRGB, [0, 1].

    Returns:
        Lightness, 0 to 1, and two opponent colors, about -0.4 to 0.4.

    References:
        Ottosson, "A perceptual color space for image processing", 2020. Chosen over
        CIELAB because its blues keep their hue, and because it needs no constants of a
        viewing situation.
    """
    linear = jnp.where(
        image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4
    )
    cones = _apply(_TO_CONES, linear)
    return _apply(_TO_LAB, jnp.cbrt(cones))


def palette_gap(image: Image, content: Image, style: StyleImage) -> Scalar:
    """Gap of the colors: sliced Wasserstein distance in OKLab, over the content's own.

    Where the colors are in the picture does not count, how many pixels have them does.

    Args:
        image: sRGB, [0, 1].
        content: sRGB, [0, 1].
        style: sRGB, [0, 1], of any size.

    Returns:
        0: the painting's palette, 1: as far from it as the content picture. Content of
        the painting's palette: see `relative_gap`.
    """
    target = _quantiles(style)
    distance = jnp.mean(jnp.abs(_quantiles(image) - target))
    start = jnp.mean(jnp.abs(_quantiles(content) - target))
    # From black: how much light and color there is at all.
    return relative_gap(distance, start, jnp.mean(jnp.abs(target)))


def _quantiles(image: jax.Array) -> jax.Array:
    directions = _hemisphere(_NUM_HUES)
    return sliced_quantiles(oklab(image).reshape(-1, 3), directions)


def _hemisphere(num_directions: int) -> np.ndarray:
    """Return directions in space, evenly spread: a Fibonacci spiral."""
    height = (np.arange(num_directions) + 0.5) / num_directions
    angle = np.arange(num_directions) * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - height**2)
    spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle), height])
    return spiral.astype(np.float32)


def _apply(matrix: np.ndarray, image: jax.Array) -> jax.Array:
    return jnp.einsum("hwc,dc->hwd", image, matrix, precision=jax.lax.Precision.HIGHEST)
