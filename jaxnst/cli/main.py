"""The command line: its parser, and how commands end.

Errors are one line on standard error and exit code 2; `--debug` shows the traceback.
The commands themselves import JAX, so that help and wrong usage are quick.
"""

import argparse
import importlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from jaxnst._checks import short, suggestion

from .app import APP
from .networks import NETWORKS
from .options import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    error_text,
    say_error,
)
from .pictures import COMPARE, EXPLAIN, FINISH, SHOW
from .stylize import STYLIZE, STYLIZE_EXAMPLES, TEXTURE
from .sweep import BATCH, SWEEP
from .video import VIDEO


# In the order of the help.
_COMMANDS = {
    "stylize": STYLIZE,
    "sweep": SWEEP,
    "batch": BATCH,
    "video": VIDEO,
    "texture": TEXTURE,
    "finish": FINISH,
    "explain": EXPLAIN,
    "compare": COMPARE,
    "networks": NETWORKS,
    "show": SHOW,
    "app": APP,
}


# Those that need JAX at once.
_PAINTERS = ("stylize", "sweep", "batch", "video", "texture", "explain", "compare")


def _import_jax() -> None:
    """Import JAX with Ctrl-C held back, which would end the process within C++."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        importlib.import_module("jax.numpy")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        say_error(f"error: {short(message)} (see {self.prog} --help)")
        sys.exit(EXIT_ERROR)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        """Look the version up only when it is asked for."""
        from jaxnst import __version__

        print(f"jaxnst {__version__}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="jaxnst",
        description="Paint one picture in the style of another.",
        epilog=STYLIZE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(debug=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        command.add_to(commands, name, parser.prog)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: the command line without the program's name; None: this process's.
    """
    parser = build_parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    for each in arguments:
        # argparse would take away the value and give an empty list.
        if each.startswith("--") and each.endswith("=--"):
            parser.error(f"argument {each[:-3]}: expected a value, got '--'")
    if not arguments:
        parser.print_help()
        return 0
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        text = f"unrecognized arguments: {' '.join(unknown)}"
        near = suggestion(unknown[0], args.parser._option_string_actions)
        args.parser.error(text + (f".{near}" if near else ""))
    # Threads of LAPACK, which finds the eigenvalues of a few small matrices, wait for
    # each other for seconds where other processes are busy. Read when JAX is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if getattr(args, "max_megapixels", None) is not None:
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = round(args.max_megapixels * 1e6)
    previous = warnings.showwarning
    warnings.showwarning = _show_warning
    try:
        if args.command in _PAINTERS:
            _import_jax()
        code = args.run_fn(args)
        sys.stdout.flush()  # here, where a broken pipe is still caught
        return code
    except KeyboardInterrupt:
        say_error("interrupted, nothing was saved")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of the output (`head`, for example) has gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if args.debug:
            raise
        say_error(f"error: {error_text(error)}")
        return EXIT_ERROR
    finally:
        warnings.showwarning = previous


def command() -> int:
    """Run the command line of this process and return its exit code.

    SIGTERM, which clusters send some time before they kill, is heeded as the first
    Ctrl-C is; further ones are not.
    """
    came: list[int] = []

    def terminate(signum: int, frame: FrameType | None) -> None:
        came.append(signum)
        interrupt_fn = signal.getsignal(signal.SIGINT)
        if len(came) == 1 and callable(interrupt_fn):
            interrupt_fn(signal.SIGINT, frame)

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So shells start background jobs. It stays ignored, but now by being blocked,
        # so that there is a handler that `terminate` can call.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    if sys.stdout is None:  # it is closed
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # Names of files may have characters that a terminal's encoding has not.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = main()
    return EXIT_TERMINATED if came and code == EXIT_INTERRUPTED else code


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    say_error(f"warning: {short(' '.join(str(message).split()))}")
