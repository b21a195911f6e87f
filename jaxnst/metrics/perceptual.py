"""LPIPS, the learned perceptual distance of two pictures."""

import jax.numpy as jnp

from jaxnst._types import FeatureMap, Features, Image, Scalar
from jaxnst.networks import LPIPSNetwork


def lpips(judge: LPIPSNetwork, image: Image, reference: Image) -> Scalar:
    r"""Return the LPIPS distance of two pictures.

    .. math::
        \sum_l \frac{1}{H_l W_l} \sum_{hwc} w_{lc} (\hat F_{lhwc} - \hat P_{lhwc})^2

    where the features of every pixel are scaled to length 1.

    Args:
        judge: AlexNet and its heads.
        image: RGB, [0, 1].
        reference: RGB, [0, 1].

    Returns:
        0 for equal pictures, about 0.1 for a visible change, 0.7 for a total one.

    Raises:
        ValueError: if the shapes of the pictures differ, or a side is shorter than 31
            pixels.

    References:
        Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep
        Features as a Perceptual Metric", CVPR 2018, eq. 1; version 0.1, AlexNet.
    """
    if image.shape != reference.shape:
        raise ValueError(
            f"`image` {image.shape} and `reference` {reference.shape} must have the "
            "same shape."
        )
    return lpips_of_features(judge, judge.network(image), judge.network(reference))


def lpips_of_features(
    judge: LPIPSNetwork, features: Features, reference: Features
) -> Scalar:
    """Return the LPIPS distance of two pictures from their features."""
    distance = jnp.float32(0)
    for name, head in judge.heads.items():
        squared = jnp.square(
            _unit_length(features[name]) - _unit_length(reference[name])
        )
        distance = distance + jnp.sum(jnp.mean(squared, axis=(0, 1)) * head)
    return distance


def _unit_length(features: FeatureMap) -> FeatureMap:
    norm = jnp.sqrt(jnp.sum(jnp.square(features), axis=-1, keepdims=True))
    return features / (norm + 1e-10)  # as in LPIPS's own code
