"""Weights in the files of other frameworks: Keras' .h5 and PyTorch's .pth.

Their readers are extras: `pip install jaxnst[h5]` and `pip install jaxnst[torch]`.
"""

import re
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .tensors import MAX_TENSORS, Arrays, TensorFile, as_float32, check_shapes


# How keras.applications' VGGs name a tensor in older files: block1_conv1_W_1:0 within
# its layer (Keras 1), block1_conv1/kernel:0 (2), block1_conv1/kernel (3).
_APPLICATION = re.compile(
    r"(block\d+_conv\d+)/\1(?:_|(?:_\d+)?/)(W|b|kernel|bias)(?:_\d+)?(?::0)?"
)
# Before it, a file could run code even with weights_only=True (CVE-2025-32434).
MIN_TORCH = (2, 6)


def open_h5(path: Path) -> TensorFile:
    """Open an HDF5 file; a tensor's name is its path in it.

    That of keras.applications' VGGs is shortened to block1_conv1/kernel or /bias.

    Raises:
        ValueError: if it is damaged, or points to other files.
        ImportError: if h5py is not installed.
    """
    h5py = _import_h5py()
    # Attributes, which might say so too, are not read: HDF5 may not come back from it.
    if "th_kernels" in path.name:
        raise ValueError(
            "its kernels are mirrored, as Theano has them; take the file of tf_kernels"
        )
    shapes: dict[str, tuple[int, ...]] = {}
    paths: dict[str, str] = {}

    def visit(path: str, node: Any) -> None:
        if len(shapes) > MAX_TENSORS:
            raise ValueError("it holds too many tensors")
        if isinstance(node, h5py.Dataset) and node.shape is not None:
            if node.external or node.is_virtual:
                raise ValueError(f"its tensor {path[:40]!r} lies in another file")
            name = _short_name(path)
            if name in paths:
                raise ValueError(f"it names {name[:40]!r} twice")
            paths[name] = path
            shapes[name] = tuple(map(int, node.shape))

    def list_shapes(file: Any) -> None:
        file.visititems(visit)  # follows no links out of the file, and none twice

    _reading_h5(path, list_shapes)
    check_shapes(dict.fromkeys(shapes, ()))

    def read(names: Collection[str]) -> Arrays:
        check_shapes({name: shapes[name] for name in names})
        arrays: Arrays = {}

        def read_all(file: Any) -> None:
            for name in names:
                dataset = file[paths[name]]
                if dataset.shape != shapes[name]:
                    raise ValueError(f"its tensor {name!r} changed while it was read")
                arrays[name] = np.asarray(dataset[()])

        _reading_h5(path, read_all)
        return as_float32(arrays)

    return TensorFile(shapes, {}, read)


def _short_name(path: str) -> str:
    name = path.removeprefix("model_weights/")  # where Keras saved a whole model
    match = _APPLICATION.fullmatch(name)
    if match is None:
        return name
    return f"{match[1]}/{'kernel' if match[2] in ('W', 'kernel') else 'bias'}"


def _import_h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise ImportError(
            "reading .h5 needs h5py. Install it with `pip install jaxnst[h5]`."
        ) from None
    return h5py


def _reading_h5(path: Path, read_fn: Any) -> None:
    h5py = _import_h5py()
    try:
        with h5py.File(path, "r") as file:
            read_fn(file)
    except ValueError:
        raise
    except Exception as error:  # HDF5 itself raises OSError, KeyError, RuntimeError
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"it is no readable HDF5 file: {text}") from None


def open_torch(path: Path) -> TensorFile:
    """Open a state dict that PyTorch saved; nothing but tensors is unpickled.

    Raises:
        ValueError: if it is damaged, or holds other things.
        ImportError: if PyTorch is not installed, or is too old to be safe.
    """
    try:
        import torch  # type: ignore[import-not-found]
    except ImportError:
        raise ImportError(
            f"reading {path.name} needs PyTorch. Install it with `pip install "
            "jaxnst[torch]`; or, where it is installed, convert the file once: `jaxnst "
            f"networks convert {path.name} {path.stem}.safetensors`."
        ) from None
    version = tuple(map(int, re.findall(r"\d+", torch.__version__)[:2]))
    if version < MIN_TORCH:
        raise ImportError(
            f"reading {path.name} needs PyTorch 2.6 or later, where that is safe; this "
            f"is {torch.__version__}."
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # of what is then refused
            loaded = torch.load(
                path,
                map_location="cpu",
                weights_only=True,
                # Only what is wanted is then read; torch before 1.6 wrote no zip.
                mmap=zipfile.is_zipfile(path),
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
    shapes = {name: tuple(map(int, value.shape)) for name, value in loaded.items()}
    check_shapes(shapes)

    def read(names: Collection[str]) -> Arrays:
        tensors = {name: loaded[name].detach() for name in names}
        return {
            name: (x.float() if x.is_floating_point() else x).numpy()
            for name, x in tensors.items()
        }

    return TensorFile(shapes, {}, read)
