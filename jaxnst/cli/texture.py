"""`jaxnst texture`: a tile of a style."""

import argparse
import contextlib
from typing import Any

from jaxnst.parsing import parse_count, parse_tile

from .settings import (
    EXIT_INTERRUPTED,
    add_command,
    add_file_options,
    add_settings,
    given_settings,
    say,
    say_error,
)


_EXAMPLES = """\
examples:
  jaxnst texture marble.jpg -o tile.png
      512 x 512 px, which repeats without a seam

  jaxnst texture marble.jpg -o strip.png --size 1024x256 --tile x
      repeats across only

  jaxnst texture marble.jpg -o other.png --seed 1
      another one of the kind
"""
# Those that are about a content picture, and those that are read in another way here.
_WITHOUT = (
    "content_layers",
    "content_weight",
    "content_detail",
    "strength",
    "masks",
    "init",
    "color",
    "size",
    "tile",
    "like",
)


def add_texture(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `texture`.

    Args:
        commands: of argparse, to which it is added.
        common: the options that all commands have.
    """
    parser = add_command(
        commands,
        "texture",
        shown=("output", "size", "tile", "seed"),
        parents=[common],
        help="make a texture of a style, which repeats",
        usage="jaxnst texture STYLE [STYLE ...] [-o FILE] [options]",
        description="Make a texture of STYLE, which repeats without a seam.",
        epilog=_EXAMPLES,
    )
    add = parser.add_argument
    add("style", nargs="+", metavar="STYLE", help="a picture file; several are blended")
    add(
        "-o",
        "--output",
        default="texture.png",
        metavar="FILE",
        help="where to: .png .jpg .webp .tif (default: %(default)s)",
    )
    add("--size", type=_size, default=512, metavar="PX", help="of a side, or WxH (512)")
    add(
        "--tile",
        type=_tile,
        default=True,
        metavar="WAY",
        help="yes; x, y: repeats only across, only down; no (yes)",
    )
    add("-q", "--quiet", action="store_true", help="print nothing")
    add_settings(parser, without=_WITHOUT)
    add_file_options(parser)


def texture(args: argparse.Namespace) -> int:
    """Run `jaxnst texture ...` and return its exit code."""
    from jaxnst.images import check_output

    output = check_output(args.output, bits=args.bits, quality=args.quality)
    settings = given_settings(args) | {"size": args.size, "tile": args.tile}
    style = args.style if len(args.style) > 1 else args.style[0]

    from jaxnst.transfer.result import Interrupted
    from jaxnst.transfer.texture_synthesis import texture

    try:
        result = texture(style, progress=not args.quiet, **settings)
    except Interrupted as interrupted:
        interrupted.result.save(output, bits=args.bits, quality=args.quality)
        say_error(f"interrupted; the texture reached so far is in {output}")
        return EXIT_INTERRUPTED
    result.save(output, bits=args.bits, quality=args.quality)
    if not args.quiet:
        made, seconds = result.record["result"], result.record["seconds"]
        say(
            f"{output}  ({made['width']} x {made['height']}, {made['steps']} steps, "
            f"{seconds['total']:.0f} s)"
        )
    return 0


def _size(text: str) -> int | tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    with contextlib.suppress(ValueError):
        if not cross:
            return parse_count(width)
        return parse_count(width), parse_count(height)
    raise argparse.ArgumentTypeError(f"{text[:60]!r} is neither 512 nor 768x512")


def _tile(text: str) -> bool | str:
    try:
        return parse_tile(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
