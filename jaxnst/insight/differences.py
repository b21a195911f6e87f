"""Where a picture changed: content by layer, colors, structure."""

from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import ndimage

from jaxnst._types import HostImage, Image
from jaxnst.metrics import oklab
from jaxnst.networks import Network

from .attribution import Map


# Colors are compared over as much as this part of the longest side, so that strokes of
# several colors count as what they are from afar.
_COLOR_BLUR = 1 / 100
# Structure is compared within windows of this deviation, in pixels.
_WINDOW = 1.5
# Lightnesses that differ less than this are alike; of SSIM.
_FLAT = 0.03


class Changes(NamedTuple):
    """Where a picture is another than its content picture, and by how much.

    Attributes:
        content: {layer: squared error of its features over their mean square}, at the
            layer's own resolution; the mean over it is the layer's content term. About
            0: kept, 1: nothing left of it.
        color: distance of the colors, without lightness, in OKLab; 0.1 is a lot.
        structure: 0: the same edges and textures, 0.5: none of them, 1: inverted.
    """

    content: dict[str, Map]
    color: Map
    structure: Map


def measure_changes(
    network: Network, image: HostImage, content: HostImage, layers: Collection[str]
) -> Changes:
    """Return where a picture changed.

    Args:
        network: whose layers they are.
        image: the picture.
        content: what it was painted from, of the same shape.
        layers: at which content is compared.
    """
    errors = compiled_errors(
        network, jnp.asarray(image), jnp.asarray(content), layers=tuple(layers)
    )
    return Changes(
        content={layer: np.asarray(errors[layer]) for layer in layers},
        color=color_change(image, content),
        structure=structure_change(image, content),
    )


def color_change(image: HostImage, content: HostImage) -> Map:
    """Return the distance of two pictures' colors at every pixel, without lightness.

    In OKLab, over neighborhoods of a hundredth of the longest side.
    """
    sigma = _COLOR_BLUR * max(image.shape)
    difference = _lab(image)[..., 1:] - _lab(content)[..., 1:]
    blurred = ndimage.gaussian_filter(difference, (sigma, sigma, 0), mode="nearest")
    return np.sqrt(np.sum(np.square(blurred), axis=-1))


def structure_change(image: HostImage, content: HostImage) -> Map:
    r"""Return how much edges and textures differ at every pixel, 0 to 1.

    .. math:: \frac{1}{2} - \frac{1}{2} \cdot
        \frac{2\sigma_{xy} + c}{\sigma_x^2 + \sigma_y^2 + c}

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


def errors(
    network: Network, image: Image, content: Image, *, layers: tuple[str, ...]
) -> dict[str, Float[Array, "_ _"]]:
    """Return {layer: squared error of the features over their mean square}."""
    found, aims = network(image, layers), network(content, layers)
    maps = {}
    for layer in layers:
        dtype = jnp.promote_types(found[layer].dtype, jnp.float32)
        x, y = found[layer].astype(dtype), aims[layer].astype(dtype)
        scale = jnp.mean(jnp.square(y)) + jnp.finfo(dtype).tiny
        maps[layer] = jnp.mean(jnp.square(x - y), axis=-1) / scale
    return maps


compiled_errors = jax.jit(errors, static_argnames=("layers",))
_compiled_oklab = jax.jit(oklab)


def _lab(image: HostImage) -> np.ndarray:
    return np.asarray(_compiled_oklab(jnp.asarray(image)))
