"""The one way the scripts here write a weight file, the same from every machine."""

import hashlib
from pathlib import Path

from numpy.typing import NDArray

from jaxnst.pretrained.formats import serialize


def write(path: Path, tensors: dict[str, NDArray], metadata: dict[str, str]) -> None:
    """Write a file and print its hash.

    Args:
        path: file to write.
        tensors: arrays of uint8, float16 or float32, by name.
        metadata: free text, by key.
    """
    data = serialize(tensors, metadata)
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    print(f"{path}: {len(data)} bytes, sha256 {digest}")
