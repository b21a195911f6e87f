"""How much memory and time a painting takes, and what to do if it does not fit.

Memory is what XLA reports for the compiled programs, and the arrays between them. Time
is that of a few steps at small sizes, scaled by the work of a step.
"""

import contextlib
import ctypes
import dataclasses
import functools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxnst._memory import USABLE, given_limit, host_memory, is_foreign
from jaxnst.config import CUSTOM, MEMORY_LEVELS, NETWORK_MEMORY_LEVELS
from jaxnst.images.load import MIN_SIDE
from jaxnst.losses.registry import PARTWISE
from jaxnst.networks import Network
from jaxnst.networks.devices import default_device
from jaxnst.optimize.optimizers import is_lbfgs
from jaxnst.optimize.programs import Held, Program, compile_in_background
from jaxnst.optimize.tiles import tile_places

from .inputs import result_shape
from .plan import (
    Plan,
    SizePlan,
    is_divisible,
    make_plan,
    size_programs,
    step_work,
    style_shapes_at,
)
from .setup import Job


# Added to `Architecture.bytes_per_pixel` for an upper bound; a painting below it fits
# without compiling anything to find out.
_BYTES_BESIDES = 500_000_000
# Memory that XLA does not report: its threads, scratch and code (benchmarks/memory.py).
_RUNTIME_BYTES = 150_000_000
# Words of the compilers and libraries of accelerators for memory that ran out: XLA's
# own, the driver's, and those of NVIDIA's libraries, whose handles need memory, too.
_MEMORY_WORDS = (
    "RESOURCE_EXHAUSTED",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "STATUS_ALLOC_FAILED",
    "cusolverDnCreate",
    "CUDNN_STATUS_INTERNAL_ERROR",
)
# Number of sizes that are compiled to find one that fits.
_MAX_TRIES = 4
# Steps are timed from about this many pixels on, while they take less than this many
# seconds.
_FIRST_PIXELS = 2**16
_LONGEST_STEP = 1.0
# Time for the targets of a size and for resizing the picture, in steps of that size.
_STEPS_BESIDES = 1.5
# Every tile is computed once more than the picture as a whole, but not differentiated.
_TILED_EFFORT = 1.33
# Number of pictures that L-BFGS measures per step; 1.1 to 1.7 were seen.
_EVALUATIONS = 1.5


def available_memory(num_devices: int = 1) -> int | None:
    """Return how many bytes are available on each device of JAX; None if unknown.

    `JAXNST_MEMORY_LIMIT` (such as `6G`) overrides it. On an accelerator the device
    tells. On the CPU it is what the system can give without swapping, or the
    container's limit if that is lower; its devices share it.
    """
    device = default_device()
    if device.platform == "cpu":
        return host_memory() // num_devices
    if (given := given_limit()) is not None:
        return given
    stats = device.memory_stats() or {}
    if "bytes_limit" not in stats:
        return None
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


class OutOfMemory(MemoryError):
    """A picture does not fit into memory; the message says what would.

    Attributes:
        advice: settings that would fit, each by itself, such as {"size": 640}; empty if
            none is known.
    """

    def __init__(self, message: str = "", advice: Mapping[str, Any] | None = None):
        super().__init__(message)
        self.advice = dict(advice or {})


def is_about_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the host or a device."""
    if isinstance(error, jax.errors.JaxRuntimeError):
        return any(words in str(error) for words in _MEMORY_WORDS)
    return isinstance(error, MemoryError)


def needed_memory(plan: Plan, size: SizePlan) -> float:
    """Return how many more bytes each device needs for a size; compiles programs.

    Infinity if the compiler says that they do not fit, as that of TPUs does.
    """
    try:
        most = _most_of(size_programs(plan, size))
    except jax.errors.JaxRuntimeError as error:
        if not is_about_memory(error):
            raise
        return math.inf
    if size.tiling is not None and tile_places(plan.network).are_apart:
        return _RUNTIME_BYTES + most  # pictures are in the host's memory
    image = 12 * math.prod(size.shape)
    style = sum(12 * math.prod(style_shape) for style_shape in size.style_shapes)
    # Content and style on the host, and copies of the best picture and of the first;
    # where steps are made in tiles, one less.
    pictures = style + (4 if size.tiling is None else 3) * image
    # SciPy keeps past steps and gradients, in numbers of twice as many bytes.
    history = 2 * (2 * 10 + 5) * image if is_lbfgs(plan.step.optimizer) else 0
    return _RUNTIME_BYTES + plan.step.num_per_device * (pictures + history) + most


def _most_of(programs: Sequence[Program]) -> int:
    """Return the bytes of the program that takes the most."""
    for thread in [compile_in_background([each]) for each in programs]:
        thread.join()
    return max(map(_temporary, programs))


def _temporary(program: Program) -> int:
    """Return the bytes of all that there is while a program runs, but the network's."""
    stats = program.compile().memory_analysis()
    if stats is None:  # the device does not tell
        return _num_bytes(program.args) * len(NETWORK_MEMORY_LEVELS)
    arrays = [arg for arg in program.args if not isinstance(arg, Network | Held)]
    made = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return stats.temp_size_in_bytes + made + _num_bytes((arrays, program.beside))


