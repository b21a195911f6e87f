"""How near to the strength that was asked for a picture ends, and what that costs.

pip install -e '.[bench]'
python benchmarks/strength.py [--size 192] [--strengths 0.2 0.4 0.6 0.8 0.9]
    [--pairs CONTENT,STYLE ...] [--set NAME=VALUE ...] [-o FOLDER] [--json FILE]

What was reached is what the record says: 1 minus the style term of the picture itself.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from _common import (
    MORE_PAIRS,
    PAIRS,
    make_parser,
    name_of,
    run_main,
    say_if_busy,
    setting_of,
    size_of,
    write_json,
)
from _sheet import write_sheet

import jaxnst


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, pairs=[*PAIRS, *MORE_PAIRS])
    add = parser.add_argument
    add("--size", type=size_of, default=192, help="(%(default)s)")
    strengths = [0.2, 0.4, 0.6, 0.8, 0.9]
    add("--strengths", type=float, nargs="+", default=strengths, metavar="S")
    add("--set", dest="settings", type=setting_of, nargs="+", default=[], metavar="N=V")
    add("-o", "--output", type=Path, metavar="FOLDER", help="for pictures and sheet")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    load = say_if_busy()
    settings = {"size": args.size, "progress": False} | dict(args.settings)
    rows = []
    print(f"{'pair':40} asked reached    ratio  trimming, steps  s")
    for pair in args.pairs:
        for strength in args.strengths:
            result = jaxnst.stylize(*pair, strength=strength, **settings)
            if args.output is not None:
                args.output.mkdir(parents=True, exist_ok=True)
                result.save(args.output / f"{name_of(pair)}_{strength:g}.png")
            made = dict(result.record["result"]["strength"])
            seconds = result.record["seconds"]["total"]
            rows.append({"pair": name_of(pair), **made, "seconds": seconds})
            print(
                f"{name_of(pair):40} {strength:5.2f} {made['reached']:7.3f} "
                f"{made['ratio']:8.3g} {made['trimming_steps']:16} {seconds:3.0f}",
                flush=True,
            )
    if args.output is not None:
        titles = [f"{strength:g}" for strength in args.strengths]
        pictures = {
            name_of(pair): [
                args.output / f"{name_of(pair)}_{title}.png" for title in titles
            ]
            for pair in args.pairs
        }
        write_sheet(args.output / "sheet.png", pictures, titles, side=192)
    worst = max(abs(row["reached"] - row["asked"]) for row in rows)
    print(f"farthest off: {worst:.3f}")
    write_json(args.json, rows, size=args.size, load=load)


if __name__ == "__main__":
    run_main(main)
