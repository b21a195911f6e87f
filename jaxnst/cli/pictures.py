"""`jaxnst finish`, `compare`, `explain` and `show`: pictures that are there already."""

import argparse
import json
from pathlib import Path
from typing import Any

from jaxnst.config import FILTERS, parse_number

from .options import add_file_options, as_argument, one_or_all, say


_FINISH_EXAMPLES = """\
examples:
  jaxnst finish out.png -o crisp.png --denoise 0.2 --sharpen 0.5
      filters are applied in the order in which they are given

  jaxnst finish out.png -o comic.png --levels --halftone
      without an amount, as much as is usual

The same filters finish a painting: jaxnst stylize ... --finish sharpen:0.5,grain
"""
_EXPLAIN_EXAMPLES = """\
examples:
  jaxnst explain out.png --content photo.jpg --style painting.jpg
      a report, out.why.html, for any browser; it needs nothing beside it

  jaxnst explain out.png --content photo.jpg --style painting.jpg --sheets figures/
      its figures as PNG files, too
"""


class _Append(argparse.Action):
    """Note a filter and its amount, in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        del option_string
        if self.dest in namespace.filters:
            parser.error(f"--{self.dest} is given twice")
        namespace.filters = namespace.filters | {self.dest: values}


def add_finish(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `finish`.

    Args:
        commands: argparse's subparsers.
        common: parser of the options that all commands have.
    """
    parser = commands.add_parser(
        "finish",
        parents=[common],
        help="put filters over a picture: sharpen, grain, halftone, ...",
        usage="jaxnst finish PICTURE -o FILE --FILTER [AMOUNT] ...",
        description="Put filters over any picture; size and transparency stay.",
        epilog=_FINISH_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(filters={})
    add = parser.add_argument
    add("picture", metavar="PICTURE", help="a picture file")
    add("-o", "--output", required=True, metavar="FILE", help="picture to write")
    add("-q", "--quiet", action="store_true", help="print nothing")
    group = parser.add_argument_group("filters")
    for name, known in FILTERS.items():
        group.add_argument(
            f"--{name}",
            nargs="?",
            type=as_argument(parse_number),
            action=_Append,
            metavar="A",
            default=argparse.SUPPRESS,
            help=f"{known.help} ({known.least:g} to {known.most:g})",
        )
    add_file_options(parser)


def run_finish(args: argparse.Namespace) -> int:
    """Run `jaxnst finish ...` and return its exit code.

    Args:
        args: the parsed command line.

    Raises:
        ValueError: if no filter was given.
    """
    from jaxnst.finishing import check_filters, finish_picture
    from jaxnst.images import check_output, load_picture, read_record, save_picture

    filters = check_filters("finish", args.filters)
    if not filters:
        raise ValueError("no filter was given; see `jaxnst finish --help`")
    output = check_output(args.output, bits=args.bits, quality=args.quality)
    picture = load_picture(args.picture, argument="picture")
    try:
        record = read_record(args.picture)
        # The painting's settings stay; `--like` then paints it without the filters.
        record = record | {"finish": {**record.get("finish", {}), **filters}}
    except ValueError:
        record = {"finish": filters}
    image = finish_picture(picture.rgb, filters)
    form = {"bits": args.bits, "quality": args.quality}
    save_picture(output, image, picture.alpha, record=record, **form)
    if not args.quiet:
        height, width = image.shape[:2]
        say(f"{output}  ({width} x {height})")
    return 0


def add_compare(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `compare`.

    Args:
        commands: argparse's subparsers.
        common: parser of the options that all commands have.
    """
    parser = commands.add_parser(
        "compare",
        parents=[common],
        help="measure how good pictures are, whoever painted them",
        usage="jaxnst compare PICTURE... --content FILE --style FILE [--json FILE]",
        description="Measure pictures of one content in one style, with a network that "
        "none was painted with (AlexNet).",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("pictures", nargs="+", metavar="PICTURE", help="with the content's proportions")
    add("--content", required=True, metavar="FILE", help="the content picture")
    add("--style", required=True, metavar="FILE", help="the style picture")
    add("--json", metavar="FILE", help="write the numbers there, too")


def run_compare(args: argparse.Namespace) -> int:
    """Run `jaxnst compare ...` and return its exit code.

    Args:
        args: the parsed command line.

    Raises:
        ValueError: if a picture cannot be measured.
    """
    output = None if args.json is None else _check_output(Path(args.json))

    from jaxnst.images import load_picture, resize
    from jaxnst.images.files import atomic_write
    from jaxnst.metrics import format_table, measure
    from jaxnst.metrics.evaluation import LEGEND
    from jaxnst.pretrained import load_lpips_network

    content = load_picture(args.content, argument="content").rgb
    style = load_picture(args.style, argument="style").rgb
    # Load all of them before any is measured, so that a misspelled name shows at once.
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
    # At the size of the first picture, so that their fine detail is comparable.
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
        with atomic_write(output) as beside:
            beside.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def add_explain(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `explain`.

    Args:
        commands: argparse's subparsers.
        common: parser of the options that all commands have.
    """
    parser = commands.add_parser(
        "explain",
        parents=[common],
        help="report why a picture looks as it does, and what to change",
        usage="jaxnst explain PICTURE --content FILE --style FILE [FILE ...] [options]",
        description="Report why PICTURE, which jaxnst painted, looks as it does: which "
        "layer did what, where it changed, where strokes come from, and which settings "
        "to change.",
        epilog=_EXPLAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("picture", metavar="PICTURE", help="a picture saved by jaxnst")
    add("--content", required=True, metavar="FILE", help="its content picture")
    add(
        "--style",
        required=True,
        nargs="+",
        metavar="FILE",
        help="its style picture, or several",
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
        help="the masks it was painted with, in their order; or rest, or alpha",
    )
    add("--strength", metavar="FILE", help="the map of strengths it was painted with")
    add("--init", metavar="FILE", help="the picture it started from")
    add("--network", metavar="FILE", help="the file of weights it was painted with")
    add("-q", "--quiet", action="store_true", help="print nothing")


def run_explain(args: argparse.Namespace) -> int:
    """Run `jaxnst explain ...` and return its exit code.

    Args:
        args: the parsed command line.

    Raises:
        ValueError: if the output's name is not usable.
    """
    output = Path(args.output or Path(args.picture).with_suffix(".why.html"))
    if output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"the report is a .html file, got {output.name!r}")
    _check_output(output)
    if args.sheets is not None and Path(args.sheets).is_file():
        raise ValueError(f"--sheets {args.sheets} is a file; give a folder")

    from jaxnst.insight import explain

    found = explain(
        args.picture,
        args.content,
        one_or_all(args.style),
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


def add_show(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `show`.

    Args:
        commands: argparse's subparsers.
        common: parser of the options that all commands have.
    """
    parser = commands.add_parser(
        "show",
        parents=[common],
        help="print how a picture was made",
        description="Print the record that jaxnst keeps inside the pictures it saves.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="a picture saved by jaxnst")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_show(args: argparse.Namespace) -> int:
    """Run `jaxnst show ...` and return its exit code.

    Args:
        args: the parsed command line.
    """
    from jaxnst.images.metadata import read_record

    record = read_record(args.file)
    if args.json:
        print(json.dumps(record, indent=2))
        return 0
    for name, value in record.items():
        if name == "trace" and isinstance(value, dict):
            count = len(value.get("step", ()))
            print(f"{_plain(name):10} of {count} steps, in --json")
            continue
        if not isinstance(value, dict):
            print(f"{_plain(name):10} {_plain(value)}")
            continue
        print(_plain(name))
        for key, entry in value.items():
            print(f"  {_plain(key):18} {_plain(entry)}")
    return 0


def _plain(value: object) -> str:
    if isinstance(value, str):
        # A picture from somebody else must not control the terminal.
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_output(path: Path) -> Path:
    if path.is_dir():
        raise IsADirectoryError(f"output {path} is a folder; give a file name")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"output {path}: no such folder: {path.parent}; make it first"
        )
    return path
