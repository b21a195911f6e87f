"""The picture that painting starts from."""

import numpy as np

from ._types import AnyHostImage, HostImage
from .ahead import HostBlend
from .coloring import smooth_recoloring, take_palette
from .config import TransferConfig
from .images import resize
from .inputs import Inputs


def first_image(
    inputs: Inputs,
    config: TransferConfig,
    content: HostImage,
    styles: tuple[AnyHostImage, ...],
    blend: HostBlend,
) -> HostImage:
    """Return the picture to start from.

    Args:
        inputs: the pictures.
        config: the settings, of which `init` says what it is.
        content: at the size to be painted.
        styles: likewise.
        blend: what each style counts for, see `jaxnst.ahead.blend_of`.
    """
    height, width, _ = content.shape
    if config.init == "noise":
        # NumPy's generator: the same noise on every device.
        generator = np.random.default_rng(config.seed)
        return generator.random((height, width, 3), np.float32)
    if config.init == "style":
        return resize(styles[0], (height, width))
    if config.init == "recolored":
        return recolor(inputs, config, content, styles, blend)
    if inputs.init is not None:
        return resize(inputs.init.rgb, (height, width), wraps=inputs.wraps)
    return content


def recolor(
    inputs: Inputs,
    config: TransferConfig,
    content: HostImage,
    styles: tuple[AnyHostImage, ...],
    blend: HostBlend,
) -> HostImage:
    """Return the content picture in the colors of the paintings.

    Steps of an optimizer are small, and a photograph's colors far from a painting's, so
    most of a short run would go into them. Each region gets its own painting's; several
    paintings' are mixed as they are blended, each color between the places where the
    paintings would have it; and with a strength a color goes as much of the way.

    Args:
        inputs: the pictures, of which the regions are looked at.
        config: the settings, of which the strength is.
        content: at the size to be painted.
        styles: likewise.
        blend: what each style counts for in each region and layer.

    References:
        Kolkin, Salavon, Shakhnarovich, "Style Transfer by Relaxed Optimal Transport and
        Self-Similarity", CVPR 2019, whose smallest size starts from the painting's mean
        color and the content's edges. Departure: from all its colors, by
        `jaxnst.coloring.take_palette`.
    """
    shape = content.shape[0], content.shape[1]
    maps, strengths = [np.ones(shape, np.float32)], None
    if inputs.regions is not None:
        maps = [resize(each, shape, wraps=inputs.wraps) for each in inputs.regions.maps]
        strengths = inputs.regions.strengths
    if strengths is None:  # there is no map of them
        strength = 1.0 if config.strength is None else config.strength
        strengths = (strength,) * len(maps)
    image = content.astype(np.float64)
    for each, part, row in zip(maps, strengths, blend.mean(1), strict=True):
        inside = each > 0
        pixels = content[inside][:, None]
        for style, share in zip(styles, row, strict=True):
            if pixels.size and share > 0:
                taken = take_palette(pixels, style.reshape(-1, 1, 3))
                change = smooth_recoloring(pixels, taken) - pixels
                amount = part * share * each[inside][:, None]
                image[inside] += amount * change[:, 0]
    return np.clip(image, 0, 1).astype(np.float32)
