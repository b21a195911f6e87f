"""How much of the way from the content's colors to the painting's is still to go."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnst._types import Image, Scalar, StyleImage
from jaxnst.losses.slicing import sliced_quantiles

from .style_gap import relative_gap


NUM_DIRECTIONS = 64

# Ottosson's matrices: linear sRGB to the responses of the cones, and the cube roots of
# those to lightness, green-red and blue-yellow.
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)


def oklab(image: Image) -> Image:
    """Return the colors of a picture where distance is what people see.

    Args:
        image: sRGB, [0, 1].

    Returns:
        Lightness, 0 to 1, and two opponent colors, about -0.4 to 0.4.

    References:
        Ottosson, "A perceptual color space for image processing", 2020. Chosen over
        CIELAB because its blues keep their hue, and because it needs no constants of a
        viewing situation.
    """
    linear = jnp.where(
        image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4
    )
    cones = _apply(_TO_CONES, linear)
    return _apply(_TO_LAB, jnp.cbrt(cones))


def palette_gap(image: Image, content: Image, style: StyleImage) -> Scalar:
    """Gap of the colors: sliced Wasserstein distance in OKLab, over the content's own.

    Where the colors are in the picture does not count, how many pixels have them does.

    Args:
        image: sRGB, [0, 1].
        content: sRGB, [0, 1].
        style: sRGB, [0, 1], of any size.

    Returns:
        0: the painting's palette, 1: as far from it as the content picture. Content of
        the painting's palette: see `relative_gap`.
    """
    target = _quantiles(style)
    distance = jnp.mean(jnp.abs(_quantiles(image) - target))
    start = jnp.mean(jnp.abs(_quantiles(content) - target))
    # From black: how much light and color there is at all.
    return relative_gap(distance, start, jnp.mean(jnp.abs(target)))


def _quantiles(image: jax.Array) -> jax.Array:
    directions = _hemisphere(NUM_DIRECTIONS)
    return sliced_quantiles(oklab(image).reshape(-1, 3), directions)


def _hemisphere(num_directions: int) -> np.ndarray:
    """Return directions in space, evenly spread: a Fibonacci spiral."""
    height = (np.arange(num_directions) + 0.5) / num_directions
    angle = np.arange(num_directions) * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - height**2)
    spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle), height])
    return spiral.astype(np.float32)


def _apply(matrix: np.ndarray, image: jax.Array) -> jax.Array:
    return jnp.einsum("hwc,dc->hwd", image, matrix, precision=jax.lax.Precision.HIGHEST)
