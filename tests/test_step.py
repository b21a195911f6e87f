"""One step, the sizes, and the loop around them."""

import functools
import itertools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import forget_programs, num_programs

from jaxnst.objective import make_loss_weights, perceptual_loss
from jaxnst.optimize import (
    TransferState,
    averaged_image,
    compiled_step,
    init_state,
    make_optimizer,
    pyramid_sizes,
    resize_state,
    step,
)
from jaxnst.optimize.batching import StepProgram
from jaxnst.optimize.interrupt import deferred_interrupt
from jaxnst.optimize.loop import run_size
from jaxnst.optimize.member import Member
from jaxnst.optimize.recovery import Method
from jaxnst.optimize.schedule import Budget
from jaxnst.optimize.stepping import init_average, update_average
from jaxnst.optimize.strength import Steering
from jaxnst.transfer.plan import compiled_targets


CONTENT_LAYERS = {"relu4_2": 1.0}
STYLE_LAYERS = dict.fromkeys(
    ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"], 1.0
)


@pytest.fixture(scope="module")
def tiny_network(flax_network):
    """What these tests expect of a painting depends on the weights."""
    return flax_network


@pytest.fixture
def problem(tiny_network, content, style):
    """The arguments of `step` behind the state, but for the optimizer."""
    targets = compiled_targets(
        tiny_network,
        jnp.asarray(content),
        jnp.asarray(style),
        content_layers=tuple(CONTENT_LAYERS),
        style_layers=tuple(STYLE_LAYERS),
    )
    weights = make_loss_weights(
        content=0.25,
        style=1.0,
        tv=0.0,
        content_layers=CONTENT_LAYERS,
        style_layers=STYLE_LAYERS,
    )
    return tiny_network, targets, weights


def run(problem, content, optimizer, num_steps, callback=None, **options):
    """Paint the one size that `content` has; return the last state and the report."""
    network, targets, weights = problem
    rate = options.pop("rate", 0.05)
    program = StepProgram(
        network,
        optimizer,
        averaging=options.pop("averaging", 0.0),
        steps_per_call=options.pop("steps_per_call", 1),
    )
    member = Member(
        method=Method(optimizer, rate, options.pop("decay", 0.0)),
        weights=weights,
        budget=options.pop("budget", None) or Budget([1], [num_steps]),
        full_shape=content.shape[:2],
        callback=callback,
    )
    state = run_size(program.init(content), targets, program, [member], **options)
    return state, member.report


def test_no_gradient_reaches_the_weights_of_the_network(problem, content):
    """9 convolutions forward to relu5_1 and 9 back to the picture, and no more.

    Gradients of the weights would be 9 others.
    """
    optimizer = make_optimizer("adam")
    program = (
        jax.jit(step, static_argnames=("optimizer", "normalization"))
        .lower(
            init_state(jnp.asarray(content), optimizer),
            *problem,
            jnp.float32(0.05),
            optimizer=optimizer,
        )
        .compile()
    )
    text = program.as_text()
    assert text is not None
    # XLA may hand a convolution to oneDNN or cuDNN as a custom call.
    found = text.count(" convolution(") + text.count(
        'custom_call_target="__onednn$conv'
    )
    assert found + text.count('custom_call_target="__cudnn$conv') == 18


@pytest.mark.parametrize(("name", "rate"), [("adam", 0.05), ("lbfgs", 1.0)])
def test_loss_falls_and_pixels_stay_in_range(name, rate, problem, content):
    state, done = run(problem, content, make_optimizer(name), 15, rate=rate)
    assert done.terms[-1].total < 0.9 * done.terms[0].total
    image = np.asarray(state.image)
    assert image.min() >= 0
    assert image.max() <= 1
    assert not np.array_equal(image, content)


def test_any_optax_transformation_works(problem, content):
    lbfgs = optax.with_extra_args_support(optax.lbfgs())
    _, done = run(problem, content, lbfgs, 6, rate=1.0)
    assert done.terms[-1].total < 0.9 * done.terms[0].total


