"""What an explanation costs, over what its picture cost; and whether its forecast held.

pip install -e .
python benchmarks/explain.py [--size 512] [--forecast-size 256] [--json FILE]

Each pair is painted and explained as a user would the second time: programs come from
the cache. The forecast ("twice as many steps would lower the loss by ...") is held
against a painting with twice as many steps.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import PAIRS, make_parser, run_main, say_if_busy, size_of, write_json

import jaxnst
from jaxnst.insight.advice import judge_convergence


STEPS = (25, 50, 100)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, pairs=PAIRS)
    add = parser.add_argument
    add("--size", type=size_of, default=512, help="(%(default)s)")
    add("--forecast-size", type=size_of, default=256, help="(%(default)s)")
    add("--folder", type=Path, help="where to keep the reports")
    return parser.parse_args(argv)


def cost_of(pair: tuple[Path, Path], size: int, folder: Path) -> dict[str, Any]:
    """Paint and explain a pair twice; return the seconds of the second time."""
    name = f"{pair[0].stem} x {pair[1].stem}"
    row: dict[str, Any] = {"pair": name, "size": size}
    for is_timed in (False, True):
        started = time.perf_counter()
        result = jaxnst.stylize(*pair, size=size, progress=False)
        painted = time.perf_counter()
        found = jaxnst.explain(result, progress=False)
        report = found.save(folder / f"{pair[0].stem}_{pair[1].stem}.html")
        if is_timed:
            row["paint"] = painted - started
            row["explain"] = time.perf_counter() - painted
            row["ratio"] = row["explain"] / row["paint"]
            row["megabytes"] = report.stat().st_size / 1e6
            row["advice"] = list(found.advice)
    return row


def forecasts_of(pair: tuple[Path, Path], size: int) -> list[dict[str, Any]]:
    """Return what more steps were said to bring, and what they brought."""
    histories = {}
    for steps in (*STEPS, 2 * STEPS[-1]):
        result = jaxnst.stylize(*pair, size=size, num_steps=steps, progress=False)
        histories[steps] = result.history
    rows = []
    for steps in STEPS:
        found = judge_convergence(histories[steps])
        assert found is not None
        later = float(histories[2 * steps]["total"][-1])
        row = {"pair": f"{pair[0].stem} x {pair[1].stem}", "steps": steps}
        rows.append(row | {"told": found.gain, "gained": 1 - later / found.last})
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    load = say_if_busy()
    folder = args.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    rows = []
    print(f"{'pair':52} paint, s  explain, s  ratio    MB", flush=True)
    for pair in args.pairs:
        row = cost_of(pair, args.size, folder)
        rows.append(row)
        print(
            f"{row['pair']:52} {row['paint']:8.1f} {row['explain']:11.1f} "
            f"{row['ratio']:6.2f} {row['megabytes']:5.2f}",
            flush=True,
        )
    print(f"\n{'pair':52} steps   told  gained by twice as many", flush=True)
    forecasts = []
    for pair in args.pairs:
        for row in forecasts_of(pair, args.forecast_size):
            forecasts.append(row)
            print(
                f"{row['pair']:52} {row['steps']:5} {row['told']:6.1%} "
                f"{row['gained']:7.1%}",
                flush=True,
            )
    write_json(args.json, rows, forecasts=forecasts, load=load)


if __name__ == "__main__":
    run_main(main)
