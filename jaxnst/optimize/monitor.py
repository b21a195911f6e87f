"""The monitor of the losses: whether steps diverge, and which picture was the best."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np


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


class LossMonitor:
    """Monitor of the losses from one start or restart; it keeps the best picture.

    The best picture is a copy, as steps donate the buffers of their pictures. It is
    made on the device, where that costs next to nothing. If the picture `is_steered`,
    its weights change from step to step, so that losses cannot be compared; then only
    values that are not finite count as trouble.

    Attributes:
        losses: total losses of the steps so far.
        trouble: problem of the steps, "not finite" or "the loss rose"; or None.
    """

    def __init__(self, image: Any, is_steered: bool):
        self._is_steered = is_steered
        self.losses: list[float] = []
        self.trouble: str | None = None
        self.best: Any = image.copy()
        self._best_loss = math.inf
        self._offered = 0
        # Pictures whose loss is not known yet, by the number of steps before them.
        self._candidates: dict[int, Any] = {0: self.best}

    def offer(self, image_fn: Callable[[], Any], num_steps: int) -> None:
        """Copy the picture after `num_steps`, if the last copy is old enough."""
        if num_steps // _KEEP_EVERY > self._offered // _KEEP_EVERY:
            self._candidates[num_steps] = image_fn().copy()
            self._offered = num_steps

    def observe(self, losses: np.ndarray, are_finite: np.ndarray) -> list[float]:
        """Record the losses before steps, and return those before the first failure."""
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
