"""Files of weights: every format and layout, damaged, hostile."""

import io
import json
import random
import struct
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from conftest import TINY

import jaxnst.pretrained.keys as keys
import jaxnst.pretrained.layouts as layouts
from jaxnst.networks import CAFFE, TORCHVISION, VGG19, Preprocessing, VGGArchitecture
from jaxnst.pretrained import load_network
from jaxnst.pretrained.header import parse_header
from jaxnst.pretrained.loading import load_weights
from jaxnst.pretrained.tensors import file_sha256, naming, open_tensors
from jaxnst.pretrained.weights import describe_preprocessing, save_weights, take_weights


# Files of it are little more than a header.
MINUTE = VGGArchitecture(name="minute", depths=(1, 1), widths=(1, 2))


@pytest.fixture(autouse=True)
def small_ones_are_known(monkeypatch):
    known = (*layouts.ARCHITECTURES, TINY, MINUTE)
    monkeypatch.setattr(layouts, "ARCHITECTURES", known)


def tensors_of(layout, seed=0, architecture=TINY) -> dict[str, Any]:
    """Random tensors of a network, with a head where the layout has one."""
    rng = np.random.default_rng(seed)
    tensors = {
        key: rng.standard_normal(shape).astype(np.float32)
        for key, shape in keys.expected_shapes(architecture, layout).items()
    }
    if layout == "torchvision":
        tensors["classifier.0.weight"] = np.ones((7, 5), np.float32)
    if layout == "timm":
        tensors["head.fc.bias"] = np.ones(5, np.float32)
    return tensors


def write(path, layout, architecture=TINY):
    tensors = tensors_of(layout, architecture=architecture)
    if path.suffix == ".safetensors":
        metadata = {"preprocessing": "torchvision"}
        path.write_bytes(safetensors.numpy.save(tensors, metadata))
    elif path.suffix == ".npz":
        np.savez_compressed(path, **tensors)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for key, tensor in tensors.items():
                file[key] = tensor
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".h5"])
@pytest.mark.parametrize("layout", keys.LAYOUTS)
def test_every_format_in_every_layout(layout, suffix, tmp_path):
    path = write(tmp_path / f"weights{suffix}", layout)
    weights, used = load_weights(path)
    assert weights.architecture == TINY
    is_said = suffix == ".safetensors"  # there, that it is torchvision's
    is_caffe = layout == "keras.applications" and not is_said
    assert weights.preprocessing == (CAFFE if is_caffe else TORCHVISION)
    assert used == (path.name, file_sha256(path))
    expected = tensors_of(layout)
    kernel_key, bias_key = keys.wanted_keys(TINY, layout)[2:4]
    kernel = expected[kernel_key]
    if layout in ("torchvision", "timm"):  # OIHW
        kernel = np.einsum("oihw->hwio", kernel)
    np.testing.assert_array_equal(weights.layers["conv1_2"]["kernel"], kernel)
    np.testing.assert_array_equal(weights.layers["conv1_2"]["bias"], expected[bias_key])


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


def write_applications(path, paths):
    """Write an .h5 as keras.applications' VGGs were saved, with their head."""
    h5py = pytest.importorskip("h5py")
    tensors = tensors_of("keras.applications")
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


def test_files_of_keras_applications_that_will_not_do(tmp_path):
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


def test_a_file_becomes_a_network(tmp_path):
    path = write(tmp_path / "mine.safetensors", "torchvision")
    network = load_network(path, pooling="average", padding="zeros")
    image = jnp.full((32, 32, 3), 0.25)
    features = network(image, ["conv1_1"])["conv1_1"]
    tensors = tensors_of("torchvision")
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
    import ml_dtypes

    tensors = tensors_of("timm")
    made = {
        key: x.astype(getattr(ml_dtypes, dtype, dtype)) for key, x in tensors.items()
    }
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.numpy.save(made))
    weights, _ = load_weights(path)
    bias = weights.layers["conv3_1"]["bias"]
    assert bias.dtype == np.float32
    expected = made["features.10.bias"].astype(np.float32)
    np.testing.assert_array_equal(bias, expected)
    np.testing.assert_allclose(bias, tensors["features.10.bias"], rtol=10**-digits)