def test_adam_is_optax_s_own(problem, content):
    """Two steps by hand, with optax alone, of gradients whose scale does not matter."""
    network, targets, weights = problem
    optimizer = optax.adam(2 * 0.05, b1=0.8, b2=0.95, eps=1.0)
    image = jnp.asarray(content)
    opt_state = optimizer.init(image)
    pixels = content.shape[0] * content.shape[1]

    @jax.jit
    def gradient_fn(image, network, targets):
        return jax.grad(
            lambda x: pixels * perceptual_loss(x, network, targets, weights)[0]
        )(image)

    for _ in range(2):
        gradient = gradient_fn(image, network, targets)
        gradient /= np.linalg.norm(gradient) / np.sqrt(gradient.size) + 1e-2
        update, opt_state = optimizer.update(gradient, opt_state)
        assert isinstance(update, jax.Array)
        image = jnp.clip(image + update, 0, 1)
    state, _ = run(problem, content, make_optimizer("adam"), 2)
    # Adam divides by the gradient's own size, so a tiny gradient turns rounding into a
    # visible step; that is a pixel here and there.
    assert np.mean(np.abs(state.image - image)) < 1e-4


def test_the_scale_of_the_loss_does_not_matter(problem, content):
    """Weights of a thousand make the same steps as weights of one."""
    network, targets, weights = problem
    loud = weights._replace(
        content=1000 * weights.content, style=1000 * weights.style, tv=1000 * weights.tv
    )
    optimizer = make_optimizer("adam")
    state, _ = run((network, targets, weights), content, optimizer, 3)
    other, _ = run((network, targets, loud), content, optimizer, 3)
    assert np.mean(np.abs(state.image - other.image)) < 1e-3


def test_state_is_donated(problem, content):
    optimizer = make_optimizer("adam")
    state = init_state(jnp.array(content), optimizer)
    compiled_step(state, *problem, jnp.float32(0.05), optimizer=optimizer)
    assert state.image.is_deleted()


def test_nothing_changes_on_a_loss_that_is_not_finite(problem, content):
    network, targets, weights = problem
    optimizer = make_optimizer("adam")
    state = init_state(jnp.asarray(content), optimizer)
    bad = weights._replace(style=jnp.float32(jnp.nan))
    given = jax.tree.map(jnp.copy, state)  # is donated
    after, info = compiled_step(
        given, network, targets, bad, jnp.float32(0.05), optimizer=optimizer
    )
    assert not info.is_finite
    jax.tree.map(np.testing.assert_array_equal, after, state)
    state, done = run((network, targets, bad), content, optimizer, 9)
    assert done.stopped == "not finite"
    assert done.terms == []
    np.testing.assert_array_equal(state.image, content)


def test_weights_and_rates_recompile_nothing(problem, content):
    network, targets, weights = problem
    optimizer = make_optimizer("adam")
    forget_programs()
    run(problem, content, optimizer, 3)
    heavier = weights._replace(style=jnp.float32(9))
    run((network, targets, heavier), content, make_optimizer("adam"), 2, rate=0.1)
    assert num_programs() == 1


def test_callback_sees_every_step_and_stops(problem, content):
    seen = []

    def callback(view):
        seen.append((view.step, view.shape, view.loss, view.image.mean()))
        assert view.work_done == pytest.approx(view.step / 9)
        return view.step == 4

    state, done = run(problem, content, make_optimizer("adam"), 9, callback)
    assert done.stopped == "callback"
    assert [entry[0] for entry in seen] == [1, 2, 3, 4]
    assert {entry[1] for entry in seen} == {(40, 48)}
    assert [entry[2] for entry in seen] == [float(term.total) for term in done.terms]
    assert len({entry[3] for entry in seen}) == 4
    assert seen[-1][3] == np.asarray(state.image).mean()


def test_only_true_stops(problem, content):
    _, done = run(problem, content, make_optimizer("adam"), 3, lambda view: "no")
    assert done.stopped is None
    assert len(done.terms) == 3
    for answer in (np.True_, jnp.array(True)):
        callback = functools.partial(lambda answer, view: answer, answer)
        _, done = run(problem, content, make_optimizer("adam"), 3, callback)
        assert done.stopped == "callback"


