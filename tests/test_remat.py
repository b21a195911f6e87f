"""Every memory level must give what "fast" gives: same losses, same gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import build, picture

from jaxnst.networks import (
    CAFFE,
    NETWORK_MEMORY_LEVELS,
    Network,
    VGGArchitecture,
    measure_features,
)
from jaxnst.objective import compute_targets, make_loss_weights, perceptual_loss


STYLE = ("relu1_1", "pool1", "relu3_1")
# One in a block that is kept, and one in a block that is cut into strips.
CONTENT = ("relu4_1", "conv1_2")
# As few layers as show every case: each strip is compiled by itself.
SMALL = VGGArchitecture(name="small", depths=(2, 1, 1, 1, 1), widths=(4, 4, 8, 8, 8))


def network_with(**options) -> Network:
    return build(SMALL, preprocessing=CAFFE, **options)


def pair(network, *, style, shape):
    """Return the arguments of the loss at one picture."""
    content_image, style_image, image = (
        jnp.asarray(picture(*shape, seed=seed)) for seed in (1, 2, 3)
    )
    targets = compiled_targets(
        network,
        content_image,
        style_image,
        content_layers=CONTENT,
        style_layers=style,
    )
    weights = make_loss_weights(
        content=0.5,
        style=1.0,
        tv=0.1,
        content_layers=dict.fromkeys(CONTENT, 1.0),
        style_layers=dict.fromkeys(style, 1.0),
    )
    return image, targets, weights


compiled_targets = jax.jit(
    compute_targets, static_argnames=("content_layers", "style_layers")
)
value_and_grad = jax.jit(jax.value_and_grad(perceptual_loss, has_aux=True))


def losses(network, memory, image, targets, weights):
    """Return total, terms and gradient, compiled."""
    (total, terms), gradient = value_and_grad(
        image, network.with_memory(memory), targets, weights
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


@pytest.mark.parametrize("padding", ["replicate", "circular", "circular_x"])
def test_levels_agree_at_every_padding(padding):
    network = network_with(padding=padding)
    arguments = pair(network, style=STYLE, shape=(24, 20))
    assert_same(losses(network, "low", *arguments), losses(network, "fast", *arguments))


def test_levels_agree_at_odd_sizes():
    """Blocks of strips, and blocks that are computed again as a whole."""
    network = network_with(padding="zeros", pooling="average")
    arguments = pair(network, style=("relu1_2", "pool2", "conv5_1"), shape=(35, 21))
    expected = losses(network, "fast", *arguments)
    for memory in ("balanced", "low"):
        assert_same(losses(network, memory, *arguments), expected)


def test_less_is_kept_at_every_level():
    """By XLA's own account of the compiled gradient."""
    network = network_with(padding="zeros")
    arguments = jax.eval_shape(lambda n: pair(n, style=STYLE, shape=(96, 96)), network)
    image, *others = arguments
    found = [
        value_and_grad.lower(image, network.with_memory(memory), *others)
        .compile()
        .memory_analysis()
        for memory in NETWORK_MEMORY_LEVELS
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
