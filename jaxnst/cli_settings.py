"""What the commands that paint have in common: a flag for every setting."""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .parsing import SETTINGS, parse_flag, parse_values


EXIT_FAILED = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

# (setting, what its value is called, what it is), in the order of the help.
_FLAGS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "": (
        ("size", "PX", "longest side of the result (512)"),
        ("strength", "S", "0: the photo, 1: all of the style; the weights follow"),
        ("style_weight", "W", "3: more of the painting, 0.3: more of the photo (1)"),
        ("style_size", "PX", "smaller: finer strokes"),
        ("style_blend", "B,B,...", "what each of several styles counts for (the same)"),
        ("preset", "NAME", "draft, default, fine; gatys2016: the paper's loss"),
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
            "color",
            "NAME",
            "style; content, luminance, match, histogram: the photo's; palette (style)",
        ),
        ("normalization", "NAME", "pair, or paper: the literal sums"),
    ),
    "the painting": (
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
            "start from content, style, noise, or a picture file (content)",
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


def add_settings(parser: argparse.ArgumentParser, *, are_swept: bool = False) -> None:
    """Add a flag for every setting, and `--like`; what is not given is not set.

    Args:
        parser: to which they are added.
        are_swept: whether a flag may have several values, see `parse_values`.
    """
    for title, flags in _FLAGS.items():
        group = parser.add_argument_group(title) if title else parser
        for name, metavar, help_text in flags:
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
    parser.add_argument(
        "--like", metavar="FILE", default=None, help="use the settings kept in FILE"
    )


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
    if args.like is not None:
        if "preset" in args:
            raise ValueError("give --like or --preset, not both")
        from .images import read_record
        from .record import settings_of

        settings = settings_of(
            read_record(args.like),
            has_init="init" in args,
            has_network="network" in args,
        )
    return settings | {name: vars(args)[name] for name in SETTINGS if name in args}


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

    def parse(text: str) -> Any:
        try:
            return parse_fn(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse
