"""`jaxnst batch`: the pictures that a table asks for, one after the other."""

import argparse
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .settings import (
    EXIT_ERROR,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    add_command,
    add_file_options,
    add_settings,
    given_settings,
    say,
    say_error,
)


if TYPE_CHECKING:
    from jaxnst.sweeps.driver import Outcome
    from jaxnst.sweeps.jobs import PictureJob
    from jaxnst.sweeps.table import JobTable


_DESCRIPTION = """\
Paint one picture for each row of JOBS. All rows are checked before the first
is painted; a picture that then fails does not stop the others. The same
command again paints only what is missing.

The columns of JOBS are content, style, and any setting below (style_weight,
size, ...); output may name a file in FOLDER (by default like
003_cat_wave.png). Relative paths start in the folder in which JOBS is. A
blank cell is not set. What a row sets counts before an option of this
command, and that before [defaults] in JOBS.
"""

_EXAMPLES = """\
examples:
  jaxnst batch jobs.csv -o out/
      where jobs.csv is
          content,style,style_weight,output
          cat.jpg,wave.jpg,,
          cat.jpg,wave.jpg,3,strong_cat.png
          # lines like this one are skipped

  jaxnst batch jobs.toml -o out/ --size 768 --preset draft
      settings for all rows; where jobs.toml is
          [defaults]
          style = "wave.jpg"
          [[jobs]]
          content = "cat.jpg"
          [[jobs]]
          content = "dog.jpg"
          style_layers = { relu1_1 = 1, relu3_1 = 0.5 }

  jaxnst batch jobs.json -o out/ --check
      see whether all is well, and paint nothing; jobs.json is a list of
      objects, or {"defaults": {...}, "jobs": [...]}

exit code: 0 all is there, 1 some failed, 2 nothing was begun, 130 interrupted
"""


def add_batch(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `batch`.

    Args:
        commands: of argparse, to which it is added.
        common: the options that all commands have.
    """
    parser = add_command(
        commands,
        "batch",
        shown=("output", "check", "overwrite"),
        parents=[common],
        help="paint the pictures that a table asks for",
        usage="jaxnst batch JOBS -o FOLDER [options]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add = parser.add_argument
    add("jobs", metavar="JOBS", help=".csv, .tsv, .json or .toml")
    add(
        "-o",
        "--output",
        required=True,
        metavar="FOLDER",
        help="where the pictures go; made if it is not there",
    )
    add(
        "--check",
        "--dry-run",
        dest="check",
        action="store_true",
        help="check everything, say what would be painted, and paint nothing",
    )
    add(
        "--overwrite",
        action="store_true",
        help="replace files that are there and are something else (what is just what "
        "is asked for stays)",
    )
    add("-q", "--quiet", action="store_true", help="print nothing but errors")
    add_settings(parser, without=["masks"])
    add_file_options(parser)


def batch(args: argparse.Namespace) -> int:
    """Run `jaxnst batch ...` and return its exit code."""
    from jaxnst.sweeps.table import read_jobs

    jobs = read_jobs(args.jobs)
    defaults = given_settings(args)
    if args.like is not None:
        _refuse_presets(jobs)

    from jaxnst.sweeps.table import BadJobs, plan_table

    try:
        plan = plan_table(
            jobs,
            args.output,
            defaults=defaults,
            overwrite=args.overwrite,
            bits=args.bits,
            quality=args.quality,
        )
    except BadJobs as error:
        if args.debug:
            raise
        for line in error.lines:
            say_error(f"error: {line}")
        if len(error.problems) > 1:
            say_error(f"{len(error.problems)} problems; nothing was painted")
        return EXIT_ERROR
    if args.check:
        _tell_plan(plan, jobs.noun, is_quiet=args.quiet)
        return 0
    return _paint(plan, jobs.noun, args)


def _refuse_presets(jobs: "JobTable") -> None:
    for job in jobs.items:
        if "preset" in jobs.defaults or "preset" in job.values:
            raise ValueError(
                f"{jobs.place(job.number)} has a `preset`, of which --like would leave "
                "nothing; give one of them"
            )


def _paint(plan: "Sequence[PictureJob]", noun: str, args: argparse.Namespace) -> int:
    from jaxnst.sweeps.driver import paint_table

    outcomes: list[Outcome] = []
    failed_fn = traceback.print_exception if args.debug else lambda _: None
    try:
        for outcome in paint_table(
            plan,
            bits=args.bits,
            quality=args.quality,
            progress=not args.quiet,
            failed_fn=failed_fn,
        ):
            outcomes.append(outcome)
            _tell_outcome(outcome, noun, is_quiet=args.quiet)
    except KeyboardInterrupt:
        say_error(
            f"interrupted; {_summary(outcomes, noun, len(plan))}; the same command "
            "again goes on from here"
        )
        return EXIT_INTERRUPTED
    summary = _summary(outcomes, noun, len(plan))
    if any(outcome.status == "failed" for outcome in outcomes):
        say_error(f"error: {summary}")
        return EXIT_FAILED
    if not args.quiet:
        say(summary)
    return 0


def _tell_plan(plan: "Sequence[PictureJob]", noun: str, *, is_quiet: bool) -> None:
    if is_quiet:
        return
    for job in plan:
        note = "" if job.record is None else "  (already there)"
        say(f"{noun} {job.number}: {job.output}{note}")
    num_there = sum(job.record is not None for job in plan)
    there = f", {num_there} already there" if num_there else ""
    say(f"all is well: {len(plan) - num_there} of {len(plan)} to be painted{there}")


def _tell_outcome(outcome: "Outcome", noun: str, *, is_quiet: bool) -> None:
    if outcome.error is not None:
        say_error(f"error: {outcome.place}: {outcome.error}")
    record = outcome.record
    if record is None:
        return
    if outcome.status != "skipped":
        for recovery in record["recoveries"]:
            say_error(
                f"warning: {outcome.place}: {recovery['reason']} at "
                f"{recovery['size']} px, step {recovery['step']}: {recovery['action']}"
            )
    if is_quiet or outcome.status == "failed":
        return
    note = "already there"
    if outcome.status == "painted":
        made, seconds = record["result"], record["seconds"]["total"]
        note = (
            f"{made['width']} x {made['height']}, {made['steps']} steps, "
            f"{seconds:.0f} s"
        )
    say(f"{noun} {outcome.number}: {outcome.path}  ({note})")


def _summary(outcomes: "Sequence[Outcome]", noun: str, num_jobs: int) -> str:
    """Return what became of all: `9 of 10 painted, 1 failed: row 7`."""
    found = {
        status: [str(each.number) for each in outcomes if each.status == status]
        for status in ("painted", "skipped", "failed")
    }
    text = f"{len(found['painted'])} of {num_jobs} painted"
    if found["skipped"]:
        text += f", {len(found['skipped'])} already there"
    if failed := found["failed"]:
        nouns = noun if len(failed) == 1 else f"{noun}s"
        text += f", {len(failed)} failed: {nouns} {', '.join(failed)}"
    return text
