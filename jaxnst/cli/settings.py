"""What the commands that paint have in common: a flag for every setting."""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from jaxnst.parsing import SETTINGS, parse_flag, parse_values


EXIT_FAILED = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

# (setting, what its value is called, what it is), in the order of the help.
_FLAGS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "first of all": (
        ("size", "PX", "longest side of the result (512)"),
        ("strength", "S", "0: the photo, 1: all of the style; or a gray picture of it"),
        ("style_scale", "F", "size of the strokes: 0.5 half as large, 2 twice (1)"),
        ("preset", "NAME", "draft, default, fine; gatys2016: the paper's loss"),
    ),
    "more control": (
        ("style_weight", "W", "3: more of the painting, 0.3: more of the photo (1)"),
        (
            "color",
            "NAME",
            "style; the photo's: content, luminance, match, histogram; palette-only "
            "(style)",
        ),
        ("detail", "D", "of the style: 1 fine strokes, -1 coarse shapes (0)"),
        (
            "style_blend",
            "B,B,...",
            "what each of several styles counts for (the same); 1,0/0,1: fine strokes "
            "of the first, coarse shapes of the second",
        ),
        ("tile", "WAY", "yes: repeats without a seam; x, y: only across, only down"),
        (
            "finish",
            "NAME:A,...",
            "filters at the end: denoise, sharpen, contrast, levels, saturation, "
            "grain, vignette, halftone (none)",
        ),
    ),
    "the loss": (
        ("content_weight", "W", "of the photo (0.25)"),
        ("tv_weight", "W", "smoothness, total variation (0)"),
        (
            "content_layers",
            "L[:W],...",
            "layers that keep the content, with weights (relu4_2 of a VGG)",
        ),
        (
            "style_layers",
            "L[:W],...",
            "layers that take on the style (relu1_1,relu2_1,...,relu5_1 of a VGG)",
        ),
        (
            "style_loss",
            "NAME[:W],...",
            "gram, moments, wasserstein, sliced_wasserstein, nearest_neighbor "
            "(gram,moments)",
        ),
        ("normalization", "NAME", "pair, or paper: the literal sums"),
    ),
    "the painting": (
        ("style_size", "PX", "how large the style is looked at, in place of a scale"),
        ("num_steps", "N", "steps at the full size (50)"),
        ("coarse_steps", "N", "steps at each smaller size (70)"),
        ("min_size", "PX", "smallest size, 0: full size only (128)"),
        ("optimizer", "NAME", "adam or lbfgs (adam)"),
        ("learning_rate", "R", "of adam: pixel values, 0 to 1, per step (0.03)"),
        ("decay", "P", "part of the last steps that slow down (0.7)"),
        (
            "averaging",
            "P",
            "average the pictures of the steps: 0.9 the last ten or so (0: off)",
        ),
        (
            "tolerance",
            "P",
            "end a size when ten steps gain less than this part (0: never)",
        ),
        ("max_seconds", "S", "be done by then (no limit)"),
        ("steps_per_call", "N", "of the device (1 on the CPU, 5 elsewhere)"),
        ("content_detail", "P", "kept when sizes grow (0.5)"),
        (
            "init",
            "NAME|FILE",
            "start from content, recolored, style, noise, or a picture file (content)",
        ),
        ("seed", "N", "of the noise (0)"),
    ),
    "the network": (
        (
            "network",
            "NAME|FILE",
            "see `jaxnst networks`, NAME@REVISION; or a file of weights (vgg19)",
        ),
        ("pooling", "NAME", "max or average (max)"),
        ("padding", "NAME", "reflect, replicate, zeros or circular (reflect)"),
        (
            "smoothing",
            "NAME",
            "of activations of networks other than VGGs: none, log or softmax",
        ),
        (
            "normalize_activations",
            "",
            "rescale a VGG so that all its filters are equally loud (no)",
        ),
    ),
    "the machine": (
        ("conv", "NAME", "xla, winograd, or auto: the faster (auto)"),
        (
            "precision",
            "NAME",
            "float32, or bfloat16: half the memory, and fast on GPUs (float32)",
        ),
        ("memory", "NAME", "fast, balanced, low, or auto: the first that fits (auto)"),
        ("devices", "NAME", "all: spread the picture over them (one)"),
    ),
}


