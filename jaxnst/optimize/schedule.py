"""The number of steps of each size, their learning rates, and when they end."""

import math
import operator
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .recovery import Method


# Least number of steps at the full size, even if late; fewer leave artifacts.
MIN_LAST_STEPS = 5


class Budget:
    """Plan of the steps of every size within a time limit, from the times so far.

    The time of a step is taken to be proportional to its work, and the overhead of a
    size (compiling, above all) to be the largest one before.

    Args:
        work: work of a step of every size, in any unit, the coarsest first.
        num_steps: number of steps planned for every size.
        deadline: time by which to be done, on the clock of `now_fn`; None: no limit.
        now_fn: clock, in seconds.

    Attributes:
        total_steps: number of steps planned for all sizes.
        overheads: seconds of every size beyond those of its steps, as far as known.
    """

    def __init__(
        self,
        work: Sequence[float],
        num_steps: Sequence[int],
        *,
        deadline: float | None = None,
        now_fn: Callable[[], float] = time.perf_counter,
    ):
        self._work = list(work)
        self._steps = list(num_steps)
        self.total_steps = sum(num_steps)
        self._deadline = math.inf if deadline is None else deadline
        self._now = now_fn
        self._index = 0
        self.overheads = [0.0] * len(self._work)
        self._per_unit: float | None = None
        self._size_started = 0.0
        self._first_done: tuple[float, int] | None = None
        self._done = 0

    def begin_size(self, index: int) -> bool:
        """Go on to a size, and return True; or return False if there is no time."""
        is_last = index == len(self._work) - 1
        if not is_last and self._per_unit is not None:
            needed = self._per_unit * (
                self._work[index] * MIN_LAST_STEPS
                + self._work[-1] * min(MIN_LAST_STEPS, self._steps[-1])
            )
            if self._left() < needed + 2 * max(self.overheads):
                return False
        self._index = index
        self._size_started = self._now()
        self._first_done = None
        self._done = 0
        return True

    def steps_done(self, num_steps: int) -> None:
        """Record that so many steps of this size are done now."""
        now = self._now()
        if self._first_done is None:
            # The first ones include compiling, so steps are timed from here.
            self._first_done = now, num_steps
            self.overheads[self._index] = now - self._size_started
        elif num_steps > self._first_done[1]:
            then, count = self._first_done
            seconds = (now - then) / (num_steps - count)
            self._per_unit = seconds / self._work[self._index]
            overhead = then - self._size_started - count * seconds
            self.overheads[self._index] = max(0.0, overhead)
        self._done = num_steps

    def num_steps(self) -> int:
        """Return the number of steps of this size in all, as estimated now."""
        planned = self._steps[self._index]
        if self._per_unit is None or not self.is_limited:
            return planned
        here = self._per_unit * self._work[self._index]
        left = self._left() + self._done * here
        if self._index == len(self._work) - 1:
            return min(planned, max(MIN_LAST_STEPS, math.floor(left / here)))
        # The steps of all sizes left are cut by the same factor.
        later = range(self._index + 1, len(self._work))
        num_begun = len(later) + (self._first_done is None)
        left -= num_begun * max(self.overheads)
        last = self._per_unit * self._work[-1]
        reserve = last * min(MIN_LAST_STEPS, self._steps[-1])
        work = planned * here + sum(
            self._steps[size] * self._work[size] * self._per_unit for size in later
        )
        part = left / work
        if part >= 1:
            return planned
        most = math.floor((left - reserve) / here)
        return max(1, min(math.floor(part * planned), most))

    @property
    def is_limited(self) -> bool:
        """Whether there is a time limit."""
        return not math.isinf(self._deadline)

    @property
    def planned(self) -> int:
        """Number of steps planned for this size."""
        return self._steps[self._index]

    @property
    def is_last(self) -> bool:
        """Whether this is the full size."""
        return self._index == len(self._work) - 1

    def work_done(self, num_steps: int) -> float:
        """Return the fraction of all work that is done after steps of this size."""
        sizes = list(map(operator.mul, self._steps, self._work))
        here = num_steps * self._work[self._index]
        return (sum(sizes[: self._index]) + here) / sum(sizes)

    def has_time(self) -> bool:
        """Return whether one more step of this size would end by the deadline."""
        step = 0.0
        if self._per_unit is not None:
            step = self._per_unit * self._work[self._index]
        return self._left() >= step

    def _left(self) -> float:
        return self._deadline - self._now()


