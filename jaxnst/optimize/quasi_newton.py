"""L-BFGS with pixels kept in [0, 1], by scipy's L-BFGS-B.

References:
    Byrd, Lu, Nocedal, Zhu, "A limited memory algorithm for bound constrained
    optimization", 1995.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy  # its parts are imported when they are used; this one takes 0.2 s

from jaxnst._types import HostImage
from jaxnst.objective import LossTerms


# Root mean square of the first step, in pixel values; its length is a guess.
_FIRST_CHANGE = 0.02
# A smaller relative decrease of the loss is rounding.
_FLAT = 1e-7
# Largest number of pictures measured in one line search.
_MAX_TRIALS = 12


class Evaluation(NamedTuple):
    """Loss of one picture, its parts, and its gradient with respect to the picture."""

    loss: float
    terms: LossTerms
    gradient: np.ndarray


class LBFGSResult(NamedTuple):
    """Best picture of a minimization, and how it ended.

    Attributes:
        reason: reason for fewer steps than asked for: "converged" (nothing to
            gain), "stopped" (by `step_fn`), "line search stalled" or "not finite";
            None if all were made.
    """

    image: HostImage
    evaluation: Evaluation
    num_steps: int = 0
    num_evaluations: int = 1
    reason: str | None = None


def minimize_lbfgs(
    image: HostImage,
    evaluate_fn: Callable[[HostImage], Evaluation],
    num_steps: int,
    *,
    step_fn: Callable[[HostImage, Evaluation], bool],
) -> LBFGSResult:
    """Return the picture with the lowest loss that `num_steps` steps of L-BFGS find.

    No step raises the loss. A trial picture whose loss or gradient is not finite
    shortens the step. `step_fn` is called after every step; it returns True to stop.
    Exceptions of `evaluate_fn` and `step_fn` pass through.
    """
    best = trial = LBFGSResult(image, evaluate_fn(image))
    if not _is_finite(best.evaluation):
        return best._replace(reason="not finite")
    gradient = best.evaluation.gradient.astype(np.float64)
    gradient[np.where(gradient > 0, image <= 0, image >= 1)] = 0  # out of the bounds
    if not np.any(gradient):
        return best._replace(reason="converged")
    # scipy first tries the picture minus the gradient.
    scale = _FIRST_CHANGE * math.sqrt(gradient.size) / float(np.linalg.norm(gradient))

    def measure(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal trial
        picture = x.reshape(image.shape).astype(np.float32)
        if not np.array_equal(picture, trial.image):
            count = trial.num_evaluations + 1
            trial = LBFGSResult(picture, evaluate_fn(picture), num_evaluations=count)
        loss, _, gradient = trial.evaluation
        if not _is_finite(trial.evaluation):
            # Loss and slope of a parabola whose minimum is at a quarter of the step.
            loss, _, gradient = best.evaluation
            loss -= float(np.vdot(gradient, picture - best.image))
            gradient = -3 * gradient
        return scale * loss, scale * gradient.astype(np.float64).ravel()

    def accept(_: np.ndarray) -> None:
        nonlocal best
        best = trial._replace(num_steps=best.num_steps + 1)
        if step_fn(best.image, best.evaluation):
            best = best._replace(reason="stopped")
            raise StopIteration

    found = scipy.optimize.minimize(
        measure,
        image.astype(np.float64).ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=scipy.optimize.Bounds(0, 1),
        callback=accept,
        options={
            "maxcor": 10,  # past steps, from which the curvature is estimated
            "maxiter": num_steps,
            "maxls": _MAX_TRIALS,
            # A failed search is repeated once, without the memory.
            "maxfun": 2 * _MAX_TRIALS * num_steps,
            "ftol": _FLAT,
            "gtol": 0,
        },
    )
    reason = best.reason
    if found.status == 0:
        reason = "converged"
    elif reason is None and best.num_steps < num_steps:
        is_finite = _is_finite(trial.evaluation)
        reason = "line search stalled" if is_finite else "not finite"
    return best._replace(num_evaluations=trial.num_evaluations, reason=reason)


def _is_finite(evaluation: Evaluation) -> bool:
    return math.isfinite(evaluation.loss) and bool(
        np.all(np.isfinite(evaluation.gradient))
    )
