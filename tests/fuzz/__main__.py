"""`python -m tests.fuzz`: fuzz for some minutes, or repeat one input."""

import argparse
import sys
from pathlib import Path

from .cases import KINDS
from .runner import fuzz, repeat


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=60.0, metavar="M", help="how long (60)")
    add("--inputs", type=int, metavar="N", help="end after so many of each kind")
    add("--seed", type=int, default=0, metavar="N", help="number of the first (0)")
    add("--kind", action="append", choices=[*KINDS], help="only this kind; repeatable")
    add("--case", type=int, metavar="N", help="repeat this one of --kind, and show it")
    add(
        "--found",
        type=Path,
        default=Path("fuzz_found"),
        metavar="FOLDER",
        help="where failing inputs are kept (fuzz_found)",
    )
    args = parser.parse_args()
    if args.case is not None:
        if len(args.kind or ()) != 1:
            parser.error("--case needs one --kind")
        return repeat(args.kind[0], args.case)
    report = fuzz(
        args.kind or [*KINDS],
        seconds=60 * args.minutes,
        inputs=args.inputs,
        seed=args.seed,
        found=args.found,
        say=print,
    )
    print(report.table())
    for line in report.lines():
        print(line)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
