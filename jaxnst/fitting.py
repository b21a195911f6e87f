"""Whether a picture fits into memory, and what to do if it does not.

Memory is XLA's own account of the compiled programs (they are kept, so painting does
not compile them again) and of the arrays between them.
"""

import contextlib
import math
from collections.abc import Iterator

import jax
import optax

from .ahead import Program, SizePlan, make_ready, plan_size, style_shape_at
from .config import TransferConfig
from .hardware import available_memory
from .networks import MEMORY_LEVELS, Network


# Beside `Architecture.bytes_per_pixel`; a painting that would fit at so much needs no
# compiling to find out.
_BYTES_BESIDES = 500_000_000
# Beside what XLA accounts for: its threads, scratch and code (benchmarks/memory.py).
_RUNTIME_BYTES = 150_000_000
# Forecasts are a little wrong, and others use the machine too.
_USABLE = 0.9


class OutOfMemory(MemoryError):
    """A picture does not fit into memory; the text says what would."""


def needed_memory(plan: SizePlan) -> int:
    """Return how many bytes a size needs besides what the process holds before.

    Its programs are compiled for it.
    """
    make_ready(plan.programs)
    image = 12 * math.prod(plan.shape)
    style = 12 * math.prod(plan.style_shape)
    # On the host and on the device; and copies of the best picture and of the first.
    pictures = 2 * (image + style) + 3 * image
    return (
        _RUNTIME_BYTES
        + pictures
        + max(_temporary(program) for program in plan.programs)
    )


def _temporary(program: Program) -> int:
    """Bytes for all that a program reads and makes, but for the network."""
    compiled = program.function.get(*program.args, **program.static)
    stats = compiled.memory_analysis()
    if stats is None:  # a device that does not say
        return _num_bytes(program.args) * len(MEMORY_LEVELS)
    arrays = [arg for arg in program.args if not isinstance(arg, Network)]
    made = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return stats.temp_size_in_bytes + made + _num_bytes(arrays)


def _num_bytes(tree: object) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def choose_memory(
    config: TransferConfig,
    network: Network,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    shape: tuple[int, int],
    style_shape: tuple[int, ...],
) -> str:
    """Return the quickest level of memory that fits, or the one that is set.

    Args:
        config: the settings.
        network: with its weights.
        optimizer: as for `jaxnst.painting.paint`.
        shape: height and width of the result.
        style_shape: height and width of the style picture's file.

    Raises:
        OutOfMemory: if none fits, or the one that is set does not.
    """
    asked = config.memory
    available = available_memory()
    full_style = style_shape_at(config, style_shape, shape, shape)
    pixels = max(math.prod(shape), math.prod(full_style))
    # Another optimizer may carry any number of pictures along.
    per_pixel = (
        None if config.optimizer == "custom" else network.architecture.bytes_per_pixel
    )
    bound = math.inf if per_pixel is None else per_pixel * pixels + _BYTES_BESIDES
    if available is None or bound <= _USABLE * available:
        return "fast" if asked == "auto" else asked
    needed: dict[str, int] = {}
    for level in MEMORY_LEVELS:
        if asked not in ("auto", level):
            continue
        plan = plan_size(
            config,
            network.with_memory(level),
            optimizer,
            shape=shape,
            style_shape=full_style,
        )
        needed[level] = needed_memory(plan)
        if needed[level] <= _USABLE * available:
            return level
    level, least = list(needed.items())[-1]
    raise OutOfMemory(
        _advice(config, level, least, int(_USABLE * available), max(shape))
    )


def _advice(
    config: TransferConfig, level: str, needed: int, usable: int, size: int
) -> str:
    fitting = int(size * math.sqrt(usable / needed) * 0.95) // 16 * 16
    lower = MEMORY_LEVELS[MEMORY_LEVELS.index(level) + 1 :]
    ways = [f"memory={level!r}" for level in lower]
    if fitting >= 32:
        ways.append(f"`size` {fitting}")
    ways = [*ways, "other programs closed"]
    return (
        f"`size` {config.size} needs {as_text(needed)} with memory={level!r}, and "
        f"{as_text(usable)} can be used; what would help: {', '.join(ways)}. "
        "JAXNST_MEMORY_LIMIT=100G paints regardless."
    )


@contextlib.contextmanager
def clear_memory_errors(config: TransferConfig, size: int) -> Iterator[None]:
    """Turn what XLA says when memory runs out into `OutOfMemory`.

    Args:
        config: the settings.
        size: longest side of the result, in pixels.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        text = str(error)
        is_memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text
        if isinstance(error, OutOfMemory) or not is_memory:
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
