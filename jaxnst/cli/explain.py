"""`jaxnst explain`: why a picture looks as it does."""

import argparse
from pathlib import Path
from typing import Any

from .settings import say


_EXAMPLES = """\
examples:
  jaxnst explain out.png --content photo.jpg --style painting.jpg
      a report, out.why.html, for any browser; it needs nothing beside it

  jaxnst explain out.png --content photo.jpg --style painting.jpg --sheets figures/
      its figures as PNG files, too
"""


def add_explain(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `explain`.

    Args:
        commands: of argparse, to which it is added.
        common: the options that all commands have.
    """
    parser = commands.add_parser(
        "explain",
        parents=[common],
        help="report why a picture looks as it does, and what to turn",
        usage="jaxnst explain PICTURE --content FILE --style FILE [FILE ...] [options]",
        description="Report why PICTURE, which jaxnst painted, looks as it does: which "
        "layer did what, where it changed, where strokes come from, and what to turn.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("picture", metavar="PICTURE", help="a picture saved by jaxnst")
    add("--content", required=True, metavar="FILE", help="what it was painted from")
    add(
        "--style",
        required=True,
        nargs="+",
        metavar="FILE",
        help="how it was painted: a picture file, or several",
    )
    add(
        "-o",
        "--output",
        metavar="FILE",
        help="the report (default: PICTURE's name and place, .why.html)",
    )
    add("--sheets", metavar="FOLDER", help="write the figures there as PNG, too")
    add(
        "--no-ablations",
        action="store_true",
        help="do not paint the pair without each layer: quicker",
    )
    add(
        "--mask",
        dest="masks",
        action="append",
        metavar="FILE",
        help="that it was painted with, in their order; or rest, or alpha",
    )
    add("--strength", metavar="FILE", help="the map of strengths it was painted with")
    add("--init", metavar="FILE", help="the picture it started from")
    add("--network", metavar="FILE", help="the file of weights it was painted with")
    add("-q", "--quiet", action="store_true", help="print nothing")


def explain(args: argparse.Namespace) -> int:
    """Run `jaxnst explain ...` and return its exit code."""
    output = Path(args.output or Path(args.picture).with_suffix(".why.html"))
    if output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"the report is a .html file, got {output.name!r}")
    if output.is_dir():
        raise IsADirectoryError(f"output {output} is a folder; give a file name")
    if not output.parent.is_dir():
        raise FileNotFoundError(
            f"output {output}: no such folder: {output.parent}; make it first"
        )
    if args.sheets is not None and Path(args.sheets).is_file():
        raise ValueError(f"--sheets {args.sheets} is a file; give a folder")

    from jaxnst.insight import explain

    found = explain(
        args.picture,
        args.content,
        args.style if len(args.style) > 1 else args.style[0],
        masks=args.masks,
        strength=args.strength,
        init=args.init,
        network=args.network,
        ablations=not args.no_ablations,
        progress=not args.quiet,
    )
    found.save(output)
    sheets = [] if args.sheets is None else found.save_sheets(args.sheets)
    if not args.quiet:
        for sentence in found.advice:
            say(sentence)
        also = f", {len(sheets)} sheets in {args.sheets}" if sheets else ""
        say(f"{output}{also}  ({found.seconds:.0f} s)")
    return 0
