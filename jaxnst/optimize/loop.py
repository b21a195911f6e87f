"""The loop around the compiled step, for one picture size and a batch of pictures.

The loop is Python: on the CPU XLA runs a convolution several times slower inside a
compiled loop than outside (jax issue 12868), and progress, stopping and interruption
become ordinary code. Each picture of a batch is a member, with its own schedule,
monitor, recoveries and strength, in plain Python. A member that is done takes steps of
length 0 until the others are done, and its picture is kept as it was.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnst._types import HostImage
from jaxnst.objective import LossTerms, LossWeights, Targets

from .batching import StepProgram
from .optimizers import is_lbfgs
from .quasi_newton import Evaluation, minimize_lbfgs
from .recovery import KEPT_BEST, MAX_RECOVERIES, Method, Recovery, gentler
from .schedule import Budget, Pace
from .stepping import (
    Average,
    StepInfo,
    TransferState,
    averaged_image,
    init_average,
    update_average,
)
from .strength import Steering, Trimmed, Trimmer


# Number of calls on the device before the loop waits for the oldest. Its loss is then
# fetched, so that divergence is noticed while the device works on the later calls.
_MAX_AHEAD = 2
# Reasons for the end of a size that nobody stopped.
_PAINTED_OUT = (None, "converged", "out of time")

# Number of steps from one copy of the picture to the next.
_KEEP_EVERY = 10
# Number of first steps whose loss may exceed the initial loss: Adam starts with leaps.
_PATIENCE = 10
# Losses above this many times the best loss are too high.
_RISE = 2.0
# The loss is falling if the sum of five losses is below this many times the sum of the
# five before.
_FALLING = 0.95
# A falling loss may exceed the limit up to this many times.
_HOPELESS = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepView:
    """State of the painting after a step, for a callback; valid until it returns.

    Arrays are fetched from the device only when they are read. If a call makes several
    steps, as on accelerators, the view shows the last of them.

    Attributes:
        step: number of this step over all sizes, from 1.
        num_steps: number of steps over all sizes, unless painting stops early.
        shape: height and width that are being painted.
        full_shape: height and width of the result.
        work_done: fraction of the work that is done, 0 to 1; the work of a step is its
            number of pixels.
    """

    step: int
    num_steps: int
    shape: tuple[int, int]
    full_shape: tuple[int, int]
    work_done: float
    _image_fn: Callable[[], Any]
    _terms_fn: Callable[[], LossTerms]

    @property
    def image(self) -> HostImage:
        """The picture after this step: RGB, float32, [0, 1], at the present size."""
        return np.asarray(self._image_fn())

    @property
    def terms(self) -> LossTerms:
        """Loss terms of the picture before this step, on the device."""
        return self._terms_fn()

    @property
    def loss(self) -> float:
        """The total loss before this step."""
        return float(self.terms.total)


StepCallback = Callable[[StepView], object]


class Schedule(NamedTuple):
    """The place of one size among all sizes.

    Attributes:
        total_steps: number of steps at all sizes.
        first_work: pixels times steps of the sizes before this one.
        total_work: pixels times steps of all sizes.
        full_shape: height and width of the result.
    """

    total_steps: int
    first_work: int
    total_work: int
    full_shape: tuple[int, int]


@dataclasses.dataclass(kw_only=True)
class Member:
    """Settings and progress of one picture of a batch; kept from size to size.

    Attributes:
        method: optimizer and learning rate; gentler after a recovery.
        weights: weights of the loss terms.
        budget: plan of the steps within the time limit; it is at the size that is
            painted.
        tolerance: relative decrease of the loss below which a size ends, see `Pace`.
        steering: control of the strength, which changes the weights from step to step;
            None if no strength was asked for.
        callback: function called after each step with a `StepView`; it returns True to
            stop.
        num_steps: number of steps made so far, over all sizes.
        is_over: whether the picture was stopped for good at an earlier size.
    """

    method: Method
    weights: LossWeights
    budget: Budget
    tolerance: float = 0.0
    steering: Steering | None = None
    callback: StepCallback | None = None
    num_steps: int = 0
    is_over: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeReport:
    """Report of painting one picture at one size.

    Attributes:
        size: longest side, in pixels.
        terms: loss terms of each step, on the host.
        num_steps: number of steps that were made.
        num_evaluations: number of evaluations of loss and gradient.
        stopped: reason for fewer steps than planned: "callback", "interrupted",
            "not finite", "out of time", "converged" or "skipped"; None if all were
            made.
        is_averaged: whether the picture is the average of the steps' pictures.
        recoveries: recoveries, in the order of the steps.
        compile_seconds: seconds of the first step beyond those of a later one.
        trimmed: result of trimming to a strength; None if none was asked for.
    """

    size: int
    terms: list[LossTerms]
    num_steps: int
    num_evaluations: int
    stopped: str | None
    is_averaged: bool
    recoveries: list[Recovery]
    compile_seconds: float
    trimmed: Trimmed | None = None


class LossMonitor:
    """Monitor of the losses from one start or restart; it keeps the best picture.

    The best picture is a copy, as steps donate the buffers of their pictures. It is
    made on the device, where that costs next to nothing.

    Args:
        image: picture from which the first step starts.
        is_steered: whether the weights change from step to step, so that losses cannot
            be compared; then only values that are not finite count as trouble.

    Attributes:
        losses: total losses of the steps so far.
        trouble: problem of the steps, "not finite" or "the loss rose"; or None.
        best: best picture so far.
    """

    def __init__(self, image: Any, *, is_steered: bool = False):
        self._is_steered = is_steered
        self.losses: list[float] = []
        self.trouble: str | None = None
        self.best: Any = image.copy()
        self._best_loss = math.inf
        self._offered = 0
        # Pictures whose loss is not known yet, by the number of steps before them.
        self._candidates: dict[int, Any] = {0: self.best}

    def offer(self, image_fn: Callable[[], Any], num_steps: int) -> None:
        """Copy the picture, if enough steps were made since the last copy.

        Args:
            image_fn: function that returns the picture.
            num_steps: number of steps that led to the picture.
        """
        if num_steps // _KEEP_EVERY > self._offered // _KEEP_EVERY:
            self._candidates[num_steps] = image_fn().copy()
            self._offered = num_steps

    def observe(self, losses: np.ndarray, are_finite: np.ndarray) -> list[float]:
        """Record the losses before steps, and return those before the first failure.

        Args:
            losses: total losses, in the order of the steps.
            are_finite: whether each step was finite.
        """
        seen = []
        for loss, is_finite in zip(losses, are_finite, strict=True):
            if not is_finite:
                self.trouble = "not finite"
                break
            seen.append(float(loss))
            self._note(float(loss))
        return seen

    def final_trouble(self) -> str | None:
        """Return what is wrong after the last step; a high last loss counts, too.

        The same holds if the steps were stopped: the user wants the best picture, too.
        """
        if self.trouble is not None or not self.losses or self._is_steered:
            return self.trouble
        # Adam's steps have a fixed length, so from a picture that is already optimal
        # (content and style alike, for example) they only lead away.
        limit = self.losses[0] * (1 if len(self.losses) >= _PATIENCE else _RISE)
        return "the loss rose" if self.losses[-1] > limit else None

    def _note(self, loss: float) -> None:
        candidate = self._candidates.pop(len(self.losses), None)
        # Losses of steered pictures cannot be compared, so the last picture is kept.
        if candidate is not None and (loss < self._best_loss or self._is_steered):
            self.best, self._best_loss = candidate, loss
        self.losses.append(loss)
        if self._is_steered:
            return
        if len(self.losses) > _PATIENCE and self._is_diverging():
            self.trouble = "the loss rose"

    def _is_diverging(self) -> bool:
        """Whether all of the last losses were too high and do not fall fast enough."""
        last = self.losses[-_PATIENCE:]
        limit = min(self.losses[0], _RISE * self._best_loss)
        half = _PATIENCE // 2
        is_falling = sum(last[half:]) < _FALLING * sum(last[:half])
        return min(last) > limit * (_HOPELESS if is_falling else 1)


class _MemberRun:
    """One member at one size: its steps, its monitor, and its report."""

    def __init__(
        self, member: Member, image: Any, *, num_steps: int, schedule: Schedule
    ):
        self.member = member
        self.terms: list[LossTerms] = []
        self.recoveries: list[Recovery] = []
        self.num_evaluations = self.num_finite = 0
        self.stopped: str | None = None
        self.is_done = member.is_over
        self.is_averaged = False
        self.average: Average | None = None
        self.trimmed: Trimmed | None = None
        self.shape: tuple[int, int] = image.shape[:2]
        self.is_last = self.shape == schedule.full_shape
        self._schedule = schedule
        self._first_step = member.num_steps
        method = member.method
        self.pace = Pace(
            method.learning_rate,
            num_steps,
            decay=method.decay if self.is_last else 0.0,
            tolerance=member.tolerance,
            budget=member.budget,
        )
        self.begin(image)

    def begin(self, image: Any) -> None:
        """Go on from a picture, with a new monitor."""
        is_steered = self.member.steering is not None
        self.monitor = LossMonitor(image, is_steered=is_steered)
        self._done_before = self.pace.done

    @property
    def weights(self) -> LossWeights:
        """Loss weights of the next step."""
        steering, base = self.member.steering, self.member.weights
        return base if steering is None else steering.weigh(base)

    @property
    def is_painted_out(self) -> bool:
        """Whether the size ended without being stopped."""
        return self.stopped in _PAINTED_OUT and not self.member.is_over

    def observe(
        self, losses: np.ndarray, gaps: np.ndarray, are_finite: np.ndarray
    ) -> None:
        """Record the total losses and style terms before steps."""
        finite = self.monitor.observe(losses, are_finite)
        self.num_finite += len(finite)
        self.pace.observe(finite, self._done_before + len(self.monitor.losses))
        if self.member.steering is not None and finite:
            self.member.steering.observe(gaps[: len(finite)])

    def observe_one(self, terms: LossTerms) -> None:
        """Record the terms before a single step, on the host."""
        total, gaps = np.asarray(terms.total), np.asarray(terms.style_regions)
        self.observe(total[None], gaps[None], np.isfinite(total)[None])

    def after_steps(
        self,
        count: int,
        image_fn: Callable[[], Any],
        terms_fn: Callable[[], LossTerms],
        is_interrupted: Callable[[], bool],
    ) -> None:
        """Offer the picture to the monitor, and ask whether to stop."""
        self.monitor.offer(image_fn, self.pace.done - self._done_before)
        if self.monitor.trouble is None:
            self._show(image_fn, terms_fn)
            if self.stopped is None and is_interrupted():
                self.stopped = "interrupted"

    @property
    def is_to_end(self) -> bool:
        """Whether the steps have to end, or to recover."""
        return (
            self.monitor.trouble is not None
            or self.stopped is not None
            or self.pace.num_left() == 0
        )

    def end(self) -> Any:
        """End the steps, or recover; return a new picture to go on from, if any."""
        trouble = self.monitor.final_trouble()
        if trouble is not None:
            return self.recover(trouble)
        self.is_done = True
        return None

    def recover(self, trouble: str) -> Any:
        """Record what went wrong, and return the picture to go on from.

        The member is done if it has no steps left, or after `MAX_RECOVERIES`.
        """
        is_over = self.stopped is not None or self.pace.num_left() == 0
        if is_over or len(self.recoveries) == MAX_RECOVERIES:
            action = KEPT_BEST
            if trouble == "not finite" and not (is_over and self.num_finite):
                self.stopped = "not finite"
            self.is_done = True
        else:
            is_first = trouble not in {each.reason for each in self.recoveries}
            method, action = gentler(self.member.method, is_first=is_first)
            self.member.method = method
            decay = method.decay if self.is_last else 0.0
            self.pace.soften(method.learning_rate, decay=decay)
        step = self._first_step + self.pace.done
        self.recoveries.append(Recovery(max(self.shape), step, trouble, action))
        best = self.monitor.best
        self.begin(best)
        return best

    def _show(
        self, image_fn: Callable[[], Any], terms_fn: Callable[[], LossTerms]
    ) -> None:
        """Call the callback of the member, which may stop it."""
        if self.member.callback is None:
            return
        schedule, pixels = self._schedule, math.prod(self.shape)
        view = StepView(
            step=self._first_step + self.pace.done,
            num_steps=schedule.total_steps,
            shape=self.shape,
            full_shape=schedule.full_shape,
            work_done=(schedule.first_work + self.pace.done * pixels)
            / schedule.total_work,
            _image_fn=image_fn,
            _terms_fn=terms_fn,
        )
        if _is_true(self.member.callback(view)):
            self.stopped = "callback"

    def report(self, compile_seconds: float) -> SizeReport:
        """Return the report of the size, and count its steps."""
        self.member.num_steps += self.pace.done
        return SizeReport(
            size=max(self.shape),
            terms=self.terms,
            num_steps=self.pace.done,
            num_evaluations=self.num_evaluations,
            stopped=self.stopped or self.pace.stopped,
            is_averaged=self.is_averaged,
            recoveries=self.recoveries,
            compile_seconds=compile_seconds,
            trimmed=self.trimmed,
        )


def run_size(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    members: Sequence[Member],
    *,
    num_steps: int,
    schedule: Schedule,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> tuple[TransferState, list[SizeReport]]:
    """Paint a batch of pictures at one size.

    If the steps of a member diverge, it goes back to its best picture and takes gentler
    steps.

    Args:
        state: state of all members; its buffers are donated.
        targets: targets of the picture, of the batch, or those that are shared.
        program: program of the step; its batch may have more rows than members.
        members: settings and progress of each picture, which are updated.
        num_steps: number of steps of each member, unless it stops early.
        schedule: place of this size among all sizes.
        is_interrupted: function called after each step; it returns True to stop all.

    Returns:
        The last state, and the report of each member.
    """
    runs = [
        _MemberRun(
            member,
            program.member(state, index).image,
            num_steps=num_steps,
            schedule=schedule,
        )
        for index, member in enumerate(members)
    ]
    started = time.perf_counter()
    first_seconds = 0.0
    if is_lbfgs(program.optimizer):
        (run,) = runs
        image, first_seconds = _run_lbfgs(
            program, targets, state.image, run, is_interrupted
        )
        program = program.with_optimizer(run.member.method.optimizer)
        state = program.init(image)
    if any(not run.is_done for run in runs):
        state, first_seconds = _run_steps(state, targets, program, runs, is_interrupted)
    seconds = time.perf_counter() - started
    num_calls = max(run.pace.done for run in runs)
    later = (seconds - first_seconds) / max(1, num_calls - 1)
    compile_seconds = max(0.0, first_seconds - later)
    is_last = runs[0].is_last
    if any(member.steering is not None for member in members):
        for member in members:
            if member.steering is not None:
                member.steering.begin_size()
        if is_last:
            state = _trim(state, targets, program, runs, is_interrupted)
    elif state.average is not None:
        state = _take_averages(state, targets, program, runs)
    return state, [run.report(compile_seconds) for run in runs]


class _Call(NamedTuple):
    """A call of the program: its infos, and the monitors they belong to.

    Attributes:
        info: infos of all members, on the device.
        num_steps: number of steps.
        monitors: {index: monitor of the member at the call}; a recovery replaces it.
    """

    info: StepInfo
    num_steps: int
    monitors: dict[int, LossMonitor]


def _run_steps(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    runs: Sequence[_MemberRun],
    is_interrupted: Callable[[], bool],
) -> tuple[TransferState, float]:
    """Make the steps of all members; return the state and the first call's seconds."""
    calls: list[_Call] = []
    num_learned = 0
    # States of members that are done, by their index.
    kept: dict[int, TransferState] = {}
    num_idle = program.num_members - len(runs)
    started = time.perf_counter()
    first_seconds = 0.0

    def learn(num_ahead: int) -> None:
        """Wait for all calls but the last `num_ahead`, and record their losses."""
        nonlocal num_learned
        while num_learned < len(calls) - num_ahead:
            call = calls[num_learned]
            num_learned += 1
            terms = call.info.terms
            numbers = terms.total, terms.style_regions, call.info.is_finite
            columns = program.fetch(numbers)
            for index, monitor in call.monitors.items():
                if runs[index].monitor is monitor:
                    runs[index].observe(*(x[index, : call.num_steps] for x in columns))

    while active := {
        index: run
        for index, run in enumerate(runs)
        if not run.is_done and run.pace.num_left()
    }:
        left = min(run.pace.num_left() for run in active.values())
        count = max(1, min(program.steps_per_call, left))
        rates = [
            (run.pace.next_rates(count) if index in active else [])
            for index, run in enumerate(runs)
        ]
        # Fewer if time has run out since the steps were counted.
        rates = [own + [0.0] * (count - len(own)) for own in rates]
        weights = [run.weights for run in runs]
        state, info = program.call(
            state,
            targets,
            weights + weights[:1] * num_idle,
            rates + [[0.0] * count] * num_idle,
        )
        calls.append(_Call(info, count, {i: run.monitor for i, run in active.items()}))
        if len(calls) == 1:
            jax.block_until_ready(info)
            first_seconds = time.perf_counter() - started
            for run in active.values():
                run.pace.observe([], run.pace.done)
        learn(_MAX_AHEAD)
        for index, run in active.items():
            run.num_evaluations += count
            run.after_steps(
                count,
                functools.partial(_image_of, program, state, index),
                functools.partial(_terms_of, program, info, index, count),
                is_interrupted,
            )
        ending = {i: run for i, run in active.items() if run.is_to_end}
        if ending:
            learn(0)
            images = {index: run.end() for index, run in ending.items()}
            starts = {
                index: program.init(image)
                for index, image in images.items()
                if image is not None
            }
            state = program.replace(state, starts)
            if not all(run.is_done for run in runs):
                kept |= {
                    index: jax.tree.map(jnp.copy, program.member(state, index))
                    for index, run in ending.items()
                    if run.is_done
                }
    for run in runs:  # interrupted while the last steps were awaited
        if run.stopped is None and is_interrupted():
            run.stopped = "interrupted"
    infos = program.fetch([call.info for call in calls])
    for call, info in zip(calls, infos, strict=True):
        for index in call.monitors:
            runs[index].terms += [
                jax.tree.map(lambda leaf, at=(index, step): leaf[at], info.terms)
                for step in range(call.num_steps)
                if info.is_finite[index, step]
            ]
    return program.replace(state, kept), first_seconds


