"""How far a picture's style is from the one it should take on."""

import jax.numpy as jnp

from jaxnst._types import GramMatrix, Scalar


def gram_loss(gram: GramMatrix, target: GramMatrix) -> Scalar:
    r"""Sum of the squared differences of two Gram matrices.

    .. math:: \sum_{cd} (G_{cd} - A_{cd})^2

    Args:
        gram: of the picture, at one layer.
        target: of the style picture, at the same layer.

    Returns:
        In feature units to the fourth power.

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
    r"""Frobenius distance of two Gram matrices, smooth at zero.

    .. math:: \sqrt{\|G - A\|^2 + \epsilon^2} - \epsilon,\quad \epsilon = s \|A\|

    The squared loss all but stops pulling once a layer is near its target and pulls
    without bound where it is far. The distance pulls every layer about evenly, which
    keeps more content for the same style.

    Args:
        gram: of the picture, at one layer.
        target: of the style picture, at the same layer.
        smoothing: s above; below this part of the target's norm the distance goes over
            into a parabola, so that the gradient is zero, not undefined, at the target.

    Returns:
        In squared feature units.

    Raises:
        ValueError: if the shapes differ.

    References:
        The pseudo-Huber form of the root of eq. 4 in Gatys, Ecker, Bethge, CVPR 2016.

    Examples:
        >>> gram_distance(3 * jnp.eye(1), 2 * jnp.eye(1), smoothing=0.0)
        Array(1., dtype=float32)
    """
    epsilon_squared = jnp.sum(jnp.square(target)) * smoothing**2
    # The tiny constant serves a target of zeros.
    epsilon_squared = epsilon_squared + jnp.finfo(target.dtype).tiny
    root = jnp.sqrt(gram_loss(gram, target) + epsilon_squared)
    return root - jnp.sqrt(epsilon_squared)
