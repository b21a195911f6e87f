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
from typing import Any, NamedTuple

import numpy as np

from jaxnst.objective import LossWeights


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

    def observe(self, gaps: Sequence[np.ndarray] | np.ndarray) -> None:
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
        image: the best picture.
        gaps: style terms of the best picture, one of each region.
        num_steps: number of steps that were made.
    """

    image: Any
    gaps: np.ndarray
    num_steps: int


class Trimmer:
    """The last small steps of one picture, towards more style or more content.

    Before each step it says which weights and which rate to take, see `weights` and
    `rate`; after it, it is told what the step found, see `observe`.

    Args:
        steering: what is aimed at.
        weights: weights of which the ratio of content and style is changed.
        may_go_on_fn: asked before every step; the picture is measured in any case.

    Attributes:
        rate: learning rate of the next step, in units of pixel values.
        is_done: whether the gaps are right, or no more can be done.
    """

    def __init__(
        self,
        steering: Steering,
        weights: LossWeights,
        may_go_on_fn: Callable[[], bool] = lambda: True,
    ):
        self.rate = 0.0
        self.is_done = False
        self._steering = steering
        self._base = weights
        self._may_go_on = may_go_on_fn
        self._rate = _FIRST_RATE
        self._directions = np.zeros(len(steering.gaps))
        self._num_along = 0
        self._count = 0
        self._best: tuple[float, np.ndarray, Any] | None = None

    @property
    def weights(self) -> LossWeights:
        """Loss weights of the next step."""
        # Regions that are right stay where they were steered to.
        log_ratios = np.where(
            self._directions == 0,
            self._steering.log_ratios,
            _LOG_RATIO * self._directions,
        )
        return weigh(self._base, log_ratios, self._steering.shares)

    @property
    def trimmed(self) -> Trimmed:
        """The best picture so far."""
        assert self._best is not None
        return Trimmed(self._best[2], self._best[1], self._count)

    def observe(self, gaps: np.ndarray, picture: Any) -> bool:
        """Take note of a picture; return whether the next step starts from it again.

        Otherwise the next step goes on from where the last one led.

        Args:
            gaps: style terms of the picture, one of each region.
            picture: the picture before the step that measured it.
        """
        steering = self._steering
        errors = np.where(steering.shares > 0, gaps - steering.gaps, 0)
        worst = float(np.max(np.abs(errors)))
        if self._best is None or worst < self._best[0]:
            self._best = worst, gaps, picture
        is_right = not math.isfinite(worst) or worst <= _TOLERANCE
        if is_right or self._count == _MAX_STEPS or not self._may_go_on():
            self.is_done = True
            return False
        self._count += 1
        wanted = np.where(np.abs(errors) <= _TOLERANCE, 0, np.sign(errors))
        starts_again = bool((wanted != self._directions).any())
        if starts_again:
            # The step just made led the wrong way, or nowhere; Adam forgets it.
            if (wanted * self._directions < 0).any():
                self._rate /= 3
            self._directions, self._num_along = wanted, 0
        else:
            self._num_along += 1
            if self._num_along > _PATIENCE:
                self._rate = min(_GROWTH * self._rate, _MAX_RATE)
        # What the first step says is of weights that are a guess.
        self.rate = self._rate if self._directions.any() else 0.0
        return starts_again
