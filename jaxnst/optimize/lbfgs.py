"""How far to go along a direction: a search driven from Python.

The conditions are the weak ones of Wolfe, found by bisection (Lewis, Overton), with
interpolation inside the bracket. Their search is made for functions that are smooth
in pieces only, as a network of ReLU and max pooling is. optax's own searches run in a
compiled loop, where XLA on the CPU computes convolutions several times slower.

L-BFGS: directions of optax's, lengths of `linesearch`, pixels kept in [0, 1].

A step bends at the bounds: pixels that stand at 0 or 1 and are pushed outward stay,
others are clipped on the way. What the memory learns from is the way really gone.
"""

import functools
import math
from collections.abc import Generator
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from jaxnst._types import Flag, Image, Scalar
from jaxnst.compiling import KeptFunction
from jaxnst.objective import FeatureFn, LossTerms, LossWeights, Targets

from .stepping import measure


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


# How many past steps the direction is made from.
_MEMORY = 10
# Root mean square of the first step in pixel values; nothing is known of its length.
_FIRST_CHANGE = 0.02
# No step tries to move a pixel further than this.
_MAX_CHANGE = 0.5


class LineSearched(optax.GradientTransformationExtraArgs):
    """A transformation that gives directions; how far to go has to be searched for."""


class Trial(NamedTuple):
    """A picture that was measured, and the way to it.

    Attributes:
        image: RGB, [0, 1].
        loss: what is minimized.
        terms: the same, in parts.
        gradient: of the loss.
        before: the gradient at the start of the way, times the way.
        after: the gradient here, times the way.
    """

    image: Image
    loss: Scalar
    terms: LossTerms
    gradient: Image
    before: Scalar
    after: Scalar


class Direction(NamedTuple):
    """Where to go, and how far to try first.

    Attributes:
        vector: of length 1 what the memory proposes.
        slope: gradient times vector; negative.
        length: the first to try.
        is_finite: whether all of it is.
    """

    vector: Image
    slope: Scalar
    length: Scalar
    is_finite: Flag


@functools.cache
def make_lbfgs() -> LineSearched:
    """Return L-BFGS without a step length, the same object every time."""
    directions = optax.with_extra_args_support(optax.scale_by_lbfgs(_MEMORY))
    return LineSearched(directions.init, directions.update)


def try_length(
    image: Image,
    vector: Image,
    length: Scalar,
    gradient: Image,
    network: FeatureFn,
    targets: Targets,
    weights: LossWeights,
    *,
    normalization: str = "pair",
) -> Trial:
    """Measure the picture that lies `length` times `vector` from `image`.

    Args:
        image: where the way starts.
        vector: the direction.
        length: how often it is gone.
        gradient: at `image`.
        network: as for `jaxnst.optimize.step`, like all that follow.
        targets: likewise.
        weights: likewise.
        normalization: likewise.
    """
    there = jnp.clip(image + length * vector, 0.0, 1.0)
    loss, terms, new_gradient = measure(
        there, network, targets, weights, normalization=normalization
    )
    way = there - image
    return Trial(
        there,
        loss,
        terms,
        new_gradient,
        before=jnp.vdot(gradient, way),
        after=jnp.vdot(new_gradient, way),
    )


def find_direction(
    opt_state: optax.OptState,
    image: Image,
    gradient: Image,
    *,
    optimizer: LineSearched,
) -> tuple[Direction, optax.OptState]:
    """Return the quasi-Newton direction and the memory with the last step in it.

    A last step along which the gradient did not grow would bend the memory the wrong
    way. In its place the one before is remembered again, which changes nothing.
    """
    memory = cast(optax.ScaleByLBFGSState, opt_state)
    image_then, gradient_then = map(_array, (memory.params, memory.updates))
    moves, changes = map(
        _array, (memory.diff_params_memory, memory.diff_updates_memory)
    )
    move, change = image - image_then, gradient - gradient_then
    curvature = jnp.vdot(move, change)
    eps = jnp.finfo(image.dtype).eps
    is_usable = curvature > eps * jnp.linalg.norm(move) * jnp.linalg.norm(change)
    # In slot k - 2 is the step before; of the first two steps it is empty, and so
    # unusable ones simply leave it so.
    count = _array(memory.count)
    slot = (count - 2) % _MEMORY
    has_pair = (count >= 2) & (_array(memory.weights_memory)[slot] > 0)
    is_new = count == 0
    keep = is_usable | is_new
    memory = memory._replace(
        params=jnp.where(keep, image_then, image - moves[slot]),
        updates=jnp.where(keep, gradient_then, gradient - changes[slot]),
    )
    update, next_memory = optimizer.update(gradient, memory, image)
    newton = -_array(update)
    steepest = -gradient
    # Without any pair, the length of a step is a guess.
    is_guess = is_new | (~is_usable & ~has_pair)
    vector = jnp.where(is_guess, steepest, newton)
    vector = _within_bounds(vector, image)
    # The part that is left of a direction at the bounds may point uphill.
    is_uphill = jnp.vdot(vector, gradient) >= 0
    is_guess = is_guess | is_uphill
    vector = jnp.where(is_uphill, _within_bounds(steepest, image), vector)
    tiny = jnp.finfo(image.dtype).tiny
    change_rms = jnp.sqrt(jnp.mean(jnp.square(vector)))
    guess = _FIRST_CHANGE / jnp.maximum(change_rms, tiny)
    most = _MAX_CHANGE / jnp.maximum(jnp.max(jnp.abs(vector)), tiny)
    length = jnp.minimum(jnp.where(is_guess, guess, 1.0), most)
    slope = jnp.vdot(vector, gradient)
    is_finite = jnp.isfinite(slope) & jnp.isfinite(length)
    return Direction(vector, slope, length, is_finite), next_memory


def _within_bounds(vector: Image, image: Image) -> Image:
    """Leave out where a pixel stands at a bound and would be pushed beyond."""
    is_blocked = ((image <= 0) & (vector < 0)) | ((image >= 1) & (vector > 0))
    return jnp.where(is_blocked, 0.0, vector)


def _array(tree: object) -> jax.Array:
    assert isinstance(tree, jax.Array)  # there is one picture, not a tree of them
    return tree


compiled_try = KeptFunction(try_length, static_argnames=("normalization",))
compiled_direction = KeptFunction(
    find_direction, static_argnames=("optimizer",), donate_argnames=("opt_state",)
)
