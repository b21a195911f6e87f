"""Artifacts of a picture: noise, blur, and seams where it tiles."""

from collections.abc import Collection

import jax.numpy as jnp
import numpy as np

from jaxnst._types import HostImage, Image, Scalar, StyleImage
from jaxnst.images.tiling import line_scores


# In cycles per pixel, half of the highest frequency. Edges and brush strokes are below,
# pixel noise, checkerboards and the finest detail of photographs above.
CUTOFF = 0.25
# Energy above the cutoff of the noise from rounding to 8 bits: its power, times the
# part of the square of frequencies outside the circle. Less counts as this much.
_SMALLEST_ENERGY = (1 - np.pi * CUTOFF**2) / 12 / 255**2
_LUMA = (0.2126, 0.7152, 0.0722)


def high_frequency_energy(image: Image) -> Scalar:
    """Return the energy of the luma above a quarter cycle per pixel, in any direction.

    Args:
        image: sRGB, [0, 1].

    Returns:
        Variance per pixel in those frequencies; 0.8 v for white noise of variance v.
    """
    height, width = image.shape[:2]
    luma = jnp.sum(image * jnp.asarray(_LUMA, image.dtype).reshape(1, 1, 3), axis=-1)
    # Without a window, the step from one border to the opposite would count as detail.
    window = np.outer(_hann(height), _hann(width))
    weights = jnp.asarray(window / window.sum(), luma.dtype)
    luma = (luma - jnp.sum(luma * weights)) * jnp.asarray(window, luma.dtype)
    spectrum = jnp.abs(jnp.fft.fft2(luma)) ** 2
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.fftfreq(width)[None]
    is_high = np.hypot(rows, columns) > CUTOFF
    energy = jnp.sum(jnp.where(is_high, spectrum, 0))
    # Parseval's theorem, and the energy that the window took away.
    return energy / float(height * width * np.sum(window**2))


def detail_ratio(image: Image, reference: StyleImage) -> Scalar:
    """Return the high-frequency energy of a picture over that of another.

    Args:
        image: sRGB, [0, 1].
        reference: sRGB, [0, 1], of any size.

    Returns:
        1 for as much fine detail, far below 1 for a blurred picture, far above 1 for a
        noisy one. The reference has at least the rounding noise of 8 bits.
    """
    energy = high_frequency_energy(image)
    return energy / jnp.maximum(high_frequency_energy(reference), _SMALLEST_ENERGY)


def _hann(length: int) -> np.ndarray:
    return np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2


def seam_score(image: Image, axis: int) -> Scalar:
    """Return the step over the border of a tiled picture, over the steps beside it.

    Args:
        image: RGB, [0, 1].
        axis: 0 for the step from the last row to the first, 1 for columns.

    Returns:
        About 1 for an invisible border, several times as much for a visible seam.
    """
    return line_scores(image, axis)[0]


def seam_scores(image: HostImage, ways: Collection[str]) -> dict[str, float]:
    """Return {"seam_x": `seam_score` of the columns, "seam_y": of the rows}.

    Args:
        image: RGB, [0, 1].
        ways: the directions it is to tile in, some of "x" and "y".
    """
    return {
        f"seam_{way}": float(seam_score(jnp.asarray(image), "yx".index(way)))
        for way in "xy"
        if way in ways
    }
