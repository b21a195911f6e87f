"""What the commands share: flags made from the declared settings, and output."""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

from jaxnst.config import GROUPS, SETTINGS, parse_values


EXIT_FAILED = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

# The settings that the short help shows.
_FIRST = tuple(name for name, each in SETTINGS.items() if each.group == GROUPS[0])


def add_settings(
    parser: argparse.ArgumentParser,
    *,
    are_swept: bool = False,
    without: Collection[str] = (),
) -> None:
    """Add a flag for every setting, and `--like`; a flag not given sets nothing.

    Args:
        parser: the command's parser.
        are_swept: whether a flag may have several values, see `parse_values`.
        without: settings without a flag; "masks" and "like" may be among them.
    """
    for title in GROUPS:
        group = parser.add_argument_group(title)
        for name, declared in SETTINGS.items():
            if declared.group != title or name in without:
                continue
            parse_fn = declared.parse_fn
            if are_swept:
                parse_fn = functools.partial(parse_values, name)
            form: dict[str, Any] = {
                "type": as_argument(parse_fn),
                "metavar": declared.metavar,
            }
            if isinstance(declared.default, bool):
                form = {"action": argparse.BooleanOptionalAction}
            default = declared.shown_default
            group.add_argument(
                f"--{name.replace('_', '-')}",
                default=argparse.SUPPRESS,
                help=declared.help + (f" ({default})" if default else ""),
                **form,
            )
        if title == GROUPS[1] and "masks" not in without:
            group.add_argument(
                "--mask",
                dest="masks",
                action="append",
                metavar="FILE",
                default=argparse.SUPPRESS,
                help="white where a style is painted; one per style, or rest, or alpha",
            )
    if "like" not in without:
        parser.add_argument(
            "--like", metavar="FILE", default=None, help="use the settings kept in FILE"
        )


def add_command(
    commands: Any, name: str, *, shown: Collection[str] = (), **options: Any
) -> argparse.ArgumentParser:
    """Return the added parser of a command that has many options, and a short help.

    Args:
        commands: argparse's subparsers.
        name: the command's name.
        shown: options of its own that the short help shows.
        options: arguments of `add_parser`.
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
        """Print the help with all other options hidden."""
        for action in parser._actions:
            is_shown = action.dest in (*self.const, argparse.SUPPRESS)
            if action.option_strings and not is_shown:
                action.help = argparse.SUPPRESS
        parser.print_help()
        parser.exit()


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how a picture is written.

    Args:
        parser: the command's parser.
    """
    add = parser.add_argument_group("the file").add_argument
    add("--bits", type=int, default=8, metavar="N", help="8, or 16 for .png and .tif")
    add(
        "--quality",
        type=int,
        default=95,
        metavar="N",
        help=".jpg and .webp, 1 to 100 (95)",
    )


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of `--like`, replaced by those given as flags.

    Args:
        args: the parsed command line.

    Raises:
        ValueError: if both `--like` and `--preset` were given, or the picture does not
            say how it was made.
        OSError: if the picture of `--like` cannot be read.
    """
    settings: dict[str, Any] = {}
    if getattr(args, "like", None) is not None:
        if "preset" in args:
            raise ValueError("give --like or --preset, not both")
        from jaxnst.images import read_record
        from jaxnst.transfer.result import settings_of

        settings = settings_of(read_record(args.like), given=vars(args))
    names = (*SETTINGS, "masks")
    return settings | {name: vars(args)[name] for name in names if name in args}


def one_or_all(pictures: list[str]) -> Any:
    """Return the only picture, or the list of several.

    Args:
        pictures: one name or more.
    """
    return pictures if len(pictures) > 1 else pictures[0]


def say(line: str) -> None:
    """Print a line, unless the reader of the output has gone.

    Args:
        line: the text.
    """
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # The reader (`head`, for example) has gone; go on painting.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_error(line: str) -> None:
    """Print a line on standard error, with the command's name before it.

    Args:
        line: the text.
    """
    print(f"jaxnst: {line}", file=sys.stderr, flush=True)


def as_argument(parse_fn: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parse function whose errors argparse shows as they are.

    Args:
        parse_fn: text -> value; raises ValueError.
    """

    def parse_argument(text: str) -> Any:
        try:
            return parse_fn(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument
