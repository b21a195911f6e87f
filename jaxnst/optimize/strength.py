"""Steering the weights so that a picture ends at the strength that was asked for.

How strong a style is, is how much of the way from the content picture's style to the
painting's a picture has gone: 1 - g, where g is the style term of the "pair"
normalization, the mean over the style layers of the distance still left over the
distance at the start (see `jaxnst.objective`). The most content at a given strength is
a minimum under a constraint, and the ratio of the two weights is its multiplier. That
multiplier is searched for while the picture is painted (dual ascent), on a log scale,
on which it acts nearly linearly, and handed on from size to size.

The last small steps to the strength that was asked for.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxnst.calls import Calls
from jaxnst.objective import LossWeights

from .stepper import OptaxStepper, Taken
from .stepping import TransferState, init_state


# The ratio of the weights to begin with, as (strength / rest) ** power times this. Of
# one pair of pictures (benchmarks/README.md); others are steered from there.
_FIRST_RATIO = 0.22
_FIRST_POWER = 1.5
# By how much the logarithm of the ratio grows for each step, per logarithm of the gap
# over the one that is aimed at. The gap answers with about -0.4 of it in the end, so
# this brings it there within some ten steps.
_GAIN = 0.25
# The gap now is not what it will be: so many steps on, at the speed of the last ones.
_HORIZON = 8
_WINDOW = 4
# How far below and above the first guess it may go. Large steps leave a gap that no
# weight closes, but smaller ones at the end do; until then a ratio without an upper
# bound would run away, and take the content with it.
_REACH = -6.0, 2.5
# What is aimed at where all of the style is asked for: a gap of 0 has no logarithm.
_MIN_GAP = 0.005


class Steering:
    """Weights of content and style, changed from step to step.

    Args:
        strengths: asked for in each region, above 0, at most 1; one where the picture
            is one region.
        shares: what part of the picture each region is.

    Attributes:
        gaps: the style terms that are aimed at, 1 - strength.
        shares: as given.
        log_ratios: logarithms of the style weight over the content weight, now.
    """

    def __init__(
        self,
        strengths: Sequence[float],
        shares: Sequence[float] | np.ndarray = (1.0,),
    ):
        self.gaps = np.maximum(1 - np.asarray(strengths, float), _MIN_GAP)
        self.shares = np.asarray(shares, float)
        odds = (1 - self.gaps) / self.gaps
        self._first = math.log(_FIRST_RATIO) + _FIRST_POWER * np.log(odds)
        self.log_ratios = self._first
        self._seen: list[np.ndarray] = []

    def weigh(self, weights: LossWeights) -> LossWeights:
        """Return weights with the present ratio; content and style add up to 1."""
        return weigh(weights, self.log_ratios, self.shares)

    def observe(self, gaps: Sequence[np.ndarray]) -> None:
        """Take note of the style terms that steps began with, and steer.

        Args:
            gaps: of each region, in the order of the steps, without those that were
                not finite.
        """
        for gap in gaps:
            self._seen.append(np.maximum(gap, _MIN_GAP / 2))
            past = self._seen[-1 - _WINDOW :]
            speed = np.log(past[-1] / past[0]) / max(1, len(past) - 1)
            # Far from rest, a speed says less about where it leads.
            coming = np.log(past[-1]) + np.clip(_HORIZON * speed, -1.0, 1.0)
            error = coming - np.log(self.gaps)
            moved = self.log_ratios + _GAIN * error - self._first
            self.log_ratios = self._first + np.clip(moved, *_REACH)

    def begin_size(self) -> None:
        """Forget the gaps of another size, and keep the ratios."""
        self._seen.clear()


def weigh(
    weights: LossWeights, log_ratios: np.ndarray, shares: np.ndarray
) -> LossWeights:
    """Return weights of these ratios of style to content, which add up to 1.

    Args:
        weights: of which the others stay.
        log_ratios: of each region.
        shares: what part of the picture each region is.
    """
    ratios = np.exp(log_ratios)
    total = 1 + np.sum(shares * ratios) / max(np.sum(shares), 1e-6)
    style = (ratios / total).astype(np.float32)
    return weights._replace(
        content=np.float32(1 / total),
        style=style if np.ndim(weights.style) else style[0],
    )


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
