"""Control of color: the photograph's kept, or the painting's alone taken over.

Functions of pictures on the host: RGB, sRGB-encoded, float32, [0, 1], HWC. What they
do with sRGB values, and not with light, is what the literature does.

References:
    Gatys, Bethge, Hertzmann, Shechtman, "Preserving Color in Neural Artistic Style
    Transfer", 2016: luminance transfer (section 4), and linear matching of the
    painting's colors before the transfer (section 3). Pitie, Kokaram, Dahyot,
    "Automated colour grading using colour distribution transfer", 2007.
"""

import itertools

import numpy as np
import scipy.ndimage

from ._checks import check_choice
from ._types import AnyHostImage, HostImage


# Those that change what was painted.
AFTERWARDS = ("content", "luminance")
MATCHINGS = ("symmetric", "pca", "cholesky")
# Of the luminance of sRGB values (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Added to variances, so that flat pictures have an inverse.
_EPSILON = 1e-5
# How often and along how many axes at once the colors of a palette are moved.
_MAX_TURNS = 12
# Quantiles that stand for a distribution.
_NUM_QUANTILES = 512
# Changes of color are smoothed on a grid, so many colors a side, over so many of them.
_GRID = 33
_GRID_SIGMA = 1.3


def keep_luminance(painted: HostImage, content: HostImage) -> HostImage:
    """Return the lightness of one picture in the colors of the other.

    Where such a color is none, it is made paler until it is one; lightness stays.

    Args:
        painted: whose luminance is taken.
        content: whose color differences are, of the same shape.
    """
    luma = painted @ _LUMA
    chroma = content - (content @ _LUMA)[..., None]
    # The largest part of the color difference that stays within [0, 1].
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(chroma > 0, 1 - luma[..., None], -luma[..., None]) / chroma
    part = np.clip(np.nan_to_num(room, nan=1.0, posinf=1.0).min(-1), 0, 1)
    mixed = luma[..., None] + part[..., None] * chroma
    return np.clip(mixed, 0, 1).astype(np.float32)


def match_colors(
    image: HostImage, target: AnyHostImage, *, matching: str = "symmetric"
) -> HostImage:
    """Return a picture moved to the mean and covariance of another one's colors.

    Args:
        image: that is changed.
        target: whose colors it gets; of any shape.
        matching: "symmetric", the map that moves colors least; "pca", along the main
            axes of both; "cholesky", channel by channel.

    Raises:
        ValueError: if `matching` is unknown.
    """
    check_choice("matching", matching, MATCHINGS)
    own, own_mean = _moments(image)
    wanted, mean = _moments(target)
    if matching == "cholesky":
        change = np.linalg.cholesky(wanted) @ np.linalg.inv(np.linalg.cholesky(own))
    elif matching == "pca":
        change = _root(wanted) @ np.linalg.inv(_root(own))
    else:
        # The optimal transport between two normal distributions.
        half = _root(own)
        inverse = np.linalg.inv(half)
        change = inverse @ _root(half @ wanted @ half) @ inverse
    moved = (image.astype(np.float64) - own_mean) @ change.T + mean
    return np.clip(moved, 0, 1).astype(np.float32)


def match_histogram(image: HostImage, target: AnyHostImage) -> HostImage:
    """Return a picture with the histograms of another one's colors.

    Those along the main axes of its colors, after `match_colors`: of red, green and
    blue, each by itself, colors would come that neither picture has.

    Args:
        image: that is changed.
        target: whose histograms it gets; of any shape.
    """
    _, axes = np.linalg.eigh(_moments(target)[0])
    moved = _match_along(match_colors(image, target), target, axes)
    return np.clip(moved, 0, 1).astype(np.float32)


def take_palette(image: HostImage, target: AnyHostImage) -> HostImage:
    """Return a picture in the colors of another one, all of them and as many of each.

    First as `match_colors`, then along one set of axes after the other, until the whole
    distribution is the other's.

    Args:
        image: that is recolored.
        target: whose colors it gets; of any shape.
    """
    moved = match_colors(image, target).astype(np.float64)
    generator = np.random.default_rng(0)
    for _ in range(_MAX_TURNS):
        axes, _ = np.linalg.qr(generator.standard_normal((3, 3)))
        moved = _match_along(moved, target, axes)
    return np.clip(moved, 0, 1).astype(np.float32)


def smooth_recoloring(before: HostImage, after: HostImage) -> HostImage:
    """Return a picture recolored smoothly: near colors move alike, wherever they are.

    What was nearly one color and is spread over many shows every grain of it, and
    every block of its JPEG file. So each color gets the mean change of the colors near
    to it, over all of the picture.

    Args:
        before: the picture.
        after: the same recolored.

    References:
        A kernel regression (Nadaraya 1964, Watson 1964) of the change on the color,
        on a grid. That a transport map of colors wants smoothing is from Rabin, Delon,
        Gousseau, "Regularization of Transportation Maps for Color and Contrast
        Transfer", ICIP 2010; they smooth it over the picture, which leaves blotches in
        black and halos at edges.
    """
    places = before.reshape(-1, 3).astype(np.float64) * (_GRID - 1)
    lows = np.minimum(places.astype(int), _GRID - 2)
    rests = places - lows
    change = (after.astype(np.float64) - before).reshape(-1, 3)
    # Of each pixel the eight points of the grid around its color, and their shares.
    corners = []
    for corner in itertools.product((0, 1), repeat=3):
        share = np.prod(np.where(corner, rests, 1 - rests), axis=-1)
        index = np.ravel_multi_index((lows + corner).T, (_GRID,) * 3)
        corners.append((index, share))

    def gather(values: np.ndarray | float) -> np.ndarray:
        """Sum over the pixels near to each color, and look up at each pixel."""
        total = np.zeros(_GRID**3)
        for index, share in corners:
            total += np.bincount(index, share * values, _GRID**3)
        total = scipy.ndimage.gaussian_filter(
            total.reshape((_GRID,) * 3), _GRID_SIGMA, mode="nearest"
        ).reshape(-1)
        return sum((share * total[index] for index, share in corners), np.zeros(()))

    weight = gather(1.0)
    smooth = np.stack([gather(change[:, k]) / weight for k in range(3)], axis=-1)
    return np.clip(before + smooth.reshape(before.shape), 0, 1).astype(np.float32)


def recolor_style(style: HostImage, content: AnyHostImage, color: str) -> HostImage:
    """Return the painting as it is looked at with a setting of `color`."""
    if color in ("content", "match"):
        return match_colors(style, content)
    if color == "histogram":
        return match_histogram(style, content)
    return style


def _moments(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return covariance and mean of a picture's colors."""
    pixels = image.reshape(-1, 3).astype(np.float64)
    mean = pixels.mean(0)
    centered = pixels - mean
    return centered.T @ centered / len(pixels) + _EPSILON * np.eye(3), mean


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the symmetric root of a matrix that is symmetric and positive."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _match_along(image: np.ndarray, target: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Give a picture the histograms of another one's along three axes."""
    turned, wanted = image.astype(np.float64) @ axes, target.astype(np.float64) @ axes
    channels = [_matched(turned[..., i], wanted[..., i]) for i in range(3)]
    return np.stack(channels, -1) @ axes.T


def _matched(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Move values so that they are distributed as others are; their order stays."""
    shares = np.linspace(0, 1, _NUM_QUANTILES)
    own = np.quantile(values, shares)
    wanted = np.quantile(target, shares)
    # Equal quantiles, of flat parts, stand for one value.
    own, places, counts = np.unique(own, return_inverse=True, return_counts=True)
    return np.interp(values, own, np.bincount(places, wanted) / counts)