# What a first look at the help shows, besides what the command alone has.
_FIRST = ("size", "strength", "style_scale", "preset")


def add_settings(
    parser: argparse.ArgumentParser,
    *,
    are_swept: bool = False,
    without: Collection[str] = (),
) -> None:
    """Add a flag for every setting, and `--like`; what is not given is not set.

    Args:
        parser: to which they are added.
        are_swept: whether a flag may have several values, see `parse_values`.
        without: those that are left out; "masks" and "like" as well.
    """
    for title, flags in _FLAGS.items():
        group = parser.add_argument_group(title)
        for name, metavar, help_text in flags:
            if name in without:
                continue
            parse_fn = SETTINGS[name]
            read_fn = functools.partial(parse_values, name) if are_swept else parse_fn
            form: dict[str, Any] = {"type": _argument(read_fn), "metavar": metavar}
            if parse_fn is parse_flag:
                form = {"action": argparse.BooleanOptionalAction}
            group.add_argument(
                f"--{name.replace('_', '-')}",
                default=argparse.SUPPRESS,
                help=help_text,
                **form,
            )
        if title == "more control" and "masks" not in without:
            group.add_argument(
                "--mask",
                dest="masks",
                action="append",
                metavar="FILE",
                default=argparse.SUPPRESS,
                help="where a style is painted: white; one for each, or rest, or alpha",
            )
    if "like" not in without:
        parser.add_argument(
            "--like", metavar="FILE", default=None, help="use the settings kept in FILE"
        )


def add_command(
    commands: Any, name: str, *, shown: Collection[str] = (), **options: Any
) -> argparse.ArgumentParser:
    """Add the parser of a command that has many options, and a short help.

    Args:
        commands: of argparse, to which it is added.
        name: of the command.
        shown: options of its own that the short help has.
        options: of `add_parser`.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        add_help=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )
    parser.add_argument(
        "-h", "--help", action=_ShortHelp, const=(*shown, *_FIRST), help="this help"
    )
    parser.add_argument("--help-all", action="help", help="all options, in groups")
    return parser


class _ShortHelp(argparse.Action):
    """Show the few options that are needed first."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any):
        super().__init__(
            option_strings,
            argparse.SUPPRESS,
            nargs=0,
            default=argparse.SUPPRESS,
            **options,
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        """Print it, with all other options hidden."""
        for action in parser._actions:
            is_shown = action.dest in (*self.const, argparse.SUPPRESS)
            if action.option_strings and not is_shown:
                action.help = argparse.SUPPRESS
        parser.print_help()
        parser.exit()


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how a picture is written."""
    add = parser.add_argument_group("the file").add_argument
    add("--bits", type=int, default=8, metavar="N", help="8, or 16 for .png and .tif")
    add("--quality", type=int, default=95, metavar="N", help="of .jpg and .webp (95)")


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given, after those of `--like`.

    Raises:
        ValueError: if both `--like` and `--preset` were given, or the picture does not
            say how it was made.
        OSError: if there is no such picture.
    """
    settings: dict[str, Any] = {}
    if getattr(args, "like", None) is not None:
        if "preset" in args:
            raise ValueError("give --like or --preset, not both")
        from jaxnst.images import read_record
        from jaxnst.transfer.result import settings_of

        settings = settings_of(
            read_record(args.like),
            has_init="init" in args,
            has_network="network" in args,
            has_masks="masks" in args,
            has_strength="strength" in args,
        )
    names = (*SETTINGS, "masks")
    return settings | {name: vars(args)[name] for name in names if name in args}


def say(line: str) -> None:
    """Print a line, if anybody reads it."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # The reader of our output (`head`, say) has gone; paint on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_error(line: str) -> None:
    """Print a line on standard error."""
    print(f"jaxnst: {line}", file=sys.stderr, flush=True)


def _argument(parse_fn: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return it with errors that argparse shows as they are."""
    return functools.partial(_parse_argument, parse_fn)


def _parse_argument(parse_fn: Callable[[str], Any], text: str) -> Any:
    try:
        return parse_fn(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
