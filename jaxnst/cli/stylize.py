"""`jaxnst stylize` and `jaxnst texture`: one picture."""

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxnst._checks import no_such_file, one_or_all, plain, shown
from jaxnst.config import NOT_FOR_TEXTURES, SETTINGS

from .options import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    FILE_OPTIONS,
    QUIET,
    STANDARD,
    WHOLE,
    Command,
    as_argument,
    check_picture_output,
    error_text,
    flag,
    given_settings,
    option,
    read_input,
    say,
    say_error,
    setting_options,
    write_picture,
)


if TYPE_CHECKING:
    from jaxnst.transfer.result import Result


# A strength that is missed by more than this is reported.
_STRENGTH_TOLERANCE = 0.03
_OUTPUT_HELP = "picture to write: .png .jpg .webp .tif, or - (default: %(default)s)"
STYLIZE_EXAMPLES = """\
examples:
  jaxnst stylize photo.jpg painting.jpg -o out.png
      the photo, painted like the painting, 512 px on its longest side

  jaxnst stylize photo.jpg painting.jpg -o gentle.png --strength 0.6
      more photo, less painting

  jaxnst stylize photo.jpg painting.jpg -o mine.png --color content
      in the photo's colors

  jaxnst stylize photo.jpg painting.jpg -o fine.png --style-scale 0.5
      finer strokes, half as large

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


def _stylize(args: argparse.Namespace) -> int:
    settings = given_settings(args)
    output = _check_files(args, settings)
    content = read_input(args.content)
    style = one_or_all([read_input(name) for name in args.style])
    if args.estimate:
        from jaxnst.transfer.driver import estimate
        from jaxnst.transfer.terminal import Screen

        is_seen = sys.stderr.isatty() and not args.quiet
        with Screen(enabled=is_seen).working("timing a few steps"):
            found = estimate(content, style, **settings)
        say(*str(found).split("\n"))
        return 0

    from jaxnst.transfer.driver import stylize

    settings |= {"metrics": args.metrics, "progress": not args.quiet}
    settings |= {"checkpoint": args.checkpoint, "more_steps": args.more_steps}
    return _paint(lambda: stylize(content, style, **settings), output, args)


def _texture(args: argparse.Namespace) -> int:
    settings = given_settings(args)
    output = _check_files(args, settings)
    settings["progress"] = not args.quiet
    style = one_or_all([read_input(name) for name in args.style])

    from jaxnst.transfer.texture_synthesis import texture

    return _paint(lambda: texture(style, **settings), output, args)


def _check_files(args: argparse.Namespace, settings: Mapping[str, Any]) -> Path:
    """Check the names of the files that will be written; return the picture's."""
    _check_names(args)
    size = settings.get("size", 0)
    longest = max(size) if isinstance(size, list | tuple) else size
    output = check_picture_output(args, longest)
    if args.trace is not None:
        from jaxnst.insight.plots import check_history_path

        check_history_path(args.trace)
        if Path(args.trace).absolute() == output.absolute():
            raise ValueError(f"--trace {args.trace} is the output; choose another")
    inputs = [("content picture", args.content)] if "content" in args else []
    inputs += [("style picture", path) for path in args.style]
    inputs += [("mask", path) for path in settings.get("masks", ())]
    inputs += [(f"`{name}`", settings.get(name)) for name in ("strength", "init")]
    for name, path in inputs:
        is_file = isinstance(path, str) and Path(path).exists()
        for written in (output, Path(args.trace or output)):
            if is_file and written.exists() and written.samefile(path):
                raise ValueError(f"output {written} is the {name}; choose another")
    return output


def _check_names(args: argparse.Namespace) -> None:
    """Check that the pictures are there, before JAX is loaded; name the output."""
    usual = Path(args.parser.get_default("output"))
    is_named = args.output != str(usual)
    inputs = [("content", args.content)] if "content" in args else []
    inputs += [("style", name) for name in args.style]
    for argument, name in inputs:
        if name != STANDARD and not Path(name).exists():
            message = f"`{argument}`: {no_such_file(Path(name))}"
            if name is args.style[-1] and len(args.style) > 1 and not is_named:
                message += ". The output is given by -o."
            raise FileNotFoundError(message)
    if not is_named:  # pictures of earlier commands stay
        for number in itertools.count(2):
            if not Path(args.output).exists():
                break
            args.output = str(usual.with_stem(f"{usual.stem}-{number}"))


def _paint(
    paint_fn: Callable[[], "Result"], output: Path, args: argparse.Namespace
) -> int:
    """Paint a picture, save it, say what it is, and return the exit code."""
    from jaxnst.images.metadata import place_of_part
    from jaxnst.optimize.interrupt import deferred_interrupt
    from jaxnst.transfer.result import FINISHED, Interrupted

    is_interrupted = False
    try:
        result = paint_fn()
    except Interrupted as interrupted:
        result, is_interrupted = interrupted.result, True
        output = place_of_part(output)
    with deferred_interrupt():
        output = _save(result, output, args)
    if args.trace is not None and len(result.history["total"]):
        from jaxnst.insight.plots import save_history

        save_history(result.history, args.trace)
    record = result.record
    made = record["result"]
    if is_interrupted:
        is_kept = getattr(args, "checkpoint", None) is not None
        say_error(
            f"interrupted after step {made['steps']}; the picture reached so far is "
            f"in {output}" + "; the same command goes on from there" * is_kept
        )
        return EXIT_INTERRUPTED
    is_good = made["stopped"] in FINISHED
    if not is_good:
        say_error(
            f"error: stopped after {made['steps']} steps ({made['stopped']}); the last "
            f"good picture is in {output}"
        )
    _tell_strength(made.get("strength"))
    for recovery in record["recoveries"]:
        say_error(f"warning: {recovery_text(recovery)}")
    if is_good and not args.quiet:
        say(f"{output}  ({result_text(record)})")
    if "metrics" in record and not args.quiet:
        _tell_metrics(record["metrics"], output)
    return 0 if is_good else EXIT_ERROR


