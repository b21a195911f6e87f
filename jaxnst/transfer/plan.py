"""The plan of a painting: every decision for every size, made before the first step.

Pictures of one shape and one set of static settings share a plan, and so their
programs; they differ in weights, blends and what they are painted from.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnst.config import TransferConfig
from jaxnst.images import fitted_shape
from jaxnst.images.load import MIN_SIDE
from jaxnst.images.tiling import multiples_of
from jaxnst.networks import Network
from jaxnst.networks.devices import default_device
from jaxnst.networks.tiles import Tiling, make_tiling, window_network
from jaxnst.networks.transforms import lay_by_rows, lay_whole
from jaxnst.objective import LossWeights, compute_targets, make_loss_weights
from jaxnst.optimize import pyramid_sizes
from jaxnst.optimize.batching import StepProgram
from jaxnst.optimize.optimizers import is_lbfgs
from jaxnst.optimize.programs import Program
from jaxnst.optimize.tiles import TiledStep, tile_places

from .inputs import HostBlend
from .regions import Regions
from .setup import Job


# On accelerators a call makes steps of about so many pixels in all. That was estimated
# to take some tens of milliseconds, of which the host needs a fraction of one. The
# number depends on sizes alone, so that equal runs make equal calls.
_PIXELS_PER_CALL = 2**21
# Losses are looked at after each call; strengths are then corrected.
_MOST_STEPS_PER_CALL = 10
_MOST_STEERED_STEPS = 5
# A step takes as long as if its picture had so many pixels more: measured from 128 to
# 512 px on a CPU.
_STEP_PIXELS = 2**14
# Factor of `detail` 1 on the weight of the finest style layer.
_TILT = 4.0

compiled_targets = jax.jit(
    compute_targets,
    static_argnames=("content_layers", "style_layers", "style_losses", "normalization"),
)


class SizePlan(NamedTuple):
    """The plan of one size; in a batch with the style shapes of its first picture.

    `tiling` are the tiles of the picture; None if it is painted as a whole.
    """

    shape: tuple[int, int]
    style_shapes: tuple[tuple[int, int], ...]
    num_steps: int
    steps_per_call: int = 1
    tiling: Tiling | None = None


class Plan(NamedTuple):
    """Every decision for every size of one picture, or of a batch of them.

    Attributes:
        sizes: the sizes, the coarsest first.
        targets_static: static arguments of `compiled_targets`.
        has_regions: whether styles or strengths differ from place to place.
    """

    sizes: tuple[SizePlan, ...]
    weights: tuple[LossWeights, ...]
    blends: tuple[HostBlend, ...]
    memory: str
    step: StepProgram
    targets_static: Mapping[str, Any]
    has_regions: bool

    @property
    def network(self) -> Network:
        """The network at the plan's level of memory."""
        return self.step.network  # pyright: ignore[reportReturnType]

    def step_at(self, size: SizePlan) -> StepProgram:
        """Return the step of one size."""
        if size.tiling is None:
            return dataclasses.replace(self.step, steps_per_call=size.steps_per_call)
        return TiledStep(
            window_network(self.network),
            self.step.optimizer,
            normalization=self.step.normalization,
            averaging=self.step.averaging,
            tiling=size.tiling,
            places=tile_places(self.network),
        )


