"""Whether a picture that is to repeat has a seam."""

from collections.abc import Collection

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnst._types import HostImage, Image, Scalar


# So many lines on either side of the border say what steps are usual there: every
# second one, as poolings take lines in pairs, and steps between pairs are larger.
_NUM_LINES = 8


def seam_score(image: Image, axis: int) -> Scalar:
    """The step over the border of a repeated picture, over the steps beside it.

    Args:
        image: RGB, [0, 1].
        axis: 0: from the last row to the first, 1: from the last column.

    Returns:
        About 1 where nothing is to be seen of the border; a cut has several times as
        much.
    """
    return line_scores(image, axis)[0]


def seam_scores(image: HostImage, ways: Collection[str]) -> dict[str, float]:
    """Return {"seam_x": `seam_score` of the columns, "seam_y": of the rows}.

    Args:
        image: RGB, [0, 1].
        ways: which of "x" and "y" it is to repeat.
    """
    return {
        f"seam_{way}": float(seam_score(jnp.asarray(image), "yx".index(way)))
        for way in "xy"
        if way in ways
    }


def line_scores(image: Image, axis: int) -> Float[Array, " lines"]:
    """The step from each line to the next of a repeated picture, over those beside it.

    Args:
        image: RGB, [0, 1].
        axis: 0: of rows, 1: of columns.

    Returns:
        One for each line, from the one before it; the first is `seam_score`.
    """
    steps = jnp.abs(image - jnp.roll(image, 1, axis))
    lines = jnp.mean(steps, (1 - axis, 2))
    count = max(1, min(_NUM_LINES, (image.shape[axis] - 1) // 4))
    distances = 2 * np.arange(1, count + 1)
    offsets = np.concatenate([-distances, distances])
    places = (np.arange(len(lines))[:, None] + offsets) % len(lines)
    return lines / jnp.maximum(jnp.mean(lines[places], axis=1), 1e-6)
