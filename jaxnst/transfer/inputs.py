"""The pictures of one transfer, loaded and checked, and the first picture."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxnst._types import AnyHostImage, HostAlpha, HostImage, HostNumbers
from jaxnst.coloring import fit_recoloring, recolor_style, take_palette
from jaxnst.config import INITS, SETTINGS, TransferConfig
from jaxnst.images import Picture, PictureSource, fitted_shape, resize
from jaxnst.images.load import MAX_PIXELS, MIN_SIDE
from jaxnst.images.resizing import fill_hidden, only_visible
from jaxnst.images.tiling import (
    make_tileable,
    move,
    multiples_of,
    plan_fade,
    wraps_of,
)

from .regions import Regions, load_guiding, naming_choices


# Weight of each style in each region and layer; the weights of all styles in one region
# and layer add up to 1.
HostBlend = Float[np.ndarray, "regions layers styles"]
# A list or a tuple of pictures is blended.
StyleSource = PictureSource | list[PictureSource] | tuple[PictureSource, ...]
# Style weight over content weight from which a start is recolored entirely.
_USUAL_RATIO = SETTINGS["style_weight"].default / SETTINGS["content_weight"].default
# Number of pixels by which the colors of a picture are known.
_NUM_SAMPLES = 1 << 14
# Rows that are recolored at a time.
_STRIP_ROWS = 256


class Inputs(NamedTuple):
    """The pictures of one transfer.

    Attributes:
        shape: height and width of the result.
        alpha: opacity of the result; None if it has none.
        regions: regions of the result; None: the whole picture is one region.
        guiding: (name in a record, picture) of each mask and of the map of strengths.
        wraps: whether the result wraps around, vertically and horizontally.
        faded: whether borders were cross-faded, vertically and horizontally; such
            pictures may be shifted.
    """

    content: Picture
    styles: tuple[Picture, ...]
    init: Picture | None
    shape: tuple[int, int]
    alpha: HostAlpha | None
    regions: Regions | None = None
    guiding: tuple[tuple[str, Picture], ...] = ()
    wraps: tuple[bool, bool] = (False, False)
    faded: tuple[bool, bool] = (False, False)

    def content_at(self, shape: tuple[int, int]) -> HostImage:
        """Return the content picture of this height and width."""
        return resize(self.content.rgb, shape, wraps=self.wraps)

    def strengths(self, config: TransferConfig) -> Sequence[float] | None:
        """Return the strength of each region; None if no strength is asked for."""
        if self.regions is not None and self.regions.strengths is not None:
            return self.regions.strengths
        if config.strength is None:
            return None
        assert not isinstance(config.strength, str)  # a map makes regions
        return [config.strength] * len(self.shares)

    @property
    def shares(self) -> HostNumbers:
        """Fraction of the picture that each region covers."""
        return np.ones(1, np.float32) if self.regions is None else self.regions.shares

    def moved(self, by: tuple[int, int]) -> "Inputs":
        """Return the inputs of a picture that was moved, see `place_border`."""

        def shift_fn(values: np.ndarray) -> np.ndarray:
            return move(values, by, self.shape)

        regions = self.regions
        if regions is not None:
            maps = np.stack([shift_fn(each) for each in regions.maps])
            regions = dataclasses.replace(regions, maps=maps)
        return self._replace(
            content=_changed(self.content, shift_fn),
            init=None if self.init is None else _changed(self.init, shift_fn),
            alpha=None if self.alpha is None else shift_fn(self.alpha),
            regions=regions,
        )

    @property
    def style_shapes(self) -> list[tuple[int, int]]:
        """Height and width of each style picture's file."""
        return [(style.rgb.shape[0], style.rgb.shape[1]) for style in self.styles]


def load_inputs(
    content: PictureSource,
    style: StyleSource,
    init: PictureSource | None,
    config: TransferConfig,
    picture_fn: Callable[..., Picture],
    *,
    masks: Sequence[PictureSource] | None = None,
    strength: PictureSource | None = None,
    is_frame: bool = False,
) -> Inputs:
    """Return the pictures of one transfer, loaded and checked.

    `is_frame` is that of `make_regions`.
    """
    size = config.size
    original = fill_hidden(picture_fn(content, argument="content", size=size))
    # The start, the opacity and the masks are faded like the content.
    fade, wraps = plan_fade(original.rgb, config.tile), wraps_of(config.tile)

    def fade_fn(values: np.ndarray) -> np.ndarray:
        return make_tileable(values, fade)

    content_picture = _changed(original, fade_fn)
    styles = list(style) if isinstance(style, list | tuple) else [style]
    check_styles(config.style_blend, len(styles))
    style_pictures = []
    style_size = config.style_size or math.ceil(size * max(1, config.style_scale))
    for each in styles:
        picture = only_visible(picture_fn(each, argument="style", size=style_size))
        rgb = recolor_style(picture.rgb, content_picture.rgb, config.color)
        style_pictures.append(dataclasses.replace(picture, rgb=rgb))
    init_picture = None
    if init is not None:
        with naming_choices(init, INITS):
            init_picture = picture_fn(init, argument="init", size=size)
        init_picture = _changed(init_picture, fade_fn)
    shape = result_shape(content_picture.rgb.shape, config.size, tile=config.tile)
    alpha = content_picture.alpha
    if alpha is not None:
        alpha = resize(alpha, shape, wraps=wraps)

    def fit_fn(values: np.ndarray) -> np.ndarray:
        return resize(fade_fn(values), shape, wraps=wraps, is_mask=True)

    regions, pictures = None, ()
    if masks is not None or strength is not None:
        regions, pictures = load_guiding(
            masks,
            strength,
            content=original,
            num_styles=len(styles),
            fit_fn=fit_fn,
            picture_fn=picture_fn,
            is_frame=is_frame,
        )
    return Inputs(
        content_picture,
        tuple(style_pictures),
        init_picture,
        shape,
        alpha,
        regions,
        pictures,
        wraps,
        (fade.down > 0, fade.across > 0),
    )


