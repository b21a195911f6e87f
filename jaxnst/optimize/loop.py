"""The loop around the compiled step, for one picture size and a batch of pictures.

The loop is Python: XLA runs a convolution inside a compiled loop on the CPU several
times slower than outside (jax issue 12868), and progress, stopping and interruption
become ordinary code. Each picture of a batch, its member, has a schedule, a monitor,
recoveries and a strength of its own, in plain Python. A member that is done takes steps
of length 0 until the others are done, and its picture is kept as it was.
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


# How many calls may be under way on the device before the loop waits for the oldest.
# Its loss is fetched then though nobody may look at it: a painting that goes astray is
# noticed, and the device has the calls after it to go on with.
_MAX_AHEAD = 2
# Why a size ended, where nobody stopped it.
_PAINTED_OUT = (None, "converged", "out of time")

# A copy of the picture is kept as often as this, in steps.
_KEEP_EVERY = 10
# Before so many steps a loss may well be above where it began: Adam starts with leaps.
_PATIENCE = 10
# This many times the best loss is more than leaping.
_RISE = 2.0
# Five steps below this part of the five before are on their way down.
_FALLING = 0.95
# But from so many times what is too high they take too long.
_HOPELESS = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepView:
    """What a callback sees after each step, valid until it returns.

    Nothing is fetched from the device until it is read. On an accelerator several steps
    may be made in one call; then it is the last of them.

    Attributes:
        step: number of this step over all sizes, from 1.
        num_steps: number of steps over all sizes, if none stops early.
        shape: height and width that are being painted.
        full_shape: height and width of the result.
        work_done: part of all the work that is done, 0 to 1; a step counts as many
            times as it has pixels.
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
    """Where one size stands among all of them.

    Attributes:
        total_steps: number of steps at all sizes.
        first_work: pixels times steps before this one.
        total_work: pixels times steps at all sizes.
        full_shape: height and width of the result.
    """

    total_steps: int
    first_work: int
    total_work: int
    full_shape: tuple[int, int]


@dataclasses.dataclass(kw_only=True)
class Member:
    """How one picture of a batch is painted; kept from size to size.

    Attributes:
        method: how its steps are made; gentler after a recovery.
        weights: weights of its loss terms.
        budget: plan of its steps within the time there is; its present size is the one
            that is painted.
        tolerance: see `Pace`.
        steering: changes the weights from step to step, and at the full size trims the
            picture to the strength that was asked for; None if none was.
        callback: called after each step with a `StepView`; returning True stops.
        num_steps: number of steps made so far, over all sizes.
        is_over: whether it was stopped for good at an earlier size.
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
    """What painting one picture at one size gave.

    Attributes:
        size: longest side, in pixels.
        terms: loss terms of each step, on the host.
        num_steps: number of steps that were made.
        num_evaluations: how often loss and gradient were computed for them.
        stopped: why there were not as many steps as planned: "callback",
            "interrupted", "not finite", "out of time", "converged", "skipped"; or None.
        is_averaged: whether the picture is the average of the steps' pictures.
        recoveries: each time that the steps went wrong.
        compile_seconds: time of the first step, less the time that a later one takes.
        trimmed: how the picture was brought to a strength, if one was asked for.
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
    """Follows the losses of one go at a size, and keeps its best picture.

    Steps donate the buffers of their pictures, so the one that is kept is a copy. It is
    made on the device, where it costs next to nothing.

    Args:
        image: the picture from which the first step starts.
        is_steered: whether the weights change from step to step, so that losses cannot
            be compared; then only what is not finite counts as trouble.

    Attributes:
        losses: total losses of the steps so far.
        trouble: what is wrong; or None.
        best: the best picture so far.
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
        """Copy the picture after so many steps, if it is time to.

        Args:
            image_fn: returns the picture.
            num_steps: number of steps before it.
        """
        if num_steps // _KEEP_EVERY > self._offered // _KEEP_EVERY:
            self._candidates[num_steps] = image_fn().copy()
            self._offered = num_steps

    def observe(self, losses: np.ndarray, are_finite: np.ndarray) -> list[float]:
        """Take note of the losses that steps began with; return the finite ones.

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
        """Return what is wrong once all steps are made, a too high last loss included.

        However they ended: whoever stops them wants the best that there is, too.
        """
        if self.trouble is not None or not self.losses or self._is_steered:
            return self.trouble
        # Adam's steps have one length, so from a picture that is already right (content
        # and style alike, say) they only lead away.
        limit = self.losses[0] * (1 if len(self.losses) >= _PATIENCE else _RISE)
        return "the loss rose" if self.losses[-1] > limit else None

    def _note(self, loss: float) -> None:
        candidate = self._candidates.pop(len(self.losses), None)
        # Of steered pictures the last one is as good as any.
        if candidate is not None and (loss < self._best_loss or self._is_steered):
            self.best, self._best_loss = candidate, loss
        self.losses.append(loss)
        if self._is_steered:
            return
        if len(self.losses) > _PATIENCE and self._is_astray():
            self.trouble = "the loss rose"

    def _is_astray(self) -> bool:
        """Whether the last steps all were too high, with no hope of coming down."""
        last = self.losses[-_PATIENCE:]
        limit = min(self.losses[0], _RISE * self._best_loss)
        half = _PATIENCE // 2
        is_falling = sum(last[half:]) < _FALLING * sum(last[:half])
        return min(last) > limit * (_HOPELESS if is_falling else 1)


