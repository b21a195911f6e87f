"""`jaxnst stylize` and `jaxnst texture`: one picture."""

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxnst._checks import FORESEEN, one_line
from jaxnst.config import NOT_FOR_TEXTURES, SETTINGS

from .options import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    add_command,
    add_file_options,
    add_settings,
    as_argument,
    given_settings,
    one_or_all,
    say,
    say_error,
)


if TYPE_CHECKING:
    from jaxnst.transfer.result import Result


# A strength that is missed by more than this is reported.
STRENGTH_TOLERANCE = 0.03
STYLIZE_EXAMPLES = """\
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
_TEXTURE_EXAMPLES = """\
examples:
  jaxnst texture marble.jpg -o tile.png
      512 x 512 px, which repeats without a seam

  jaxnst texture marble.jpg -o strip.png --size 1024x256 --tile x
      repeats across only

  jaxnst texture marble.jpg -o other.png --seed 1
      another one of the kind
"""
_OUTPUT_HELP = "picture to write: .png .jpg .webp .tif (default: %(default)s)"


def add_stylize(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `stylize`.

    Args:
        commands: argparse's subparsers.
        common: parser of the options that all commands have.
    """
    parser = add_command(
        commands,
        "stylize",
        shown=("output",),
        parents=[common],
        help="paint a picture in the style of another",
        usage="jaxnst stylize CONTENT STYLE [STYLE ...] [-o FILE] [options]",
        description="Paint CONTENT in the style of STYLE; several styles are blended.",
        epilog=STYLIZE_EXAMPLES,
    )
    add = parser.add_argument
    add("content", metavar="CONTENT", help="the picture to paint")
    add("style", nargs="+", metavar="STYLE", help="a picture in the style, or several")
    add("-o", "--output", default="stylized.png", metavar="FILE", help=_OUTPUT_HELP)
    add_settings(parser)
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
    add_file_options(parser)


