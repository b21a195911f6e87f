"""Statistics of feature maps that forget where things are."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnst._types import FeatureMap, GramMatrix


def gram_matrix(features: FeatureMap) -> GramMatrix:
    r"""Channel-by-channel correlations of a feature map.

    .. math:: G_{cd} = \frac{1}{HW} \sum_{hw} F_{hwc} F_{hwd}

    Args:
        features: activations of one layer, unbatched; any real range.

    Returns:
        Symmetric positive semi-definite matrix, in squared feature units.

    Raises:
        ValueError: if `features` has no pixels.

    References:
        Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural
        Networks", CVPR 2016, eq. 3. Differs from it: divides by HW here, so that
        pictures of different sizes can be compared.

    Examples:
        >>> gram_matrix(jnp.ones((4, 4, 2)))
        Array([[1., 1.],
               [1., 1.]], dtype=float32)
    """
    height, width, channels = features.shape
    if height * width == 0:
        raise ValueError(f"`features` has no pixels: shape {features.shape}.")
    flat = features.reshape(height * width, channels)
    return _second_moments(flat) / (height * width)


@jax.custom_jvp
def _second_moments(flat: Float[Array, "pixels channels"]) -> GramMatrix:
    # HIGHEST: see `jaxnst.networks.vgg`.
    return jnp.matmul(flat.T, flat, precision=jax.lax.Precision.HIGHEST)


@_second_moments.defjvp
def _second_moments_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    # One product and its transpose: JAX's own takes two products, and its gradient two
    # arrays as large as the features.
    (flat,), (change,) = primals, tangents
    product = jnp.matmul(change.T, flat, precision=jax.lax.Precision.HIGHEST)
    return _second_moments(flat), product + product.T
