"""Names and orders of others: recognized, converted, and refused with all reasons."""

import ml_dtypes
import numpy as np
import pytest
from references.random_weights import random_tensors

from jaxnst.networks import (
    GOOGLENET,
    RESNET50,
    VGG16,
    VGG19,
    GoogLeNetArchitecture,
    Inception,
    ResNetArchitecture,
    VGGArchitecture,
)
from jaxnst.pretrained.layouts import (
    ARCHITECTURES,
    LAYOUTS,
    convert,
    expected_shapes,
    recognize,
)


HEADS = {
    "vgg19": {"classifier.0.bias": (4096,), "pre_logits.fc1.weight": (4096, 512, 7, 7)},
    "vgg16": {"classifier.6.weight": (1000, 4096), "classifier.6.bias": (1000,)},
    "resnet50": {"fc.weight": (1000, 2048), "bn1.num_batches_tracked": ()},
    "googlenet": {
        "fc.weight": (1000, 1024),
        "aux1.conv.conv.weight": (128, 512, 1, 1),
        "inception3a.branch1.bn.num_batches_tracked": (),
    },
}
SMALL_VGG = VGGArchitecture(name="small", depths=(1, 2), widths=(4, 6))
SMALL_RESNET = ResNetArchitecture(name="small", depths=(1, 1), widths=(2, 3))
SMALL_GOOGLENET = GoogLeNetArchitecture(
    name="small", stem=(2, 3, 4), modules=(Inception("3a", 2, 1, 3, 1, 2, 2),)
)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
@pytest.mark.parametrize("with_head", [True, False])
def test_every_network_is_recognized(architecture, with_head):
    for layout in LAYOUTS:
        is_vgg = isinstance(architecture, VGGArchitecture)
        if not is_vgg and layout not in ("torchvision", "flax"):
            continue
        shapes = dict(expected_shapes(architecture, layout))
        if layout == "torchvision" and with_head:
            shapes |= HEADS[architecture.name]
        # Order is no one's promise.
        found = recognize(dict(sorted(shapes.items())))
        assert found == (architecture, layout)


def keys_of(architecture, layout):
    return tuple(expected_shapes(architecture, layout))


def test_needed_tensors_are_those_of_the_convolutions():
    vgg19 = keys_of(VGG19, "torchvision")
    indices = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert vgg19 == tuple(
        f"features.{index}.{kind}" for index in indices for kind in ("weight", "bias")
    )
    vgg16 = {int(key.split(".")[1]) for key in keys_of(VGG16, "torchvision")}
    assert vgg16 == {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}
    applications = keys_of(VGG19, "keras.applications")
    assert applications[:2] == ("block1_conv1/kernel", "block1_conv1/bias")
    assert applications[-1] == "block5_conv4/bias"
    assert keys_of(RESNET50, "flax")[-1] == "layer4.2.conv3.bias"
    # 53 and 57 convolutions, each with a batch norm of four tensors.
    assert len(keys_of(RESNET50, "torchvision")) == 53 * 5
    assert len(keys_of(GOOGLENET, "torchvision")) == 57 * 5
    for name in ("layer2.0.downsample.1.running_var", "layer3.5.bn2.weight"):
        assert name in keys_of(RESNET50, "torchvision")
    for name in ("inception4e.branch4.1.bn.bias", "inception3a.branch3.1.conv.weight"):
        assert name in keys_of(GOOGLENET, "torchvision")


def test_sizes_are_those_of_torchvision_less_the_heads():
    def count(architecture):
        shapes = expected_shapes(architecture, "torchvision")
        return sum(
            int(np.prod(shape))
            for key, shape in shapes.items()
            if "running" not in key  # torchvision counts no buffers
        )

    assert count(VGG19) == 20_024_384
    assert count(VGG16) == 14_714_688
    assert count(RESNET50) == 25_557_032 - 2048 * 1000 - 1000
    assert count(GOOGLENET) == 6_624_904 - 1024 * 1000 - 1000


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_vgg_says_the_same(layout, rng):
    own = {
        key: rng.standard_normal(shape).astype(np.float32)
        for key, shape in expected_shapes(SMALL_VGG, "flax").items()
    }
    keys = zip(keys_of(SMALL_VGG, layout), own, strict=True)
    tensors = {key: own[ours] for key, ours in keys}
    if layout == "torchvision":
        tensors = {
            key: x.transpose(3, 2, 0, 1) if x.ndim == 4 else x
            for key, x in tensors.items()
        }
    layers = convert(SMALL_VGG, layout, tensors)
    assert list(layers) == ["conv1_1", "conv2_1", "conv2_2"]
    for name, arrays in layers.items():
        for kind in ("kernel", "bias"):
            np.testing.assert_array_equal(arrays[kind], own[f"{name}.{kind}"])
            assert arrays[kind].dtype == np.float32


