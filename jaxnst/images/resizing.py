"""Resizing: Pillow's Lanczos filter (bilinear for masks), antialiased, in float32.

It works on sRGB-encoded values, as the published settings of earlier style-transfer
systems assume, and clips the slight overshoot of the filter.
"""

import dataclasses
import math

import numpy as np
from PIL import Image as PILImage

from .load import Picture


# Pixels of the coarser grid that the Lanczos window covers on either side.
_REACH = 3


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
