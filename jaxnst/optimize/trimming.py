"""The last small steps to the strength that was asked for."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxnst.calls import Calls

from .steering import Steering, weigh
from .step import TransferState, init_state
from .stepper import OptaxStepper, Taken


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
        gaps: its style terms, of each region.
        num_steps: how many were made.
    """

    state: TransferState
    gaps: np.ndarray
    num_steps: int


def trim(
    state: TransferState,
    stepper: OptaxStepper,
    steering: Steering,
    may_go_on_fn: Callable[[], bool] = lambda: True,
) -> Calls[Trimmed]:
    """Go on towards more style or more content, until the gaps are right.

    Args:
        state: with the picture; its buffers are given up.
        stepper: makes the steps.
        steering: what is aimed at.
        may_go_on_fn: asked before every step; the picture is measured in any case.
    """
    image = state.image.copy()  # its own, where it was a lane of a batch
    state = init_state(image, stepper.optimizer, use_average=stepper.is_averaging)
    base = stepper.weights
    is_there = steering.shares > 0
    best: tuple[float, np.ndarray, jax.Array] | None = None
    count, rate = 0, _FIRST_RATE
    directions = np.zeros(len(steering.gaps))
    num_along = 0
    for count in range(_MAX_STEPS + 1):
        picture = state.image.copy()
        # Regions that are right stay where they were steered to.
        log_ratios = np.where(
            directions == 0, steering.log_ratios, _LOG_RATIO * directions
        )
        stepper.weights = weigh(base, log_ratios, steering.shares)
        is_moving = bool(directions.any())
        # What it says is of the picture before it; so its weights are a guess at first.
        stepped, taken = yield from stepper(state, [rate if is_moving else 0.0])
        gaps = _gaps_of(taken)
        errors = np.where(is_there, gaps - steering.gaps, 0)
        worst = float(np.max(np.abs(errors)))
        if best is None or worst < best[0]:
            best = worst, gaps, picture
        is_done = not math.isfinite(worst) or worst <= _TOLERANCE
        if is_done or count == _MAX_STEPS or not may_go_on_fn():
            break
        wanted = np.where(np.abs(errors) <= _TOLERANCE, 0, np.sign(errors))
        if (wanted != directions).any():
            if (wanted * directions < 0).any():
                rate /= 3
            # The step just made led the wrong way, or nowhere; Adam forgets it.
            state = init_state(
                picture.copy(), stepper.optimizer, use_average=stepper.is_averaging
            )
            directions, num_along = wanted, 0
        else:
            state = stepped
            num_along += 1
            if num_along > _PATIENCE:
                rate = min(_GROWTH * rate, _MAX_RATE)
    stepper.weights = base
    assert best is not None
    final = init_state(best[2], stepper.optimizer, use_average=False)
    return Trimmed(final, best[1], count)


def _gaps_of(taken: Taken) -> np.ndarray:
    """Return the style terms of each region that a call began with."""
    info = jax.device_get(taken.info)
    gaps = info.terms.style_regions
    return gaps if np.ndim(info.is_finite) == 0 else gaps[0]
