"""Control of color: keep the content's colors, or transfer nothing but the style's.

Functions of NumPy arrays: RGB, sRGB-encoded, float32, [0, 1], HWC. They work on
sRGB values, not on linear light, as the literature does.

References:
    Gatys, Bethge, Hertzmann, Shechtman, "Preserving Color in Neural Artistic Style
    Transfer", 2016: luminance transfer (section 4), and linear matching of the
    style's colors before the transfer (section 3). Pitie, Kokaram, Dahyot,
    "Automated colour grading using colour distribution transfer", 2007.
"""

import itertools
from collections.abc import Callable

import numpy as np
import scipy.ndimage

from ._checks import check_choice
from ._types import AnyHostImage, HostImage


# Those that change what was painted.
AFTERWARDS = ("content", "luminance")
# Those that give the style the content's colors before.
BEFOREHAND = ("match", "histogram")
MATCHINGS = ("symmetric", "pca", "cholesky")
# Weights of R, G and B in the luminance of sRGB values (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Least difference of the channels that is a color: JPEG and color profiles leave 1 or 2
# levels of 255 between them.
_COLORED = 2.5 / 255
# Standard deviation of the channels around gray that is noise, and no color.
_NOISE = 1.5 / 255
# Added to variances, so that the covariance of a flat picture has an inverse.
_EPSILON = 1e-5
# Number of random sets of axes along which `take_palette` matches histograms.
_MAX_TURNS = 12
# Number of quantiles that represent a distribution.
_NUM_QUANTILES = 512
# `smooth_recoloring` smooths on a grid of colors: points per side, and the standard
# deviation in points.
_GRID = 33
_GRID_SIGMA = 1.3


def is_gray(image: AnyHostImage) -> bool:
    """Return whether a picture has no color, but for rounding.

    Args:
        image: picture to check.
    """
    return bool(np.ptp(image, axis=-1).max() < _COLORED)


def keep_luminance(painted: HostImage, content: HostImage) -> HostImage:
    """Return the luminance of one picture with the colors of another.

    A color outside [0, 1] is made paler until it is inside; its luminance stays.

    Args:
        painted: picture that gives the luminance.
        content: picture that gives the color differences, of the same shape.
    """
    luma = painted @ _LUMA
    chroma = content - (content @ _LUMA)[..., None]
    # The largest fraction of the color difference that stays within [0, 1].
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(chroma > 0, 1 - luma[..., None], -luma[..., None]) / chroma
    room = np.nan_to_num(room, nan=1.0, posinf=1.0, neginf=1.0)
    part = np.clip(room.min(-1), 0, 1)
    mixed = luma[..., None] + part[..., None] * chroma
    return np.clip(mixed, 0, 1).astype(np.float32)


def match_colors(
    image: HostImage, target: AnyHostImage, *, matching: str = "symmetric"
) -> HostImage:
    """Return a picture with the mean and covariance of the colors of another.

    Args:
        image: picture to change.
        target: picture that gives the colors, of any shape.
        matching: "symmetric", the map that moves colors least; "pca", along the
            principal axes of both; "cholesky", channel by channel.

    Raises:
        ValueError: if `matching` is unknown.
    """
    check_choice("matching", matching, MATCHINGS)
    image = _without_noise(image)
    own, own_mean = _moments(image)
    goal, mean = _moments(target)
    if matching == "cholesky":
        change = np.linalg.cholesky(goal) @ np.linalg.inv(np.linalg.cholesky(own))
    elif matching == "pca":
        change = _root(goal) @ np.linalg.inv(_root(own))
    else:
        # The optimal transport between two normal distributions.
        half = _root(own)
        inverse = np.linalg.inv(half)
        change = inverse @ _root(half @ goal @ half) @ inverse
    moved = (image.astype(np.float64) - own_mean) @ change.T + mean
    return np.clip(moved, 0, 1).astype(np.float32)


def _without_noise(image: HostImage) -> HostImage:
    """Return a picture that is gray but for noise, as of a scan, without that noise.

    It would become colors as strong as the target's.
    """
    gray = (image @ _LUMA)[..., None]
    chroma = image - gray
    axes = tuple(range(image.ndim - 1))
    if chroma.std(axes).max() > _NOISE:
        return image
    return gray + chroma.mean(axes)


def match_histogram(image: HostImage, target: AnyHostImage) -> HostImage:
    """Return a picture with the color histograms of another.

    Histograms are matched after `match_colors`, along the principal axes of the
    target's colors. Matching red, green and blue one by one would make colors that
    neither picture has.

    Args:
        image: picture to change.
        target: picture that gives the histograms, of any shape.
    """
    _, axes = np.linalg.eigh(_moments(target)[0])
    moved = _match_along(match_colors(image, target), target, axes)
    return np.clip(moved, 0, 1).astype(np.float32)


