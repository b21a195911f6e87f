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
        Symmetric positive semi-definite matrix, in squared feature units; summed in
        float32 where the features are narrower.

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
    return jnp.matmul(
        flat.T,
        flat,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.promote_types(flat.dtype, jnp.float32),
    )


@_second_moments.defjvp
def _second_moments_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    # One product and its transpose: JAX's own takes two products, and its gradient two
    # arrays as large as the features.
    (flat,), (change,) = primals, tangents
    product = jnp.matmul(change.T, flat, precision=jax.lax.Precision.HIGHEST)
    both = product + product.T
    total = _second_moments(flat)
    # Cast last, so that for bfloat16 the way back multiplies in bfloat16 too.
    return total, both.astype(total.dtype)
