"""L-BFGS and its line search, on functions whose lowest point is known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnst.calls import run_calls
from jaxnst.objective import Targets, make_loss_weights
from jaxnst.optimize import (
    LineSearched,
    Method,
    Pace,
    Probe,
    Problem,
    Schedule,
    init_state,
    make_optimizer,
    paint_size,
    resize_state,
    search_length,
)
from jaxnst.optimize.lbfgs import find_direction


SHAPE = (16, 20, 3)


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


def minimize(problem, image, name, num_steps):
    optimizer = make_optimizer(name)
    rate = 1.0 if name == "lbfgs" else 0.05
    pace = Pace(rate, num_steps)
    work = num_steps * SHAPE[0] * SHAPE[1]
    painting = paint_size(
        init_state(image, optimizer),
        problem,
        Method(optimizer, rate),
        pace,
        schedule=Schedule(0, num_steps, 0, work, SHAPE[:2]),
    )
    return run_calls(painting)


def search(probe_fn, start, first):
    """Search along a curve; return what was found."""
    lengths = search_length(start, first)
    try:
        length = next(lengths)
        while True:
            length = lengths.send(probe_fn(length))
    except StopIteration as end:
        return end.value


@pytest.fixture
def target(rng):
    return jnp.asarray(rng.uniform(0.2, 0.8, SHAPE).astype(np.float32))


STEEP = jnp.broadcast_to(jnp.asarray([1.0, 10.0, 30.0]), SHAPE)


def test_an_ill_conditioned_quadratic_is_solved_in_few_evaluations(target):
    """Three curvatures, 1 to 900: a quasi-Newton method needs a handful of steps."""
    problem = quadratic(target, STEEP)
    done = minimize(problem, jnp.full(SHAPE, 0.5), "lbfgs", 20)
    assert done.recoveries == []
    losses = [terms.total for terms in done.run.terms]
    assert losses[-1] < 1e-6 * losses[0]
    np.testing.assert_allclose(done.run.state.image, target, atol=1e-3)
    assert done.run.num_evaluations <= 30
    adam = minimize(problem, jnp.full(SHAPE, 0.5), "adam", done.run.num_evaluations)
    assert losses[-1] < 1e-3 * adam.run.terms[-1].total


def test_it_ends_where_nothing_is_to_be_gained(target):
    done = minimize(quadratic(target, STEEP), target, "lbfgs", 20)
    assert done.run.stopped == "converged"
    assert len(done.run.terms) == 1
    assert done.recoveries == []
    np.testing.assert_array_equal(done.run.state.image, target)


def test_the_lowest_point_within_the_bounds_is_found(target):
    """A target beyond white and black: its nearest picture is the clipped one."""
    beyond = (target - 0.5) * 4 + 0.5
    done = minimize(quadratic(beyond, STEEP), jnp.full(SHAPE, 0.5), "lbfgs", 30)
    image = np.asarray(done.run.state.image)
    assert image.min() == 0
    assert image.max() == 1
    best = np.clip(beyond, 0, 1)

    def loss(image):
        return np.sum(np.square(STEEP * (image - beyond)))

    excess, at_start = loss(image) - loss(best), loss(0.5) - loss(best)
    assert 0 <= excess < 1e-4 * at_start


def test_losses_never_rise(target):
    done = minimize(quadratic(target, STEEP), jnp.zeros(SHAPE), "lbfgs", 15)
    losses = np.array([terms.total for terms in done.run.terms])
    assert np.all(np.diff(losses) <= 1e-6 * losses[:-1])


def test_a_scale_of_the_loss_changes_nothing(target):
    """Steps depend on the loss only through its shape."""
    plain = quadratic(target, STEEP)
    heavy = plain._replace(weights=plain.weights._replace(content=jnp.float32(1024)))
    images = [
        minimize(problem, jnp.full(SHAPE, 0.5), "lbfgs", 4).run.state.image
        for problem in (plain, heavy)
    ]
    np.testing.assert_allclose(images[0], images[1], atol=1e-5)


def test_directions_are_optax_s_own(target):
    """Inside the bounds and with good steps; the first goes straight downhill."""
    optimizer = make_optimizer("lbfgs")
    assert isinstance(optimizer, LineSearched)
    plain = optax.scale_by_lbfgs(10)
    image = jnp.full(SHAPE, 0.5)
    state, expected_state = optimizer.init(image), plain.init(image)
    for step in range(4):
        gradient = 2 * STEEP**2 * (image - target)
        expected, expected_state = plain.update(gradient, expected_state, image)
        found, state = find_direction(state, image, gradient, optimizer=optimizer)
        vector = found.vector
        if step == 0:
            np.testing.assert_array_equal(vector, -gradient)
            rms = jnp.sqrt(jnp.mean(jnp.square(found.length * vector)))
            assert rms == pytest.approx(0.02, rel=1e-5)
        else:
            assert isinstance(expected, jax.Array)
            np.testing.assert_allclose(-vector, expected, rtol=1e-5, atol=1e-6)
        image = image + 1e-3 * found.length * vector


def test_a_step_without_curvature_leaves_the_direction_as_it_was(target):
    optimizer = make_optimizer("lbfgs")
    assert isinstance(optimizer, LineSearched)
    image, state = jnp.full(SHAPE, 0.5), optimizer.init(jnp.full(SHAPE, 0.5))
    for move in (0.0, 0.01, 0.01):
        image = image + move
        gradient = 2 * STEEP**2 * (image - target)
        found, state = find_direction(state, image, gradient, optimizer=optimizer)
    # The gradient falls along the way: what that says of the curvature is no use.
    moved = image + 0.01 * jnp.sign(gradient)
    after, _ = find_direction(state, moved, 0.5 * gradient, optimizer=optimizer)
    np.testing.assert_allclose(after.vector, 0.5 * found.vector, rtol=1e-3, atol=1e-6)
    assert after.slope < 0


def test_the_memory_begins_anew_when_the_picture_grows(target):
    optimizer = make_optimizer("lbfgs")
    assert isinstance(optimizer, LineSearched)
    state = init_state(target, optimizer)
    _, opt_state = find_direction(state.opt_state, target, STEEP, optimizer=optimizer)
    larger = jnp.zeros((2 * SHAPE[0], 2 * SHAPE[1], 3))
    grown = resize_state(state._replace(opt_state=opt_state), larger, optimizer)
    assert grown.image.shape == larger.shape
    jax.tree.map(np.testing.assert_array_equal, grown.opt_state, optimizer.init(larger))


CURVES = {
    "parabola, first length too short": (lambda t: (t - 3) ** 2, 0.01),
    "parabola, first length too long": (lambda t: (t - 3) ** 2, 900.0),
    "parabola, right at once": (lambda t: (t - 1) ** 2, 1.0),
    "quartic": (lambda t: (t - 2) ** 4 - t, 50.0),
    "kink": (lambda t: abs(t - 0.7) + 0.01 * (t - 0.7) ** 2, 10.0),
    "not finite beyond a wall": (lambda t: (t - 1) ** 2 if t < 1.5 else np.nan, 8.0),
    "infinite beyond a wall": (lambda t: (t - 1) ** 2 if t < 1.5 else np.inf, 8.0),
    "waves": (lambda t: np.cos(3 * t) - 0.1 * t, 5.0),
}


@pytest.mark.parametrize("name", CURVES)
def test_lengths_satisfy_wolfe_s_conditions(name):
    curve, first = CURVES[name]

    def slope(t):
        return (curve(t + 1e-6) - curve(t - 1e-6)) / 2e-6

    start, slope_at_start = curve(0.0), slope(0.01)
    if name == "waves":
        slope_at_start = -0.1
    found = search(
        lambda t: Probe(curve(t), slope_at_start * t, slope(t) * t, t), start, first
    )
    assert found.probe is not None
    length = found.probe.payload
    assert curve(length) <= start + 1e-4 * slope_at_start * length
    assert slope(length) >= 0.9 * slope_at_start
    assert found.num_evaluations <= 12
    if name.endswith("at once"):
        assert found.num_evaluations == 1


def test_uphill_finds_nothing():
    calls = []

    def probe(t):
        calls.append(t)
        return Probe(1 + t, -t, t, t)

    found = search(probe, 1.0, 1.0)
    assert found.probe is None
    assert found.num_evaluations == len(calls) == 12
    assert all(b < a for a, b in itertools.pairwise(calls))
