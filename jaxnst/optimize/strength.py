"""Control of the weights so that a picture ends at the strength that was asked for.

The strength is the fraction of the way from the content's style to the painting's that
a picture has gone: 1 - g, where the gap g is the style term of the "pair"
normalization, the mean over the style layers of the remaining distance over the
distance at the start (see `jaxnst.objective`). Keeping the most content at a given
strength is a minimization under a constraint, and the ratio of the two weights is its
multiplier. `Steering` finds it during painting, by dual ascent on a log scale, on which
its effect is nearly linear. At the end `Trimmer` corrects the rest by a few small
steps.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnst.objective import LossWeights


# The first ratio of the weights is this times (strength / (1 - strength)) ** power; a
# fit to one pair of pictures (benchmarks/README.md), from which others are adjusted.
_FIRST_RATIO = 0.22
_FIRST_POWER = 1.5
# Change of the log ratio per step and per log of the gap over the target gap. The log
# gap finally changes by about -0.4 times as much, so some ten steps are needed.
_GAIN = 0.25
# The gap is extrapolated by this many steps, at the speed over the last few.
_HORIZON = 8
_WINDOW = 4
# Bounds of the log ratio, relative to the first. Large steps leave a gap that only the
# smaller ones at the end close; until then the ratio would grow without an upper bound,
# at the expense of the content.
_REACH = -6.0, 2.5
# Below this strength learning rates fall with it: the way is shorter, and the content
# loss does not take back the contrasts that long steps have made.
_FULL_RATE = 0.8
# Target gap for a strength of 1, as 0 has no logarithm.
_MIN_GAP = 0.005


class Steering:
    """Control of the weights of content and style, from step to step.

    Args:
        strengths: strength asked for in each region, above 0, at most 1.
        shares: each region's fraction of the picture.

    Attributes:
        gaps: target of each region's style term, 1 - strength.
        log_ratios: logarithm of each region's style weight over the content weight.
    """

    def __init__(self, strengths: Sequence[float], shares: np.ndarray):
        self.gaps = np.maximum(1 - np.asarray(strengths, float), _MIN_GAP)
        self.shares = np.asarray(shares, float)
        odds = (1 - self.gaps) / self.gaps
        self._first = math.log(_FIRST_RATIO) + _FIRST_POWER * np.log(odds)
        self.log_ratios = self._first
        self._seen: list[np.ndarray] = []

    def observe(self, gaps: Sequence[np.ndarray] | np.ndarray) -> None:
        """Adjust the ratios to finite style terms, with a row for each step."""
        for gap in gaps:
            self._seen.append(np.maximum(gap, _MIN_GAP / 2))
            past = self._seen[-1 - _WINDOW :]
            speed = np.log(past[-1] / past[0]) / max(1, len(past) - 1)
            # Clipped, as a high speed does not last.
            coming = np.log(past[-1]) + np.clip(_HORIZON * speed, -1.0, 1.0)
            error = coming - np.log(self.gaps)
            moved = self.log_ratios + _GAIN * error - self._first
            self.log_ratios = self._first + np.clip(moved, *_REACH)

    def begin_size(self) -> None:
        """Forget the gaps of the previous size, and keep the ratios."""
        self._seen.clear()

    def kept(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {"log_ratios": self.log_ratios, "seen": self._seen[-1 - _WINDOW :]}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.log_ratios, self._seen = kept["log_ratios"], list(kept["seen"])


def rate_part(strengths: Sequence[float] | None) -> float:
    """Return the part of the learning rate to paint with; 1 if there is no strength."""
    return 1.0 if strengths is None else min(1.0, max(strengths) / _FULL_RATE)


def weigh(
    weights: LossWeights, log_ratios: np.ndarray, shares: np.ndarray
) -> LossWeights:
    """Return weights with ratios of style to content, which add up to 1.

    `log_ratios` and `shares` are those of `Steering`.
    """
    ratios = np.exp(log_ratios)
    total = 1 + np.sum(shares * ratios) / max(np.sum(shares), 1e-6)
    style = (ratios / total).astype(np.float32)
    return weights._replace(
        content=np.float32(1 / total),
        style=style if np.ndim(weights.style) else style[0],
    )


# Largest error of a gap.
_TOLERANCE = 0.005
_MAX_STEPS = 30
# Learning rate of the first step, in pixel values: less than a level of 8 bits.
_FIRST_RATE = 0.003
# After this many steps in one direction the rate grows by this factor, up to a bound.
_PATIENCE = 5
_GROWTH = 1.3
_MAX_RATE = 0.02
# Log ratio that gives nearly all the weight to the style.
_LOG_RATIO = 5.0


class Trimmed(NamedTuple):
    """The best picture of trimming, with the style term of each region."""

    image: Any
    gaps: np.ndarray
    num_steps: int


class Trimmer:
    """Control of the last small steps of one picture, to more style or to less.

    Each step takes its weights and its learning rate from `weights` and `rate`, and
    passes its style terms to `observe`.

    Attributes:
        rate: learning rate of the next step, in pixel values.
        is_done: whether the gaps are reached, or all steps are made.
    """

    def __init__(self, steering: Steering, weights: LossWeights):
        self.rate = 0.0
        self.is_done = False
        self._steering = steering
        self._base = weights
        self._rate = _FIRST_RATE
        self._directions = np.zeros(len(steering.gaps))
        self._num_along = 0
        self._num_steps = -1  # 0 for the first picture, which no step has changed
        self._best: tuple[float, np.ndarray, Any] | None = None

    @property
    def weights(self) -> LossWeights:
        """Loss weights of the next step."""
        # Regions that have reached their gap keep their ratio. Those with too much of
        # the style go away from it, as the content loss brings no contrasts back.
        log_ratios = np.where(
            self._directions == 0,
            self._steering.log_ratios,
            _LOG_RATIO * np.maximum(self._directions, 0),
        )
        weights = weigh(self._base, log_ratios, self._steering.shares)
        signs = np.where(self._directions < 0, np.float32(-1), np.float32(1))
        shape = np.shape(weights.style)
        return weights._replace(style=weights.style * signs.reshape(shape))

    @property
    def trimmed(self) -> Trimmed:
        """The best picture so far."""
        assert self._best is not None
        return Trimmed(self._best[2], self._best[1], self._num_steps)

    def observe(self, gaps: np.ndarray, picture: Any) -> bool:
        """Record a picture and its style terms, before the step that measured them.

        Return whether the next step starts from it again, not from the last result.
        """
        self._num_steps += 1
        steering = self._steering
        errors = np.where(steering.shares > 0, gaps - steering.gaps, 0)
        worst = float(np.max(np.abs(errors)))
        if self._best is None or worst < self._best[0]:
            self._best = worst, gaps, picture
        is_right = not math.isfinite(worst) or worst <= _TOLERANCE
        if is_right or self._num_steps == _MAX_STEPS:
            self.is_done = True
            return False
        wanted = np.where(np.abs(errors) <= _TOLERANCE, 0, np.sign(errors))
        starts_again = bool((wanted != self._directions).any())
        if starts_again:
            # The last step was in the wrong direction, or in none: Adam restarts.
            if (wanted * self._directions < 0).any():
                self._rate /= 3
            self._directions, self._num_along = wanted, 0
        else:
            self._num_along += 1
            if self._num_along > _PATIENCE:
                self._rate = min(_GROWTH * self._rate, _MAX_RATE)
        # A step without a direction only measures.
        self.rate = self._rate if self._directions.any() else 0.0
        return starts_again
