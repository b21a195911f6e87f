"""`jaxnst sweep` and `jaxnst batch`: many pictures, into a folder."""

import argparse
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnst._checks import one_or_all

from .options import (
    EXIT_ERROR,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    FILE_OPTIONS,
    FOLDER,
    QUIET,
    WHOLE,
    Command,
    flag,
    given_settings,
    option,
    say,
    say_error,
    setting_options,
)
from .stylize import recovery_text, result_text


if TYPE_CHECKING:
    from jaxnst.sweeps.axes import Row
    from jaxnst.sweeps.driver import Outcome
    from jaxnst.sweeps.jobs import PictureJob


# Of the files in a folder that are no pictures so many are named.
_MAX_NAMED = 5
# Arguments of `jaxnst.sweep` that are options of the same name.
_PASSED_ON = ("mode", "output", "bits", "quality", "batch_size", "metrics")

_SWEEP_DESCRIPTION = """\
Paint a picture for each combination of settings: any option may have several
values, as in --strength 0.5,0.7,0.9 or --init noise --seed 0..9. FOLDER gets the
pictures, a labelled contact sheet (sheet.png), a page (index.html) and all
figures (manifest.json, manifest.csv), filled while they are painted. The same
command again paints only what is missing.
"""

_SWEEP_EXAMPLES = """\
examples:
  jaxnst sweep photo.jpg painting.jpg --strength 0.5,0.7,0.9 -o grid/
      what the strength does

  jaxnst sweep photo.jpg painting.jpg --init noise --seed 0..9 -o ten/
      ten variants

  jaxnst sweep photo.jpg painting.jpg --style-weight 0.3,1,3 --init noise \\
      --seed 0..3 -o grid/
      twelve pictures, a row for each weight

  jaxnst sweep photo.jpg one.jpg other.jpg -o grid/
      several paintings; a folder stands for all pictures in it

  jaxnst sweep photo.jpg one.jpg other.jpg --style-blend "1,0; 1,1; 0,1" -o grid/
      from one to the other (layers and blends are separated by semicolons)

  jaxnst sweep photo.jpg painting.jpg --style-weight 1,3 --num-steps 50,150 \\
      --mode zip -o grid/
      two pictures: the first values together, then the second ones

exit code: 0 all is there, 1 some failed, 2 nothing was begun, 130 interrupted
"""
_BATCH_DESCRIPTION = """\
Paint one picture for each row of JOBS. All rows are checked before the first
is painted; a picture that then fails does not stop the others. The same
command again paints only what is missing.

The columns of JOBS are content, style, and any setting below (style_weight,
size, ...); output may name a file in FOLDER (by default like
003_cat_wave.png). Relative paths start in the folder in which JOBS is. A
blank cell is not set. What a row sets counts before an option of this
command, and that before [defaults] in JOBS.
"""

