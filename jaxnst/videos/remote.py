"""Shots painted by other processes, by any executor.

What is sent holds the frames, and gives the same paintings wherever it runs. Files of
masks, flows and weights are read where the worker is.
"""

import concurrent.futures
import dataclasses
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnst.images import Picture, load_picture
from jaxnst.transfer.regions import MASK_NAMES

from .flow import one_thread
from .folder import MemoryStore, Row, WorkFolder, from_levels
from .jobs import ClipJob, cached_loaders
from .painting import Stopped
from .runner import paint_shot
from .shots import Shots
from .source import Clip, as_array


_POLL_SECONDS = 0.5
_DEAD = (
    "a worker died and its pool with it; the same call again goes on from the shots "
    "that are there"
)
# Settings that may name a file.
_FILES = ("init", "strength", "network")
# Bytes of packed frames that may wait or be painted at a time.
_MOST_SENT = 2_000_000_000


@dataclasses.dataclass(frozen=True)
class PackedShot:
    """All that a worker needs to paint one shot; it can be pickled."""

    frames: tuple["_Frame", ...]
    about: dict[str, Any]

    @property
    def num_bytes(self) -> int:
        """Bytes of the frames, masks and strengths as they are sent, about."""
        clips = [self.frames, *(self.about["masks"] or ()), self.about["strengths"]]
        frames = [each for clip in clips if isinstance(clip, tuple) for each in clip]
        return sum(len(each.data) for each in frames)


def pack_shot(job: ClipJob, number: int) -> PackedShot:
    """Return what a worker needs to paint a shot."""
    start, end = job.shots.spans[number]

    def part(clip: Any) -> Any:
        if not isinstance(clip, Clip):
            return str(Path(clip).absolute()) if _is_file(clip) else clip
        return tuple(_Frame.of(each) for each in clip.frames(start, end))

    arguments = {
        name: str(Path(value).absolute())
        if name in _FILES and _is_file(value)
        else value
        for name, value in job.arguments.items()
    }
    given: Any = job.style
    styles = given if isinstance(given, list) else [given]
    about = {
        "style": [as_array(load_picture(each, argument="style")) for each in styles],
        "own": dataclasses.replace(job.own, loop=job.is_loop),
        "flow": job.flow,
        "arguments": arguments,
        "moving": job.moving,
        "masks": None if job.masks is None else [part(each) for each in job.masks],
        "strengths": None if job.strengths is None else part(job.strengths),
        "memory": job.memory,
        "before": [max(-1, each - start) for each in job.shots.before[start:end]],
        "numbers": job.source_numbers[start:end],
    }
    return PackedShot(part(job.clip), about)


def _is_file(value: Any) -> bool:
    is_path = isinstance(value, str | os.PathLike) and value not in MASK_NAMES
    return is_path and Path(value).is_file()


class _Frame(NamedTuple):
    """A frame as it is sent: its values compressed, in as few bits as lose nothing."""

    data: bytes
    kind: str
    shape: tuple[int, ...]
    alpha: np.ndarray | None
    sha256: str
    name: str

    @classmethod
    def of(cls, picture: Picture) -> "_Frame":
        """Return a frame that is packed."""
        values = picture.rgb
        for kind in (np.uint8, np.uint16):
            levels = np.round(picture.rgb * np.iinfo(kind).max).astype(kind)
            if np.array_equal(from_levels(levels), picture.rgb):
                values = levels
                break
        return cls(
            zlib.compress(values.tobytes(), level=1),
            values.dtype.str,
            values.shape,
            picture.alpha,
            picture.sha256,
            picture.name,
        )

    def picture(self) -> Picture:
        """Return the frame."""
        flat = np.frombuffer(zlib.decompress(self.data), self.kind)
        values = flat.reshape(self.shape)
        rgb = values if values.dtype.kind == "f" else from_levels(values)
        return Picture(rgb=rgb, alpha=self.alpha, sha256=self.sha256, name=self.name)


