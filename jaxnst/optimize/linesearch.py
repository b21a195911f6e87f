"""How far to go along a direction: a search driven from Python.

The conditions are the weak ones of Wolfe, found by bisection (Lewis, Overton), with
interpolation inside the bracket. Their search is made for functions that are smooth
in pieces only, as a network of ReLU and max pooling is. optax's own searches run in a
compiled loop, where XLA on the CPU computes convolutions several times slower.
"""

import math
from collections.abc import Generator
from typing import Any, NamedTuple


# Of the decrease that the slope promises, what must be there (Armijo); of the slope,
# what may be left (Wolfe). Both as in Nocedal, Wright, "Numerical Optimization", 3.1.
_DECREASE = 1e-4
_CURVATURE = 0.9
# Differences of a loss below this part of it are rounding (Hager, Zhang 2005).
_ROUNDING = 1e-6
# Without an upper bound yet, the length grows by this factor.
_GROWTH = 4.0
# How near to an end of the bracket interpolation may go.
_MARGIN = 0.1


class Probe(NamedTuple):
    """What one length of the step leads to.

    Attributes:
        loss: there.
        before: gradient at the start times the way from the start to there; negative.
        after: gradient there times the same way.
        payload: whatever belongs to it.
    """

    loss: float
    before: float
    after: float
    payload: Any


class Found(NamedTuple):
    """Where a search ended.

    Attributes:
        probe: the accepted one; None if no length gave less than the start.
        num_evaluations: how many lengths were tried.
    """

    probe: Probe | None
    num_evaluations: int


def search_length(
    start_loss: float, length: float, *, max_evaluations: int = 12
) -> Generator[float, Probe, Found]:
    """Find a length at which the loss is enough lower and the slope enough flatter.

    Yields each length to try, is sent what it leads to, and returns where it ended.

    The slopes are those along the way really gone, so the conditions hold as well where
    the way is bent at the bounds of the pixels. The second one then makes the change of
    the gradient point along the way, as L-BFGS needs it.

    Args:
        start_loss: at length 0.
        length: the first to try; above 0.
        max_evaluations: how many lengths to try. After that the best that is lower than
            the start is taken.

    References:
        Lewis, Overton, "Nonsmooth optimization via quasi-Newton methods", 2013,
        algorithm 2.6. Differs from it: interpolates, and forgives rounding.
    """
    low, high = 0.0, math.inf
    low_loss, low_slope = start_loss, math.nan
    best: Probe | None = None
    for count in range(1, max_evaluations + 1):
        probe = yield length
        if not _is_lower(probe, start_loss):
            high = length
            if low == 0 and math.isfinite(probe.before):
                low_slope = probe.before / length
            high_loss = probe.loss
            middle = _interpolated(low, low_loss, low_slope, high, high_loss)
        else:
            if probe.loss < (start_loss if best is None else best.loss):
                best = probe
            if probe.after >= _CURVATURE * probe.before:
                return Found(probe, count)
            low, low_loss, low_slope = length, probe.loss, probe.after / length
            middle = (low + high) / 2
        length = middle if math.isfinite(high) else _GROWTH * length
    return Found(best, max_evaluations)


def _is_lower(probe: Probe, start_loss: float) -> bool:
    if not (math.isfinite(probe.loss) and math.isfinite(probe.after)):
        return False
    if probe.loss <= start_loss + _DECREASE * probe.before:
        return probe.before < 0
    # Where losses differ by rounding alone, the slopes still tell.
    return (
        probe.before < 0
        and probe.loss <= start_loss + _ROUNDING * abs(start_loss)
        and probe.after <= (2 * _DECREASE - 1) * probe.before
    )


def _interpolated(
    low: float, low_loss: float, low_slope: float, high: float, high_loss: float
) -> float:
    """The lowest point of the parabola through both ends, kept inside the bracket."""
    width = high - low
    bend = high_loss - low_loss - low_slope * width
    part = 0.5
    if math.isfinite(bend) and bend > 0:
        part = -low_slope * width / (2 * bend)
    return low + width * min(1 - _MARGIN, max(_MARGIN, part))
