"""Taking the peaks off activations before losses see them.

Networks other than VGGs style badly as they are. Where residual connections add up, a
few values stand far above all others, and a Gram matrix sees little else (SWAG).
"""

from collections.abc import Collection

import jax
import jax.numpy as jnp

from jaxnst._checks import check_choice
from jaxnst._types import FeatureMap


SMOOTHINGS = ("none", "log", "softmax")


def smooth(features: FeatureMap, smoothing: str) -> FeatureMap:
    """Return a feature map as losses are to see it.

    Args:
        features: behind a ReLU, so 0 or more.
        smoothing: "none"; "log", log(1 + x), which leaves small values as they are and
            takes large ones back; or "softmax", that of all values together, times
            their number, less 1, so that the mean is 0 at every size.

    References:
        Wang, Li, Vasconcelos, "Rethinking and Improving the Robustness of Image Style
        Transfer", CVPR 2021 (SWAG), names the peaks and takes the softmax. It evens
        activations out beside the 1 that every zero becomes; but losses divided by
        their scale, as ours are, see past that 1, and past it the exponential makes
        peaks higher. (In the code released with the paper it is commented out, and deep
        layers are scaled by 0.001 instead, which leaves them almost no weight in the
        losses there, and would change nothing in ours.) Hence "log", which is not in
        the paper.
    """
    if smoothing == "none":
        return features
    values = features.astype(jnp.float32)
    if smoothing == "log":
        smoothed = jnp.log1p(values)
    else:
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
