"""Recovery from divergence: go back to the best picture, and take gentler steps.

So the result is never a black or gray picture, but at least the best one so far.
"""

import math
from typing import NamedTuple

import optax

from .optimizers import is_lbfgs, make_optimizer


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
