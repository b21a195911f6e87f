"""Total variation: the roughness of a picture."""

import jax
import jax.numpy as jnp

from jaxnst._types import Image, Scalar


def total_variation_loss(
    image: Image, *, wraps: tuple[bool, bool] = (False, False)
) -> Scalar:
    r"""Return the mean squared difference between neighboring pixels.

    $$ \overline{(x_{i+1,j} - x_{ij})^2} + \overline{(x_{i,j+1} - x_{ij})^2} $$

    Args:
        image: RGB, [0, 1].
        wraps: whether the picture wraps around vertically and horizontally; then the
            differences across that border count too.

    Returns:
        0 to 2: 0 for a flat picture, 2 for a checkerboard of black and white.

    Raises:
        ValueError: if a side is shorter than 2 pixels.

    References:
        Mahendran, Vedaldi, "Understanding Deep Image Representations by Inverting
        Them", CVPR 2015, eq. 5 with exponent 2. Differs from it: a mean, not a sum, so
        that its strength does not grow with the size of the picture.

    Examples:
        >>> total_variation_loss(jnp.ones((8, 8, 3)))
        Array(0., dtype=float32)
    """
    if min(image.shape[:2]) < 2:
        raise ValueError(f"`image` must be at least 2 x 2, got shape {image.shape}.")
    total = jnp.zeros((), image.dtype)
    for axis, is_wrapped in enumerate(wraps):
        following = jax.lax.slice_in_dim(image, 1, None, axis=axis)
        before = jax.lax.slice_in_dim(image, 0, -1, axis=axis)
        if is_wrapped:
            first = jax.lax.slice_in_dim(image, 0, 1, axis=axis)
            following = jnp.concatenate([following, first], axis)
            before = image
        steps = following - before
        total = total + jnp.mean(jnp.square(steps))
    return total
