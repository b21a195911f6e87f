"""Other arithmetic in the network: losses and state stay float32, gradients near."""

import warnings
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import build, load_tiny_weights, picture

import jaxnst
from jaxnst.losses import content_loss, gram_matrix
from jaxnst.networks import CAFFE, Convolution, VGGArchitecture
from jaxnst.networks.devices import arithmetic_of, warn_if_emulated
from jaxnst.networks.layers import rectify_fused
from jaxnst.objective import compute_targets, make_loss_weights, perceptual_loss
from jaxnst.optimize import (
    compiled_loss_and_gradient,
    init_state,
    make_optimizer,
    step,
)
from jaxnst.transfer import setup


# As few layers as have the default names: each strip is compiled by itself.
SMALL = VGGArchitecture(name="small", depths=(2, 1, 1, 2, 1), widths=(4, 4, 8, 8, 8))
STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
CONTENT = ("relu4_2",)
WEIGHTS = make_loss_weights(
    content=0.25,
    style=1.0,
    tv=0.1,
    content_layers=dict.fromkeys(CONTENT, 1.0),
    style_layers=dict.fromkeys(STYLE, 1.0),
)


def small(precision, **options):
    options = {"preprocessing": CAFFE, "precision": precision} | options
    return build(SMALL, seed=0, **options)


def vgg19(precision):
    return jaxnst.load_network("vgg19", precision=precision, conv="xla")


def measured(network):
    """Return targets, loss, terms and gradient, compiled, of one pair."""

    @jax.jit
    def run(network, image, content, style):
        targets = compute_targets(
            network, content, style, content_layers=CONTENT, style_layers=STYLE
        )
        found, gradient = jax.value_and_grad(
            lambda image: perceptual_loss(image, network, targets, WEIGHTS),
            has_aux=True,
        )(image)
        return targets, *found, gradient

    # Three strips in the first block, two in the second.
    pictures = (picture(32, 36, seed=seed) for seed in (3, 1, 2))
    return run(network, *map(jnp.asarray, pictures))


def dtypes(tree):
    return {leaf.dtype.name for leaf in jax.tree.leaves(tree)}


def cosine(a, b):
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_vgg19_in_bfloat16_is_near_float32():
    _, total, terms, gradient = measured(vgg19("float32"))
    targets, near_total, near_terms, near_gradient = measured(vgg19("bfloat16"))
    # Measured: 0.1 % and 0.998.
    assert abs(near_total / total - 1) < 0.02
    for name, term in terms.style_layers.items():
        assert abs(near_terms.style_layers[name] / term - 1) < 0.02, name
    assert cosine(gradient, near_gradient) > 0.99
    assert dtypes((near_total, near_terms, near_gradient)) == {"float32"}
    assert dtypes((targets.style, targets.style_scale, targets.content_scale)) == {
        "float32"
    }
    assert dtypes(targets.content) == {"bfloat16"}


def test_weights_and_activations_take_half_the_memory():
    single, half = small("float32"), small("bfloat16")
    assert dtypes(half) == {"bfloat16"}
    for wide, narrow in zip(*map(jax.tree.leaves, (single, half)), strict=True):
        assert 2 * narrow.nbytes == wide.nbytes
    old = small("auto").fitted(device("gpu", "7.5"))
    assert dtypes(old) == {"float16"}
    image = jnp.asarray(picture())
    for network, expected in ((single, "float32"), (half, "bfloat16")):
        features = jax.eval_shape(lambda network: network(image), network)
        assert dtypes(features) == {expected}
        assert set(features) == set(network.layer_names)


def test_strips_agree():
    network = small("bfloat16", memory="low", padding="zeros")
    _, total, _, gradient = measured(network.with_memory("fast"))
    _, same_total, same_terms, same_gradient = measured(network)
    # Where strips overlap gradients are added in bfloat16.
    np.testing.assert_allclose(same_total, total, rtol=2e-3)
    assert cosine(gradient, same_gradient) > 0.999
    assert dtypes((same_terms, same_gradient)) == {"float32"}