_BATCH_EXAMPLES = """\
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


def _sweep(args: argparse.Namespace) -> int:
    settings = given_settings(args)
    contents = [args.content, *args.more_contents]
    contents = _pictures(contents, "content", is_quiet=args.quiet)
    styles = _pictures(args.style, "style", is_quiet=args.quiet)
    extension = args.extension if args.extension[:1] == "." else f".{args.extension}"

    from jaxnst.sweeps.driver import SweepInterrupted, sweep

    num_new = 0

    def tell(row: "Row") -> None:
        nonlocal num_new
        num_new += row.error is None
        _tell_row(row, Path(args.output), is_quiet=args.quiet)

    is_interrupted = False
    try:
        result = sweep(
            one_or_all(contents),
            one_or_all(styles),
            extension=extension,
            callback=tell,
            progress=not args.quiet,
            **{name: vars(args)[name] for name in _PASSED_ON},
            **settings,
        )
    except SweepInterrupted as interrupted:
        result, is_interrupted = interrupted.result, True
    num_there = sum(row.error is None for row in result.rows) - num_new
    counts = num_new, num_there, len(result.errors), len(result)
    is_done = not is_interrupted and not result.errors
    more = f": {Path(args.output) / 'index.html'}" if is_done else ""
    return _end(counts, more, is_interrupted=is_interrupted, is_quiet=args.quiet)


def _end(
    counts: Sequence[int], more: str, *, is_interrupted: bool, is_quiet: bool
) -> int:
    """Say how many pictures are new, old, failed, of how many; return the exit code."""
    num_new, num_there, num_failed, total = counts
    summary = f"{num_new} of {total} painted"
    summary += f", {num_there} already there" if num_there else ""
    summary += (f", {num_failed} failed" if num_failed else "") + more
    if is_interrupted:
        say_error(f"interrupted; {summary}; the same command again goes on from here")
        return EXIT_INTERRUPTED
    if num_failed:
        say_error(f"error: {summary}")
        return EXIT_FAILED
    if not is_quiet:
        say(summary)
    return 0


def _pictures(names: list[str], argument: str, *, is_quiet: bool) -> list[str]:
    """Return files, and for folders the pictures in them: frame 2 before frame 10."""
    found: list[str] = []
    for name in names:
        folder = Path(name)
        if not folder.is_dir():
            found.append(name)
            continue
        from jaxnst.images.files import sorted_naturally
        from jaxnst.images.load import EXTENSIONS, check_picture

        inside = sorted_naturally(x for x in folder.glob("[!.]*") if x.is_file())
        pictures = [str(path) for path in inside if path.suffix.lower() in EXTENSIONS]
        for path in pictures:
            check_picture(path, argument=argument, is_named=False)
        found += pictures
        others = [path.name for path in inside if str(path) not in pictures]
        what = "1 file" if len(others) == 1 else f"{len(others)} files"
        more = ", ..." if len(others) > _MAX_NAMED else ""
        told = f"{what} left out: {', '.join(others[:_MAX_NAMED])}{more}"
        if any(other.lower().endswith((".heic", ".heif")) for other in others):
            told += " (HEIC needs pillow-heif: pip install 'jaxnst[heic]')"
        if not pictures:
            told = f"; {told}" if others else ""
            raise ValueError(f"`{argument}`: no pictures in folder {name}{told}")
        if others and not is_quiet:
            say_error(told)
    return found


def _tell_row(row: "Row", folder: Path, *, is_quiet: bool) -> None:
    if row.error is not None:
        say_error(f"error: {row.title}: {row.error}")
        return
    if row.stopped not in (None, "out of time"):
        say_error(f"warning: {row.title}: stopped early ({row.stopped})")
    if not is_quiet:
        say(
            f"{folder / str(row.file)}  ({row.width} x {row.height}, {row.steps} "
            f"steps, {row.seconds:.0f} s)"
        )


def _batch(args: argparse.Namespace) -> int:
    from jaxnst.sweeps.table import BadJobs, plan_table, read_jobs

    jobs = read_jobs(args.jobs)
    defaults = given_settings(args)
    for number, values in jobs.rows.items():
        if args.like is not None and "preset" in jobs.defaults | values:
            raise ValueError(
                f"{jobs.place(number)} has a `preset`, which --like would replace; "
                "give one of them"
            )
    options = {"overwrite": args.overwrite, "bits": args.bits, "quality": args.quality}
    try:
        plan = plan_table(jobs, args.output, defaults=defaults, **options)
    except BadJobs as error:
        if args.debug:
            raise
        for line in error.lines:
            say_error(f"error: {line}")
        if len(error.problems) > 1:
            say_error(f"{len(error.problems)} problems; nothing was painted")
        return EXIT_ERROR
    if not args.check:
        return _paint_table(plan, jobs.noun, args)
    if not args.quiet:
        for job in plan:
            note = "" if job.record is None else "  (already there)"
            say(f"{jobs.noun} {job.number}: {job.output}{note}")
        num_there = sum(job.record is not None for job in plan)
        there = f", {num_there} already there" if num_there else ""
        say(f"all is well: {len(plan) - num_there} of {len(plan)} to be painted{there}")
    return 0


def _paint_table(
    plan: "Sequence[PictureJob]", noun: str, args: argparse.Namespace
) -> int:
    from jaxnst.sweeps.driver import paint_table

    numbers: dict[str, list[str]] = {"painted": [], "skipped": [], "failed": []}
    is_interrupted = False
    failed_fn = traceback.print_exception if args.debug else lambda _: None
    form = {"bits": args.bits, "quality": args.quality, "progress": not args.quiet}
    try:
        for outcome in paint_table(plan, failed_fn=failed_fn, **form):
            numbers[outcome.status].append(str(outcome.number))
            _tell_outcome(outcome, noun, is_quiet=args.quiet)
    except KeyboardInterrupt:
        is_interrupted = True
    failed = numbers["failed"]
    plural = "s" if len(failed) > 1 else ""
    more = f": {noun}{plural} {', '.join(failed)}" if failed else ""
    counts = *map(len, numbers.values()), len(plan)
    return _end(counts, more, is_interrupted=is_interrupted, is_quiet=args.quiet)


def _tell_outcome(outcome: "Outcome", noun: str, *, is_quiet: bool) -> None:
    if outcome.error is not None:
        say_error(f"error: {outcome.place}: {outcome.error}")
    record, note = outcome.record or {}, "already there"
    if outcome.status != "skipped":
        for recovery in record.get("recoveries", ()):
            say_error(f"warning: {outcome.place}: {recovery_text(recovery)}")
    if outcome.status == "painted":
        note = result_text(record)
    if not is_quiet and outcome.status != "failed":
        say(f"{noun} {outcome.number}: {outcome.path}  ({note})")


SWEEP = Command(
    run_fn=_sweep,
    help="paint a picture for each combination of settings",
    usage="jaxnst sweep CONTENT STYLE [STYLE ...] -o FOLDER [options]",
    description=_SWEEP_DESCRIPTION,
    epilog=_SWEEP_EXAMPLES,
    shown=("output", "mode", "style_weight", "init", "seed"),
    options=(
        option("content", "the picture to paint, or a folder of them", "CONTENT"),
        option(
            "style",
            "pictures in the style, or folders; each in turn, or blended with "
            "--style-blend or --mask",
            "STYLE",
            nargs="+",
        ),
        FOLDER,
        option(
            "--more-contents",
            "more pictures to paint, each in turn",
            "CONTENT",
            nargs="+",
            default=[],
        ),
        option(
            "--mode",
            "product: every value with every other (default); zip: first with first",
            "NAME",
            default="product",
        ),
        option(
            "--batch-size",
            "pictures at once (as memory allows; on one CPU one)",
            "N",
            type=WHOLE,
        ),
        option(
            "--extension",
            "format of the pictures: .png .jpg .webp .tif (default: %(default)s)",
            "EXT",
            default=".png",
        ),
        flag("--metrics", "measure every picture, with AlexNet, and plot the measures"),
        QUIET,
        *setting_options(are_swept=True),
        *FILE_OPTIONS,
    ),
)
BATCH = Command(
    run_fn=_batch,
    help="paint the pictures that a table asks for",
    usage="jaxnst batch JOBS -o FOLDER [options]",
    description=_BATCH_DESCRIPTION,
    epilog=_BATCH_EXAMPLES,
    shown=("output", "check", "overwrite"),
    options=(
        option("jobs", ".csv, .tsv, .json or .toml", "JOBS"),
        FOLDER,
        flag(
            "--check --dry-run",
            "check everything, say what would be painted, and paint nothing",
            dest="check",
        ),
        flag(
            "--overwrite",
            "replace files in the folder that are other pictures than asked for",
        ),
        QUIET,
        *setting_options(without=["masks"]),
        *FILE_OPTIONS,
    ),
)
