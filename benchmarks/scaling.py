"""Seconds of a step against pixels, and of a painting against steps.

pip install -e .
python benchmarks/scaling.py [--sizes 256 512 1024 2048] [--memory balanced]
    [--steps 10 20 40] [--repeats 5] [--json FILE]

All sizes have one level of memory, so that they are one program but for the shape. They
take turns, in `--repeats` rounds, so that a machine now quick, now slow disturbs all
alike. Small sizes make more steps in a round than large ones; a round's figure is the
median of its steps, without the first, which finds the memory of another size. What is
shown are medians over the rounds: of the seconds, and of their ratio per pixel to the
first size of the same round. Off linear is that ratio less 1.

The paintings are whole calls of `jaxnst.stylize` at the first size alone, with all
programs compiled; they take turns, too.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from _common import (
    count_of,
    make_parser,
    median_ratio,
    run_main,
    say_if_busy,
    write_json,
)


LEVELS = ("fast", "balanced", "low")
# A round is as many steps as the largest size would make in one, up to so many.
_MOST_STEPS = 5


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, sizes=[256, 512, 1024, 2048], repeats=5)
    parser.add_argument("--memory", choices=LEVELS, default="balanced")
    parser.add_argument("--steps", type=count_of, nargs="*", default=[10, 20, 40])
    return parser.parse_args(argv)


def pictures(size: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    content, style = (generator.random((size, size, 3), np.float32) for _ in range(2))
    return content, style


def check_memory(size: int, level: str) -> None:
    """Leave with a line where the largest size would not fit."""
    import jaxnst
    from jaxnst.transfer.memory import as_text

    settings = {"size": size, "min_size": 0, "num_steps": 1, "memory": level}
    needed = jaxnst.estimate(*pictures(size), **settings)
    if needed.available is not None and needed.memory > needed.available:
        sys.exit(
            f"{size} px need {as_text(needed.memory)} with --memory {level}, and there "
            f"is {as_text(needed.available)}: give smaller --sizes or a lower --memory"
        )


def time_sizes(
    sizes: Sequence[int], repeats: int, memory: str, **settings: Any
) -> list[dict[str, Any]]:
    """Return a row for each size.

    Args:
        sizes: in pixels.
        repeats: number of rounds.
        memory: level of memory, as for `jaxnst.stylize`.
        settings: other settings of `_steps.Steps`.
    """
    from _steps import Steps

    steps = {size: Steps(size, memory=memory, **settings) for size in sizes}
    for each in steps.values():
        each.time(1)
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(repeats):
        for size in sizes:
            # The longer a step, the less a disturbance of a moment matters.
            several = min(_MOST_STEPS, max(1, round((max(sizes) / size) ** 2)))
            # In a painting a step follows one of its size, and finds its memory ready.
            timed = steps[size].time(1 + several)[1:]
            seconds[size].append(statistics.median(timed))
    return rows_of(seconds, memory)


def rows_of(seconds: dict[int, list[float]], memory: str) -> list[dict[str, Any]]:
    """Return a row for each size, from the seconds of a step in every round."""
    rows = []
    first = next(iter(seconds))
    for size, values in seconds.items():
        megapixels = size * size / 1e6
        ratio = median_ratio(values, seconds[first]) * (first / size) ** 2
        rows.append(
            {
                "size": size,
                "memory": memory,
                "step": statistics.median(values),
                "per_megapixel": statistics.median(values) / megapixels,
                "off_linear": ratio - 1,
                "all": values,
            }
        )
    return rows


def time_paintings(
    size: int, counts: Sequence[int], repeats: int, memory: str, **settings: Any
) -> list[dict[str, Any]]:
    """Return a row for each number of steps.

    Args:
        size: longest side, in pixels.
        counts: numbers of steps.
        repeats: number of rounds.
        memory: level of memory, as for `jaxnst.stylize`.
        settings: other settings of `jaxnst.stylize`.
    """
    import jaxnst

    def paint(num_steps: int) -> float:
        started = time.perf_counter()
        result = jaxnst.stylize(
            *pictures(size),
            size=size,
            min_size=0,
            num_steps=num_steps,
            memory=memory,
            tolerance=0.0,  # all steps are made
            progress=False,
            **settings,
        )
        seconds = time.perf_counter() - started
        if (made := result.record["result"]["steps"]) != num_steps:
            raise RuntimeError(f"{made} steps were made of {num_steps}")
        return seconds

    paint(1)  # programs and weights
    rounds = [[paint(num_steps) for num_steps in counts] for _ in range(repeats)]
    rows = []
    for num_steps, *values in zip(counts, *rounds, strict=True):
        median = statistics.median(values)
        row = {"size": size, "memory": memory, "steps": num_steps, "seconds": median}
        rows.append(row | {"per_step": median / num_steps, "all": values})
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    load = say_if_busy()
    check_memory(max(args.sizes), args.memory)
    rows = time_sizes(args.sizes, args.repeats, args.memory)
    print(
        f'  size    step, s   per megapixel, s   off linear   (memory="{args.memory}")'
    )
    for row in rows:
        print(
            f"{row['size']:6} {row['step']:10.3f} {row['per_megapixel']:18.2f} "
            f"{row['off_linear']:+12.0%}",
            flush=True,
        )
    most = max((row["off_linear"] for row in rows), key=abs)
    print(f"most off linear in pixels, over {args.sizes[0]} px: {most:+.0%}")
    write_json(args.json, rows, load=load, most_off_linear=most)
    if not args.steps:
        return
    paintings = time_paintings(args.sizes[0], args.steps, args.repeats, args.memory)
    print(f"\n steps   all, s   per step, s   (at {args.sizes[0]} px)")
    for row in paintings:
        print(f"{row['steps']:6} {row['seconds']:8.2f} {row['per_step']:13.3f}")
    write_json(args.json, rows + paintings, load=load, most_off_linear=most)


if __name__ == "__main__":
    run_main(main)