def test_a_step_keeps_its_state_in_float32():
    network, optimizer = small("bfloat16"), make_optimizer("adam")
    image = jnp.asarray(picture(32, 36))
    targets = jax.eval_shape(
        lambda network: compute_targets(
            network, image, image, content_layers=CONTENT, style_layers=STYLE
        ),
        network,
    )
    state = init_state(jnp.asarray(picture(32, 36, seed=3)), optimizer)
    new, info = jax.eval_shape(
        lambda state, targets: step(
            state, network, targets, WEIGHTS, jnp.float32(0.02), optimizer=optimizer
        ),
        state,
        targets,
    )
    assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
    assert dtypes(info) <= {"float32", "int32", "bool"}


def test_statistics_of_bfloat16_are_summed_in_float32(rng):
    # In bfloat16 a sum of ones ends at 256.
    ones = jnp.ones((40, 50, 3), jnp.bfloat16)
    np.testing.assert_array_equal(gram_matrix(ones), np.ones((3, 3)))
    assert content_loss(ones, 0 * ones) == 1

    features = jnp.asarray(rng.standard_normal((16, 12, 8)), jnp.bfloat16)
    wide = features.astype(jnp.float32)
    assert gram_matrix(features).dtype == jnp.float32
    np.testing.assert_allclose(gram_matrix(features), gram_matrix(wide), rtol=1e-5)
    # 1 + 1/128 is known to bfloat16, its square is not.
    near = jnp.full((4, 4, 1), 1 + 1 / 128, jnp.bfloat16)
    assert content_loss(near, 0 * near) == (1 + 1 / 128) ** 2

    weights = jnp.asarray(rng.standard_normal((8, 8)), jnp.float32)
    loss = lambda x: jnp.sum(weights * gram_matrix(x))  # noqa: E731
    gradient = jax.grad(loss)(features)
    assert gradient.dtype == jnp.bfloat16
    assert cosine(gradient, jax.grad(loss)(wide)) > 0.9999


def test_stylize_in_bfloat16_falls_like_float32(content, style):
    losses = {}
    for precision in ("float32", "bfloat16"):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            result = jaxnst.stylize(
                content,
                style,
                network=small(precision),
                size=48,
                num_steps=12,
                min_size=0,
                learning_rate=0.02,
                progress=False,
            )
        assert ["emulates" in str(each.message) for each in told] == [True] * (
            precision == "bfloat16"
        )
        assert result.image.dtype == np.float32
        assert result.record["settings"]["precision"] == precision
        assert result.record["result"]["precision"] == precision
        losses[precision] = result.history["total"]
    found, expected = losses["bfloat16"], losses["float32"]
    # The first step is the same; the ways part while Adam's first steps are large.
    np.testing.assert_allclose(found[0], expected[0], rtol=0.02)
    assert expected[-1] < 0.7 * expected[0]
    np.testing.assert_allclose(found[-1], expected[-1], rtol=0.15)


def test_a_pretrained_network_is_loaded_as_set(content, style, monkeypatch):
    asked = {}

    def build_it(weights, **options):
        asked.update(options)
        return small(options["precision"], conv=options["conv"])

    monkeypatch.setattr(setup, "load_weights", load_tiny_weights)
    monkeypatch.setattr(setup, "build_network", build_it)
    with pytest.warns(UserWarning, match="'bfloat16', which .* emulates"):
        found = jaxnst.estimate(
            content, style, size=40, min_size=0, precision="bfloat16", conv="xla"
        )
    assert (asked["precision"], asked["conv"]) == ("bfloat16", "xla")
    assert found.sizes[0].memory > 0


def test_options_of_an_own_network_are_its_own(content, style):
    network = small("bfloat16", conv="xla")
    for name, value, own in (
        ("precision", "float32", "bfloat16"),
        ("conv", "auto", "xla"),
    ):
        settings: dict[str, Any] = {name: value}
        with pytest.raises(ValueError, match=f"`{name}` is '{value}', .* has '{own}'"):
            jaxnst.stylize(content, style, network=network, **settings)


def test_bfloat16_is_not_for_winograd():
    message = "^`conv` is 'winograd', which needs `precision` 'float32'"
    for make_fn in (jaxnst.TransferConfig, jaxnst.load_network):
        with pytest.raises(ValueError, match=message) as caught:
            make_fn(conv="winograd", precision="bfloat16")
        assert "\n" not in str(caught.value)
        with pytest.raises(ValueError, match=r"`precision`.*Known: auto, float32"):
            make_fn(precision="half")
        with pytest.raises(ValueError, match=r"`conv`.*Known: auto, xla, winograd"):
            make_fn(conv="fft")
    network = jaxnst.load_network(precision="bfloat16")
    convolutions = [x for x in vars(network).values() if isinstance(x, Convolution)]
    assert len(convolutions) == 16
    assert not any(x.is_winograd for x in convolutions)
    assert "conv='auto', precision='bfloat16'" in repr(network)


