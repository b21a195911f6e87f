"""The average of the pictures that the steps go through.

Steps of a constant length keep circling around where they want to be; their average
lies nearer to it. The weights of past pictures fall off geometrically.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxnst._types import Image, Scalar
from jaxnst.compiling import KeptFunction


class Average(NamedTuple):
    """A running average, as a sum and what the weights in it add up to.

    Attributes:
        total: weighted sum of the pictures so far.
        weight: sum of the weights, 1 - decay ** pictures; 0 before the first.
    """

    total: Image
    weight: Scalar


def init_average(image: Image) -> Average:
    """Return the average of no picture yet, of the size of `image`."""
    return Average(jnp.zeros_like(image), jnp.float32(0))


def update_average(average: Average, image: Image, decay: Scalar) -> Average:
    """Return the average with one more picture.

    Args:
        average: so far.
        image: the picture that is added, RGB, [0, 1].
        decay: what the weights of all before it are multiplied by; 0 to below 1.
    """
    total = decay * average.total + (1 - decay) * image
    return Average(total, decay * average.weight + (1 - decay))


def averaged_image(average: Average) -> Image:
    """Return the average as a picture, RGB, [0, 1]; without a bias towards black.

    References:
        The correction is that of Kingma, Ba, "Adam", 2015, section 3.
    """
    # Rounding may leave a white pixel just above 1.
    return jnp.clip(average.total / average.weight, 0.0, 1.0)


compiled_update = KeptFunction(update_average)
compiled_average = KeptFunction(averaged_image)
