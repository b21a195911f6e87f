"""Weights: found, checked, decoded, fitted, rebuilt."""

import hashlib
import importlib.util
import io
import itertools
import pickle
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from conftest import build

import jaxnst.pretrained.registry as registry
from jaxnst.networks import CAFFE
from jaxnst.pretrained import (
    LPIPS_SPEC,
    SPECS,
    BundledFile,
    OwnFile,
    get_spec,
    load_lpips_network,
    load_network,
)
from jaxnst.pretrained.formats import decode_codebook, serialize
from jaxnst.pretrained.loading import set_weights


ROOT = Path(__file__).parent.parent


def bundled_file(spec) -> BundledFile:
    assert isinstance(spec.source, BundledFile)
    return spec.source


BUNDLED, JUDGE = bundled_file(get_spec("vgg19")), bundled_file(LPIPS_SPEC)


@pytest.fixture(autouse=True)
def scripts_import_each_other(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "weights"))


def load_script(name="make_vgg19_oxford"):
    path = ROOT / "weights" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bundled_file_is_described_and_small():
    path = registry.bundled_path(get_spec("vgg19"))
    assert path.stat().st_size <= 21_000_000
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["license"] == "CC BY 4.0"
    assert "Oxford" in metadata["origin"]
    assert "1409.1556" in metadata["paper"]
    assert "uint8" in metadata["layout"]
    readme = (ROOT / "weights" / "README.md").read_text()
    assert BUNDLED.sha256 in readme


def test_vgg19_has_its_sixteen_convolutions(vgg19):
    shapes = [
        getattr(vgg19, layer.name).kernel_shape
        for layer in vgg19.architecture
        if layer.kind == "conv"
    ]
    widths = [3, 64, 64, 128, 128, *[256] * 4, *[512] * 8]
    assert shapes == [
        (3, 3, before, after) for before, after in itertools.pairwise(widths)
    ]
    size = sum(np.prod(shape) for shape in shapes) + sum(widths[1:])
    assert size == 20_024_384


def test_vgg19_tells_an_edge_from_a_flat_place():
    """The first layer holds edge detectors: a torch-free sign that axes are right."""
    vgg19 = load_network("vgg19", padding="replicate")
    image = jnp.full((32, 32, 3), 0.2).at[:, 16:].set(0.9)
    features = vgg19(image, ["conv1_1"])["conv1_1"]
    flat = jnp.ptp(features[:, 2:14], axis=(0, 1))
    edge = jnp.ptp(features[:, 14:18], axis=(0, 1))
    assert jnp.sum(edge > 50 * flat + 10) > 20


def test_missing_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_FOLDERS", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(
        FileNotFoundError, match=r"no vgg19_oxford_8bit.*Install jaxnst"
    ):
        load_network("vgg19")


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_damaged_file_is_refused(damage, monkeypatch, tmp_path):
    data = bytearray(registry.read_bundled(get_spec("vgg19")))
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "altered":
        data[12_345_678] ^= 1
    else:
        data = bytearray()
    (tmp_path / BUNDLED.filename).write_bytes(data)
    monkeypatch.setattr(registry, "_FOLDERS", (tmp_path,))
    with pytest.raises(ValueError, match=r"are damaged: .*expected c9685e9a"):
        load_network("vgg19")


def test_wheel_folder_comes_first(monkeypatch, tmp_path):
    (tmp_path / BUNDLED.filename).write_bytes(b"")
    monkeypatch.setattr(registry, "_FOLDERS", (tmp_path, ROOT / "weights"))
    assert registry.bundled_path(get_spec("vgg19")).parent == tmp_path


def test_a_codebook_is_a_table_and_codes(rng):
    codes = rng.integers(0, 256, (3, 3, 2, 5), dtype=np.uint8)
    table = rng.standard_normal(256).astype(np.float32)
    bias = rng.standard_normal(5).astype(np.float32)
    tensors = {"conv1_1.codes": codes, "conv1_1.table": table, "conv1_1.bias": bias}
    layer = decode_codebook(safetensors.numpy.save(tensors))["conv1_1"]
    for index in np.ndindex(codes.shape):
        assert layer["kernel"][index] == table[codes[index]]
    np.testing.assert_array_equal(layer["bias"], bias)


