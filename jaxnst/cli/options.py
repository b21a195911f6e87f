"""What the commands share: options as data, flags of the settings, and output."""

import argparse
import contextlib
import dataclasses
import functools
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxnst._checks import (
    FORESEEN,
    check_range,
    one_line,
    parse_count,
    parse_number,
    plain,
    short,
    shown,
)
from jaxnst.config import GROUPS, SETTINGS, Setting


EXIT_FAILED = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

# Standard input or output in place of a file.
STANDARD = "-"
# Name that gives the format of a picture on standard output.
_PIPED = "picture.png"
# A span such as 0..3 with more numbers is taken for a typing error.
_MAX_SPAN = 10_000
# The settings that the short help shows.
_FIRST = tuple(name for name, each in SETTINGS.items() if each.group == GROUPS[0])


# What `add_argument` of argparse gets, and the title under which the help lists it;
# without one it is with the first ones.
Option = tuple[list[str], dict[str, Any], str]


def option(
    names: str, help: str, metavar: str | None = None, *, group: str = "", **form: Any
) -> Option:
    """Return an option or a positional argument; spaces separate its names."""
    if metavar is not None:
        form["metavar"] = metavar
    return names.split(), {"help": help, **form}, group


def flag(names: str, help: str, **form: Any) -> Option:
    """Return an option without a value."""
    return option(names, help, action="store_true", **form)