def _unpacked(frames: Sequence[_Frame]) -> Clip:
    """Return the clip of some frames."""

    def read(wanted: Sequence[int]) -> Iterator[Picture]:
        for number in wanted:
            yield frames[number].picture()

    count = len(frames)
    first = frames[0]
    return Clip(
        name=first.name,
        shape=(first.shape[0], first.shape[1]),
        times=tuple(map(Fraction, range(count))),
        numbers=tuple(range(count)),
        sha256=first.sha256,
        film=None,
        origin=Fraction(0),
        time_base=Fraction(1),
        has_alpha=False,
        read_fn=read,
    )


def paint_packed(packed: PackedShot) -> list[tuple[np.ndarray | None, Row]]:
    """Return the rows of a shot's frames, the last pass first, with its pictures.

    They have 16 bits. Of earlier passes only the rows are kept.
    """
    about = packed.about

    def clip_of(value: Any) -> Any:
        return _unpacked(value) if isinstance(value, tuple) else value

    clip = _unpacked(packed.frames)
    job = ClipJob(
        clip=clip,
        style=about["style"] if len(about["style"]) > 1 else about["style"][0],
        own=about["own"],
        flow=about["flow"],
        shots=Shots(((0, len(clip)),), tuple(about["before"])),
        arguments=about["arguments"],
        moving=about["moving"],
        masks=about["masks"] and [clip_of(each) for each in about["masks"]],
        strengths=clip_of(about["strengths"]),
        loaders=cached_loaders(),
        source_numbers=about["numbers"],
    )
    with one_thread():
        job.set_first(next(clip.frames(0, 1)), memory=about["memory"])
        store = MemoryStore()
        for _ in paint_shot(job, 0, store):
            pass
    rows = sorted(store.rows.items(), key=lambda entry: (entry[0][0], -entry[0][1]))
    return [(store.images.get(key), row) for key, row in rows]


def paint_elsewhere(
    job: ClipJob,
    folder: WorkFolder,
    executor: concurrent.futures.Executor,
    *,
    is_interrupted: Callable[[], bool],
) -> Iterator[Row]:
    """Paint the shots that are missing by an executor, and yield the row of each frame.

    Raises:
        Stopped: on Ctrl-C; shots that have not begun are cancelled.
    """
    last = job.num_passes
    waiting = iter(
        number
        for number, span in enumerate(job.shots.spans)
        if not all(folder.is_done(index, last) for index in range(*span))
    )
    futures: dict[concurrent.futures.Future[Any], tuple[int, int]] = {}
    try:
        while True:
            # Shots are packed as others are done, and not all at once.
            while sum(size for _, size in futures.values()) < _MOST_SENT:
                if (number := next(waiting, None)) is None:
                    break
                packed = pack_shot(job, number)
                future = executor.submit(paint_packed, packed)
                futures[future] = number, packed.num_bytes
            if not futures:
                return
            done, _ = concurrent.futures.wait(
                futures,
                _POLL_SECONDS,
                return_when=concurrent.futures.FIRST_COMPLETED,
            )
            errors = []
            for future in done:
                number, _ = futures.pop(future)
                try:
                    yield from _kept(job, number, future.result(), folder)
                except concurrent.futures.BrokenExecutor as error:
                    errors.append(RuntimeError(_DEAD))
                    errors[-1].__cause__ = error
                except Exception as error:
                    errors.append(error)
            if errors:  # now that what others painted is kept
                raise errors[0]
            if is_interrupted():
                raise Stopped
    finally:
        for future in futures:
            future.cancel()


def _kept(
    job: ClipJob,
    number: int,
    painted: Sequence[tuple[np.ndarray | None, Row]],
    folder: WorkFolder,
) -> Iterator[Row]:
    """Keep the frames of a shot, and then yield their rows."""
    start = job.shots.spans[number][0]
    for levels, row in painted:
        index = start + row["frame"]
        row |= {"frame": index, "shot": number, "time": round(job.seconds(index), 6)}
        if levels is None:
            folder.add_row(row)
        else:
            folder.add(from_levels(levels), row)
    yield from (row for _, row in painted)
