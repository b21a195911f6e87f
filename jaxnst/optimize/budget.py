"""How many steps fit into the time there is."""

import math
import time
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