def make_plan(
    jobs: Sequence[Job],
    memory: str,
    *,
    num_members: int = 1,
    devices: Sequence[Any] | None = None,
    shares_targets: bool = False,
) -> Plan:
    """Return the plan of one picture, or of a batch, see `StepProgram`.

    All `jobs` have one shape, the same static settings and the same network.
    """
    first = jobs[0]
    config, inputs = first.config, first.inputs
    # With "balanced" windows the whole takes half of the memory. Large ones also take
    # less time, as the system has less new memory to clear.
    network_level = "balanced" if memory == "tiles" else memory
    is_steered = inputs.strengths(config) is not None
    step = StepProgram(
        first.network.with_memory(network_level),
        first.optimizer,
        normalization=config.objective,
        # A strength corrects the last picture itself.
        averaging=0.0 if is_steered else config.averaging,
        num_members=num_members,
        devices=devices,
        shares_targets=shares_targets,
    )

    def tiling_at(shape: tuple[int, int]) -> Tiling | None:
        if memory != "tiles":
            return None
        layers = layers_of(config)
        tiling = make_tiling(first.network, shape, layers, config.tile_size)
        return tiling if len(tiling.tiles) > 1 else None

    def steps_per_call(shape: tuple[int, int]) -> int:
        num_pixels = step.num_per_device * math.prod(shape)
        return config.steps_per_call or _usual_steps(num_pixels, is_steered=is_steered)

    return Plan(
        sizes=tuple(
            SizePlan(
                shape,
                style_shapes_at(config, inputs.style_shapes, shape, inputs.shape),
                config.num_steps if shape == inputs.shape else config.coarse_steps,
                steps_per_call(shape),
                tiling_at(shape),
            )
            for shape in shapes_of(config, inputs.shape)
        ),
        weights=tuple(weights_of(job.config, job.inputs.regions) for job in jobs),
        blends=tuple(
            blend_of(job.config, len(job.inputs.styles), job.inputs.regions)
            for job in jobs
        ),
        memory=memory,
        step=step,
        targets_static={
            "content_layers": tuple(config.content_layers),
            "style_layers": tuple(config.style_layers),
            "style_losses": tuple(config.style_loss),
            "normalization": config.objective,
        },
        has_regions=inputs.regions is not None,
    )


def layers_of(config: TransferConfig) -> set[str]:
    """Return the layers that are computed."""
    return {*config.content_layers, *config.style_layers}


def is_divisible(job: Job) -> bool:
    """Return whether a picture can be painted in tiles, and is larger than one."""
    config, layers = job.config, layers_of(job.config)
    if config.smoothing == "softmax":
        return False
    if max(job.inputs.shape) <= config.tile_size:
        return False
    try:
        tiling = make_tiling(job.network, job.inputs.shape, layers, config.tile_size)
    except ValueError:
        return False
    return len(tiling.tiles) > 1


