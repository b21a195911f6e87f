"""What ResNet and GoogLeNet share with VGG: options, memory, painting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY_GOOGLENET, TINY_RESNET, build, picture, run

import jaxnst
from jaxnst.networks import (
    GOOGLENET,
    NETWORK_MEMORY_LEVELS,
    RESNET50,
    TENSORFLOW,
    VGG16,
    VGG19,
    GoogLeNet,
    ResNet,
    cut_behind,
    measure_features,
    smooth,
)
from jaxnst.objective import compute_targets


BOTH = pytest.mark.parametrize(
    "architecture", [TINY_RESNET, TINY_GOOGLENET], ids=lambda a: a.name
)


def test_activations_are_named_in_order():
    names = RESNET50.layer_names
    assert names[:4] == ("relu1", "pool1", "layer1.0", "layer1.1")
    assert names[-1] == "layer4.2"
    assert len(names) == 2 + 3 + 4 + 6 + 3
    names = [name for name in GOOGLENET.layer_names if "branch" not in name]
    assert names == [
        "conv1", "pool1", "conv2", "conv3", "pool2", "inception3a", "inception3b",
        "pool3", "inception4a", "inception4b", "inception4c", "inception4d",
        "inception4e", "pool4", "inception5a", "inception5b",
    ]  # fmt: skip
    assert len(GOOGLENET.layer_names) == len(names) + 9 * 4


def test_layers_that_an_architecture_comes_with():
    assert dict(VGG19.content_layers) == {"relu4_2": 1}
    assert list(VGG16.style_layers) == [f"relu{block}_1" for block in range(1, 6)]
    assert dict(RESNET50.content_layers) == {"layer3.5": 1}
    assert list(RESNET50.style_layers) == [
        "relu1", "layer1.2", "layer2.3", "layer3.5", "layer4.2",
    ]  # fmt: skip
    assert dict(GOOGLENET.content_layers) == {"inception3b": 1}
    assert list(GOOGLENET.style_layers) == [
        "conv3", "inception3a", "inception4a", "inception4b", "inception4c",
    ]  # fmt: skip
    for known in (VGG19, VGG16, RESNET50, GOOGLENET):
        assert {*known.content_layers, *known.style_layers} <= {*known.layer_names}


@BOTH
def test_output_is_named_and_in_order(architecture):
    network = build(architecture, padding="zeros")
    features = run(network, picture(64, 48))
    # The dict comes sorted out of `jax.jit`.
    assert set(features) == set(architecture.layer_names)
    width = 3
    for layer in architecture:
        if layer.convolutions:
            widths = [n for _, n in layer.parts] or [layer.convolutions[-1].out_width]
            width = sum(widths)
        assert features[layer.name].shape[-1] == width
        parts = [features[name] for name, _ in layer.parts]
        if parts:
            joined = np.concatenate(parts, axis=-1)
            assert np.array_equal(joined, features[layer.name])
    names = []
    jax.eval_shape(
        lambda n, x: names.extend(n(x)), network, jnp.zeros((32, 32, 3), jnp.float32)
    )
    assert tuple(names) == architecture.layer_names


@pytest.mark.parametrize(
    ("architecture", "layers", "count"),
    [
        (TINY_RESNET, ["relu1"], 1),
        (TINY_RESNET, ["layer1.0", "relu1"], 5),
        (TINY_RESNET, ["layer2.0"], 9),
        (TINY_GOOGLENET, ["pool2"], 3),
        (TINY_GOOGLENET, ["inception3a.branch1", "conv1"], 9),
        (TINY_GOOGLENET, ["inception3b"], 15),
    ],
)
def test_nothing_deeper_than_asked_for_is_computed(architecture, layers, count):
    program = jax.jit(lambda n, x: n(x, layers)).lower(
        build(architecture), jnp.zeros((32, 32, 3))
    )
    assert program.as_text().count("stablehlo.convolution") == count


@BOTH
def test_circular_padding_commutes_with_rolling(architecture):
    network = build(architecture, padding="circular")
    image = np.random.default_rng(0).random((64, 96, 3), np.float32)
    # 32 pixels are one at the deepest layer.
    rolled = run(network, np.roll(image, (32, 64), (0, 1)))
    for name, activation in run(network, image).items():
        stride = 64 // activation.shape[0]
        shift = (32 // stride, 64 // stride)
        expected = np.roll(activation, shift, (0, 1))
        scale = max(np.sqrt(np.mean(expected**2)), 1e-3)  # a branch may be silent
        np.testing.assert_allclose(rolled[name] / scale, expected / scale, atol=1e-4)


@BOTH
def test_reflect_padding_is_the_mirrored_picture(architecture):
    image = picture(32, 40)
    mirrored = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    layers = list(architecture.style_layers)
    found = run(build(architecture, padding="reflect"), image, layers)
    expected = run(build(architecture, padding="zeros"), mirrored, layers)
    for name in layers:
        scale = np.sqrt(np.mean(np.square(expected[name])))
        np.testing.assert_allclose(
            found[name] / scale, expected[name] / scale, atol=1e-4
        )


@BOTH
def test_replicate_padding_sees_no_frame_around_a_flat_picture(architecture):
    first = architecture.layer_names[0]
    flat = np.full((32, 32, 3), 0.9)
    found = run(build(architecture, padding="replicate"), flat, [first])[first]
    assert found.shape == (16, 16, 4)
    assert np.ptp(found, axis=(0, 1)).max() < 1e-4
    framed = run(build(architecture, padding="zeros"), flat, [first])[first]
    assert np.ptp(framed, axis=(0, 1)).max() > 1e-2


def test_winograd_is_for_3_x_3_convolutions_of_stride_1():
    network = build(TINY_RESNET, conv="winograd", padding="zeros")
    assert getattr(network, "layer1.0.conv2").is_winograd
    for name in ("conv1", "layer2.0.conv2", "layer1.0.conv1", "layer1.0.downsample"):
        assert not getattr(network, name).is_winograd
    direct = build(TINY_RESNET, conv="xla", padding="zeros")
    image = picture(48, 40)
    layers = ["layer1.0", "layer3.1"]
    expected = run(direct, image, layers)
    for name, activation in run(network, image, layers).items():
        scale = np.sqrt(np.mean(np.square(expected[name])))
        np.testing.assert_allclose(
            activation / scale, expected[name] / scale, atol=1e-4
        )


def test_bfloat16_has_two_digits():
    image, layer = picture(32, 40), "layer1.0"
    expected = run(build(TINY_RESNET), image, [layer])[layer]
    network = build(TINY_RESNET, precision="bfloat16")
    shape = jax.eval_shape(lambda n: n(jnp.asarray(image), [layer])[layer], network)
    assert shape.dtype == jnp.bfloat16
    error = run(network, image, [layer])[layer] - expected
    assert 0 < np.linalg.norm(error) < 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("architecture", "smoothing", "level"),
    [(TINY_RESNET, "softmax", "low"), (TINY_GOOGLENET, "log", "balanced")],
)
def test_memory_levels_agree(architecture, smoothing, level):
    network = build(architecture, smoothing=smoothing, pooling="average")
    layers = [architecture.layer_names[1], *list(architecture.style_layers)[:3]]
    measure_fn = jax.tree_util.Partial(lambda x, rows: jnp.mean(x[..., :2] ** 2))
    measures = {name: {"square": measure_fn} for name in layers}

    def total(image, network):
        found = measure_features(network, image, measures)
        terms = {name: found[name]["square"] for name in layers}
        return sum(jnp.log(term) for term in terms.values()), terms

    program = jax.jit(jax.grad(total, has_aux=True))
    image = jnp.asarray(picture(33, 46))
    gradient, terms = program(image, network)
    found, found_terms = program(image, network.with_memory(level))
    for name in layers:
        np.testing.assert_allclose(found_terms[name], terms[name], rtol=1e-4)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(found / scale, gradient / scale, atol=1e-4)


def test_less_memory_is_kept_at_every_level():
    """By XLA's own account."""
    network = build(TINY_RESNET, padding="zeros")
    measure_fn = jax.tree_util.Partial(lambda x, rows: jnp.mean(x**2))
    layers = list(TINY_RESNET.style_layers)[:3]
    measures = {name: {"square": measure_fn} for name in layers}

    def total(image, network):
        found = measure_features(network, image, measures)
        return sum(term["square"] for term in found.values())

    program = jax.jit(jax.grad(total))
    image = jax.ShapeDtypeStruct((256, 256, 3), jnp.float32)
    found = [
        program.lower(image, network.with_memory(level)).compile().memory_analysis()
        for level in NETWORK_MEMORY_LEVELS
    ]
    needed = [stats.temp_size_in_bytes for stats in found if stats is not None]
    assert needed[1] < 0.9 * needed[0]
    assert needed[2] <= needed[1]


