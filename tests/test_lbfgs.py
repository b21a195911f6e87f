"""L-BFGS, on functions whose lowest point is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnst.objective import LossTerms
from jaxnst.optimize.quasi_newton import Evaluation, minimize_lbfgs


SHAPE = (16, 20, 3)
# Three curvatures, 1 to 900.
STEEP = np.broadcast_to(np.array([1, 10, 30], np.float32), SHAPE)
GRAY = np.full(SHAPE, 0.5, np.float32)
# They are only passed through.
ZERO = jnp.zeros(())
TERMS = LossTerms(ZERO, ZERO, ZERO, ZERO, {}, {}, jnp.zeros(1))


@pytest.fixture
def target(rng):
    return rng.uniform(0.2, 0.8, SHAPE).astype(np.float32)


class Quadratic:
    """The loss whose only lowest point is the picture `target`; counts its calls."""

    def __init__(self, target, scale=1.0):
        self.target, self.scale, self.count = target, scale, 0

    def __call__(self, image):
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1
        self.count += 1
        way = STEEP * (image - self.target)
        loss = self.scale * float(np.sum(np.square(way)))
        return Evaluation(loss, TERMS, 2 * self.scale * STEEP * way)


def minimize(evaluate_fn, image, num_steps, step_fn=lambda *_: False):
    return minimize_lbfgs(image, evaluate_fn, num_steps, step_fn=step_fn)


def test_an_ill_conditioned_quadratic_is_solved_in_few_evaluations(target):
    quadratic = Quadratic(target)
    found = minimize(quadratic, GRAY, 20)
    assert found.evaluation.loss < 1e-6 * quadratic(GRAY).loss
    np.testing.assert_allclose(found.image, target, atol=1e-3)
    assert found.num_evaluations == quadratic.count - 1 <= 30
    assert found.image.dtype == np.float32
    assert found.evaluation.terms is TERMS


def test_the_lowest_point_within_the_bounds_is_found(target):
    """For a target beyond black and white it is the clipped target."""
    beyond = (target - 0.5) * 4 + 0.5
    quadratic = Quadratic(beyond)
    found = minimize(quadratic, GRAY, 30)
    assert found.image.min() == 0
    assert found.image.max() == 1
    lowest = quadratic(np.clip(beyond, 0, 1)).loss
    excess, at_start = found.evaluation.loss - lowest, quadratic(GRAY).loss - lowest
    assert 0 <= excess < 1e-4 * at_start


def test_every_step_is_reported_and_none_raises_the_loss(target):
    quadratic, seen = Quadratic(target), []
    found = minimize(
        quadratic, np.zeros_like(GRAY), 5, lambda *step: bool(seen.append(step))
    )
    assert found.num_steps == len(seen) == 5
    assert found.reason is None
    losses = [evaluation.loss for _, evaluation in seen]
    assert losses == sorted(losses, reverse=True)
    for image, evaluation in seen:
        assert quadratic(image).loss == evaluation.loss
    np.testing.assert_array_equal(found.image, seen[-1][0])


def test_a_scale_of_the_loss_changes_nothing(target):
    plain, heavy = (minimize(Quadratic(target, x), GRAY, 4) for x in (1e-9, 1e9))
    np.testing.assert_allclose(plain.image, heavy.image, atol=1e-5)


def test_the_first_step_is_short(target):
    trials = []

    def evaluate(image):
        trials.append(image)
        return Quadratic(target)(image)

    minimize(evaluate, GRAY, 1)
    change = np.sqrt(np.mean(np.square(trials[1] - trials[0])))
    assert change == pytest.approx(0.02, rel=1e-4)


def test_it_converges_where_nothing_is_to_be_gained(target):
    found = minimize(Quadratic(target), target, 20)
    assert found[2:] == (0, 1, "converged")
    np.testing.assert_array_equal(found.image, target)
    assert minimize(Quadratic(target), GRAY, 100).reason == "converged"
    # At a bound, with a gradient that points outward.
    white = np.ones_like(GRAY)
    assert minimize(Quadratic(white + 1), white, 20).reason == "converged"


def test_it_stops_when_told_to(target):
    found = minimize(Quadratic(target), GRAY, 20, lambda *_: True)
    assert (found.reason, found.num_steps) == ("stopped", 1)
    assert found.evaluation.loss < Quadratic(target)(GRAY).loss


def test_an_interrupt_passes_through(target):
    quadratic, seen = Quadratic(target), []

    def evaluate(image):
        if quadratic.count == 6:
            raise KeyboardInterrupt
        return quadratic(image)

    with pytest.raises(KeyboardInterrupt):
        minimize(evaluate, GRAY, 20, lambda *step: bool(seen.append(step)))
    assert len(seen) >= 2


@pytest.mark.parametrize("part", ["loss", "gradient"])
def test_a_step_goes_back_from_where_nothing_is_finite(target, part):
    """A wall stands just before the lowest point, beyond it everything is NaN."""
    quadratic, walls = Quadratic(target), []
    bad = {"loss": np.nan, "gradient": np.full_like(GRAY, np.nan)}[part]

    def evaluate(image):
        evaluation = quadratic(image)
        if quadratic.count > 1 and evaluation.loss < 100:
            walls.append(image)
            return evaluation._replace(**{part: bad})
        return evaluation

    found = minimize(evaluate, GRAY, 20)
    assert walls
    assert 100 <= found.evaluation.loss < 110
    assert found.reason is not None


def test_nothing_finite_but_the_first_picture_gives_it_back(target):
    quadratic = Quadratic(target)

    def evaluate(image):
        evaluation = quadratic(image)
        return evaluation if quadratic.count == 1 else evaluation._replace(loss=np.inf)

    found = minimize(evaluate, GRAY, 20)
    assert (found.reason, found.num_steps) == ("not finite", 0)
    np.testing.assert_array_equal(found.image, GRAY)


def test_a_first_picture_that_is_not_finite_comes_back(target):
    found = minimize(Quadratic(target, np.inf), GRAY, 20)
    assert found[2:] == (0, 1, "not finite")
    np.testing.assert_array_equal(found.image, GRAY)


def test_a_gradient_that_lies_stalls_the_search(target):
    quadratic = Quadratic(target)

    def evaluate(image):
        evaluation = quadratic(image)
        return evaluation._replace(gradient=-evaluation.gradient)

    found = minimize(evaluate, GRAY, 20)
    assert (found.reason, found.num_steps) == ("line search stalled", 0)
    np.testing.assert_array_equal(found.image, GRAY)
