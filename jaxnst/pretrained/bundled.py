"""The weight files that come with jaxnst: found, and checked before use."""

import hashlib
from pathlib import Path

from .specs import FileSpec


_PACKAGE = Path(__file__).parent.parent
# In an installed wheel the files lie inside the package, in a checkout beside it.
_FOLDERS = (_PACKAGE / "_weights", _PACKAGE.parent / "weights")


def bundled_path(spec: FileSpec) -> Path:
    """Return where the file of `spec` lies.

    Raises:
        FileNotFoundError: if it is nowhere.
    """
    for folder in _FOLDERS:
        if (folder / spec.filename).is_file():
            return folder / spec.filename
    raise FileNotFoundError(
        f"the weights of {spec.name!r} are missing: no {spec.filename} in "
        f"{' or '.join(map(str, _FOLDERS))}. Install jaxnst again."
    )


def read_bundled(spec: FileSpec) -> bytes:
    """Return the bytes of the file of `spec`, once their hash is right.

    Raises:
        FileNotFoundError: if the file is nowhere.
        ValueError: if it is not the file it should be.
    """
    path = bundled_path(spec)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != spec.sha256:
        raise ValueError(
            f"the weights of {spec.name!r} are damaged: {path} ({len(data)} bytes) has "
            f"sha256 {digest}, expected {spec.sha256}. Install jaxnst again (in a "
            "checkout: git restore weights)."
        )
    return data
