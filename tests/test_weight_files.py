"""Files of weights: every format and layout, damaged, hostile."""

import json
import random
import re
import struct
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from conftest import TINY

import jaxnst.pretrained.layouts as layouts
from jaxnst.images.files import file_sha256
from jaxnst.networks import CAFFE, TORCHVISION, VGG19, Preprocessing, VGGArchitecture
from jaxnst.pretrained import load_network, load_weights
from jaxnst.pretrained.formats import naming, open_tensors
from jaxnst.pretrained.layouts import save_weights, take_weights


# Files of it are little more than a header.
MINUTE = VGGArchitecture(name="minute", depths=(1, 1), widths=(1, 2))


@pytest.fixture(autouse=True)
def small_ones_are_known(monkeypatch):
    known = (*layouts.ARCHITECTURES, TINY, MINUTE)
    monkeypatch.setattr(layouts, "ARCHITECTURES", known)


def tensors_of(layout, architecture=TINY) -> dict[str, Any]:
    """Random tensors of a network, with a head where the layout has one."""
    rng = np.random.default_rng(0)
    tensors = {
        key: rng.standard_normal(shape).astype(np.float32)
        for key, shape in layouts.expected_shapes(architecture, layout).items()
    }
    if layout == "torchvision":
        tensors["classifier.0.weight"] = np.ones((7, 5), np.float32)
        tensors["head.fc.bias"] = np.ones(5, np.float32)  # of timm
    return tensors


def write(path, tensors, metadata=None):
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    return path


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_safetensors_in_every_layout(layout, tmp_path):
    expected = tensors_of(layout)
    path = write(tmp_path / "weights.safetensors", expected)
    weights, used = load_weights(path)
    assert weights.architecture == TINY
    is_caffe = layout == "keras.applications"
    assert weights.preprocessing == (CAFFE if is_caffe else TORCHVISION)
    assert used == (path.name, file_sha256(path))
    kernel_key, bias_key = list(layouts.expected_shapes(TINY, layout))[2:4]
    kernel = expected[kernel_key]
    if layout == "torchvision":  # OIHW
        kernel = np.einsum("oihw->hwio", kernel)
    np.testing.assert_array_equal(weights.layers["conv1_2"]["kernel"], kernel)
    np.testing.assert_array_equal(weights.layers["conv1_2"]["bias"], expected[bias_key])
    write(path, expected, {"preprocessing": "tensorflow"})
    said = load_weights(path)[0].preprocessing
    assert said == layouts.PREPROCESSINGS["tensorflow"]


# {what wrote the file: (path of a kernel, path of a bias)}; {} is the layer.
KERAS_PATHS = {
    "Keras 1": ("{0}/{0}_W_1:0", "{0}/{0}_b_1:0"),
    "Keras 2": ("{0}/{0}/kernel:0", "{0}/{0}/bias:0"),
    "Keras 2, whole": (
        "model_weights/{0}/{0}_1/kernel:0",
        "model_weights/{0}/{0}_1/bias:0",
    ),
    "Keras 3": ("{0}/{0}/kernel", "{0}/{0}/bias"),
}


def write_applications(path, paths, architecture=TINY):
    """Write an .h5 as keras.applications' VGGs were saved, with their head."""
    h5py = pytest.importorskip("h5py")
    tensors = tensors_of("keras.applications", architecture)
    with h5py.File(path, "w") as file:
        for key, tensor in tensors.items():
            layer, kind = key.split("/")
            file[paths[kind == "bias"].format(layer)] = tensor
        head = paths[0].format("fc1"), paths[1].format("predictions")
        for name, shape in zip(head, ((7, 5), (5,)), strict=True):
            file[name] = np.ones(shape, np.float32)
        file["optimizer_weights/iteration:0"] = np.int64(3)
        file.create_group("input_1")
    return tensors


