"""Shots painted one after the other, or on each device one at a time."""

import concurrent.futures
import functools
import math
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnst._types import HostImage
from jaxnst.config import MEMORY_LEVELS
from jaxnst.images import resize
from jaxnst.images.resizing import fill_hidden
from jaxnst.networks.devices import usable_devices
from jaxnst.optimize import StepView
from jaxnst.transfer.memory import (
    OutOfMemory,
    clear_memory_errors,
    give_back_memory,
    level_below,
)

from .folder import SCRATCH, Row, Store, from_levels, to_levels
from .jobs import ClipJob, num_flow_threads
from .motion import Held, Prepared, Window, hold, in_thread, prepare
from .painting import ShotPainter, Stopped


# Frames whose motion is measured ahead, at most, and the bytes that they may take; a
# pixel of each takes so many.
_MOST_AHEAD, _BYTES_AHEAD, _BYTES_A_PIXEL = 8, 60_000_000, 44


def paint_shots(
    job: ClipJob,
    store: Store,
    *,
    is_interrupted: Callable[[], bool],
    step_fn: Callable[[int, StepView], object],
) -> Iterator[Row]:
    """Paint all frames that are missing, and yield the row of each.

    Where there are several devices, each takes one shot after the other.

    Raises:
        Stopped: on Ctrl-C; the frames that were being painted are dropped.
    """
    numbers = range(len(job.shots.spans))
    devices = usable_devices()[: len(numbers)]
    if len(devices) == 1 or job.first.config.devices is not None:
        for number in numbers:
            yield from paint_shot(
                job, number, store, is_interrupted=is_interrupted, step_fn=step_fn
            )
        return
    rows: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
    waiting = iter(numbers)  # of all threads: each number goes to one of them
    is_over = threading.Event()

    def work(device: Any) -> None:
        try:
            with jax.default_device(device):
                own = job.copy()
                for number in waiting:
                    for row in paint_shot(
                        own,
                        number,
                        store,
                        is_interrupted=lambda: is_over.is_set() or is_interrupted(),
                        step_fn=step_fn,
                    ):
                        rows.put(row)
        except BaseException:
            is_over.set()
            raise
        finally:
            rows.put(None)

    with concurrent.futures.ThreadPoolExecutor(len(devices)) as pool:
        futures = [pool.submit(work, device) for device in devices]
        try:
            for _ in devices:
                yield from iter(rows.get, None)
        finally:
            is_over.set()
    # What stopped one of them also stopped the others.
    errors = [error for each in futures if (error := each.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
        raise error


def paint_shot(
    job: ClipJob,
    number: int,
    store: Store,
    *,
    is_interrupted: Callable[[], bool] = lambda: False,
    step_fn: Callable[[int, StepView], object] | None = None,
) -> Iterator[Row]:
    """Paint the frames of a shot that are missing, and yield the row of each.

    Where memory runs out, `memory="auto"` goes on at the next level that needs less.

    Raises:
        OutOfMemory: if none does.
        Stopped: on Ctrl-C; the frame that was being painted is dropped.
    """
    indices = range(*job.shots.spans[number])
    if all(store.is_done(index, job.num_passes) for index in indices):
        return
    # After a kill, that of the frames before it: another one would give other frames.
    painted = [store.row(index)["memory"] for index in indices if index in store.last]
    memory = max([job.memory, *painted], key=MEMORY_LEVELS.index)
    first = job.first_of_shot(number)
    while True:
        try:
            with clear_memory_errors(memory, max(job.shape)):
                yield from _paint_missing(
                    ShotPainter(job, first, number, memory, is_interrupted, step_fn),
                    indices,
                    store,
                )
            return
        except OutOfMemory as error:
            if is_interrupted():
                raise
            # Another one, as the traceback holds the arrays that are in the way.
            ran_out = OutOfMemory(str(error), error.advice)
        if (below := level_below(first, memory, is_clip=True)) is None:
            raise ran_out
        memory = below


def _paint_missing(painter: ShotPainter, indices: range, store: Store) -> Iterator[Row]:
    """Paint the frames of a shot that are missing, and yield the row of each."""
    job, start = painter.job, indices.start
    if job.own.steadiness == 0:
        missing = {index for index in indices if not store.is_done(index, 1)}
        begin = min(missing)
        pictures = job.clip.frames(begin, indices.stop)
        for index, picture in enumerate(pictures, begin):
            if index in missing:
                whole = job.whole(index, picture)
                yield _kept(store, *painter.paint_whole(index, whole))
        return
    if not store.is_done(start, 1):
        yield _kept(store, *painter.paint_whole(start))
    painter.begin(store.rows[start, 1])
    give_back_memory()
    if job.num_passes == 1:
        yield from _paint_pass(job, painter, indices, 1, store, None)
        return
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=store.scratch) as spool:
        spooled = _spool(job, indices, Path(spool))
        for each in range(1, job.num_passes + 1):
            yield from _paint_pass(job, painter, indices, each, store, spooled)


def _kept(store: Store, image: HostImage, row: Row) -> Row:
    store.add(image, row)
    return row


def _paint_pass(
    job: ClipJob,
    painter: ShotPainter,
    indices: range,
    number: int,
    store: Store,
    spooled: Callable[[int], HostImage] | None,
) -> Iterator[Row]:
    """Paint the frames of one pass that are missing."""
    order = [
        (index, before)
        for index, before in job.order(painter.number, number)
        if not store.is_done(index, number)
    ]
    if not order:
        return
    frame_fn: Callable[[int], HostImage] | None = spooled
    if frame_fn is None:
        back = max(index - min(before) for index, before in order)
        first = min(min(before) for _, before in order)
        frames = _frames(job, range(first, indices.stop))
        frame_fn = Window(frames, first, back + 2)
    prepared = prepare(
        order,
        frame_fn,
        job.motion,
        num_threads=num_flow_threads(),
        ahead=_num_ahead(job.shape),
        keeps_changes=not job.has_flow,
    )
    for item in in_thread(prepared, 1):
        yield _kept(store, *_paint_item(painter, item, number, store))


def _paint_item(
    painter: ShotPainter, item: Prepared, number: int, store: Store
) -> tuple[HostImage, Row]:
    index = item.number
    own = store.read(index, number - 1) if number > 1 else None
    if not item.before:  # the first of a later pass stays as it is
        assert own is not None
        row = store.rows[index, number - 1] | {
            "pass": number,
            "steps": 0,
            "seconds": 0.0,
        }
        return own, row
    held = hold(
        item.frame,
        item.motions,
        [store.image(before) for before in item.before],
        functools.partial(painter.recolored, index),
        [painter.recoloring_since(x, index, item.frame) for x in item.before],
        moves=painter.job.has_flow,
        changes=item.changes,
    )
    if own is not None:
        held = _mixed(own, held)
    last = store.row(item.before[0])
    return painter.paint_held(index, item.frame, held, last, number)


def _mixed(own: HostImage, held: Held) -> Held:
    """Return what a later pass starts from: its own frame and that of its neighbor.

    References:
        Ruder, Dosovitskiy, Brox, "Artistic style transfer for videos", 2016, section
        4.4: passes in turn, from means of the two.
    """
    share = held.certainty[..., None]
    first = ((own + share * held.image) / (1 + share)).astype(np.float32)
    return held._replace(first=first)


def _num_ahead(shape: tuple[int, int]) -> int:
    most = _BYTES_AHEAD // (_BYTES_A_PIXEL * math.prod(shape))
    return max(1, min(_MOST_AHEAD, most, num_flow_threads() + 1))


def _frames(job: ClipJob, indices: range) -> Iterator[HostImage]:
    """Yield frames at the size of the painting."""
    for picture in job.clip.frames(indices.start, indices.stop):
        yield resize(fill_hidden(picture).rgb, job.shape)


def _spool(job: ClipJob, indices: range, folder: Path) -> Callable[[int], HostImage]:
    """Write the frames of a shot to disk, so that they can be read in any order."""
    for index, frame in zip(indices, _frames(job, indices), strict=True):
        np.save(folder / f"{index}.npy", to_levels(frame))

    def read(index: int) -> HostImage:
        return from_levels(np.load(folder / f"{index}.npy"))

    return read
