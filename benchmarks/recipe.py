"""Which settings paint best: candidates over many pairs, measured and shown.

pip install -e .
python benchmarks/recipe.py [CANDIDATE ...] [--pairs CONTENT,STYLE ...] [--size 256]
    [-o FOLDER] [--json FILE]

A candidate is `NAME` or `NAME:SETTING=VALUE,SETTING=VALUE`; its settings are those of
`jaxnst.stylize`, everything else is the preset's. `parameters=laplacian` and
`parameters=colors` paint with Adam in other coordinates than pixels (see `make_adam`
below), `b1`, `b2` and `eps` with other constants of Adam, and `file_size=300` with the
painting reduced to 300 px, measured against the whole. Candidates take turns, pair
by pair; seconds include compiling where a program is new. Pictures are measured with
AlexNet, which painted none of them, and laid into one sheet, a row for each candidate:
metrics choose what to look at, eyes choose. Pictures that the folder has already are
not painted again; one name has one set of settings there.
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from _common import (
    MORE_PAIRS,
    PAIRS,
    candidate_of,
    make_parser,
    name_of,
    run_main,
    size_of,
    write_json,
    write_text,
)

import jaxnst
from jaxnst.config import TransferConfig
from jaxnst.images import resize_picture
from jaxnst.images.contact_sheet import draw_pictures
from jaxnst.metrics import Metrics, format_table, measure
from jaxnst.optimize.optimizers import scaled_adam
from jaxnst.pretrained import load_lpips_network


# The square root of the covariance of colors in ImageNet, as the feature visualizations
# of Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017 use it.
COLORS = np.array(
    [[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float32
)
LEVELS = 5
CONSTANTS = ("b1", "b2", "eps")


def in_coordinates(to_fn: Any, from_fn: Any, inner: Any) -> Any:
    """Return `inner` working on other coordinates of the picture.

    Args:
        to_fn: gradient with respect to pixels to that with respect to coordinates.
        from_fn: coordinates to pixels, linear.
        inner: an optax transformation.
    """

    def init(params: Any) -> Any:
        return inner.init(to_fn(params))

    def update(updates: Any, state: Any, params: Any = None, **_: Any) -> Any:
        del params
        change, state = inner.update(to_fn(updates), state)
        return from_fn(change), state

    return optax.GradientTransformationExtraArgs(init, update)


def from_laplacian(levels: list[jax.Array]) -> jax.Array:
    """Return the picture of a Laplacian pyramid, finest level first."""
    image = levels[-1]
    for level in reversed(levels[:-1]):
        image = level + jax.image.resize(image, level.shape, "linear")
    return image


def to_laplacian(gradient: jax.Array) -> list[jax.Array]:
    """Return the gradient with respect to the levels: the adjoint of the above."""
    shapes = [gradient.shape]
    while len(shapes) < LEVELS and min(shapes[-1][:2]) >= 16:
        height, width, channels = shapes[-1]
        shapes.append(((height + 1) // 2, (width + 1) // 2, channels))
    zeros = [jax.ShapeDtypeStruct(shape, gradient.dtype) for shape in shapes]
    transpose = jax.linear_transpose(from_laplacian, zeros)
    (levels,) = transpose(gradient)
    return levels


@functools.cache
def make_adam(name: str | None, **constants: float) -> Any:
    """Return Adam in coordinates called `name`, with some constants of its own."""
    adam = scaled_adam(**constants)
    if name is None:
        return adam
    if name == "laplacian":
        return in_coordinates(to_laplacian, from_laplacian, adam)
    if name == "colors":
        basis = COLORS / np.linalg.norm(COLORS, 2)
        return in_coordinates(lambda x: x @ basis, lambda x: x @ basis.T, adam)
    raise ValueError(f"parameters: laplacian or colors, got {name}")


def paint(
    content: Path, style: Any, size: int, settings: dict[str, Any]
) -> tuple[jaxnst.Result, float]:
    """Return the picture, and the seconds it took."""
    settings = dict(settings)
    if (file_size := settings.pop("file_size", None)) is not None:
        style = resize_picture(jaxnst.load_picture(style), file_size).rgb
    constants = {name: settings.pop(name) for name in CONSTANTS if name in settings}
    if constants or "parameters" in settings:
        name = settings.pop("parameters", None)
        settings["optimizer"] = make_adam(name, **constants)
        # What `jaxnst.config` gives Adam itself.
        default = TransferConfig()
        own = {"learning_rate": default.learning_rate, "decay": default.decay}
        settings = own | settings
    started = time.perf_counter()
    result = jaxnst.stylize(content, style, size=size, progress=False, **settings)
    return result, time.perf_counter() - started


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Keep what a folder's pictures are painted with, or see that it is the same."""
    if not path.exists():
        write_text(path, json.dumps(settings) + "\n")
    elif (old := json.loads(path.read_text())) != settings:
        raise ValueError(
            f"{path.parent} has pictures of other settings: {old}, now {settings}; "
            "give the candidate another name, or remove the folder"
        )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, pairs=[*PAIRS, *MORE_PAIRS])
    add = parser.add_argument
    default = [("default", {})]
    kind = {"type": candidate_of, "metavar": "CANDIDATE"}
    add("candidates", nargs="*", default=default, **kind)
    add("--size", type=size_of, default=256, help="longest side (%(default)s)")
    add("-o", "--output", type=Path, default=Path("build/recipe"), metavar="FOLDER")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    judge = load_lpips_network()
    table: dict[str, Metrics] = {}
    sheet: dict[str, list[Path]] = {}
    rows: list[dict[str, Any]] = []
    folders = {name: args.output / f"{args.size}" / name for name, _ in args.candidates}
    for name, settings in args.candidates:
        folders[name].mkdir(parents=True, exist_ok=True)
        check_settings(folders[name] / "settings.json", settings)
    for pair in args.pairs:
        for name, settings in args.candidates:
            picture = folders[name] / f"{name_of(pair)}.png"
            if not picture.exists():
                result, seconds = paint(pair[0], pair[1], args.size, settings)
                result.save(picture)
                done = {"seconds": seconds, "loss": float(result.history["total"][-1])}
                write_text(picture.with_suffix(".json"), json.dumps(done))
    for name, settings in args.candidates:
        for pair in args.pairs:
            content, style = pair
            picture = folders[name] / f"{name_of(pair)}.png"
            row: dict[str, Any] = {"candidate": name, "settings": settings}
            row |= json.loads(picture.with_suffix(".json").read_text())
            metrics = measure(picture, content, style, judge=judge)
            rows.append(row | {"pair": picture.stem} | metrics._asdict())
            sheet.setdefault(name, []).append(picture)
        own = [row for row in rows if row["candidate"] == name]
        mean = {
            field: statistics.fmean(row[field] for row in own)
            for field in (*Metrics._fields, "seconds", "loss")
        }
        seconds, loss = mean.pop("seconds"), mean.pop("loss")
        table[name] = Metrics(**mean)
        lines = format_table({name: table[name]}).splitlines()
        print(f"{lines[-1]}  {seconds:7.1f} s  loss {loss:.4f}", flush=True)
    print(f"\nmean of {len(args.pairs)} pairs at {args.size} px\n{format_table(table)}")
    titles = [picture.stem for picture in next(iter(sheet.values()))]
    found = draw_pictures(sheet, titles, longest=args.size)
    found.save(args.output / f"sheet_{args.size}.png")
    write_json(args.json, rows)


if __name__ == "__main__":
    run_main(main)
