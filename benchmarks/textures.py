"""How near textures are to their styles, and how much of them is in foreign colors.

pip install -e .
python benchmarks/textures.py [CANDIDATE ...] [--styles PICTURE ...] [--size 320]
    [-o FOLDER] [--json FILE]

A candidate is `NAME` or `NAME:SETTING=VALUE,SETTING=VALUE`; its settings are those of
`jaxnst.texture`. Gaps are 0 for the style and 1 for its pixels in random order, by
AlexNet, which painted nothing. A pixel is foreign if its color is further than 0.08 in
RGB from every color of the style: few are, but in specks that one sees at once. Seconds
include compiling where a program is new. `-o` keeps the pictures, two by two.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.spatial
from _common import (
    candidate_of,
    make_parser,
    path_of,
    run_main,
    size_of,
    write_json,
)

import jaxnst
from jaxnst._types import HostImage
from jaxnst.images import save_picture
from jaxnst.metrics import measure
from jaxnst.pretrained import load_lpips_network


STYLES = ("hokusai_great_wave", "van_gogh_auvers", "kandinsky_composition_viii")
FOREIGN = 0.08
# Steps of a channel by which colors of the style are told apart.
_LEVELS = 63
COLUMNS = ("gram", "wasserstein", "detail", "foreign, %", "seconds")


def foreign_part(image: HostImage, style: HostImage) -> float:
    """Return the part of a picture's pixels whose color the style does not have."""
    colors = np.unique(np.round(style.reshape(-1, 3) * _LEVELS), axis=0) / _LEVELS
    distance, _ = scipy.spatial.KDTree(colors).query(image.reshape(-1, 3))
    return float(np.mean(distance > FOREIGN))


def disordered(style: HostImage, size: int) -> HostImage:
    """Return pixels of the style in random order."""
    pixels = style.reshape(-1, 3)
    order = np.random.default_rng(0).integers(len(pixels), size=(size, size))
    return pixels[order]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add = parser.add_argument
    kind = {"type": candidate_of, "metavar": "CANDIDATE"}
    add("candidates", nargs="*", default=[("default", {})], **kind)
    styles = [*map(path_of, STYLES)]
    add("--styles", type=path_of, nargs="+", default=styles, metavar="PICTURE")
    add("--size", type=size_of, default=320, help="both sides (%(default)s)")
    add("-o", "--output", type=Path, metavar="FOLDER")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    judge = load_lpips_network()
    rows: list[dict[str, Any]] = []
    width = max(len(name) for name, _ in args.candidates)
    print(" " * width + "".join(f"{name:>13}" for name in COLUMNS))
    for name, settings in args.candidates:
        for path in args.styles:
            started = time.perf_counter()
            given = {"size": args.size, "progress": False} | settings
            image = jaxnst.texture(path, **given).image
            seconds = time.perf_counter() - started
            style = jaxnst.load_picture(path).rgb
            metrics = measure(image, disordered(style, len(image)), style, judge=judge)
            found = {
                "gram": metrics.gram_gap,
                "wasserstein": metrics.wasserstein_gap,
                "detail": metrics.style_detail,
                "foreign, %": 100 * foreign_part(image, style),
                "seconds": seconds,
            }
            rows.append({"candidate": name, "style": path.stem} | found)
            if args.output is not None:
                args.output.mkdir(parents=True, exist_ok=True)
                twice = np.tile(image, (2, 2, 1))
                save_picture(args.output / f"{path.stem}_{name}.png", twice)
        own = [row for row in rows if row["candidate"] == name]
        means = [statistics.fmean(row[column] for row in own) for column in COLUMNS]
        cells = "".join(f"{mean:13.3f}" for mean in means)
        print(f"{name:{width}}{cells}", flush=True)
    write_json(args.json, rows, size=args.size)


if __name__ == "__main__":
    run_main(main)
