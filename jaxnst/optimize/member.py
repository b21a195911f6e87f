"""One picture of a batch: how it is painted, and what becomes of it at one size.

All of it is plain Python: its schedule, its monitor, its recoveries and its strength.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxnst._types import HostImage
from jaxnst.objective import LossTerms, LossWeights

from .monitor import LossMonitor
from .recovery import KEPT_BEST, MAX_RECOVERIES, Method, Recovery, gentler
from .schedule import Budget, SizeSchedule
from .stepping import Average
from .strength import Steering, Trimmed, weigh


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


@dataclasses.dataclass(kw_only=True)
class Member:
    """Settings and progress of one picture of a batch, kept from size to size.

    Attributes:
        method: optimizer and learning rate; gentler after a recovery.
        budget: plan of the steps of all sizes, at the size that is painted.
        full_shape: height and width of the result.
        tolerance: see `SizeSchedule`.
        steering: control of the strength, which changes the weights from step to step;
            None if no strength was asked for.
        num_steps: number of steps made at the sizes before.
        is_over: whether the picture was stopped for good at an earlier size.
    """

    method: Method
    weights: LossWeights
    budget: Budget
    full_shape: tuple[int, int]
    tolerance: float = 0.0
    steering: Steering | None = None
    callback: StepCallback | None = None
    num_steps: int = 0
    is_over: bool = False


@dataclasses.dataclass(kw_only=True)
class SizeReport:
    """Report of painting one picture at one size.

    Attributes:
        size: longest side, in pixels.
        terms: loss terms of each step, on the host.
        num_evaluations: number of evaluations of loss and gradient.
        stopped: reason for fewer steps than planned: "callback", "interrupted",
            "not finite", "out of time", "converged" or "skipped"; None if all were
            made.
        is_averaged: whether the picture is the average of the steps' pictures.
        compile_seconds: seconds of the first step beyond those of a later one.
        trimmed: result of trimming to a strength; None if none was asked for.
    """

    size: int
    terms: list[LossTerms] = dataclasses.field(default_factory=list)
    num_steps: int = 0
    num_evaluations: int = 0
    stopped: str | None = None
    is_averaged: bool = False
    recoveries: list[Recovery] = dataclasses.field(default_factory=list)
    compile_seconds: float = 0.0
    trimmed: Trimmed | None = None


class MemberRun:
    """One member at one size: when it ends or recovers, and its report.

    Attributes:
        monitor: monitor of the losses since the last recovery.
        is_done: whether it makes no more steps.
        average: average of the pictures, if SciPy made the steps.
    """

    def __init__(self, member: Member, image: Any):
        self.member = member
        self.report = SizeReport(size=max(image.shape[:2]))
        self.is_done = member.is_over
        self.average: Average | None = None
        self._shape = image.shape[:2]
        self.schedule = SizeSchedule(
            member.method, member.budget, tolerance=member.tolerance
        )
        self._begin(image)

    def _begin(self, image: Any) -> None:
        """Go on from a picture, with a new monitor."""
        self.monitor = LossMonitor(image, self.member.steering is not None)
        self._done_before = self.schedule.done

    @property
    def weights(self) -> LossWeights:
        """Loss weights of the next step."""
        steering, base = self.member.steering, self.member.weights
        if steering is None:
            return base
        return weigh(base, steering.log_ratios, steering.shares)

    def observe(
        self, terms: LossTerms, are_finite: np.ndarray, *, is_last: bool = False
    ) -> None:
        """Record what steps found at the pictures that they started from.

        Args:
            terms: loss terms on the host, with a first axis of steps.
            are_finite: whether each step was finite.
            is_last: whether no step follows that could be steered.
        """
        self.report.terms += [
            jax.tree.map(lambda leaf, i=i: leaf[i], terms)
            for i in np.flatnonzero(are_finite)
        ]
        finite = self.monitor.observe(np.asarray(terms.total), are_finite)
        num_done = self._done_before + len(self.monitor.losses)
        self.schedule.observe(finite, num_done)
        if self.member.steering is not None and not is_last:
            gaps = np.asarray(terms.style_regions)
            self.member.steering.observe(gaps[: len(finite)])

    def after_steps(
        self,
        image_fn: Callable[[], Any],
        terms_fn: Callable[[], LossTerms],
        is_interrupted: Callable[[], bool],
    ) -> None:
        """Keep the picture if it is time to, and ask whether to stop.

        `image_fn` returns the picture after the steps, and `terms_fn` the loss terms of
        the picture before the last step.
        """
        self.monitor.offer(image_fn, self.schedule.done - self._done_before)
        if self.monitor.trouble is None:
            self._show(image_fn, terms_fn)
            self.heed(is_interrupted)

    @property
    def is_painted_out(self) -> bool:
        """Whether the size ended without being stopped."""
        return self.report.stopped is None and not self.member.is_over

    def heed(self, is_interrupted: Callable[[], bool]) -> None:
        """Stop if that is asked for."""
        if self.report.stopped is None and is_interrupted():
            self.report.stopped = "interrupted"

    @property
    def is_to_end(self) -> bool:
        """Whether the steps have to end, or to recover."""
        return self.monitor.trouble is not None or self._is_over()

    def _is_over(self) -> bool:
        return self.report.stopped is not None or self.schedule.num_left() == 0

    def end(self) -> Any:
        """End the steps, or recover; return a picture to go on from, or None."""
        trouble = self.monitor.final_trouble()
        if trouble is not None:
            return self.recover(trouble)
        self.is_done = True
        return None

    def recover(self, trouble: str) -> Any:
        """Record what went wrong, and return the best picture.

        The member is done if it has no steps left, or after `MAX_RECOVERIES`.
        """
        member, report = self.member, self.report
        is_over = self._is_over()
        if is_over or len(report.recoveries) == MAX_RECOVERIES:
            action = KEPT_BEST
            if trouble == "not finite" and not (is_over and report.terms):
                report.stopped = "not finite"
            self.is_done = True
        else:
            is_first = trouble not in {each.reason for each in report.recoveries}
            member.method, action = gentler(member.method, is_first=is_first)
            self.schedule.soften(member.method)
        step = member.num_steps + self.schedule.done
        report.recoveries.append(Recovery(report.size, step, trouble, action))
        best = self.monitor.best
        self._begin(best)
        return best

    def _show(
        self, image_fn: Callable[[], Any], terms_fn: Callable[[], LossTerms]
    ) -> None:
        """Call the callback of the member, which may stop it."""
        member, done = self.member, self.schedule.done
        if member.callback is None:
            return
        view = StepView(
            step=member.num_steps + done,
            num_steps=member.budget.total_steps,
            shape=self._shape,
            full_shape=member.full_shape,
            work_done=member.budget.work_done(done),
            _image_fn=image_fn,
            _terms_fn=terms_fn,
        )
        answer = member.callback(view)
        # True of Python, NumPy or JAX only: most functions return something else.
        if isinstance(answer, bool | np.bool_ | jax.Array) and bool(answer):
            self.report.stopped = "callback"

    def finish(self, compile_seconds: float) -> SizeReport:
        """Return the report of the size, and count its steps."""
        done, report = self.schedule.done, self.report
        self.member.num_steps += done
        report.num_steps = done
        report.stopped = report.stopped or self.schedule.stopped
        report.compile_seconds = compile_seconds
        return report
