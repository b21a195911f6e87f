"""Steps that go wrong, rigged to: the last good picture comes back, and it is told."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnst.objective import Targets, make_loss_weights, perceptual_loss
from jaxnst.optimize import make_optimizer
from jaxnst.optimize.batching import StepProgram
from jaxnst.optimize.loop import run_size
from jaxnst.optimize.member import Member, SizeReport
from jaxnst.optimize.recovery import Method
from jaxnst.optimize.schedule import Budget


SHAPE = (16, 20, 3)
STEEP = jnp.broadcast_to(jnp.asarray([1.0, 10.0, 30.0]), SHAPE)


def scaled(scale, image, layers):
    """Stand in for a network: the picture, each channel as steep as `scale` says."""
    return dict.fromkeys(layers, image * scale)


def quadratic(target, scale):
    """Return the problem whose only lowest point is the picture `target`."""
    weights = make_loss_weights(
        content=1, style=0, tv=0, content_layers={"x": 1}, style_layers={"x": 1}
    )
    targets = Targets(
        content={"x": target * scale},
        content_scale={"x": jnp.float32(1)},
        style={"x": {"gram": (jnp.eye(3),)}},
        style_scale={"x": {"gram": jnp.ones(1)}},
        guides=None,
        shares=jnp.ones(1),
    )
    return Problem(jax.tree_util.Partial(scaled, scale), targets, weights)


class Problem(NamedTuple):
    """The arguments of a step behind the state."""

    network: Any
    targets: Any
    weights: Any


class Done(NamedTuple):
    """What a run gave."""

    image: Any
    report: Any
    method: Method


@pytest.fixture
def target(rng):
    return jnp.asarray(rng.uniform(0.2, 0.8, SHAPE).astype(np.float32))


def paint(
    problem,
    image,
    optimizer,
    num_steps,
    *,
    rate=0.05,
    max_rate=0.1,
    averaging=0.0,
    callback=None,
    **options,
):
    network, targets, weights = problem
    program = StepProgram(network, optimizer, averaging=averaging)
    member = Member(
        method=Method(optimizer, rate, max_rate=max_rate),
        weights=weights,
        budget=Budget([SHAPE[0] * SHAPE[1]], [num_steps]),
        full_shape=SHAPE[:2],
        callback=callback,
        reports=[SizeReport(size=8, num_steps=100)],
    )
    state = run_size(program.init(image), targets, program, [member], **options)
    return Done(np.asarray(state.image), member.report, member.method)


def loss_of(problem, image):
    network, targets, weights = problem
    return float(perceptual_loss(jnp.asarray(image), network, targets, weights)[0])


def bad_at(count, *, forever=False):
    """Adam whose update of one step, or of every step from there on, is NaN."""
    adam = optax.adam(1.0)

    def update(updates, state, params=None, **_):
        step, inner = state
        new, inner = adam.update(updates, inner, params)
        is_bad = step >= count if forever else step == count
        new = jax.tree.map(lambda x: jnp.where(is_bad, jnp.nan, x), new)
        return new, (step + 1, inner)

    return optax.GradientTransformationExtraArgs(
        lambda params: (jnp.int32(0), adam.init(params)), update
    )


START = jnp.full(SHAPE, 0.5)
# Exactly right, whether there is a gradient would depend on the rounding.
NEARLY = 1e-4


def test_one_update_that_is_not_finite_costs_a_few_steps(target):
    problem = quadratic(target, jnp.ones(SHAPE))
    # Clearing the memory begins the count anew; the second time it comes at step 36.
    done = paint(problem, START, bad_at(13), 25)
    assert [recovery[:3] for recovery in done.report.recoveries] == [
        (20, 100 + 16, "not finite")
    ]
    assert done.report.recoveries[0].action == "learning rate 0.005"
    assert done.report.stopped is None
    assert done.method.learning_rate == pytest.approx(0.005)
    assert 13 <= len(done.report.terms) < 25
    assert loss_of(problem, done.image) < 0.5 * loss_of(problem, START)
    assert all(np.isfinite(terms.total) for terms in done.report.terms)


def test_updates_that_are_never_finite_leave_the_picture(target):
    done = paint(quadratic(target, STEEP), START, bad_at(0, forever=True), 40)
    assert done.report.stopped == "not finite"
    assert len(done.report.recoveries) == 4
    assert done.report.recoveries[-1].action == "kept the best picture"
    np.testing.assert_array_equal(done.image, START)


def mined(scale, image, layers):
    """Return NaN for every picture that is lighter than 0.6 anywhere."""
    is_good = jnp.max(image) < 0.6
    return {layer: jnp.where(is_good, image * scale, jnp.nan) for layer in layers}


@pytest.mark.parametrize(("name", "rate"), [("adam", 0.04), ("lbfgs", 1.0)])
def test_a_loss_that_is_not_finite_beyond_a_border(name, rate, target):
    """The way to the target leads over it; the picture stays on the good side."""
    problem = quadratic(target, STEEP)
    problem = problem._replace(network=jax.tree_util.Partial(mined, STEEP))
    done = paint(problem, START, make_optimizer(name), 40, rate=rate)
    image = np.asarray(done.image)
    assert image.max() < 0.6
    assert loss_of(problem, image) < loss_of(problem, START)
    if name == "adam":
        assert done.report.recoveries[0].reason == "not finite"
    assert len(done.report.terms) >= 1


def test_a_rate_that_is_far_too_high_is_lowered(target):
    problem = quadratic(target, STEEP)
    done = paint(problem, START, make_optimizer("adam"), 80, rate=1e3)
    assert done.report.recoveries[0].reason == "the loss rose"
    assert done.method.learning_rate <= 0.1
    assert done.report.stopped is None
    assert loss_of(problem, done.image) < 0.3 * loss_of(problem, START)


def test_a_picture_that_is_right_is_not_made_worse(target):
    problem = quadratic(target, STEEP)
    done = paint(problem, target + NEARLY, make_optimizer("adam"), 15)
    np.testing.assert_array_equal(done.image, target + NEARLY)
    assert {recovery.reason for recovery in done.report.recoveries} == {"the loss rose"}


@pytest.mark.parametrize("stopped", ["callback", "interrupted"])
@pytest.mark.parametrize("is_right", [True, False])
def test_stopped_by_its_user_it_keeps_the_better_picture(stopped, is_right, target):
    """The last one; but the first where steps only led away, and then that is told."""
    seen = []

    def callback(view):
        seen.append(view.image)
        return stopped == "callback" and len(seen) == 12

    problem = quadratic(target, STEEP)
    done = paint(
        problem,
        target + NEARLY if is_right else START,
        make_optimizer("adam"),
        40,
        rate=0.02,
        callback=callback,
        is_interrupted=lambda: stopped == "interrupted" and len(seen) == 12,
    )
    assert done.report.stopped == stopped
    assert len(done.report.terms) == 12
    told = [(recovery.reason, recovery.action) for recovery in done.report.recoveries]
    if is_right:
        np.testing.assert_array_equal(done.image, target + NEARLY)
        assert told == [("the loss rose", "kept the best picture")]
    else:
        np.testing.assert_array_equal(done.image, seen[-1])
        assert told == []


def test_a_healthy_run_is_left_alone(target):
    problem = quadratic(target, STEEP)
    done = paint(problem, START, make_optimizer("adam"), 40, rate=0.02)
    assert done.report.recoveries == []
    assert len(done.report.terms) == 40


def lying(scale, image, layers):
    """Return features whose gradient points the wrong way."""
    del scale
    # The value of the picture, and minus its gradient.
    lie = 2 * jax.lax.stop_gradient(image) - image
    return dict.fromkeys(layers, lie)


def test_a_search_that_stalls_is_begun_anew_and_then_given_to_adam(target):
    """No way leads down where gradients lie; the picture it began with remains."""
    problem = quadratic(target, jnp.ones(SHAPE))
    problem = problem._replace(network=jax.tree_util.Partial(lying, STEEP))
    done = paint(problem, START, make_optimizer("lbfgs"), 60, rate=1.0)
    assert [recovery.reason for recovery in done.report.recoveries[:2]] == [
        "line search stalled"
    ] * 2
    assert [recovery.action for recovery in done.report.recoveries[:2]] == [
        "cleared the memory",
        "took Adam, learning rate 0.02",
    ]
    assert {recovery.reason for recovery in done.report.recoveries[2:]} == {
        "the loss rose"
    }
    np.testing.assert_array_equal(done.image, START)


def test_the_average_is_returned_where_it_is_better(target):
    """Adam's steps of one length circle around the target, and it is in the middle."""
    problem = quadratic(target, STEEP)
    results = [
        paint(
            problem, START, make_optimizer("adam"), 100, rate=0.1, averaging=averaging
        )
        for averaging in (0.0, 0.9)
    ]
    plain, averaged = (loss_of(problem, done.image) for done in results)
    assert results[1].report.is_averaged
    assert averaged < plain
    assert [len(done.report.terms) for done in results] == [100, 100]
