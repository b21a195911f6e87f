"""Files of named tensors: safetensors, PyTorch's .pth and Keras' .h5.

Shapes come first, values when they are asked for. Nothing here runs code that a file
holds. PyTorch and h5py are extras: `pip install jaxnst[torch]`, `jaxnst[h5]`.
"""

import contextlib
import json
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from jaxnst._checks import one_line, plain


# Before it, a file could run code even with weights_only=True (CVE-2025-32434).
_MIN_TORCH = (2, 6)
# How keras.applications' VGGs name a tensor in .h5: block1_conv1_W_1:0 within its layer
# (Keras 1), block1_conv1/kernel:0 (2), block1_conv1/kernel (3).
_APPLICATION = re.compile(
    r"(block\d+_conv\d+)/\1(?:_|(?:_\d+)?/)(W|b|kernel|bias)(?:_\d+)?(?::0)?"
)

Shapes = Mapping[str, tuple[int, ...]]
Arrays = dict[str, np.ndarray]


class TensorFile(NamedTuple):
    """A file of tensors, opened.

    Attributes:
        metadata: text that the file holds about itself, by key.
        read: function from names to {name: array}, of the dtypes in the file.
    """

    shapes: Shapes
    metadata: Mapping[str, str]
    read: Callable[[Collection[str]], Arrays]


def open_tensors(path: Path) -> TensorFile:
    """Return an open file of tensors; the ending of its name gives the format."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file of weights {path}")
    if not path.is_file():
        raise ValueError("it is not a file")
    open_fn = _OPENERS.get(path.suffix.lower())
    if open_fn is None:
        raise ValueError(
            f"its name must end in one of {', '.join(SUFFIXES)}; convert other formats "
            "to safetensors"
        )
    return open_fn(path)


@contextlib.contextmanager
def naming(name: str | Path) -> Iterator[None]:
    """Put the name of a file into each ValueError about its content, in one line."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, OSError):  # of a server; its text is enough
            raise
        # Libraries take more than a line, and repeat what the file has in it.
        text = plain(" ".join(str(error).split())).rstrip(".")
        raise ValueError(f"{name} cannot be used: {text}.") from error


@contextlib.contextmanager
def _reading(expected: str) -> Iterator[None]:
    """Turn the errors of a library into one kind, of one line."""
    try:
        yield
    except Exception as error:  # of a dozen kinds
        if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
            raise
        text = one_line(error)[:200]
        raise ValueError(f"it is damaged or not {expected}: {text}") from error


def shorten(text: str) -> str:
    """Return a text out of a file for a message: at most its first 100 characters."""
    return text if len(text) <= 100 else f"{text[:97]}..."


def _open_safetensors(path: Path) -> TensorFile:
    def opened() -> Any:
        return safetensors.safe_open(path, framework="numpy")

    def read(names: Collection[str]) -> Arrays:
        with _reading("a safetensors file"), opened() as file:
            return {name: file.get_tensor(name) for name in names}

    with path.open("rb"):  # an OSError of it says enough itself
        pass
    with _reading("a safetensors file"), opened() as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return TensorFile(shapes, file.metadata() or {}, read)


