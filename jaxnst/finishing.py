"""Post-processing filters: sharpening, denoising, contrast, grain and others.

Functions from NumPy arrays to NumPy arrays: RGB, sRGB-encoded, float32, [0, 1], HWC.
Each has one amount; 0 changes nothing. Their lengths are fixed fractions of the longest
side, so that a filter looks the same at every size; but grain is as fine as pixels.
"""

import importlib.util
import math
from collections.abc import Callable, Mapping

import numpy as np
import scipy.ndimage

from ._types import HostImage
from .config import FILTERS as FILTERS, check_filters as check_filters
from .images.load import bands_of


# Weights of R, G and B in the luminance of sRGB values (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Radius of the unsharp mask, in parts of the longest side, and the least in pixels.
_SHARPEN_RADIUS = 1 / 700
_MIN_RADIUS = 0.7
# Weight of total variation in `denoise` with amount 1.
_MAX_DENOISING = 0.1
# Fraction of the darkest and of the brightest pixels that `levels` clips.
_CLIPPED = 0.01
# Standard deviation of the grain with amount 1, and the size of a grain in pixels.
_MAX_GRAIN = 0.12
_GRAIN_SIZE = 0.6
# Pixels from the opposite border that filters see in a picture that tiles, at least;
# and how many radii the unsharp mask sees.
_MARGIN, _REACH = 16, 5
# Brightness that is left in the corners by a vignette with amount 1.
_CORNER = 0.15
# Pixels that are filtered at once.
_BAND = 2**18
# Cells of a halftone screen along the longest side, and the least size of a cell.
_NUM_CELLS = 110
_MIN_CELL = 4.0
# Angles of the screens of cyan, magenta, yellow and black, in degrees, as usual in
# printing: no two of them make a moiré.
_ANGLES = (15.0, 75.0, 0.0, 45.0)


def check_packages(amounts: Mapping[str, float]) -> None:
    """Refuse filters whose package is missing, before anything is painted.

    Args:
        amounts: {filter: amount}.

    Raises:
        ImportError: if one is.
    """
    if amounts.get("denoise") and importlib.util.find_spec("skimage") is None:
        raise ImportError(
            "denoising needs scikit-image; install it with: pip install "
            "'jaxnst[finish]'"
        )


def denoise(image: HostImage, amount: float) -> HostImage:
    """Return a picture with less noise and the same edges (Chambolle 2004).

    Args:
        image: RGB, [0, 1].
        amount: 0 to 1, the weight of total variation.

    Raises:
        ImportError: if scikit-image is not installed.
    """
    check_packages({"denoise": amount})
    from skimage.restoration import denoise_tv_chambolle

    weight = _MAX_DENOISING * amount
    return denoise_tv_chambolle(image, weight, eps=2e-5, channel_axis=-1)


def sharpen(image: HostImage, amount: float) -> HostImage:
    """Return a picture with stronger fine contrasts (unsharp masking).

    Args:
        image: RGB, [0, 1].
        amount: 0 to 3, how many times the fine detail is added.
    """
    radius = max(_SHARPEN_RADIUS * max(image.shape), _MIN_RADIUS)
    luma = image @ _LUMA
    # Only of the luminance, or edges get colored fringes.
    detail = scipy.ndimage.gaussian_filter(luma, radius, mode="reflect")
    np.subtract(luma, detail, out=detail)
    return _by_rows(
        image, lambda seen, rows: seen + np.float32(amount) * detail[rows, :, None]
    )


def contrast(image: HostImage, amount: float) -> HostImage:
    """Return a picture with more or less contrast around its mean luminance.

    Args:
        image: RGB, [0, 1].
        amount: -1 (flat gray) to 1 (twice the contrast).
    """
    mean = float((image @ _LUMA).mean())
    return _by_rows(
        image, lambda seen, _: mean + np.float32(1 + amount) * (seen - mean)
    )


def levels(image: HostImage, amount: float) -> HostImage:
    """Return a picture stretched to the range from black to white.

    Args:
        image: RGB, [0, 1].
        amount: 0 to 1, the fraction of the effect.
    """
    luma = image @ _LUMA
    darkest, brightest = np.quantile(luma, [_CLIPPED, 1 - _CLIPPED])
    if brightest - darkest < 1e-3:  # a picture of one color
        return image

    def spread(seen: HostImage, _: slice) -> HostImage:
        wide = (seen - darkest) / (brightest - darkest)
        return seen + np.float32(amount) * (wide - seen)

    return _by_rows(image, spread)


def saturation(image: HostImage, amount: float) -> HostImage:
    """Return a picture with stronger or weaker colors and the same luminance.

    Args:
        image: RGB, [0, 1].
        amount: -1 (gray) to 1 (twice as colorful).
    """

    def saturate(seen: HostImage, _: slice) -> HostImage:
        luma = (seen @ _LUMA)[..., None]
        return luma + np.float32(1 + amount) * (seen - luma)

    return _by_rows(image, saturate)


