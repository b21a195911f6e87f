"""How much of the way from the content's style to the painting's is still to go.

Every gap is distance(image, style) / distance(content, style): 0 where the style is
reached, 1 for a picture that is no nearer to it than the content picture, above 1 for
one that is farther away.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnst._types import FeatureMap, Features, Scalar
from jaxnst.losses import (
    fit_gaussian,
    gaussian_target,
    gram_loss,
    gram_matrix,
    wasserstein_distance,
)
from jaxnst.losses.slicing import projection_directions, sliced_quantiles


NUM_DIRECTIONS = 128
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
    directions = projection_directions(channels, NUM_DIRECTIONS)
    return sliced_quantiles(features.reshape(-1, channels), directions)


def _mean_distance(quantiles: Array, target: Array) -> Scalar:
    return jnp.mean(jnp.abs(quantiles - target))
