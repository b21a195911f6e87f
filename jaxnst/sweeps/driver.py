"""`sweep`: many pictures from lists of settings, on every device there is."""

import concurrent.futures
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jaxnst._checks import check_count, suggestion
from jaxnst.config import SETTINGS
from jaxnst.images import check_format
from jaxnst.transfer.result import Result

from .brief import Assignment, Brief, make_brief
from .folder import SweepFolder
from .hosts import Hosts, find_hosts
from .local import Done, paint_here
from .members import Row
from .opening import STATE
from .remote import FileForm, check_executor, paint_elsewhere
from .results import SweepResult, make_row, open_folder
from .studio import Studio


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C during `sweep`; what is finished is not lost.

    Attributes:
        result: the pictures that were finished.
    """

    def __init__(self, result: SweepResult):
        super().__init__("interrupted; the pictures finished so far are in `.result`")
        self.result = result


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
    progress: bool = True,
    **settings: Any,
) -> SweepResult:
    """Paint a picture for each combination of settings that are given as lists.

    Any argument of `jaxnst.stylize` may be a list, the pictures as well. Everything is
    checked before anything is painted; a picture that then fails does not stop the
    others. Each picture is that of `stylize` with the same settings; where one device
    paints several side by side, up to rounding.

    On one CPU the pictures are painted one after the other; on accelerators, and where
    there are several devices, side by side, on all of them. Where JAX runs in several
    processes (`jax.distributed`), all are to make the same call, and share the work.

    Args:
        content: a picture, as for `stylize`, or a list of them.
        style: likewise. With `style_blend` a list is one blend, and a list of lists
            several.
        mode: "product", every value with every other; or "zip", the first of all lists,
            the second of all, and so on.
        output: a folder for pictures, contact sheet, manifest and page, filled as
            pictures are done. The same call again paints only what is missing. None:
            the pictures stay in memory.
        extension: of the pictures in it: ".png", ".jpg", ".webp" or ".tif".
        bits: per channel of them, 8 or 16.
        quality: of JPEG and WebP, 1 to 100.
        executor: paints elsewhere: any `concurrent.futures.Executor`, as of
            dask.distributed, Ray, loky, MPI, submitit, or a pool of processes that does
            not fork.
        batch_size: how many are painted at once; by default as memory allows.
        metrics: measure every picture that is painted, see `jaxnst.metrics`; the page
            then shows what is gained and lost.
        callback: called with the `Row` of each member that is done.
        progress: show a bar on standard error (lines where there is no terminal).
        settings: of `stylize`, or lists of them.

    Returns:
        What became of each member.

    Raises:
        ValueError, TypeError, OSError: if an input is unusable, before anything is
            painted; or if the folder holds another sweep.
        SweepInterrupted: on Ctrl-C, with what is finished; a KeyboardInterrupt.

    Examples:
        >>> grid = sweep("photo.jpg", "painting.jpg", style_weight=[0.3, 1, 3],
        ...              seed=range(4), output="grid/")  # doctest: +SKIP
        >>> grid.find(style_weight=3, seed=1)[0].file  # doctest: +SKIP
    """
    for name in settings:
        if name not in (*SETTINGS, "masks"):
            raise TypeError(
                f"{name!r} is no setting of `stylize`.{suggestion(name, SETTINGS)}"
            )
    if batch_size is not None:
        check_count("batch_size", batch_size)
    if callback is not None and not callable(callback):
        raise TypeError(f"`callback` must be callable, got {callback!r}.")
    if executor is not None:
        check_executor(executor)
    check_format(f"any{extension}", bits=bits, quality=quality)
    hosts = Hosts(0, 1) if executor is not None else find_hosts()
    if hosts.num_processes > 1 and output is None:
        raise ValueError(
            f"JAX runs in {hosts.num_processes} processes; give `output`, a folder "
            "that all of them see."
        )
    studio = Studio(progress=progress, metrics=metrics)
    brief = make_brief(content, style, settings, mode=mode, studio=studio)

    def painted(assignments: Sequence[Assignment]) -> Iterator[Done]:
        if executor is not None:
            file_form = None if output is None else FileForm(extension, bits, quality)
            return paint_elsewhere(
                assignments,
                executor,
                form=file_form,
                metrics=metrics,
                progress=progress,
            )
        return paint_here(assignments, studio, batch_size=batch_size, progress=progress)

    if output is None:
        return _sweep_in_memory(brief, painted, callback)
    form = {"bits": bits, "quality": quality}
    with open_folder(
        brief,
        output,
        extension=extension,
        form=form,
        process=hosts.process,
        num_processes=hosts.num_processes,
    ) as folder:
        return _sweep_into(folder, brief, hosts, painted, callback, form)


PaintFn = Callable[[Sequence[Assignment]], Iterator[Done]]
RowFn = Callable[[Row], object]


def _sweep_in_memory(
    brief: Brief, paint_fn: PaintFn, callback: RowFn | None
) -> SweepResult:
    rows: dict[int, Row] = {}
    results: dict[int, Result] = {}

    def result() -> SweepResult:
        return SweepResult(
            axes=brief.axes,
            mode=brief.mode,
            rows=[row for _, row in sorted(rows.items())],
            folder=None,
            results=results,
            brief=brief,
        )

    try:
        for done in paint_fn(brief.assignments):
            row = make_row(done)
            rows[row.index] = row
            if done.result is not None:
                results[row.index] = done.result
            if callback is not None:
                callback(row)
    except KeyboardInterrupt:
        raise SweepInterrupted(result()) from None
    return result()


def _sweep_into(
    folder: SweepFolder,
    brief: Brief,
    hosts: Hosts,
    paint_fn: PaintFn,
    callback: RowFn | None,
    form: Mapping[str, int],
) -> SweepResult:
    failed: dict[int, Row] = {}

    def result() -> SweepResult:
        rows = failed | folder.finished()
        return SweepResult(
            axes=brief.axes,
            mode=brief.mode,
            rows=[row for _, row in sorted(rows.items())],
            folder=folder.path,
            results={},
            brief=brief,
        )

    hosts.begin(folder.path / STATE)
    finished = folder.finished()
    missing = [i for i in range(len(brief.assignments)) if i not in finished]
    missing = hosts.agree(missing, len(brief.assignments))
    own = [brief.assignments[index] for index in hosts.share(missing)]
    try:
        for done in paint_fn(own):
            save_fn = None
            if done.result is not None:
                save_fn = functools.partial(done.result.save, **form)
            row = folder.add(make_row(done), save_fn)
            if row.error is not None:
                failed[row.index] = row
            if callback is not None:
                callback(row)
        hosts.finish(folder.path / STATE)
    except KeyboardInterrupt:
        raise SweepInterrupted(result()) from None
    return result()
