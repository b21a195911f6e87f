"""Whether pictures that are to repeat have a seam.

pip install -e .
python benchmarks/seams.py [--size 256] [--pairs CONTENT,STYLE ...]
    [--set NAME=VALUE ...] [-o FOLDER] [--json FILE]

Scores for each picture and way, across and down: "file" is that of the border of the
picture that is saved, `seam_score`; "junction" that of the line where the photograph's
borders were joined, which may lie some lines inside, and which shows whether the
painting hides it; "apart" that of the same pair without `tile`. Single lines differ,
"lines" is the standard deviation of those inside; so it is the mean of the junctions,
with its standard error, that says whether there is a seam. They lie where poolings
begin: "grid" is the mean of the lines inside that do, too, every sixteenth. Of the
texture of each style there is only a file.

The folder gets each picture, and `sheet.png` with each two by two.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from _common import (
    MORE_PAIRS,
    PAIRS,
    make_parser,
    name_of,
    run_main,
    setting_of,
    size_of,
    write_json,
)

import jaxnst
from jaxnst.images import save_picture
from jaxnst.images.contact_sheet import draw_pictures
from jaxnst.images.tiling import line_scores
from jaxnst.metrics import seam_scores


KINDS = ("file", "junction", "grid", "apart", "lines")
# All that poolings halve before the deepest layers.
_GRID = 16


def scores_of(image: Any, apart: Any, moved: Sequence[int]) -> list[dict[str, float]]:
    """Return the scores of one picture, down and across.

    Args:
        image: that repeats.
        apart: the same pair's that does not.
        moved: how many rows and columns the border was moved from the junction.
    """
    found = []
    for axis in (0, 1):
        lines = np.asarray(line_scores(jnp.asarray(image), axis))
        found.append(
            {
                "file": float(lines[0]),
                "junction": float(lines[moved[axis]]),
                "grid": float(np.roll(lines, -moved[axis])[_GRID::_GRID].mean()),
                "apart": float(line_scores(jnp.asarray(apart), axis)[0]),
                "lines": float(lines.std()),
            }
        )
    return found


def summary(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.fmean(values), spread / len(values) ** 0.5


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, pairs=(*PAIRS, *MORE_PAIRS))
    add = parser.add_argument
    add("--size", type=size_of, default=256, help="longest side (%(default)s)")
    add("--set", dest="settings", type=setting_of, nargs="+", default=[], metavar="N=V")
    add("-o", "--output", type=Path, metavar="FOLDER", help="for pictures and sheet")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    settings = {"size": args.size, "progress": False} | dict(args.settings)
    sheet: dict[str, list[Path]] = {}
    rows: list[dict[str, Any]] = []
    print(f"{'':44} {'':7}" + "".join(f"{kind:>10}" for kind in KINDS))
    for pair in args.pairs:
        tile = jaxnst.stylize(*pair, tile=True, **settings)
        apart = jaxnst.stylize(*pair, **settings)
        moved = tile.record["result"].get("moved", (0, 0))
        found = scores_of(tile.image, apart.image, moved)
        for way, scores in zip(("down", "across"), found, strict=True):
            print(
                f"{name_of(pair):44} {way:7}"
                + "".join(f"{scores[kind]:10.3f}" for kind in KINDS),
                flush=True,
            )
            rows.append({"name": name_of(pair), "way": way, "moved": moved, **scores})
        if args.output is not None:
            args.output.mkdir(parents=True, exist_ok=True)
            tile.save(args.output / f"{name_of(pair)}.png")
            for title, result in (("tile", tile), ("apart", apart)):
                path = args.output / f"{name_of(pair)}_{title}_2x2.png"
                save_picture(path, np.tile(result.image, (2, 2, 1)))
                sheet.setdefault(name_of(pair), []).append(path)
    for kind in KINDS[:4]:
        mean, error = summary([row[kind] for row in rows])
        print(f"{kind}: mean {mean:.3f}, standard error {error:.3f}")
    for style in dict.fromkeys(style for _, style in args.pairs):
        found = seam_scores(jaxnst.texture(style, **settings).image, "yx")
        scores = " ".join(f"{name} {score:.3f}" for name, score in found.items())
        print(f"texture of {style.stem}: {scores}", flush=True)
        rows.append({"name": f"texture of {style.stem}", **found})
    if args.output is not None:
        found = draw_pictures(sheet, ["tile", "no tile"], longest=384)
        found.save(args.output / "sheet.png")
    write_json(args.json, rows, size=args.size)


if __name__ == "__main__":
    run_main(main)