def result_text(record: Mapping[str, Any]) -> str:
    """Return the size, the steps and the seconds in a picture's record, in words."""
    made, seconds = record["result"], record["seconds"]["total"]
    return f"{made['width']} x {made['height']}, {made['steps']} steps, {seconds:.0f} s"


def recovery_text(recovery: Mapping[str, Any]) -> str:
    """Return one of a record's recoveries in words."""
    return (
        f"{recovery['reason']} at {recovery['size']} px, step {recovery['step']}: "
        f"{recovery['action']}"
    )


def _tell_strength(strength: Mapping[str, Any] | None) -> None:
    """Warn of strengths that were not reached."""
    if strength is None or strength["reached"] is None:
        return
    asked, reached = (
        value if isinstance(value, list) else [value]
        for value in (strength["asked"], strength["reached"])
    )
    for wanted, found in zip(asked, reached, strict=True):
        if abs(wanted - found) > _STRENGTH_TOLERANCE:
            say_error(
                f"warning: strength {wanted:g} was asked for, {found:.2f} was reached; "
                "more steps, as of --preset fine, may reach more"
            )


def _tell_metrics(measured: Mapping[str, float], output: Path) -> None:
    from jaxnst.metrics import Metrics, format_table
    from jaxnst.metrics.evaluation import LEGEND

    metrics = Metrics(*(measured[name] for name in Metrics._fields))
    table = f"{format_table({plain(output.name): metrics})}\n\n{LEGEND}"
    say(*table.split("\n"))
    if seams := [f"{k[-1]} {v:.2f}" for k, v in measured.items() if "seam" in k]:
        say(f"seam       {', '.join(seams)}; 1: none to be seen")


def _save(result: "Result", output: Path, args: argparse.Namespace) -> Path:
    """Save the picture; if that fails, save it in the folder for temporary files."""
    form = {"bits": args.bits, "quality": args.quality}
    try:
        return write_picture(output, lambda path: result.save(path, **form))
    except Exception as error:
        rescue = Path(tempfile.gettempdir()) / f"jaxnst-{os.getpid()}.png"
        try:
            result.save(rescue)
        except Exception as second:
            raise OSError(
                f"output {output} cannot be written ({error_text(error)}), nor can "
                f"{rescue} ({error_text(second)})"
            ) from error
        raise OSError(
            f"{error_text(error)}; the picture is in {rescue} instead"
        ) from error


def _parse_size(text: str) -> int | tuple[int, int]:
    parse_fn = SETTINGS["size"].parse_fn
    width, cross, height = text.lower().partition("x")
    try:
        return (parse_fn(width), parse_fn(height)) if cross else parse_fn(width)
    except ValueError:
        raise ValueError(f"{shown(text)} is neither 512 nor 768x512") from None


_TRACE = option(
    "--trace", "write every loss of every step: .csv, or drawn: .png .svg .pdf", "FILE"
)

STYLIZE = Command(
    run_fn=_stylize,
    help="paint a picture in the style of another",
    usage="jaxnst stylize CONTENT STYLE [STYLE ...] [-o FILE] [options]",
    description="Paint CONTENT in the style of STYLE; several styles are blended.",
    epilog=STYLIZE_EXAMPLES,
    shown=("output", "like", "color", "style_blend", "masks", "tile"),
    options=(
        option("content", "the picture to paint; - is standard input", "CONTENT"),
        option("style", "a picture in the style, or several", "STYLE", nargs="+"),
        option("-o --output", _OUTPUT_HELP, "FILE", default="stylized.png"),
        QUIET,
        flag("--metrics", "measure the result, with AlexNet"),
        _TRACE,
        option(
            "--checkpoint",
            "keep the painting there every few minutes; after a kill the same command "
            "goes on from there",
            "FOLDER",
        ),
        option(
            "--more-steps",
            "steps that a finished painting in the checkpoint gets beyond its own (0)",
            "N",
            type=WHOLE,
            default=0,
        ),
        flag(
            "--estimate",
            "say how much memory and time it would take, and paint nothing",
        ),
        *setting_options(),
        *FILE_OPTIONS,
    ),
)
TEXTURE = Command(
    run_fn=_texture,
    help="make a texture of a style, which repeats",
    usage="jaxnst texture STYLE [STYLE ...] [-o FILE] [options]",
    description="Make a texture of STYLE, which repeats without a seam.",
    epilog=_TEXTURE_EXAMPLES,
    shown=("output", "size", "tile", "seed"),
    options=(
        option("style", "a picture; several are blended", "STYLE", nargs="+"),
        option("-o --output", _OUTPUT_HELP, "FILE", default="texture.png"),
        option(
            "--size",
            "length of a side, or WxH (512); where it repeats, multiples of 16",
            "PX",
            type=as_argument(_parse_size),
            default=512,
        ),
        option(
            "--tile",
            "yes; x, y: repeats only across, only down; no (yes)",
            "WAY",
            type=as_argument(SETTINGS["tile"].parse_fn),
            default=True,
        ),
        QUIET,
        _TRACE,
        *setting_options(without=(*NOT_FOR_TEXTURES, "size", "tile", "like")),
        *FILE_OPTIONS,
    ),
)
