"""`jaxnst finish`: filters for any picture."""

import argparse
from typing import Any

from jaxnst.parsing import parse_number

from .settings import add_file_options, say


# (filter, its range, what it does); checked against `jaxnst.finishing.FILTERS` by the
# tests, as that imports what help has no use for.
_HELP = (
    ("denoise", "0 to 1", "less noise, edges stay; needs 'jaxnst[finish]'"),
    ("sharpen", "0 to 3", "stronger fine contrasts"),
    ("contrast", "-1 to 1", "more contrast, or less"),
    ("levels", "0 to 1", "spread from black to white"),
    ("saturation", "-1 to 1", "stronger colors, or paler; -1: gray"),
    ("grain", "0 to 1", "as of film"),
    ("vignette", "0 to 1", "darker towards the corners"),
    ("halftone", "0 to 1", "printed dots of cyan, magenta, yellow and black"),
)
_EXAMPLES = """\
examples:
  jaxnst finish out.png -o crisp.png --denoise 0.2 --sharpen 0.5
      filters are applied in the order in which they are given

  jaxnst finish out.png -o comic.png --levels --halftone
      without an amount, as much as is usual

The same filters finish a painting: jaxnst stylize ... --finish sharpen:0.5,grain
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
        filters = dict(namespace.filters)
        if self.dest in filters:
            parser.error(f"--{self.dest} is given twice")
        namespace.filters = filters | {self.dest: values}


def add_finish(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `finish`.

    Args:
        commands: of argparse, to which it is added.
        common: the options that all commands have.
    """
    parser = commands.add_parser(
        "finish",
        parents=[common],
        help="put filters over a picture: sharpen, grain, halftone, ...",
        usage="jaxnst finish PICTURE -o FILE --FILTER [AMOUNT] ...",
        description="Put filters over any picture; size and transparency stay.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(filters={})
    add = parser.add_argument
    add("picture", metavar="PICTURE", help="a picture file")
    add("-o", "--output", required=True, metavar="FILE", help="where to")
    add("-q", "--quiet", action="store_true", help="print nothing")
    group = parser.add_argument_group("filters")
    for name, span, what in _HELP:
        group.add_argument(
            f"--{name}",
            nargs="?",
            type=_amount,
            action=_Append,
            metavar="A",
            default=argparse.SUPPRESS,
            help=f"{what} ({span})",
        )
    add_file_options(parser)


def finish(args: argparse.Namespace) -> int:
    """Run `jaxnst finish ...` and return its exit code."""
    from jaxnst.finishing import check_filters, finish_picture
    from jaxnst.images import check_output, load_picture, read_record, save_picture

    filters = check_filters("finish", args.filters)
    if not filters:
        raise ValueError("no filter was given; see `jaxnst finish --help`")
    output = check_output(args.output, bits=args.bits, quality=args.quality)
    picture = load_picture(args.picture, argument="picture")
    try:
        record = read_record(args.picture)
        # What it was painted with stays; `--like` paints it again as it was before.
        record = record | {"finish": {**record.get("finish", {}), **filters}}
    except ValueError:
        record = {"finish": filters}
    image = finish_picture(picture.rgb, filters)
    save_picture(
        output,
        image,
        picture.alpha,
        record=record,
        bits=args.bits,
        quality=args.quality,
    )
    if not args.quiet:
        height, width = image.shape[:2]
        say(f"{output}  ({width} x {height})")
    return 0


def _amount(text: str) -> float:
    try:
        return parse_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