def test_all_that_does_not_fit_is_named_together(tiny_network):
    network = build(tiny_network.architecture, preprocessing=CAFFE)
    layers = {
        conv.name: {
            "kernel": np.zeros(conv.kernel_shape, np.float32),
            "bias": np.zeros(conv.out_width, np.float32),
        }
        for conv in network.architecture.convolutions
    }
    set_weights(network, layers)
    assert jnp.all(network(jnp.ones((32, 32, 3)), ["conv3_1"])["conv3_1"] == 0)
    del layers["conv2_1"]["bias"]
    layers["conv9_9"] = {"bias": np.zeros(3, np.float32)}
    layers["conv1_2"]["kernel"] = np.zeros((3, 3, 4, 5), np.float32)
    with pytest.raises(ValueError, match="do not fit tiny") as caught:
        set_weights(network, layers)
    message = str(caught.value)
    assert "missing conv2_1.bias" in message
    assert "unexpected conv9_9.bias" in message
    assert "wrong shape conv1_2.kernel (3, 3, 4, 5), expected (3, 3, 4, 4)" in message


def test_specs_are_complete():
    for name, spec in SPECS.items():
        assert spec.name == name
        if not isinstance(spec.source, OwnFile):
            assert len(spec.source.sha256 or "") == 64
        assert all((spec.license, spec.origin, spec.paper))
    with pytest.raises(ValueError, match="Did you mean 'vgg19'"):
        get_spec("vgg-19")


def test_script_writes_what_safetensors_reads(rng):
    script = load_script()
    tensors = {
        "b.codes": rng.integers(0, 9, (2, 3), dtype=np.uint8),
        "a.bias": rng.standard_normal(7).astype(np.float32),
    }
    data = serialize(tensors, {"license": "x"})
    found = safetensors.numpy.load(data)
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor)
    # The header of the committed file comes from the same function.
    original = registry.read_bundled(get_spec("vgg19"))
    again = serialize(safetensors.numpy.load(original), script.METADATA)
    assert hashlib.sha256(again).hexdigest() == BUNDLED.sha256


class _Attack:
    def __reduce__(self):
        return print, ("this would have been run",)


@pytest.mark.parametrize("payload", [_Attack(), Path("/"), np.float32, print])
def test_script_unpickles_nothing_but_tensors(payload, capsys):
    script = load_script()
    header = b"".join(
        pickle.dumps(item, protocol=2)
        for item in (
            script.LEGACY_MAGIC,
            script.LEGACY_PROTOCOL,
            {"little_endian": True},
        )
    )
    with pytest.raises(pickle.UnpicklingError, match="refused"):
        script.read_legacy_torch(header + pickle.dumps(payload, protocol=2))
    assert capsys.readouterr().out == ""


def test_alexnet_file_is_described_small_and_half_precision():
    data = registry.read_bundled(LPIPS_SPEC)
    assert len(data) <= 6_000_000
    path = registry.bundled_path(LPIPS_SPEC)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert "BSD-3-Clause" in metadata["license"]
    assert "1801.03924" in metadata["paper"]
    assert JUDGE.sha256 in (ROOT / "weights" / "README.md").read_text()
    tensors = safetensors.numpy.load(data)
    assert {x.dtype for name, x in tensors.items() if name.startswith("conv")} == {
        np.dtype(np.float16),
        np.dtype(np.float32),
    }
    script = load_script("make_alexnet_lpips")
    assert serialize(tensors, script.METADATA) == data
    judge = load_lpips_network()
    for index, (name, head) in enumerate(judge.heads.items(), start=1):
        conv = getattr(judge.network, f"conv{index}")
        assert name == f"relu{index}"
        assert head.shape == conv.bias.shape
        np.testing.assert_array_equal(conv.kernel[...], tensors[f"conv{index}.kernel"])