def _num_bytes(tree: Any) -> int:
    """Return how many bytes arrays take on each device; shapes count as arrays."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, int):  # the place of a tile
            continue
        sharding = getattr(leaf, "sharding", None)
        shape = leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)
        total += math.prod(shape) * leaf.dtype.itemsize
    return total


def memory_levels(job: Job, *, is_clip: bool = False) -> tuple[str, ...]:
    """Return the levels of memory that a painting may take, the fastest first.

    The frames of a clip are not painted in tiles.
    """
    if job.config.memory != "auto":
        return (job.config.memory,)
    return _levels_for(job, is_clip=is_clip)


def _levels_for(job: Job, *, is_clip: bool) -> tuple[str, ...]:
    # A loss that sorts all pixels of a layer at once cannot be computed in strips.
    if not set(job.config.style_loss) <= set(PARTWISE):
        return ("fast",)
    is_tiled = not is_clip and is_divisible(job)
    return MEMORY_LEVELS if is_tiled else NETWORK_MEMORY_LEVELS


def choose_memory(job: Job, *, is_clip: bool = False) -> str:
    """Return the fastest level of memory that fits, or the one in the settings."""
    shape = job.inputs.shape
    size, num_devices = max(shape), job.network.num_devices
    tried = memory_levels(job, is_clip=is_clip)
    available = available_memory(num_devices)
    if available is None or _upper_bound(job) <= USABLE * available:
        return tried[0]
    usable = int(USABLE * available)
    needed_at = functools.cache(functools.partial(_needed_at, job))
    for each in tried:
        if needed_at(each, size) <= usable:
            return each
    # On a GPU "low" may need more than "balanced".
    level = min(tried, key=lambda level: needed_at(level, size))
    least = needed_at(level, size)
    behind = MEMORY_LEVELS[MEMORY_LEVELS.index(tried[-1]) + 1 :]
    lower = [each for each in behind if each in _levels_for(job, is_clip=is_clip)]
    fitting = [low for low in lower if needed_at(low, size) <= usable]
    ways = [f"memory={low!r}" for low in fitting[:1]]
    way: dict[str, Any] = {"memory": fitting[0]} if fitting else {}
    spare = max(0, usable - _RUNTIME_BYTES) / (least - _RUNTIME_BYTES)
    for smaller in _smaller_sizes(shape, spare):
        if needed_at(level, smaller) <= usable:
            ways.append(f"`size` {smaller}")
            way["size"] = smaller
            break
    where = " on each device" if num_devices > 1 else ""
    advice = f"use {' or '.join(ways)}, or close" if ways else "no size fits; close"
    raise OutOfMemory(
        f"`size` {size} needs {as_text(least)}{where} with memory={level!r}, but only "
        f"{as_text(usable)} can be used; {advice} other programs. "
        "JAXNST_MEMORY_LIMIT=100G paints regardless.",
        way,
    )


def level_below(job: Job, level: str, *, is_clip: bool = False) -> str | None:
    """Return the fastest level that needs less memory than one that ran out, or None.

    In the order of speed a level may need more than the one before it.
    """
    levels, size = memory_levels(job, is_clip=is_clip), max(job.inputs.shape)
    slower = levels[levels.index(level) + 1 :]
    needed_at = functools.cache(functools.partial(_needed_at, job, size=size))
    return next((each for each in slower if needed_at(each) < needed_at(level)), None)


def _needed_at(job: Job, level: str, size: int) -> float:
    """Return how many bytes a picture of another size needs; compiles programs."""
    config = dataclasses.replace(job.config, size=size, min_size=0)
    shape = result_shape(job.inputs.shape, size, tile=config.tile)
    inputs = job.inputs._replace(shape=shape)
    plan = make_plan([job._replace(config=config, inputs=inputs)], level)
    return needed_memory(plan, plan.sizes[-1])


def _upper_bound(job: Job) -> float:
    """Return more bytes than a painting can need; infinity if that is unknown."""
    per_pixel = job.network.architecture.bytes_per_pixel
    # An optimizer of the user's own may have any number of pictures in its state.
    if job.config.optimizer == CUSTOM or per_pixel is None:
        return math.inf
    shape = job.inputs.shape
    styles = style_shapes_at(job.config, job.inputs.style_shapes, shape, shape)
    return per_pixel * max(map(math.prod, (shape, *styles))) + _BYTES_BESIDES


def _smaller_sizes(shape: tuple[int, int], part: float) -> Iterator[int]:
    """Yield a few sizes, from about the one that has this part of the pixels."""
    size = max(shape) * math.sqrt(part)
    for _ in range(_MAX_TRIES):
        size = int(size * 0.95) // 16 * 16
        if size < MIN_SIDE * max(shape) / min(shape):
            return
        yield size


@contextlib.contextmanager
def clear_memory_errors(memory: str, size: int) -> Iterator[None]:
    """Turn XLA's errors about memory into `OutOfMemory`, but not `foreign_errors`."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        is_known = isinstance(error, OutOfMemory) or is_foreign(error)
        if is_known or not is_about_memory(error):
            raise
        text = str(error)
        level = memory if memory in MEMORY_LEVELS else "fast"
        # "tiles", which takes the most time, only where nothing else is left.
        lower = NETWORK_MEMORY_LEVELS[MEMORY_LEVELS.index(level) + 1 :]
        lower = lower or MEMORY_LEVELS[MEMORY_LEVELS.index(level) + 1 :]
        ways = [f"memory={level!r}" for level in lower[-1:]]
        ways.append(f"a `size` below {size}")
        advice: dict[str, Any] = {"memory": lower[-1]} if lower else {}
        if size * 3 // 4 >= MIN_SIDE:
            advice["size"] = size * 3 // 4
        raise OutOfMemory(
            f"memory ran out at `size` {size} with memory={level!r}; try "
            f"{' or '.join(ways)}. ({' '.join(text.split())[:200]})",
            advice,
        ) from error