@pytest.mark.parametrize("kind", KERAS_PATHS)
def test_files_of_keras_applications(kind, tmp_path):
    path = tmp_path / "vgg.h5"
    tensors = write_applications(path, KERAS_PATHS[kind])
    weights, _ = load_weights(path)
    assert (weights.architecture, weights.preprocessing) == (TINY, CAFFE)
    for ours, theirs in (("conv1_1", "block1_conv1"), ("conv5_1", "block5_conv1")):
        for name, array in weights.layers[ours].items():
            np.testing.assert_array_equal(array, tensors[f"{theirs}/{name}"])
    given = load_weights(path, preprocessing="torchvision")[0]
    assert given.preprocessing == TORCHVISION


def test_h5_that_will_not_do(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "vgg19_weights_tf_dim_ordering_th_kernels_notop.h5"
    write_applications(path, KERAS_PATHS["Keras 1"])
    with pytest.raises(ValueError, match=r"h5 cannot be used: .* mirrored"):
        load_weights(path)
    path = path.rename(tmp_path / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5")
    load_weights(path)
    with h5py.File(path, "a") as file:
        file["block1_conv1/block1_conv1/bias:0"] = np.ones(4, np.float32)
    with pytest.raises(ValueError, match="names 'block1_conv1/bias' twice"):
        load_weights(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (4,), "<f4", external=[(tmp_path / "other", 0, 16)])
    with pytest.raises(ValueError, match="'x' lies in another file"):
        load_weights(path)
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(ValueError, match="damaged or not an HDF5 file"):
        load_weights(path)


H5_LIARS = {
    "texts of a gigabyte": ({"dtype": "S1000000000"}, "is |S1000000000, not floats"),
    "texts of any length": ({"dtype": "texts"}, "is object, not floats"),
    "a huge chunk": (
        {"dtype": "<f4", "chunks": (2**28,), "maxshape": (None,), "compression": 1},
        "has chunks of 1073741824 bytes",
    ),
    "no values": ({"dtype": "<f4"}, "has a shape, but no values"),
    "a long name": ({"name": "x" * 50_000, "dtype": "<f4"}, "unexpected xxx"),
}


@pytest.mark.parametrize("kind", H5_LIARS)
def test_h5_that_claims_more_than_it_has(kind, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "vgg.h5"
    write_applications(path, KERAS_PATHS["Keras 3"])
    options, message = H5_LIARS[kind]
    options = {"name": "block1_conv1/block1_conv1/bias", "shape": (4,)} | options
    if options.get("dtype") == "texts":
        options["dtype"] = h5py.string_dtype()
    with h5py.File(path, "a") as file:
        file.pop(options["name"], None)
        file.create_dataset(**options)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_weights(path)
    assert len(str(caught.value)) < 600 + len(str(path))


@pytest.mark.parametrize("name", ["vgg.npz", "vgg.keras", "vgg.ckpt", "vgg"])
def test_other_formats_are_refused_in_a_line(name, tmp_path):
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(ValueError, match=r"must end in one of \.safetensors, \.pth"):
        load_weights(tmp_path / name)


def test_layouts_of_others_are_refused_in_a_line(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "vgg.weights.h5"
    with h5py.File(path, "w") as file:  # Keras 3, Keras Hub
        file["layers/conv2d/vars/0"] = np.ones((3, 3, 3, 4), np.float32)
    flaxmodels = {"conv1_1/weight": np.ones((3, 3, 3, 4), np.float32)}
    for file in (path, write(tmp_path / "vgg.safetensors", flaxmodels)):
        with pytest.raises(ValueError, match=r"cannot be used: .*not those of a known"):
            load_weights(file)


def test_a_file_becomes_a_network(tmp_path):
    tensors = tensors_of("torchvision")
    path = write(tmp_path / "mine.safetensors", tensors)
    network = load_network(path, pooling="average", padding="zeros")
    image = jnp.full((32, 32, 3), 0.25)
    features = network(image, ["conv1_1"])["conv1_1"]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    # In the middle of a flat picture a convolution is a sum over the kernel.
    weight = tensors["features.0.weight"].sum(axis=(2, 3))
    flat = weight @ ((0.25 - mean) / std) + tensors["features.0.bias"]
    np.testing.assert_allclose(features[16, 16], flat, rtol=1e-4, atol=1e-4)
    assert load_network(str(path)).architecture == TINY


@pytest.mark.parametrize(
    ("dtype", "digits"), [("float16", 3), ("float64", 7), ("bfloat16", 2)]
)
def test_other_floats(dtype, digits, tmp_path):
    tensors = tensors_of("torchvision")
    made = {
        key: x.astype(getattr(ml_dtypes, dtype, dtype)) for key, x in tensors.items()
    }
    weights, _ = load_weights(write(tmp_path / "weights.safetensors", made))
    bias = weights.layers["conv3_1"]["bias"]
    assert bias.dtype == np.float32
    expected = made["features.10.bias"].astype(np.float32)
    np.testing.assert_array_equal(bias, expected)
    np.testing.assert_allclose(bias, tensors["features.10.bias"], rtol=10**-digits)


def test_what_we_write_says_what_it_is(tmp_path):
    source = write(tmp_path / "a.safetensors", tensors_of("torchvision"))
    weights, _ = load_weights(source)
    own = Preprocessing(scale=2.0, mean=(1, 1, 1), std=(1.0, 0.5, 1.0))
    path = tmp_path / "b.safetensors"
    for preprocessing in (CAFFE, TORCHVISION):
        changed = weights._replace(preprocessing=preprocessing)
        path.write_bytes(save_weights(changed, license="mine"))
        again, _ = load_weights(path)
        assert again.preprocessing == preprocessing
        assert again.architecture == TINY
        for name, arrays in weights.layers.items():
            for kind, array in arrays.items():
                np.testing.assert_array_equal(again.layers[name][kind], array)
        with safetensors.safe_open(path, "numpy") as file:
            assert file.metadata()["license"] == "mine"
            assert file.metadata()["architecture"] == "tiny"
        assert path.read_bytes() == save_weights(changed, license="mine")
    assert load_weights(path, preprocessing="caffe")[0].preprocessing == CAFFE
    assert load_weights(path, preprocessing=own)[0].preprocessing == own
    with pytest.raises(ValueError, match=r"`preprocessing` is 'cafe'.*'caffe'"):
        load_weights(path, preprocessing="cafe")


@pytest.mark.parametrize(
    "text",
    ["imagenet", "{}", "[" * 100_000, '{"scale": 1, "mean": [0,0,0], "std": [1,1,0],'
     ' "channel_order": "RGB"}', '{"scale": 1e999, "mean": [0,0,0], "std": [1,1,1],'
     ' "channel_order": "RGB"}'],
)  # fmt: skip
def test_preprocessing_that_makes_no_sense(text, tmp_path):
    path = tmp_path / "b.safetensors"
    write(path, tensors_of("torchvision"), {"preprocessing": text})
    with pytest.raises(ValueError, match=r"b\.safetensors cannot.*its preprocessing"):
        load_weights(path)
    assert load_weights(path, preprocessing="caffe")[0].preprocessing == CAFFE


def test_all_that_does_not_fit_is_named_together(tmp_path):
    tensors = tensors_of("torchvision")
    del tensors["features.0.bias"], tensors["features.5.weight"]
    tensors["features.2.bias"] = np.zeros(9, np.float32)
    tensors["features.99.bias"] = np.zeros(1, np.float32)
    path = write(tmp_path / "weights.safetensors", tensors)
    with pytest.raises(ValueError, match=r"safetensors cannot be used") as caught:
        load_weights(path)
    message = str(caught.value)
    for name in ("features.0.bias", "features.5.weight", "features.99.bias"):
        assert name in message
    assert "features.2.bias (9,), expected (4,)" in message
    assert message.count("\n") == 0
    tensors = tensors_of("torchvision")
    tensors["features.5.weight"][0, 0, 0, 0] = np.inf
    tensors["features.0.bias"][2] = np.nan
    tensors["features.2.bias"] = np.arange(4)
    write(path, tensors)
    with pytest.raises(
        ValueError, match=r"bias int64, expected floats; not fin"
    ) as got:
        load_weights(path)
    assert "not finite features.0.bias, features.5.weight" in str(got.value)


def test_another_network(tmp_path):
    path = write(tmp_path / "weights.safetensors", tensors_of("torchvision"))
    with naming(path), pytest.raises(ValueError, match="of tiny, not of vgg19"):
        take_weights(open_tensors(path), expected=VGG19)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg-19", r"`network` is 'vgg-19'\. Did you mean 'vgg19'\?.*or the path"),
        ("none.pth", r"no such file: none\.pth"),
        ("folder/none", "no such file: folder/none"),
        (Path("vgg19"), "no such file: vgg19"),
        ("README.md", r"must end in one of \.safetensors, \.pth"),
    ],
)
def test_what_is_no_network(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text("no weights")
    Path("vgg").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_network(name)


def test_names_win_over_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("vgg19").write_text("not looked at")
    assert load_network("vgg19").architecture == VGG19
    with pytest.raises(ValueError, match="vgg19 cannot be used: its name must end"):
        load_network("./vgg19")


def test_options_that_a_source_has_not(tmp_path):
    path = write(tmp_path / "weights.safetensors", tensors_of("torchvision"))
    with pytest.raises(ValueError, match=r"`revision` is 'main', but .* has none"):
        load_network(path, revision="main")
    with pytest.raises(ValueError, match="`preprocessing` is 'caffe', but vgg19"):
        load_network("vgg19", preprocessing="caffe")


def header(entries, *, length=None, tail=b"", raw=None):
    text = json.dumps(entries).encode() if raw is None else raw
    return struct.pack("<Q", len(text) if length is None else length) + text + tail


def entry(start=0, end=4, *, shape=(1,), dtype: object = "F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


HOSTILE = {
    "empty": b"",
    "huge header": header({}, length=2**63),
    "long header": header({}, length=3_000_000),
    "a web page": b"<!DOCTYPE html><html></html>",
    "not UTF-8": header({}, raw=b'{"\xff": 1}'),
    "deep": header({}, raw=b"[" * 200_000),
    "dtype": header({"a": entry(dtype="F33")}),
    "too big": header({"a": entry(shape=(2**62, 2**62))}),
    "beyond": header({"a": entry(), "b": entry(4, 8)}, tail=b"\0" * 7),
    "overlap": header({"a": entry(), "b": entry()}, tail=b"\0" * 8),
    "hole": header({"a": entry(0, 4), "b": entry(8, 12)}, tail=b"\0" * 12),
    "rest": header({"a": entry()}, tail=b"\0" * 5),
    "long names": header({"x" * 100_000: entry()}, tail=b"\0" * 4),
    "steering": header({"\x1b[2J": entry(), "\n": entry(4, 8)}, tail=b"\0" * 8),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_safetensors(name, tmp_path):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ValueError, match=r"hostile\.safetensors cannot be used") as got:
        load_weights(path)
    text = str(got.value)
    assert ("damaged or not a safetensors file" in text) == (
        name not in ("steering", "long names")
    )
    assert text.isprintable()
    assert len(text) < 600 + len(str(path))


@pytest.mark.parametrize("name", ["h5", "pth"])
def test_formats_whose_package_is_missing(name, tmp_path, monkeypatch):
    package = {"h5": "h5py", "pth": "torch"}[name]
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / f"weights.{name}"
    path.write_bytes(b"whatever")
    with pytest.raises(ImportError, match=r"needs .*pip install\s+jaxnst\[") as caught:
        load_weights(path)
    if name == "pth":
        assert "jaxnst networks convert weights.pth" in str(caught.value)


class FakeTensor:
    """As much of a torch.Tensor as is used."""

    def __init__(self, array):
        self.array = array
        self.shape = array.shape

    def is_floating_point(self):
        return self.array.dtype.kind == "f"

    def detach(self):
        return self

    def float(self):
        return FakeTensor(self.array.astype(np.float32))

    def numpy(self):
        return self.array


@pytest.fixture
def torch(monkeypatch):
    """A stand-in for PyTorch, which no test needs."""
    module = types.SimpleNamespace(Tensor=FakeTensor, __version__="2.6.0+cpu")

    def load(path, *, map_location, weights_only, mmap):
        assert (map_location, weights_only) == ("cpu", True)
        assert mmap == path.read_bytes().startswith(b"PK")  # else torch refuses it
        if isinstance(module.state, Exception):
            raise module.state
        return module.state

    module.load = load
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def test_torch_files(torch, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"whatever")
    state = {key: FakeTensor(x) for key, x in tensors_of("torchvision").items()}
    torch.state = state
    load_weights(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"whatever")
    for torch.state in (state, {"state_dict": state, "epoch": 3}):
        weights, used = load_weights(path)
        expected = tensors_of("torchvision")["features.0.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(weights.layers["conv1_1"]["kernel"], expected)
        assert used.name == "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1_000_000))
    with pytest.raises(ValueError, match="its parts would take 1000000 bytes"):
        load_weights(path)
    path.write_bytes(b"whatever")
    torch.state = RuntimeError("Do `weights_only=False`.\n Unsupported global: os")
    with pytest.raises(ValueError, match="other things than tensors") as caught:
        load_weights(path)
    assert "weights_only" not in str(caught.value)
    for torch.state in ([1], {"a": 3}, {3: FakeTensor(np.ones(1))}):
        with pytest.raises(ValueError, match="it is no state dict"):
            load_weights(path)
    state["features.0.bias"] = FakeTensor(np.arange(4))
    torch.state = state
    with pytest.raises(ValueError, match=r"features\.0\.bias.*int64"):
        load_weights(path)
    torch.__version__ = "2.5.1"
    with pytest.raises(ImportError, match=r"2\.6 or later.*this is 2\.5\.1"):
        load_weights(path)


def mutated(data, rng):
    """Return a file with a few things changed, most of them in its header."""
    data = bytearray(data)
    is_h5 = data.startswith(b"\x89HDF")
    end = len(data) if is_h5 else 8 + int.from_bytes(data[:8], "little")
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(4)
        at = rng.randrange(min(len(data), end + 20) or 1)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at : at + rng.randint(1, 40)]
        elif kind == 2:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 9)))
        else:  # numbers are where offsets and shapes are
            digits = [i for i in range(min(end, len(data))) if 48 <= data[i] < 58]
            if digits:
                data[rng.choice(digits)] = rng.choice(b"0123456789-.e")
    return bytes(data)


@pytest.mark.parametrize(("suffix", "count"), [("safetensors", 500), ("h5", 200)])
def test_fuzzing_finds_nothing(suffix, count, tmp_path, as_installed):
    """Damaged files are refused in a line, and nothing else happens."""
    path = tmp_path / f"fuzzed.{suffix}"
    if suffix == "h5":
        write_applications(path, KERAS_PATHS["Keras 2"], MINUTE)
    else:
        write(path, tensors_of("flax", MINUTE))
    original, rng, num_refused = path.read_bytes(), random.Random(0), 0
    for _ in range(count):
        path.write_bytes(mutated(original, rng))
        try:
            weights, _ = load_weights(path)
        except ValueError as error:
            num_refused += 1
            if not str(error).isprintable():
                pytest.fail(f"more than a line: {error}")
        else:
            for arrays in weights.layers.values():
                assert all(np.isfinite(array).all() for array in arrays.values())
    assert count / 2 < num_refused < count  # some change only values