@pytest.mark.parametrize("architecture", [SMALL_RESNET, SMALL_GOOGLENET])
def test_batch_norm_is_folded(architecture, rng):
    """A pixel through convolution and batch norm, worked out here."""
    tensors = random_tensors(expected_shapes(architecture, "torchvision"))
    layers = convert(architecture, "torchvision", tensors)
    is_resnet = architecture is SMALL_RESNET
    names = {
        "conv1": ("conv1", "bn1") if is_resnet else ("conv1.conv", "conv1.bn"),
        **(
            {
                "layer2.0.conv2": ("layer2.0.conv2", "layer2.0.bn2"),
                "layer2.0.downsample": (
                    "layer2.0.downsample.0",
                    "layer2.0.downsample.1",
                ),
            }
            if is_resnet
            else {
                "inception3a.branch3.1": (
                    "inception3a.branch3.1.conv",
                    "inception3a.branch3.1.bn",
                ),
                "inception3a.branch4": (
                    "inception3a.branch4.1.conv",
                    "inception3a.branch4.1.bn",
                ),
            }
        ),
    }
    for ours, (conv, norm) in names.items():
        weight = tensors[f"{conv}.weight"].astype(np.float64)
        patch = rng.standard_normal(weight.shape[1:])  # IHW
        mean, variance = tensors[f"{norm}.running_mean"], tensors[f"{norm}.running_var"]
        deviation = np.sqrt(variance + (1e-5 if is_resnet else 1e-3))
        normalized = (np.einsum("oihw,ihw->o", weight, patch) - mean) / deviation
        expected = normalized * tensors[f"{norm}.weight"] + tensors[f"{norm}.bias"]
        kernel, bias = layers[ours]["kernel"], layers[ours]["bias"]
        found = np.einsum("hwio,ihw->o", kernel, patch) + bias
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_halves_are_taken(rng):
    own = {
        key: rng.standard_normal(shape).astype(ml_dtypes.bfloat16)
        for key, shape in expected_shapes(SMALL_VGG, "flax").items()
    }
    layers = convert(SMALL_VGG, "flax", own)
    np.testing.assert_array_equal(
        layers["conv2_2"]["bias"], own["conv2_2.bias"].astype(np.float32)
    )


def test_all_problems_are_named_together():
    tensors = random_tensors(expected_shapes(SMALL_RESNET, "torchvision"))
    del tensors["layer1.0.bn2.bias"]
    tensors["layer9.0.conv1.weight"] = np.zeros((1, 1, 1, 1), np.float32)
    tensors["bn1.bias"] = np.zeros(3, np.float32)
    tensors["bn1.weight"] = np.zeros(2, np.int64)
    tensors["layer2.0.bn1.bias"][1] = np.nan
    with pytest.raises(ValueError, match="do not fit small") as error:
        convert(SMALL_RESNET, "torchvision", tensors)
    for part in (
        "missing layer1.0.bn2.bias;",
        "unexpected layer9.0.conv1.weight;",
        "wrong shape bn1.bias (3,), expected (2,);",
        "wrong type bn1.weight int64, expected floats;",
        "not finite layer2.0.bn1.bias.",
    ):
        assert part in str(error.value)


def test_many_problems_are_counted():
    with pytest.raises(ValueError, match=r"missing conv1_1.kernel.* and 24 more\.$"):
        convert(VGG19, "flax", {})


def test_a_negative_variance_is_refused():
    tensors = random_tensors(expected_shapes(SMALL_RESNET, "torchvision"))
    tensors["layer1.0.bn1.running_var"][0] = -1
    with pytest.raises(ValueError, match=r"folded in layer1.0.conv1.kernel"):
        convert(SMALL_RESNET, "torchvision", tensors)


def test_numbers_beyond_float32_are_refused():
    own = {
        key: np.zeros(shape)
        for key, shape in expected_shapes(SMALL_VGG, "flax").items()
    }
    own["conv1_1.bias"][0] = 1e200
    with pytest.raises(ValueError, match=r"not finite conv1_1\.bias"):
        convert(SMALL_VGG, "flax", own)


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match=r"expected vgg19, .*got 0 tensors$"):
        recognize({})
    bert = {f"encoder.layer.{k}.weight": (768, 768) for k in range(12)}
    with pytest.raises(
        ValueError, match=r"got 12 tensors such as encoder.layer.0.weight"
    ):
        recognize(bert)
    wide = {
        key: tuple(2 * n for n in shape)
        for key, shape in expected_shapes(RESNET50, "torchvision").items()
    }
    with pytest.raises(ValueError, match="not those of a known network"):
        recognize(wide)


def test_a_file_with_a_gap_is_still_recognized():
    shapes = dict(expected_shapes(VGG16, "torchvision"))
    del shapes["features.0.weight"]
    assert recognize(shapes)[0] == VGG16
