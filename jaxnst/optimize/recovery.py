"""Divergence is noticed in the losses; gentler steps then start at the best picture.

So the result is never a black or gray picture, but at least the best one so far.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .optimizers import is_lbfgs, make_optimizer


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

# A program: the host needs four times as long for `jax.Array.copy`.
_copied = jax.jit(jnp.copy)


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
            image = image_fn()
            is_host = isinstance(image, np.ndarray)
            self._candidates[num_steps] = image.copy() if is_host else _copied(image)
            self._offered = num_steps

    def observe(self, losses: np.ndarray, are_finite: np.ndarray) -> list[float]:
        """Record the losses before steps, and return those before the first failure."""
        seen = []
        for loss, is_finite in zip(losses.tolist(), are_finite.tolist(), strict=True):
            if not is_finite:
                self.trouble = "not finite"
                break
            candidate = self._candidates.pop(len(self.losses), None)
            # Losses of steered pictures cannot be compared; the last picture is kept.
            if candidate is not None and (loss < self._best_loss or self._is_steered):
                self.best, self._best_loss = candidate, loss
            self.losses.append(loss)
            seen.append(loss)
            if not self._is_steered and self._is_diverging():
                self.trouble = "the loss rose"
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

    def kept(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {
            "losses": self.losses,
            "best": self.best,
            "best_loss": self._best_loss,
            "offered": self._offered,
            "numbers": list(self._candidates),
            "candidates": list(self._candidates.values()),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.losses, self._best_loss = kept["losses"], kept["best_loss"]
        self.best, self._offered = jnp.asarray(kept["best"]), kept["offered"]
        candidates = map(jnp.asarray, kept["candidates"])
        self._candidates = dict(zip(kept["numbers"], candidates, strict=True))

    def _is_diverging(self) -> bool:
        """Whether all of the last losses were too high and do not fall fast enough."""
        if len(self.losses) <= _PATIENCE:
            return False
        limit = min(self.losses[0], _RISE * self._best_loss)
        if self.losses[-1] <= limit:  # as nearly always
            return False
        last = self.losses[-_PATIENCE:]
        if min(last) <= limit:
            return False
        half = _PATIENCE // 2
        is_falling = sum(last[half:]) < _FALLING * sum(last[:half])
        return not is_falling or min(last) > _HOPELESS * limit


# Largest number of recoveries per size.
MAX_RECOVERIES = 3
# Factor on the learning rate at each recovery.
_GENTLER = 0.1
# Learning rate and decay of Adam, which replaces a line search that failed twice.
_ADAM_RATE = 0.02
_ADAM_DECAY = 0.7
# Action of the last recovery, after which no gentler steps are taken.
KEPT_BEST = "kept the best picture"


class Method(NamedTuple):
    """Optimizer and learning rate of the steps; after a recovery gentler for all sizes.

    Attributes:
        learning_rate: factor on the optimizer's updates at first.
        decay: fraction of the last size's steps over which the rate falls to zero.
        max_rate: upper bound of the learning rate after a recovery, in pixel values per
            step; infinite for an optimizer of the user's own, whose rate has no unit.
    """

    optimizer: optax.GradientTransformationExtraArgs
    learning_rate: float
    decay: float = 0.0
    max_rate: float = math.inf


class Recovery(NamedTuple):
    """Record of one recovery.

    Attributes:
        size: longest side that was painted, in pixels.
        step: number of steps made before it, over all sizes.
        reason: "not finite", "the loss rose" or "line search stalled".
        action: change of the method, in words.
    """

    size: int
    step: int
    reason: str
    action: str


def gentler(method: Method, *, is_first: bool) -> tuple[Method, str]:
    """Return a method with gentler steps, and the change in words.

    `is_first`: whether this is the first recovery at this size for this reason.
    """
    if is_lbfgs(method.optimizer):
        if is_first:
            return method, "cleared the memory"
        adam = Method(make_optimizer("adam"), _ADAM_RATE, _ADAM_DECAY)
        return adam, f"took Adam, learning rate {_ADAM_RATE:g}"
    rate = min(method.learning_rate * _GENTLER, method.max_rate)
    return method._replace(learning_rate=rate), f"learning rate {rate:g}"
