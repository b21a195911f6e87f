"""The weighted sum: its normalizations, its terms, its invariances."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import run

import jaxnst
from jaxnst.objective import compute_targets, make_loss_weights, perceptual_loss


CONTENT_LAYERS = {"relu4_2": 1.0, "relu3_1": 3.0}
STYLE_LAYERS = {"relu1_1": 1.0, "relu2_1": 2.0, "relu5_1": 1.0}


# Compiled once for all tests; operation by operation it takes much longer.
measured = jax.jit(
    compute_targets,
    static_argnames=("content_layers", "style_layers", "normalization"),
)
loss_of = jax.jit(perceptual_loss, static_argnames="normalization")


def objective(network, kept, painted, normalization="pair", **weights):
    """The loss of pictures against the pair `kept` (content), `painted` (style)."""
    targets = measured(
        network,
        jnp.asarray(kept),
        jnp.asarray(painted),
        content_layers=tuple(CONTENT_LAYERS),
        style_layers=tuple(STYLE_LAYERS),
        normalization=normalization,
    )
    chosen: dict[str, Any] = {"content": 1.0, "style": 1.0, "tv": 0.0} | weights
    loss_weights = make_loss_weights(
        **chosen,
        content_layers=CONTENT_LAYERS,
        style_layers=STYLE_LAYERS,
        normalization=normalization,
    )
    return lambda image: loss_of(
        jnp.asarray(image), network, targets, loss_weights, normalization=normalization
    )


def test_content_picture_has_no_content_loss_and_style_loss_one(
    tiny_network, content, style
):
    total, terms = objective(tiny_network, content, style)(content)
    assert terms.content < 1e-9  # two programs, two orders of summation
    # Less what the smoothing of the distance and the floor of the gap take off.
    for term in (terms.style, *terms.style_layers.values()):
        assert term == pytest.approx(1, abs=0.1)
    assert float(total) == pytest.approx(float(terms.style), rel=1e-6)


def test_style_picture_has_no_style_loss(tiny_network, content):
    _, terms = objective(tiny_network, content[:, ::-1], content)(content)
    assert all(term < 1e-3 for term in terms.style_layers.values())
    assert terms.content > 0.01


def test_terms_against_numpy(tiny_network, content, style):
    image = np.clip(content + 0.1, 0, 1)
    _, terms = objective(tiny_network, content, style)(image)

    def features(array):
        found = run(tiny_network, array)
        return {name: value.astype(np.float64) for name, value in found.items()}

    def gram(array):
        flat = array.reshape(-1, array.shape[-1])
        return flat.T @ flat / len(flat)

    ours, kept, painted = features(image), features(content), features(style)
    for name, term in terms.content_layers.items():
        assert np.mean(kept[name] ** 2) > 0.3 * np.mean(painted[name] ** 2)
        lengths = [np.linalg.norm(x[name], axis=-1) for x in (ours, kept)]
        cosines = np.sum(ours[name] * kept[name], -1) / (lengths[0] * lengths[1])
        expected = np.mean(2 * lengths[1] ** 2 * (1 - cosines))
        expected /= np.mean(lengths[1] ** 2)
        assert term == pytest.approx(expected, rel=1e-4)
    for name, term in terms.style_layers.items():
        target = gram(painted[name])
        norm = np.linalg.norm(target)
        knee, floor = 5e-3 * norm, 0.05 * norm
        distance = np.hypot(np.linalg.norm(gram(ours[name]) - target), knee) - knee
        gap = np.hypot(np.linalg.norm(gram(kept[name]) - target), floor)
        assert term == pytest.approx(distance / gap, rel=1e-3)
    assert terms.content == pytest.approx(
        float(terms.content_layers["relu4_2"] + 3 * terms.content_layers["relu3_1"])
        / 4,
        rel=1e-5,
    )


@pytest.mark.parametrize("contrast", [0.1, 0.0])
def test_content_of_little_contrast_does_not_cost_more(
    tiny_network, content, style, contrast
):
    """Fog has faint activations, next to which those of any painting are large."""
    foggy = 0.5 + contrast * (content - 0.5)

    def faint(image, layers):  # without offsets, as deep activations of gray are small
        maps = tiny_network(image, layers)
        gray = tiny_network(jnp.full_like(image, 0.5), layers)
        return {name: maps[name] - gray[name] for name in layers}

    _, terms = objective(jax.tree_util.Partial(faint), foggy, style)(content)
    for term in terms.content_layers.values():
        assert 0 <= term <= 4  # 2 (1 - cos)


def test_paper_is_the_literal_sum(tiny_network, content, style):
    """Equations 1, 4, 5 and 7 of CVPR 2016, in NumPy, for pictures of one size."""
    style = jaxnst.images.resize(style, content.shape[:2])
    image = np.clip(content + 0.1, 0, 1)
    total, _ = objective(tiny_network, content, style, "paper", content=0.3, style=7.0)(
        image
    )

    def features(array):
        return {
            name: value.reshape(-1, value.shape[-1]).astype(np.float64)
            for name, value in run(tiny_network, array).items()
        }

    ours, kept, painted = features(image), features(content), features(style)
    expected = 0.0
    for name, weight in CONTENT_LAYERS.items():
        expected += 0.3 * weight * 0.5 * np.sum((ours[name] - kept[name]) ** 2)
    for name, weight in STYLE_LAYERS.items():
        pixels, channels = ours[name].shape
        gap = ours[name].T @ ours[name] - painted[name].T @ painted[name]
        expected += 7.0 * weight * np.sum(gap**2) / (4 * channels**2 * pixels**2)
    assert total == pytest.approx(expected, rel=1e-4)


def test_pair_does_not_depend_on_the_scale_of_the_network(tiny_network, content, style):
    @jax.tree_util.Partial
    def louder(image, layers):
        return {name: 50 * x for name, x in tiny_network(image, layers).items()}

    image = np.clip(content + 0.1, 0, 1)
    plain, _ = objective(tiny_network, content, style)(image)
    loud, _ = objective(louder, content, style)(image)
    assert loud == pytest.approx(float(plain), rel=1e-4)


def test_total_is_the_weighted_sum(tiny_network, content, style):
    image = np.clip(content + 0.1, 0, 1)
    loss = objective(tiny_network, content, style, content=0.5, style=3.0, tv=11.0)
    total, terms = loss(image)
    expected = 0.5 * terms.content + 3 * terms.style + 11 * terms.tv
    assert total == pytest.approx(float(expected), rel=1e-6)
    assert terms.tv > 0


@pytest.mark.parametrize("normalization", ["pair", "paper"])
def test_gradient_against_differences(tiny_network, content, style, normalization):
    loss = objective(tiny_network, content, style, normalization)
    image = jnp.asarray(np.clip(content + 0.05, 0, 1))
    gradient = jax.grad(lambda x: loss(x)[0])(image)
    direction = gradient / jnp.linalg.norm(gradient.ravel())
    step = 0.005  # short: the loss curves
    ahead, behind = loss(image + step * direction)[0], loss(image - step * direction)[0]
    slope = float(jnp.sum(gradient * direction))
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=0.03)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_pictures_are_finite(tiny_network, level):
    flat = np.full((32, 32, 3), level, np.float32)
    loss = objective(tiny_network, flat, flat, tv=1.0)
    (total, _), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.asarray(flat))
    assert jnp.isfinite(total)
    assert jnp.all(jnp.isfinite(gradient))


def test_weights_are_a_pytree_that_maps(tiny_network, content, style):
    targets = measured(
        tiny_network,
        jnp.asarray(content),
        jnp.asarray(style),
        content_layers=tuple(CONTENT_LAYERS),
        style_layers=tuple(STYLE_LAYERS),
    )
    weights = make_loss_weights(
        content=1.0,
        style=0.0,
        tv=0.0,
        content_layers=CONTENT_LAYERS,
        style_layers=STYLE_LAYERS,
    )
    image = jnp.asarray(content) * 0.9
    many = weights._replace(style=jnp.array([0.0, 1.0, 2.0]))
    axes = jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, many)
    totals, terms = jax.jit(
        jax.vmap(perceptual_loss, in_axes=(None, None, None, axes))
    )(image, tiny_network, targets, many)
    np.testing.assert_allclose(
        totals, terms.content + many.style * terms.style, rtol=1e-5
    )