def test_alexnet_script_reads_arrays_and_nothing_else(rng, capsys):
    script = load_script("make_alexnet_lpips")
    layers = {
        f"Conv_{k}": {
            "kernel": rng.standard_normal((1, 1, 2, 3)).astype(np.float32),
            "bias": rng.standard_normal(3).astype(np.float32),
        }
        for k in range(5)
    }
    heads = {
        f"NetLinLayer_{k}": {"Conv_0": {"kernel": np.full((1, 1, 3, 1), k, np.float32)}}
        for k in range(5)
    }
    # NumPy 1 wrote the real file, under the name this module had then.
    written = pickle.dumps({"AlexNet_0": layers} | heads, protocol=3)
    written = written.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    tensors = script.convert(script.read_arrays(written))
    assert len(tensors) == 15
    assert tensors["conv3.kernel"].dtype == np.float16
    np.testing.assert_allclose(
        tensors["conv3.kernel"], layers["Conv_2"]["kernel"], rtol=1e-3
    )
    np.testing.assert_array_equal(tensors["conv5.bias"], layers["Conv_4"]["bias"])
    np.testing.assert_array_equal(tensors["head4.kernel"], [3, 3, 3])
    for payload in (_Attack(), Path("/"), np.float32, print, 3):
        with pytest.raises(pickle.UnpicklingError, match="refused"):
            script.read_arrays(pickle.dumps({"a": payload}, protocol=3))
    assert capsys.readouterr().out == ""


def test_script_reads_the_old_torch_format():
    """A file put together here by the format's rules, with two tensors."""
    script = load_script()

    # Written by hand, since no torch is here to be pickled: opcodes of protocol 2.
    def tensor(kind, key, count, shape):
        pid = (
            b"(X\x07\x00\x00\x00storagectorch\n" + kind + b"\n"
            b"X\x01\x00\x00\x00"
            + key
            + b"X\x03\x00\x00\x00cpu"
            + b"K"
            + bytes([count])
            + b"NtQ"
        )
        sizes = b"(" + b"".join(b"K" + bytes([n]) for n in shape) + b"t"
        strides = b"(" + b"".join(
            b"K" + bytes([int(np.prod(shape[i + 1 :]))]) for i in range(len(shape))
        ) + b"t"  # fmt: skip
        return (
            b"ctorch._utils\n_rebuild_tensor_v2\n("
            + pid
            + b"K\x00"
            + sizes
            + strides
            + b"\x89ccollections\nOrderedDict\n)RtR"
        )

    body = (
        b"\x80\x02}(X\x01\x00\x00\x00a"
        + tensor(b"FloatStorage", b"0", 6, (2, 3))
        + b"X\x01\x00\x00\x00b"
        + tensor(b"ByteStorage", b"1", 4, (4,))
        + b"u."
    )
    floats = np.arange(6, dtype="<f4")
    stream = io.BytesIO()
    for item in (script.LEGACY_MAGIC, script.LEGACY_PROTOCOL, {"little_endian": True}):
        stream.write(pickle.dumps(item, protocol=2))
    stream.write(body)
    stream.write(pickle.dumps(["0", "1"], protocol=2))
    stream.write((6).to_bytes(8, "little") + floats.tobytes())
    stream.write((4).to_bytes(8, "little") + bytes([9, 8, 7, 6]))
    found = script.read_legacy_torch(stream.getvalue())
    np.testing.assert_array_equal(found["a"], floats.reshape(2, 3))
    np.testing.assert_array_equal(found["b"], [9, 8, 7, 6])


def test_vgg16_script_gives_what_torchvision_has(rng):
    script = load_script("make_vgg16")
    widths = [3, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4]
    arrays = {}
    for index, (inner, outer) in enumerate(itertools.pairwise(widths)):
        name = f"VGG16_0.Conv_{index}"
        arrays[f"{name}.kernel"] = rng.standard_normal((3, 3, inner, outer))
        arrays[f"{name}.bias"] = rng.standard_normal(outer)
    tensors = script.convert(arrays | {"NetLinLayer_0.Conv_0.kernel": np.ones(1)})
    # Of each of five blocks the convolutions, a ReLU behind each, and a pooling.
    places, place = [], 0
    for depth in (2, 2, 3, 3, 3):
        places += range(place, place + 2 * depth, 2)
        place += 2 * depth + 1
    assert set(tensors) == {
        f"features.{place}.{kind}" for place in places for kind in ("weight", "bias")
    }
    kernel = tensors[f"features.{places[5]}.weight"]
    assert kernel.shape == (3, 3, 3, 3)
    assert kernel[2, 0, 1, 2] == arrays["VGG16_0.Conv_5.kernel"][1, 2, 0, 2]
