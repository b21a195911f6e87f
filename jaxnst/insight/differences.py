"""Differences from the content picture: content by layer, colors, structure."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import ndimage

from jaxnst._types import HostImage, Image
from jaxnst.images import resize
from jaxnst.losses.content import as_long_as
from jaxnst.losses.numerics import widen
from jaxnst.metrics import oklab
from jaxnst.networks import Network

from .attribution import Map


# Colors are blurred before they are compared, so that strokes of several colors count
# as what they look like from afar. Relative to the longest side.
_COLOR_BLUR = 1 / 100
# Standard deviation of the windows of SSIM, in pixels.
_WINDOW = 1.5
# Differences of lightness below this do not count; the constant of SSIM.
_FLAT = 0.03


class Differences(NamedTuple):
    """Maps of the differences between a picture and its content picture.

    Attributes:
        content: {layer: content loss over its scale}, at each pixel. 0: the same
            content; about 1: none of it.
        color: distance of the colors, without lightness, in OKLab; 0.1 is large.
        structure: 0: same edges and textures; 0.5: unrelated; 1: inverted.
    """

    content: dict[str, Map]
    color: Map
    structure: Map


def measure_differences(
    network: Network,
    image: HostImage,
    content: HostImage,
    layers: Sequence[str],
    *,
    normalization: str = "pair",
) -> Differences:
    """Return the differences of two pictures of one shape.

    Args:
        network: feature extractor.
        image: picture, RGB in [0, 1].
        content: content picture, of the same shape.
        layers: layers where content is compared.
        normalization: that of `jaxnst.objective` whose content loss is compared.
    """
    errors = _content_errors(
        network,
        jnp.asarray(image),
        jnp.asarray(content),
        layers=tuple(layers),
        normalization=normalization,
    )
    height, width = image.shape[:2]
    # A feature map reaches as far beyond the picture as the network extends it.
    down, across = network.margins
    extended = height + 2 * down, width + 2 * across

    def at_pixels(error: np.ndarray) -> Map:
        high = max(float(error.max()), 1e-12)  # `resize` is for 0 to 1
        resized = high * resize(error / high, extended, wraps=network.wraps)
        return resized[down : down + height, across : across + width]

    return Differences(
        content={layer: at_pixels(np.asarray(errors[layer])) for layer in layers},
        color=color_difference(image, content),
        structure=structure_difference(image, content),
    )


def color_difference(image: HostImage, content: HostImage) -> Map:
    """Return the distance of two pictures' colors at every pixel, without lightness.

    In OKLab, blurred over a hundredth of the longest side.

    Args:
        image: picture, RGB in [0, 1].
        content: content picture, of the same shape.
    """
    sigma = _COLOR_BLUR * max(image.shape)
    difference = _lab(image)[..., 1:] - _lab(content)[..., 1:]
    blurred = ndimage.gaussian_filter(difference, (sigma, sigma, 0), mode="nearest")
    return np.sqrt(np.sum(np.square(blurred), axis=-1))


def structure_difference(image: HostImage, content: HostImage) -> Map:
    r"""Return the difference of edges and textures at every pixel, 0 to 1.

    $$
    \frac{1}{2} - \frac{1}{2} \cdot
    \frac{2\sigma_{xy} + c}{\sigma_x^2 + \sigma_y^2 + c}
    $$

    Args:
        image: picture, RGB in [0, 1].
        content: content picture, of the same shape.

    References:
        Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error
        Visibility to Structural Similarity", 2004: contrast and structure, without
        luminance; of OKLab's lightness.
    """
    x, y = (_lab(each)[..., 0] for each in (image, content))

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, _WINDOW, mode="nearest", truncate=3.5)

    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    similar = (2 * covariance + _FLAT**2) / (np.maximum(variances, 0) + _FLAT**2)
    return np.clip((1 - similar) / 2, 0, 1)


@functools.partial(jax.jit, static_argnames=("layers", "normalization"))
def _content_errors(
    network: Network,
    image: Image,
    content: Image,
    *,
    layers: tuple[str, ...],
    normalization: str,
) -> dict[str, Float[Array, "_ _"]]:
    found, aims = network(image, layers), network(content, layers)
    maps = {}
    for layer in layers:
        x, y = widen(found[layer]), widen(aims[layer])
        if normalization == "pair":
            x = as_long_as(x, y)
        scale = jnp.mean(jnp.square(y)) + jnp.finfo(y.dtype).tiny
        maps[layer] = jnp.mean(jnp.square(x - y), axis=-1) / scale
    return maps


_compiled_oklab = jax.jit(oklab)


def _lab(image: HostImage) -> np.ndarray:
    return np.asarray(_compiled_oklab(jnp.asarray(image)))