def grain(image: HostImage, amount: float) -> HostImage:
    """Return a picture with film grain, monochrome and the same in every call.

    Args:
        image: RGB, [0, 1].
        amount: 0 to 1.
    """
    noise = np.random.default_rng(0).standard_normal(image.shape[:2], np.float32)
    noise = scipy.ndimage.gaussian_filter(noise, _GRAIN_SIZE, mode="wrap")
    noise /= noise.std()

    def add(seen: HostImage, rows: slice) -> HostImage:
        luma = np.clip(seen @ _LUMA, 0, 1)
        # Film has the least grain in black and in white.
        visible = 0.35 + 0.65 * 4 * luma * (1 - luma)
        grains = (noise[rows] * visible)[..., None]
        return seen + np.float32(_MAX_GRAIN * amount) * grains

    return _by_rows(image, add)


def vignette(image: HostImage, amount: float) -> HostImage:
    """Return a picture that is darker towards its corners.

    Args:
        image: RGB, [0, 1].
        amount: 0 to 1.
    """
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)

    def darken(seen: HostImage, rows: slice) -> HostImage:
        # cos^4, the natural falloff of a lens, towards the corner.
        angle = np.sqrt((x * x + y[rows] * y[rows]) / 2) * math.acos(_CORNER ** (1 / 4))
        return seen * (1 - np.float32(amount) * (1 - np.cos(angle) ** 4))[..., None]

    return _by_rows(image, darken)


def halftone(image: HostImage, amount: float) -> HostImage:
    """Return a picture printed in dots of cyan, magenta, yellow and black.

    Args:
        image: RGB, [0, 1].
        amount: 0 to 1, the fraction of the effect.
    """
    width = image.shape[1]
    cell = max(max(image.shape) / _NUM_CELLS, _MIN_CELL)

    def print_dots(seen: HostImage, rows: slice) -> HostImage:
        black = 1 - seen.max(-1)
        rest = np.maximum(1 - black, 1e-6)
        inks = [
            *np.moveaxis((1 - seen - black[..., None]) / rest[..., None], -1, 0),
            black,
        ]
        y, x = np.mgrid[rows, :width].astype(np.float32)
        printed = np.ones_like(seen)
        for index, (ink, degrees) in enumerate(zip(inks, _ANGLES, strict=True)):
            turn = math.radians(degrees)
            u = (math.cos(turn) * x + math.sin(turn) * y) * (2 * math.pi / cell)
            v = (math.cos(turn) * y - math.sin(turn) * x) * (2 * math.pi / cell)
            screen = 0.5 + 0.25 * (np.cos(u) + np.cos(v))
            # The fraction of paper covered is the amount of ink.
            threshold = _screen_threshold(ink)
            # Edges of dots are about a pixel wide, so that they are smooth.
            dots = np.clip(0.5 + (screen - threshold) * cell / 2.5, 0, 1)
            # Cyan absorbs red, magenta green, yellow blue, and black all three.
            taken = np.ones(3) if index == 3 else np.eye(3)[index]
            printed *= 1 - dots[..., None] * taken.astype(np.float32)
        return seen + np.float32(amount) * (printed - seen)

    return _by_rows(image, print_dots)


def _by_rows(
    image: HostImage, filter_fn: Callable[[HostImage, slice], HostImage]
) -> HostImage:
    """Return a picture filtered in bands of rows, which needs less memory at once."""
    filtered = np.empty_like(image)
    for rows in bands_of(image, _BAND):
        filtered[rows] = filter_fn(image[rows], rows)
    return filtered


def _screen_threshold(ink: np.ndarray) -> np.ndarray:
    """Return the value that a fraction `ink` of the screen is above."""
    phase = (np.arange(64) + 0.5) / 64 * 2 * math.pi
    values = np.sort((0.5 + 0.25 * (np.cos(phase) + np.cos(phase)[:, None])).ravel())
    places = np.linspace(1, 0, values.size)
    known = np.linspace(0, 1, 257)
    thresholds = np.interp(known, places[::-1], values[::-1])
    # Ink 0 prints nothing, ink 1 everything.
    thresholds[0], thresholds[-1] = 2.0, -1.0
    return np.interp(ink, known, thresholds).astype(np.float32)


# These look at neighboring pixels, over the border of a tiled picture as well.
_LOCAL = ("denoise", "sharpen")


_FILTERS = (denoise, sharpen, contrast, levels, saturation, grain, vignette, halftone)
_FILTER_FNS = {each.__name__: each for each in _FILTERS}


def finish_picture(
    image: HostImage, filters: Mapping[str, float], *, tile: str | None = None
) -> HostImage:
    """Return a picture with filters applied, clipped to [0, 1].

    Args:
        image: RGB, [0, 1].
        filters: result of `check_filters`; applied one after the other.
        tile: "x", "y", "xy" or None, as in `TransferConfig`; a picture that tiles
            still tiles afterwards.

    Raises:
        ImportError: if scikit-image is needed and not installed.
    """
    height, width = image.shape[:2]
    margin = max(_MARGIN, math.ceil(_REACH * _SHARPEN_RADIUS * max(height, width)))
    for name, amount in filters.items():
        if not amount:
            continue
        wraps = (tile or "") if name in _LOCAL else ""
        down, across = (margin if way in wraps else 0 for way in "yx")
        seen = image
        if down or across:
            seen = np.pad(image, ((down, down), (across, across), (0, 0)), mode="wrap")
        found = np.asarray(_FILTER_FNS[name](seen, amount), np.float32)
        np.clip(found, 0, 1, out=found)
        image = found[down : down + height, across : across + width]
    return image