def test_what_we_write_says_what_it_is(tmp_path):
    weights, _ = load_weights(write(tmp_path / "a.npz", "torchvision"))
    own = Preprocessing(scale=2.0, mean=(1, 1, 1), std=(1.0, 0.5, 1.0))
    for preprocessing in (CAFFE, TORCHVISION, own):
        changed = weights._replace(preprocessing=preprocessing)
        path = tmp_path / "b.safetensors"
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
    weights, _ = load_weights(write(tmp_path / "a.npz", "timm"))
    path = tmp_path / "b.safetensors"
    path.write_bytes(save_weights(weights, preprocessing=text))
    with pytest.raises(ValueError, match=r"b\.safetensors cannot.*its preprocessing"):
        load_weights(path)
    assert load_weights(path, preprocessing="caffe")[0].preprocessing == CAFFE


def test_all_that_does_not_fit_is_named_together(tmp_path):
    tensors = tensors_of("torchvision")
    del tensors["features.0.bias"], tensors["features.5.weight"]
    tensors["features.2.bias"] = np.zeros(9, np.float32)
    tensors["features.99.bias"] = np.zeros(1, np.float32)
    path = tmp_path / "weights.npz"
    np.savez(path, **tensors)
    with pytest.raises(ValueError, match=r"weights\.npz cannot be used") as caught:
        load_weights(path)
    message = str(caught.value)
    for name in ("features.0.bias", "features.5.weight", "features.99.bias"):
        assert name in message
    assert "features.2.bias (9,), expected (4,)" in message
    assert message.count("\n") == 0


