"""What the command line accepts, and the help that teaches it."""

import argparse
import sys
from typing import Any, NoReturn

from .cli_networks import add_networks


# The settings of `stylize` that have a flag of the same name.
SETTINGS = (
    "preset",
    "size",
    "style_size",
    "min_size",
    "content_layers",
    "style_layers",
    "content_weight",
    "style_weight",
    "tv_weight",
    "normalization",
    "num_steps",
    "coarse_steps",
    "optimizer",
    "learning_rate",
    "decay",
    "averaging",
    "tolerance",
    "max_seconds",
    "steps_per_call",
    "content_detail",
    "init",
    "seed",
    "network",
    "pooling",
    "padding",
    "smoothing",
    "normalize_activations",
    "conv",
    "precision",
    "memory",
    "devices",
)

_EXAMPLES = """\
examples:
  jaxnst stylize photo.jpg painting.jpg -o out.png
      the photo, painted like the painting, 512 px on its longest side

  jaxnst stylize photo.jpg painting.jpg -o strong.png --style-weight 3
      more painting, less photo; 0.3 is the other way round

  jaxnst stylize photo.jpg painting.jpg -o fine.png --style-size 300
      finer strokes, from a smaller look at the painting

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
        from ._version import __version__

        print(f"jaxnst {__version__}")
        parser.exit()


def _layers(text: str) -> dict[str, float]:
    """Read `relu1_1,relu2_1:0.5` as layers and weights."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition(":")
        if name in weights:
            raise argparse.ArgumentTypeError(f"layer {name} is named twice")
        try:
            weights[name] = float(weight) if weight else 1.0
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{part.strip()!r} is not LAYER or LAYER:WEIGHT"
            ) from None
    return weights


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
    stylize = commands.add_parser(
        "stylize",
        parents=[common],
        help="paint a picture in the style of another",
        usage="jaxnst stylize CONTENT STYLE [-o FILE] [options]",
        description="Paint CONTENT in the style of STYLE.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = stylize.add_argument
    add("content", metavar="CONTENT", help="what is to be seen: a picture file")
    add("style", metavar="STYLE", help="how it is to be painted: a picture file")
    add(
        "-o",
        "--output",
        default="stylized.png",
        metavar="FILE",
        help="where to: .png .jpg .webp .tif (default: %(default)s)",
    )
    add("--size", type=int, metavar="PX", help="longest side of the result (512)")
    add(
        "--style-weight",
        type=float,
        metavar="W",
        help="3: more of the painting, 0.3: more of the photo (1)",
    )
    add("--style-size", type=int, metavar="PX", help="smaller: finer strokes")
    add(
        "--preset",
        metavar="NAME",
        help="draft, default, fine; gatys2016: the paper's loss",
    )
    add("--like", metavar="FILE", default=None, help="use the settings kept in FILE")
    add("-q", "--quiet", action="store_true", default=False, help="print nothing")

    add = stylize.add_argument_group("the loss").add_argument
    add("--content-weight", type=float, metavar="W", help="of the photo (0.25)")
    add("--tv-weight", type=float, metavar="W", help="smoothness, total variation (0)")
    add(
        "--content-layers",
        type=_layers,
        metavar="L[:W],...",
        help="layers that keep the content, with weights (relu4_2 of a VGG)",
    )
    add(
        "--style-layers",
        type=_layers,
        metavar="L[:W],...",
        help="layers that take on the style (relu1_1,relu2_1,...,relu5_1 of a VGG)",
    )
    add("--normalization", metavar="NAME", help="pair, or paper: the literal sums")

    add = stylize.add_argument_group("the painting").add_argument
    add("--num-steps", type=int, metavar="N", help="steps at the full size (50)")
    add("--coarse-steps", type=int, metavar="N", help="steps at each smaller size (70)")
    add(
        "--min-size",
        type=int,
        metavar="PX",
        help="smallest size, 0: full size only (128)",
    )
    add("--optimizer", metavar="NAME", help="adam or lbfgs (adam)")
    add(
        "--learning-rate",
        type=float,
        metavar="R",
        help="of adam: pixel values, 0 to 1, per step (0.03)",
    )
    add(
        "--decay",
        type=float,
        metavar="P",
        help="part of the last steps that slow down (0.7)",
    )
    add(
        "--averaging",
        type=float,
        metavar="P",
        help="average the pictures of the steps: 0.9 the last ten or so (0: off)",
    )
    add(
        "--tolerance",
        type=float,
        metavar="P",
        help="end a size when ten steps gain less than this part (0: never)",
    )
    add("--max-seconds", type=float, metavar="S", help="be done by then (no limit)")
    add(
        "--steps-per-call",
        type=int,
        metavar="N",
        help="of the device (1 on the CPU, 5 elsewhere)",
    )
    add("--content-detail", type=float, metavar="P", help="kept when sizes grow (0.5)")
    add(
        "--init",
        metavar="NAME|FILE",
        help="start from content, style, noise, or a picture file (content)",
    )
    add("--seed", type=int, metavar="N", help="of the noise (0)")

    add = stylize.add_argument_group("the network").add_argument
    add(
        "--network",
        metavar="NAME|FILE",
        help="see `jaxnst networks`, or a file of weights (vgg19)",
    )
    add("--pooling", metavar="NAME", help="max or average (max)")
    add(
        "--padding",
        metavar="NAME",
        help="reflect, replicate, zeros or circular (reflect)",
    )
    add(
        "--smoothing",
        metavar="NAME",
        help="of activations of networks other than VGGs: none, log or softmax",
    )
    add(
        "--normalize-activations",
        action=argparse.BooleanOptionalAction,
        help="rescale a VGG so that all its filters are equally loud (no)",
    )

    add = stylize.add_argument_group("the machine").add_argument
    add("--conv", metavar="NAME", help="xla, winograd, or auto: the faster (auto)")
    add(
        "--precision",
        metavar="NAME",
        help="float32, or bfloat16: half the memory, and fast on GPUs (float32)",
    )
    add(
        "--memory",
        metavar="NAME",
        help="fast, balanced, low, or auto: the first that fits (auto)",
    )
    add("--devices", metavar="NAME", help="all: spread the picture over them (one)")
    add(
        "--estimate",
        action="store_true",
        default=False,
        help="say how much memory and time it would take, and paint nothing",
    )

    add = stylize.add_argument_group("the file").add_argument
    add("--bits", type=int, default=8, metavar="N", help="8, or 16 for .png and .tif")
    add("--quality", type=int, default=95, metavar="N", help="of .jpg and .webp (95)")
