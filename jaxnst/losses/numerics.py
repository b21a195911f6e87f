"""What all losses do with numbers: widen them, and take smooth roots."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnst._types import Scalar


def widen(features: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return an array in float32, or wider if it is."""
    return features.astype(jnp.promote_types(features.dtype, jnp.float32))


def points_of(features: Float[Array, "*shape c"]) -> Float[Array, "points c"]:
    """Return the pixels of a feature map, one per row, in float32 or wider."""
    return widen(features.reshape(-1, features.shape[-1]))


def smooth_root(squared: Scalar, squared_size: Scalar, smoothing: float) -> Scalar:
    """Return a root, which is a parabola below `smoothing` times a size."""
    epsilon_squared = squared_size * smoothing**2
    # The tiny constant is for a target of zeros.
    epsilon_squared += jnp.finfo(epsilon_squared.dtype).tiny
    return jnp.sqrt(squared + epsilon_squared) - jnp.sqrt(epsilon_squared)
