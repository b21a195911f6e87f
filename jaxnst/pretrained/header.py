"""The header of a safetensors file, read as if a stranger had written it.

A file is a length (8 bytes, little-endian), that much JSON, and the data. The JSON
names every tensor's dtype, shape and place in the data, in any order. The safetensors
library reads whole files only; here a part of a file on a server has to do.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


LENGTH_BYTES = 8
# That of ResNet-50 takes 29 kB.
MAX_HEADER_BYTES = 4_000_000
MAX_RANK = 8
MAX_NAME_LENGTH = 200

# What safetensors has in whole bytes, as NumPy calls it or what comes nearest: only
# floating-point numbers are ever used.
_DTYPES = {
    **{"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4"},
    **{"I32": "<i4", "U64": "<u8", "I64": "<i8", "C64": "<c8"},
    **{"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"},
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0"), "u1"),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), "u1"),
}


class TensorPlace(NamedTuple):
    """Where a tensor lies in the data, from its first byte to behind its last."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class Header(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: name to place.
        metadata: free text.
        data_start: where in the file the data begins, in bytes.
    """

    tensors: Mapping[str, TensorPlace]
    metadata: Mapping[str, str]
    data_start: int


def header_length(start: bytes) -> int:
    """Return how many bytes of JSON the first 8 bytes of a file announce.

    Raises:
        ValueError: if there are not 8, or they announce nothing sensible.
    """
    if len(start) < LENGTH_BYTES:
        raise ValueError(f"it has {len(start)} bytes, too few for a safetensors file")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise ValueError(
            f"it is no safetensors file: its header would take {length} bytes"
        )
    return length


def parse_header(start: bytes, file_size: int | None) -> Header:
    """Return what a safetensors file holds.

    Args:
        start: the file's first bytes, at least to the end of its header.
        file_size: in bytes, if it is known.

    Raises:
        ValueError: if the header is cut short, is no JSON of the right form, or if the
            tensors overlap, leave holes or reach beyond the file.
    """
    length = header_length(start)
    text = start[LENGTH_BYTES : LENGTH_BYTES + length]
    if len(text) < length:
        raise ValueError(
            f"it is cut short: its header takes {length} bytes, {len(text)} are there"
        )
    entries = _parse_json(text)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise ValueError("its metadata is not text")
    tensors = {name: _place(name, entry) for name, entry in entries.items()}
    data_start = LENGTH_BYTES + length
    _check_places(tensors, None if file_size is None else file_size - data_start)
    return Header(tensors, metadata, data_start)


def decode(place: TensorPlace, data: bytes) -> np.ndarray:
    """Return a tensor; bfloat16, which NumPy does not have, in float32.

    Args:
        place: of the tensor.
        data: just its bytes.
    """
    values = np.frombuffer(data, _DTYPES[place.dtype])
    if place.dtype == "BF16":  # the upper half of a float32
        values = (values.astype("<u4") << 16).view("<f4")
    return values.reshape(place.shape)


def serialize(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file.

    The library's own writer shuffles the metadata, so the same weights would not be the
    same file, with the same hash, twice.

    Args:
        tensors: float32.
        metadata: free text.
    """
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    parts: list[bytes] = []
    reached = 0
    for name, tensor in sorted(tensors.items()):
        parts.append(np.ascontiguousarray(tensor, "<f4").tobytes())
        offsets = [reached, reached := reached + len(parts[-1])]
        shape = list(tensor.shape)
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data is aligned
    return b"".join([len(text).to_bytes(LENGTH_BYTES, "little"), text, *parts])


def check_name(name: str) -> None:
    """Check that a tensor's name can be shown: a file must not steer the terminal.

    Raises:
        ValueError: if it is too long or has control characters.
    """
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise ValueError(f"a tensor has the name {name[:40]!r}, which is not sensible")


def _parse_json(text: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("its header is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"its header is not JSON: {error}") from None
    if not isinstance(entries, dict):
        raise ValueError("its header is not a JSON object")
    return entries


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("its header names something twice")
    return entries


def _refuse_constant(name: str) -> None:
    raise ValueError(f"its header holds {name}")


def _place(name: str, entry: object) -> TensorPlace:
    check_name(name)
    if not isinstance(entry, dict) or entry.keys() != {
        "dtype",
        "shape",
        "data_offsets",
    }:
        raise ValueError(f"its tensor {name!r} needs dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"its tensor {name!r} has the unknown dtype {str(dtype)[:40]}")
    if not _are_counts(shape) or len(shape) > MAX_RANK:
        raise ValueError(f"its tensor {name!r} has no proper shape")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"its tensor {name!r} has no proper data_offsets")
    start, end = offsets
    size = np.dtype(_DTYPES[dtype]).itemsize * math.prod(shape)
    if end - start != size:
        raise ValueError(
            f"its tensor {name!r} has {end - start} bytes of data; its shape needs "
            f"{size}"
        )
    return TensorPlace(dtype, tuple(shape), start, end)


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )


def _check_places(tensors: Mapping[str, TensorPlace], data_size: int | None) -> None:
    """Check that the tensors cover the data, each byte once."""
    reached = 0
    for name, place in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if place.start != reached:
            what = "overlaps another" if place.start < reached else "follows a hole"
            raise ValueError(f"its tensor {name!r} {what}")
        reached = place.end
    if data_size is not None and reached != data_size:
        what = "cut short" if reached > data_size else "longer than its header says"
        raise ValueError(
            f"it is {what}: its tensors take {reached} bytes, {data_size} are there"
        )
