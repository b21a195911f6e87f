"""Making a picture that repeats: its opposite borders cross-faded into each other."""

import numpy as np
from jaxtyping import Float

from ._types import AnyHostImage


# A picture, or what belongs to one.
Plane = Float[np.ndarray, "_ _ *channels"]

# Part of each side over which borders are cross-faded; the picture becomes so much
# shorter.
_OVERLAP = 1 / 8
# Borders that fit as well as this many times the steps inside need nothing.
_FITS = 1.5


def ways_to_fade(image: AnyHostImage, tile: str) -> str:
    """Return those ways in which a picture is to repeat and its borders do not fit.

    Args:
        image: RGB, [0, 1].
        tile: "xy", "x" (across) or "y" (down).
    """
    return "".join(
        way
        for axis, way in ((1, "x"), (0, "y"))
        if way in tile and border_step(image, axis) > _FITS
    )


def make_tileable(image: Plane, ways: str) -> Plane:
    """Return a picture whose borders go on at the other end.

    What lies along the right border is laid over the left one, so that it begins where
    the new right border ends; likewise below and above.

    Args:
        image: RGB, or what belongs to it: its opacity, a mask.
        ways: of `ways_to_fade`.
    """
    for axis, name in ((0, "y"), (1, "x")):
        if name in ways:
            image = _fade(image, axis)
    return image


def border_step(image: AnyHostImage, axis: int) -> float:
    """Return the mean step over the border, over that between pixels inside.

    Args:
        image: RGB, [0, 1].
        axis: 0: from the last row to the first, 1: from the last column.
    """
    inside = float(np.mean(np.abs(np.diff(image, axis=axis))))
    first, last = np.take(image, 0, axis), np.take(image, -1, axis)
    return float(np.mean(np.abs(first - last))) / max(inside, 1e-6)


def _fade(image: Plane, axis: int) -> Plane:
    length = image.shape[axis]
    shared = max(1, round(length * _OVERLAP))
    image = np.moveaxis(image, axis, 0)
    ramp = (np.arange(shared) + 0.5) / shared
    ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    ramp = ramp.reshape(-1, *[1] * (image.ndim - 1))
    rest = image[: length - shared].copy()
    rest[:shared] = (1 - ramp) * image[length - shared :] + ramp * image[:shared]
    return np.moveaxis(rest, 0, axis)
