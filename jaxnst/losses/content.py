"""How far a picture's content is from the one it should keep."""

import jax.numpy as jnp

from jaxnst._types import FeatureMap, Scalar


def content_loss(features: FeatureMap, target: FeatureMap) -> Scalar:
    r"""Mean squared difference of two feature maps.

    .. math:: \frac{1}{HWC} \sum_{hwc} (F_{hwc} - P_{hwc})^2

    Args:
        features: activations of the picture, at one layer.
        target: activations of the content picture, at the same layer.

    Returns:
        In squared feature units; in float32 where the activations are narrower.

    Raises:
        ValueError: if the shapes differ.

    References:
        Gatys, Ecker, Bethge, CVPR 2016, eq. 1. Differs from it: the mean here, half the
        sum there.

    Examples:
        >>> content_loss(jnp.ones((2, 2, 3)), jnp.zeros((2, 2, 3)))
        Array(1., dtype=float32)
    """
    if features.shape != target.shape:
        raise ValueError(
            f"`features` {features.shape} and `target` {target.shape} must have the "
            "same shape."
        )
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    return jnp.mean(jnp.square(features.astype(dtype) - target.astype(dtype)))
