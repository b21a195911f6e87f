"""Steering the weights so that a picture ends at the strength that was asked for.

How strong a style is, is how much of the way from the content picture's style to the
painting's a picture has gone: 1 - g, where g is the style term of the "pair"
normalization, the mean over the style layers of the distance still left over the
distance at the start (see `jaxnst.objective`). The most content at a given strength is
a minimum under a constraint, and the ratio of the two weights is its multiplier. That
multiplier is searched for while the picture is painted (dual ascent), on a log scale,
on which it acts nearly linearly, and handed on from size to size.
"""

import math
from collections.abc import Sequence

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
