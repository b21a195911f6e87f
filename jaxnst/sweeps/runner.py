"""Pictures painted on this machine: one after the other, or in batches on its devices.

A batch is one call of `jaxnst.transfer.run.paint`: `jax.vmap` over its pictures,
distributed over the devices.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxnst.config import MEMORY_LEVELS
from jaxnst.losses.registry import STYLE_LOSSES
from jaxnst.networks.devices import default_device, usable_devices
from jaxnst.optimize import StepCallback, StepView
from jaxnst.optimize.interrupt import deferred_interrupt
from jaxnst.transfer.driver import finish, run_job
from jaxnst.transfer.memory import (
    OutOfMemory,
    available_memory,
    choose_memory,
    clear_memory_errors,
    needed_memory,
)
from jaxnst.transfer.plan import make_plan
from jaxnst.transfer.progress import ProgressCallback, Workload
from jaxnst.transfer.result import Interrupted
from jaxnst.transfer.run import is_pair_alike, is_unpainted, paint
from jaxnst.transfer.setup import Job

from .jobs import PictureJob


# An accelerator that has so many pixels to paint is busy; more at once gain nothing.
_BUSY_PIXELS = 2**22
# Part of the free memory that a batch may take.
_USABLE = 0.8
_NOTICE = "stopping after this step; what is finished is kept"


LoadFn = Callable[[PictureJob], Job]


class Done(NamedTuple):
    """The outcome of one picture: a result or an error.

    Attributes:
        result: its result, with `record`, `history` and `save` as a `Result` has them.
        seconds: time it took; in a batch, the time of all divided by their number.
        is_last: whether Ctrl-C came after its last step, so that no other is painted.
    """

    job: PictureJob
    result: Any
    error: Exception | None
    seconds: float
    is_last: bool = False


def paint_here(
    jobs: Sequence[PictureJob],
    load_fn: LoadFn,
    *,
    batch_size: int | None = None,
    metrics: bool = False,
    progress: bool = True,
    step_fn: StepCallback | None = None,
) -> Iterator[Done]:
    """Paint pictures, and yield each as it is done.

    On one CPU they are painted one after the other, as a batch gains nothing there;
    else on all devices at once, and on each as many as it has memory and use for; or
    `batch_size` of them, rounded up to a multiple of the devices. On Ctrl-C the
    pictures under way are given up. `step_fn` is called with their steps.
    """
    devices = usable_devices()
    shown = _Shown(jobs, enabled=progress, step_fn=step_fn)
    is_one_cpu = devices[0].platform == "cpu" and len(devices) == 1
    groups: dict[Hashable, list[PictureJob]] = {}
    for number, job in enumerate(jobs):
        # A job that goes by itself is a group of its own.
        own = _goes_alone(job) or (is_one_cpu and batch_size is None)
        counts = job.config.num_steps, job.config.coarse_steps
        kind = job.program, job.shape, counts
        groups.setdefault(number if own else kind, []).append(job)
    for group in groups.values():
        waiting = list(group)
        if len(waiting) == 1 and (is_one_cpu or _goes_alone(waiting[0])):
            done = _paint_alone(waiting[0], load_fn, shown, metrics)
            yield from shown.hand_on(done)
            continue
        most = batch_size or _at_once(group, load_fn, devices) * len(devices)
        while waiting:
            size = _batch_size(len(waiting), most, len(devices))
            batch, waiting = waiting[:size], waiting[size:]
            for done in _paint_batch(batch, load_fn, devices, size, shown, metrics):
                is_too_large = isinstance(done.error, OutOfMemory)
                if is_too_large and size > len(devices):
                    most = size // 2
                    waiting.insert(0, done.job)
                elif is_too_large and done.job.config.memory == "auto":
                    alone = _paint_alone(done.job, load_fn, shown, metrics)
                    yield from shown.hand_on(alone)
                else:
                    yield from shown.hand_on(done)


def _goes_alone(job: PictureJob) -> bool:
    """Return whether a picture cannot be a member of a batch.

    It takes all devices itself, has a network of its own, ends by a clock of its own,
    is driven by SciPy, or makes no steps.
    """
    config = job.config
    return (
        config.devices is not None
        or config.normalize_activations
        or config.max_seconds is not None
        or config.optimizer == "lbfgs"
        or is_unpainted(config)
    )


class _Shown:
    """Progress of all pictures."""

    def __init__(
        self,
        jobs: Sequence[PictureJob],
        *,
        enabled: bool,
        step_fn: StepCallback | None,
    ):
        self._workload = Workload(sum(job.work for job in jobs))
        self._num_jobs, self._num_done, self._enabled = len(jobs), 0, enabled
        self._step_fn = step_fn

    def callback(self, jobs: Sequence[PictureJob]) -> ProgressCallback:
        """Return what shows the next pictures."""
        first, last = self._num_done + 1, self._num_done + len(jobs)
        span = f"{first}" if first == last else f"{first} to {last}"
        return ProgressCallback(
            enabled=self._enabled,
            inner=self._see,
            title=f"picture {span} of {self._num_jobs}",
            workload=self._workload,
            work=sum(job.work for job in jobs),
        )

    def _see(self, view: StepView) -> None:
        if self._step_fn is not None:
            self._step_fn(view)

    def hand_on(self, done: Done) -> Iterator[Done]:
        """Count a picture as done, yield it, and end if Ctrl-C came meanwhile."""
        self._num_done += 1
        if done.result is None:
            self._workload.total -= done.job.work
        else:
            self._workload.before += done.job.work
        yield done
        if done.is_last:
            raise KeyboardInterrupt


def _paint_alone(
    job: PictureJob, load_fn: LoadFn, shown: _Shown, metrics: bool
) -> Done:
    callback = shown.callback([job])
    started = time.perf_counter()
    result, problem, is_last = None, None, False
    try:
        result = run_job(
            load_fn(job),
            callback,
            started=started,
            notice_fn=lambda _: callback.notice(_NOTICE),
            metrics=metrics,
            keeps_part=False,
        )
    except Interrupted as interrupted:  # as it was finished
        result, is_last = interrupted.result, True
    except Exception as error:
        problem = error
    return Done(job, result, problem, time.perf_counter() - started, is_last)


def _at_once(
    group: Sequence[PictureJob], load_fn: LoadFn, devices: Sequence[Any]
) -> int:
    """Return how many pictures one device paints at once; may compile their program."""
    if default_device().platform == "cpu":
        return 1
    pixels = math.prod(group[0].shape)
    most = max(1, _BUSY_PIXELS // pixels)
    available = available_memory()
    if available is None:
        return most  # if memory runs out, there will be fewer
    try:
        job = load_fn(group[0])
    except Exception:
        return 1  # whatever it is, it will be told of the member
    usable = _USABLE * available
    level = "fast" if job.config.memory == "auto" else job.config.memory
    per_pixel = job.network.architecture.bytes_per_pixel or math.inf

    def needed_for(count: int) -> float:
        if (bound := per_pixel * pixels * count) <= usable:
            return bound
        num_members = count * len(devices)
        plan = make_plan(
            [job],
            level,
            num_members=num_members,
            devices=devices,
            shares_targets=_share_targets(group[:num_members]),
        )
        return needed_memory(plan, plan.sizes[-1])

    count = _batch_size(len(group), most * len(devices), len(devices)) // len(devices)
    try:
        while count > 1 and (needed := needed_for(count)) > usable:
            # A compiler that refuses does not say by how much.
            fitting = count // 2 if math.isinf(needed) else int(count * usable / needed)
            count = max(1, fitting)
    except Exception:
        return 1  # what does not compile is told of the member, too
    return count


def _share_targets(jobs: Sequence[PictureJob]) -> bool:
    """Return whether all pictures of a batch have the same targets."""
    # Without content a small style picture is looked at smaller, see `style_shapes_at`.
    seen = {
        (each.pictures, str(each.config.style_blend), each.config.content_weight > 0)
        for each in jobs
    }
    return len(seen) == 1


def _batch_size(num_jobs: int, most: int, num_devices: int) -> int:
    """Return as few rows as need no more batches, the same number on every device."""
    most = max(most, num_devices)
    num_batches = -(-num_jobs // most)
    return -(-num_jobs // (num_batches * num_devices)) * num_devices


def _paint_batch(
    batch: Sequence[PictureJob],
    load_fn: LoadFn,
    devices: Sequence[Any],
    num_members: int,
    shown: _Shown,
    metrics: bool,
) -> Iterator[Done]:
    """Paint a batch, and yield its pictures once all of it is done."""
    started = time.perf_counter()
    callback = shown.callback(batch)
    ready: list[tuple[PictureJob, Job, str]] = []
    for picture in batch:
        try:
            job = load_fn(picture)
            with clear_memory_errors(job.config.memory, max(job.inputs.shape)):
                level = choose_memory(job)
        except Exception as error:
            yield Done(picture, None, error, 0.0)
            continue
        differs = bool(ready) and _shapes_of(job) != _shapes_of(ready[0][1])
        if level == "tiles" or differs or is_pair_alike(job):
            yield _paint_alone(picture, load_fn, shown, metrics)
        else:
            ready.append((picture, job, level))
    if not ready:
        return
    pictures, jobs, levels = zip(*ready, strict=True)
    memory = max(levels, key=MEMORY_LEVELS.index)  # the one that needs the least
    painted, problem, furthest = [], None, 0.0

    def show(view: StepView) -> None:
        """Show a step of the member that is ahead; the others are not far behind."""
        nonlocal furthest
        if view.work_done > furthest:
            furthest = view.work_done
            callback(view)

    try:
        with (
            callback,
            clear_memory_errors(memory, max(batch[0].shape)),
            deferred_interrupt(lambda _: callback.notice(_NOTICE)) as is_interrupted,
        ):
            plan = make_plan(
                jobs,
                memory,
                num_members=num_members,
                devices=devices,
                shares_targets=_share_targets(pictures),
            )
            painted = paint(
                jobs,
                plan,
                callbacks=[show] * len(jobs),
                is_interrupted=is_interrupted,
            )
            if is_interrupted():
                raise KeyboardInterrupt
    except Exception as error:
        problem = error
    wall = time.perf_counter() - started
    made = []
    with deferred_interrupt(lambda _: callback.notice(_NOTICE)) as is_interrupted:
        for number, picture in enumerate(pictures):
            result, own = None, problem
            if problem is None:
                try:
                    result = finish(
                        jobs[number], painted[number], seconds=wall, metrics=metrics
                    )
                except Exception as error:
                    own = error
            made.append(Done(picture, result, own, wall / len(jobs)))
    made[-1] = made[-1]._replace(is_last=is_interrupted())
    yield from made


def _shapes_of(job: Job) -> Hashable:
    """Return a key that is equal for pictures whose targets have the same shapes.

    Headers and settings do not tell it: a map of strengths may make any number of
    regions, and transparent parts of a style are cut off.
    """
    inputs = job.inputs
    num_regions = 0 if inputs.regions is None else len(inputs.regions.maps)
    keeps_places = any(
        not STYLE_LOSSES[name].descriptions_are_means for name in job.config.style_loss
    )
    return inputs.shape, num_regions, keeps_places and tuple(inputs.style_shapes)