class _MemberRun:
    """One member at one size: its steps, its monitor, and what becomes of them."""

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
        """Go on from a picture; losses before it do not count any more."""
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
        """Whether it ended with no one stopping it."""
        return self.stopped in _PAINTED_OUT and not self.member.is_over

    def observe(
        self, losses: np.ndarray, gaps: np.ndarray, are_finite: np.ndarray
    ) -> None:
        """Take note of total losses and style terms that steps began with."""
        finite = self.monitor.observe(losses, are_finite)
        self.num_finite += len(finite)
        self.pace.observe(finite, self._done_before + len(self.monitor.losses))
        if self.member.steering is not None and finite:
            self.member.steering.observe(gaps[: len(finite)])

    def observe_one(self, terms: LossTerms) -> None:
        """Take note of the terms that a single step began with, on the host."""
        total, gaps = np.asarray(terms.total), np.asarray(terms.style_regions)
        self.observe(total[None], gaps[None], np.isfinite(total)[None])

    def after_steps(
        self,
        count: int,
        image_fn: Callable[[], Any],
        terms_fn: Callable[[], LossTerms],
        is_interrupted: Callable[[], bool],
    ) -> None:
        """Keep the picture if it is time to, and ask whether to stop."""
        self.monitor.offer(image_fn, self.pace.done - self._done_before)
        if self.monitor.trouble is None:
            self._show(image_fn, terms_fn)
            if self.stopped is None and is_interrupted():
                self.stopped = "interrupted"

    @property
    def is_to_end(self) -> bool:
        """Whether no further step can be made as it is."""
        return (
            self.monitor.trouble is not None
            or self.stopped is not None
            or self.pace.num_left() == 0
        )

    def end(self) -> Any:
        """End the steps, or recover; return the picture to go on from, if another."""
        trouble = self.monitor.final_trouble()
        if trouble is not None:
            return self.recover(trouble)
        self.is_done = True
        return None

    def recover(self, trouble: str) -> Any:
        """Note what went wrong, and return the picture to go on from.

        The member is done where it has no steps left or recovered often enough.
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
        """Call the callback of the member; it may stop it."""
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
        """Return what the size gave, and count its steps."""
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

    Where the steps of a member go wrong, it goes back to its best picture and takes
    gentler ones.

    Args:
        state: state of all members; its buffers are donated.
        targets: targets of the picture, of the batch, or those that are shared.
        program: makes the steps. A batch may have more rows than there are members.
        members: how each picture is painted; learning rates and strengths change.
        num_steps: number of steps of each member, if none stops early.
        schedule: where this size stands among all of them.
        is_interrupted: asked after each step whether to stop.

    Returns:
        The last state, and what each member gave.
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
    """A call of the program: its infos, and what they belong to.

    Attributes:
        info: infos of all members, on the device.
        num_steps: number of steps.
        monitors: {member: the monitor it had then}; a recovery brings another one.
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
    # States of members that are done while others are not.
    kept: dict[int, TransferState] = {}
    num_idle = program.num_members - len(runs)
    started = time.perf_counter()
    first_seconds = 0.0

    def learn(num_ahead: int) -> None:
        """Take note of what calls found, but for the last ones; this waits for them."""
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
        # Time may have run out since steps were counted.
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
    for run in runs:  # while the last steps were awaited
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

    Where its line search fails twice, steps are left for another optimizer.
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
    """Take the average of each member's pictures where it has the lower loss."""
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
    # Copies, as the step donates the pictures' buffers.
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
    """Whether a callback said True: Python's, NumPy's or JAX's, but nothing else."""
    return isinstance(answer, bool | np.bool_ | jax.Array) and bool(answer)
