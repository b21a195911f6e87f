"""Jobs painted by other processes: any executor, or several processes of JAX.

What is sent to an executor holds all that it needs, pictures included, and gives the
same picture wherever and however often it runs; so a cluster may lose it and run it
again. Only weights are read where the worker is: by name, or from a file of the same
path.
"""

import concurrent.futures
import contextlib
import functools
import io
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnst.images.load import NAMED, Readable
from jaxnst.transfer.result import Result
from jaxnst.transfer.terminal import Screen

from .jobs import PictureJob
from .runner import Done


_POLL_SECONDS = 0.5
_LEFT = "process-{}.done"


class PaintedFile(NamedTuple):
    """A result as a file: less to send than a `Result`, and already encoded."""

    data: bytes
    record: Mapping[str, Any]
    history: Mapping[str, Any]

    def save(self, path: str | os.PathLike[str], **_: Any) -> Path:
        """Write the file, which has its form already, and return its path."""
        path = Path(path)
        path.write_bytes(self.data)
        return path


def pack_job(job: PictureJob) -> dict[str, Any]:
    """Return the arguments of `jaxnst.stylize`, with what is in files of pictures."""
    arguments = dict(job.arguments)
    files = [x for x in job.sources.values() if isinstance(x, str | os.PathLike)]

    def packed(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [packed(each) for each in value]
        if isinstance(value, Readable):
            with contextlib.suppress(AttributeError, OSError):
                value.seek(0)  # type: ignore[attr-defined]
            name, data = getattr(value, "name", None), value.read()
        elif isinstance(value, str | os.PathLike) and value in files:
            name, data = os.fspath(value), Path(value).read_bytes()
        else:
            return value
        file: Any = io.BytesIO(data)
        # Pickled, too; without it a large picture is taken for an attack.
        setattr(file, NAMED, not isinstance(value, Readable))
        if isinstance(name, str):  # that of a pipe is a number
            file.name = Path(name).name  # for the record; it is pickled, too
        return file

    for name in ("content", "style", "masks", *({"init", "strength"} & {*job.sources})):
        arguments[name] = packed(arguments.get(name))
    network = arguments.get("network")
    if isinstance(network, str | os.PathLike) and Path(network).is_file():
        arguments["network"] = Path(network).absolute()
    return arguments


def paint_packed(
    arguments: Mapping[str, Any],
    *,
    extension: str | None = None,
    form: Mapping[str, int] | None = None,
    metrics: bool = False,
) -> tuple[Result | PaintedFile, float]:
    """Return a result, or its file with this extension, and the seconds it took."""
    from jaxnst.transfer.driver import stylize

    started = time.perf_counter()
    result = stylize(progress=False, metrics=metrics, **arguments)
    if extension is not None:
        with tempfile.TemporaryDirectory(prefix="jaxnst-") as folder:
            place = Path(folder) / f"result{extension}"
            data = result.save(place, **(form or {})).read_bytes()
        result = PaintedFile(data, result.record, result.history)
    return result, time.perf_counter() - started


def paint_elsewhere(
    jobs: Sequence[PictureJob],
    executor: concurrent.futures.Executor,
    *,
    extension: str | None = None,
    form: Mapping[str, int] | None = None,
    metrics: bool = False,
    progress: bool = True,
) -> Iterator[Done]:
    """Paint jobs by the workers of an executor, and yield each as it is done.

    With an `extension` the results are files, with the bits and quality in `form`. On
    Ctrl-C jobs that have not begun are cancelled.
    """
    screen = Screen(enabled=progress)
    paint_fn = functools.partial(
        paint_packed, extension=extension, form=form, metrics=metrics
    )
    futures: dict[concurrent.futures.Future[Any], PictureJob] = {}
    started = time.monotonic()
    try:
        for job in jobs:
            futures[executor.submit(paint_fn, pack_job(job))] = job
        for count, future in enumerate(concurrent.futures.as_completed(futures), 1):
            done = _fetched(future, futures[future])
            what = "failed" if done.result is None else f"{done.seconds:.0f} s"
            screen.print(
                f"picture {count} of {len(jobs)}: {done.job.place} ({what})  "
                f"{time.monotonic() - started:.0f} s"
            )
            yield done
    finally:
        for future in futures:
            future.cancel()


def check_executor(executor: concurrent.futures.Executor) -> None:
    """Raise TypeError if it is no executor, ValueError if it forks."""
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            "`executor` must be a concurrent.futures.Executor, got "
            f"{type(executor).__name__}. (A dask client has one: "
            "client.get_executor().)"
        )
    if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise ValueError(
                "`executor` forks its processes, in which JAX hangs; make it with "
                "mp_context=multiprocessing.get_context('spawn')."
            )


def _fetched(future: concurrent.futures.Future[Any], job: PictureJob) -> Done:
    try:
        result, seconds = future.result()
        return Done(job, result, None, seconds)
    except concurrent.futures.CancelledError:
        problem: Exception = RuntimeError("it was cancelled by its executor")
    except concurrent.futures.BrokenExecutor:
        problem = RuntimeError(
            "a worker died and its pool with it; start the same sweep into a folder "
            "again to paint what is missing"
        )
    except Exception as error:
        problem = error
    return Done(job, None, problem, 0.0)


class Hosts(NamedTuple):
    """The processes of one sweep, where JAX runs in several (`jax.distributed`).

    Each paints its share into one folder that all of them see. They meet once, at the
    beginning. At the end process 0 waits for files that the others leave, as one may be
    hours behind another, and writes the manifest.
    """

    process: int = 0
    num_processes: int = 1

    def share(self, missing: Sequence[int], count: int, folder: Path) -> list[int]:
        """Return the members that this process paints, once all processes are here.

        Of `count` members those are painted that process 0 finds to be missing.
        """
        if self.num_processes == 1:
            return list(missing)
        from jax.experimental import multihost_utils

        # Left by an earlier run.
        (folder / _LEFT.format(self.process)).unlink(missing_ok=True)
        is_missing = np.zeros(count, np.int32)
        is_missing[list(missing)] = 1
        agreed = np.asarray(multihost_utils.broadcast_one_to_all(is_missing))
        return np.flatnonzero(agreed).tolist()[self.process :: self.num_processes]

    def finish(self, folder: Path) -> None:
        """Say that this process is done; process 0 waits for the others."""
        if self.num_processes == 1:
            return
        left = [folder / _LEFT.format(number) for number in range(self.num_processes)]
        left[self.process].write_bytes(b"")
        if self.process == 0:
            # If another process dies, JAX's runtime ends this one, too.
            while not all(path.exists() for path in left):
                time.sleep(_POLL_SECONDS)
            for path in left:
                path.unlink(missing_ok=True)
