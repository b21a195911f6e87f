"""The loop around the compiled step, for one picture size, and its monitor.

The loop is Python: XLA runs a convolution inside a compiled loop on the CPU several
times slower than outside (jax issue 12868), and progress, stopping and interruption
become ordinary code.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnst._types import HostImage
from jaxnst.calls import Calls
from jaxnst.objective import LossTerms

from .schedule import Pace
from .stepper import Stepper, Taken
from .stepping import StepInfo, TransferState
from .strength import Steering


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


class Watch:
    """Follows the losses of one go at a size, and keeps its best picture.

    The steps give the buffers of their pictures up, so the one kept is a copy. It is
    made on the device, where it costs next to nothing.

    Args:
        image: from which the first step starts: an array, or a lane of a batch of them.
        is_steered: whether the weights change from step to step, so that losses cannot
            be compared; then only what is not finite counts as trouble.

    Attributes:
        losses: of the steps so far.
        gaps: their style terms, of each region.
        trouble: what is wrong; or None.
        kept: the best picture so far.
    """

    def __init__(self, image: Any, *, is_steered: bool = False):
        self._is_steered = is_steered
        self.losses: list[float] = []
        self.gaps: list[np.ndarray] = []
        self.trouble: str | None = None
        self.kept: jax.Array = image.copy()
        self._kept_loss = math.inf
        self._offered = 0
        # Pictures whose loss is not known yet, by the number of steps before them.
        self._candidates: dict[int, jax.Array] = {0: self.kept}
        self._taken: list[Taken] = []

    def offer(self, image: Any, num_steps: int) -> None:
        """Copy the picture after so many steps, if it is time to."""
        if num_steps // _KEEP_EVERY > self._offered // _KEEP_EVERY:
            self._candidates[num_steps] = image.copy()
            self._offered = num_steps

    def learn(self, taken: Taken) -> list[float]:
        """Fetch the losses of steps; this waits for them. Return the finite ones."""
        self._taken.append(taken)
        terms = taken.info.terms
        regions, is_finite = terms.style_regions, taken.info.is_finite
        fetched = jax.device_get((terms.total, regions, is_finite))
        if np.ndim(fetched[-1]) == 0:  # a single step
            fetched = jax.tree.map(lambda leaf: np.asarray(leaf)[None], fetched)
        columns = (leaf[: taken.num_steps] for leaf in fetched)
        losses = []
        for total, gap, is_finite in zip(*columns, strict=True):
            if not is_finite:
                self.trouble = "not finite"
                break
            self.gaps.append(gap)
            losses.append(float(total))
            self._note(float(total))
        return losses

    def fetch_terms(self) -> list[LossTerms]:
        """Fetch every term of every step that was finite."""
        terms = []
        for taken in jax.device_get(self._taken):
            is_one = np.ndim(taken.info.is_finite) == 0
            for index in range(taken.num_steps):
                info = taken.info
                if not is_one:
                    info = jax.tree.map(lambda leaf, i=index: leaf[i], info)
                if info.is_finite:
                    terms.append(info.terms)
        return terms

    def final_trouble(self) -> str | None:
        """What is wrong once all steps are made: also a loss that ended too high.

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
        if candidate is not None and (loss < self._kept_loss or self._is_steered):
            self.kept, self._kept_loss = candidate, loss
        self.losses.append(loss)
        if self._is_steered:
            return
        if len(self.losses) > _PATIENCE and self._is_astray():
            self.trouble = "the loss rose"

    def _is_astray(self) -> bool:
        """Whether the last steps all were too high, with no hope of coming down."""
        last = self.losses[-_PATIENCE:]
        limit = min(self.losses[0], _RISE * self._kept_loss)
        half = _PATIENCE // 2
        is_falling = sum(last[half:]) < _FALLING * sum(last[:half])
        return min(last) > limit * (_HOPELESS if is_falling else 1)


# How many calls may be under way on the device before the loop waits for the oldest.
# Its loss is fetched then though nobody may look at it: a painting that goes astray is
# noticed, and the device has the calls after it to go on with.
_MAX_AHEAD = 2


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
    _taken: Taken
    _state: TransferState

    @property
    def image(self) -> HostImage:
        """The picture after this step: RGB, float32, [0, 1], at the present size."""
        return np.asarray(self._state.image)

    @property
    def terms(self) -> LossTerms:
        """Loss terms of the picture before this step, on the device."""
        return _last(self._taken).terms

    @property
    def loss(self) -> float:
        """The total loss before this step."""
        return float(self.terms.total)


