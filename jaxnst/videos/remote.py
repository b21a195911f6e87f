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

from jaxnst._types import HostImage
from jaxnst.images import Picture, load_picture
from jaxnst.transfer.regions import MASK_NAMES

from .flow import make_flow_fn, one_thread
from .folder import MemoryStore, Row, WorkFolder
from .jobs import ClipJob, as_array, cached_loaders
from .painting import Stopped
from .runner import paint_shot
from .shots import Shots
from .source import Clip


_POLL_SECONDS = 0.5
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
        """Bytes of the frames as they are sent, about."""
        return sum(len(each.data) for each in self.frames)


def pack_shot(job: ClipJob, number: int, flow: Any) -> PackedShot:
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
        "own": job.own,
        "flow": flow,
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
            if np.array_equal(_from_levels(levels), picture.rgb):
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
        rgb = values if values.dtype.kind == "f" else _from_levels(values)
        return Picture(rgb=rgb, alpha=self.alpha, sha256=self.sha256, name=self.name)


def _from_levels(levels: np.ndarray) -> HostImage:
    return levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max)


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


def paint_packed(packed: PackedShot) -> list[tuple[np.ndarray, Row]]:
    """Return the frames of a shot after their last pass, in 16 bits, and their rows."""
    about = packed.about

    def clip_of(value: Any) -> Any:
        return _unpacked(value) if isinstance(value, tuple) else value

    clip = _unpacked(packed.frames)
    is_files = isinstance(about["flow"], str) and "%" in about["flow"]
    job = ClipJob(
        clip=clip,
        style=about["style"] if len(about["style"]) > 1 else about["style"][0],
        own=about["own"],
        flow_fn=None if is_files else make_flow_fn(about["flow"])[0],
        flow_files=about["flow"] if is_files else None,
        shots=Shots(((0, len(clip)),), tuple(about["before"])),
        arguments=about["arguments"],
        moving=about["moving"],
        masks=about["masks"] and [clip_of(each) for each in about["masks"]],
        strengths=clip_of(about["strengths"]),
        loaders=cached_loaders(),
    )
    job.source_numbers = about["numbers"]
    with one_thread():
        job.set_first(next(clip.frames(0, 1)), memory=about["memory"])
        store = MemoryStore()
        for _ in paint_shot(job, 0, store):
            pass
    last = job.num_passes
    return [
        (store.images[index, last], store.rows[index, last])
        for index in range(len(clip))
    ]


def paint_elsewhere(
    job: ClipJob,
    folder: WorkFolder,
    flow: Any,
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
            # Shots are packed as others are done, so that memory does not grow.
            while sum(size for _, size in futures.values()) < _MOST_SENT:
                if (number := next(waiting, None)) is None:
                    break
                packed = pack_shot(job, number, flow)
                future = executor.submit(paint_packed, packed)
                futures[future] = number, packed.num_bytes
            if not futures:
                return
            done, _ = concurrent.futures.wait(
                futures,
                _POLL_SECONDS,
                return_when=concurrent.futures.FIRST_COMPLETED,
            )
            for future in done:
                number, _ = futures.pop(future)
                start = job.shots.spans[number][0]
                for levels, row in _fetched(future):
                    index = start + row["frame"]
                    time = float(job.clip.times[index] - job.clip.times[0])
                    row |= {"frame": index, "shot": number, "time": round(time, 6)}
                    folder.add(_from_levels(levels), row)
                    yield row
            if is_interrupted():
                raise Stopped
    finally:
        for future in futures:
            future.cancel()


def _fetched(future: concurrent.futures.Future[Any]) -> list[tuple[np.ndarray, Row]]:
    try:
        return future.result()
    except concurrent.futures.BrokenExecutor as error:
        raise RuntimeError(
            "a worker died and its pool with it; the same call again goes on from the "
            "shots that are there"
        ) from error
