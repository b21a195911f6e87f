"""Downloaded weights, kept in huggingface_hub's assets cache.

`HF_ASSETS_CACHE/jaxnst/OWNER--NAME/REVISION/FILE`, beside it `FILE.sha256` in the form
of `sha256sum`. Both are written beside their place and renamed, the weights last: where
they are, they are whole. `HF_HOME` or `HF_ASSETS_CACHE` move the folder.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from huggingface_hub import cached_assets_path, constants
from huggingface_hub.utils import WeakFileLock

from .specs import HubFile, WeightSpec


_LIBRARY = "jaxnst"
_LOCKS = ".locks"
# In place of a revision, where the user brought the file.
_OWN = "own"
# Before it is said that one waits for another process, in seconds.
_PATIENCE = 1.0


def kept_path(spec: WeightSpec) -> Path:
    """Return where weights are kept once they are; nothing is made.

    Args:
        spec: whose they are; not bundled ones.
    """
    source = spec.source
    place = (
        (source.repo, source.revision)
        if isinstance(source, HubFile)
        else (spec.name, _OWN)
    )
    return _root().joinpath(
        *(part.replace("/", "--") for part in place),
        f"{spec.architecture.name}.safetensors",
    )


def _root() -> Path:
    return Path(constants.HF_ASSETS_CACHE).expanduser().resolve() / _LIBRARY


def all_kept(spec: WeightSpec) -> list[Path]:
    """Return all kept weights of a spec, of whatever revision."""
    path = kept_path(spec)
    found = path.parent.parent.glob(f"*/{path.name}")
    return sorted(path for path in found if path.is_file())


def kept_size(path: Path) -> int:
    """Return how many bytes kept weights take on disk."""
    size = path.stat().st_size
    with contextlib.suppress(FileNotFoundError):
        size += _hash_path(path).stat().st_size
    return size


def read_kept(path: Path) -> tuple[bytes, str]:
    """Return kept weights and their SHA-256, once that is what it was.

    Raises:
        OSError: if they cannot be read.
        ValueError: if they are damaged.
    """
    digest = expected = ""
    # Another process may put new ones there in between; then they fit the next time.
    for _ in range(2):
        expected = _kept_hash(path)
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest == expected:
            return data, digest
    raise ValueError(
        f"the weights in {path} are damaged: they have sha256 {digest}, expected "
        f"{expected[:64] or 'one in a file beside them'}."
    )


def _kept_hash(path: Path) -> str:
    try:
        return _hash_path(path).read_text(errors="replace").partition(" ")[0]
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def keeping(
    path: Path, *, on_wait: Callable[[], object] | None = None
) -> Iterator[None]:
    """Give the place for weights to whoever comes first; the others wait.

    Args:
        path: of the weights.
        on_wait: called if that takes a while.

    Raises:
        OSError: if nothing can be written there.
    """
    place = path.parent.parent.name, path.parent.name
    root = constants.HF_ASSETS_CACHE
    with contextlib.ExitStack() as stack:
        try:
            folder = cached_assets_path(_LIBRARY, *place, assets_dir=root)
            # Not in the folder itself, which may be removed while others wait.
            locks = cached_assets_path(
                _LIBRARY, _LOCKS, "--".join(place), assets_dir=root
            )
            stack.enter_context(_locked(locks / "lock", on_wait))
            folder.mkdir(parents=True, exist_ok=True)
            for part in folder.glob(".*.part"):  # of a process that was killed
                part.unlink(missing_ok=True)
        except (OSError, ValueError, NotImplementedError) as error:
            raise _unwritable(path, error) from error
        yield


@contextlib.contextmanager
def _locked(path: Path, on_wait: Callable[[], object] | None) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(path, timeout=_PATIENCE))
        except TimeoutError:
            if on_wait is not None:
                on_wait()
            stack.enter_context(WeakFileLock(path))
        yield


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


def write_kept(path: Path, data: bytes) -> None:
    """Keep weights.

    Raises:
        OSError: if the disk is full or the folder cannot be written; then there is
            nothing, or what was before.
    """
    digest = hashlib.sha256(data).hexdigest()
    line = f"{digest}  {path.name}\n".encode()
    try:
        with _beside(path) as weights, _beside(_hash_path(path)) as described:
            _write(weights, data)
            _write(described, line)
            described.replace(_hash_path(path))
            weights.replace(path)
    except OSError as error:
        raise _unwritable(path, error, len(data)) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file beside its place, then move it there.

    Raises:
        OSError: if it cannot be written; then there is nothing, or what was before.
    """
    with _beside(path) as beside:
        _write(beside, data)
        beside.replace(path)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    writer = f"{os.getpid()}-{threading.get_ident()}"
    beside = path.with_name(f".jaxnst-{writer}{path.suffix}.part")
    try:
        yield beside
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def remove_kept(path: Path) -> None:
    """Remove kept weights.

    Raises:
        OSError: if that is not possible.
    """
    with keeping(path):
        path.unlink(missing_ok=True)  # first: without it, the rest does not count
        _hash_path(path).unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            with contextlib.suppress(OSError):  # something else is in it
                folder.rmdir()


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
