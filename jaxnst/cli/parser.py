"""What the command line accepts, and the help that teaches it."""

import argparse
import sys
from typing import Any, NoReturn

from .batch import add_batch
from .explain import add_explain
from .finish import add_finish
from .networks import add_networks
from .settings import add_command, add_file_options, add_settings
from .sweep import add_sweep
from .texture import add_texture


_EXAMPLES = """\
examples:
  jaxnst stylize photo.jpg painting.jpg -o out.png
      the photo, painted like the painting, 512 px on its longest side

  jaxnst stylize photo.jpg painting.jpg -o strong.png --style-weight 3
      more painting, less photo; 0.3 is the other way round

  jaxnst stylize photo.jpg painting.jpg -o fine.png --style-size 300
      finer strokes, from a smaller look at the painting

  jaxnst stylize photo.jpg one.jpg other.jpg -o both.png --style-blend 3,1
      three parts of one painting, one of the other

  jaxnst stylize other.jpg painting.jpg -o other.png --like out.png
      another photo with the settings stored in out.png

  jaxnst stylize photo.jpg painting.jpg -o quick.png --size 256
      a quick look first
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        print(f"jaxnst: error: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        """Look the version up only when it is asked for."""
        from jaxnst._version import __version__

        print(f"jaxnst {__version__}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="jaxnst",
        description="Paint one picture in the style of another.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _Parser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", help="show tracebacks of errors"
    )
    _add_stylize(commands, common)
    add_sweep(commands, common)
    add_batch(commands, common)
    add_texture(commands, common)
    add_finish(commands, common)
    add_explain(commands, common)
    _add_compare(commands, common)
    add_networks(commands, common)
    show = commands.add_parser(
        "show",
        parents=[common],
        help="print how a picture was made",
        description="Print the record that jaxnst keeps inside the pictures it saves.",
        allow_abbrev=False,
    )
    show.add_argument("file", metavar="FILE", help="a picture saved by jaxnst")
    show.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_compare(commands: Any, common: _Parser) -> None:
    compare = commands.add_parser(
        "compare",
        parents=[common],
        help="measure how good pictures are, whoever painted them",
        usage="jaxnst compare PICTURE... --content FILE --style FILE [--json FILE]",
        description="Measure pictures of one content in one style, with a network that "
        "none was painted with (AlexNet).",
        allow_abbrev=False,
    )
    add = compare.add_argument
    add("pictures", nargs="+", metavar="PICTURE", help="of the aspect of the content")
    add("--content", required=True, metavar="FILE", help="what they show")
    add("--style", required=True, metavar="FILE", help="how they are painted")
    add("--json", metavar="FILE", help="write the numbers there, too")


def _add_stylize(commands: Any, common: _Parser) -> None:
    stylize = add_command(
        commands,
        "stylize",
        shown=("output",),
        parents=[common],
        help="paint a picture in the style of another",
        usage="jaxnst stylize CONTENT STYLE [STYLE ...] [-o FILE] [options]",
        description="Paint CONTENT in the style of STYLE; several are blended.",
        epilog=_EXAMPLES,
    )
    add = stylize.add_argument
    add("content", metavar="CONTENT", help="what is to be seen: a picture file")
    add(
        "style",
        nargs="+",
        metavar="STYLE",
        help="how it is to be painted: a picture file, or several",
    )
    add(
        "-o",
        "--output",
        default="stylized.png",
        metavar="FILE",
        help="where to: .png .jpg .webp .tif (default: %(default)s)",
    )
    add_settings(stylize)
    add("-q", "--quiet", action="store_true", help="print nothing")
    add("--metrics", action="store_true", help="measure the result, with AlexNet")
    add(
        "--trace",
        metavar="FILE",
        help="write every loss of every step: .csv, or drawn: .png .svg .pdf",
    )
    add(
        "--estimate",
        action="store_true",
        help="say how much memory and time it would take, and paint nothing",
    )
    add_file_options(stylize)