def _usual_steps(num_pixels: int, *, is_steered: bool) -> int:
    """Return how many steps a call makes on pictures of so many pixels in all."""
    if default_device().platform == "cpu":
        return 1  # see `jaxnst.optimize.steps`
    most = _MOST_STEERED_STEPS if is_steered else _MOST_STEPS_PER_CALL
    return max(1, min(most, _PIXELS_PER_CALL // num_pixels))


def size_programs(plan: Plan, size: SizePlan) -> tuple[Program, ...]:
    """Return the programs that paint at one size, made from shapes alone.

    The first is that of a step, of its line search, or of a tile's gradient; the others
    are those of the targets, or of the other parts of a step in tiles.
    """
    network = plan.network
    program = plan.step_at(size)
    num_regions, num_layers, _ = plan.blends[0].shape
    image = _array(*size.shape, 3)
    styles = tuple(_array(*shape, 3) for shape in size.style_shapes)
    blend = _array(num_regions, num_layers, len(styles))
    guides = shares = None
    if plan.has_regions:
        names = plan.targets_static["style_layers"]
        layers = network.layer_shapes(size.shape, names)
        guides = {name: _array(num_regions, *shape) for name, shape in layers.items()}
        shares = _array(num_regions)
    pictures = network, image, styles, blend, guides, shares
    static = dict(plan.targets_static)
    targets = compiled_targets.eval_shape(*pictures, **static)
    if size.tiling is not None:
        assert isinstance(program, TiledStep)
        state = jax.eval_shape(program.init, image)
        return program.programs(state, targets, plan.weights[0])
    by_rows = lay_by_rows(network, image, targets.content)
    targets = lay_whole(network, targets)._replace(content=by_rows)
    if is_lbfgs(program.optimizer):
        step = program.prepare_loss(image, targets, plan.weights[0])
    else:
        state = lay_whole(network, jax.eval_shape(program.init, image))
        state, targets = program.lay_out(state, targets)
        step = program.prepare(state, targets, plan.weights)
    return step, Program(compiled_targets, pictures, static)


def _array(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def weights_of(config: TransferConfig, regions: Regions | None = None) -> LossWeights:
    """Return the weights of the loss terms."""
    weights = make_loss_weights(
        content=config.content_weight,
        style=config.style_weight,
        tv=config.tv_weight,
        content_layers=config.content_layers,
        style_layers=tilt(config.style_layers, config.detail),
        style_losses=config.style_loss,
        normalization=config.objective,
    )
    if regions is not None and config.strength is not None:
        # The strength of each region is controlled separately.
        style = np.full(len(regions.maps), config.style_weight, np.float32)
        weights = weights._replace(style=style)
    return weights


def tilt(layers: Mapping[str, float], detail: float) -> dict[str, float]:
    """Return the weights of layers, from fine to coarse, tilted as `detail` says."""
    heights = np.linspace(1, -1, len(layers)) if len(layers) > 1 else [0.0]
    return {
        layer: float(weight * _TILT ** (detail * height))
        for (layer, weight), height in zip(layers.items(), heights, strict=True)
    }


def blend_of(
    config: TransferConfig, num_styles: int, regions: Regions | None = None
) -> HostBlend:
    """Return the weight of each style in each region and layer; they add up to 1."""
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


def shapes_of(
    config: TransferConfig, full: tuple[int, int]
) -> tuple[tuple[int, int], ...]:
    """Return height and width of every size, the coarsest first."""
    return pyramid_sizes(
        full,
        min_size=config.min_size,
        min_side=MIN_SIDE,
        multiples=multiples_of(config.tile),
    )


def work_of(config: TransferConfig, full: tuple[int, int]) -> float:
    """Return the work of all steps of all sizes, unless one stops early."""
    *coarse, last = (step_work(shape) for shape in shapes_of(config, full))
    return float(config.coarse_steps * sum(coarse) + config.num_steps * last)


def step_work(shape: tuple[int, int]) -> int:
    """Return the work of a step at a size, in pixels."""
    return math.prod(shape) + _STEP_PIXELS


def style_shapes_at(
    config: TransferConfig,
    style_shapes: Sequence[tuple[int, int]],
    shape: tuple[int, int],
    full: tuple[int, int],
) -> tuple[tuple[int, int], ...]:
    """Return the height and width of each style picture where `shape` is painted.

    `style_shapes` are those of their files, and `full` is that of the result.
    """
    shapes = []
    for file_shape in style_shapes:
        usual = config.style_scale * _usual_style_size(config, max(file_shape))
        longest = (config.style_size or usual) * max(shape) / max(full)
        # Large enough for the deepest layers.
        longest = max(longest, MIN_SIDE * max(file_shape) / min(file_shape))
        shapes.append(fitted_shape(file_shape, round(longest)))
    return tuple(shapes)


def content_detail_at(job: Job, shape: tuple[int, int]) -> float:
    """Return the part of the photograph's detail that is added where `shape` begins.

    Where even the sharpest style's file is enlarged, nothing in it is as fine as this
    detail, of which painting would make a mesh of dots. The detail is that of one
    doubling, so none is left where the file is enlarged to twice its size.
    """
    files = job.inputs.style_shapes
    shapes = style_shapes_at(job.config, files, shape, job.inputs.shape)
    enlarged = min(max(x) / max(own) for x, own in zip(shapes, files, strict=True))
    return job.config.content_detail * min(1.0, max(0.0, 1 - math.log2(enlarged)))


def _usual_style_size(config: TransferConfig, longest: int) -> float:
    """Return the longest side at which a style picture with such a file is measured.

    A smaller file is enlarged by the root of the factor: by all of it, strokes would be
    as soft as the enlarged file is; by none, small beside the content's shapes, so that
    pictures come out grainy and blotched (benchmarks/README.md). Without content there
    is nothing for them to be small beside, and a texture keeps its sample's scale.
    """
    if longest >= config.size or not config.content_weight:
        return min(config.size, longest)
    return math.sqrt(config.size * longest)
