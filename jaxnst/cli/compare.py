"""`jaxnst compare`: how good pictures are, whoever painted them."""

import argparse
import json
from pathlib import Path


def compare(args: argparse.Namespace) -> int:
    """Print the metrics of pictures of one content in one style."""
    output = None if args.json is None else _check_output(Path(args.json))

    from jaxnst.images import load_picture, resize
    from jaxnst.metrics import format_table, measure
    from jaxnst.metrics.evaluation import LEGEND
    from jaxnst.pretrained import load_lpips_network

    content = load_picture(args.content, argument="content").rgb
    style = load_picture(args.style, argument="style").rgb
    # All of them before any is measured: a misspelled name should be told at once.
    pictures = {
        name: load_picture(name, argument="picture").rgb for name in args.pictures
    }
    judge = load_lpips_network()
    rows = {}
    for name, picture in pictures.items():
        try:
            rows[name] = measure(picture, content, style, judge=judge)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    # As large as the first picture, or its fine detail would be another's.
    height, width = next(iter(pictures.values())).shape[:2]
    same = resize(content, (height, width))
    reference = measure(same, content, style, judge=judge)
    print(format_table(rows | {f"{args.content} (content)": reference}))
    print(f"\n{LEGEND}")
    if output is not None:
        found = {
            "content": args.content,
            "style": args.style,
            "reference": reference._asdict(),  # of the content picture itself
            "metrics": {name: metrics._asdict() for name, metrics in rows.items()},
        }
        _write(output, json.dumps(found, indent=2) + "\n")
    return 0


def _check_output(path: Path) -> Path:
    if path.is_dir():
        raise IsADirectoryError(f"output {path} is a folder; give a file name")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"output {path}: no such folder: {path.parent}; make it first"
        )
    return path


def _write(path: Path, text: str) -> None:
    from jaxnst.images.files import atomic_write

    with atomic_write(path) as beside:
        beside.write_text(text)
