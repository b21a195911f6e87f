"""Members painted elsewhere: as jobs for any executor of `concurrent.futures`.

A job holds all that it needs, pictures and all, and gives the same picture wherever
and however often it runs. So a cluster may lose it, and paint it again. Only weights
are taken from where the worker is: by name, or from a file of the same path.
"""

import concurrent.futures
import dataclasses
import functools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxnst.config import STRENGTH_MAP
from jaxnst.transfer.regions import MASK_NAMES
from jaxnst.transfer.result import Result
from jaxnst.transfer.terminal import Screen

from .brief import Assignment
from .local import Done


class PictureFile(NamedTuple):
    """A picture's file, to be written where there is none.

    Attributes:
        name: of the file.
        data: its bytes.
    """

    name: str
    data: bytes


class FileForm(NamedTuple):
    """How the file of a picture is written.

    Attributes:
        extension: with its dot.
        bits: per channel.
        quality: of JPEG and WebP.
    """

    extension: str
    bits: int
    quality: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaintingJob:
    """One picture to be painted by another process; see `paint_job`.

    Attributes:
        content: the picture, as a `PictureFile` if it came as one.
        style: likewise; or a list of pictures.
        arguments: others of `jaxnst.stylize`.
        form: of the file that is wanted; None: the result itself.
    """

    content: Any
    style: Any
    arguments: Mapping[str, Any]
    form: FileForm | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaintedFile:
    """A result as a file: less to send, and nothing to encode where it arrives.

    Attributes:
        data: its bytes.
        record: of the result.
        history: likewise.
    """

    data: bytes
    record: Mapping[str, Any]
    history: Mapping[str, Any]

    def save(self, path: str | os.PathLike[str], **_: Any) -> Path:
        """Write the file, which has its form already."""
        path = Path(path)
        path.write_bytes(self.data)
        return path


def make_job(
    assignment: Assignment, form: FileForm | None = None, *, metrics: bool = False
) -> PaintingJob:
    """Return the job of a member.

    Args:
        assignment: the member.
        form: of the file that is wanted.
        metrics: whether the picture is measured.

    Raises:
        OSError: if a picture cannot be read.
    """
    task = assignment.task
    arguments: dict[str, Any] = {**task.arguments, "metrics": metrics}
    if task.config.init == "image":
        arguments["init"] = _packed(arguments["init"])
    if arguments.get("masks") is not None:
        arguments["masks"] = [
            mask if isinstance(mask, str) and mask in MASK_NAMES else _packed(mask)
            for mask in arguments["masks"]
        ]
    if task.config.strength == STRENGTH_MAP:
        arguments["strength"] = _packed(arguments["strength"])
    network = arguments["network"]
    if isinstance(network, str | os.PathLike) and Path(network).is_file():
        arguments["network"] = Path(network).absolute()
    style = task.style
    is_blend = isinstance(style, list | tuple)
    return PaintingJob(
        content=_packed(task.content),
        style=[*map(_packed, style)] if is_blend else _packed(style),
        arguments=arguments,
        form=form,
    )


def paint_job(job: PaintingJob) -> tuple[Result | PaintedFile, float]:
    """Paint a picture; return it, or its file, and the seconds that it took."""
    from jaxnst.transfer.driver import stylize

    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="jaxnst-") as folder:
        style = job.style
        several = style if isinstance(style, list) else [style]
        unpack = functools.partial(_unpacked, folder=Path(folder))
        styles = [unpack(each, f"style-{i}") for i, each in enumerate(several)]
        arguments = {name: unpack(value, name) for name, value in job.arguments.items()}
        if (masks := arguments.get("masks")) is not None:
            masks = [unpack(mask, f"mask-{i}") for i, mask in enumerate(masks)]
            arguments["masks"] = masks
        result = stylize(
            unpack(job.content, "content"),
            styles if isinstance(style, list) else styles[0],
            progress=False,
            **arguments,
        )
        if job.form is None:
            return result, time.perf_counter() - started
        extension, bits, quality = job.form
        place = Path(folder) / f"result{extension}"
        data = result.save(place, bits=bits, quality=quality).read_bytes()
    file = PaintedFile(data=data, record=result.record, history=result.history)
    return file, time.perf_counter() - started


def paint_elsewhere(
    assignments: Sequence[Assignment],
    executor: concurrent.futures.Executor,
    *,
    form: FileForm | None = None,
    metrics: bool = False,
    progress: bool = True,
) -> Iterator[Done]:
    """Paint members by the workers of an executor, and yield each as it is done.

    Args:
        assignments: what to paint.
        executor: that of dask, Ray, loky, MPI, submitit, or a process pool.
        form: of the files, if files are wanted and not results.
        metrics: whether pictures are measured.
        progress: show how many are done.

    Raises:
        ValueError: if the executor forks, which JAX does not survive.
        KeyboardInterrupt: on Ctrl-C; what has not begun is called off.
    """
    check_executor(executor)
    screen = Screen(enabled=progress)
    futures: dict[concurrent.futures.Future[Any], Assignment] = {}
    started = time.monotonic()
    try:
        for assignment in assignments:
            future = executor.submit(
                paint_job, make_job(assignment, form, metrics=metrics)
            )
            futures[future] = assignment
        for count, future in enumerate(concurrent.futures.as_completed(futures), 1):
            done = _fetched(future, futures[future])
            title = done.assignment.member.title
            what = "failed" if done.result is None else f"{done.seconds:.0f} s"
            screen.print(
                f"picture {count} of {len(assignments)}: {title} ({what})  "
                f"{time.monotonic() - started:.0f} s"
            )
            yield done
    finally:
        for future in futures:
            future.cancel()


def check_executor(executor: concurrent.futures.Executor) -> None:
    """Check that an executor can run what JAX computes.

    Raises:
        TypeError: if it is no executor.
        ValueError: if it forks.
    """
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            "`executor` must be a concurrent.futures.Executor, got "
            f"{type(executor).__name__}. (Of a dask client it is "
            "client.get_executor().)"
        )
    if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise ValueError(
                "`executor` forks its processes, in which JAX hangs; make it with "
                "mp_context=multiprocessing.get_context('spawn')."
            )


def _fetched(future: concurrent.futures.Future[Any], assignment: Assignment) -> Done:
    try:
        result, seconds = future.result()
    except concurrent.futures.CancelledError:
        problem: Exception = RuntimeError("it was called off by its executor")
    except concurrent.futures.BrokenExecutor:
        problem = RuntimeError(
            "a worker died and its pool with it; the same sweep into a folder goes on "
            "from there"
        )
    except Exception as error:
        problem = error
    else:
        return Done(assignment, result, None, seconds)
    return Done(assignment, None, problem, 0.0)


def _packed(source: Any) -> Any:
    if not isinstance(source, str | os.PathLike):
        return source
    return PictureFile(Path(source).name, Path(source).read_bytes())


def _unpacked(value: Any, name: str, *, folder: Path) -> Any:
    if not isinstance(value, PictureFile):
        return value
    own = folder / name
    own.mkdir()
    path = own / value.name
    path.write_bytes(value.data)
    return path
