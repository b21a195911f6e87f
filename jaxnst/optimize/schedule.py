"""How many steps each size gets, how long each step is, and when it is enough."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence


# So many steps the full size gets, however late it is; with fewer its grain is raw.
MIN_LAST_STEPS = 5


class Budget:
    """Plans the steps of every size from the times that steps have taken so far.

    A step takes as long as it has pixels. What a size costs besides (to compile, above
    all) is taken to be what the dearest one before cost.

    Args:
        num_pixels: of every size, from the first to the full one.
        num_steps: planned for every size.
        deadline: by when all should be done, on the clock of `now_fn`; None: no limit.
        now_fn: the time in seconds.
    """

    def __init__(
        self,
        num_pixels: Sequence[int],
        num_steps: Sequence[int],
        *,
        deadline: float | None = None,
        now_fn: Callable[[], float] = time.perf_counter,
    ):
        self._pixels = list(num_pixels)
        self._steps = list(num_steps)
        self._deadline = math.inf if deadline is None else deadline
        self._now = now_fn
        self._index = 0
        self._setup = self._setup_before = 0.0
        self._per_pixel: float | None = None
        self._size_started = 0.0
        self._first_done: tuple[float, int] | None = None
        self._done = 0

    def begin_size(self, index: int) -> bool:
        """Go on to a size; say False where there is no time for it."""
        is_last = index == len(self._pixels) - 1
        if not is_last and self._per_pixel is not None:
            needed = self._per_pixel * (
                self._pixels[index] * MIN_LAST_STEPS
                + self._pixels[-1] * min(MIN_LAST_STEPS, self._steps[-1])
            )
            if self._left() < needed + 2 * self._setup:
                return False
        self._index = index
        self._size_started = self._now()
        self._setup_before = self._setup
        self._first_done = None
        self._done = 0
        return True

    def steps_done(self, num_steps: int) -> None:
        """Take note that so many steps of this size are done, as of now."""
        now = self._now()
        if self._first_done is None:
            # The first ones wait for the compiler; from here on it is steps alone.
            self._first_done = now, num_steps
        elif num_steps > self._first_done[1]:
            then, count = self._first_done
            seconds = (now - then) / (num_steps - count)
            self._per_pixel = seconds / self._pixels[self._index]
            setup = then - self._size_started - count * seconds
            self._setup = max(self._setup_before, setup)
        self._done = num_steps

    def num_steps(self) -> int:
        """How many steps this size can have in all, as it looks now."""
        planned = self._steps[self._index]
        if self._per_pixel is None or math.isinf(self._deadline):
            return planned
        here = self._per_pixel * self._pixels[self._index]
        left = self._left() + self._done * here
        if self._index == len(self._pixels) - 1:
            return min(planned, max(MIN_LAST_STEPS, math.floor(left / here)))
        # All that are left are cut by one part.
        later = range(self._index + 1, len(self._pixels))
        left -= len(later) * self._setup
        if self._first_done is None:
            left -= self._setup
        last = self._per_pixel * self._pixels[-1]
        reserve = last * min(MIN_LAST_STEPS, self._steps[-1])
        work = planned * here + sum(
            self._steps[size] * self._pixels[size] * self._per_pixel for size in later
        )
        part = left / work
        if part >= 1:
            return planned
        return max(
            1, min(math.floor(part * planned), math.floor((left - reserve) / here))
        )

    def has_time(self) -> bool:
        """Whether a step of this size more would be done by the deadline."""
        step = 0.0
        if self._per_pixel is not None:
            step = self._per_pixel * self._pixels[self._index]
        return self._left() >= step

    def _left(self) -> float:
        return self._deadline - self._now()


# The mean loss of so many steps is compared with that of as many before them: single
# steps of Adam go up and down.
_WINDOW = 10
# Over so many steps the rate falls to zero once there is no more to gain.
_FINISH_STEPS = 10


def learning_rate_at(rate: float, step: int, num_steps: int, decay: float) -> float:
    """Return the rate of a step: constant, then along a cosine towards zero.

    Args:
        rate: at the start.
        step: number of the step, from 0.
        num_steps: how many there are.
        decay: part of them over which the rate falls.
    """
    start = num_steps * (1 - decay)
    if step < start:
        return rate
    return (
        rate
        * 0.5
        * (1 + math.cos(math.pi * (step - start + 1) / (num_steps * decay + 1)))
    )


class Pace:
    """The steps of one size: their number, their lengths, and their end.

    `done` counts the steps handed out; `stopped` says at the end why there were not as
    many as planned: "converged", "out of time", or None.

    Args:
        learning_rate: of the first step.
        num_steps: how many steps at most.
        decay: part of them over which the rate falls to zero, as at the full size.
        tolerance: enough is gained when the mean loss of ten steps is less than this
            part of itself below that of the ten before; 0: never. Where the rate falls
            at the end, it then falls at once, within ten more steps.
        budget: of the time; its present size is this one.
    """

    def __init__(
        self,
        learning_rate: float,
        num_steps: int,
        *,
        decay: float = 0.0,
        tolerance: float = 0.0,
        budget: Budget | None = None,
    ):
        self.learning_rate = learning_rate
        self.decay = decay
        self.done = 0
        self.stopped: str | None = None
        self._planned = num_steps
        self._tolerance = tolerance
        self._budget = budget
        self._losses: deque[float] = deque(maxlen=2 * _WINDOW)
        # Where the rate began to fall early: step, its rate then, over how many steps.
        self._finish: tuple[int, float, int] | None = None

    @property
    def num_steps(self) -> int:
        """How many steps there will be in all, as it looks now."""
        return self._plan()[0]

    def num_left(self) -> int:
        """Return how many steps are left, as it looks now; at 0 `stopped` is set."""
        total, reason = self._plan()
        left = max(0, total - self.done)
        if not left:
            self.stopped = reason
        return left

    def next_rates(self, most: int = 1) -> list[float]:
        """Return the rates of the next steps, `most` of them at most; [] at the end."""
        total, _ = self._plan()
        steps = range(self.done, min(total, self.done + most))
        rates = [self._rate_at(step, total) for step in steps]
        self.done += len(rates)
        if not rates:
            self.num_left()
        return rates

    def _plan(self) -> tuple[int, str | None]:
        """How many steps there will be in all, and why not as many as planned."""
        total, reason = self._planned, None
        if self._finish is not None and sum(self._finish[::2]) < total:
            total, reason = self._finish[0] + self._finish[2], "converged"
        if self._budget is not None and self._budget.num_steps() < total:
            total, reason = self._budget.num_steps(), "out of time"
        return total, reason

    def has_time(self) -> bool:
        """Whether there is time for a step more than were planned."""
        return self._budget is None or self._budget.has_time()

    def observe(self, losses: Sequence[float], num_done: int) -> None:
        """Take note of what steps began with.

        Args:
            losses: of the steps since the last call, in their order.
            num_done: how many steps of this size are done by now.
        """
        if self._budget is not None:
            self._budget.steps_done(num_done)
        for loss in losses:
            self._losses.append(loss)
            if self._tolerance and self._finish is None and self._is_enough():
                self._start_to_finish()

    def soften(self, learning_rate: float, *, decay: float | None = None) -> None:
        """Go on from an earlier picture with another rate."""
        self.learning_rate = learning_rate
        self.decay = self.decay if decay is None else decay
        self._losses.clear()
        self._finish = None

    def converge(self) -> None:
        """End here: there is nothing more to gain."""
        self._finish = self.done, 0.0, 0

    def _is_enough(self) -> bool:
        if len(self._losses) < 2 * _WINDOW:
            return False
        losses = list(self._losses)
        before, after = sum(losses[:_WINDOW]), sum(losses[_WINDOW:])
        return before - after < self._tolerance * before

    def _start_to_finish(self) -> None:
        total = self.num_steps
        length = min(total - self.done, _FINISH_STEPS) if self.decay else 0
        self._finish = self.done, self._rate_at(self.done, total), length

    def _rate_at(self, step: int, total: int) -> float:
        if self._finish is None:
            return learning_rate_at(self.learning_rate, step, total, self.decay)
        start, rate, length = self._finish
        length = max(1, min(length, total - start))
        return learning_rate_at(rate, step - start, length, 1.0)
