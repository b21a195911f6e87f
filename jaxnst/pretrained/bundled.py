"""The weight files that come with jaxnst: found, and checked before use."""

import hashlib
from pathlib import Path

from .specs import BundledFile, FileSpec


_PACKAGE = Path(__file__).parent.parent
# In an installed wheel the files lie inside the package, in a checkout beside it.
_FOLDERS = (_PACKAGE / "_weights", _PACKAGE.parent / "weights")


def bundled_path(spec: FileSpec) -> Path:
    """Return where the bundled file of `spec` lies.

    Raises:
        FileNotFoundError: if it is nowhere.
    """
    file = _bundled_file(spec)
    for folder in _FOLDERS:
        if (folder / file.filename).is_file():
            return folder / file.filename
    raise FileNotFoundError(
        f"the weights of {spec.name!r} are missing: no {file.filename} in "
        f"{' or '.join(map(str, _FOLDERS))}. Install jaxnst again."
    )


def read_bundled(spec: FileSpec) -> bytes:
    """Return the bytes of the bundled file of `spec`, once their hash is right.

    Raises:
        FileNotFoundError: if the file is nowhere.
        ValueError: if it is not the file it should be.
    """
    path = bundled_path(spec)
    data = path.read_bytes()
    digest, expected = hashlib.sha256(data).hexdigest(), _bundled_file(spec).sha256
    if digest != expected:
        raise ValueError(
            f"the weights of {spec.name!r} are damaged: {path} ({len(data)} bytes) has "
            f"sha256 {digest}, expected {expected}. Install jaxnst again (in a "
            "checkout: git restore weights)."
        )
    return data


def _bundled_file(spec: FileSpec) -> BundledFile:
    if not isinstance(spec.source, BundledFile):
        raise TypeError(f"the weights of {spec.name!r} are not bundled")
    return spec.source
