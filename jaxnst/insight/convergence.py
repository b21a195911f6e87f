"""Whether a painting was still moving, and what more steps would buy."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


_MIN_STEPS = 8
# Of what the second half of the steps gained, so much comes again with twice as many:
# 0.66 to 1.03 of it, of three pairs and 25 to 100 steps (benchmarks/README.md).
_AGAIN = 0.83
# Of the loss. The default recipe gains 5 to 8 more, which can just be seen.
_NOTHING = 0.03


class Convergence(NamedTuple):
    """How a loss fell at the full size.

    Attributes:
        size: longest side, in pixels.
        num_steps: at that size.
        first: the loss at its first step.
        last: at its last.
        gain: by what part twice as many steps would lower the loss, about.
        is_known: whether there were enough steps to tell.
        is_done: whether that is too little to be seen.
    """

    size: int
    num_steps: int
    first: float
    last: float
    gain: float
    is_known: bool
    is_done: bool


def judge_convergence(
    history: Mapping[str, np.ndarray] | None,
) -> Convergence | None:
    """Return how the loss fell at the full size.

    Args:
        history: of a result, or of its file; None if it is unknown.
    """
    if history is None or not len(history["total"]):
        return None
    sizes, total = np.asarray(history["size"]), np.asarray(history["total"], float)
    steps = np.asarray(history["step"])
    start = (
        int(np.flatnonzero(sizes != sizes[-1])[-1] + 1)
        if (sizes != sizes[-1]).any()
        else 0
    )
    losses, own = total[start:], steps[start:]
    num_steps = int(own[-1] - own[0]) + 1
    middle = float(np.interp((own[0] + own[-1]) / 2, own, losses))
    last = float(losses[-1])
    gain = _AGAIN * max(0.0, middle - last) / max(last, 1e-12)
    is_known = num_steps >= _MIN_STEPS and bool(np.isfinite(losses).all())
    return Convergence(
        size=int(sizes[-1]),
        num_steps=num_steps,
        first=float(losses[0]),
        last=last,
        gain=gain,
        is_known=is_known,
        is_done=is_known and gain < _NOTHING,
    )
