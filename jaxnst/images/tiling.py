"""Pictures that tile: opposite borders are cross-faded into each other.

The border of a picture that wraps around is a line like all others, but some lines are
more visible than others. `place_border` finds an inconspicuous one nearby.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnst._types import AnyHostImage, Image

from .resizing import resize


# A picture, or its alpha or a mask.
Plane = Float[np.ndarray, "_ _ *channels"]

# Least and greatest fraction of a side that is cross-faded; the picture becomes shorter
# by it.
_OVERLAPS = 3 / 32, 5 / 32
# A border tiles already if its step is at most this many times the steps beside it, or
# if its step is too small to be seen.
_FITS = 1.5
_INVISIBLE = 1.5 / 255
# The cut is searched in a picture of so many lines, at the scale of strokes, not grain.
_NUM_LINES = 256
# A line is inconspicuous if its score is this close to 1. At least so many lines in
# either direction are searched.
_LEAST_REACH = 8
_ORDINARY = 0.02
# Number of lines on either side that a step is compared with: every second line,
# because poolings take lines in pairs, and steps between pairs are larger.
_NUM_BESIDE = 8
# Factor by which the poolings before the deepest layers shrink a picture.
_TILE_MULTIPLE = 16


class Fade(NamedTuple):
    """Fraction of each side that is cross-faded into the opposite side; 0 for none."""

    down: float = 0.0
    across: float = 0.0


def wraps_of(tile: str | None) -> tuple[bool, bool]:
    """Return whether a picture wraps around, vertically and horizontally."""
    ways = tile or ""
    return "y" in ways, "x" in ways


def plan_fade(image: AnyHostImage, tile: str | None) -> Fade:
    """Return how much of a picture has to be cross-faded so that it tiles.

    0 for borders that fit already. Otherwise about an eighth of the side, chosen so
    that the picture is similar on both sides of the new border: an outline along the
    border would look like a seam.
    """
    return Fade(
        *(
            _overlap(image, axis) if is_wrapped and not _fits(image, axis) else 0.0
            for axis, is_wrapped in enumerate(wraps_of(tile))
        )
    )


def make_tileable(image: Plane, fade: Fade) -> Plane:
    """Return a picture that tiles, cross-faded and therefore smaller.

    The strip along the right border is blended into the left border, so that the left
    begins where the new right border ends; the bottom is blended into the top.
    """
    for axis, part in enumerate(fade):
        if not part:
            continue
        length = image.shape[axis]
        shared = max(1, round(length * part))
        image = np.moveaxis(image, axis, 0)
        ramp = (np.arange(shared) + 0.5) / shared
        ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
        ramp = ramp.reshape(-1, *[1] * (image.ndim - 1))
        rest = image[: length - shared].copy()
        rest[:shared] = (1 - ramp) * image[length - shared :] + ramp * image[:shared]
        image = np.moveaxis(rest, 0, axis)
    return image


def place_border(
    image: AnyHostImage, ways: tuple[bool, bool], *, farthest: float = 1 / 32
) -> tuple[int, int]:
    """Return by how many rows and columns to roll a picture that tiles.

    Its border then is a line whose step is like the steps beside it: the nearest such
    line, or the least conspicuous one nearby. The farthest shift is a fraction of the
    side; eight pixels are always allowed.
    """
    down, across = (
        _best_shift(image, axis, farthest) if may_move else 0
        for axis, may_move in enumerate(ways)
    )
    return down, across


def move(image: Plane, by: tuple[int, int], shape: tuple[int, int]) -> Plane:
    """Return an array rolled as a picture of another shape was rolled `by` pixels."""
    shifts = [
        round(shift * own / length)
        for shift, own, length in zip(by, image.shape[:2], shape, strict=True)
    ]
    return np.roll(image, shifts, (0, 1))


def _best_shift(image: AnyHostImage, axis: int, farthest: float) -> int:
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
    """Return the fraction to cross-fade that gives the least conspicuous border."""
    shape = tuple(min(length, _NUM_LINES) for length in image.shape[:2])
    length = shape[axis]
    small = jnp.asarray(resize(np.asarray(image), (shape[0], shape[1])))
    scores = np.asarray(line_scores(small, axis))
    least, most = (max(1, round(length * part)) for part in _OVERLAPS)
    overlaps = np.arange(least, most + 1)
    oddness = np.abs(np.log(np.maximum(scores[length - overlaps], 1e-3)))
    return float(overlaps[np.argmin(oddness)]) / length


def multiples_of(tile: str | None) -> tuple[int, int]:
    """Return what height and width must be multiples of for poolings to wrap around."""
    down, across = (_TILE_MULTIPLE if each else 1 for each in wraps_of(tile))
    return down, across


def line_scores(image: Image, axis: int) -> Float[Array, " lines"]:
    """Return the step into every line of a tiled picture, over the steps beside it.

    The lines are rows for axis 0, columns for axis 1. The step is that from the line
    before it; the first is `jaxnst.metrics.seam_score`.
    """
    steps = jnp.abs(image - jnp.roll(image, 1, axis))
    lines = jnp.mean(steps, (1 - axis, 2))
    count = max(1, min(_NUM_BESIDE, (image.shape[axis] - 1) // 4))
    distances = 2 * np.arange(1, count + 1)
    offsets = np.concatenate([-distances, distances])
    places = (np.arange(len(lines))[:, None] + offsets) % len(lines)
    return lines / jnp.maximum(jnp.mean(lines[places], axis=1), 1e-6)
