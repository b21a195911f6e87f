"""Gatys' normalized VGG: the same network, every filter equally loud."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import (
    TINY_RESNET,
    build,
    forget_programs,
    num_programs,
    picture,
    run,
)
from flax import nnx

import jaxnst
from jaxnst.networks import (
    CAFFE,
    Convolution,
    VGGArchitecture,
    filter_means,
    normalize_activations,
)


SMALL = VGGArchitecture(name="small", depths=(2, 1, 2), widths=(4, 6, 8))
# Of one size: nothing compiles twice.
IMAGES = [jnp.asarray(picture(40, 48, seed=seed)) for seed in (1, 2)]


def small(**options):
    return build(SMALL, preprocessing=CAFFE, seed=3, **options)


def weights_of(network, name) -> Convolution:
    return getattr(network, name)


def relus(network):
    return [name for name in network.layer_names if name.startswith("relu")]


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "max", "conv": "xla"},
        {"pooling": "average", "conv": "winograd", "padding": "zeros"},
        {"rescale_pooling": True, "pooling": "average", "padding": "circular"},
    ],
)
def test_every_feature_map_is_divided_by_its_mean(options):
    network = small(**options)
    means = filter_means(network, IMAGES)
    normalized = normalize_activations(network, IMAGES)
    image = picture(40, 48, seed=7)  # not one of them
    original = run(network, image, relus(network))
    for name, found in run(normalized, image, relus(network)).items():
        expected = np.asarray(original[name], np.float64) / means[name]
        # Winograd's rounding is of the size of the largest values of a layer.
        scale = np.abs(expected).max(axis=(0, 1), keepdims=True) + 1e-6
        np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4)


def test_mean_activations_are_one():
    network = normalize_activations(small(), IMAGES)
    found = [run(network, image, relus(network)) for image in IMAGES]
    for name in relus(network):
        mean = np.mean([x[name].mean(axis=(0, 1)) for x in found], axis=0)
        spoken = mean > 0.5  # others hardly speak, and are not made loud
        assert spoken.sum() >= len(spoken) / 2
        np.testing.assert_allclose(mean[spoken], 1, rtol=1e-4)


def test_a_filter_that_is_silent_stays_so():
    network = small()
    first = weights_of(network, "conv1_1")
    bias = np.asarray(first.bias[...]).copy()
    bias[2] = -1e6
    first.bias = nnx.Param(jnp.asarray(bias))
    means = filter_means(network, IMAGES)["relu1_1"]
    assert means.min() == means[2] == pytest.approx(1e-3 * means.mean(), rel=1e-2)
    normalized = normalize_activations(network, IMAGES)
    assert not run(normalized, IMAGES[0], ["relu1_1"])["relu1_1"][..., 2].any()


def test_the_network_given_stays_as_it_is():
    network = small()
    before = np.asarray(weights_of(network, "conv2_1").kernel[...]).copy()
    normalized = normalize_activations(network.with_memory("low"), IMAGES)
    assert np.array_equal(weights_of(network, "conv2_1").kernel[...], before)
    assert not np.array_equal(weights_of(normalized, "conv2_1").kernel[...], before)
    assert normalized.memory == "low"


def test_halves_stay_halves():
    network = normalize_activations(small(precision="bfloat16"), IMAGES)
    assert weights_of(network, "conv3_2").kernel[...].dtype == jnp.bfloat16
    found = run(network, IMAGES[0], ["relu3_2"])["relu3_2"]
    assert 0.2 < found.mean() < 5


def test_only_what_can_be_normalized_is():
    resnet = build(TINY_RESNET)
    with pytest.raises(ValueError, match="is for VGGs, and this is tiny_resnet"):
        normalize_activations(resnet, IMAGES)
    with pytest.raises(ValueError, match="at least one picture"):
        normalize_activations(small(), [])


def test_painting_with_it_compiles_nothing_more(tiny_network, content, style):
    settings = {"size": 48, "min_size": 0, "num_steps": 2, "learning_rate": 0.01}
    settings["progress"] = False
    forget_programs()
    plain = jaxnst.stylize(content, style, network=tiny_network, **settings)
    assert num_programs() == 1
    result = jaxnst.stylize(
        content, style, network=tiny_network, normalize_activations=True, **settings
    )
    assert num_programs() == 1
    assert result.record["settings"]["normalize_activations"] is True
    assert plain.record["settings"]["normalize_activations"] is False
    assert np.abs(result.image - plain.image).max() > 1e-3