def device(platform, capability=None):
    return SimpleNamespace(
        platform=platform, device_kind="one", compute_capability=capability
    )


@pytest.mark.parametrize(
    ("made", "precision", "expected", "is_emulated"),
    [
        (("cpu", 0), "auto", "float32", False),
        (("tpu", 0), "auto", "tf32", False),
        (("gpu", "9.0"), "auto", "tf32", False),
        (("gpu", "8.0"), "bfloat16", "bfloat16", False),
        (("gpu", "7.5"), "auto", "float16", False),
        (("gpu", "7.5"), "bfloat16", "bfloat16", True),
        (("gpu", "7.5"), "tf32", "float32", True),
        (("gpu", "6.1"), "auto", "float32", False),
        (("gpu", "6.1"), "float16", "float16", True),
        (("gpu", "gfx90a"), "auto", "float32", False),
        (("cpu", 0), "float16", "float16", True),
        (("cpu", 0), "tf32", "float32", True),
    ],
)
def test_auto_is_what_the_device_is_good_at(made, precision, expected, is_emulated):
    assert arithmetic_of(precision, device(*made)) == expected
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warn_if_emulated(precision, device(*made))
    assert len(told) == is_emulated
    assert arithmetic_of("auto", device(*made), method="winograd") == "float32"


def test_float16_is_not_for_the_sums_of_the_paper():
    with pytest.raises(ValueError, match="'float16' needs `normalization` 'pair'"):
        jaxnst.TransferConfig(precision="float16", normalization="paper")
    old = device("gpu", "7.5")
    for normalization, expected in (("paper", "float32"), ("pair", "float16")):
        config = jaxnst.TransferConfig(normalization=normalization)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(setup, "default_device", lambda: old)
            fitted: Any = setup._fitted(small("auto"), config)
        assert fitted.arithmetic == fitted.conv1_1.arithmetic == expected


def test_auto_is_float16_only_where_a_loss_has_its_factor(monkeypatch):
    """A network by itself is differentiated without one, and its weights stay whole."""
    old = device("gpu", "7.5")
    monkeypatch.setattr("jaxnst.networks.base.default_device", lambda: old)
    monkeypatch.setattr("jaxnst.networks.convolution.default_device", lambda: old)
    made: Any = small("auto")
    assert made.arithmetic == made.conv1_1.dtype == "float32"
    fitted: Any = made.fitted(old)
    assert fitted.arithmetic == fitted.conv1_1.dtype == "float16"
    assert made.conv1_1.dtype == "float32"
    assert small("float16").arithmetic == "float16"
    rescaled = made.changed(pooling="average", rescale_pooling=True)
    assert rescaled.fitted(old).arithmetic == "float32"


@pytest.mark.parametrize("factor", [1, 1e5])
def test_the_gradient_in_float16_is_that_in_float32(factor):
    """Whatever the weights are: small gradients stay, and large ones are finite."""
    weights = WEIGHTS._replace(
        content=factor * WEIGHTS.content, style=factor * WEIGHTS.style
    )
    image, content, style = (
        jnp.asarray(picture(32, 36, seed=seed)) for seed in (3, 1, 2)
    )
    found = []
    for precision in ("float32", "float16"):
        network = small(precision)
        targets = jax.jit(
            lambda network: compute_targets(
                network, content, style, content_layers=CONTENT, style_layers=STYLE
            )
        )(network)
        loss, _, gradient = compiled_loss_and_gradient(image, network, targets, weights)
        found.append((loss, gradient))
    (loss, gradient), (near_loss, near_gradient) = found
    np.testing.assert_allclose(near_loss, loss, rtol=1e-2)
    assert cosine(gradient, near_gradient) > 0.999


def test_the_fused_relu_is_the_relu(rng):
    x = jnp.asarray(rng.standard_normal((1, 4, 5, 3)), jnp.float32).at[0, 0].set(0)
    found, pull = jax.vjp(rectify_fused, x)
    expected, pull_expected = jax.vjp(jax.nn.relu, x)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(pull(x + 2), pull_expected(x + 2))
