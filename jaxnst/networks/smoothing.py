"""Taking the peaks off activations before losses see them.

Networks other than VGGs style badly as they are. Where residual connections add up, a
few values stand far above all others, and a Gram matrix sees little else (SWAG).
"""

from collections.abc import Collection

import jax
import jax.numpy as jnp

from jaxnst._checks import check_choice
from jaxnst._types import FeatureMap


SMOOTHINGS = ("none", "softmax")


def smooth(features: FeatureMap) -> FeatureMap:
    """Return the softmax of all values of a feature map, times their number, less 1.

    Returns:
        Of mean 0 and above -1, whatever the size of the picture.

    References:
        Wang, Li, Vasconcelos, "Rethinking and Improving the Robustness of Image Style
        Transfer", CVPR 2021 (SWAG). Departs from it: their values sum to 1. Their
        released code has the softmax in comments and scales the deep layers by 0.001
        instead, which their losses turn into almost no weight; to losses that are
        divided by their scale, as ours are, a factor is nothing.
    """
    values = features.astype(jnp.float32)
    smoothed = jax.nn.softmax(values, axis=(0, 1, 2)) * values.size - 1
    return smoothed.astype(features.dtype)


def check_smoothing(smoothing: str, known: Collection[str], network: str) -> str:
    """Return `smoothing` if the network can have it.

    Args:
        smoothing: one of `SMOOTHINGS`.
        known: those that the network can have.
        network: its name.

    Raises:
        ValueError: if it is unknown, or not for this network.
    """
    check_choice("smoothing", smoothing, SMOOTHINGS)
    if smoothing not in known:
        raise ValueError(
            f"`smoothing` is {smoothing!r}, which {network} cannot have; it can have "
            f"{', '.join(known)}."
        )
    return smoothing