def test_softmax_is_over_the_whole_layer(rng):
    features = rng.standard_normal((5, 6, 7)).astype(np.float32) * 2
    powers = np.exp(features.astype(np.float64))
    expected = powers / powers.mean() - 1
    found = smooth(jnp.asarray(features), "softmax")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # A constant added changes nothing, and nothing overflows.
    np.testing.assert_allclose(
        smooth(jnp.asarray(features + 1000), "softmax"), expected, rtol=2e-2, atol=1e-3
    )


def test_log_takes_large_values_back_and_leaves_small_ones():
    values = jnp.asarray([0.0, 1e-3, 1.0, 50.0]).reshape(2, 2, 1)
    found = smooth(values, "log").ravel()
    np.testing.assert_allclose(found, np.log1p([0, 1e-3, 1, 50]), rtol=1e-5)
    assert smooth(values, "none") is values
    for smoothing in ("log", "softmax"):
        assert smooth(values.astype("bfloat16"), smoothing).dtype == jnp.bfloat16


def test_smoothing_is_of_what_comes_out_only():
    image, layers = picture(40, 32), ["relu1", "layer2.0"]
    plain = run(build(TINY_RESNET), image, layers)
    smoothed = run(build(TINY_RESNET, smoothing="log"), image, layers)
    for name, activation in plain.items():
        np.testing.assert_allclose(
            smoothed[name], np.log1p(activation), rtol=1e-3, atol=1e-4
        )


