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
        strength: asked for; above 0, at most 1.

    Attributes:
        gap: the style term that is aimed at, 1 - strength.
        log_ratio: logarithm of the style weight over the content weight, now.
    """

    def __init__(self, strength: float):
        self.gap = max(1 - strength, _MIN_GAP)
        odds = (1 - self.gap) / self.gap
        self._first = math.log(_FIRST_RATIO) + _FIRST_POWER * math.log(odds)
        self.log_ratio = self._first
        self._gaps: list[float] = []

    def weigh(self, weights: LossWeights) -> LossWeights:
        """Return weights with the present ratio; content and style add up to 1."""
        return weigh(weights, self.log_ratio)

    def observe(self, gaps: Sequence[float]) -> None:
        """Take note of the style terms that steps began with, and steer.

        Args:
            gaps: in the order of the steps, without those that were not finite.
        """
        for gap in gaps:
            self._gaps.append(max(gap, _MIN_GAP / 2))
            past = self._gaps[-1 - _WINDOW :]
            speed = math.log(past[-1] / past[0]) / max(1, len(past) - 1)
            # Far from rest, a speed says less about where it leads.
            coming = math.log(past[-1]) + max(-1.0, min(1.0, _HORIZON * speed))
            error = coming - math.log(self.gap)
            least, most = _REACH
            moved = self.log_ratio + _GAIN * error - self._first
            self.log_ratio = self._first + max(least, min(most, moved))

    def begin_size(self) -> None:
        """Forget the gaps of another size, and keep the ratio."""
        self._gaps.clear()


def weigh(weights: LossWeights, log_ratio: float) -> LossWeights:
    """Return weights of this ratio of style to content, which add up to 1."""
    style = 1 / (1 + math.exp(-log_ratio))
    return weights._replace(content=np.float32(1 - style), style=np.float32(style))
