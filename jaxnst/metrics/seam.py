"""Whether a picture that is to repeat has a seam."""

import jax.numpy as jnp

from jaxnst._types import Image, Scalar


# So many lines on either side of the border say what steps are usual there.
_NUM_LINES = 32


def seam_score(image: Image, axis: int) -> Scalar:
    """The step over the border of a repeated picture, over the steps beside it.

    Args:
        image: RGB, [0, 1].
        axis: 0: from the last row to the first, 1: from the last column.

    Returns:
        About 1 where nothing is to be seen of the border; a cut has several times as
        much.
    """
    steps = jnp.abs(image - jnp.roll(image, 1, axis))
    lines = jnp.mean(steps, (1 - axis, 2))  # the first is the one over the border
    count = min(_NUM_LINES, (image.shape[axis] - 1) // 2)
    beside = jnp.concatenate([lines[1 : 1 + count], lines[-count:]])
    return lines[0] / jnp.maximum(jnp.mean(beside), 1e-6)
