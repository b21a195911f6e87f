"""Artifacts of a picture: noise or blur in its fine detail, and seams of a tile."""

from collections.abc import Collection

import jax.numpy as jnp
import numpy as np

from jaxnst._types import HostImage, Image, Scalar, StyleImage
from jaxnst.images.tiling import line_scores


# In cycles per pixel. Up to here, half of what a picture can hold, reach edges and
# brush strokes; above are pixel noise and checkerboards, and a photo's last crispness.
CUTOFF = 0.25
# Rounding to 8 bits leaves noise of this power, of which this part is above the cutoff:
# the square of frequencies less a circle. Less energy than that is none.
_SMALLEST_ENERGY = (1 - np.pi * CUTOFF**2) / 12 / 255**2
_LUMA = (0.2126, 0.7152, 0.0722)


def high_frequency_energy(image: Image) -> Scalar:
    """Energy of the luma above a quarter cycle per pixel, in any direction.

    Args:
        image: sRGB, [0, 1].

    Returns:
        Variance per pixel that those frequencies make up; white noise of variance v in
        the luma has 0.8 v.
    """
    height, width = image.shape[:2]
    luma = jnp.sum(image * jnp.asarray(_LUMA, image.dtype).reshape(1, 1, 3), axis=-1)
    # Without a window, the jump from one border to the opposite one would count as
    # detail.
    window = np.outer(_hann(height), _hann(width))
    weights = jnp.asarray(window / window.sum(), luma.dtype)
    luma = (luma - jnp.sum(luma * weights)) * jnp.asarray(window, luma.dtype)
    spectrum = jnp.abs(jnp.fft.fft2(luma)) ** 2
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.fftfreq(width)[None]
    is_high = np.hypot(rows, columns) > CUTOFF
    energy = jnp.sum(jnp.where(is_high, spectrum, 0))
    # Parseval; the mean square of the window is what it took away.
    return energy / float(height * width * np.sum(window**2))


def detail_ratio(image: Image, reference: StyleImage) -> Scalar:
    """High-frequency energy of a picture over that of another.

    Args:
        image: sRGB, [0, 1].
        reference: sRGB, [0, 1], of any size.

    Returns:
        1: as much fine detail; far below: blurred; far above: noisy. A reference with
        less than the rounding noise of 8 bits counts as having that.
    """
    energy = high_frequency_energy(image)
    return energy / jnp.maximum(high_frequency_energy(reference), _SMALLEST_ENERGY)


def _hann(length: int) -> np.ndarray:
    return np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2


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
