"""One picture of a batch: how it is painted, and what becomes of it at one size.

All of it is plain Python: its schedule, its monitor, its recoveries and its strength.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxnst._types import HostImage
from jaxnst.objective import LossTerms, LossWeights

from .recovery import KEPT_BEST, MAX_RECOVERIES, LossMonitor, Method, Recovery, gentler
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
            number of pixels, and as much more as every step costs.
    """

    step: int
    num_steps: int
    shape: tuple[int, int]
    full_shape: tuple[int, int]
    work_done: float
    _image_fn: Callable[[], Any]
    _terms_fn: Callable[[], LossTerms]
    _observed: LossTerms | None = None

    @property
    def image(self) -> HostImage:
        """The picture after this step: RGB, float32, [0, 1], at the present size."""
        return np.asarray(self._image_fn())

    @property
    def terms(self) -> LossTerms:
        """Loss terms of the picture before this step, on the device."""
        return self._terms_fn()

    @property
    def known_terms(self) -> LossTerms:
        """Loss terms of the last step that the host knows, some calls before this one.

        Reading `terms` waits for the device, which has no further work then. At the
        first steps of a size these are `terms`.
        """
        if self._observed is None or not self._observed.total.size:
            return self.terms
        return jax.tree.map(lambda leaf: leaf[-1], self._observed)

    @property
    def loss(self) -> float:
        """The total loss before this step."""
        return float(self.terms.total)


StepCallback = Callable[[StepView], object]


