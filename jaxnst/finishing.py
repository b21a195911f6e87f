"""Filters that finish a picture: sharper, calmer, grainier, printed.

Functions of pictures on the host: RGB, sRGB-encoded, float32, [0, 1], HWC, into the
same. Each has one amount that says how much of it, 0 being none; what else could be set
is fixed in parts of the picture's longest side, so that a filter does the same at every
size.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import scipy.ndimage

from ._types import HostImage
from .config import FILTERS as FILTERS, check_filters as check_filters


# Of the luminance of sRGB values (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Of unsharp masks, in parts of the longest side, and at least so many pixels.
_SHARPEN_RADIUS = 1 / 700
_MIN_RADIUS = 0.7
# Total variation is weighed with up to this by denoising.
_MAX_DENOISING = 0.1
# Of the darkest and of the brightest pixels, what "levels" gives up at most.
_CLIPPED = 0.01
# Standard deviation of all of the grain, and the size of its grains in pixels.
_MAX_GRAIN = 0.12
_GRAIN_SIZE = 0.6
# So many pixels of the other end are seen by filters of a picture that repeats.
_MARGIN = 16
# Brightness that is left in the corners by all of a vignette.
_CORNER = 0.15
# Cells of a halftone screen on the longest side, at least so many pixels each.
_NUM_CELLS = 110
_MIN_CELL = 4.0
# Angles of the screens of cyan, magenta, yellow and black, in degrees, as printers have
# them: no two make a moiré.
_ANGLES = (15.0, 75.0, 0.0, 45.0)


def denoise(image: HostImage, amount: float) -> HostImage:
    """Return a picture with less noise; edges stay (total variation, Chambolle 2004).

    Args:
        image: any.
        amount: 0 to 1.

    Raises:
        ImportError: if scikit-image is not there.
    """
    try:
        from skimage.restoration import denoise_tv_chambolle
    except ImportError:
        raise ImportError(
            "denoising needs scikit-image; install it with: pip install "
            "'jaxnst[finish]'"
        ) from None
    weight = _MAX_DENOISING * amount
    return denoise_tv_chambolle(image, weight, eps=2e-5, channel_axis=-1)


def sharpen(image: HostImage, amount: float) -> HostImage:
    """Return a picture with stronger fine contrasts (unsharp masking).

    Args:
        image: any.
        amount: 0 to 3; 1 adds the fine detail once more.
    """
    radius = max(_SHARPEN_RADIUS * max(image.shape), _MIN_RADIUS)
    luma = image @ _LUMA
    # Of the luminance only, or colors fringe.
    detail = luma - scipy.ndimage.gaussian_filter(luma, radius, mode="reflect")
    return image + np.float32(amount) * detail[..., None]


def contrast(image: HostImage, amount: float) -> HostImage:
    """Return a picture with more contrast, or less, around its mean luminance.

    Args:
        image: any.
        amount: -1 (flat gray) to 1 (twice as much).
    """
    mean = float((image @ _LUMA).mean())
    return mean + np.float32(1 + amount) * (image - mean)


def levels(image: HostImage, amount: float) -> HostImage:
    """Return a picture from black to white: its darkest and brightest spread apart.

    Args:
        image: any.
        amount: 0 to 1, of the way there.
    """
    luma = image @ _LUMA
    darkest, brightest = np.quantile(luma, [_CLIPPED, 1 - _CLIPPED])
    if brightest - darkest < 1e-3:  # all one color
        return image
    spread = (image - darkest) / (brightest - darkest)
    return image + np.float32(amount) * (spread - image)


def saturation(image: HostImage, amount: float) -> HostImage:
    """Return a picture with stronger or weaker colors, its luminance the same.

    Args:
        image: any.
        amount: -1 (gray) to 1 (twice as colorful).
    """
    luma = (image @ _LUMA)[..., None]
    return luma + np.float32(1 + amount) * (image - luma)


def grain(image: HostImage, amount: float) -> HostImage:
    """Return a picture with grain, as of film: the same in all colors, always the same.

    Args:
        image: any.
        amount: 0 to 1.
    """
    noise = np.random.default_rng(0).standard_normal(image.shape[:2], np.float32)
    noise = scipy.ndimage.gaussian_filter(noise, _GRAIN_SIZE, mode="wrap")
    noise /= noise.std()
    luma = np.clip(image @ _LUMA, 0, 1)
    # Film has least of it in black and in white.
    visible = 0.35 + 0.65 * 4 * luma * (1 - luma)
    return image + np.float32(_MAX_GRAIN * amount) * (noise * visible)[..., None]


def vignette(image: HostImage, amount: float) -> HostImage:
    """Return a picture that is darker towards its corners.

    Args:
        image: any.
        amount: 0 to 1.
    """
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    # cos^4, the natural fall of light, to the corner.
    angle = np.sqrt((x * x + y * y) / 2) * math.acos(_CORNER ** (1 / 4))
    return image * (1 - np.float32(amount) * (1 - np.cos(angle) ** 4))[..., None]


def halftone(image: HostImage, amount: float) -> HostImage:
    """Return a picture as it is printed: dots of cyan, magenta, yellow and black.

    Args:
        image: any.
        amount: 0 to 1, of the way there.
    """
    height, width = image.shape[:2]
    cell = max(max(height, width) / _NUM_CELLS, _MIN_CELL)
    black = 1 - image.max(-1)
    rest = np.maximum(1 - black, 1e-6)
    inks = [
        *np.moveaxis((1 - image - black[..., None]) / rest[..., None], -1, 0),
        black,
    ]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    printed = np.ones_like(image)
    for index, (ink, degrees) in enumerate(zip(inks, _ANGLES, strict=True)):
        turn = math.radians(degrees)
        u = (math.cos(turn) * x + math.sin(turn) * y) * (2 * math.pi / cell)
        v = (math.cos(turn) * y - math.sin(turn) * x) * (2 * math.pi / cell)
        screen = 0.5 + 0.25 * (np.cos(u) + np.cos(v))
        # So that as much paper is covered as there is ink: screens are not uniform.
        threshold = _covering(ink)
        # Over about a pixel, so that dots have smooth edges.
        dots = np.clip(0.5 + (screen - threshold) * cell / 2.5, 0, 1)
        part = dots[..., None]
        # Cyan takes red away, and so on; black takes all.
        taken = np.ones(3) if index == 3 else np.eye(3)[index]
        printed *= 1 - part * taken.astype(np.float32)
    return image + np.float32(amount) * (printed - image)


def _covering(ink: np.ndarray) -> np.ndarray:
    """Return above which value of a screen there is so much of it."""
    phase = (np.arange(64) + 0.5) / 64 * 2 * math.pi
    values = np.sort((0.5 + 0.25 * (np.cos(phase) + np.cos(phase)[:, None])).ravel())
    places = np.linspace(1, 0, values.size)
    known = np.linspace(0, 1, 257)
    thresholds = np.interp(known, places[::-1], values[::-1])
    # No ink at all prints nothing, all of it everything.
    thresholds[0], thresholds[-1] = 2.0, -1.0
    return np.interp(ink, known, thresholds).astype(np.float32)


_APPLY: Mapping[str, Callable[[HostImage, float], HostImage]] = MappingProxyType(
    {
        "denoise": denoise,
        "sharpen": sharpen,
        "contrast": contrast,
        "levels": levels,
        "saturation": saturation,
        "grain": grain,
        "vignette": vignette,
        "halftone": halftone,
    }
)
# These look at neighboring pixels, over the border of a tiled picture as well.
_LOCAL = ("denoise", "sharpen")


def finish_picture(
    image: HostImage, filters: Mapping[str, float], *, tile: str | None = None
) -> HostImage:
    """Return a picture after some filters, of the same size and within [0, 1].

    Args:
        image: RGB, [0, 1].
        filters: of `check_filters`; each sees what the one before it made.
        tile: whether it repeats, as `TransferConfig` has it; it still does then.

    Raises:
        ImportError: if scikit-image is needed and not there.
    """
    height, width = image.shape[:2]
    for name, amount in filters.items():
        if not amount:
            continue
        wraps = (tile or "") if name in _LOCAL else ""
        down, across = (_MARGIN if way in wraps else 0 for way in "yx")
        seen = np.pad(image, ((down, down), (across, across), (0, 0)), mode="wrap")
        found = np.clip(_APPLY[name](seen, amount), 0, 1).astype(np.float32)
        image = found[down : down + height, across : across + width]
    return image
