"""`texture`: a picture of any size that has only a style, and repeats."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxnst._checks import MAX_SIDE, check_count, shown
from jaxnst._types import HostImage
from jaxnst.config import NOT_FOR_TEXTURES
from jaxnst.images import Picture, PictureSource, load_picture, resize
from jaxnst.images.load import MAX_ASPECT, MIN_SIDE
from jaxnst.images.resizing import only_visible
from jaxnst.images.tiling import move, multiples_of, place_border, wraps_of
from jaxnst.optimize import StepCallback

from .driver import run_job
from .inputs import StyleSource, check_styles
from .plan import shapes_of
from .progress import ProgressCallback
from .result import Interrupted, Result
from .setup import set_up, settle_config


def texture(
    style: "StyleSource",
    *,
    size: int | tuple[int, int] = 512,
    tile: bool | str = True,
    seed: int = 0,
    callback: StepCallback | None = None,
    progress: bool = True,
    **settings: Any,
) -> Result:
    """Return a texture in a style, which repeats without a seam.

    Painting starts from the style's own pixels in random order. The same arguments give
    the same texture; another seed gives a different texture of the same kind.

    Args:
        style: picture of the style: a path, a PIL image, or an array; or a list of
            them, which are blended.
        size: both sides, or width and height, in pixels; 32 or more. Rounded to
            multiples of 16 where the texture repeats.
        tile: True, "x" (repeats only across), "y" (only down), or False.
        seed: seed of the random order.
        callback: function called after every step, as for `jaxnst.stylize`.
        progress: whether to show a bar on standard error.
        settings: other settings of `jaxnst.stylize`, such as `preset`, `network`,
            `style_scale` or `finish`; not those about a content picture. `style_loss`
            is "wasserstein" and all style layers count alike where they are not given.

    Raises:
        ValueError, TypeError, OSError: if an input is unusable.
        OutOfMemory: if the texture does not fit into memory.
        Interrupted: on Ctrl-C, with the texture so far.

    References:
        Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks",
        NeurIPS 2015. Departures: style_loss "wasserstein"; the sizes and the steps of
        `jaxnst.stylize`; the style's pixels as the start, not noise; circular padding.

    Examples:
        >>> texture("marble.jpg", size=1024).save("tile.png")  # doctest: +SKIP
    """
    started = time.perf_counter()
    for name in NOT_FOR_TEXTURES:
        if settings.get(name) is not None:
            raise ValueError(f"a texture has no content picture; leave `{name}` out.")
    width, height = _sides(size)
    arguments: dict[str, Any] = {
        "init": "content",
        "content_weight": 0.0,
        "content_detail": 0.0,
        "size": max(width, height),
        "tile": None if tile is False else tile,
        "seed": seed,
        **settings,
    }
    config = settle_config(**arguments)
    if config.normalization == "pair":
        # Without a photograph, specks in colors that the style lacks would lower the
        # usual style loss. Large shapes come only from deep layers, so drafts have
        # these, too.
        layers = settle_config(**arguments | {"preset": "default"}).style_layers
        own = {
            "style_loss": "wasserstein",
            "style_layers": dict.fromkeys(layers, 1.0),
        }
        arguments |= {k: v for k, v in own.items() if settings.get(k) is None}
        config = settle_config(**arguments)
    styles = list(style) if isinstance(style, list | tuple) else [style]
    check_styles(config.style_blend, len(styles))
    pictures = [only_visible(load_picture(each, argument="style")) for each in styles]
    down, across = multiples_of(config.tile)
    shape = round(height / down) * down, round(width / across) * across
    arguments["size"] = max(shape)
    config = dataclasses.replace(config, size=max(shape))
    start = _disorder(pictures, shapes_of(config, shape)[0], shape, config.seed)
    read = {id(each): found for each, found in zip(styles, pictures, strict=True)}

    def picture_fn(source: PictureSource, **how: Any) -> Picture:
        return read.get(id(source)) or load_picture(source, **how)

    job = set_up(
        start, style, config, arguments, progress=progress, picture_fn=picture_fn
    )
    shown = ProgressCallback(enabled=progress, inner=callback)
    try:
        result = run_job(job, shown, started=started)
    except Interrupted as interrupted:
        raise Interrupted(_as_texture(interrupted.result, config.tile)) from None
    return _as_texture(result, config.tile)


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return width and height."""
    sides = size if isinstance(size, list | tuple) else (size, size)
    if len(sides) != 2:
        raise ValueError(
            f"`size` must be a number or (width, height), got {shown(size)}."
        )
    width, height = (
        check_count("size", side, minimum=MIN_SIDE, maximum=MAX_SIDE) for side in sides
    )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ValueError(
            f"`size` is {width} x {height} px; no side may be more than "
            f"{MAX_ASPECT:g} times as long as the other."
        )
    return width, height


def _disorder(
    pictures: Sequence[Picture],
    coarsest: tuple[int, int],
    shape: tuple[int, int],
    seed: int,
) -> HostImage:
    """Return the styles' pixels in random order, as large as pixels of the first size.

    Smaller ones would average to gray at that size.
    """
    pixels = np.concatenate([each.rgb.reshape(-1, 3) for each in pictures])
    generator = np.random.default_rng(seed)
    few = pixels[generator.integers(len(pixels), size=coarsest)]
    # Padded so that resizing interpolates across the border, too.
    around = np.pad(few, ((2, 2), (2, 2), (0, 0)), mode="wrap")
    rows, columns = (
        (length + 4) * full / length
        for length, full in zip(coarsest, shape, strict=True)
    )
    large = resize(around, (round(rows), round(columns)))
    top, left = (large.shape[0] - shape[0]) // 2, (large.shape[1] - shape[1]) // 2
    return large[top : top + shape[0], left : left + shape[1]]


def _as_texture(result: Result, tile: str | None) -> Result:
    """Return the result without its content, shifted to an inconspicuous border."""
    # A texture has no place to keep, so it may be shifted by any distance.
    moved = place_border(result.image, wraps_of(tile), farthest=1 / 2)
    image = move(result.image, moved, result.image.shape[:2])
    inputs = {k: v for k, v in result.record["inputs"].items() if k != "content"}
    record = {**result.record, "inputs": inputs, "kind": "texture"}
    return dataclasses.replace(result, image=image, record=record)