@dataclasses.dataclass(kw_only=True)
class SizeReport:
    """Report of painting one picture at one size.

    Attributes:
        size: longest side, in pixels.
        observed: loss terms of the steps, with a first axis of one or several steps.
        num_evaluations: number of evaluations of loss and gradient.
        stopped: reason for fewer steps than planned: "callback", "interrupted",
            "not finite", "out of time", "converged" or "skipped"; None if all were
            made.
        is_averaged: whether the picture is the average of the steps' pictures.
        trimmed: result of trimming to a strength; None if none was asked for.
    """

    size: int
    observed: list[LossTerms] = dataclasses.field(default_factory=list)
    num_steps: int = 0
    num_evaluations: int = 0
    stopped: str | None = None
    is_averaged: bool = False
    recoveries: list[Recovery] = dataclasses.field(default_factory=list)
    trimmed: Trimmed | None = None

    @property
    def terms(self) -> list[LossTerms]:
        """The loss terms of each step, on the host."""
        return [
            jax.tree.map(lambda leaf, i=i: leaf[i], steps)
            for steps in self.observed
            for i in range(len(steps.total))
        ]

    def kept(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        observed = []
        if self.observed:  # few arrays
            observed = [jax.tree.map(lambda *x: np.concatenate(x), *self.observed)]
        return vars(self) | {"observed": [steps._asdict() for steps in observed]}

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> "SizeReport":
        """Return the report that a checkpoint holds."""
        kept = dict(kept)
        kept["observed"] = [LossTerms(**steps) for steps in kept["observed"]]
        kept["recoveries"] = [Recovery(*each) for each in kept["recoveries"]]
        return cls(**kept)


# Reasons to end a size that end the whole painting.
_ENDS_ALL = ("callback", "interrupted", "not finite")


@dataclasses.dataclass(kw_only=True)
class Member:
    """One picture of a batch: its settings, and its progress from size to size.

    Attributes:
        method: optimizer and learning rate; gentler after a recovery.
        budget: plan of the steps of all sizes, at the size that is painted.
        full_shape: height and width of the result.
        tolerance: see `SizeSchedule`.
        steering: control of the strength, which changes the weights from step to step;
            None if no strength was asked for.
        is_watched: whether a rise of the loss counts as trouble; if not, only values
            that are not finite do.
        reports: report of each size, up to the one that is painted.
        is_done: whether it makes no more steps at this size.
        average: average of the pictures at this size, if SciPy made the steps.
        monitor: monitor of the losses since the last recovery.
    """

    method: Method
    weights: LossWeights
    budget: Budget
    full_shape: tuple[int, int]
    tolerance: float = 0.0
    steering: Steering | None = None
    callback: StepCallback | None = None
    is_watched: bool = True
    reports: list[SizeReport] = dataclasses.field(default_factory=list)
    is_done: bool = False
    average: Average | None = None
    schedule: SizeSchedule = dataclasses.field(init=False)
    monitor: LossMonitor = dataclasses.field(init=False)

    def begin_size(self, image: Any) -> None:
        """Begin the size of a picture, unless painting was stopped for good."""
        if self.is_over:
            return
        self.reports.append(SizeReport(size=max(image.shape[:2])))
        self.is_done = False
        self.average = None
        self.schedule = SizeSchedule(self.method, self.budget, tolerance=self.tolerance)
        self._begin(image)
        if self.steering is not None:
            self.steering.begin_size()

    def _begin(self, image: Any) -> None:
        """Go on from a picture, with a new monitor."""
        self.monitor = LossMonitor(image, self._is_unwatched)
        self._done_before = self.schedule.done

    @property
    def _is_unwatched(self) -> bool:
        return self.steering is not None or not self.is_watched

    @property
    def report(self) -> SizeReport:
        """Report of the size that is painted."""
        return self.reports[-1]

    @property
    def is_over(self) -> bool:
        """Whether the picture was stopped for good."""
        return bool(self.reports) and self.report.stopped in _ENDS_ALL

    @property
    def num_steps(self) -> int:
        """Number of steps over all sizes."""
        return sum(each.num_steps for each in self.reports[:-1]) + self.schedule.done

    @property
    def next_weights(self) -> LossWeights:
        """Loss weights of the next step."""
        if self.steering is None:
            return self.weights
        return weigh(self.weights, self.steering.log_ratios, self.steering.shares)

    def observe(
        self, terms: LossTerms, are_finite: np.ndarray, *, is_last: bool = False
    ) -> None:
        """Record what steps found at the pictures that they started from.

        Arrays have a first axis of steps. After the last step nothing is steered.
        """
        self.report.observed.append(
            terms
            if are_finite.all()
            else jax.tree.map(lambda leaf: leaf[are_finite], terms)
        )
        finite = self.monitor.observe(np.asarray(terms.total), are_finite)
        num_done = self._done_before + len(self.monitor.losses)
        self.schedule.observe(finite, num_done)
        if self.steering is not None and not is_last:
            gaps = np.asarray(terms.style_regions)
            self.steering.observe(gaps[: len(finite)])

    def after_steps(
        self,
        image_fn: Callable[[], Any],
        terms_fn: Callable[[], LossTerms],
    ) -> None:
        """Keep the picture if it is time to, show it, and ask whether to stop.

        `image_fn` returns the picture after the steps, and `terms_fn` the loss terms of
        the picture before the last step.
        """
        done = self.schedule.done
        self.monitor.offer(image_fn, done - self._done_before)
        if self.monitor.trouble is not None:
            return
        if self.callback is not None:
            view = StepView(
                step=self.num_steps,
                num_steps=self.budget.total_steps,
                shape=self.monitor.best.shape[:2],
                full_shape=self.full_shape,
                work_done=self.budget.work_done(done),
                _image_fn=image_fn,
                _terms_fn=terms_fn,
                _observed=self.report.observed[-1] if self.report.observed else None,
            )
            answer = self.callback(view)
            # True of Python, NumPy or JAX only: most functions return something else.
            is_flag = isinstance(answer, bool | np.bool_) or (
                isinstance(answer, jax.Array)
                and answer.ndim == 0
                and answer.dtype == bool
            )
            if is_flag and bool(answer):
                self.report.stopped = "callback"

    @property
    def is_sound(self) -> bool:
        """Whether its steps go on well, or are all made."""
        return self.monitor.trouble is None and self.report.stopped is None

    def heed(self, is_interrupted: Callable[[], bool]) -> None:
        """Stop a picture that is sound, if that is asked for."""
        if self.is_sound and is_interrupted():
            self.report.stopped = "interrupted"

    @property
    def is_to_end(self) -> bool:
        """Whether the steps have to end, or to recover."""
        return self.monitor.trouble is not None or self._has_no_steps_left()

    def _has_no_steps_left(self) -> bool:
        return self.report.stopped is not None or self.schedule.num_left() == 0

    def end(self) -> Any:
        """End the steps, or recover; return a picture to go on from, or None."""
        trouble = self.monitor.final_trouble()
        self.is_done = trouble is None
        return None if trouble is None else self.recover(trouble)

    def recover(self, trouble: str) -> Any:
        """Record what went wrong, and return the best picture.

        The member is done if it has no steps left, or after `MAX_RECOVERIES`.
        """
        report = self.report
        is_last = self._has_no_steps_left()
        if is_last or len(report.recoveries) == MAX_RECOVERIES:
            action = KEPT_BEST
            if trouble == "not finite" and not (is_last and report.terms):
                report.stopped = "not finite"
            self.is_done = True
        else:
            is_first = trouble not in {each.reason for each in report.recoveries}
            self.method, action = gentler(self.method, is_first=is_first)
            self.schedule.soften(self.method)
        recovery = Recovery(report.size, self.num_steps, trouble, action)
        report.recoveries.append(recovery)
        best = self.monitor.best
        self._begin(best)
        return best

    def kept(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it: all that its next steps depend on."""
        return {
            "learning_rate": self.method.learning_rate,
            "decay": self.method.decay,
            "reports": [report.kept() for report in self.reports],
            "done_before": self._done_before,
            "is_finished": self.budget.is_last and not self.schedule.num_left(),
            "schedule": self.schedule.kept(),
            "monitor": self.monitor.kept(),
            "steering": self.steering and self.steering.kept(),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, at its size."""
        self.method = self.method._replace(
            learning_rate=kept["learning_rate"], decay=kept["decay"]
        )
        self.reports = [SizeReport.restored(each) for each in kept["reports"]]
        self._done_before = kept["done_before"]
        self.schedule = SizeSchedule(self.method, self.budget, tolerance=self.tolerance)
        self.schedule.restore(kept["schedule"])
        self.monitor = LossMonitor(kept["monitor"]["best"], self._is_unwatched)
        self.monitor.restore(kept["monitor"])
        if self.steering is not None:
            self.steering.restore(kept["steering"])

    def end_size(self) -> None:
        """Complete the report of the size."""
        self.report.stopped = self.report.stopped or self.schedule.stopped
        self.report.num_steps = self.schedule.done
