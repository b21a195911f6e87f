"""Shots painted by other processes, by any executor.

What is sent holds the frames, and gives the same paintings wherever it runs. Files of
masks, flows and weights are read where the worker is.
"""

import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

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


@dataclasses.dataclass(frozen=True)
class PackedShot:
    """All that a worker needs to paint one shot; it can be pickled."""

    frames: tuple[Any, ...]
    about: dict[str, Any]


def pack_shot(job: ClipJob, number: int, flow: Any) -> PackedShot:
    """Return what a worker needs to paint a shot."""
    start, end = job.shots.spans[number]

    def part(clip: Any) -> Any:
        if not isinstance(clip, Clip):
            return str(Path(clip).absolute()) if _is_file(clip) else clip
        return tuple(_packed(each) for each in clip.frames(start, end))

    arguments = {
        name: str(Path(value).absolute()) if _is_file(value) else value
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


# A frame: its values, its opacity, its hash and its name.
_Frame = tuple[np.ndarray, Any, str, str]


def _packed(picture: Picture) -> _Frame:
    """Return a frame with values of 16 bits where they lose nothing."""
    levels = np.round(picture.rgb * 65535).astype(np.uint16)
    is_exact = np.array_equal(_from_levels(levels), picture.rgb)
    values = levels if is_exact else picture.rgb
    return values, picture.alpha, picture.sha256, picture.name


def _from_levels(levels: np.ndarray) -> np.ndarray:
    return levels.astype(np.float32) / np.float32(65535)


def _unpacked(frames: Sequence[_Frame]) -> Clip:
    """Return the clip of some frames."""

    def read(wanted: Sequence[int]) -> Iterator[Picture]:
        for number in wanted:
            values, alpha, digest, name = frames[number]
            rgb = _from_levels(values) if values.dtype == np.uint16 else values
            yield Picture(rgb=rgb, alpha=alpha, sha256=digest, name=name)

    count = len(frames)
    values, _, digest, name = frames[0]
    return Clip(
        name=name,
        shape=(values.shape[0], values.shape[1]),
        times=tuple(map(Fraction, range(count))),
        numbers=tuple(range(count)),
        sha256=digest,
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
    futures = {}
    try:
        for number, span in enumerate(job.shots.spans):
            if not all(folder.is_done(index, last) for index in range(*span)):
                packed = pack_shot(job, number, flow)
                futures[executor.submit(paint_packed, packed)] = number
        waiting = set(futures)
        while waiting:
            done, waiting = concurrent.futures.wait(
                waiting,
                _POLL_SECONDS,
                return_when=concurrent.futures.FIRST_COMPLETED,
            )
            for future in done:
                number = futures[future]
                start = job.shots.spans[number][0]
                for levels, row in future.result():
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
