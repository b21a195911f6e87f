"""`sweep` and `batch`: many pictures, from lists of settings or from a table."""

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from jaxnst._checks import check_count, one_line, shown, suggestion
from jaxnst.config import SETTINGS
from jaxnst.images import check_format, check_output
from jaxnst.networks.devices import check_platforms
from jaxnst.optimize import StepCallback
from jaxnst.transfer.result import FINISHED, Result

from .axes import Row
from .executor import Hosts, check_executor, paint_elsewhere
from .folder import STATE, SweepFolder
from .jobs import JobLoader, PictureJob, SweepPlan, plan_sweep
from .results import SweepResult, make_row, open_folder
from .runner import Done, paint_here
from .table import COLUMNS, plan_table, read_jobs


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C during `sweep`; what is finished is not lost.

    Attributes:
        result: the pictures that were finished.
    """

    def __init__(self, result: SweepResult):
        super().__init__("interrupted; the pictures finished so far are in `.result`")
        self.result = result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one job of a batch.

    Attributes:
        number: its row, as a spreadsheet shows it; or its place in the list, from 1.
        place: its name in messages, such as `jobs.csv row 4`.
        status: "painted"; "skipped", as it was there already; or "failed".
        path: path of the picture, also if it was not painted.
        record: record of the picture, see `jaxnst.Result`; None if there is none.
        error: reason for a failure; or None.
    """

    number: int
    place: str
    status: Literal["painted", "skipped", "failed"]
    path: Path
    record: Mapping[str, Any] | None = None
    error: str | None = None


