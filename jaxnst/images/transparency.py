"""Pictures with transparent parts as if there were only what is visible."""

import dataclasses

import numpy as np
import scipy.ndimage

from jaxnst._checks import MIN_SIDE

from .load import Picture


# Opacity from which a pixel counts as visible.
_VISIBLE = 0.5


def only_visible(picture: Picture) -> Picture:
    """Return an opaque picture of what is visible: cropped, its gaps mirrored from it.

    The statistics of the result are about those of the visible part. A picture that is
    opaque, or hidden altogether, is returned as it is.
    """
    if picture.alpha is None:
        return picture
    seen = picture.alpha >= _VISIBLE
    if seen.all() or not seen.any():
        return dataclasses.replace(picture, alpha=None)
    box = tuple(_span(np.atleast_1d(np.any(seen, axis=axis))) for axis in (1, 0))
    seen, rgb = seen[box], picture.rgb[box]
    nearest = scipy.ndimage.distance_transform_edt(
        ~seen, return_distances=False, return_indices=True
    )
    assert nearest is not None
    limits = np.reshape(seen.shape, (2, 1, 1)) - 1
    # A hidden pixel gets the color of the visible one beyond the nearest edge.
    mirrored = np.clip(2 * nearest - np.indices(seen.shape), 0, limits)
    places = np.where(seen[tuple(mirrored)], mirrored, nearest)
    return dataclasses.replace(
        picture, rgb=np.ascontiguousarray(rgb[tuple(places)]), alpha=None
    )


def _span(is_visible: np.ndarray) -> slice:
    """Return from the first to the last visible row, at least `MIN_SIDE` of them."""
    found = np.flatnonzero(is_visible)
    length = max(found[-1] + 1 - found[0], MIN_SIDE)
    first = min(found[0], len(is_visible) - length)
    return slice(first, first + length)
