"""Resizing: Pillow's Lanczos filter (bilinear for masks), antialiased, in float32.

It works on sRGB-encoded values, as the published settings of earlier style-transfer
systems assume, and clips the slight overshoot of the filter.
"""

import dataclasses
import math

import numpy as np
import scipy.ndimage
from PIL import Image as PILImage

from .load import MIN_SIDE, Picture


# Pixels of the coarser grid that the Lanczos window covers on either side.
_REACH = 3
# Opacity from which a pixel counts as visible.
_VISIBLE = 0.5


def fitted_shape(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Return (height, width) of the same aspect whose longest side is `longest`.

    Args:
        shape: present height and width; further axes are ignored.
        longest: length of the longest side, in pixels.
    """
    height, width = shape[:2]
    factor = longest / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def resize(
    array: np.ndarray,
    shape: tuple[int, int],
    *,
    wraps: tuple[bool, bool] = (False, False),
    is_mask: bool = False,
) -> np.ndarray:
    """Return a picture or mask of another size.

    Args:
        array: (H, W) or (H, W, C), float32, [0, 1].
        shape: new height and width; `array` itself is returned if it has them.
        wraps: whether the picture wraps around vertically and horizontally, so that the
            filter sees the opposite border beyond the border.
        is_mask: whether values must not overshoot at edges, as in masks; the filter is
            then bilinear, antialiased.
    """
    if array.shape[:2] == shape:
        return array
    if array.ndim == 3:
        channels = [
            resize(array[..., i], shape, wraps=wraps, is_mask=is_mask)
            for i in range(array.shape[-1])
        ]
        return np.stack(channels, axis=-1)
    # Wrapped as far as the filter sees.
    down, across = (
        math.ceil(_REACH * max(1.0, old / new)) if is_wrapped else 0
        for old, new, is_wrapped in zip(array.shape, shape, wraps, strict=True)
    )
    padded = array
    if down or across:
        padded = np.pad(array, ((down, down), (across, across)), mode="wrap")
    image = PILImage.fromarray(np.ascontiguousarray(padded, np.float32))
    resized = image.resize(
        (shape[1], shape[0]),
        PILImage.Resampling.BILINEAR if is_mask else PILImage.Resampling.LANCZOS,
        box=(across, down, across + array.shape[1], down + array.shape[0]),
    )
    return np.clip(np.asarray(resized), 0.0, 1.0)


def resize_picture(picture: Picture, longest: int) -> Picture:
    """Return a picture, with its alpha, of another size.

    Args:
        picture: picture to resize.
        longest: length of the longest side, in pixels.
    """
    shape = fitted_shape(picture.rgb.shape, longest)
    alpha = None if picture.alpha is None else resize(picture.alpha, shape)
    return dataclasses.replace(picture, rgb=resize(picture.rgb, shape), alpha=alpha)


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
    rgb = _mirror_gaps(picture.rgb[box], seen[box])
    return dataclasses.replace(picture, rgb=rgb, alpha=None)


def fill_hidden(picture: Picture) -> Picture:
    """Return a picture whose hidden parts look like what is beside them; alpha stays.

    Painted, it has no outline where it begins to be visible, and no other color shows
    through its soft edges.
    """
    if picture.alpha is None:
        return picture
    seen = picture.alpha >= _VISIBLE
    if seen.all() or not seen.any():
        return picture
    return dataclasses.replace(picture, rgb=_mirror_gaps(picture.rgb, seen))


def _mirror_gaps(rgb: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return a picture whose hidden pixels have the colors beyond the nearest edge."""
    nearest = scipy.ndimage.distance_transform_edt(
        ~seen, return_distances=False, return_indices=True
    )
    assert nearest is not None
    limits = np.reshape(seen.shape, (2, 1, 1)) - 1
    mirrored = np.clip(2 * nearest - np.indices(seen.shape), 0, limits)
    places = np.where(seen[tuple(mirrored)], mirrored, nearest)
    return np.ascontiguousarray(rgb[tuple(places)])


def _span(is_visible: np.ndarray) -> slice:
    """Return from the first to the last visible row, at least `MIN_SIDE` of them."""
    found = np.flatnonzero(is_visible)
    length = max(found[-1] + 1 - found[0], MIN_SIDE)
    first = min(found[0], len(is_visible) - length)
    return slice(first, first + length)