def test_unknown_options_are_named():
    with pytest.raises(ValueError, match=r"`smoothing` is 'softmx'. Did you mean"):
        build(TINY_RESNET, smoothing="softmx")
    with pytest.raises(ValueError, match=r"`smoothing` is 'softmax', which vgg16 can"):
        build(VGG16, smoothing="softmax")
    with pytest.raises(ValueError, match="`rescale_pooling` is for VGGs, and this is"):
        build(TINY_GOOGLENET, rescale_pooling=True)
    with pytest.raises(ValueError, match=r"'layer5.0'. Did you mean 'layer4.0'"):
        build(TINY_RESNET)(jnp.zeros((32, 32, 3)), ["layer5.0"])
    with pytest.raises(ValueError, match="too small for pool1: only 1 x 1"):
        build(TINY_GOOGLENET, padding="zeros")(jnp.zeros((2, 2, 3)))


def test_googlenet_sees_values_from_minus_one_to_one():
    """What torchvision's `transform_input` makes of its own preprocessing."""
    image = jnp.asarray(picture(4, 4))
    mean = np.asarray([0.485, 0.456, 0.406], np.float32)
    std = np.asarray([0.229, 0.224, 0.225], np.float32)
    normalized = (np.asarray(image) - mean) / std
    transformed = normalized * (std / 0.5) + (mean - 0.5) / 0.5
    np.testing.assert_allclose(TENSORFLOW(image), transformed, atol=1e-5)


def test_texts_of_networks_are_short():
    resnet = build(TINY_RESNET, smoothing="softmax")
    assert repr(resnet) == (
        "ResNet(tiny_resnet, pooling='max', padding='reflect', conv='auto', "
        "precision='auto', smoothing='softmax')"
    )
    assert isinstance(resnet, ResNet)
    assert isinstance(build(TINY_GOOGLENET), GoogLeNet)


# Painting.

FEW = {"size": 64, "min_size": 0, "num_steps": 16, "progress": False}
# Networks of so few channels, their weights random, want gentler steps.
FEW |= {"learning_rate": 0.01}


def test_paints_with_a_network_of_the_user(content, style):
    architecture = TINY_RESNET
    network = build(architecture, smoothing="log")
    result = jaxnst.stylize(content, style, network=network, **FEW)
    history = result.history
    assert history["total"][-1] < 0.8 * history["total"][0]
    assert history["style"][-1] < 0.8 * history["style"][0]
    settings = result.record["settings"]
    assert settings["network"] == "custom"
    assert settings["smoothing"] == "log"
    assert settings["content_layers"] == dict(architecture.content_layers)
    assert settings["style_layers"] == dict(architecture.style_layers)
    names = {f"style/{name}" for name in architecture.style_layers}
    assert names <= set(history)


def test_layers_and_options_of_an_own_network_are_checked(content, style):
    network = build(TINY_RESNET)
    with pytest.raises(ValueError, match=r"'layer3.7'. Did you mean 'layer3"):
        jaxnst.stylize(content, style, network=network, style_layers=["layer3.7"])
    with pytest.raises(ValueError, match="`smoothing` is 'softmax', but the network"):
        jaxnst.stylize(content, style, network=network, smoothing="softmax")
    with pytest.raises(ValueError, match="`normalize_activations` is for VGGs"):
        jaxnst.stylize(content, style, network=network, normalize_activations=True)


def test_part_of_a_layer_can_be_a_target():
    network = build(TINY_GOOGLENET).with_memory("low")
    image = jnp.asarray(picture(40, 40))
    targets = jax.eval_shape(
        lambda *args: compute_targets(
            *args,
            content_layers=["inception3a.branch2"],
            style_layers=["inception3b.branch4"],
        ),
        network,
        image,
        image,
    )
    assert targets.content["inception3a.branch2"].shape[-1] == 3
    assert targets.style["inception3b.branch4"]["gram"][0].shape == (3, 3)


def test_what_is_behind_the_layers_wanted_is_cut_off(tiny_network):
    layers = ["relu1_1", "relu2_1"]
    image = jnp.asarray(picture())
    cut = cut_behind(tiny_network, layers)
    whole = run(tiny_network, image, layers)
    for name, found in run(cut, image, layers).items():
        np.testing.assert_array_equal(found, whole[name])
    assert len(jax.tree.leaves(cut)) < len(jax.tree.leaves(tiny_network))
    features = jax.eval_shape(lambda network: network(image), tiny_network)
    assert features.keys() > whole.keys()  # it has all its layers still
    again = cut_behind(cut, ["relu1_1"])
    assert list(run(again, image, ["relu1_1"])) == ["relu1_1"]
    cut = cut_behind(build(TINY_RESNET), ["layer2.0"])
    assert hasattr(cut, "layer2.0.downsample")
    assert not hasattr(cut, "layer3.0.conv1")