def as_argument(parse_fn: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parse function whose errors argparse shows as they are."""

    def parse_argument(text: str) -> Any:
        """Return what the text of an argument means."""
        try:
            return parse_fn(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


# The types of flags that are numbers.
WHOLE, NUMBER = as_argument(parse_count), as_argument(parse_number)
QUIET = flag("-q --quiet", "print nothing but errors")
_FOLDER_HELP = "folder for the pictures; made if it is not there"
FOLDER = option("-o --output", _FOLDER_HELP, "FOLDER", required=True)
LIMIT = option(
    "--max-megapixels",
    "largest picture that is read (1000 if you name the file, else 89, as larger ones "
    "may be an attack)",
    "N",
    group="the file",
    type=as_argument(
        lambda text: check_range("max_megapixels", parse_number(text), 1, 1000)
    ),
)
# How pictures are read and written.
FILE_OPTIONS = (
    *(
        option(name, help, "N", group="the file", type=WHOLE, default=default)
        for name, help, default in (
            ("--bits", "8, or 16 for .png and .tif", 8),
            ("--quality", ".jpg and .webp, 1 to 100 (95)", 95),
        )
    ),
    LIMIT,
)
# `main` sets what they are where they are not given, before or after an action.
_COMMON = (flag("--debug", "show tracebacks of errors", default=argparse.SUPPRESS),)


def setting_options(
    *, are_swept: bool = False, without: Collection[str] = ()
) -> Iterator[Option]:
    """Yield a flag for every setting, "masks" and "like" among them, `without` some.

    A flag that is not given sets nothing. `are_swept`: it may have several values.
    """
    form: dict[str, Any]
    for name, declared in SETTINGS.items():
        if name not in without:
            swept = functools.partial(_parse_values, declared)
            parse_fn = swept if are_swept else declared.parse_fn
            yield setting_option(name, declared, parse_fn)
    if "masks" not in without:
        text = "white where a style is painted; one per style, or rest, or alpha"
        form = {"dest": "masks", "action": "append", "default": argparse.SUPPRESS}
        yield option("--mask", text, "FILE", group=GROUPS[1], **form)
    if "like" not in without:
        yield option("--like", "use the settings kept in FILE", "FILE")


def setting_option(
    name: str, declared: Setting, parse_fn: Callable[[str], Any], group: str = ""
) -> Option:
    """Return the flag of a setting, read by a function."""
    form: dict[str, Any] = {"type": as_argument(parse_fn), "metavar": declared.metavar}
    if isinstance(declared.default, bool):
        form = {"action": argparse.BooleanOptionalAction}
    form |= {"group": group or declared.group, "default": argparse.SUPPRESS}
    text = declared.help.replace("%", "%%")
    if default := declared.shown_default:
        text += f" ({default})"
    return option(f"--{name.replace('_', '-')}", text, **form)


def _parse_values(declared: Setting, text: str) -> Any:
    """Return one value of a setting, or a list of several, such as `0.3,1` or `0..3`.

    Semicolons separate values that have commas themselves, as layers have.
    """
    values: list[Any] = []
    for part in text.split(";" if "," in declared.metavar else ","):
        first, dots, last = part.strip().partition("..")
        if dots and declared.parse_fn is parse_count:
            start, end = parse_count(first), parse_count(last)
            step = 1 if start <= end else -1
            if abs(end - start) >= _MAX_SPAN:
                raise ValueError(f"{shown(part)} are more than {_MAX_SPAN} numbers")
            values += range(start, end + step, step)
        else:
            values.append(declared.parse_fn(part.strip()))
    return values[0] if len(values) == 1 else values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A command: how its command line is read, and what it does.

    Attributes:
        run_fn: parsed command line -> exit code.
        shown: destinations of the options of the short help, beside the first
            settings; None: the help is of all options.
        actions: commands of its own, by their names.
    """

    run_fn: Callable[[argparse.Namespace], int]
    help: str
    usage: str | None = None
    description: str = ""
    epilog: str | None = None
    options: tuple[Option, ...] = ()
    shown: tuple[str, ...] | None = None
    actions: Mapping[str, "Command"] = dataclasses.field(default_factory=dict)

    def add_to(self, commands: Any, name: str, prog: str) -> None:
        """Add its parser, under a name, to argparse's subparsers."""
        parser = commands.add_parser(
            name,
            help=self.help,
            usage=self.usage,
            description=self.description or self.help,
            epilog=self.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=self.shown is None,
            allow_abbrev=False,
        )
        # Those of an action replace those of its command.
        parser.set_defaults(parser=parser, run_fn=self.run_fn)
        if self.shown is not None:
            shown = (*self.shown, *_FIRST, "help_all")
            parser.add_argument(
                "-h", "--help", action=_ShortHelp, const=shown, help="this help"
            )
            parser.add_argument(
                "--help-all", action="help", help="all options, in groups"
            )
        groups = {"": parser}
        for names, form, title in (*self.options, *_COMMON):
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            groups[title].add_argument(*names, **form)
        if self.actions:
            # Without `prog`, the usage would be part of the actions' names.
            prog = f"{prog} {name}"
            actions = parser.add_subparsers(metavar="ACTION", prog=prog)
            for each, command in self.actions.items():
                command.add_to(actions, each, prog)


class _ShortHelp(argparse.Action):
    """Show the few options that are needed first."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        """Print the help with all other options hidden."""
        for action in parser._actions:
            is_shown = action.dest in (*self.const, argparse.SUPPRESS)
            if action.option_strings and not is_shown:
                action.help = argparse.SUPPRESS
        parser.print_help()
        parser.exit()


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line gives, and those of `--like`."""
    settings: dict[str, Any] = {}
    if getattr(args, "like", None) is not None:
        if "preset" in args:
            raise ValueError("give --like or --preset, not both")
        from jaxnst.images import read_record
        from jaxnst.transfer.result import settings_of

        settings = settings_of(read_record(args.like), given=vars(args))
    names = (*SETTINGS, "masks")
    return settings | {name: vars(args)[name] for name in names if name in args}


def read_input(name: str) -> str | io.BytesIO:
    """Return a picture's name; for `-` what standard input holds, read once."""
    if name != STANDARD:
        return name
    from jaxnst.images.metadata import MAX_FILE

    data = sys.stdin.buffer.read(MAX_FILE + 1)  # more is refused when it is opened
    if not data:
        raise ValueError("standard input is empty, or read already; give a picture")
    stream = io.BytesIO(data)
    stream.name = "standard input"
    return stream


def check_picture_output(args: argparse.Namespace, longest: int = 0) -> Path:
    """Return where to write a picture; `-` is standard output, and nothing else is.

    `longest` is the longest side of the picture in pixels; 0 if it is not known yet.
    """
    from jaxnst.images import check_format, check_output

    form = {"bits": args.bits, "quality": args.quality, "longest": longest}
    if args.output != STANDARD:
        return check_output(args.output, **form)
    check_format(_PIPED, **form)
    if sys.stdout.isatty():
        raise ValueError("output - is this terminal; redirect it to a file or a pipe")
    args.quiet = True
    return Path(STANDARD)


def write_picture(output: Path, save_fn: Callable[[Path], object]) -> Path:
    """Write a picture to a file, or to standard output; return the place."""
    if output != Path(STANDARD):
        save_fn(output)
        return output
    with tempfile.TemporaryDirectory(prefix="jaxnst-") as folder:
        path = Path(folder) / _PIPED
        save_fn(path)
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return Path("standard output")


def say(*lines: str) -> None:
    """Print lines, unless the reader of the output has gone; then go on painting."""
    try:
        print(*map(plain, lines), sep="\n", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_error(line: str) -> None:
    """Print a line on standard error, with the command's name before it."""
    with contextlib.suppress(OSError):  # nobody reads it, or a disk is full
        print(f"jaxnst: {plain(line)}", file=sys.stderr, flush=True)


def error_text(error: Exception) -> str:
    """Return an error in one line, with a hint where its text says too little."""
    is_clear = isinstance(error, FORESEEN) and str(error).strip()
    return short(one_line(error)) + ("" if is_clear else " (--debug shows where)")
