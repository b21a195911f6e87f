"""What a size will need, known before it is painted: programs, from shapes alone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from jaxnst.calls import Call
from jaxnst.compiling import KeptFunction
from jaxnst.config import TransferConfig
from jaxnst.images import fitted_shape
from jaxnst.images.load import MIN_SIDE
from jaxnst.images.tiling import multiples_of
from jaxnst.networks import Network, lay_by_rows, lay_whole
from jaxnst.networks.devices import default_device
from jaxnst.objective import LossWeights, compute_targets, make_loss_weights
from jaxnst.optimize import (
    LineSearched,
    compiled_direction,
    compiled_step,
    compiled_steps,
    compiled_try,
    init_state,
    pyramid_sizes,
    resize_state,
)

from .regions import Regions, layer_shapes


# Where a call costs more than a step; 1 on the CPU, see `jaxnst.optimize.steps`.
_STEPS_PER_CALL = 5
# What `detail` 1 multiplies the weight of the finest style layer with.
_TILT = 4.0

HostBlend = Float[np.ndarray, "regions layers styles"]

# Made once, here, they compile once.
compiled_targets = KeptFunction(
    compute_targets,
    static_argnames=(
        "content_layers",
        "style_layers",
        "style_losses",
        "normalization",
    ),
)
compiled_resize = KeptFunction(
    resize_state, static_argnames=("optimizer", "content_detail", "wraps")
)


class SizePlan(NamedTuple):
    """One size, before it is painted.

    Attributes:
        shape: height and width.
        style_shapes: height and width of each style picture at this size.
        num_steps: how many there will be, if none stops early.
        targets: the program that measures the pictures.
        steps: the programs that paint; the first does most of the work.
        state: the shapes of what is carried from step to step.
    """

    shape: tuple[int, int]
    style_shapes: tuple[tuple[int, int], ...]
    num_steps: int
    targets: Call
    steps: tuple[Call, ...]
    state: Any

    @property
    def programs(self) -> tuple[Call, ...]:
        """All of them, in the order in which they are called."""
        return self.targets, *self.steps


def steps_per_call(config: TransferConfig) -> int:
    """Return how many steps a call of the device makes."""
    if config.steps_per_call is not None:
        return config.steps_per_call
    return 1 if default_device().platform == "cpu" else _STEPS_PER_CALL


def weights_of(config: TransferConfig) -> LossWeights:
    """Return the weights of the loss terms."""
    weights = make_loss_weights(
        content=config.content_weight,
        style=config.style_weight,
        tv=config.tv_weight,
        content_layers=config.content_layers,
        style_layers=tilt(config.style_layers, config.detail),
        style_losses=config.style_loss,
        normalization=config.normalization,
    )
    if config.regions and config.strength is not None:  # each is steered by itself
        style = np.full(config.regions, config.style_weight, np.float32)
        weights = weights._replace(style=style)
    return weights


def tilt(layers: Mapping[str, float], detail: float) -> dict[str, float]:
    """Return weights of layers, tilted towards the fine or the coarse ones.

    Args:
        layers: {layer: weight}, from fine to coarse.
        detail: -1 (coarse) to 1 (fine).
    """
    heights = np.linspace(1, -1, len(layers)) if len(layers) > 1 else [0.0]
    return {
        layer: float(weight * _TILT ** (detail * height))
        for (layer, weight), height in zip(layers.items(), heights, strict=True)
    }


def blend_of(
    config: TransferConfig, num_styles: int, regions: Regions | None = None
) -> HostBlend:
    """Return what each style counts for in each region and layer, in parts of 1.

    Args:
        config: the settings.
        num_styles: how many style pictures there are.
        regions: of the picture.
    """
    num_layers = len(config.style_layers)
    blend = np.ones(num_styles) if config.style_blend is None else config.style_blend
    rows = np.atleast_2d(np.asarray(blend, float))
    rows = rows / rows.sum(1, keepdims=True)
    places = np.linspace(0, len(rows) - 1, num_layers)
    columns = [np.interp(places, np.arange(len(rows)), column) for column in rows.T]
    parts = np.stack(columns, axis=-1)[None]
    if regions is not None and regions.styles is not None:
        own = np.eye(num_styles)[list(regions.styles)]
        parts = np.repeat(own[:, None], num_layers, axis=1)
    elif regions is not None:
        parts = np.repeat(parts, len(regions.maps), axis=0)
    return parts.astype(np.float32)


def shapes_of(config: TransferConfig, full: tuple[int, int]) -> list[tuple[int, int]]:
    """Return height and width of every size, the coarsest first."""
    shapes = pyramid_sizes(
        full,
        min_size=config.min_size,
        min_side=MIN_SIDE,
        multiples=multiples_of(config.tile),
    )
    return list(shapes)


def work_of(config: TransferConfig, full: tuple[int, int]) -> float:
    """Return pixels times steps over all sizes, if none stops early."""
    *coarse, last = (math.prod(shape) for shape in shapes_of(config, full))
    return float(config.coarse_steps * sum(coarse) + config.num_steps * last)


def style_shapes_at(
    config: TransferConfig,
    style_shapes: Sequence[tuple[int, int]],
    shape: tuple[int, int],
    full: tuple[int, int],
) -> tuple[tuple[int, int], ...]:
    """Return how large style pictures are looked at, relative to the size painted.

    Args:
        config: the settings.
        style_shapes: height and width of each one's file.
        shape: height and width that are painted.
        full: height and width of the result.
    """
    shapes = []
    for file_shape in style_shapes:
        largest = config.style_size or (
            config.style_scale * min(config.size, max(file_shape))
        )
        longest = largest * max(shape) / max(full)
        # Never so small that the deepest layers see nothing.
        longest = max(longest, MIN_SIDE * max(file_shape) / min(file_shape))
        shapes.append(fitted_shape(file_shape, round(longest)))
    return tuple(shapes)


def plan_size(
    config: TransferConfig,
    network: Network,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    shape: tuple[int, int],
    style_shapes: Sequence[tuple[int, int]],
    num_steps: int = 1,
) -> SizePlan:
    """Return what will be called to paint one size.

    Args:
        config: the settings.
        network: with its weights.
        optimizer: as for `jaxnst.transfer.run.paint`.
        shape: height and width that are painted.
        style_shapes: height and width of each style picture then.
        num_steps: how many there will be.
    """
    image = jax.ShapeDtypeStruct((*shape, 3), jnp.float32)
    styles = tuple(
        jax.ShapeDtypeStruct((*style_shape, 3), jnp.float32)
        for style_shape in style_shapes
    )
    number = jax.ShapeDtypeStruct((), jnp.float32)
    weights = weights_of(config)
    normalization = config.normalization
    layers = {
        "content_layers": tuple(config.content_layers),
        "style_layers": tuple(config.style_layers),
        "style_losses": tuple(config.style_loss),
        "normalization": normalization,
    }
    num_regions = max(1, config.regions)
    blend_shape = (num_regions, len(config.style_layers), len(styles))
    blend = jax.ShapeDtypeStruct(blend_shape, jnp.float32)
    guides = shares = None
    if config.regions:
        guides = {
            layer: jax.ShapeDtypeStruct((num_regions, *layer_shape), jnp.float32)
            for layer, layer_shape in layer_shapes(
                network, shape, config.style_layers
            ).items()
        }
        shares = jax.ShapeDtypeStruct((num_regions,), jnp.float32)
    pictures = (network, image, styles, blend, guides, shares)
    measuring = Call(compiled_targets, pictures, layers)
    targets = compiled_targets.shapes_of(*pictures, **layers)
    state = jax.eval_shape(
        lambda image: init_state(image, optimizer, use_average=config.averaging > 0),
        image,
    )
    state = lay_whole(network, state)
    by_rows = lay_by_rows(network, image, targets.content)
    targets = lay_whole(network, targets)._replace(content=by_rows)
    if isinstance(optimizer, LineSearched):
        trial = (image, image, number, image, network, targets, weights)
        direction = (state.opt_state, image, image)
        steps = (
            Call(compiled_try, trial, {"normalization": normalization}),
            Call(compiled_direction, direction, {"optimizer": optimizer}),
        )
    else:
        static = {"optimizer": optimizer, "normalization": normalization}
        averaging = number if config.averaging else None
        several = steps_per_call(config)
        step = (state, network, targets, weights)
        if several == 1:
            steps = (Call(compiled_step, (*step, number, averaging), static),)
        else:
            rates = jax.ShapeDtypeStruct((several,), jnp.float32)
            count = jax.ShapeDtypeStruct((), jnp.int32)
            rest = (rates, count, averaging)
            steps = (Call(compiled_steps, (*step, *rest), static),)
    return SizePlan(shape, tuple(style_shapes), num_steps, measuring, steps, state)


def make_ready(now: Iterable[Call], soon: Iterable[Call] = ()) -> None:
    """Wait for some programs, and begin to make others in the background."""
    now = list(now)
    for program in now[1:] + list(soon):
        program.function.prepare(*program.args, **program.static)
    for program in now:
        program.function.get(*program.args, **program.static)