def sweep(
    content: Any,
    style: Any,
    *,
    mode: str = "product",
    output: str | os.PathLike[str] | None = None,
    extension: str = ".png",
    bits: int = 8,
    quality: int = 95,
    executor: concurrent.futures.Executor | None = None,
    batch_size: int | None = None,
    metrics: bool = False,
    callback: Callable[[Row], object] | None = None,
    step_callback: StepCallback | None = None,
    progress: bool = True,
    **settings: Any,
) -> SweepResult:
    """Paint a picture for each combination of settings that are given as lists.

    Any argument of `jaxnst.stylize` may be a list, pictures included. Everything is
    checked before anything is painted; a picture that then fails does not stop the
    others. Each picture is that of `stylize` with the same settings; where several are
    painted at once, up to rounding, which steps may enlarge.

    On one CPU the pictures are painted one after the other; on accelerators, and on
    several devices, side by side. Where JAX runs in several processes
    (`jax.distributed`), all must make the same call, and they share the work.

    Args:
        content: a picture, as for `stylize`, or a list of pictures.
        style: a picture, as for `stylize`, or a list of pictures. With `style_blend` a
            list is one blend, and a list of lists several.
        mode: "product", every value with every other; or "zip", the first of all lists,
            the second of all, and so on.
        output: folder for pictures, contact sheet, manifest and page, filled as
            pictures are done. The same call again paints only what is missing. None:
            the pictures stay in memory.
        extension: extension of the pictures: ".png", ".jpg", ".webp" or ".tif".
        bits: bits per channel, 8 or 16.
        quality: quality of JPEG and WebP, 1 to 100.
        executor: paints elsewhere: any `concurrent.futures.Executor`, as of
            dask.distributed, Ray, loky, MPI, submitit, or a pool of processes that does
            not fork.
        batch_size: number of pictures painted at once; by default as memory allows.
        metrics: measure every picture that is painted, see `jaxnst.metrics`; the page
            then shows what each setting gains and loses.
        callback: called with the `Row` of each member that is done.
        step_callback: called with each step, as the callback of `stylize`; where
            several are painted at once, with those of the one that is ahead. A
            KeyboardInterrupt that it raises ends the sweep, as Ctrl-C does; what it
            returns is not used. An `executor` does not call it.
        progress: show a bar on standard error (lines where there is no terminal).
        settings: arguments of `stylize`, or lists of them.

    Returns:
        A row for each member, and the pictures or their folder.

    Raises:
        ValueError, TypeError, OSError: if an input is unusable, before anything is
            painted; or if the folder holds another sweep.
        SweepInterrupted: on Ctrl-C, with what is finished; a KeyboardInterrupt.

    Examples:
        >>> grid = sweep("photo.jpg", "painting.jpg", style_weight=[0.3, 1, 3],
        ...              detail=[-0.5, 0.5], output="grid/")  # doctest: +SKIP
        >>> grid.find(style_weight=3, detail=0.5)[0].file  # doctest: +SKIP
    """
    for name in settings:
        if name not in (*SETTINGS, "masks"):
            raise TypeError(
                f"{shown(name)} is no setting of `stylize`.{suggestion(name, SETTINGS)}"
            )
    if batch_size is not None:
        check_count("batch_size", batch_size)
    for name, each in (("callback", callback), ("step_callback", step_callback)):
        if each is not None and not callable(each):
            raise TypeError(f"`{name}` must be callable, got {shown(each)}.")
    if executor is not None:
        check_executor(executor)
    check_format(f"any{extension}", bits=bits, quality=quality)
    hosts = Hosts()
    if executor is None:
        check_platforms()
        hosts = Hosts(jax.process_index(), jax.process_count())
    if hosts.num_processes > 1 and output is None:
        raise ValueError(
            f"JAX runs in {hosts.num_processes} processes; give `output`, a folder "
            "that all of them see."
        )
    loader = JobLoader(progress=progress)
    plan = plan_sweep(content, style, settings, mode=mode, loader=loader)
    form = {"bits": bits, "quality": quality}
    longest = max(max(job.shape) for job in plan.jobs)
    check_format(f"any{extension}", **form, longest=longest)
    shared: dict[str, Any] = {"metrics": metrics, "progress": progress}
    if executor is None:
        paint_fn = functools.partial(
            paint_here,
            load_fn=loader.load,
            batch_size=batch_size,
            step_fn=step_callback,
            **shared,
        )
    else:
        paint_fn = functools.partial(
            paint_elsewhere,
            executor=executor,
            extension=None if output is None else extension,
            form=form,
            **shared,
        )
    if output is None:
        return _paint_members(plan, paint_fn, callback, None, hosts, form)
    with open_folder(
        plan, output, extension=extension, form=form, **hosts._asdict()
    ) as folder:
        return _paint_members(plan, paint_fn, callback, folder, hosts, form)


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
    stop the others. A picture that is there already, finished, with the same settings
    and from the same pictures, is not painted again: after an interruption the same
    call paints what is missing.

    Args:
        jobs: a file, see `jaxnst.sweeps.table.read_jobs`, whose relative paths start in
            its own folder; or mappings {argument of `stylize`: value}, where None and
            NaN are not set. "content" and "style" are needed; the style may be several
            pictures, in a list or with semicolons between them. "output" may name a
            file in the folder; by default it is number, content and style, as in
            `003_cat_wave.png`.
        output: folder for the pictures; made if it is not there.
        overwrite: replace files of these names that are something else.
        bits: bits per channel of the files, 8 or 16.
        quality: quality of JPEG and WebP, 1 to 100.
        progress: show a bar on standard error (lines where there is no terminal).
        defaults: arguments of `stylize` for all jobs that do not say otherwise; they
            precede those in the file.

    Returns:
        The outcome of each job, in their order.

    Raises:
        BadJobs: naming all that is wrong with any job, before anything is painted; a
            ValueError.
        TypeError: if a default is no argument of `stylize`.
        ValueError, OSError: if the file cannot be read.
        KeyboardInterrupt: on Ctrl-C; what is finished is kept, the picture under way is
            not.

    Examples:
        >>> outcomes = batch("jobs.csv", "out/", size=768)  # doctest: +SKIP
        >>> [each.error for each in outcomes if each.error]  # doctest: +SKIP
    """
    for name in defaults:
        if name not in COLUMNS or name == "output":
            hint = suggestion(name, COLUMNS)
            raise TypeError(f"{shown(name)} is no setting of `stylize`.{hint}")
    plan = plan_table(
        read_jobs(jobs),
        output,
        defaults={name: x for name, x in defaults.items() if x is not None},
        overwrite=overwrite,
        bits=bits,
        quality=quality,
    )
    painted = paint_table(plan, bits=bits, quality=quality, progress=progress)
    return sorted(painted, key=lambda outcome: outcome.number)


def paint_table(
    jobs: Sequence[PictureJob],
    *,
    bits: int = 8,
    quality: int = 95,
    progress: bool = True,
    failed_fn: Callable[[Exception], object] = lambda _: None,
) -> Iterator[Outcome]:
    """Paint jobs of `plan_table`, and yield the outcome of each when it is saved.

    `failed_fn` is called with the error of each job that fails.
    """
    form = {"bits": bits, "quality": quality}

    def outcome(job: PictureJob, status: Any, **about: Any) -> Outcome:
        assert job.output is not None
        if isinstance(error := about.get("error"), Exception):
            failed_fn(error)
            about["error"] = one_line(error)
        return Outcome(
            number=job.number, place=job.place, status=status, path=job.output, **about
        )

    waiting = []
    for job in jobs:
        assert job.output is not None
        if job.record is not None:
            yield outcome(job, "skipped", record=job.record)
            continue
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            check_output(job.output, **form)
        except (OSError, ValueError) as error:
            yield outcome(job, "failed", error=error)
        else:
            waiting.append(job)
    loader = JobLoader(progress=progress)
    for job, result, problem, *_ in paint_here(waiting, loader.load, progress=progress):
        if problem is None:
            try:
                result.save(job.output, **form)
            except OSError as error:
                problem = error
        if problem is not None:
            yield outcome(job, "failed", error=problem)
            continue
        made = result.record["result"]
        if made["stopped"] in FINISHED:
            yield outcome(job, "painted", record=result.record)
            continue
        text = (
            f"stopped after {made['steps']} steps ({made['stopped']}); the last good "
            f"picture is in {job.output}"
        )
        yield outcome(job, "failed", record=result.record, error=text)


def _paint_members(
    plan: SweepPlan,
    paint_fn: Callable[[Sequence[PictureJob]], Iterator[Done]],
    callback: Callable[[Row], object] | None,
    folder: SweepFolder | None,
    hosts: Hosts,
    form: Mapping[str, int],
) -> SweepResult:
    """Paint all members, or those that are missing in a folder."""
    rows: dict[int, Row] = {}
    results: dict[int, Result] = {}
    jobs = plan.jobs
    if folder is not None:
        there = {
            index for index, row in folder.finished().items() if row.stopped in FINISHED
        }
        missing = sorted({job.number for job in jobs} - there)
        share = hosts.share(missing, len(jobs), folder.path / STATE)
        jobs = [plan.jobs[index] for index in share]
    is_interrupted = False
    try:
        for done in paint_fn(jobs):
            row, result = make_row(done.job, done), done.result
            if folder is not None:
                save_fn = result and functools.partial(result.save, **form)
                row = folder.add(row, save_fn)
            elif result is not None:
                results[row.index] = result
            rows[row.index] = row
            if callback is not None:
                callback(row)
        if folder is not None:
            hosts.finish(folder.path / STATE)
    except KeyboardInterrupt:
        is_interrupted = True
    if folder is not None:
        rows |= folder.finished()
    found = SweepResult(
        axes=plan.axes,
        mode=plan.mode,
        rows=[row for _, row in sorted(rows.items())],
        folder=None if folder is None else folder.path,
        results=results,
        plan=plan,
    )
    if is_interrupted:
        raise SweepInterrupted(found)
    return found