def give_back_memory() -> None:
    """Give the system the memory that was freed, but that the C library has kept.

    glibc keeps what every thread has freed, some 100 MB after a picture was painted.
    Other libraries need no such call, and have none.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def as_text(num_bytes: float) -> str:
    """Return a number of bytes as text: `812 MB`, `3.4 GB`."""
    if math.isinf(num_bytes):  # the compiler told no number
        return "more than there is"
    if num_bytes < 1e9:
        return f"{num_bytes / 1e6:.0f} MB"
    return f"{num_bytes / 1e9:.1f} GB"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeEstimate:
    """Memory and time that one size will take.

    Attributes:
        memory: bytes needed on each device, besides what the process holds before;
            infinity if the compiler finds that it does not fit.
        step_seconds: seconds of one step.
        seconds: seconds of all steps and of computing the targets.
    """

    height: int
    width: int
    num_steps: int
    memory: float
    step_seconds: float
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """Memory and time that a painting will take; `str` gives a table.

    Attributes:
        memory: peak in bytes: on the CPU that of the whole process, elsewhere that of
            each device.
        available: bytes available for it, on the CPU with those that the process holds
            already; None if unknown.
        memory_level: level of memory, "fast", "balanced", "low" or "tiles".
        seconds: seconds of painting, once everything is loaded and compiled.
        compile_seconds: seconds it took to compile the programs or load them from disk.
        sizes: estimate of each size, the coarsest first.
        device: kind of device on which the steps were timed.
    """

    memory: float
    available: int | None
    memory_level: str
    seconds: float
    compile_seconds: float
    sizes: tuple[SizeEstimate, ...]
    device: str

    def __str__(self) -> str:
        """Return the estimate as a table."""
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


def make_estimate(job: Job, memory: str, *, holds: int) -> Estimate:
    """Return the memory and time that a painting will take; times a few steps on gray.

    `holds` is the number of bytes that the process held before anything was compiled.
    """
    plan = make_plan([job], memory)
    num_devices = plan.network.num_devices
    available = available_memory(num_devices)
    started = time.perf_counter()
    needed = [needed_memory(plan, size) for size in plan.sizes]
    compile_seconds = time.perf_counter() - started
    # Time only sizes that fit, so that estimating cannot run out of memory.
    most = math.inf if available is None else available
    fitting = [
        size for size, bytes_ in zip(plan.sizes, needed, strict=True) if bytes_ <= most
    ]
    measured = _measure_seconds(job, plan, fitting or list(plan.sizes[:1]))
    seconds = [
        _scaled(measured, size.shape) * _effort(size, num_devices)
        for size in plan.sizes
    ]
    sizes = tuple(
        SizeEstimate(
            height=size.shape[0],
            width=size.shape[1],
            num_steps=size.num_steps,
            memory=bytes_,
            step_seconds=each,
            seconds=each * (size.num_steps + _STEPS_BESIDES),
        )
        for size, bytes_, each in zip(plan.sizes, needed, seconds, strict=True)
    )
    device = default_device()
    # Devices of the CPU are all in this process.
    held, between = (holds, num_devices) if device.platform == "cpu" else (0, 1)
    kind = device.device_kind
    return Estimate(
        memory=max(needed) * between + held,
        available=None if available is None else available * between + held,
        memory_level=memory,
        seconds=sum(size.seconds for size in sizes),
        compile_seconds=compile_seconds,
        sizes=sizes,
        device=kind if num_devices == 1 else f"{num_devices} x {kind}",
    )


def _measure_seconds(job: Job, plan: Plan, sizes: list[SizePlan]) -> dict[int, float]:
    """Return {work: seconds of a step} at the sizes that are quick to time."""
    shapes = [size.shape for size in sizes]
    while math.prod(shapes[0]) > _FIRST_PIXELS:
        shapes.insert(0, (shapes[0][0] // 2, shapes[0][1] // 2))
    first = max(i for i, s in enumerate(shapes) if math.prod(s) <= _FIRST_PIXELS)
    num_styles = len(job.inputs.styles)
    measured: dict[int, float] = {}
    for shape in shapes[first:]:
        if measured and _scaled(measured, shape) > _LONGEST_STEP:
            break
        size = SizePlan(shape, (shape,) * num_styles, 1)
        seconds = _time_step(size_programs(plan, size)[0])
        evaluations = _EVALUATIONS if is_lbfgs(job.optimizer) else 1
        measured[step_work(shape)] = seconds * evaluations
    return measured


def _effort(size: SizePlan, num_devices: int) -> float:
    """Return the time of a step over that of a picture that is painted as a whole."""
    if size.tiling is None:
        return 1.0
    rounds = -(-len(size.tiling.tiles) // num_devices)
    seen = rounds * num_devices * math.prod(size.tiling.window)
    return _TILED_EFFORT * seen / math.prod(size.shape)


def _time_step(step: Program) -> float:
    step.compile()
    seconds = []
    for _ in range(3):
        # The shapes among the arguments as gray pictures.
        args = jax.tree.map(
            lambda leaf: (
                jnp.full(leaf.shape, 0.5, leaf.dtype, device=leaf.sharding)
                if isinstance(leaf, jax.ShapeDtypeStruct)
                else leaf
            ),
            step.args,
            is_leaf=lambda arg: isinstance(arg, Held),
        )
        jax.block_until_ready(args)
        started = time.perf_counter()
        # Not the compiled program, which would have to be given what is in `Held`.
        jax.block_until_ready(step._replace(args=args).run())
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _scaled(measured: dict[int, float], shape: tuple[int, int]) -> float:
    """Return the seconds of a step, in proportion to the nearest size measured."""
    work = step_work(shape)
    nearest = min(measured, key=lambda known: abs(math.log(known / work)))
    return measured[nearest] * work / nearest


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