def add_texture(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `texture`.

    Args:
        commands: argparse's subparsers.
        common: parser of the options that all commands have.
    """
    parser = add_command(
        commands,
        "texture",
        shown=("output", "size", "tile", "seed"),
        parents=[common],
        help="make a texture of a style, which repeats",
        usage="jaxnst texture STYLE [STYLE ...] [-o FILE] [options]",
        description="Make a texture of STYLE, which repeats without a seam.",
        epilog=_TEXTURE_EXAMPLES,
    )
    add = parser.add_argument
    add("style", nargs="+", metavar="STYLE", help="a picture; several are blended")
    add("-o", "--output", default="texture.png", metavar="FILE", help=_OUTPUT_HELP)
    add(
        "--size",
        type=as_argument(_parse_size),
        default=512,
        metavar="PX",
        help="length of a side, or WxH (512)",
    )
    add(
        "--tile",
        type=as_argument(SETTINGS["tile"].parse_fn),
        default=True,
        metavar="WAY",
        help="yes; x, y: repeats only across, only down; no (yes)",
    )
    add("-q", "--quiet", action="store_true", help="print nothing")
    # Its own `size` and `tile` are above.
    add_settings(parser, without=(*NOT_FOR_TEXTURES, "size", "tile", "like"))
    add_file_options(parser)


def run_stylize(args: argparse.Namespace) -> int:
    """Run `jaxnst stylize ...` and return its exit code.

    Args:
        args: the parsed command line.

    Raises:
        ValueError: if the output is one of the inputs.
    """
    from jaxnst.images import check_output

    output = check_output(args.output, bits=args.bits, quality=args.quality)
    if args.trace is not None:
        from jaxnst.insight.plots import check_history_path

        check_history_path(args.trace)
    for name, path in [("content", args.content), *(("style", x) for x in args.style)]:
        source = Path(path)
        if output.exists() and source.exists() and output.samefile(source):
            raise ValueError(f"output {output} is the {name} picture; choose another")
    style, settings = one_or_all(args.style), given_settings(args)
    if args.estimate:
        from jaxnst.transfer.driver import estimate

        print(estimate(args.content, style, **settings))
        return 0

    from jaxnst.transfer.driver import stylize
    from jaxnst.transfer.result import FINISHED, Interrupted

    settings |= {"metrics": args.metrics, "progress": not args.quiet}
    is_interrupted = False
    try:
        result = stylize(args.content, style, **settings)
    except Interrupted as interrupted:
        result, is_interrupted = interrupted.result, True
    output = _save(result, output, args)
    if args.trace is not None and len(result.history["total"]):
        from jaxnst.insight.plots import save_history

        save_history(result.history, args.trace)
    made = result.record["result"]
    if is_interrupted:
        say_error(
            f"interrupted after {made['steps']} steps; the picture reached so far is "
            f"in {output}"
        )
        return EXIT_INTERRUPTED
    is_good = made["stopped"] in FINISHED
    if not is_good:
        say_error(
            f"error: stopped after {made['steps']} steps ({made['stopped']}); the last "
            f"good picture is in {output}"
        )
    _tell_strength(made.get("strength"))
    for recovery in result.record["recoveries"]:
        say_error(f"warning: {recovery_text(recovery)}")
    if is_good and not args.quiet:
        say(f"{output}  ({result_text(result.record)})")
    if args.metrics and not args.quiet:
        _tell_metrics(result.record["metrics"], output)
    return 0 if is_good else EXIT_ERROR


def run_texture(args: argparse.Namespace) -> int:
    """Run `jaxnst texture ...` and return its exit code.

    Args:
        args: the parsed command line.
    """
    from jaxnst.images import check_output

    output = check_output(args.output, bits=args.bits, quality=args.quality)
    settings = given_settings(args) | {"size": args.size, "tile": args.tile}

    from jaxnst.transfer.result import Interrupted
    from jaxnst.transfer.texture_synthesis import texture

    try:
        result = texture(one_or_all(args.style), progress=not args.quiet, **settings)
    except Interrupted as interrupted:
        interrupted.result.save(output, bits=args.bits, quality=args.quality)
        say_error(f"interrupted; the texture reached so far is in {output}")
        return EXIT_INTERRUPTED
    result.save(output, bits=args.bits, quality=args.quality)
    if not args.quiet:
        say(f"{output}  ({result_text(result.record)})")
    return 0


def result_text(record: Mapping[str, Any]) -> str:
    """Return the size, the steps and the seconds of a picture, in words.

    Args:
        record: the picture's record.
    """
    made, seconds = record["result"], record["seconds"]["total"]
    return f"{made['width']} x {made['height']}, {made['steps']} steps, {seconds:.0f} s"


def recovery_text(recovery: Mapping[str, Any]) -> str:
    """Return what went wrong in a painting, and what was done, in words.

    Args:
        recovery: one of the record's recoveries.
    """
    return (
        f"{recovery['reason']} at {recovery['size']} px, step {recovery['step']}: "
        f"{recovery['action']}"
    )


def error_text(error: Exception) -> str:
    """Return an error in one line, with a hint where its text says too little.

    Args:
        error: the error.
    """
    is_clear = isinstance(error, FORESEEN) and str(error).strip()
    return one_line(error) + ("" if is_clear else " (--debug shows where)")


def _tell_strength(strength: Mapping[str, Any] | None) -> None:
    """Warn of strengths that were not reached."""
    if strength is None or strength["reached"] is None:
        return
    asked, reached = (
        value if isinstance(value, list) else [value]
        for value in (strength["asked"], strength["reached"])
    )
    for wanted, found in zip(asked, reached, strict=True):
        if abs(wanted - found) > STRENGTH_TOLERANCE:
            say_error(
                f"warning: strength {wanted:g} was asked for, {found:.2f} was reached; "
                "more steps, as of --preset fine, may reach more"
            )


def _tell_metrics(measured: Mapping[str, float], output: Path) -> None:
    from jaxnst.metrics import Metrics, format_table
    from jaxnst.metrics.evaluation import LEGEND

    metrics = Metrics(*(measured[name] for name in Metrics._fields))
    print(f"{format_table({output.name: metrics})}\n\n{LEGEND}")
    if seams := [f"{k[-1]} {v:.2f}" for k, v in measured.items() if "seam" in k]:
        print(f"seam       {', '.join(seams)}; 1: none to be seen")


def _save(result: "Result", output: Path, args: argparse.Namespace) -> Path:
    """Save the picture; if that fails, save it in the folder for temporary files."""
    try:
        return result.save(output, bits=args.bits, quality=args.quality)
    except Exception as error:
        rescue = Path(tempfile.gettempdir()) / f"jaxnst-{os.getpid()}.png"
        result.save(rescue)
        raise OSError(
            f"{error_text(error)}; the picture is in {rescue} instead"
        ) from error


def _parse_size(text: str) -> int | tuple[int, int]:
    parse_fn = SETTINGS["size"].parse_fn
    width, cross, height = text.lower().partition("x")
    try:
        return (parse_fn(width), parse_fn(height)) if cross else parse_fn(width)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is neither 512 nor 768x512") from None
