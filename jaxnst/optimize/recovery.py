"""What is done when steps go wrong: go back to the best picture, take gentler steps.

The result is never a black or a gray picture: in the end the best one seen remains.
"""

import math
from typing import NamedTuple

import optax

from .optimizers import is_lbfgs, make_optimizer


# How often a size is taken up again.
MAX_RECOVERIES = 3
# Factor on the learning rate each time.
_GENTLER = 0.1
# The learning rate of Adam in place of a line search that failed twice.
_ADAM_RATE = 0.02
_ADAM_DECAY = 0.7
# What is said where no gentler steps are taken any more.
KEPT_BEST = "kept the best picture"


class Method(NamedTuple):
    """How steps are made; gentler after a recovery, and so for all sizes to come.

    Attributes:
        optimizer: any optax transformation, or L-BFGS.
        learning_rate: factor on its updates at first.
        decay: part of the last size's steps over which the rate falls to zero.
        max_rate: a gentler learning rate is no higher, in units of pixel values; with
            an optimizer of the user's own it has no unit, so infinite.
    """

    optimizer: optax.GradientTransformationExtraArgs
    learning_rate: float
    decay: float = 0.0
    max_rate: float = math.inf


class Recovery(NamedTuple):
    """One time that the steps went wrong.

    Attributes:
        size: longest side that was painted, in pixels.
        step: number of steps made by then, over all sizes.
        reason: "not finite", "the loss rose", "line search stalled".
        action: what was done.
    """

    size: int
    step: int
    reason: str
    action: str


def gentler(method: Method, *, is_first: bool) -> tuple[Method, str]:
    """Return a method with gentler steps, and what it is in words.

    Args:
        method: the method that went wrong.
        is_first: whether it is the first time at this size for this reason.
    """
    if is_lbfgs(method.optimizer):
        if is_first:
            return method, "cleared the memory"
        adam = Method(make_optimizer("adam"), _ADAM_RATE, _ADAM_DECAY)
        return adam, f"took Adam, learning rate {_ADAM_RATE:g}"
    rate = min(method.learning_rate * _GENTLER, method.max_rate)
    return method._replace(learning_rate=rate), f"learning rate {rate:g}"