def _changed(picture: Picture, change_fn: Callable[[np.ndarray], Any]) -> Picture:
    alpha = None if picture.alpha is None else change_fn(picture.alpha)
    return dataclasses.replace(picture, rgb=change_fn(picture.rgb), alpha=alpha)


def check_styles(blend: Sequence[Any] | None, num_styles: int) -> None:
    """Check that there are styles, and as many as weights to blend them."""
    if not num_styles:
        raise ValueError("`style` is an empty list; give at least one picture.")
    if blend is None:
        return
    is_table = isinstance(blend[0], Sequence)
    count = len(blend[0]) if is_table else len(blend)
    if count != num_styles:
        numbers = "numbers in a row" if is_table else "numbers"
        raise ValueError(
            f"`style_blend` has {count} {numbers} for {num_styles} style "
            f"picture{'s' * (num_styles > 1)}; give one for each."
        )


def result_shape(
    picture_shape: tuple[int, ...], size: int, *, tile: str | None = None
) -> tuple[int, int]:
    """Return height and width of a result."""
    fitted = fitted_shape(picture_shape, size)
    down, across = (
        max(1, round(length / each)) * each
        for length, each in zip(fitted, multiples_of(tile), strict=True)
    )
    shape = down, across
    if min(shape) < MIN_SIDE:
        needed = size
        while min(fitted_shape(picture_shape, needed)) < MIN_SIDE:
            needed += 1
        raise ValueError(
            f"`size` {size} would make the result {shape[1]} x {shape[0]} px; "
            f"no side may be below {MIN_SIDE} px, so use {needed} or more."
        )
    if shape[0] * shape[1] > MAX_PIXELS:
        raise ValueError(
            f"`size` {size} would make the result {shape[1]} x {shape[0]} px, "
            f"more than {MAX_PIXELS // 1_000_000} megapixels; use less."
        )
    return shape


def first_image(
    inputs: Inputs,
    config: TransferConfig,
    content: HostImage,
    styles: tuple[AnyHostImage, ...],
    blend: HostBlend,
) -> HostImage:
    """Return the picture to start from."""
    height, width, _ = content.shape
    if config.init == "noise":
        # NumPy's generator: the same noise on every device.
        generator = np.random.default_rng(config.seed)
        return generator.random((height, width, 3), np.float32)
    if config.init == "style":
        return resize(styles[0], (height, width))
    if config.init == "recolored":
        parts = recolored_parts(inputs, config)
        return recolor(inputs, parts, content, styles, blend)
    if inputs.init is not None:
        return resize(inputs.init.rgb, (height, width), wraps=inputs.wraps)
    return content


def recolored_parts(inputs: Inputs, config: TransferConfig) -> list[float]:
    """Return how far a start is recolored in each region, 0 to 1.

    All the way with the usual weights, less far where less style is asked for, as no
    step would bring the photograph's own colors back.
    """
    strengths = inputs.strengths(config)
    if strengths is not None:
        return [each**2 for each in strengths]
    usual = _USUAL_RATIO * config.content_weight
    part = min(1.0, math.sqrt(config.style_weight / usual)) if usual else 1.0
    return [part] * len(inputs.shares)


def recolor(
    inputs: Inputs,
    parts: Sequence[float],
    content: HostImage,
    styles: tuple[AnyHostImage, ...],
    blend: HostBlend,
) -> HostImage:
    """Return the content picture in the colors of the styles.

    An optimizer's steps are small and the colors of a photograph far from those of a
    painting, so a short run would spend most of its steps on them. Each region takes
    the colors of its own style. With several styles a color is the weighted mean of the
    colors that the styles would give it. Each region goes its part of the way, 0 to 1.

    References:
        Kolkin, Salavon, Shakhnarovich, "Style Transfer by Relaxed Optimal Transport and
        Self-Similarity", CVPR 2019, whose smallest size starts from the painting's mean
        color and the content's edges. Departure: all colors of the painting are taken,
        by `jaxnst.coloring.take_palette`.
    """
    shape = content.shape[0], content.shape[1]
    maps = [np.ones(shape, np.float32)]
    if inputs.regions is not None:
        maps = [
            resize(each, shape, wraps=inputs.wraps, is_mask=True)
            for each in inputs.regions.maps
        ]
    ways = []
    for each, part, row in zip(maps, parts, blend.mean(1), strict=True):
        pixels = content[each > 0][:, None]
        for style, share in zip(styles, row, strict=True):
            if pixels.size and share > 0:
                some = _sample(pixels)
                taken = take_palette(some, _sample(style.reshape(-1, 1, 3)))
                ways.append((each, part * share, fit_recoloring(some, taken)))
    image = np.empty_like(content)
    # In strips, as pictures of 64-bit numbers are large.
    for top in range(0, shape[0], _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        strip = content[rows].astype(np.float64)
        for each, part, recolor_fn in ways:
            inside = each[rows] > 0
            pixels = content[rows][inside][:, None]
            change = recolor_fn(pixels) - pixels
            amount = part * each[rows][inside][:, None]
            strip[inside] += amount * change[:, 0]
        image[rows] = np.clip(strip, 0, 1)
    return image


def _sample(pixels: AnyHostImage) -> AnyHostImage:
    """Return enough of many pixels to tell how their colors are distributed."""
    if len(pixels) <= _NUM_SAMPLES:
        return pixels
    return pixels[np.random.default_rng(0).integers(len(pixels), size=_NUM_SAMPLES)]
