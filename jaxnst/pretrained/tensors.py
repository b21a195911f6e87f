"""Files of named tensors, whatever their format: shapes first, values when asked for.

Whoever wrote them: nothing here runs code that a file holds, and nothing is read or
allocated before its size is known to be sensible.
"""

import contextlib
import hashlib
import math
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .header import (
    LENGTH_BYTES,
    MAX_RANK,
    Header,
    check_name,
    decode,
    header_length,
    parse_header,
)


SUFFIXES = (".safetensors", ".npz", ".h5", ".hdf5", ".pth", ".pt")
# All of VGG-19, its three dense layers included, takes 0.6 GB.
MAX_BYTES = 4_000_000_000
MAX_TENSORS = 20_000

Shapes = Mapping[str, tuple[int, ...]]
Arrays = dict[str, np.ndarray]


class TensorFile(NamedTuple):
    """A file of tensors, opened.

    Attributes:
        shapes: of all tensors.
        metadata: what the file says about itself.
        read: returns the tensors of these names; floating-point ones in float32.
    """

    shapes: Shapes
    metadata: Mapping[str, str]
    read: Callable[[Collection[str]], Arrays]


def open_tensors(path: Path) -> TensorFile:
    """Open a file of any format that is known; the name's ending says which.

    Raises:
        ValueError: if the file is not what its name says, or is damaged.
        OSError: if it cannot be read.
        ImportError: if a package that reads it is not installed.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file of weights {path}")
    if not path.is_file():
        raise ValueError("it is no file")
    suffix = path.suffix.lower()
    readers: dict[str, Callable[[Path], TensorFile]] = {
        ".safetensors": open_safetensors,
        ".npz": _open_npz,
    }
    if suffix in (".h5", ".hdf5"):
        from .foreign import open_h5

        readers[suffix] = open_h5
    elif suffix in (".pth", ".pt"):
        from .foreign import open_torch

        readers[suffix] = open_torch
    if suffix not in readers:
        raise ValueError(
            f"its name does not end in one of {', '.join(SUFFIXES)}, which would say "
            "what it is"
        )
    return readers[suffix](path)


@contextlib.contextmanager
def naming(name: str | Path) -> Iterator[None]:
    """Name the file in what is said of it.

    Raises:
        ValueError: in place of every other one.
    """
    try:
        yield
    except ValueError as error:
        if isinstance(error, OSError):  # of a server; it says enough itself
            raise
        # Libraries take more than a line, and repeat what the file has in it.
        text = "".join(c if c.isprintable() else " " for c in str(error))
        text = " ".join(text.split()).rstrip(".")
        raise ValueError(f"{name} cannot be used: {text}.") from error


def open_safetensors(path: Path) -> TensorFile:
    """Open a safetensors file.

    Raises:
        ValueError: if it is damaged.
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        start += file.read(header_length(start))
        header = parse_header(start, path.stat().st_size)

    def fetch(spans: list[tuple[int, int]]) -> list[bytes]:
        with path.open("rb") as file:
            return [_read_span(file, *span) for span in spans]

    return from_header(header, fetch)


def _read_span(file: Any, start: int, end: int) -> bytes:
    file.seek(start)
    data = file.read(end - start)
    if len(data) < end - start:
        raise ValueError("it became shorter while it was read")
    return data


def load_safetensors(data: bytes) -> TensorFile:
    """Open the bytes of a safetensors file.

    Raises:
        ValueError: if it is damaged.
    """
    header = parse_header(data, len(data))
    return from_header(header, lambda spans: [data[a:b] for a, b in spans])


def from_header(
    header: Header, fetch: Callable[[list[tuple[int, int]]], list[bytes]]
) -> TensorFile:
    """Return a safetensors file whose data is fetched when it is asked for.

    Args:
        header: of the file.
        fetch: returns the bytes of spans (first byte, behind the last) of the file.
    """

    def read(names: Collection[str]) -> Arrays:
        places = {name: header.tensors[name] for name in names}
        check_shapes({name: place.shape for name, place in places.items()})
        first = header.data_start
        spans = [(first + place.start, first + place.end) for place in places.values()]
        parts = zip(places.items(), fetch(spans), strict=True)
        return as_float32({name: decode(place, data) for (name, place), data in parts})

    shapes = {name: place.shape for name, place in header.tensors.items()}
    return TensorFile(shapes, header.metadata, read)


def check_shapes(shapes: Shapes) -> None:
    """Check that tensors of these shapes can be read: their number, names and size.

    Raises:
        ValueError: if that is more than any network here has.
    """
    if len(shapes) > MAX_TENSORS:
        raise ValueError(f"it holds {len(shapes)} tensors, too many")
    for name, shape in shapes.items():
        check_name(name)
        if len(shape) > MAX_RANK:
            raise ValueError(f"its tensor {name!r} has {len(shape)} axes, too many")
    num_bytes = 4 * sum(math.prod(shape) for shape in shapes.values())
    if num_bytes > MAX_BYTES:
        raise ValueError(f"its tensors would take {num_bytes / 1e9:.3g} GB, too much")


def as_float32(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Return floating-point tensors in float32, and others as they are.

    What is beyond float32 becomes infinite; `jaxnst.pretrained.layouts` refuses that.
    """
    with np.errstate(over="ignore"):
        return {
            name: np.asarray(array, np.float32 if array.dtype.kind == "f" else None)
            for name, array in arrays.items()
        }


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_npz(path: Path) -> TensorFile:
    members = _npz_shapes(path)
    check_shapes({name: shape for name, (shape, _) in members.items()})

    def read(names: Collection[str]) -> Arrays:
        return as_float32(_read_npz(path, members, names))

    return TensorFile({name: shape for name, (shape, _) in members.items()}, {}, read)


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """Say what could not be read; NumPy and zipfile raise a dozen kinds of errors.

    NumPy's own text would advise to allow pickles.
    """
    try:
        yield
    except Exception as error:  # an OSError, too, from a seek to nowhere
        raise ValueError(f"{what} is damaged or no .npz") from error


def _npz_shapes(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    members: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        with _reading("it"):
            archive = stack.enter_context(zipfile.ZipFile(file))
            entries = archive.infolist()
        if len(entries) > MAX_TENSORS:
            raise ValueError(f"it holds {len(entries)} tensors, too many")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            check_name(name)
            if name in members:
                raise ValueError(f"it names {name!r} twice")
            with _reading(f"its tensor {name!r}"), archive.open(entry) as member:
                shape, dtype = _npy_header(member)
            if dtype.hasobject:
                raise ValueError(f"its tensor {name!r} holds Python objects")
            members[name] = shape, dtype
    return members


def _npy_header(member: Any) -> tuple[tuple[int, ...], np.dtype]:
    read_fn = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(member)]
    shape, _, dtype = read_fn(member)
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("a size that is none")
    return shape, dtype


def _read_npz(
    path: Path,
    members: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    names: Collection[str],
) -> Arrays:
    # The shapes were checked, and NumPy reads no more than they need.
    check_shapes({name: members[name][0] for name in names})
    arrays: Arrays = {}
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        with _reading("it"):
            archive = stack.enter_context(np.load(file, allow_pickle=False))
        for name in names:
            with _reading(f"its tensor {name!r}"):
                arrays[name] = archive[name]
            if (arrays[name].shape, arrays[name].dtype) != members[name]:
                raise ValueError(f"its tensor {name!r} changed while it was read")
    return arrays
