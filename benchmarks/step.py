"""One step of jaxnst against the same step in torch, in one run.

pip install -e . && pip install torch==2.13.0
python benchmarks/step.py [--sizes 256 512] [--rounds 5] [--repeats 5] [--json FILE]

The two take turns: a round is `--repeats` steps of each, and the ratio is the median of
the rounds' ratios of medians. A machine that others use too is now quick, now slow.
"""

import argparse
import statistics
from collections.abc import Sequence

from _common import (
    count_of,
    make_parser,
    median_ratio,
    run_main,
    run_torch_step,
    say_if_busy,
    write_json,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, sizes=[256, 512], repeats=5, needs_torch=True)
    parser.add_argument("--rounds", type=count_of, default=5, help="(%(default)s)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # Not for `--help`; and torch that is missing is told before anything is compiled.
    run_torch_step(args.torch_python, 32, 0)
    from _steps import Steps

    load = say_if_busy()
    rows = []
    print("   size   jaxnst, s    torch, s   jaxnst / torch    (least to most)")
    for size in args.sizes:
        steps = Steps(size, padding="zeros")
        ours, theirs, torch = [], [], None
        for _ in range(args.rounds):
            # Two to warm up in every round, as torch has in its new process.
            ours.append(statistics.median(steps.time(args.repeats, warm_up=2)))
            found = run_torch_step(args.torch_python, size, args.repeats)
            theirs.append(found["seconds"])
            torch = found["version"]
        ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
        row = {
            "size": size,
            "jaxnst": statistics.median(ours),
            "torch": statistics.median(theirs),
            "ratio": median_ratio(ours, theirs),
            "rounds": list(zip(ours, theirs, strict=True)),
        }
        rows.append(row)
        print(
            f"{size:7} {row['jaxnst']:11.3f} {row['torch']:11.3f} {row['ratio']:16.2f} "
            f"{ratios[0]:12.2f} {ratios[-1]:5.2f}",
            flush=True,
        )
        write_json(args.json, rows, torch=torch, load=load)


if __name__ == "__main__":
    run_main(main)
