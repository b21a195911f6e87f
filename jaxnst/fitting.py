"""Whether a picture fits into memory, and what to do if it does not.

Memory is XLA's own account of the compiled programs (they are kept, so painting does
not compile them again) and of the arrays between them.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import optax

from .ahead import SizePlan, make_ready, plan_size, style_shapes_at
from .calls import Call
from .config import TransferConfig
from .hardware import available_memory
from .images import fitted_shape
from .images.reading import MIN_SIDE
from .networks import MEMORY_LEVELS, Network
from .placing import num_bytes
from .style_terms import PARTWISE


# Beside `Architecture.bytes_per_pixel`; a painting that would fit at so much needs no
# compiling to find out.
_BYTES_BESIDES = 500_000_000
# Beside what XLA accounts for: its threads, scratch and code (benchmarks/memory.py).
_RUNTIME_BYTES = 150_000_000
# Forecasts are a little wrong, and others use the machine too.
_USABLE = 0.9
# So many sizes are tried for one that would fit; each is compiled for it.
_MAX_TRIES = 4


class OutOfMemory(MemoryError):
    """A picture does not fit into memory; the text says what would."""


def needed_memory(plan: SizePlan) -> int:
    """Return how many bytes a size needs besides what the process holds before.

    On each device, if there are several. Its programs are compiled for it.
    """
    make_ready(plan.programs)
    image = 12 * math.prod(plan.shape)
    style = sum(12 * math.prod(style_shape) for style_shape in plan.style_shapes)
    # On the host and on the device; and copies of the best picture and of the first.
    pictures = 2 * (image + style) + 3 * image
    return (
        _RUNTIME_BYTES
        + pictures
        + max(_temporary(program) + _idle(plan, program) for program in plan.programs)
    )


def _idle(plan: SizePlan, program: Call) -> int:
    """Bytes of the state that waits while a program runs which does not take it."""
    if program is plan.targets:  # what painted the last size is smaller by far
        return 0
    taken = {id(leaf) for leaf in jax.tree.leaves(program.args)}
    state = jax.tree.leaves(plan.state)
    return num_bytes([leaf for leaf in state if id(leaf) not in taken])


def _temporary(program: Call) -> int:
    """Bytes for all that a program reads and makes, but for the network."""
    compiled = program.function.get(*program.args, **program.static)
    stats = compiled.memory_analysis()
    if stats is None:  # a device that does not say
        return num_bytes(program.args) * len(MEMORY_LEVELS)
    arrays = [arg for arg in program.args if not isinstance(arg, Network)]
    made = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return stats.temp_size_in_bytes + made + num_bytes(arrays)


def choose_memory(
    config: TransferConfig,
    network: Network,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    shape: tuple[int, int],
    style_shapes: Sequence[tuple[int, int]],
) -> str:
    """Return the quickest level of memory that fits, or the one that is set.

    Args:
        config: the settings.
        network: with its weights.
        optimizer: as for `jaxnst.painting.paint`.
        shape: height and width of the result.
        style_shapes: height and width of each style picture's file.

    Raises:
        OutOfMemory: if none fits, or the one that is set does not.
    """
    asked = config.memory
    available = available_memory(network.num_devices)
    full_styles = style_shapes_at(config, style_shapes, shape, shape)
    pixels = max(math.prod(each) for each in (shape, *full_styles))
    # Another optimizer may carry any number of pictures along.
    per_pixel = (
        None if config.optimizer == "custom" else network.architecture.bytes_per_pixel
    )
    bound = math.inf if per_pixel is None else per_pixel * pixels + _BYTES_BESIDES
    if available is None or bound <= _USABLE * available:
        return "fast" if asked == "auto" else asked
    usable = int(_USABLE * available)

    def needed_at(level: str, size: int) -> int:
        at_size = dataclasses.replace(config, size=size)
        own_shape = fitted_shape(shape, size)
        plan = plan_size(
            at_size,
            network.with_memory(level),
            optimizer,
            shape=own_shape,
            style_shapes=style_shapes_at(at_size, style_shapes, own_shape, own_shape),
        )
        return needed_memory(plan)

    size = max(shape)
    needed: dict[str, int] = {}
    # What sorts all pixels of a layer at once cannot compute them in strips.
    levels = MEMORY_LEVELS if set(config.style_loss) <= set(PARTWISE) else ("fast",)
    for level in levels if asked == "auto" else (asked,):
        needed[level] = needed_at(level, size)
        if needed[level] <= usable:
            return level
    level, least = list(needed.items())[-1]
    lower = levels[levels.index(level) + 1 :]
    ways = [f"memory={low!r}" for low in lower if needed_at(low, size) <= usable]
    fitting = _fitting_size(shape, least, usable, lambda size: needed_at(level, size))
    if fitting is not None:
        ways.append(f"`size` {fitting}")
    each = " on each device" if network.num_devices > 1 else ""
    helping = f"what would help: {', '.join(ways)}" if ways else "no size would fit"
    raise OutOfMemory(
        f"`size` {size} needs {as_text(least)}{each} with memory={level!r}, and "
        f"{as_text(usable)} can be used; {helping}, or other programs closed. "
        "JAXNST_MEMORY_LIMIT=100G paints regardless."
    )


def _fitting_size(
    shape: tuple[int, int],
    needed: int,
    usable: int,
    needed_fn: Callable[[int], int],
) -> int | None:
    """Return a size that was seen to fit, about the largest; None if there is none.

    Args:
        shape: height and width that do not fit.
        needed: what they need.
        usable: what there is.
        needed_fn: what a size needs.
    """
    spare = usable - _RUNTIME_BYTES
    if spare <= 0:
        return None
    size = max(shape) * math.sqrt(spare / (needed - _RUNTIME_BYTES))
    smallest = MIN_SIDE * max(shape) / min(shape)
    for _ in range(_MAX_TRIES):
        size = int(size * 0.95) // 16 * 16
        if size < smallest:
            return None
        if needed_fn(size) <= usable:
            return size
    return None


@contextlib.contextmanager
def clear_memory_errors(
    config: TransferConfig,
    size: int,
    *,
    is_foreign: Callable[[BaseException], bool] = lambda _: False,
) -> Iterator[None]:
    """Turn what XLA says when memory runs out into `OutOfMemory`.

    Args:
        config: the settings.
        size: longest side of the result, in pixels.
        is_foreign: whether an error is not of the painting, and passes as it is.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        text = str(error)
        is_memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text
        if isinstance(error, OutOfMemory) or not is_memory or is_foreign(error):
            raise
        level = config.memory if config.memory in MEMORY_LEVELS else "fast"
        lower = MEMORY_LEVELS[MEMORY_LEVELS.index(level) + 1 :]
        ways = [f"memory={level!r}" for level in lower[-1:]]
        ways.append(f"a `size` below {size}")
        raise OutOfMemory(
            f"memory ran out at `size` {config.size} with memory={level!r}; try "
            f"{' or '.join(ways)}. ({' '.join(text.split())[:200]})"
        ) from error


def as_text(num_bytes: int) -> str:
    """Return a size for people: `812 MB`, `3.4 GB`."""
    if num_bytes < 1e9:
        return f"{num_bytes / 1e6:.0f} MB"
    return f"{num_bytes / 1e9:.1f} GB"
