"""Members painted on this machine: one after the other, or side by side on devices."""

import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from jaxnst.calls import Call, Calls
from jaxnst.networks.devices import default_device, local_devices
from jaxnst.optimize import StepView, deferred_interrupt
from jaxnst.transfer.driver import make_result, stylize_prepared
from jaxnst.transfer.memory import OutOfMemory, available_memory, clear_memory_errors
from jaxnst.transfer.plan import compiled_targets
from jaxnst.transfer.progress import Course, ProgressCallback
from jaxnst.transfer.result import Interrupted
from jaxnst.transfer.run import Painted, paint
from jaxnst.transfer.setup import Prepared, settle_memory

from .jobs import PictureJob
from .lanes import Lanes
from .side_by_side import run_side_by_side


# An accelerator that has so many pixels to paint is busy; more at once gain nothing.
_BUSY_PIXELS = 2**22
# Of the memory that is free.
_USABLE = 0.8
_NOTICE = "stopping after this step; what is finished is kept"


PrepareFn = Callable[[PictureJob], Prepared]


class Done(NamedTuple):
    """The outcome of one job.

    Attributes:
        job: the job.
        result: its picture, with `record`, `history` and `save` as a `Result` has them;
            None if there is none.
        error: why there is none.
        seconds: time it took; side by side, the time of all divided by their number.
    """

    job: PictureJob
    result: Any
    error: Exception | None
    seconds: float


def own_devices() -> list[Any]:
    """Return the devices of this process, or the one that the user chose."""
    device = default_device()
    if getattr(jax.config, "jax_default_device", None) is not None:
        return [device]
    return local_devices()


def paint_here(
    jobs: Sequence[PictureJob],
    prepare_fn: PrepareFn,
    *,
    batch_size: int | None = None,
    metrics: bool = False,
    progress: bool = True,
) -> Iterator[Done]:
    """Paint jobs, and yield each as it is done.

    On one CPU they are painted one after the other, which is as fast there; else on all
    devices at once, and on each as many as it has memory and use for.

    Args:
        jobs: what to paint.
        prepare_fn: loads what a job needs.
        batch_size: number painted at once, rounded up to a multiple of the devices.
        metrics: measure the pictures.
        progress: show a bar.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the pictures under way are given up.
    """
    devices = own_devices()
    course = Course(sum(job.work for job in jobs))
    shown = _Shown(course, len(jobs), enabled=progress)
    is_alone = devices[0].platform == "cpu" and len(devices) == 1
    # Pictures that are spread over all devices themselves.
    is_spread = any(a.config.devices is not None for a in jobs)
    if is_spread or (is_alone and batch_size is None):
        for job in jobs:
            yield shown.count(_paint_alone(job, prepare_fn, shown, metrics))
        return
    groups: dict[Any, list[PictureJob]] = {}
    for job in jobs:
        kind = job.program, job.shape
        groups.setdefault(kind, []).append(job)
    for group in groups.values():
        waiting = list(group)
        most = batch_size or _at_once(group[0], prepare_fn) * len(devices)
        while waiting:
            num_lanes = _num_lanes(len(waiting), most, len(devices))
            batch, waiting = waiting[:num_lanes], waiting[num_lanes:]
            for done in _paint_batch(
                batch, prepare_fn, devices, num_lanes, shown, metrics
            ):
                if isinstance(done.error, OutOfMemory) and num_lanes > len(devices):
                    most = num_lanes // 2
                    waiting.insert(0, done.job)
                else:
                    yield shown.count(done)


class _Shown:
    """How far all members are."""

    def __init__(self, course: Course, num_members: int, *, enabled: bool):
        self._course, self._num_members, self._enabled = course, num_members, enabled
        self._num_done = 0

    def watcher(self, jobs: Sequence[PictureJob]) -> ProgressCallback:
        """Return what shows the next members."""
        first, last = self._num_done + 1, self._num_done + len(jobs)
        span = f"{first}" if first == last else f"{first} to {last}"
        return ProgressCallback(
            enabled=self._enabled,
            title=f"picture {span} of {self._num_members}",
            course=self._course,
            work=sum(job.work for job in jobs),
        )

    def count(self, done: Done) -> Done:
        """Count a member as done."""
        self._num_done += 1
        if done.result is None:
            self._course.drop(done.job.work)
        else:
            self._course.finish(done.job.work)
        return done


