"""How evenly a blend of two styles goes from one to the other.

pip install -e .
python benchmarks/blend.py [--size 256] [--photos PICTURE ...]
    [--styles ONE,OTHER ...] [--shares 0 0.25 0.5 0.75 1] [--set NAME=VALUE ...]
    [-o FOLDER] [--json FILE]

A picture's place between the two is d1 / (d1 + d2), where d1 is its distance from the
first and d2 that from the second: by Gram matrices and by distributions of AlexNet's
features, which painted none of it, and by colors. No picture quite reaches either, so
places are then counted from that of the first style alone, 0, to that of the second
alone, 1: a blend is even where its place is its share.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from _common import (
    make_parser,
    pair_of,
    path_of,
    run_main,
    setting_of,
    size_of,
    write_json,
)

import jaxnst
from jaxnst.images import load_picture, resize_picture
from jaxnst.images.contact_sheet import draw_pictures
from jaxnst.metrics import gram_gap, palette_gap, wasserstein_gap
from jaxnst.pretrained import load_lpips_network


MEASURES = ("gram", "wasserstein", "palette")
PHOTOS = ("chelsea_cat", "summer_palace")
STYLES = (
    "van_gogh_auvers,hokusai_great_wave",
    "kandinsky_composition_viii,van_gogh_auvers",
)


@jax.jit
def places(judge: Any, image: Any, first: Any, second: Any) -> dict[str, Any]:
    """Return where a picture is between two others, 0 to 1, by each measure."""
    seen = [judge.network(each) for each in (image, first, second)]
    picture, one, other = seen
    far = {
        "gram": (gram_gap(picture, other, one), gram_gap(picture, one, other)),
        "wasserstein": (
            wasserstein_gap(picture, other, one),
            wasserstein_gap(picture, one, other),
        ),
        "palette": (
            palette_gap(image, second, first),
            palette_gap(image, first, second),
        ),
    }
    return {name: a / (a + b) for name, (a, b) in far.items()}


def straighten(found: Sequence[float]) -> list[float]:
    """Return places counted from the first to the last."""
    start, end = found[0], found[-1]
    return [(place - start) / (end - start) for place in found]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--size", type=size_of, default=256, help="longest side (%(default)s)")
    photos = [path_of(name) for name in PHOTOS]
    add("--photos", type=path_of, nargs="+", default=photos, metavar="PICTURE")
    styles = [pair_of(names) for names in STYLES]
    add("--styles", type=pair_of, nargs="+", default=styles, metavar="ONE,OTHER")
    shares = [0, 0.25, 0.5, 0.75, 1]
    add("--shares", type=float, nargs="+", default=shares, metavar="S")
    add("--set", dest="settings", type=setting_of, nargs="+", default=[], metavar="N=V")
    add("-o", "--output", type=Path, metavar="FOLDER", help="for pictures and sheet")
    args = parser.parse_args(argv)
    if args.shares != sorted(args.shares) or args.shares[0] or args.shares[-1] != 1:
        parser.error("--shares must rise from 0 to 1")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    judge = load_lpips_network()
    settings = {"size": args.size, "progress": False} | dict(args.settings)
    titles = [f"{share:g}" for share in args.shares]
    sheet: dict[str, list[Path]] = {}
    rows: list[dict[str, Any]] = []
    print(f"{'':44} {'':12}" + "".join(f"{title:>7}" for title in titles))
    for photo in args.photos:
        for pair in args.styles:
            name = "+".join(path.stem for path in (photo, *pair))
            first, second = (
                jnp.asarray(resize_picture(load_picture(path), args.size).rgb)
                for path in pair
            )
            found: dict[str, list[float]] = {key: [] for key in MEASURES}
            for title, share in zip(titles, args.shares, strict=True):
                blend = [1 - share, share]
                result = jaxnst.stylize(photo, pair, style_blend=blend, **settings)
                place = places(judge, jnp.asarray(result.image), first, second)
                for key in MEASURES:
                    found[key].append(float(place[key]))
                if args.output is not None:
                    args.output.mkdir(parents=True, exist_ok=True)
                    path = args.output / f"{name}_{title}.png"
                    result.save(path)
                    sheet.setdefault(name, []).append(path)
            for key in MEASURES:
                even = straighten(found[key])
                print(f"{name:44} {key:12}" + "".join(f"{x:7.3f}" for x in even))
                rows.append(
                    {"name": name, "measure": key, "places": found[key], "even": even}
                )
    for key in MEASURES:
        own = [row["even"] for row in rows if row["measure"] == key]
        means = [statistics.fmean(column) for column in zip(*own, strict=True)]
        print(f"{'mean':44} {key:12}" + "".join(f"{x:7.3f}" for x in means), flush=True)
    if args.output is not None:
        draw_pictures(sheet, titles, longest=192).save(args.output / "sheet.png")
    write_json(args.json, rows, size=args.size, shares=args.shares)


if __name__ == "__main__":
    run_main(main)
