"""Means and standard deviations of channels, the smallest statistics of a style."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnst._types import FeatureMap, Scalar

from .numerics import smooth_root, widen


class Moments(NamedTuple):
    """Two means over the pixels of a feature map.

    Attributes:
        mean: mean of every channel.
        square: mean of the square of every channel.
    """

    mean: Float[Array, " channels"]
    square: Float[Array, " channels"]


def channel_moments(features: FeatureMap) -> Moments:
    """Return mean and mean square of every channel of a feature map, in float32."""
    x = widen(features)
    return Moments(jnp.mean(x, (0, 1)), jnp.mean(jnp.square(x), (0, 1)))


def moments_distance(
    moments: Moments, target: Moments, *, smoothing: float = 5e-3
) -> Scalar:
    r"""Return the distance of means and standard deviations, smooth at zero.

    $$ \sqrt{\|\mu - \mu'\|^2 + \|\sigma - \sigma'\|^2} $$

    Moments do not say which channels are active together. This loss therefore transfers
    colors, contrast and the kind of strokes, and keeps more of the content's shapes
    than the Gram matrix does. It is the cheapest style loss.

    Args:
        moments: moments of the image, at one layer.
        target: moments of the style picture, at the same layer.
        smoothing: fraction of the target's norm below which the distance is a parabola.

    Returns:
        0 or more, in feature units.

    References:
        Li, Wang, Liu, Hou, "Demystifying Neural Style Transfer", IJCAI 2017, eq. 13
        (batch norm statistics); Huang, Belongie, ICCV 2017. Differs from them: the
        root of the sum, so that all layers count about evenly (see
        `jaxnst.losses.gram_distance`).

    Examples:
        >>> flat = Moments(jnp.zeros(1), jnp.zeros(1))
        >>> moments_distance(Moments(3 * jnp.ones(1), 9 * jnp.ones(1)), flat)
        Array(3., dtype=float32)
    """
    # Added, as the root has no gradient where a channel does not vary.
    tiny = 1e-6 * jnp.mean(target.square) + jnp.finfo(target.square.dtype).tiny
    squared = jnp.sum(jnp.square(moments.mean - target.mean))
    squared += jnp.sum(jnp.square(_spread(moments, tiny) - _spread(target, tiny)))
    return smooth_root(squared, jnp.sum(target.square), smoothing)


def _spread(moments: Moments, tiny: Scalar) -> Float[Array, " channels"]:
    variance = moments.square - jnp.square(moments.mean)
    return jnp.sqrt(jnp.maximum(variance, 0) + tiny)
