"""Every memory level must give what "fast" gives: same losses, same gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import build, picture

from jaxnst.networks import (
    CAFFE,
    MEMORY_LEVELS,
    Network,
    VGGArchitecture,
    measure_features,
)
from jaxnst.objective import compute_targets, make_loss_weights, perceptual_loss
from jaxnst.optimize import compiled_step, init_state, make_optimizer


STYLE = ["relu1_1", "pool1", "relu3_1", "relu4_1"]
# One in a block that is kept, and one in a block that is cut into strips.
CONTENT = ["relu4_1", "conv1_2"]
# As few layers as show every case: each strip is compiled by itself.
SMALL = VGGArchitecture(name="small", depths=(2, 1, 1, 1, 1), widths=(4, 4, 8, 8, 8))


def network_with(**options) -> Network:
    return build(SMALL, preprocessing=CAFFE, **options)


def losses(network, memory, *, style=STYLE, content=CONTENT, shape=(38, 34)):
    """Return total, terms and gradient at one picture, compiled."""
    targets = jax.jit(
        lambda network, content_image, style_image: compute_targets(
            network,
            content_image,
            style_image,
            content_layers=content,
            style_layers=style,
        )
    )(network, jnp.asarray(picture(*shape, seed=1)), jnp.asarray(picture(seed=2)))
    weights = make_loss_weights(
        content=0.5,
        style=1.0,
        tv=0.1,
        content_layers=dict.fromkeys(content, 1.0),
        style_layers=dict.fromkeys(style, 1.0),
    )

    @jax.jit
    def run(image, network, targets):
        return jax.value_and_grad(
            lambda image: perceptual_loss(image, network, targets, weights),
            has_aux=True,
        )(image)

    (total, terms), gradient = run(
        jnp.asarray(picture(*shape, seed=3)), network.with_memory(memory), targets
    )
    return total, terms, np.asarray(gradient)


def assert_same(found, expected):
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7),
        found[1],
        expected[1],
    )
    scale = np.abs(expected[2]).max()
    np.testing.assert_allclose(found[2] / scale, expected[2] / scale, atol=2e-5)


@pytest.mark.parametrize("padding", ["reflect", "replicate", "circular", "circular_x"])
def test_levels_agree_at_every_padding(padding):
    network = network_with(padding=padding)
    assert_same(losses(network, "low"), losses(network, "fast"))


@pytest.mark.parametrize(
    ("shape", "style"),
    [((67, 33), ["pool2", "relu3_1"]), ((33, 35), ["relu1_2", "conv5_1"])],
)
def test_levels_agree_at_odd_sizes_and_other_layers(shape, style):
    network = network_with(padding="zeros", pooling="average")
    expected = losses(network, "fast", style=style, shape=shape)
    for memory in ("balanced", "low"):
        found = losses(network, memory, style=style, shape=shape)
        assert_same(found, expected)


def test_less_is_kept_at_every_level():
    """By XLA's own account of the compiled step."""
    network = network_with(padding="zeros")
    image = jax.ShapeDtypeStruct((128, 128, 3), jnp.float32)
    optimizer = make_optimizer("adam")

    def run(image, network):
        targets = compute_targets(
            network, image, image, content_layers=["relu4_1"], style_layers=STYLE
        )
        return init_state(image, optimizer), targets

    state, targets = jax.eval_shape(run, image, network)
    weights = make_loss_weights(
        content=1.0,
        style=1.0,
        tv=0.0,
        content_layers={"relu4_1": 1.0},
        style_layers=dict.fromkeys(STYLE, 1.0),
    )
    found = [
        compiled_step.lower(
            state,
            network.with_memory(memory),
            targets,
            weights,
            jax.ShapeDtypeStruct((), jnp.float32),
            optimizer=optimizer,
        )
        .compile()
        .memory_analysis()
        for memory in MEMORY_LEVELS
    ]
    needed = [stats.temp_size_in_bytes for stats in found if stats is not None]
    assert needed[2] < needed[1] < 0.85 * needed[0]


def test_means_of_strips_are_the_mean_of_the_whole():
    network = network_with(padding="zeros")
    image = jnp.asarray(picture(45, 33))
    mean_fn = jax.tree_util.Partial(lambda x, rows: jnp.mean(x, axis=(0, 1)))
    names = ["relu1_1", "pool1", "relu3_1"]
    features = jax.jit(lambda network, image: network(image, names))(network, image)
    measures = {name: {"mean": mean_fn} for name in names}
    found = jax.jit(measure_features)(network.with_memory("low"), image, measures)
    for name, x in features.items():
        expected = np.asarray(x, np.float64).mean(axis=(0, 1))
        np.testing.assert_allclose(found[name]["mean"], expected, rtol=1e-4, atol=1e-4)


def test_unknown_level_is_named(tiny_network):
    with pytest.raises(ValueError, match=r"`memory` is 'lwo'. Did you mean 'low'"):
        tiny_network.with_memory("lwo")


def test_another_level_is_another_network_with_the_same_weights(tiny_network):
    low = tiny_network.with_memory("low")
    assert (low.memory, tiny_network.memory) == ("low", "fast")
    assert low.conv1_1.kernel[...] is tiny_network.conv1_1.kernel[...]
