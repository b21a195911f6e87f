"""`batch`: many pictures, one after the other, whatever becomes of one of them."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jaxnst._checks import one_line, suggestion
from jaxnst.images import check_output, load_picture
from jaxnst.networks import Network
from jaxnst.pretrained import UsedWeights
from jaxnst.transfer.driver import stylize_prepared
from jaxnst.transfer.progress import Course, ProgressCallback
from jaxnst.transfer.result import FINISHED
from jaxnst.transfer.setup import Loaders, load_used_network, prepare

from .jobs_check import NOT_SET
from .jobs_file import COLUMNS, read_jobs
from .jobs_plan import PlannedJob, plan_jobs
from .keeping import Kept


# Networks that are held; a VGG-19 takes up to 200 MB.
_MAX_NETWORKS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one job.

    Attributes:
        number: of its row, as a spreadsheet shows it; or its place in the list, from 1.
        place: what it is called in messages: `jobs.csv row 4`.
        status: "painted"; "skipped", as it was there already; or "failed".
        path: of the picture, or where it was to be.
        record: of the picture, see `jaxnst.Result`; None if there is none.
        error: why it failed; or None.
    """

    number: int
    place: str
    status: Literal["painted", "skipped", "failed"]
    path: Path
    record: Mapping[str, Any] | None = None
    error: str | None = None


def batch(
    jobs: str | os.PathLike[str] | Iterable[Mapping[str, Any]],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    bits: int = 8,
    quality: int = 95,
    progress: bool = True,
    **defaults: Any,
) -> list[Outcome]:
    """Paint many pictures, each as a row of a table or an entry of a list says.

    Everything is checked before anything is painted. A picture that then fails does not
    stop the others. What is there already, finished, with the same settings and from
    the same pictures, is not painted again: after an interruption the same call does
    what is missing.

    Args:
        jobs: a file, see `jaxnst.sweeps.jobs_file.read_jobs`, whose relative paths
            start in its own folder; or mappings {argument of `stylize`: value}, where
            None and NaN are not set. "content" and "style" are needed, of which the
            latter may be several, in a list or with semicolons between them; "output"
            may name a file in the folder; by default it is number, content and style,
            as in `003_cat_wave.png`.
        output: the folder for the pictures; made if it is not there.
        overwrite: replace files of these names that are something else.
        bits: per channel of the files, 8 or 16.
        quality: of JPEG and WebP, 1 to 100.
        progress: show a bar on standard error (lines where there is no terminal).
        defaults: arguments of `stylize` for all jobs that do not say otherwise; before
            those in the file.

    Returns:
        What became of each job, in their order.

    Raises:
        BadJobs: naming all that is wrong with any job, before anything is painted; a
            ValueError.
        TypeError: if a default is no argument of `stylize`.
        ValueError, OSError: if the file cannot be read.
        KeyboardInterrupt: on Ctrl-C; what is finished is kept, the picture under way is
            given up.

    Examples:
        >>> outcomes = batch("jobs.csv", "out/", size=768)  # doctest: +SKIP
        >>> [each.error for each in outcomes if each.error]  # doctest: +SKIP
    """
    for name in defaults:
        if name not in COLUMNS or name == "output":
            hint = suggestion(name, COLUMNS)
            raise TypeError(f"{name!r} is no setting of `stylize`.{hint}")
    plan = plan_jobs(
        read_jobs(jobs),
        output,
        defaults={name: x for name, x in defaults.items() if x is not None},
        overwrite=overwrite,
        bits=bits,
        quality=quality,
    )
    return list(paint_jobs(plan, bits=bits, quality=quality, progress=progress))


def paint_jobs(
    plan: Sequence[PlannedJob],
    *,
    bits: int = 8,
    quality: int = 95,
    progress: bool = True,
    failed_fn: Callable[[Exception], object] = lambda _: None,
) -> Iterator[Outcome]:
    """Paint jobs, and yield what became of each, as soon as it is saved.

    Args:
        plan: of `plan_jobs`.
        bits: as for `jaxnst.Result.save`.
        quality: likewise.
        progress: show a bar.
        failed_fn: given the error of each job that fails.

    Raises:
        KeyboardInterrupt: on Ctrl-C, once the step at hand is done.
    """
    waiting = [job for job in plan if job.record is None]
    course = Course(sum(job.work for job in waiting))
    networks = Kept(_MAX_NETWORKS)

    def load_network(place: str, **options: Any) -> tuple[Network, UsedWeights]:
        return networks.get(
            (place, *sorted(options.items())),
            lambda: load_used_network(place, **options),
        )

    loaders = Loaders(load_picture, load_network)
    count = 0
    for job in plan:
        if job.record is not None:
            yield _outcome(job, "skipped", record=job.record)
            continue
        count += 1
        watcher = ProgressCallback(
            enabled=progress,
            title=f"picture {count} of {len(waiting)}",
            course=course,
            work=job.work,
        )
        try:
            record = _paint(
                job, watcher, loaders, bits=bits, quality=quality, progress=progress
            )
        except Exception as error:
            course.drop(job.work)
            failed_fn(error)
            outcome = _outcome(job, "failed", error=one_line(error))
        else:
            course.finish(job.work)
            outcome = _judged(job, record)
        yield outcome


def _paint(
    job: PlannedJob,
    watcher: ProgressCallback,
    loaders: Loaders,
    *,
    bits: int,
    quality: int,
    progress: bool,
) -> Mapping[str, Any]:
    """Paint and save a picture, and return its record."""
    started = time.perf_counter()
    job.output.parent.mkdir(parents=True, exist_ok=True)
    check_output(job.output, bits=bits, quality=quality)
    arguments = NOT_SET | dict(job.settings)
    prepared = prepare(
        job.content, job.style, progress=progress, loaders=loaders, **arguments
    )

    def notice(_: str) -> None:
        watcher.notice("stopping after this step; what is finished is kept")

    result = stylize_prepared(
        prepared,
        watcher,
        preset=arguments["preset"],
        started=started,
        notice_fn=notice,
    )
    result.save(job.output, bits=bits, quality=quality)
    return result.record


def _judged(job: PlannedJob, record: Mapping[str, Any]) -> Outcome:
    made = record["result"]
    if made["stopped"] in FINISHED:
        return _outcome(job, "painted", record=record)
    error = (
        f"stopped after {made['steps']} steps ({made['stopped']}); the last good "
        f"picture is in {job.output}"
    )
    return _outcome(job, "failed", record=record, error=error)


def _outcome(
    job: PlannedJob,
    status: Literal["painted", "skipped", "failed"],
    *,
    record: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> Outcome:
    return Outcome(
        number=job.number,
        place=job.place,
        status=status,
        path=job.output,
        record=record,
        error=error,
    )
