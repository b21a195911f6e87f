"""Peak memory of a step, at every level, against torch's and against the forecast.

pip install -e . && pip install torch==2.13.0
python benchmarks/memory.py [--sizes 512 1024] [--low 2048] [--tile-size 512]
    [--repeats 5] [--torch-python PYTHON] [--json FILE]

Every figure is the peak resident size of a new process that makes two steps: medians of
`--repeats`, torch and the levels by turns, and the median of the rounds' ratios. Peaks
hardly vary (the JSON has all), so at sizes where a process takes minutes `--repeats 3`
says as much. Step seconds are those of each process's second step.

Programs are compiled before, by the process that makes the forecast, into a folder of
compiled programs of this run's own: a peak holds nothing of compiling, whatever
JAXNST_CACHE says.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

from _common import (
    make_parser,
    median_ratio,
    run_fresh,
    run_main,
    run_torch_step,
    size_of,
    write_json,
)


LEVELS = ("fast", "balanced", "low")

JAXNST = """
import json, time
import numpy as np
import jaxnst
from _common import peak_memory
size, memory, tile_size = int(sys.argv[1]), sys.argv[2], int(sys.argv[4])
generator = np.random.default_rng(0)
content, style = (generator.random((size, size, 3), np.float32) for _ in range(2))
settings = dict(size=size, min_size=0, num_steps=2, steps_per_call=1, memory=memory)
settings |= dict(tile_size=tile_size)
if sys.argv[3] == "forecast":
    found = jaxnst.estimate(content, style, **settings)
    print(json.dumps([found.memory, found.sizes[-1].step_seconds]))
else:
    times = []
    def callback(view):
        view.loss
        times.append(time.perf_counter())
    try:
        jaxnst.stylize(content, style, progress=False, callback=callback, **settings)
    except jaxnst.OutOfMemory as error:
        sys.exit(str(error))
    print(json.dumps([peak_memory(), times[1] - times[0]]))
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, repeats=5, needs_torch=True)
    add = parser.add_argument
    add("--sizes", type=size_of, nargs="*", default=[512, 1024], metavar="PX")
    add(
        "--low",
        type=size_of,
        nargs="*",
        default=[2048],
        metavar="PX",
        help="sizes at which only low and tiles are measured",
    )
    add("--tile-size", type=size_of, default=512, metavar="PX", help="of level tiles")
    return parser.parse_args(argv)


def measure(
    size: int,
    levels: Sequence[str],
    repeats: int,
    torch_python: str | None,
    tile_size: int,
) -> list[dict[str, Any]]:
    """Return the rows of one size, torch's first; what fails has an "error".

    Args:
        size: in pixels.
        levels: of memory.
        repeats: how many rounds.
        torch_python: where torch is installed; None: without it.
        tile_size: in pixels.
    """
    rows: dict[str, dict[str, Any]] = {}
    who = ["torch"] * (torch_python is not None) + list(levels)
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"JAXNST_CACHE_DIR": folder, "JAXNST_CACHE": "1"}

        def run(level: str, what: str) -> Any:
            arguments = size, level, what, tile_size
            return run_fresh(JAXNST, *arguments, environment=environment)

        for name in who:
            rows[name] = {"size": size, "level": name, "peaks": [], "steps": []}
        for repeat in range(repeats):
            for name, row in rows.items():
                if "error" in row:
                    continue
                try:
                    if name == "torch":
                        found = run_torch_step(str(torch_python), size, 0)
                        row["version"] = found["version"]
                        row["peaks"].append(found["peak"])
                        continue
                    if repeat == 0:
                        row["forecast"], row["step_forecast"] = run(name, "forecast")
                    peak, seconds = run(name, "paint")
                except RuntimeError as error:
                    row["error"] = str(error)
                else:
                    row["peaks"].append(peak)
                    row["steps"].append(seconds)
    for row in rows.values():
        summarize(row, rows.get("torch"))
    return list(rows.values())


def summarize(row: dict[str, Any], theirs: dict[str, Any] | None) -> None:
    """Add medians, and the ratio to torch's row, if that is complete."""
    if "error" in row:
        return
    row["peak"] = statistics.median(row["peaks"])
    if row["steps"]:
        row["step"] = statistics.median(row["steps"])
    if theirs is not None and theirs is not row and "error" not in theirs:
        row["over_torch"] = median_ratio(row["peaks"], theirs["peaks"])


def line_of(row: dict[str, Any]) -> str:
    """Return a row as a line of the table."""
    head = f"{row['size']:6}  {row['level']:9}"
    if "error" in row:
        return f"{head} {row['error']}"
    head += f"{row['peak'] / 1e9:9.2f}"
    if row["level"] == "torch":
        return head
    ratio = f"{row['over_torch']:.2f}" if "over_torch" in row else "-"
    forecast = row["forecast"]
    return (
        f"{head} {forecast / 1e9:13.2f} {forecast / row['peak'] - 1:+6.0%} "
        f"{ratio:>11} {row['step']:10.2f} {row['step_forecast']:11.2f} "
        f"{row['step_forecast'] / row['step'] - 1:+6.0%}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    tasks = [(size, LEVELS, args.torch_python) for size in args.sizes]
    tasks += [(size, ("low", "tiles"), None) for size in args.low]
    rows: list[dict[str, Any]] = []
    print(
        "  size  level     peak, GB  forecast, GB   off  over torch    step, s "
        "forecast, s   off"
    )
    for size, levels, torch_python in tasks:
        found = measure(size, levels, args.repeats, torch_python, args.tile_size)
        rows += found
        print("\n".join(map(line_of, found)), flush=True)
        torch = next((row["version"] for row in rows if "version" in row), None)
        # Asking JAX for its device makes this process larger, not those it starts.
        write_json(args.json, rows, torch=torch)


if __name__ == "__main__":
    run_main(main)