def test_ctrl_c_ends_after_the_step(problem, content, interruptible):
    def callback(view):
        if view.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    notices = []
    with deferred_interrupt(notices.append) as is_interrupted:
        _, done = run(
            problem,
            content,
            make_optimizer("adam"),
            9,
            callback,
            is_interrupted=is_interrupted,
        )
    assert done.stopped == "interrupted"
    assert len(done.terms) == 2
    assert len(notices) == 1
    assert "Ctrl-C again" in notices[0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("shape", "min_size", "expected"),
    [
        ((342, 512), 128, [(86, 128), (171, 256), (342, 512)]),
        ((342, 512), 0, [(342, 512)]),
        ((342, 512), 512, [(342, 512)]),
        ((500, 400), 128, [(125, 100), (250, 200), (500, 400)]),
        ((64, 640), 128, [(32, 320), (64, 640)]),
        ((32, 32), 128, [(32, 32)]),
    ],
)
def test_pyramid_sizes(shape, min_size, expected):
    sizes = pyramid_sizes(shape, min_size=min_size, min_side=32)
    assert list(sizes) == expected


def test_resized_state_keeps_what_the_optimizer_knows(content):
    optimizer = make_optimizer("adam")
    state = init_state(jnp.full((10, 12, 3), 0.25), optimizer)
    gradient = jnp.full((10, 12, 3), 3.0)
    _, opt_state = optimizer.update(gradient, state.opt_state, state.image)
    resized = resize_state(
        TransferState(state.image, opt_state), jnp.full((20, 24, 3), 0.7), optimizer
    )
    assert resized.image.shape == (20, 24, 3)
    np.testing.assert_allclose(resized.image, 0.25, rtol=1e-5)
    old, new = jax.tree.leaves(opt_state), jax.tree.leaves(resized.opt_state)
    assert len(old) == len(new)
    for before, after in zip(old, new, strict=True):
        if before.ndim:
            assert after.shape == (20, 24, 3)
            np.testing.assert_allclose(after, before.ravel()[0], rtol=1e-5)
        else:
            assert after == before


def test_a_state_that_is_no_picture_begins_anew():
    optimizer = optax.flatten(optax.adam(0.1))
    small = jnp.full((8, 8, 3), 0.5)
    state = init_state(small, optimizer)
    _, opt_state = optimizer.update(small, state.opt_state, small)
    resized = resize_state(
        TransferState(small, opt_state), jnp.zeros((16, 16, 3)), optimizer
    )
    expected = optimizer.init(jnp.zeros((16, 16, 3)))
    jax.tree.map(np.testing.assert_array_equal, resized.opt_state, expected)


def test_second_moments_stay_positive_when_resized():
    spike = jnp.zeros((8, 8, 3)).at[4, 4].set(1.0)
    optimizer = optax.scale_by_rms()
    state = TransferState(spike, optax.ScaleByRmsState(nu=spike))
    resized = resize_state(state, jnp.zeros((16, 16, 3)), optimizer)
    (moment,) = jax.tree.leaves(resized.opt_state)
    assert moment.max() > 0
    assert moment.min() >= 0
    assert resized.image.min() >= 0


def test_content_detail_brings_the_content_picture_back(rng):
    """With all of its detail, a picture that was only made smaller is as it was."""
    content = jnp.asarray(rng.random((32, 40, 3), np.float32)) * 0.5 + 0.25
    small = jax.image.resize(content, (16, 20, 3), "linear")
    optimizer = optax.sgd(1.0)
    state = init_state(small, optimizer)
    blurred = resize_state(state, content, optimizer).image
    restored = resize_state(state, content, optimizer, content_detail=1.0).image
    assert jnp.abs(blurred - content).max() > 0.1
    np.testing.assert_allclose(restored, content, atol=1e-5)