def _image_of(program: StepProgram, state: TransferState, index: int) -> Any:
    return program.member(state.image, index)


def _terms_of(
    program: StepProgram, info: StepInfo, index: int, count: int
) -> LossTerms:
    return program.last_info(info, index, count).terms


def _run_lbfgs(
    program: StepProgram,
    targets: Targets,
    image: Any,
    run: _MemberRun,
    is_interrupted: Callable[[], bool],
) -> tuple[Any, float]:
    """Make the steps of L-BFGS; return the picture and the first step's seconds.

    If its line search fails twice, the rest of the steps is left to Adam.
    """
    started = time.perf_counter()
    first_seconds = 0.0
    average: Average | None = None
    if program.averaging:
        average = init_average(image)
    here: Evaluation | None = None

    def evaluate_fn(picture: HostImage) -> Evaluation:
        nonlocal here, first_seconds
        function, args, static = program.prepare_loss(picture, targets, run.weights)
        loss, terms, gradient = jax.device_get(function(*args, **static))
        found = Evaluation(float(loss), terms, gradient)
        if here is None:
            here = found
            first_seconds = first_seconds or time.perf_counter() - started
        run.num_evaluations += 1
        return found

    def step_fn(picture: HostImage, there: Evaluation) -> bool:
        nonlocal here, average
        assert here is not None
        before, here = here, there
        run.pace.next_rates()
        run.terms.append(before.terms)
        run.observe_one(before.terms)
        if average is not None:
            decay = jnp.float32(program.averaging)
            average = update_average(average, jnp.asarray(picture), decay)
        run.after_steps(1, lambda: picture, lambda: before.terms, is_interrupted)
        return run.is_to_end

    while not run.is_done and is_lbfgs(run.member.method.optimizer):
        here = None
        found = minimize_lbfgs(
            np.asarray(image), evaluate_fn, run.pace.num_left(), step_fn=step_fn
        )
        image = found.image
        if found.reason == "converged":
            run.pace.converge()
        elif found.reason in ("line search stalled", "not finite"):
            run.monitor.best = image
            run.recover(found.reason)
            continue
        run.is_done = True
        run.pace.num_left()
    run.average = average
    return image, first_seconds


