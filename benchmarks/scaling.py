"""Seconds of a step against pixels, and of a painting against steps.

pip install -e '.[bench]'
python benchmarks/scaling.py [--sizes 256 512 1024 2048] [--repeats 5] [--json FILE]
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from _common import write_json

import jaxnst
from jaxnst.optimize import StepView


def step_seconds(size: int, num_steps: int) -> list[float]:
    """Return the seconds of every step after the first, at one size."""
    generator = np.random.default_rng(0)
    content, style = (generator.random((size, size, 3), np.float32) for _ in range(2))
    times: list[float] = []

    def callback(view: StepView) -> None:
        float(view.loss)  # waits for the device
        times.append(time.perf_counter())

    jaxnst.stylize(
        content,
        style,
        size=size,
        min_size=0,
        num_steps=num_steps,
        steps_per_call=1,
        progress=False,
        callback=callback,
    )
    return list(np.diff(times))


def main() -> None:
    parser = argparse.ArgumentParser(description="Time steps at several sizes.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print("  size    step, s   per megapixel, s   over the first size's")
    for size in args.sizes:
        seconds = statistics.median(step_seconds(size, args.repeats + 1))
        each = seconds / (size * size / 1e6)
        rows.append({"size": size, "step": seconds, "per_megapixel": each})
        ratio = each / rows[0]["per_megapixel"]
        print(f"{size:6} {seconds:10.3f} {each:14.2f} {ratio:18.2f}", flush=True)
    print(f"\n steps   all, s   per step, s   (at {args.sizes[0]} px)")
    for count in args.steps:
        total = sum(step_seconds(args.sizes[0], count + 1))
        rows.append({"size": args.sizes[0], "steps": count, "all": total})
        print(f"{count:6} {total:8.2f} {total / count:13.3f}", flush=True)
    write_json(args.json, rows)


if __name__ == "__main__":
    main()