def test_another_network(tmp_path):
    path = write(tmp_path / "weights.safetensors", "torchvision")
    with naming(path), pytest.raises(ValueError, match="of tiny, not of vgg19"):
        take_weights(open_tensors(path), expected=VGG19)
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3, np.float32)}))
    with pytest.raises(ValueError, match=r"weights\.safetensors.*not.* known network"):
        load_weights(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg-19", r"`network` is 'vgg-19'\. Did you mean 'vgg19'\?.*or the path"),
        ("none.npz", r"no such file: none\.npz"),
        ("folder/none", "no such file: folder/none"),
        (Path("vgg19"), "no such file: vgg19"),
        ("README.md", r"does not end in one of \.safetensors, \.npz"),
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
    with pytest.raises(ValueError, match="vgg19 cannot be used: its name does not end"):
        load_network("./vgg19")


def test_options_that_a_source_has_not(tmp_path):
    path = write(tmp_path / "weights.npz", "timm")
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
    "empty": (b"", "it has 0 bytes"),
    "huge header": (header({}, length=2**63), "would take 9223372036854775808 bytes"),
    "long header": (header({}, length=3_000_000), "cut short"),
    "no header": (header({}, length=0), "would take 0 bytes"),
    "a web page": (b"<!DOCTYPE html><html></html>", "it is no safetensors file"),
    "not JSON": (header({}, raw=b"{'a'"), "not JSON"),
    "not UTF-8": (header({}, raw=b'{"\xff": 1}'), "not UTF-8"),
    "a list": (header([1]), "not a JSON object"),
    "deep": (header({}, raw=b"[" * 200_000), "nested too deeply"),
    "NaN": (header({}, raw=b'{"a": NaN}'), "holds NaN"),
    "a long number": (header({}, raw=b'{"a": ' + b"9" * 9000 + b"}"), "limit"),
    "twice": (header({}, raw=b'{"a": {}, "a": {}}'), "names something twice"),
    "metadata": (header({"__metadata__": {"a": 1}}), "metadata is not text"),
    "keys": (header({"a": {"dtype": "F32"}}), "'a' needs dtype, shape and"),
    "no object": (header({"a": 3}), "'a' needs dtype, shape and"),
    "dtype": (header({"a": entry(dtype="F33")}), "unknown dtype F33"),
    "dtype's type": (header({"a": entry(dtype=["F32"])}), "unknown dtype"),
    "negative shape": (header({"a": entry(shape=(-1,))}), "no proper shape"),
    "true": (header({"a": entry(shape=(True,))}), "no proper shape"),
    "float": (header({"a": entry(shape=(1.0,))}), "no proper shape"),
    "rank": (header({"a": entry(shape=(1,) * 9)}), "no proper shape"),
    "negative": (header({"a": entry(-4, 0)}), "no proper data_offsets"),
    "backward": (header({"a": entry(8, 4)}), "-4 bytes"),
    "too big": (header({"a": entry(shape=(2**62, 2**62))}), "4 bytes of data; its"),
    "too small": (header({"a": entry(shape=(2,))}), "shape needs 8"),
    "beyond": (header({"a": entry(), "b": entry(4, 8)}, tail=b"\0" * 7), "cut"),
    "overlap": (header({"a": entry(), "b": entry()}, tail=b"\0" * 8), "overlaps"),
    "hole": (header({"a": entry(0, 4), "b": entry(8, 12)}, tail=b"\0" * 12), "a hole"),
    "late": (header({"a": entry(4, 8)}, tail=b"\0" * 8), "follows a hole"),
    "rest": (header({"a": entry()}, tail=b"\0" * 5), "longer than its header says"),
    "escape": (header({"a\x1b[2J": entry()}), "not sensible"),
    "long name": (header({"a" * 1000: entry()}), "not sensible"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_safetensors(name, tmp_path):
    data, message = HOSTILE[name]
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"hostile\.safetensors cannot be used") as got:
        load_weights(path)
    assert message in str(got.value)
    assert len(str(got.value)) < 400 + len(str(path))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_values_that_are_no_numbers(value, suffix, tmp_path):
    tensors = tensors_of("torchvision")
    tensors["features.5.weight"][0, 0, 0, 0] = value
    tensors["features.0.bias"][2] = value
    path = tmp_path / f"weights{suffix}"
    save = safetensors.numpy.save_file if suffix != ".npz" else None
    save(tensors, path) if save else np.savez(path, **tensors)
    with pytest.raises(ValueError, match="not finite") as caught:
        load_weights(path)
    assert "features.5.weight" in str(caught.value)
    assert "features.0.bias" in str(caught.value)


def test_whole_numbers_are_no_weights(tmp_path):
    tensors = tensors_of("torchvision")
    tensors["features.0.bias"] = np.arange(4)
    for suffix in (".safetensors", ".npz"):
        path = tmp_path / f"weights{suffix}"
        save = safetensors.numpy.save_file if suffix != ".npz" else None
        save(tensors, path) if save else np.savez(path, **tensors)
        with pytest.raises(
            ValueError, match=r"features\.0\.bias int64, expected floats"
        ):
            load_weights(path)


class Bomb:
    """What unpickling it would run."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def npz(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def npy(shape, dtype="<f4", body=b""):
    stream = io.BytesIO()
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue() + body


def pickled_npz():
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=True, a=np.array([Bomb()], object))
    return stream.getvalue()


HOSTILE_NPZ = {
    "not a zip": b"PK nothing",
    "empty": b"",
    "no .npy inside": npz([("a.npy", b"nothing")]),
    "pickled": pickled_npz(),
    "a bare pickle": b"\x80\x04cposix\nsystem\n.",
    "huge": npz([("a.npy", npy((2**40, 2**20)))]),
    "overflowing": npz([("a.npy", npy((2**62, 2**62, 2**62)))]),
    "negative": npz([("a.npy", npy((-5, 2)))]),
    "many axes": npz([("a.npy", npy((1,) * 40, body=b"\0" * 4))]),
    "a long header": npz([("a.npy", npy((1,), "<f4" + " " * 20_000))]),
    "deep": npz([("a.npy", b"\x93NUMPY\x01\x00\xff\x1f" + b"(" * 8191)]),
    "steering": npz([("\x1b[2J.npy", npy((1,), body=b"\0" * 4))]),
}


@pytest.mark.parametrize("name", HOSTILE_NPZ)
def test_hostile_npz(name, tmp_path):
    path = tmp_path / "hostile.npz"
    path.write_bytes(HOSTILE_NPZ[name])
    with pytest.raises(ValueError, match=r"hostile\.npz cannot be used") as caught:
        load_weights(path)
    assert str(caught.value).isprintable()
    assert "allow_pickle" not in str(caught.value)
    assert len(str(caught.value)) < 600 + len(str(path))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_bombs_are_not_unpacked(tmp_path):
    tensors = tensors_of("torchvision")
    members = []
    for key, tensor in tensors.items():
        stream = io.BytesIO()
        np.save(stream, tensor)
        members.append((f"{key}.npy", stream.getvalue()))
    path = tmp_path / "bomb.npz"
    # 300 MB of zeros behind a tensor, and a member that is not needed.
    first = (members[0][0], members[0][1] + bytes(300_000_000))
    path.write_bytes(npz([first, *members[1:], ("fc.npy", npy((2**20,)))]))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ValueError, match=r"cannot be used: .*unexpected fc"):
        load_weights(path)  # though nothing of it is read
    members.append(members[0])
    path.write_bytes(npz(members))
    with pytest.raises(ValueError, match=r"names 'features\.0\.weight' twice"):
        load_weights(path)
    members[-1] = ("features.0.bias2.npy", members[0][1][:-1])
    path.write_bytes(npz(members[1:]))
    with pytest.raises(ValueError, match=r"missing features\.0\.weight"):
        load_weights(path)


def test_h5_that_points_elsewhere(tmp_path):
    h5py = pytest.importorskip("h5py")
    tensors = tensors_of("flaxmodels")
    path = tmp_path / "weights.h5"

    def write_h5(special):
        with h5py.File(path, "w") as file:
            for key, tensor in tensors.items():
                if key != "conv1_1/bias":
                    file[key] = tensor
            special(file)

    (tmp_path / "secret.bin").write_bytes(bytes(16))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = tensors["conv1_1/bias"]
    layout = h5py.VirtualLayout((4,), "<f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (4,))
    specials = {
        "missing conv1_1/bias": lambda file: file.__setitem__(
            "conv1_1/bias", h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
        ),
        "lies in another file": lambda file: file.create_dataset(
            "conv1_1/bias", (4,), "<f4", external=[(tmp_path / "secret.bin", 0, 16)]
        ),
        "bias' lies in another file": lambda file: file.create_virtual_dataset(
            "conv1_1/bias", layout
        ),
        "unexpected vast": lambda file: (
            file.create_dataset("conv1_1/bias", (4,), "<f4"),
            file.create_dataset("vast", (2**40,), "<f4", chunks=(2**20,)),
            file.__delitem__("conv5_1"),
        ),
        "conv1_1/bias int64, expected floats": lambda file: file.__setitem__(
            "conv1_1/bias", np.arange(4)
        ),
    }
    for message, special in specials.items():
        write_h5(special)
        with pytest.raises(ValueError, match=r"weights\.h5 cannot") as caught:
            load_weights(path)
        assert message in str(caught.value)
    write_h5(lambda file: file.__setitem__("loop", file["/"]))
    with pytest.raises(ValueError, match="missing conv1_1/bias"):
        load_weights(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError, match="no readable HDF5 file"):
        load_weights(path)


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
    path.write_bytes(npz([("archive/data.pkl", b"whatever")]))
    for torch.state in (state, {"state_dict": state, "epoch": 3}):
        weights, used = load_weights(path)
        expected = tensors_of("torchvision")["features.0.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(weights.layers["conv1_1"]["kernel"], expected)
        assert used.name == "weights.pth"
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
    """Return a file with a few things changed, most of them where it matters."""
    data = bytearray(data)
    is_header = data[:2] != b"PK" and data[1:6] != b"NUMPY"
    end = 8 + int.from_bytes(data[:8], "little") if is_header else len(data)
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(6)
        at = rng.randrange(min(len(data), end + 20) or 1)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at : at + rng.randint(1, 40)]
        elif kind == 2:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 9)))
        elif kind == 3:
            piece = data[at : at + rng.randint(1, 60)]
            other = rng.randrange(len(data) + 1)
            data[other:other] = piece
        elif kind == 4:
            del data[rng.randrange(len(data) + 1) :]
        else:  # numbers are where offsets and shapes are
            digits = [i for i in range(min(end, len(data))) if 48 <= data[i] < 58]
            if digits:
                data[rng.choice(digits)] = rng.choice(b"0123456789-.e")
        if not data:
            break
    return bytes(data)


def mutated_member(data, rng):
    """Return an .npz in which one member is changed, and its checksum is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = rng.randrange(len(members))
    name, content = members[at]
    # Of the .npy, mostly its header.
    cut = len(content) if rng.random() < 0.2 else 128
    members[at] = name, mutated(content[:cut], rng) + content[cut:]
    return npz(members)


def fuzz(seed, count, path, original):
    """Return how many mutations were refused; anything but a clean refusal raises."""
    rng = random.Random(seed)
    num_refused = 0
    for _ in range(count):
        is_member = path.suffix == ".npz" and rng.random() < 0.7
        mutate = mutated_member if is_member else mutated
        path.write_bytes(mutate(original, rng))
        try:
            weights, _ = load_weights(path)
        except (ValueError, OSError) as error:
            num_refused += 1
            if "\n" in str(error):
                pytest.fail(f"more than a line: {error}")
        else:
            for arrays in weights.layers.values():
                assert all(np.isfinite(array).all() for array in arrays.values())
    return num_refused


@pytest.mark.parametrize(("suffix", "count"), [(".safetensors", 3000), (".npz", 600)])
def test_fuzzing_finds_nothing(suffix, count, tmp_path, as_installed):
    path = tmp_path / f"fuzzed{suffix}"
    for seed, (layout, architecture) in enumerate([("flax", MINUTE), ("timm", TINY)]):
        original = write(path, layout, architecture).read_bytes()
        weights, _ = load_weights(path)
        assert weights.architecture == architecture
        num_refused = fuzz(seed, count // 2, path, original)
        # Some change nothing that counts.
        assert count // 8 < num_refused < count // 2


def test_the_header_agrees_with_the_library_s(rng):
    """What we read of a header is what the safetensors library reads."""
    tensors = {
        f"t{i}": rng.standard_normal(rng.integers(0, 4, i % 4)).astype(dtype)
        for i, dtype in enumerate(["f4", "f8", "f2", "i8", "u1", "f4", "i4", "f2"])
    }
    data = safetensors.numpy.save(tensors, {"a": "b"})
    header = parse_header(data, len(data))
    assert header.metadata == {"a": "b"}
    assert set(header.tensors) == set(tensors)
    for name, tensor in tensors.items():
        place = header.tensors[name]
        assert place.shape == tensor.shape
        start, end = (header.data_start + x for x in place[2:])
        assert data[start:end] == tensor.tobytes()


def test_descriptions_are_read_back():
    assert describe_preprocessing(TORCHVISION) == "torchvision"
    assert (
        json.loads(describe_preprocessing(Preprocessing(mean=(0, 0, 0))))["scale"] == 1
    )