def take_palette(image: HostImage, target: AnyHostImage) -> HostImage:
    """Return a picture with the whole color distribution of another.

    Colors are matched by `match_colors`, then histograms along one random set of axes
    after the other.

    Args:
        image: picture to recolor.
        target: picture that gives the colors, of any shape.
    """
    moved = match_colors(image, target).astype(np.float64)
    generator = np.random.default_rng(0)
    for _ in range(_MAX_TURNS):
        axes, _ = np.linalg.qr(generator.standard_normal((3, 3)))
        moved = _match_along(moved, target, axes)
    return np.clip(moved, 0, 1).astype(np.float32)


def smooth_recoloring(
    image: HostImage, before: AnyHostImage, after: AnyHostImage
) -> HostImage:
    """Return a picture recolored as another was, smoothly: similar colors change alike.

    Args:
        image: picture to recolor.
        before: picture, or some of its pixels, of any shape.
        after: the same picture or pixels recolored.

    References:
        See `fit_recoloring`.
    """
    return fit_recoloring(before, after)(image)


def fit_recoloring(
    before: AnyHostImage, after: AnyHostImage
) -> Callable[[HostImage], HostImage]:
    """Return a function that recolors pictures as one was recolored, but smoothly.

    Where nearly equal colors are spread over many, film grain and JPEG blocks become
    visible. So every color gets the mean change of the colors similar to it, taken over
    the whole picture.

    Args:
        before: picture, or some of its pixels, of any shape.
        after: the same picture or pixels recolored.

    References:
        A kernel regression (Nadaraya 1964, Watson 1964) of the change on the color,
        on a grid. Smoothing a transport map of colors comes from Rabin, Delon,
        Gousseau, "Regularization of Transportation Maps for Color and Contrast
        Transfer", ICIP 2010, who smooth it over the picture, which leaves blotches in
        black and halos at edges.
    """
    places = before.reshape(-1, 3).astype(np.float64) * (_GRID - 1)
    lows = np.minimum(places.astype(int), _GRID - 2)
    change = (after.astype(np.float64) - before).reshape(-1, 3)
    # The sum over the pixels near each grid point: of one, and of their changes.
    values = np.column_stack([np.ones(len(change)), change])
    sums = np.zeros((_GRID, _GRID, _GRID, 4))
    for corner in itertools.product((0, 1), repeat=3):
        share = np.prod(np.abs(np.subtract(1, corner) - (places - lows)), axis=-1)
        np.add.at(sums, tuple((lows + corner).T), share[:, None] * values)
    sigmas = (_GRID_SIGMA, _GRID_SIGMA, _GRID_SIGMA, 0)
    sums = scipy.ndimage.gaussian_filter(sums, sigmas, mode="nearest")

    def recolor(image: HostImage) -> HostImage:
        where = image.reshape(-1, 3).T * (_GRID - 1)
        weight, *changes = (
            scipy.ndimage.map_coordinates(sums[..., k], where, np.float32, order=1)
            for k in range(4)
        )
        # A color unlike all of `before` has no weight, and stays.
        smooth = np.stack(changes) / np.maximum(weight, np.finfo(np.float32).tiny)
        return np.clip(image + smooth.T.reshape(image.shape), 0, 1).astype(np.float32)

    return recolor


def recolor_style(style: HostImage, content: AnyHostImage, color: str) -> HostImage:
    """Return the style picture as the setting `color` wants it.

    Args:
        style: style picture.
        content: content picture, of any shape.
        color: one of `COLORS`.
    """
    if color in ("content", "match"):
        return match_colors(style, content)
    if color == "histogram":
        return match_histogram(style, content)
    return style


def _moments(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariance and the mean of the colors of a picture."""
    pixels = image.reshape(-1, 3).astype(np.float64)
    mean = pixels.mean(0)
    centered = pixels - mean
    return centered.T @ centered / len(pixels) + _EPSILON * np.eye(3), mean


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _match_along(image: np.ndarray, target: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return a picture with the histograms of another along three axes."""
    turned, goal = image.astype(np.float64) @ axes, target.astype(np.float64) @ axes
    channels = [_matched(turned[..., i], goal[..., i]) for i in range(3)]
    return np.stack(channels, -1) @ axes.T


def _matched(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return values moved to the distribution of others; their order stays."""
    shares = np.linspace(0, 1, _NUM_QUANTILES)
    own = np.quantile(values, shares)
    goal = np.quantile(target, shares)
    # Equal quantiles, in flat parts of the distribution, count as one value.
    own, places, counts = np.unique(own, return_inverse=True, return_counts=True)
    return np.interp(values, own, np.bincount(places, goal) / counts)
