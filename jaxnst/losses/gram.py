"""Gram matrices and other statistics of feature maps, and the losses made of them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnst._types import FeatureMap, GramMatrix, Scalar

from .numerics import smooth_root


def gram_matrix(
    features: FeatureMap, *, precision: Any = jax.lax.Precision.HIGHEST
) -> GramMatrix:
    r"""Return the Gram matrix of a feature map: its channel-by-channel correlations.

    $$ G_{cd} = \frac{1}{HW} \sum_{hw} F_{hwc} F_{hwd} $$

    Args:
        features: activations of one layer, unbatched; any real values.
        precision: precision of the product, for XLA.

    Returns:
        Symmetric positive semi-definite matrix, in squared feature units; float32 or
        wider.

    Raises:
        ValueError: if `features` has no pixels.

    References:
        Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural
        Networks", CVPR 2016, eq. 3. Differs from it: divided by HW, so that
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
    return _second_moments(flat, precision) / (height * width)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _second_moments(
    flat: Float[Array, "pixels channels"], precision: Any
) -> GramMatrix:
    return jnp.matmul(
        flat.T,
        flat,
        precision=precision,
        preferred_element_type=jnp.promote_types(flat.dtype, jnp.float32),
    )


@_second_moments.defjvp
def _second_moments_jvp(
    precision: Any, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    # One product and its transpose. JAX's own rule takes two products, and its gradient
    # two arrays as large as the features.
    (flat,), (change,) = primals, tangents
    product = jnp.matmul(change.T, flat, precision=precision)
    both = product + product.T
    total = _second_moments(flat, precision)
    # Cast last, so that in 16 bits the backward pass multiplies in 16 bits too.
    return total, both.astype(total.dtype)


def gram_loss(gram: GramMatrix, target: GramMatrix) -> Scalar:
    r"""Return the sum of the squared differences of two Gram matrices.

    $$ \sum_{cd} (G_{cd} - A_{cd})^2 $$

    Args:
        gram: Gram matrix of the image, at one layer.
        target: Gram matrix of the style picture, at the same layer.

    Returns:
        0 or more, in feature units to the fourth power.

    Raises:
        ValueError: if the shapes differ.

    References:
        Gatys, Ecker, Bethge, CVPR 2016, eq. 4. Differs from it: with the Gram matrices
        of `jaxnst.losses.gram_matrix`, the paper's E_l is this over 4 C^2, for pictures
        of one size.

    Examples:
        >>> gram_loss(jnp.eye(3), jnp.zeros((3, 3)))
        Array(3., dtype=float32)
    """
    if gram.shape != target.shape:
        raise ValueError(
            f"`gram` {gram.shape} and `target` {target.shape} must have the same shape."
        )
    return jnp.sum(jnp.square(gram - target))


def gram_distance(
    gram: GramMatrix, target: GramMatrix, *, smoothing: float = 5e-3
) -> Scalar:
    r"""Return the Frobenius distance of two Gram matrices, smooth at zero.

    $$ \sqrt{\|G - A\|^2 + \epsilon^2} - \epsilon,\quad \epsilon = s \|A\| $$

    The gradient of the squared loss almost vanishes near the target and grows without
    bound far from it. The distance has a gradient of about the same size everywhere, so
    all layers count evenly, which keeps more content for the same style.

    Args:
        gram: Gram matrix of the image, at one layer.
        target: Gram matrix of the style picture, at the same layer.
        smoothing: s above; below this fraction of the target's norm the distance is a
            parabola, so that the gradient is zero, not undefined, at the target.

    Returns:
        0 or more, in squared feature units.

    Raises:
        ValueError: if the shapes differ.

    References:
        The pseudo-Huber form of the root of eq. 4 in Gatys, Ecker, Bethge, CVPR 2016.

    Examples:
        >>> gram_distance(3 * jnp.eye(1), 2 * jnp.eye(1), smoothing=0.0)
        Array(1., dtype=float32)
    """
    squared_size = jnp.sum(jnp.square(target))
    return smooth_root(gram_loss(gram, target), squared_size, smoothing)
