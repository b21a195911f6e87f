"""Content losses: how far a feature map is from that of the content picture."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnst._types import FeatureMap, Scalar

from .numerics import widen


# Features shorter than this fraction of the content's are not made as long as those,
# as their gradient would have no bound.
_SHORTEST = 0.1
# A squared length next to which all others are large.
_NOTHING = 1e-20


def content_loss(features: FeatureMap, target: FeatureMap) -> Scalar:
    r"""Return the mean squared difference of two feature maps.

    $$ \frac{1}{HWC} \sum_{hwc} (F_{hwc} - P_{hwc})^2 $$

    Args:
        features: activations of the image, at one layer.
        target: activations of the content picture, at the same layer.

    Returns:
        0 or more, in squared feature units; float32 or wider.

    Raises:
        ValueError: if the shapes of the feature maps differ.

    References:
        Gatys, Ecker, Bethge, CVPR 2016, eq. 1. Differs from it: the mean, where the
        paper has half the sum.

    Examples:
        >>> content_loss(jnp.ones((2, 2, 3)), jnp.zeros((2, 2, 3)))
        Array(1., dtype=float32)
    """
    _check_shapes(features, target)
    return jnp.mean(jnp.square(widen(features) - widen(target)))


def cosine_content_loss(features: FeatureMap, target: FeatureMap) -> Scalar:
    r"""Return the mean squared difference of two feature maps in direction alone.

    $$ \frac{1}{HWC} \sum_{hw} \Big\| \frac{|P_{hw}|}{|F_{hw}|} F_{hw} - P_{hw} \Big\|^2
    = \frac{2}{HWC} \sum_{hw} |P_{hw}|^2 (1 - \cos(F_{hw}, P_{hw})) $$

    What is seen at a place is kept, but not how strongly: contrasts that are stronger
    or weaker than those of the content picture cost nothing.

    Args:
        features: activations of the image, at one layer.
        target: activations of the content picture, at the same layer.

    Returns:
        0 or more, in squared feature units; float32 or wider.

    Raises:
        ValueError: if the shapes of the feature maps differ.

    References:
        Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep
        Features as a Perceptual Metric", CVPR 2018, eq. 1, which compares features of
        length 1. Departure: places count by the content's own activations, so plain
        ones do not count as much as edges; see `as_long_as` for short features.

    Examples:
        >>> cosine_content_loss(2 * jnp.ones((2, 2, 3)), jnp.ones((2, 2, 3)))
        Array(0., dtype=float32)
    """
    _check_shapes(features, target)
    return content_loss(as_long_as(features, target), target)


def as_long_as(features: FeatureMap, target: FeatureMap) -> FeatureMap:
    """Return features that are as long at each place as those of the content picture.

    Args:
        features: activations of the image, at one layer.
        target: activations of the content picture, at the same layer.

    Returns:
        float32 or wider. No feature becomes more than ten times as long as it was.
    """
    features, target = widen(features), widen(target)
    square, aim = _squared_lengths(features), _squared_lengths(target)
    longer = jnp.maximum(square, _SHORTEST**2 * aim)
    # The constant is for places without any activation.
    return jnp.sqrt(aim) / jnp.sqrt(longer + _NOTHING) * features


def _squared_lengths(features: FeatureMap) -> Float[Array, "rows columns 1"]:
    return jnp.sum(jnp.square(features), axis=-1, keepdims=True)


def _check_shapes(features: FeatureMap, target: FeatureMap) -> None:
    if features.shape != target.shape:
        raise ValueError(
            f"`features` {features.shape} and `target` {target.shape} must have the "
            "same shape."
        )
