"""What each control costs per step, over a step without it.

pip install -e .
python benchmarks/controls.py [--size 384] [--repeats 5] [--steps 5] [--json FILE]

All take turns in every round. A step's seconds are those of `record["seconds"]["run"]`,
without compiling, of steps at one size.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from _common import (
    PAIRS,
    count_of,
    make_parser,
    run_main,
    say_if_busy,
    size_of,
    write_json,
)

import jaxnst
from jaxnst.images import load_picture
from jaxnst.losses.registry import STYLE_LOSSES


def controls(shape: tuple[int, int]) -> Mapping[str, Mapping[str, Any]]:
    """Return {what is measured: settings}; masks have the shape of the photograph."""
    left = np.zeros(shape, np.float32)
    left[:, : shape[1] // 2] = 1
    ramp = np.tile(np.linspace(0, 0.9, shape[1], dtype=np.float32), (shape[0], 1))
    losses = {f"style_loss={name}": {"style_loss": name} for name in STYLE_LOSSES}
    return {
        "plain": {},
        "strength=0.8": {"strength": 0.8},
        "two masks": {"masks": [left, "rest"]},
        "a map of strengths": {"strength": ramp},
        "style_blend of two": {"style_blend": [1, 1]},
        "color=content": {"color": "content"},
        "detail=1": {"detail": 1},
        "tile=True": {"tile": True},
        **losses,
    }


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, pairs=PAIRS[:1], repeats=5)
    add = parser.add_argument
    add("--size", type=size_of, default=384, help="(%(default)s)")
    add("--steps", type=count_of, default=5, help="in a round (%(default)s)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    load = say_if_busy()
    ((content, style),) = args.pairs
    height, width = load_picture(content).rgb.shape[:2]
    cases = controls((height, width))
    few = {"size": args.size, "min_size": 0, "progress": False, "num_steps": args.steps}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(args.repeats + 1):
        for name, settings in cases.items():
            several = {"masks", "style_blend"} & set(settings)
            styles = [style, style] if several else style
            result = jaxnst.stylize(content, styles, **few, **settings)
            made = result.record["result"]
            trimming = made.get("strength", {}).get("trimming_steps", 0)
            if turn:  # the first one compiles
                run = result.record["seconds"]["run"]
                seconds[name].append(run / (made["steps"] + trimming))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{'':32} step, s   over plain")
    for name, median in medians.items():
        print(f"{name:32} {median:7.3f} {median / medians['plain']:8.2f}")
    rows = [{"control": name, "seconds": values} for name, values in seconds.items()]
    write_json(args.json, rows, size=args.size, load=load)


if __name__ == "__main__":
    run_main(main)