def serialize(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file; equal arguments give equal bytes.

    The library's own writer shuffles the metadata, so its files have no fixed hash.
    """
    data = safetensors.numpy.save(dict(tensors))
    start = 8 + int.from_bytes(data[:8], "little")
    header = {"__metadata__": dict(metadata)} | json.loads(data[8:start])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data is aligned
    return b"".join([len(text).to_bytes(8, "little"), text, data[start:]])


def decode_codebook(data: bytes) -> dict[str, dict[str, np.ndarray]]:
    """Return {layer: {"kernel": array, "bias": array}} of a codebook file.

    It holds `LAYER.codes` (3, 3, in, out) uint8, `LAYER.table` (256,) float32 and
    `LAYER.bias` (out,) float32: 8-bit codes into a table of values per layer, a quarter
    of the size of float32. For the bundled VGG-19 the error is 0.4 % to 0.9 % of a
    layer's weights, far below what a picture shows.
    """
    tensors = safetensors.numpy.load(data)
    return {
        name: {
            "kernel": tensors[f"{name}.table"][tensors[f"{name}.codes"]],
            "bias": tensors[f"{name}.bias"],
        }
        for name in sorted({key.split(".")[0] for key in tensors})
    }


def _open_torch(path: Path) -> TensorFile:
    try:
        import torch  # type: ignore[import-not-found]
    except ImportError:
        raise ImportError(
            f"reading {path.name} needs PyTorch. Install it with `pip install "
            "jaxnst[torch]`; or, where it is installed, convert the file once: `jaxnst "
            f"networks convert {path.name} {path.stem}.safetensors`."
        ) from None
    version = tuple(map(int, re.findall(r"\d+", torch.__version__)[:2]))
    if version < _MIN_TORCH:
        raise ImportError(
            f"reading {path.name} needs PyTorch 2.6 or later, where that is safe; this "
            f"is {torch.__version__}."
        )
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        with _reading("a file of PyTorch"), zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        # PyTorch packs nothing; a packed or overlapping part may be of any size.
        if unpacked > path.stat().st_size:
            raise ValueError(f"it is damaged: its parts would take {unpacked} bytes")
    try:
        with warnings.catch_warnings(action="ignore"):  # about files that are refused
            loaded = torch.load(
                path,
                map_location="cpu",
                weights_only=True,
                # Only the tensors used are then read; torch before 1.6 wrote no zip.
                mmap=is_zip,
            )
    except OSError:
        raise
    except Exception as error:  # of many kinds
        # Its own text would advise to let the file run code.
        raise ValueError(
            "it is damaged, or holds other things than tensors, which PyTorch could "
            "read only by running code that is in the file"
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor)
        for name, value in loaded.items()
    ):
        raise ValueError("it is no state dict: names and tensors")

    def read(names: Collection[str]) -> Arrays:
        tensors = {name: loaded[name].detach() for name in names}
        return {  # NumPy has no bfloat16
            name: (x.float() if x.is_floating_point() else x).numpy()
            for name, x in tensors.items()
        }

    shapes = {name: tuple(map(int, value.shape)) for name, value in loaded.items()}
    return TensorFile(shapes, {}, read)


def _open_h5(path: Path) -> TensorFile:
    """Open an HDF5 file; a tensor's name is its path in it.

    That of keras.applications' VGGs is shortened to block1_conv1/kernel or /bias.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError(
            "reading .h5 needs h5py. Install it with `pip install jaxnst[h5]`."
        ) from None
    # Attributes, which might say so too, are not read: HDF5 may not come back from it.
    if "th_kernels" in path.name:
        raise ValueError(
            "its kernels are mirrored, as Theano has them; take the file of tf_kernels"
        )
    shapes: dict[str, tuple[int, ...]] = {}
    places: dict[str, str] = {}

    def visit(place: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape is not None:
            if node.external or node.is_virtual:
                raise ValueError(f"its tensor {shorten(place)!r} lies in another file")
            name = place.removeprefix("model_weights/")  # where it is a whole model
            if match := _APPLICATION.fullmatch(name):
                kind = "kernel" if match[2] in ("W", "kernel") else "bias"
                name = f"{match[1]}/{kind}"
            if name in places:
                raise ValueError(f"it names {shorten(name)!r} twice")
            places[name] = place
            shapes[name] = tuple(map(int, node.shape))

    with _reading("an HDF5 file"), h5py.File(path, "r") as file:
        file.visititems(visit)  # follows no links out of the file, and none twice

    def read(names: Collection[str]) -> Arrays:
        with _reading("an HDF5 file"), h5py.File(path, "r") as file:
            for name in names:
                _check_h5(name, file[places[name]])
            return {name: np.asarray(file[places[name]]) for name in names}

    return TensorFile(shapes, {}, read)


def _check_h5(name: str, tensor: Any) -> None:
    """Refuse a tensor that takes more memory than its shape or the file says."""
    dtype = tensor.dtype
    if dtype.kind not in "fiu" or dtype.itemsize > 8:  # texts may be of any length
        raise ValueError(
            f"its tensor {shorten(name)!r} is {shorten(str(dtype))}, not floats"
        )
    chunk = math.prod(tensor.chunks or ()) * dtype.itemsize
    if chunk > max(tensor.nbytes, 2**20):
        raise ValueError(f"its tensor {shorten(name)!r} has chunks of {chunk} bytes")
    if tensor.size and not tensor.id.get_storage_size():
        raise ValueError(f"its tensor {shorten(name)!r} has a shape, but no values")


_OPENERS = {
    ".safetensors": _open_safetensors,
    ".pth": _open_torch,
    ".pt": _open_torch,
    ".h5": _open_h5,
    ".hdf5": _open_h5,
}
SUFFIXES = tuple(_OPENERS)