def _trim(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    runs: Sequence[_MemberRun],
    is_interrupted: Callable[[], bool],
) -> TransferState:
    """Bring the pictures to the strengths that were asked for."""
    trimmers: dict[int, Trimmer] = {}
    for index, run in enumerate(runs):
        steering = run.member.steering
        if steering is not None and run.is_painted_out:
            pace = run.pace
            trimmers[index] = Trimmer(
                steering,
                run.member.weights,
                lambda pace=pace: pace.has_time() and not is_interrupted(),
            )
    begun = {
        index: program.init(_image_of(program, state, index)) for index in trimmers
    }
    state = program.replace(state, begun)
    every = range(program.num_members)
    while active := {i: each for i, each in trimmers.items() if not each.is_done}:
        pictures = {i: _image_of(program, state, i).copy() for i in active}
        weights = [
            (active[i].weights if i in active else runs[0].member.weights)
            for i in every
        ]
        rates = [[active[i].rate if i in active else 0.0] for i in every]
        state, info = program.call(state, targets, weights, rates)
        gaps = program.fetch(info.terms.style_regions)
        again = {
            index: program.init(pictures[index])
            for index, trimmer in active.items()
            if trimmer.observe(gaps[index, 0], pictures[index])
        }
        state = program.replace(state, again)
    ends = {}
    for index, trimmer in trimmers.items():
        run = runs[index]
        run.trimmed = trimmer.trimmed
        ends[index] = program.init(trimmer.trimmed.image)
        if run.stopped is None and is_interrupted():
            run.stopped = "interrupted"
    return program.replace(state, ends)


def _take_averages(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    runs: Sequence[_MemberRun],
) -> TransferState:
    """Replace each picture by the average of its steps' pictures, if that is better."""
    images = [_image_of(program, state, i) for i in range(program.num_members)]
    averages: dict[int, Any] = {}
    for index, run in enumerate(runs):
        average = run.average or program.member(state.average, index)
        if run.is_painted_out and float(average.weight) > 0:
            averages[index] = averaged_image(average)
    if not averages:
        return state
    weights = [run.weights for run in runs]
    weights += weights[:1] * (program.num_members - len(runs))
    # `measure_terms` copies the pictures, as its step donates their buffers.
    last = program.measure_terms(images, targets, weights)
    means = [averages.get(index, image) for index, image in enumerate(images)]
    mean = program.measure_terms(means, targets, weights)
    replaced = {}
    for index, image in averages.items():
        if mean[index].total < last[index].total:
            replaced[index] = program.member(state, index)._replace(image=image)
            runs[index].is_averaged = True
    return program.replace(state, replaced)


def _is_true(answer: object) -> bool:
    """Return whether a callback returned True (of Python, NumPy or JAX only)."""
    return isinstance(answer, bool | np.bool_ | jax.Array) and bool(answer)