def _paint_alone(
    job: PictureJob, prepare_fn: PrepareFn, shown: _Shown, metrics: bool
) -> Done:
    watcher = shown.watcher([job])
    started = time.perf_counter()
    result, problem = None, None
    try:
        result = stylize_prepared(
            prepare_fn(job),
            watcher,
            preset=job.arguments["preset"],
            started=started,
            notice_fn=lambda _: watcher.notice(_NOTICE),
            metrics=metrics,
        )
    except Interrupted:
        raise KeyboardInterrupt from None
    except Exception as error:
        problem = error
    return Done(job, result, problem, time.perf_counter() - started)


def _at_once(job: PictureJob, prepare_fn: PrepareFn) -> int:
    """Return how many pictures one device paints side by side."""
    if default_device().platform == "cpu":
        return 1
    pixels = math.prod(job.shape)
    most = max(1, _BUSY_PIXELS // pixels)
    available = available_memory()
    try:
        network = prepare_fn(job).network
    except Exception:
        return 1  # whatever it is, it will be told of the member
    per_pixel = network.architecture.bytes_per_pixel
    if available is None or per_pixel is None:
        return min(most, 4)
    return max(1, min(most, int(_USABLE * available / (per_pixel * pixels))))


def _num_lanes(num_members: int, most: int, num_devices: int) -> int:
    """Return as few lanes as do with no more batches, the same on every device."""
    most = max(most, num_devices)
    num_batches = -(-num_members // most)
    return -(-num_members // (num_batches * num_devices)) * num_devices


def _paint_batch(
    batch: Sequence[PictureJob],
    prepare_fn: PrepareFn,
    devices: Sequence[Any],
    num_lanes: int,
    shown: _Shown,
    metrics: bool,
) -> list[Done]:
    """Paint members side by side; returns once all are done."""
    started = time.perf_counter()
    watcher = shown.watcher(batch)
    done: dict[int, Done] = {}
    ready: list[tuple[PictureJob, Prepared, str]] = []
    for job in batch:
        try:
            prepared = prepare_fn(job)
            inputs, config, network, optimizer, _ = prepared
            with clear_memory_errors(config, max(inputs.shape)):
                level = settle_memory(inputs, config, network, optimizer).memory
            ready.append((job, prepared, level))
        except Exception as error:
            done[job.number] = Done(job, None, error, 0.0)
    weights = {tuple(map(id, jax.tree.leaves(p.network))) for _, p, _ in ready}
    is_common = len(weights) == 1  # a network normalized to its pictures is not
    lanes = Lanes(num_lanes, devices)
    front = _Front(watcher, len(ready))
    with watcher, deferred_interrupt(lambda _: watcher.notice(_NOTICE)) as is_off:
        paintings = []
        for number, (_, prepared, level) in enumerate(ready):
            inputs, config, network, optimizer, _ = prepared
            network = network.with_memory(level)
            if is_common:
                lanes.share(network)
            limit = config.max_seconds
            painting = paint(
                inputs,
                network,
                optimizer,
                config,
                functools.partial(front.show, number),
                deadline=None if limit is None else started + limit,
                is_interrupted=is_off,
                ready_fn=lambda *_: None,  # the programs are others, see `Lanes`
            )
            paintings.append(front.follow(number, painting))
        kinds = {(a.pictures, a.config.style_blend) for a, _, _ in ready}

        targets: dict[Any, Any] = {}  # of every size

        def make_alone(number: int, call: Call) -> Any:
            if len(kinds) > 1 or call.function is not compiled_targets:
                return None
            _, content, *_ = call.args
            if content.shape not in targets:
                targets[content.shape] = call.make()
                lanes.share(targets[content.shape])
            return targets[content.shape]

        ended = run_side_by_side(paintings, lanes, make_alone)
    if is_off():
        raise KeyboardInterrupt
    wall = time.perf_counter() - started
    seconds = wall / max(1, len(ready))
    for (job, prepared, level), end in zip(ready, ended, strict=True):
        result, problem = None, None
        if isinstance(end, Exception):
            try:
                with clear_memory_errors(prepared.config, max(job.shape)):
                    raise end
            except Exception as error:
                problem = error
        else:
            result = make_result(
                end,
                prepared,
                preset=job.arguments["preset"],
                memory=level,
                seconds=wall,
                metrics=metrics,
            )
        done[job.number] = Done(job, result, problem, seconds)
    return [done[job.number] for job in batch]


class _Front:
    """Shows the painting of a batch that has come least far."""

    def __init__(self, watcher: ProgressCallback, num_paintings: int):
        self._watcher = watcher
        self._done = [0.0] * num_paintings

    def show(self, number: int, view: StepView) -> None:
        self._done[number] = view.work_done
        if view.work_done <= min(self._done):
            self._watcher(view)

    def follow(self, number: int, painting: Calls[Painted]) -> Calls[Painted]:
        try:
            return (yield from painting)
        finally:
            self._done[number] = math.inf
