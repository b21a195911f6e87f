"""The command line: `jaxnst stylize` and the other commands.

Errors are one line on standard error and exit code 2; `--debug` shows the traceback.
JAX is imported by the commands themselves, so that help and wrong usage are quick.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxnst._checks import FORESEEN, one_line
from jaxnst.trust import trust_code

from .batch import batch
from .compare import compare
from .explain import explain
from .finish import finish
from .networks import networks
from .parser import build_parser
from .settings import EXIT_ERROR, EXIT_INTERRUPTED, given_settings
from .sweep import sweep
from .texture import texture


if TYPE_CHECKING:
    from jaxnst.transfer.result import Result


# Strengths may be off by so much before anybody is told.
STRENGTH_TOLERANCE = 0.03


def command() -> int:
    """Run the command that this process was started for, and return its exit code."""
    trust_code()
    return main()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    args = build_parser().parse_args(arguments)
    # Threads of LAPACK, which finds the eigenvalues of a few small matrices, wait for
    # each other for seconds where other processes are busy. Read when JAX is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    previous = warnings.showwarning
    warnings.showwarning = _show_warning
    try:
        code = COMMANDS[args.command](args)
        sys.stdout.flush()  # here, where a broken pipe is still caught
        return code
    except KeyboardInterrupt:
        print("jaxnst: interrupted, nothing was saved", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`head`, say) has gone; nothing more to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if args.debug:
            raise
        print(f"jaxnst: error: {_one_line(error)}", file=sys.stderr)
        return EXIT_ERROR
    finally:
        warnings.showwarning = previous


def _one_line(error: Exception) -> str:
    is_clear = isinstance(error, FORESEEN) and str(error).strip()
    return one_line(error) + ("" if is_clear else " (--debug shows where)")


def _show_warning(
    message: Warning | str, category: type[Warning], *_: object, **__: object
) -> None:
    del category
    print(f"jaxnst: warning: {message}", file=sys.stderr)


def _stylize(args: argparse.Namespace) -> int:
    from jaxnst.images import check_output

    output = check_output(args.output, bits=args.bits, quality=args.quality)
    if args.trace is not None:
        from jaxnst.insight.plots import check_history_path

        check_history_path(args.trace)
    for name, path in [("content", args.content), *(("style", x) for x in args.style)]:
        source = Path(path)
        if output.exists() and source.exists() and output.samefile(source):
            raise ValueError(f"output {output} is the {name} picture; choose another")
    style = args.style if len(args.style) > 1 else args.style[0]
    settings = given_settings(args)
    if args.estimate:
        from jaxnst.transfer.driver import estimate

        print(estimate(args.content, style, **settings))
        return 0

    from jaxnst.transfer.driver import stylize
    from jaxnst.transfer.result import FINISHED, Interrupted

    try:
        result = stylize(
            args.content,
            style,
            metrics=args.metrics,
            progress=not args.quiet,
            **settings,
        )
    except Interrupted as interrupted:
        result = interrupted.result
        output = _save(result, output, args)
        _save_trace(result, args)
        steps = result.record["result"]["steps"]
        print(
            f"jaxnst: interrupted after {steps} steps; the picture reached so far is "
            f"in {output}",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    output = _save(result, output, args)
    _save_trace(result, args)
    made, seconds = result.record["result"], result.record["seconds"]
    is_good = made["stopped"] in FINISHED
    if not is_good:
        print(
            f"jaxnst: error: stopped after {made['steps']} steps "
            f"({made['stopped']}); the last good picture is in {output}",
            file=sys.stderr,
        )
    _tell_strength(made.get("strength"))
    for recovery in result.record["recoveries"]:
        print(
            f"jaxnst: warning: {recovery['reason']} at {recovery['size']} px, step "
            f"{recovery['step']}: {recovery['action']}",
            file=sys.stderr,
        )
    if is_good and not args.quiet:
        print(
            f"{output}  ({made['width']} x {made['height']}, {made['steps']} steps, "
            f"{seconds['total']:.0f} s)"
        )
    if args.metrics and not args.quiet:
        from jaxnst.metrics import Metrics, format_table
        from jaxnst.metrics.evaluation import LEGEND

        measured = result.record["metrics"]
        metrics = Metrics(*(measured[name] for name in Metrics._fields))
        print(f"{format_table({output.name: metrics})}\n\n{LEGEND}")
        if seams := [f"{k[-1]} {v:.2f}" for k, v in measured.items() if "seam" in k]:
            print(f"seam       {', '.join(seams)}; 1: none to be seen")
    return 0 if is_good else EXIT_ERROR


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
            print(
                f"jaxnst: warning: strength {wanted:g} was asked for, {found:.2f} was "
                "reached; more steps, as of --preset fine, may reach more",
                file=sys.stderr,
            )


def _save(result: "Result", output: Path, args: argparse.Namespace) -> Path:
    """Save the picture; where that fails, somewhere else rather than nowhere."""
    try:
        return result.save(output, bits=args.bits, quality=args.quality)
    except Exception as error:
        rescue = Path(tempfile.gettempdir()) / f"jaxnst-{os.getpid()}.png"
        result.save(rescue)
        raise OSError(
            f"{_one_line(error)}; the picture is in {rescue} instead"
        ) from error


def _save_trace(result: "Result", args: argparse.Namespace) -> None:
    """Write the losses, if that was asked for and anything was painted."""
    if args.trace is not None and len(result.history["total"]):
        from jaxnst.insight.plots import save_history

        save_history(result.history, args.trace)


def _show(args: argparse.Namespace) -> int:
    from jaxnst.images import read_record

    record = read_record(args.file)
    if args.json:
        print(json.dumps(record, indent=2))
        return 0
    for name, value in record.items():
        if name == "trace" and isinstance(value, dict):
            count = len(value.get("step", ()))
            print(f"{_plain(name):10} of {count} steps, in --json")
            continue
        if not isinstance(value, dict):
            print(f"{_plain(name):10} {_plain(value)}")
            continue
        print(_plain(name))
        for key, entry in value.items():
            print(f"  {_plain(key):18} {_plain(entry)}")
    return 0


def _plain(value: object) -> str:
    if isinstance(value, str):
        # Somebody else's picture must not steer the terminal.
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


COMMANDS = {
    "stylize": _stylize,
    "sweep": sweep,
    "batch": batch,
    "texture": texture,
    "finish": finish,
    "explain": explain,
    "compare": compare,
    "networks": networks,
    "show": _show,
}
