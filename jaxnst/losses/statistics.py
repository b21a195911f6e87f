"""Statistics of feature maps that forget where things are."""

import jax
import jax.numpy as jnp

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
    # HIGHEST: see `jaxnst.networks.vgg`.
    product = jnp.matmul(flat.T, flat, precision=jax.lax.Precision.HIGHEST)
    return product / (height * width)
