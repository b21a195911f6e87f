"""The one way pictures are resized: Pillow's Lanczos, antialiased, in float32.

It works on the sRGB-encoded values, as earlier style-transfer systems do (their
published settings assume it), and clips the slight overshoot of the filter.
"""

import dataclasses
import math

import numpy as np
from PIL import Image as PILImage

from .load import Picture


# Pixels that Lanczos' window sees on either side, of the coarser grid.
_REACH = 3


def fitted_shape(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Return (height, width) with the longest side `longest` and the same aspect.

    Args:
        shape: height and width now; further axes are ignored.
        longest: length of the longest side wanted, in pixels.
    """
    height, width = shape[:2]
    factor = longest / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def resize(
    array: np.ndarray,
    shape: tuple[int, int],
    *,
    wraps: tuple[bool, bool] = (False, False),
) -> np.ndarray:
    """Resize a float32 picture or mask in [0, 1] to `shape` = (height, width).

    Args:
        array: (H, W) or (H, W, C), float32, [0, 1].
        shape: height and width wanted; equal to now gives `array` itself.
        wraps: whether it goes on at its other end, down and across, so that the filter
            sees the opposite border beyond the border.
    """
    if array.shape[:2] == shape:
        return array
    if array.ndim == 3:
        channels = [
            resize(array[..., i], shape, wraps=wraps) for i in range(array.shape[-1])
        ]
        return np.stack(channels, axis=-1)
    # As far as the filter sees.
    down, across = (
        math.ceil(_REACH * max(1.0, old / new)) if goes_around else 0
        for old, new, goes_around in zip(array.shape, shape, wraps, strict=True)
    )
    padded = np.pad(array, ((down, down), (across, across)), mode="wrap")
    image = PILImage.fromarray(np.ascontiguousarray(padded, np.float32))
    resized = image.resize(
        (shape[1], shape[0]),
        PILImage.Resampling.LANCZOS,
        box=(across, down, across + array.shape[1], down + array.shape[0]),
    )
    return np.clip(np.asarray(resized), 0.0, 1.0)


def resize_picture(picture: Picture, longest: int) -> Picture:
    """Resize a picture and its alpha so that its longest side is `longest` pixels."""
    shape = fitted_shape(picture.rgb.shape, longest)
    alpha = None if picture.alpha is None else resize(picture.alpha, shape)
    return dataclasses.replace(picture, rgb=resize(picture.rgb, shape), alpha=alpha)
