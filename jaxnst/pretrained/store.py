"""Downloaded weights, kept in huggingface_hub's assets cache.

`HF_ASSETS_CACHE/jaxnst/OWNER--NAME/REVISION/FILE`, beside it `FILE.sha256` in the form
of `sha256sum`. Both are written beside their place and renamed, the weights last: where
they are, they are whole. `HF_HOME` or `HF_ASSETS_CACHE` move the folder.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import cached_assets_path, constants
from huggingface_hub.utils import WeakFileLock

from .specs import HubFile, WeightSpec


_LIBRARY = "jaxnst"
_LOCKS = ".locks"
# The revision of a file that the user brought.
OWN = "own"
_REVISION = re.compile(r"\w[\w.\-/]*")


def kept_path(spec: WeightSpec, revision: str | None = None) -> Path:
    """Return where weights are kept once they are; nothing is made.

    Args:
        spec: whose they are; not bundled ones.
        revision: a commit, branch or tag on the Hub; by default that of the spec.

    Raises:
        ValueError: if the revision cannot be one.
    """
    return _root() / Path(*_place(spec, revision)) / _filename(spec)


def _root() -> Path:
    return Path(constants.HF_ASSETS_CACHE).expanduser().resolve() / _LIBRARY


def _place(spec: WeightSpec, revision: str | None) -> tuple[str, str]:
    if not isinstance(spec.source, HubFile):
        return spec.name, OWN
    revision = revision or spec.source.revision
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise ValueError(
            f"`revision` must be a commit, branch or tag, got {revision!r}."
        )
    return spec.source.repo.replace("/", "--"), revision.replace("/", "--")


def _filename(spec: WeightSpec) -> str:
    return f"{spec.architecture.name}.safetensors"


def all_kept(spec: WeightSpec) -> list[Path]:
    """Return all kept weights of a spec, of whatever revision."""
    home = kept_path(spec).parent.parent
    return sorted(path for path in home.glob(f"*/{_filename(spec)}") if path.is_file())


def kept_size(path: Path) -> int:
    """Return how many bytes kept weights take on disk."""
    return path.stat().st_size + _hash_path(path).stat().st_size


def read_kept(path: Path) -> tuple[bytes, str]:
    """Return kept weights and their SHA-256, once that is what it was.

    Raises:
        OSError: if they cannot be read.
        ValueError: if they are damaged.
    """
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    expected = ""
    with contextlib.suppress(FileNotFoundError):
        expected = _hash_path(path).read_text(errors="replace").partition(" ")[0]
    if digest != expected:
        raise ValueError(
            f"the weights in {path} are damaged: they have sha256 {digest}, expected "
            f"{expected[:64] or 'one in a file beside them'}."
        )
    return data, digest


@contextlib.contextmanager
def keeping(spec: WeightSpec, revision: str | None) -> Iterator[Path]:
    """Give the place for weights to whoever comes first; the others wait.

    Raises:
        OSError: if nothing can be written there.
    """
    path = kept_path(spec, revision)
    place = _place(spec, revision)
    with contextlib.ExitStack() as stack:
        try:
            root = constants.HF_ASSETS_CACHE
            folder = cached_assets_path(_LIBRARY, *place, assets_dir=root)
            # Not in the folder itself, which may be removed while others wait.
            locks = cached_assets_path(
                _LIBRARY, _LOCKS, "--".join(place), assets_dir=root
            )
            stack.enter_context(WeakFileLock(locks / "lock"))
            folder.mkdir(parents=True, exist_ok=True)
            for part in folder.glob(".*.part"):  # of a process that was killed
                part.unlink(missing_ok=True)
        except (OSError, ValueError, NotImplementedError) as error:
            raise _unwritable(path, error) from error
        yield path


def check_room(path: Path, num_bytes: int) -> None:
    """Check, before anything is downloaded, that it can be kept.

    Raises:
        OSError: if not.
    """
    try:
        with _beside(path) as beside:
            beside.write_bytes(b"")
        if shutil.disk_usage(path.parent).free < num_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise _unwritable(path, error, num_bytes) from error


def write_kept(path: Path, data: bytes) -> str:
    """Keep weights, and return their SHA-256.

    Raises:
        OSError: if the disk is full or the folder cannot be written; nothing is left.
    """
    digest = hashlib.sha256(data).hexdigest()
    try:
        write_file(_hash_path(path), f"{digest}  {path.name}\n".encode())
        write_file(path, data)
    except OSError as error:
        raise _unwritable(path, error, len(data)) from error
    return digest


def write_file(path: Path, data: bytes) -> None:
    """Write a file beside its place, then move it there.

    Raises:
        OSError: if it cannot be written; then there is nothing, or what was before.
    """
    with _beside(path) as beside:
        with beside.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    beside = path.with_name(f".jaxnst-{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield beside
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def remove_kept(spec: WeightSpec) -> list[Path]:
    """Remove all kept weights of a spec, and return which.

    Raises:
        OSError: if that is not possible.
    """
    paths = all_kept(spec)
    for path in paths:
        with keeping(spec, path.parent.name if path.parent.name != OWN else None):
            path.unlink(missing_ok=True)  # first: without it, the rest does not count
            _hash_path(path).unlink(missing_ok=True)
            for folder in (path.parent, path.parent.parent):
                with contextlib.suppress(OSError):  # something else is in it
                    folder.rmdir()
    return paths


def _hash_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _unwritable(path: Path, error: Exception, num_bytes: int | None = None) -> OSError:
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    needed = f", which needs {num_bytes / 1e6:.0f} MB" if num_bytes else ""
    message = (
        f"the weights cannot be kept in {path.parent}{needed}: {text}. Make room or "
        "set HF_HOME to a folder that can be written."
    )
    return OSError(message)
