"""How near to the strength that was asked for a picture ends, and how strong it looks.

pip install -e .
python benchmarks/strength.py [--sizes 192] [--strengths 0.2 0.4 0.6 0.8 0.9]
    [--networks vgg19] [--pairs CONTENT,STYLE ...] [--set NAME=VALUE ...] [-o FOLDER]
    [--json FILE]

What was reached is what the record says: 1 minus the style term of the picture itself.
"seen" is 1 minus the Wasserstein gap of AlexNet's features, which painted nothing:
equal strengths should look equally strong to it across pairs, sizes and networks. A
network is a name or a file of weights (`weights/make_vgg16.py` makes one). Pictures
that the folder has already are not painted again; one folder has one set of settings.
"""

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import (
    MORE_PAIRS,
    PAIRS,
    Pair,
    make_parser,
    name_of,
    run_main,
    setting_of,
    write_json,
)

import jaxnst
from jaxnst.images import read_record
from jaxnst.images.contact_sheet import draw_pictures
from jaxnst.metrics import measure
from jaxnst.pretrained import load_lpips_network


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, pairs=[*PAIRS, *MORE_PAIRS], sizes=[192])
    add = parser.add_argument
    strengths = [0.2, 0.4, 0.6, 0.8, 0.9]
    add("--strengths", type=float, nargs="+", default=strengths, metavar="S")
    add("--networks", nargs="+", default=["vgg19"], metavar="NETWORK")
    add("--set", dest="settings", type=setting_of, nargs="+", default=[], metavar="N=V")
    add("-o", "--output", type=Path, metavar="FOLDER", help="for pictures and sheet")
    return parser.parse_args(argv)


def paint(path: Path, pair: Pair, judge: Any, **settings: Any) -> dict[str, Any]:
    """Return what a picture reached, painting it if there is none."""
    if not path.exists():
        jaxnst.stylize(*pair, progress=False, **settings).save(path)
    made = read_record(path)["result"]["strength"]
    return {**made, "seen": 1 - measure(path, *pair, judge=judge).wasserstein_gap}


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows, pictures = compare(args, folder)
        titles = [f"{strength:g}" for strength in args.strengths]
        draw_pictures(pictures, titles, longest=192).save(folder / "sheet.png")
    for strength in args.strengths:
        seen = [row["seen"] for row in rows if row["asked"] == strength]
        print(
            f"{strength:5.2f} seen {statistics.mean(seen):.3f} on average, "
            f"{min(seen):.3f} to {max(seen):.3f}"
        )
    worst = max(abs(row["reached"] - row["asked"]) for row in rows)
    print(f"farthest off: {worst:.3f}")
    write_json(args.json, rows)


def compare(
    args: argparse.Namespace, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, list[Path]]]:
    """Return a row for each picture, and rows of pictures for the sheet."""
    judge = load_lpips_network()
    rows: list[dict[str, Any]] = []
    pictures: dict[str, list[Path]] = {}
    print(f"{'pair, size, network':56} asked reached   seen    ratio  trimming")
    for pair, size, network in itertools.product(args.pairs, args.sizes, args.networks):
        row = f"{name_of(pair)}_{size}_{Path(network).stem}"
        for strength in args.strengths:
            path = folder / f"{row}_{strength:g}.png"
            settings = dict(args.settings) | {"network": network, "size": size}
            made = paint(path, pair, judge, strength=strength, **settings)
            pictures.setdefault(row, []).append(path)
            own = {"pair": name_of(pair), "size": size, "network": Path(network).stem}
            rows.append(own | made)
            print(
                f"{row:56} {strength:5.2f} {made['reached']:7.3f} {made['seen']:6.3f} "
                f"{made['ratio']:8.3g} {made['trimming_steps']:9}",
                flush=True,
            )
    return rows, pictures


if __name__ == "__main__":
    run_main(main)
