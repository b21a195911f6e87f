"""How much memory and time a painting will take.

For memory see `jaxnst.fitting`. Time is that of a few steps made at small sizes, in
proportion to pixels.
"""

import dataclasses
import math
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from .ahead import SizePlan, plan_size, shapes_of, style_shapes_at
from .calls import Call
from .config import TransferConfig
from .fitting import as_text, needed_memory
from .hardware import available_memory, default_device
from .networks import Network


# Time is measured from about so many pixels on, as long as a step takes less than this.
_FIRST_PIXELS = 2**16
_LONGEST_STEP = 1.0
# Calls on the device while a picture is measured and handed on, in steps of that size.
_STEPS_BESIDES = 1.5
# How many lengths a line search tries for a step: 1.2 to 1.7 were seen.
_EVALUATIONS = 1.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeEstimate:
    """What one size will take.

    Attributes:
        height: of the picture, in pixels.
        width: likewise.
        num_steps: how many there will be.
        memory: bytes needed besides what the process holds before, on each device.
        step_seconds: of one step.
        seconds: of all of them, with the measuring of the pictures.
    """

    height: int
    width: int
    num_steps: int
    memory: int
    step_seconds: float
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a painting will take.

    Attributes:
        memory: peak, in bytes; on the CPU of the whole process, elsewhere of the
            device, or of each if there are several.
        available: bytes that can be had for it now, those that the process holds on the
            CPU already included; None if unknown.
        memory_level: "fast", "balanced" or "low".
        seconds: of painting, once everything is loaded and compiled.
        compile_seconds: what the programs at hand took to make or to load from disk.
        sizes: the same size by size, the coarsest first.
        device: what it was measured on.
    """

    memory: int
    available: int | None
    memory_level: str
    seconds: float
    compile_seconds: float
    sizes: tuple[SizeEstimate, ...]
    device: str

    def __str__(self) -> str:
        """Return a table for people."""
        head = "    size (px)   steps   s/step    memory        time"
        rows = [
            f"{f'{size.width} x {size.height}':>13} {size.num_steps:7} "
            f"{size.step_seconds:8.3g} {as_text(size.memory):>9} "
            f"{_duration(size.seconds):>11}"
            for size in self.sizes
        ]
        have = "" if self.available is None else f" of {as_text(self.available)} free"
        last = (
            f"about {_duration(self.seconds)} and {as_text(self.memory)}{have}, "
            f"memory={self.memory_level}, on {self.device}"
        )
        return "\n".join([head, *rows, last])


def plan_sizes(
    config: TransferConfig,
    network: Network,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    shape: tuple[int, int],
    style_shapes: Sequence[tuple[int, int]],
) -> list[SizePlan]:
    """Return the plan of every size, the coarsest first.

    Args:
        config: the settings.
        network: with its weights.
        optimizer: as for `jaxnst.painting.paint`.
        shape: height and width of the result.
        style_shapes: height and width of each style picture's file.
    """
    shapes = shapes_of(config, shape)
    return [
        plan_size(
            config,
            network,
            optimizer,
            shape=each,
            style_shapes=style_shapes_at(config, style_shapes, each, shape),
            num_steps=config.num_steps if each == shape else config.coarse_steps,
        )
        for each in shapes
    ]


def make_estimate(
    config: TransferConfig,
    network: Network,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    shape: tuple[int, int],
    style_shapes: Sequence[tuple[int, int]],
    holds: int,
) -> Estimate:
    """Return what a painting will take; nothing is painted but a few steps of noise.

    Args:
        config: the settings, `memory` being one of the levels.
        network: with its weights.
        optimizer: as for `jaxnst.painting.paint`.
        shape: height and width of the result.
        style_shapes: height and width of each style picture's file.
        holds: bytes that the process held before anything was compiled.
    """
    network = network.with_memory(config.memory)
    num_devices = network.num_devices
    available = available_memory(num_devices)
    started = time.perf_counter()
    plans = plan_sizes(
        config, network, optimizer, shape=shape, style_shapes=style_shapes
    )
    needed = [needed_memory(plan) for plan in plans]
    compile_seconds = time.perf_counter() - started
    # Nobody shall run out of memory by asking whether he would.
    fitting = [
        plan
        for plan, bytes_ in zip(plans, needed, strict=True)
        if available is None or bytes_ <= available
    ]
    measured = _measure_seconds(config, network, optimizer, fitting or plans[:1])
    sizes = []
    for plan, memory in zip(plans, needed, strict=True):
        seconds = _scaled(measured, plan.shape)
        sizes.append(
            SizeEstimate(
                height=plan.shape[0],
                width=plan.shape[1],
                num_steps=plan.num_steps,
                memory=memory,
                step_seconds=seconds,
                seconds=seconds * (plan.num_steps + _STEPS_BESIDES),
            )
        )
    device = default_device()
    # Devices of the CPU are all in this process.
    is_cpu = device.platform == "cpu"
    held, between = (holds, num_devices) if is_cpu else (0, 1)
    kind = device.device_kind
    return Estimate(
        memory=max(needed) * between + held,
        available=None if available is None else available * between + held,
        memory_level=config.memory,
        seconds=sum(size.seconds for size in sizes),
        compile_seconds=compile_seconds,
        sizes=tuple(sizes),
        device=kind if num_devices == 1 else f"{num_devices} x {kind}",
    )


def _measure_seconds(
    config: TransferConfig,
    network: Network,
    optimizer: optax.GradientTransformationExtraArgs,
    plans: list[SizePlan],
) -> dict[int, float]:
    """Return {pixels: seconds of a step} at the sizes that are quick to try."""
    shapes = [plan.shape for plan in plans]
    while math.prod(shapes[0]) > _FIRST_PIXELS:
        shapes.insert(0, (shapes[0][0] // 2, shapes[0][1] // 2))
    first = max(i for i, s in enumerate(shapes) if math.prod(s) <= _FIRST_PIXELS)
    measured: dict[int, float] = {}
    for shape in shapes[first:]:
        if measured and _scaled(measured, shape) > _LONGEST_STEP:
            break
        plan = plan_size(
            dataclasses.replace(config, steps_per_call=1),
            network,
            optimizer,
            shape=shape,
            style_shapes=[shape],
        )
        measured[math.prod(shape)] = _time_step(plan)
    return measured


def _time_step(plan: SizePlan) -> float:
    if len(plan.steps) == 1:
        return _time_call(plan.steps[0])
    # Of a line search: a length to try, now and then more, and a direction.
    trial, direction = plan.steps
    return _EVALUATIONS * _time_call(trial) + _time_call(direction)


def _time_call(step: Call) -> float:
    program = step.function.get(*step.args, **step.static)
    seconds = []
    for _ in range(3):
        args = jax.tree.map(_some, step.args)
        jax.block_until_ready(args)
        started = time.perf_counter()
        jax.block_until_ready(program(*args))
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _some(leaf: object) -> jax.Array:
    """Return an array to calculate with, where only a shape is known."""
    if isinstance(leaf, jax.Array):
        return leaf
    assert isinstance(leaf, jax.ShapeDtypeStruct)
    return jnp.full(leaf.shape, 0.5, leaf.dtype, device=leaf.sharding)


def _scaled(measured: dict[int, float], shape: tuple[int, int]) -> float:
    """Return the seconds of a step, in proportion to the nearest size measured."""
    pixels = math.prod(shape)
    nearest = min(measured, key=lambda known: abs(math.log(known / pixels)))
    return measured[nearest] * pixels / nearest


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
