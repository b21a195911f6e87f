"""The other style losses: NumPy in float64, analytic truths, gradients, regions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from conftest import picture
from jax.test_util import check_grads

import jaxnst
from jaxnst.config import make_config
from jaxnst.losses import (
    Gaussian,
    Moments,
    center_samples,
    channel_moments,
    fit_gaussian,
    gaussian_target,
    moments_distance,
    nearest_neighbor,
    neighbor_error,
    sliced_distance,
    sliced_error,
    sliced_wasserstein,
    style_quantiles,
    style_samples,
    wasserstein,
    wasserstein_distance,
)
from jaxnst.losses.registry import (
    PARTWISE,
    STYLE_LOSSES,
    region_distance,
)
from jaxnst.losses.sliced_wasserstein import NUM_QUANTILES, projection_directions
from jaxnst.objective import compute_targets, make_loss_weights, perceptual_loss


EVERY = tuple(STYLE_LOSSES)


def features(rng, height=6, width=7, channels=4, offset=0.0):
    """Correlated activations."""
    mixing = rng.standard_normal((channels, channels))
    plain = rng.standard_normal((height, width, channels))
    return (plain @ mixing + offset).astype(np.float32)


def cloud(array):
    return array.astype(np.float64).reshape(-1, array.shape[-1])


def moments_numpy(one, other, smoothing=5e-3):
    a, b = cloud(one), cloud(other)
    squared = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.sum((a.std(0) - b.std(0)) ** 2)
    floor = smoothing**2 * np.sum(np.mean(b**2, axis=0))
    return np.sqrt(squared + floor) - np.sqrt(floor)


def wasserstein_numpy(one, other, smoothing=5e-3):
    a, b = cloud(one), cloud(other)
    cov_a, cov_b = (np.cov(x.T, bias=True) for x in (a, b))
    damping = 1e-3 * np.trace(cov_b) / len(cov_b) * np.eye(len(cov_b))
    cov_a, cov_b = cov_a + damping, cov_b + damping
    root = scipy.linalg.sqrtm(cov_b)
    cross = np.real(scipy.linalg.sqrtm(root @ cov_a @ root))
    squared = np.sum((a.mean(0) - b.mean(0)) ** 2)
    squared += np.trace(cov_a + cov_b - 2 * cross)
    floor = smoothing**2 * np.mean(np.sum(b**2, axis=1))
    return np.sqrt(squared + floor) - np.sqrt(floor)


def sliced_numpy(one, other, smoothing=5e-3):
    """Ranks and quantiles by sorting, pixel by pixel."""
    a, b = cloud(one), cloud(other)
    width = a.shape[1]
    directions = np.asarray(projection_directions(width, min(width, 64)), np.float64)
    known = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    total, size = 0.0, 0.0
    for direction in directions.T:
        quantiles = np.quantile(b @ direction, known, method="hazen")
        own = np.sort(a @ direction)
        ranks = (np.arange(len(own)) + 0.5) / len(own)
        total += np.mean((own - np.interp(ranks, known, quantiles)) ** 2)
        size += np.mean(quantiles**2)
    floor = smoothing**2 * size
    root = np.sqrt(total + floor) - np.sqrt(floor)
    return root / np.sqrt(directions.shape[1])


def neighbor_numpy(one, other):
    a, b = cloud(one), cloud(other)
    center = b.mean(0)
    a, b = a - center, b - center
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    return np.mean(1 - (unit[0] @ unit[1].T).max(1))


ORACLES = {
    "moments": moments_numpy,
    "wasserstein": wasserstein_numpy,
    "sliced_wasserstein": sliced_numpy,
    "nearest_neighbor": neighbor_numpy,
}


def distance(name, picture, style, guide=None, smoothing=5e-3):
    """Return how far a picture is from a style, as the objective measures it."""
    picture, style = map(jnp.asarray, (picture, style))
    guide = None if guide is None else jnp.asarray(guide)
    return _distance(name, picture, style, guide, smoothing)


def _plain_distance(name, picture, style, guide, smoothing):
    loss = STYLE_LOSSES[name]
    target = loss.combine_fn([loss.describe_fn(style)], jnp.ones(1))
    found = STYLE_LOSSES[name].statistics_fn(picture, guide, target)
    return region_distance(name, found, guide, target, smoothing)


_distance = jax.jit(_plain_distance, static_argnames=("name", "smoothing"))


# Both of one size in most tests here, which then share a program for each loss.
@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("shapes", [((6, 7), (6, 7)), ((1, 33), (9, 8))])
def test_against_numpy(rng, name, shapes):
    picture = features(rng, *shapes[0], offset=0.5)
    style = features(rng, *shapes[1], offset=-1.0)
    found = distance(name, picture, style)
    np.testing.assert_allclose(found, ORACLES[name](picture, style), rtol=2e-3)


@pytest.mark.parametrize("name", EVERY)
def test_the_style_itself_is_at_no_distance(rng, name):
    style = features(rng)
    other = features(rng, offset=1.0)
    far = float(distance(name, other, style))
    assert far > 0
    # Quantiles between few points leave a little.
    assert abs(float(distance(name, style, style))) < 2e-2 * far


@pytest.mark.parametrize("name", EVERY)
def test_places_do_not_matter(rng, name):
    picture, style = features(rng, offset=0.3), features(rng)
    shuffled = rng.permutation(picture.reshape(-1, 4)).reshape(picture.shape)
    np.testing.assert_allclose(
        distance(name, shuffled, style), distance(name, picture, style), rtol=1e-4
    )


@pytest.mark.parametrize("name", EVERY)
def test_gradients(rng, name):
    picture, style = jnp.asarray(features(rng, offset=0.3)), jnp.asarray(features(rng))

    @jax.jit
    def loss(x):
        return _plain_distance(name, x, style, None, 5e-3)

    check_grads(loss, (picture,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)
    gradient = jax.jit(jax.grad(loss))
    own = gradient(style)
    assert np.isfinite(own).all()
    flat = gradient(jnp.zeros_like(picture))
    assert np.isfinite(flat).all()


def test_moments_of_shifted_and_stretched_features():
    """By hand: means differ by 3, spreads by 2."""
    still = Moments(jnp.zeros(1), jnp.ones(1))
    moved = Moments(3 * jnp.ones(1), jnp.asarray([9.0 + 9.0]))
    found = moments_distance(moved, still, smoothing=0.0)
    np.testing.assert_allclose(found, np.sqrt(3**2 + 2**2), rtol=1e-5)


def test_wasserstein_of_what_is_only_moved_is_how_far(rng):
    style = features(rng, 20, 20)
    step = np.array([1.0, -2.0, 0.5, 0.0], np.float32)
    found = distance("wasserstein", style + step, style, smoothing=0.0)
    np.testing.assert_allclose(found, np.linalg.norm(step), rtol=1e-3)


def test_wasserstein_of_diagonal_covariances_is_that_of_their_roots():
    spreads = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 1.0])
    one, other = (
        Gaussian(jnp.zeros(3), jnp.diag(jnp.asarray(s**2, jnp.float32)))
        for s in spreads
    )

    @jax.jit
    def plain_distance(one, other):
        return wasserstein_distance(one, gaussian_target(other), smoothing=0.0)

    found = plain_distance(one, other)
    expected = np.linalg.norm(spreads[0] - spreads[1])
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_wasserstein_has_a_gradient_where_eigenvalues_are_equal():
    round_one = Gaussian(jnp.zeros(4), jnp.eye(4))
    second = 5 * jnp.eye(4) + jnp.ones((4, 4))
    target = jax.jit(gaussian_target)(Gaussian(jnp.ones(4), second))
    gradient = jax.jit(jax.grad(wasserstein_distance))(round_one, target)
    assert all(np.isfinite(leaf).all() for leaf in gradient)


def test_sliced_distance_of_a_line_is_that_of_its_sorted_values(rng):
    """With one channel, and as many pixels as quantiles, by hand."""
    style = rng.standard_normal((NUM_QUANTILES, 1, 1)).astype(np.float32)
    picture = (2 * style + 1)[::-1].copy()
    target = jax.jit(style_quantiles)(jnp.asarray(style))
    found = jax.jit(sliced_error)(jnp.asarray(picture), target)
    ordered = np.sort(style.ravel()), np.sort(picture.ravel())
    assert found == pytest.approx(np.mean((ordered[1] - ordered[0]) ** 2), rel=1e-2)
    assert sliced_distance(found, target, smoothing=0.0) == pytest.approx(
        np.sqrt(float(found)), rel=1e-5
    )


def test_the_root_of_an_accelerator_is_that_of_a_cpu(rng):
    """Its trace and gradient, by products, against eigenvalues in float64."""
    width = 24

    def covariance(scale):
        turned, _ = np.linalg.qr(rng.standard_normal((width, width)))
        variances = scale * np.arange(1, width + 1) ** -2.0 + 1e-4
        return (turned * variances) @ turned.T

    target = covariance(1)
    root = np.linalg.cholesky(target)
    for scale in (0.01, 1, 100):
        own = covariance(scale)
        values, vectors = np.linalg.eigh(root.T @ own @ root)
        inverse = (vectors / np.sqrt(values)) @ vectors.T
        trace, (_, gradient) = jax.jit(wasserstein._trace_by_products)(
            jnp.asarray(root, jnp.float32), jnp.asarray(own, jnp.float32)
        )
        np.testing.assert_allclose(trace, np.sum(np.sqrt(values)), rtol=1e-3)
        expected = root @ inverse @ root.T / 2
        error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
        assert error < 1e-2


def test_values_go_back_into_their_order_by_sorting_too(rng):
    order = jnp.asarray(rng.permuted(np.tile(np.arange(9), (3, 1)), axis=1))
    values = jnp.asarray(rng.standard_normal((3, 9)), jnp.float32)
    np.testing.assert_array_equal(
        sliced_wasserstein._unsort(order, values),
        sliced_wasserstein._unsort_by_sorting(order, values),
    )


def test_neighbors_are_found_in_parts_as_well(rng, monkeypatch):
    picture, style = (jnp.asarray(features(rng, 9, 7)) for _ in range(2))

    def error():
        target = center_samples(style_samples(style))
        return neighbor_error(picture, target)

    whole = jax.jit(lambda: error())()
    monkeypatch.setattr(nearest_neighbor, "_MAX_HELD", 63 * 10)
    # Another function, as the number is read when one is traced.
    np.testing.assert_allclose(jax.jit(lambda: error())(), whole, rtol=1e-6)


def test_few_samples_stand_for_many(monkeypatch, rng):
    monkeypatch.setattr(nearest_neighbor, "_MAX_PAIRS", 64 * 80)
    style = features(rng, 16, 20)
    found = np.asarray(style_samples(jnp.asarray(style)))
    assert found.shape == (64, 4)
    rows = {tuple(row) for row in style.reshape(-1, 4)}
    assert all(tuple(row) in rows for row in found)


@pytest.mark.parametrize("name", EVERY)
def test_a_guide_of_ones_and_zeros_cuts_a_region_out(rng, name):
    picture, style = features(rng, 8, 9, offset=0.4), features(rng)
    guide = np.zeros((8, 9), np.float32)
    guide[2:, 2:] = 1
    np.testing.assert_allclose(
        distance(name, picture, style, guide),
        distance(name, picture[2:, 2:], style),
        rtol=2e-3,
    )


@pytest.mark.parametrize("name", PARTWISE)
def test_parts_of_a_picture_add_up(rng, name):
    """So memory levels and devices may measure rows by themselves."""
    picture, style = map(jnp.asarray, (features(rng, 8, 9), features(rng)))
    loss = STYLE_LOSSES[name]
    guide = jnp.asarray(rng.random((8, 9)), jnp.float32)

    @jax.jit
    def statistics():
        target = loss.combine_fn([loss.describe_fn(style)], jnp.ones(1))
        return [
            loss.statistics_fn(picture[rows], guide[rows], target)
            for rows in (slice(None), slice(0, 2), slice(2, 8))
        ]

    whole, *parts = statistics()
    added = jax.tree.map(lambda a, b: 0.25 * a + 0.75 * b, *parts)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        added,
        whole,
    )


def test_moments_blend_between_spreads():
    """Half way between spreads 1 and 3 is 2, not the root of the mean square."""
    one, other = (
        Moments(jnp.zeros(1), jnp.ones(1)),
        Moments(jnp.zeros(1), 9 * jnp.ones(1)),
    )
    half = STYLE_LOSSES["moments"].combine_fn([one, other], jnp.asarray([0.5, 0.5]))
    np.testing.assert_allclose(half.square, 4.0, rtol=1e-5)


def test_neighbors_blend_by_number():
    one, other = jnp.full((80, 2), 1.0), jnp.full((40, 2), -1.0)
    combine_fn = STYLE_LOSSES["nearest_neighbor"].combine_fn
    mixed = jax.jit(combine_fn)([one, other], jnp.asarray([0.25, 0.75]))
    # Centers tell how many of each there are.
    np.testing.assert_allclose(mixed.center, 0.25 - 0.75, atol=1e-6)


def test_descriptions_are_what_the_functions_say(rng):
    style = jnp.asarray(features(rng))
    np.testing.assert_allclose(
        fit_gaussian(style).mean, channel_moments(style).mean, rtol=1e-5
    )


@pytest.fixture(scope="module")
def style_term(tiny_network):
    """Return a function: the style term of a picture with some weights of losses.

    All losses are in one program, and the weights choose among them.
    """
    content, style = picture(seed=1), picture(36, 50, seed=2)
    targets_fn = jax.jit(
        lambda network, content, style: compute_targets(
            network,
            content,
            style,
            content_layers=["relu4_2"],
            style_layers=["relu3_1"],
            style_losses=EVERY,
        )
    )
    targets = targets_fn(tiny_network, jnp.asarray(content), jnp.asarray(style))
    loss_fn = jax.jit(perceptual_loss)

    def term(image, losses):
        weights = make_loss_weights(
            content=0,
            style=1,
            tv=0,
            content_layers={"relu4_2": 1.0},
            style_layers={"relu3_1": 1.0},
            style_losses=dict.fromkeys(EVERY, 0.0) | losses,
        )
        _, terms = loss_fn(jnp.asarray(image), tiny_network, targets, weights)
        return float(terms.style)

    return term


@pytest.mark.parametrize("name", EVERY)
def test_the_term_is_1_at_the_content_and_0_at_the_style(
    style_term, content, style, name
):
    assert 0.9 < style_term(content, {name: 2.0}) <= 1
    same = jaxnst.images.resize(style, content.shape[:2])
    # Resized, it is not quite the same.
    assert style_term(same, {name: 2.0}) < 0.6


def test_losses_are_mixed_by_their_weights(style_term, content):
    image = 0.5 * content + 0.1
    gram = style_term(image, {"gram": 1.0})
    sliced = style_term(image, {"sliced_wasserstein": 1.0})
    mixed = style_term(image, {"gram": 1.0, "sliced_wasserstein": 3.0})
    assert mixed == pytest.approx(0.25 * gram + 0.75 * sliced, rel=1e-4)


def test_other_losses_paint(tiny_network, content, style):
    """All at once; each has a right gradient, as the tests above say."""
    names = [name for name in EVERY if name != "gram"]
    result = jaxnst.stylize(
        content,
        style,
        style_loss=names,
        network=tiny_network,
        content_layers=["relu2_2"],
        style_layers=["relu1_1", "relu2_1"],
        size=48,
        min_size=0,
        num_steps=12,
        progress=False,
    )
    history = result.history["style"]
    assert history[-1] < 0.9 * history[0]
    assert result.record["settings"]["style_loss"] == dict.fromkeys(names, 1.0)
    assert not result.record["recoveries"]


@pytest.mark.parametrize(
    ("settings", "losses"),
    [
        ({}, {"gram": 1, "moments": 1}),
        ({"preset": "draft", "network": "resnet50.tv_in1k"}, {"gram": 1, "moments": 1}),
        ({"style_loss": "moments"}, {"moments": 1}),
        ({"normalization": "paper"}, {"gram": 1}),
        ({"preset": "gatys2016"}, {"gram": 1}),
        ({"preset": "gatys2016", "normalization": "pair"}, {"gram": 1}),
    ],
)
def test_the_default_is_a_mix_and_the_paper_s_are_gram_matrices(settings, losses):
    assert make_config(**settings).style_loss == losses


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style_loss": "grams"}, "`style_loss` is 'grams'. Did you mean 'gram'?"),
        ({"style_loss": {"gram": 0}}, "`style_loss` needs a .*weight above 0"),
        ({"style_loss": {"gram": -1}}, r"`style_loss\['gram'\]` must be finite and 0"),
        ({"style_loss": 3}, "`style_loss` must be names or {name: number}"),
        (
            {"style_loss": "moments", "preset": "gatys2016"},
            "`style_loss` moments needs `normalization` 'pair'",
        ),
        (
            {"style_loss": "sliced_wasserstein", "memory": "low"},
            "`style_loss` sliced_wasserstein sorts all pixels",
        ),
        (
            {"style_loss": "nearest_neighbor", "devices": "all"},
            "`style_loss` nearest_neighbor does not go with `devices`",
        ),
    ],
)
def test_bad_style_losses_are_told(
    tiny_network, content, style, settings, message, as_installed
):
    with pytest.raises((ValueError, TypeError), match=message):
        jaxnst.stylize(content, style, network=tiny_network, **settings)
