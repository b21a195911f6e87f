"""Content loss: distance of two feature maps."""

import jax.numpy as jnp

from jaxnst._types import FeatureMap, Scalar

from .numerics import widen


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
    if features.shape != target.shape:
        raise ValueError(
            f"`features` {features.shape} and `target` {target.shape} must have the "
            "same shape."
        )
    return jnp.mean(jnp.square(widen(features) - widen(target)))
