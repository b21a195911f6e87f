"""One picture of a batch: how it is painted, and what becomes of it at one size.

All of it is plain Python: its schedule, its monitor, its recoveries and its strength.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnst._types import HostImage
from jaxnst.objective import LossTerms, LossWeights

from .monitor import LossMonitor
from .recovery import KEPT_BEST, MAX_RECOVERIES, Method, Recovery, gentler
from .schedule import Budget, Pace
from .stepping import Average
from .strength import Steering, Trimmed


# Reasons for the end of a size that nobody stopped.
_PAINTED_OUT = (None, "converged", "out of time")


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


class MemberRun:
    """One member at one size: its steps, its monitor, and its report.

    Args:
        member: plan of the picture, kept from size to size.
        image: the picture before the first step.
        num_steps: number of steps, if it does not stop early.
        schedule: place of this size among all sizes.

    Attributes:
        member: plan of the picture, kept from size to size.
        pace: its steps.
        monitor: monitor of its losses since the last recovery.
        terms: loss terms of each step, on the host.
        recoveries: each time that the steps went wrong.
        num_evaluations: number of evaluations of loss and gradient.
        num_finite: number of steps whose loss was finite.
        stopped: reason for an early end; or None.
        is_done: True if it makes no more steps.
        is_averaged: whether its picture is the average of the steps' pictures.
        average: average of the pictures, where SciPy made the steps.
        trimmed: result of trimming to a strength, if one was asked for.
        shape: height and width.
        is_last: whether this is the full size.
    """

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
        self,
        losses: np.ndarray,
        gaps: np.ndarray,
        are_finite: np.ndarray,
        *,
        is_last: bool = False,
    ) -> None:
        """Take note of what steps found at the picture that they started from.

        Args:
            losses: total losses, in the order of the steps.
            gaps: style terms of each step, one of each region.
            are_finite: True for each step that was finite.
            is_last: True if no step follows that could be steered.
        """
        finite = self.monitor.observe(losses, are_finite)
        self.num_finite += len(finite)
        self.pace.observe(finite, self._done_before + len(self.monitor.losses))
        if self.member.steering is not None and finite and not is_last:
            self.member.steering.observe(gaps[: len(finite)])

    def observe_one(self, terms: LossTerms) -> None:
        """Record the terms before a single step, on the host."""
        total, gaps = np.asarray(terms.total), np.asarray(terms.style_regions)
        self.observe(total[None], gaps[None], np.isfinite(total)[None])

    def after_steps(
        self,
        image_fn: Callable[[], Any],
        terms_fn: Callable[[], LossTerms],
        is_interrupted: Callable[[], bool],
    ) -> None:
        """Keep the picture if it is time to, and ask whether to stop.

        Args:
            image_fn: returns the picture after the steps.
            terms_fn: returns the loss terms of the picture before the last step.
            is_interrupted: returns whether to stop.
        """
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


def _is_true(answer: object) -> bool:
    """Return whether a callback returned True (of Python, NumPy or JAX only)."""
    return isinstance(answer, bool | np.bool_ | jax.Array) and bool(answer)