# Number of steps whose mean loss is compared with that of as many before: the loss of
# single steps of Adam goes up and down.
_WINDOW = 10
# Number of steps over which the rate falls to zero after convergence.
_FINISH_STEPS = 10


def learning_rate_at(rate: float, step: int, num_steps: int, decay: float) -> float:
    """Return the rate of a step, from 0: constant, then along a cosine towards zero.

    It falls over a fraction `decay` of the steps, at their end.
    """
    start = num_steps * (1 - decay)
    if step < start:
        return rate
    angle = math.pi * (step - start + 1) / (num_steps * decay + 1)
    return rate * 0.5 * (1 + math.cos(angle))


class SizeSchedule:
    """The steps of one size: their number, their learning rates, and their end.

    `done` counts the steps whose rates were returned; `stopped` is the reason for fewer
    steps than planned, "converged" or "out of time"; None if there is none.

    Args:
        budget: plan of the steps within a time limit, at this size.
        tolerance: relative decrease of the mean loss from ten steps to the next ten
            below which the size ends; 0: never. If the rate is to decay, it first falls
            to zero, within ten more steps.
    """

    def __init__(self, method: Method, budget: Budget, *, tolerance: float = 0.0):
        self.done = 0
        self.stopped: str | None = None
        self._method = method
        self._budget = budget
        self._tolerance = tolerance
        self._losses: deque[float] = deque(maxlen=2 * _WINDOW)
        # An early end: its first step, the rate then, and the number of steps.
        self._finish: tuple[int, float, int] | None = None

    def num_left(self) -> int:
        """Return the number of steps left, as estimated now; 0 sets `stopped`."""
        total, reason = self._plan()
        left = max(0, total - self.done)
        if not left:
            self.stopped = reason
        return left

    def next_rates(self, most: int = 1) -> list[float]:
        """Return the learning rates of at most `most` next steps; [] at the end."""
        total, _ = self._plan()
        steps = range(self.done, min(total, self.done + most))
        rates = [self._rate_at(step, total) for step in steps]
        self.done += len(rates)
        if not rates:
            self.num_left()
        return rates

    def take_back(self, num_steps: int) -> None:
        """Count steps as not made whose rates were returned last."""
        self.done -= num_steps

    def _plan(self) -> tuple[int, str | None]:
        """Return the number of steps in all, and the reason if fewer than planned."""
        total, reason = self._budget.planned, None
        if self._finish is not None and sum(self._finish[::2]) < total:
            total, reason = self._finish[0] + self._finish[2], "converged"
        if self._budget.num_steps() < total:
            total, reason = self._budget.num_steps(), "out of time"
        return total, reason

    def observe(self, losses: Sequence[float], num_done: int) -> None:
        """Record the losses before steps, of which `num_done` of this size are done."""
        self._budget.steps_done(num_done)
        for loss in losses:
            self._losses.append(loss)
            if self._tolerance and self._finish is None and self._is_enough():
                self._start_to_finish()

    def soften(self, method: Method) -> None:
        """Go on from an earlier picture with another rate."""
        self._method = method
        self._losses.clear()
        self._finish = None

    def converge(self) -> None:
        """End the size now, as converged."""
        self._finish = self.done, 0.0, 0

    def kept(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {
            "done": self.done,
            "stopped": self.stopped,
            "losses": list(self._losses),
            "finish": self._finish,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.done, self.stopped = kept["done"], kept["stopped"]
        self._losses.extend(kept["losses"])
        self._finish = kept["finish"] and tuple(kept["finish"])

    def _is_enough(self) -> bool:
        if len(self._losses) < 2 * _WINDOW:
            return False
        losses = list(self._losses)
        before, after = sum(losses[:_WINDOW]), sum(losses[_WINDOW:])
        return before - after < self._tolerance * before

    def _start_to_finish(self) -> None:
        total, _ = self._plan()
        length = min(total - self.done, _FINISH_STEPS) if self._decay else 0
        self._finish = self.done, self._rate_at(self.done, total), length

    @property
    def _decay(self) -> float:
        return self._method.decay if self._budget.is_last else 0.0

    def _rate_at(self, step: int, total: int) -> float:
        if self._finish is None:
            rate = self._method.learning_rate
            return learning_rate_at(rate, step, total, self._decay)
        start, rate, length = self._finish
        length = max(1, min(length, total - start))
        return learning_rate_at(rate, step - start, length, 1.0)
