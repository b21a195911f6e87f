"""L-BFGS with pixels kept in [0, 1]: scipy's L-BFGS-B, driven by measured pictures.

References:
    Byrd, Lu, Nocedal, Zhu, "A limited memory algorithm for bound constrained
    optimization", 1995.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.optimize

from jaxnst._types import HostImage
from jaxnst.objective import LossTerms


# Root mean square of the first step, in pixel values: nothing is known of its length.
_FIRST_CHANGE = 0.02
# A step that lowers the loss by less than this part of it is rounding.
_FLAT = 1e-7
# Pictures measured per line search before it gives up.
_MAX_TRIALS = 12


class Evaluation(NamedTuple):
    """Loss and gradient of one picture.

    Attributes:
        loss: value that is minimized.
        terms: the loss in parts, on the host or the device.
        gradient: derivative of the loss with respect to the picture, of its shape.
    """

    loss: float
    terms: LossTerms
    gradient: np.ndarray


class LBFGSResult(NamedTuple):
    """Picture at which a minimization ended.

    Attributes:
        image: best picture found: RGB, float32, [0, 1].
        evaluation: loss and gradient of `image`.
        num_steps: number of accepted steps.
        num_evaluations: number of pictures measured, the first one included.
        reason: why it ended before all steps were made: "converged" (nothing to gain),
            "stopped" (by `step_fn`), "line search stalled", "not finite"; or None.
    """

    image: HostImage
    evaluation: Evaluation
    num_steps: int
    num_evaluations: int
    reason: str | None


def minimize_lbfgs(
    image: HostImage,
    evaluate_fn: Callable[[HostImage], Evaluation],
    num_steps: int,
    *,
    step_fn: Callable[[HostImage, Evaluation], bool],
    memory: int = 10,
) -> LBFGSResult:
    """Minimize a loss over pictures, and return the best picture.

    The loss never rises from step to step. A trial picture whose loss or gradient is
    not finite shortens the step. An exception of `evaluate_fn` or `step_fn` passes
    through; `step_fn` has then seen every accepted step.

    Args:
        image: first picture: RGB, float32, [0, 1].
        evaluate_fn: measures a picture; called one or more times per step.
        num_steps: largest number of steps, 1 or more.
        step_fn: called after every step with its picture and evaluation; returns True
            to stop.
        memory: number of past steps that the curvature is estimated from.
    """
    best = LBFGSResult(image, evaluate_fn(image), 0, 1, None)
    if not _is_finite(best.evaluation):
        return best._replace(reason="not finite")
    descent = np.clip(image - best.evaluation.gradient, 0, 1) - image
    change = _root_mean_square(np.where(descent, best.evaluation.gradient, 0))
    if change == 0:
        return best._replace(reason="converged")
    # scipy's first trial is the picture minus its gradient.
    scale = _FIRST_CHANGE / change
    trial = best

    def measure(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal trial
        if trial.num_evaluations > 1 or np.any(x != image.ravel()):
            picture = x.reshape(image.shape).astype(np.float32)
            trial = LBFGSResult(
                picture,
                evaluate_fn(picture),
                best.num_steps + 1,
                trial.num_evaluations + 1,
                None,
            )
        loss, _, gradient = trial.evaluation
        if not _is_finite(trial.evaluation):
            # The parabola that goes uphill as far as the slope promised to go down has
            # its lowest point at a quarter of the way, where the search goes next.
            loss, _, slope = best.evaluation
            loss -= float(np.vdot(slope, trial.image - best.image))
            gradient = -3 * slope
        return scale * loss, scale * gradient.astype(np.float64).ravel()

    def accept(_: np.ndarray) -> None:
        nonlocal best
        best = trial
        if step_fn(best.image, best.evaluation):
            best = best._replace(reason="stopped")
            raise StopIteration

    found = scipy.optimize.minimize(
        measure,
        image.astype(np.float64).ravel(),
        method="L-BFGS-B",
        jac=True,
        bounds=scipy.optimize.Bounds(0, 1),
        callback=accept,
        options={
            "maxcor": memory,
            "maxiter": num_steps,
            "maxls": _MAX_TRIALS,
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
    return bool(
        np.isfinite(evaluation.loss) and np.all(np.isfinite(evaluation.gradient))
    )


def _root_mean_square(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x))))
