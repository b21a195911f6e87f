"""Making a picture that repeats: its opposite borders cross-faded into each other.

What is painted goes around, so that its border is a line like all others; and lines
differ. `place_border` looks for an ordinary one nearby.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnst._types import AnyHostImage, Image

from .resizing import resize


# A picture, or what belongs to one.
Plane = Float[np.ndarray, "_ _ *channels"]

# Parts of a side over which its borders may be cross-faded; the picture becomes so
# much shorter.
_OVERLAPS = 3 / 32, 5 / 32
# Borders whose step is as large as this many times those beside it need nothing, nor
# do those with a step that no eye sees.
_FITS = 1.5
_INVISIBLE = 1.5 / 255
# Where to cut is looked for in so many lines: at the scale of strokes, not of grain.
_NUM_LINES = 256
# A line is ordinary with a score this near to 1, and looked for at least so far away.
_LEAST_REACH = 8
_ORDINARY = 0.02


# So many lines on either side of the border say what steps are usual there: every
# second one, as poolings take lines in pairs, and steps between pairs are larger.
_NUM_BESIDE = 8
# All that is halved before the deepest layers.
_TILE_MULTIPLE = 16


class Fade(NamedTuple):
    """How much of each side is cross-faded into the opposite one; 0: nothing.

    Attributes:
        down: of the height.
        across: of the width.
    """

    down: float = 0.0
    across: float = 0.0


def wraps_of(tile: str | None) -> tuple[bool, bool]:
    """Return whether a picture goes on at its other end, down and across.

    Args:
        tile: as `TransferConfig` has it.
    """
    ways = tile or ""
    return "y" in ways, "x" in ways


def plan_fade(image: AnyHostImage, tile: str | None) -> Fade:
    """Return how a picture has to be cross-faded to repeat as it should.

    Nothing is done where its borders fit already. Otherwise about an eighth of the
    side, so much that the new border lies where the picture is much the same on both
    sides: an outline along it would look like a seam.

    Args:
        image: RGB, [0, 1].
        tile: as `TransferConfig` has it.
    """
    return Fade(
        *(
            _overlap(image, axis) if goes_on and not _fits(image, axis) else 0.0
            for axis, goes_on in enumerate(wraps_of(tile))
        )
    )


def make_tileable(image: Plane, fade: Fade) -> Plane:
    """Return a picture whose borders go on at the other end.

    What lies along the right border is laid over the left one, so that it begins where
    the new right border ends; likewise below and above.

    Args:
        image: RGB, or what belongs to it: its opacity, a mask.
        fade: of `plan_fade`.
    """
    for axis, part in enumerate(fade):
        if part:
            image = _fade(image, axis, part)
    return image


def place_border(
    image: AnyHostImage, ways: tuple[bool, bool], *, farthest: float = 1 / 32
) -> tuple[int, int]:
    """Return by how many rows and columns a picture that repeats is best moved.

    So that its border is a line whose step is that of those beside it: the nearest such
    line, or the most ordinary one nearby.

    Args:
        image: RGB, [0, 1].
        ways: whether it may be moved, down and across.
        farthest: by which part of its side at most, though by eight pixels in any case.

    Returns:
        For `np.roll`; 0 where it may not.
    """
    down, across = (
        _nearest_ordinary(image, axis, farthest) if may_move else 0
        for axis, may_move in enumerate(ways)
    )
    return down, across


def move(image: Plane, by: tuple[int, int], shape: tuple[int, int]) -> Plane:
    """Return what belongs to a picture that was moved, moved with it.

    Args:
        image: of any size.
        by: how many rows and columns the picture was moved.
        shape: its height and width.
    """
    shifts = [
        round(shift * own / length)
        for shift, own, length in zip(by, image.shape[:2], shape, strict=True)
    ]
    return np.roll(image, shifts, (0, 1))


def _nearest_ordinary(image: AnyHostImage, axis: int, farthest: float) -> int:
    length = image.shape[axis]
    reach = min(max(round(length * farthest), _LEAST_REACH), length // 2)
    scores = np.asarray(line_scores(jnp.asarray(image), axis))
    shifts = sorted(range(-reach, reach + 1), key=abs)
    # The line at the border of the picture rolled by n is that at -n.
    oddness = np.abs(scores[[-shift % length for shift in shifts]] - 1)
    ordinary = np.flatnonzero(oddness <= _ORDINARY)
    return shifts[ordinary[0] if len(ordinary) else np.argmin(oddness)]


def _fits(image: AnyHostImage, axis: int) -> bool:
    first, last = np.take(image, 0, axis), np.take(image, -1, axis)
    if float(np.mean(np.abs(first - last))) <= _INVISIBLE:
        return True
    return float(line_scores(jnp.asarray(image), axis)[0]) <= _FITS


def _overlap(image: AnyHostImage, axis: int) -> float:
    """Return how much to cross-fade for a border that is like what is beside it."""
    shape = tuple(min(length, _NUM_LINES) for length in image.shape[:2])
    length = shape[axis]
    small = jnp.asarray(resize(np.asarray(image), (shape[0], shape[1])))
    scores = np.asarray(line_scores(small, axis))
    least, most = (max(1, round(length * part)) for part in _OVERLAPS)
    overlaps = np.arange(least, most + 1)
    oddness = np.abs(np.log(np.maximum(scores[length - overlaps], 1e-3)))
    return float(overlaps[np.argmin(oddness)]) / length


def _fade(image: Plane, axis: int, part: float) -> Plane:
    length = image.shape[axis]
    shared = max(1, round(length * part))
    image = np.moveaxis(image, axis, 0)
    ramp = (np.arange(shared) + 0.5) / shared
    ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    ramp = ramp.reshape(-1, *[1] * (image.ndim - 1))
    rest = image[: length - shared].copy()
    rest[:shared] = (1 - ramp) * image[length - shared :] + ramp * image[:shared]
    return np.moveaxis(rest, 0, axis)


def multiples_of(tile: str | None) -> tuple[int, int]:
    """Return what height and width are multiples of, so that poolings go around, too.

    Args:
        tile: as `TransferConfig` has it.
    """
    down, across = (_TILE_MULTIPLE if each else 1 for each in wraps_of(tile))
    return down, across


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
    count = max(1, min(_NUM_BESIDE, (image.shape[axis] - 1) // 4))
    distances = 2 * np.arange(1, count + 1)
    offsets = np.concatenate([-distances, distances])
    places = (np.arange(len(lines))[:, None] + offsets) % len(lines)
    return lines / jnp.maximum(jnp.mean(lines[places], axis=1), 1e-6)
