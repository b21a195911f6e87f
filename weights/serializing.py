"""The one way the scripts here write a weight file, the same from every machine."""

import hashlib
import json
import struct
from pathlib import Path

from numpy.typing import NDArray


DTYPES = {"uint8": "U8", "float16": "F16", "float32": "F32"}


def serialize(tensors: dict[str, NDArray], metadata: dict[str, str]) -> bytes:
    """Write safetensors with a fixed order.

    Not `safetensors.numpy.save`: it promises no order for the metadata, and the file
    has to come out the same from every version.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict = {"__metadata__": metadata}
    offset = 0
    for name in names:
        array = tensors[name]
        header[name] = {
            "dtype": DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(
        tensors[name].astype(tensors[name].dtype.newbyteorder("<")).tobytes()
        for name in names
    )
    return struct.pack("<Q", len(text)) + text + body


def write(path: Path, tensors: dict[str, NDArray], metadata: dict[str, str]) -> None:
    """Write a file and print its hash."""
    data = serialize(tensors, metadata)
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    print(f"{path}: {len(data)} bytes, sha256 {digest}")