@pytest.mark.parametrize("num_steps", [2, 3])
def test_a_budget_learns_from_few_steps(num_steps, problem, content):
    """Steps that are still under way when a size ends are counted, too."""
    clock = itertools.count()  # a second passes whenever it is asked
    budget = Budget(
        [1, 1000], [num_steps, 500], deadline=5000, now_fn=lambda: next(clock)
    )
    budget.begin_size(0)
    run(problem, content, make_optimizer("adam"), num_steps, budget=budget)
    budget.begin_size(1)
    assert budget.num_steps() < 500


def test_several_steps_per_call_are_the_same_steps(problem, content):
    """In a loop on the device; slow on the CPU, but right."""
    seen = {1: [], 3: []}
    done = {}
    for count, views in seen.items():

        def callback(view, views=views):
            views.append((view.step, view.loss, view.image, view.work_done))

        done[count] = run(
            problem,
            content,
            make_optimizer("adam"),
            7,
            callback,
            decay=0.5,
            averaging=0.9,
            steps_per_call=count,
        )
    (state, one), (other, three) = done[1], done[3]
    np.testing.assert_allclose(state.image, other.image, atol=1e-3)
    assert len(one.terms) == len(three.terms) == 7
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-3), one.terms, three.terms
    )
    # The callback sees the last step of each call, and sees it as it is.
    assert [view[0] for view in seen[3]] == [3, 6, 7]
    for number, loss, image, work_done in seen[3]:
        expected = seen[1][number - 1]
        assert expected[0] == number
        assert loss == pytest.approx(expected[1], rel=1e-3)
        np.testing.assert_allclose(image, expected[2], atol=1e-3)
        assert work_done == expected[3]


def test_the_average_is_that_of_the_pictures(problem, content):
    pictures = []
    state, done = run(
        problem,
        content,
        make_optimizer("adam"),
        5,
        lambda view: pictures.append(view.image),
        averaging=0.8,
    )
    assert state.average is not None
    weights = 0.8 ** np.arange(5)[::-1]
    expected = np.average(pictures, axis=0, weights=weights)
    np.testing.assert_allclose(averaged_image(state.average), expected, atol=1e-6)
    np.testing.assert_array_equal(
        state.image, averaged_image(state.average) if done.is_averaged else pictures[-1]
    )


def test_the_average_of_one_picture_is_the_picture(rng):
    image = jnp.asarray(rng.random((4, 5, 3), np.float32))
    average = init_average(image)
    for _ in range(3):
        average = update_average(average, image, jnp.float32(0.99))
        np.testing.assert_allclose(averaged_image(average), image, atol=1e-5)


def test_the_average_begins_anew_when_the_picture_grows(content):
    optimizer = make_optimizer("adam")
    image = jnp.asarray(content)
    state = init_state(image, optimizer, use_average=True)
    assert state.average is not None
    average = update_average(state.average, image, jnp.float32(0.5))
    grown = resize_state(
        state._replace(average=average), jnp.zeros((80, 96, 3)), optimizer
    )
    assert grown.average is not None
    assert grown.average.weight == 0
    assert grown.average.total.shape == (80, 96, 3)
    assert not grown.average.total.any()


def test_a_member_is_not_disturbed_when_another_ends(problem, content):
    """Of two pictures steered to a strength the first stays as it is, to the bit."""
    network, targets, weights = problem
    optimizer = make_optimizer("adam")
    program = StepProgram(
        network,
        optimizer,
        num_members=2,
        devices=jax.devices()[:1],
        shares_targets=True,
    )
    pictures = []
    for last_step in (4, 12):
        members = [
            Member(
                method=Method(optimizer, 0.05),
                weights=weights,
                # Not the full size, so that nothing is trimmed.
                budget=Budget([1, 4], [12, 12]),
                full_shape=(80, 96),
                steering=Steering([0.6], np.ones(1)),
                callback=callback,
            )
            for callback in (None, lambda view, last=last_step: view.step == last)
        ]
        state = run_size(
            program.stack([program.init(content)] * 2),
            program.stack_targets([targets]),
            program,
            members,
        )
        assert [member.report.num_steps for member in members] == [12, last_step]
        pictures.append(np.asarray(program.member(state, 0).image))
    np.testing.assert_array_equal(*pictures)