StepCallback = Callable[[StepView], object]


class Schedule(NamedTuple):
    """Where one size stands among all of them.

    Attributes:
        first_step: steps at sizes before this one.
        total_steps: steps at all sizes.
        first_work: pixels times steps before this one.
        total_work: pixels times steps at all sizes.
        full_shape: height and width of the result.
    """

    first_step: int
    total_steps: int
    first_work: int
    total_work: int
    full_shape: tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeRun:
    """What painting one size gave.

    Attributes:
        state: the last one.
        terms: of each step, on the host.
        num_evaluations: how often loss and gradient were computed.
        compile_seconds: of the first step, less the time a later one takes.
        stopped: why it ended early: "callback", "interrupted", "not finite",
            "converged", "out of time"; or None.
    """

    state: TransferState
    terms: list[LossTerms]
    num_evaluations: int
    compile_seconds: float
    stopped: str | None


class Attempt(NamedTuple):
    """One go at a size: a run, and what went wrong in it.

    Attributes:
        run: what it gave.
        trouble: why it must not go on so: "not finite", "the loss rose", "line search
            stalled"; or None.
        kept: a copy of the best picture seen.
    """

    run: SizeRun
    trouble: str | None
    kept: jax.Array


def run_size(
    state: TransferState,
    stepper: Stepper,
    pace: Pace,
    *,
    schedule: Schedule,
    steering: Steering | None = None,
    callback: StepCallback | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> Calls[Attempt]:
    """Paint at one size, up to its end or the first trouble.

    Args:
        state: where to start; its buffers are given up.
        stepper: makes the steps.
        pace: how many steps there are, and how long they are.
        schedule: what came before and what comes after.
        steering: changes the weights from step to step.
        callback: called after each step; returning True stops.
        is_interrupted: asked after each step whether to stop.
    """
    height, width = state.image.shape[:2]
    pending: list[Taken] = []
    watch = Watch(state.image, is_steered=steering is not None)
    base = stepper.weights
    stopped: str | None = None
    started = time.perf_counter()
    first_seconds = 0.0
    num_steps = num_evaluations = 0
    done_before = pace.done
    trouble: str | None = None
    while trouble is None and (rates := pace.next_rates(stepper.steps_per_call)):
        if steering is not None:
            stepper.weights = steering.weigh(base)
        state, taken = yield from stepper(state, rates)
        pending.append(taken)
        num_steps += taken.num_steps
        num_evaluations += taken.num_evaluations
        if num_steps == taken.num_steps:
            jax.block_until_ready(taken.info)
            first_seconds = time.perf_counter() - started
            pace.observe([], done_before + num_steps)
        if len(pending) > _MAX_AHEAD:
            losses = watch.learn(pending.pop(0))
            pace.observe(losses, done_before + len(watch.losses))
            if steering is not None and losses:
                steering.observe(watch.gaps[-len(losses) :])
        watch.offer(state.image, num_steps)
        if taken.is_flat:
            pace.converge()
        trouble = taken.trouble or watch.trouble
        if trouble is not None:
            break
        view = StepView(
            step=schedule.first_step + done_before + num_steps,
            num_steps=schedule.total_steps,
            shape=(height, width),
            full_shape=schedule.full_shape,
            work_done=(schedule.first_work + pace.done * height * width)
            / schedule.total_work,
            _taken=taken,
            _state=state,
        )
        if callback is not None and _is_true(callback(view)):
            stopped = "callback"
            break
        if is_interrupted():
            stopped = "interrupted"
            break
    for taken in pending:
        losses = watch.learn(taken)
        pace.observe(losses, done_before + len(watch.losses))
    if stopped is None and is_interrupted():  # while the last steps were awaited
        stopped = "interrupted"
    seconds = time.perf_counter() - started
    later = (seconds - first_seconds) / max(1, num_steps - 1)
    run = SizeRun(
        state=state,
        terms=watch.fetch_terms(),
        num_evaluations=num_evaluations,
        compile_seconds=max(0.0, first_seconds - later),
        stopped=stopped or pace.stopped,
    )
    return Attempt(run, trouble or watch.final_trouble(), watch.kept)


def _last(taken: Taken) -> StepInfo:
    if taken.info.is_finite.ndim == 0:
        return taken.info
    return jax.tree.map(lambda leaf: leaf[taken.num_steps - 1], taken.info)


def _is_true(answer: object) -> bool:
    """Whether a callback said True: Python's, NumPy's or JAX's, but nothing else."""
    return isinstance(answer, bool | np.bool_ | jax.Array) and bool(answer)
