"""`jaxnst sweep`: a picture for each combination of settings, in a folder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .settings import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    add_command,
    add_file_options,
    add_settings,
    given_settings,
    say,
    say_error,
)


if TYPE_CHECKING:
    from jaxnst.sweeps.axes import Row
    from jaxnst.sweeps.results import SweepResult


_DESCRIPTION = """\
Paint a picture for each combination of settings: any option below may have
several values, as in --style-weight 0.3,1,3 or --seed 0..3. FOLDER gets the
pictures, a labelled contact sheet (sheet.png), a page (index.html) and all
figures (manifest.json, manifest.csv), filled while they are painted. The same
command again paints only what is missing.
"""

_EXAMPLES = """\
examples:
  jaxnst sweep photo.jpg painting.jpg --style-weight 0.3,1,3,10 -o grid/
      what the style weight does

  jaxnst sweep photo.jpg painting.jpg --style-weight 0.3,1,3 --init noise \\
      --seed 0..3 -o grid/
      twelve pictures, a row for each weight

  jaxnst sweep photo.jpg one.jpg other.jpg -o grid/
      several paintings; a folder stands for all pictures in it

  jaxnst sweep photo.jpg one.jpg other.jpg --style-blend "1,0; 1,1; 0,1" -o grid/
      from one to the other (layers and blends are separated by semicolons)

  jaxnst sweep photo.jpg painting.jpg --style-weight 1,3 --num-steps 50,150 \\
      --mode zip -o grid/
      two pictures: the first values together, then the second ones

exit code: 0 all is there, 1 some failed, 2 nothing was begun, 130 interrupted
"""


def add_sweep(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `sweep`.

    Args:
        commands: of argparse, to which it is added.
        common: the options that all commands have.
    """
    parser = add_command(
        commands,
        "sweep",
        shown=("output", "mode", "style_weight", "seed"),
        parents=[common],
        help="paint a picture for each combination of settings",
        usage="jaxnst sweep CONTENT STYLE [STYLE ...] -o FOLDER [options]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add = parser.add_argument
    add("content", metavar="CONTENT", help="what is to be seen: a picture, or a folder")
    add(
        "style",
        nargs="+",
        metavar="STYLE",
        help="how it is to be painted: pictures or folders; each in turn, or blended "
        "where there is --style-blend or --mask",
    )
    add(
        "-o",
        "--output",
        required=True,
        metavar="FOLDER",
        help="where the pictures go; made if it is not there",
    )
    add(
        "--more-contents",
        nargs="+",
        default=[],
        metavar="CONTENT",
        help="others that are to be seen, each in turn",
    )
    add(
        "--mode",
        default="product",
        metavar="NAME",
        help="product: every value with every other (default); zip: first with first",
    )
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help="pictures at once (as memory allows; on one CPU one)",
    )
    add(
        "--extension",
        default=".png",
        metavar="EXT",
        help="of the pictures: .png .jpg .webp .tif (default: %(default)s)",
    )
    add(
        "--metrics",
        action="store_true",
        help="measure every picture, with AlexNet; the page shows what is gained",
    )
    add("-q", "--quiet", action="store_true", help="print nothing but errors")
    add_settings(parser, are_swept=True)
    add_file_options(parser)


def sweep(args: argparse.Namespace) -> int:
    """Run `jaxnst sweep ...` and return its exit code."""
    settings = given_settings(args)
    contents = _pictures([args.content, *args.more_contents], "content")
    styles = _pictures(args.style, "style")
    extension = args.extension if args.extension[:1] == "." else f".{args.extension}"

    from jaxnst.sweeps.driver import SweepInterrupted, sweep

    num_new = 0

    def tell(row: "Row") -> None:
        nonlocal num_new
        num_new += row.error is None
        _tell_row(row, Path(args.output), is_quiet=args.quiet)

    try:
        result = sweep(
            contents if len(contents) > 1 else contents[0],
            styles if len(styles) > 1 else styles[0],
            mode=args.mode,
            output=args.output,
            extension=extension,
            bits=args.bits,
            quality=args.quality,
            batch_size=args.batch_size,
            metrics=args.metrics,
            callback=tell,
            progress=not args.quiet,
            **settings,
        )
    except SweepInterrupted as interrupted:
        summary = _summary(interrupted.result, num_new)
        say_error(f"interrupted; {summary}; the same command again goes on from here")
        return EXIT_INTERRUPTED
    summary = _summary(result, num_new)
    if result.errors:
        say_error(f"error: {summary}")
        return EXIT_FAILED
    if not args.quiet:
        say(f"{summary}: {Path(args.output) / 'index.html'}")
    return 0


def _pictures(names: list[str], argument: str) -> list[str]:
    """Return files, and for folders the pictures in them, in the order of names."""
    found: list[str] = []
    for name in names:
        folder = Path(name)
        if not folder.is_dir():
            found.append(name)
            continue
        from jaxnst.images.load import EXTENSIONS

        inside = sorted(
            str(path)
            for path in folder.iterdir()
            if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
        )
        if not inside:
            raise ValueError(f"`{argument}`: no pictures in folder {name}")
        found += inside
    return found


def _tell_row(row: "Row", folder: Path, *, is_quiet: bool) -> None:
    if row.error is not None:
        say_error(f"error: {row.title}: {row.error}")
        return
    if row.stopped not in (None, "out of time"):
        say_error(f"warning: {row.title}: stopped early ({row.stopped})")
    if not is_quiet:
        say(
            f"{folder / str(row.file)}  ({row.width} x {row.height}, {row.steps} "
            f"steps, {row.seconds:.0f} s)"
        )


def _summary(result: "SweepResult", num_new: int) -> str:
    num_there = sum(row.error is None for row in result.rows) - num_new
    text = f"{num_new} of {len(result)} painted"
    if num_there:
        text += f", {num_there} already there"
    if result.errors:
        text += f", {len(result.errors)} failed"
    return text
