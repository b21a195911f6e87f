"""VGG against torch (float64), and what its options mean."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY, build, run

from jaxnst.networks import CAFFE, TORCHVISION, VGG16, VGG19
from jaxnst.pretrained import load_network
from jaxnst.pretrained.loading import set_weights


REFERENCES = np.load(Path(__file__).parent / "references" / "vgg_references.npz")
# float32 against float64 through sixteen convolutions.
TOLERANCE = 1e-4


def he_weights(seed=0):
    """The weights of `references/make_vgg_references.py`, in the same order."""
    generator = np.random.default_rng(seed)
    layers = {}
    for conv in VGG16.convolutions:
        kernel = generator.standard_normal(conv.kernel_shape, np.float32)
        kernel *= np.float32((2 / (9 * conv.in_width)) ** 0.5)
        bias = generator.standard_normal(conv.out_width, np.float32) * np.float32(0.1)
        layers[conv.name] = {"kernel": kernel, "bias": bias}
    return layers


def network_of(case):
    if case == "vgg16_torchvision":
        network = build(VGG16, padding="zeros")
        set_weights(network, he_weights())
        return network
    pooling, padding = case.split("_")
    return load_network(
        "vgg19",
        pooling="max" if pooling == "max" else "average",
        rescale_pooling=pooling == "rescaled",
        padding=padding,
    )


@pytest.mark.parametrize(
    "case",
    [
        "max_zeros",
        "average_zeros",
        "max_replicate",
        "rescaled_circular",
        "vgg16_torchvision",
    ],
)
def test_activations_and_gradient_are_those_of_torch(case):
    network = network_of(case)
    image = jnp.asarray(REFERENCES[f"{case}/image"], jnp.float32) / 255
    convolutions = [name for name in network.layer_names if name.startswith("conv")]

    def total(image, network):
        features = network(image, convolutions)
        means = {name: jnp.mean(jnp.square(x)) for name, x in features.items()}
        loss = sum(mean / jax.lax.stop_gradient(mean) for mean in means.values())
        return loss, features

    gradient, features = jax.jit(jax.grad(total, has_aux=True))(image, network)
    assert list(features) == convolutions
    for name in convolutions:
        reference = f"{case}/{name}"
        found = np.asarray(features[name])
        assert found.shape == tuple(REFERENCES[f"{reference}/shape"])
        picked = found.ravel()[REFERENCES[f"{reference}/picked"]]
        scale = REFERENCES[f"{reference}/rms"]
        error = np.abs(picked - REFERENCES[f"{reference}/values"]).max() / scale
        assert error < TOLERANCE, name
        assert np.sqrt(np.mean(found**2)) == pytest.approx(scale, rel=TOLERANCE)
    expected = REFERENCES[f"{case}/gradient"]
    # A max pooling whose two largest inputs are nearly equal may choose the other one
    # in float32, so a pixel here and there may differ: bound the norm, not the maximum.
    error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
    assert error < TOLERANCE


def test_layers_come_named_and_in_order(tiny_network):
    names = []

    def apply(network):
        features = network(jnp.zeros((32, 48, 3)))
        names.extend(features)  # `jax.eval_shape` sorts them
        return features

    features = jax.eval_shape(apply, tiny_network)
    assert tuple(names) == tiny_network.layer_names
    assert names[:5] == ["conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"]
    assert features["relu3_2"].shape == (8, 12, 16)
    assert features["pool5"].shape == (1, 1, 32)
    assert len(VGG16.layer_names) == 13 * 2 + 5
    assert len(VGG19.layer_names) == 16 * 2 + 5


def test_relu_is_the_positive_part_of_conv(tiny_network, content):
    features = run(tiny_network, content, ["conv2_1", "relu2_1"])
    assert features["conv2_1"].min() < 0
    assert np.array_equal(features["relu2_1"], np.maximum(features["conv2_1"], 0))


@pytest.mark.parametrize(
    ("deepest", "count"),
    [("relu1_1", 1), ("pool1", 2), ("conv4_2", 8), ("relu5_1", 9)],
)
def test_nothing_deeper_than_asked_for_is_computed(tiny_network, deepest, count):
    layers = ["relu1_1", deepest]
    program = jax.jit(lambda n, x: n(x, layers)).lower(
        tiny_network, jnp.zeros((32, 32, 3))
    )
    assert program.as_text().count("stablehlo.convolution") == count


def test_average_pooling_and_its_rescaling():
    def network(**options):
        return build(TINY, preprocessing=CAFFE, padding="zeros", **options)

    image = np.random.default_rng(0).random((34, 35, 3), np.float32)
    plain = run(network(pooling="average"), image, ["relu1_2", "pool1"])
    blocks = plain["relu1_2"][:34, :34].reshape(17, 2, 17, 2, 4)
    np.testing.assert_allclose(
        plain["pool1"], blocks.mean((1, 3)), rtol=1e-5, atol=1e-4
    )
    other = network(pooling="average", rescale_pooling=True)
    rescaled = run(other, image, ["pool1"])
    np.testing.assert_allclose(rescaled["pool1"], plain["pool1"] * 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("padding", "shift", "crop"),
    [
        ("circular", (8, 16), (slice(None), slice(None))),
        ("circular_x", (0, 16), (slice(2, -2), slice(None))),
        ("circular_y", (8, 0), (slice(None), slice(2, -2))),
    ],
)
def test_circular_padding_commutes_with_rolling(padding, shift, crop):
    network = build(TINY, preprocessing=CAFFE, padding=padding)
    image = np.random.default_rng(0).random((32, 48, 3), np.float32)
    rolled = run(network, np.roll(image, shift, (0, 1)), ["conv3_1"])["conv3_1"]
    found = run(network, image, ["conv3_1"])["conv3_1"]
    # The mirrored margin, where there is one, is 2 places of this layer.
    assert found[crop].shape[:2] == (8, 12)
    expected = np.roll(found, (shift[0] // 4, shift[1] // 4), (0, 1))
    np.testing.assert_allclose(rolled, expected, rtol=1e-4, atol=2e-3)
    other = network.changed(padding="reflect")
    ends = run(other, np.roll(image, shift, (0, 1)), ["conv3_1"])["conv3_1"]
    moved = np.roll(run(other, image, ["conv3_1"])["conv3_1"], (2, 4), (0, 1))
    assert not np.allclose(ends, moved, atol=2e-3)


def test_reflect_padding_is_the_mirrored_picture():
    image = np.random.default_rng(0).random((32, 40, 3), np.float32)
    mirrored = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    network = build(TINY, preprocessing=CAFFE)
    found = run(network, image, ["relu3_1"])["relu3_1"]
    expected = run(network.changed(padding="zeros"), mirrored, ["relu3_1"])["relu3_1"]
    assert found.shape == (12, 14, 16)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_replicate_padding_sees_no_frame_around_a_flat_picture():
    flat = np.full((32, 32, 3), 0.9)
    network = build(TINY, preprocessing=CAFFE, padding="replicate")
    first = run(network, flat, ["conv1_1"])["conv1_1"]
    assert np.ptp(first, axis=(0, 1)).max() < 1e-3
    framed = run(network.changed(padding="zeros"), flat, ["conv1_1"])["conv1_1"]
    assert np.ptp(framed, axis=(0, 1)).max() > 10


def test_preprocessing_conventions():
    gray = jnp.full((1, 1, 3), 0.5) + jnp.asarray([0.1, 0.0, -0.1]).reshape(1, 1, 3)
    caffe = [0.4 * 255 - 103.939, 0.5 * 255 - 116.779, 0.6 * 255 - 123.68]
    np.testing.assert_allclose(CAFFE(gray)[0, 0], caffe, rtol=1e-5)
    torchvision = [(0.6 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.4 - 0.406) / 0.225]
    np.testing.assert_allclose(TORCHVISION(gray)[0, 0], torchvision, rtol=1e-4)


def test_module_is_a_pytree_argument_traced_once(tiny_network):
    traces = []

    @jax.jit
    def run(network, image):
        traces.append(1)
        return network(image, ["relu2_1"])["relu2_1"]

    image = jnp.ones((32, 32, 3))
    options = {"preprocessing": CAFFE, "padding": "replicate"}
    other = build(tiny_network.architecture, seed=2, **options)
    assert not jnp.allclose(run(tiny_network, image), run(other, image))
    assert len(traces) == 1
    batch = jax.vmap(run, in_axes=(None, 0))(
        tiny_network, jnp.stack([image, image * 0])
    )
    np.testing.assert_allclose(batch[0], run(tiny_network, image), rtol=1e-5, atol=1e-5)


def test_unknown_options_and_layers_are_named(tiny_network):
    with pytest.raises(ValueError, match=r"`pooling` is 'avg'.*Known: max, average"):
        load_network("vgg19", pooling="avg")
    with pytest.raises(ValueError, match=r"`padding` is 'same'"):
        load_network("vgg19", padding="same")
    with pytest.raises(ValueError, match=r"'relu1_11'. Did you mean 'relu1_1'"):
        tiny_network(jnp.zeros((32, 32, 3)), ["relu1_11"])
    small = jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match="too small for pool4: only 1 x 1"):
        jax.eval_shape(lambda network: network(small, ["relu5_1"]), tiny_network)
