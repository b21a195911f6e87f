"""What the loop knows of the steps it made, and which picture was the best."""

import math
from typing import Any

import jax
import numpy as np

from jaxnst.objective import LossTerms

from .stepper import Taken


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
