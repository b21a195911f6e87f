"""The last small steps to the strength that was asked for."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxnst.calls import Calls

from .steering import Steering, weigh
from .step import TransferState, init_state
from .stepper import OptaxStepper


# The gap may be off by this.
_TOLERANCE = 0.005
_MAX_STEPS = 30
# Of the first step, in units of pixel values: less than a level of 8 bits.
_FIRST_RATE = 0.003
# After so many steps one way, each is longer than the one before, up to a bound.
_PATIENCE = 5
_GROWTH = 1.3
_MAX_RATE = 0.02
# All for one, nearly nothing for the other.
_LOG_RATIO = 5.0


class Trimmed(NamedTuple):
    """Where trimming ended.

    Attributes:
        state: with the best picture.
        gap: its style term.
        num_steps: how many were made.
    """

    state: TransferState
    gap: float
    num_steps: int


def trim(
    state: TransferState,
    stepper: OptaxStepper,
    steering: Steering,
    may_go_on_fn: Callable[[], bool] = lambda: True,
) -> Calls[Trimmed]:
    """Go on towards more style or more content, until the gap is right.

    Args:
        state: with the picture; its buffers are given up.
        stepper: makes the steps.
        steering: what is aimed at.
        may_go_on_fn: asked before every step; the picture is measured in any case.
    """
    image = state.image.copy()  # its own, where it was a lane of a batch
    state = init_state(image, stepper.optimizer, use_average=stepper.is_averaging)
    base = stepper.weights
    best: tuple[float, jax.Array] | None = None
    rate, direction, count = _FIRST_RATE, 0, 0
    num_along = 0
    for count in range(_MAX_STEPS + 1):
        picture = state.image.copy()
        log_ratio = _LOG_RATIO * (direction or 1)
        stepper.weights = weigh(base, log_ratio)
        # What it says is of the picture before it; so its weights are a guess at first.
        stepped, taken = yield from stepper(state, [rate if direction else 0.0])
        gap = float(np.ravel(jax.device_get(taken.info.terms.style))[0])
        error = gap - steering.gap
        if best is None or abs(error) < abs(best[0]):
            best = error, picture
        is_done = not math.isfinite(gap) or abs(error) <= _TOLERANCE
        if is_done or count == _MAX_STEPS or not may_go_on_fn():
            break
        wanted = 1 if error > 0 else -1
        if wanted != direction:
            if direction:
                rate /= 3
            # The step just made led the wrong way, or nowhere; Adam forgets it.
            state = init_state(
                picture.copy(), stepper.optimizer, use_average=stepper.is_averaging
            )
            direction, num_along = wanted, 0
        else:
            state = stepped
            num_along += 1
            if num_along > _PATIENCE:
                rate = min(_GROWTH * rate, _MAX_RATE)
    stepper.weights = base
    assert best is not None
    final = init_state(best[1], stepper.optimizer, use_average=False)
    return Trimmed(final, best[0] + steering.gap, count)
