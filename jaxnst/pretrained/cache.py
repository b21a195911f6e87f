"""Downloaded weights, kept in huggingface_hub's assets cache.

`HF_ASSETS_CACHE/jaxnst/OWNER--NAME/REVISION/FILE`, beside it `FILE.sha256` in the form
of `sha256sum`. Both are written beside their place and renamed, the weights last: if
they are there, they are complete. `HF_HOME` or `HF_ASSETS_CACHE` move the folder.
"""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock

from jaxnst.images.files import atomic_write, file_sha256

from .registry import HubFile, WeightSpec


def kept_path(spec: WeightSpec) -> Path:
    """Return where the weights of a spec are kept, whether or not they are there."""
    source = spec.source
    place = (
        (source.repo, source.revision)
        if isinstance(source, HubFile)
        else (spec.name, "own")  # from a file of the user's
    )
    folders = (part.replace("/", "--") for part in place)
    return _root().joinpath(*folders, f"{spec.architecture.name}.safetensors")


def _root() -> Path:
    return Path(constants.HF_ASSETS_CACHE).expanduser().resolve() / "jaxnst"


def all_kept(spec: WeightSpec) -> list[Path]:
    """Return all kept weights of a spec, of every revision, its own first."""
    own = kept_path(spec)
    found = [x for x in own.parent.parent.glob(f"*/{own.name}") if x.is_file()]
    return sorted(found, key=lambda path: (path != own, path))


def check_kept(path: Path) -> str:
    """Return the SHA-256 of kept weights, or raise a ValueError if it has changed."""
    digest = expected = ""
    # Another process may renew them between the two reads; a second try then succeeds.
    for _ in range(2):
        with contextlib.suppress(FileNotFoundError):
            expected = _hash_path(path).read_text(errors="replace").partition(" ")[0]
        digest = file_sha256(path)
        if digest == expected:
            return digest
    raise ValueError(
        f"the weights in {path} are damaged: they have sha256 {digest}, expected "
        f"{expected[:64] or 'one in a file beside them'}."
    )


@contextlib.contextmanager
def lock_kept(path: Path) -> Iterator[None]:
    """Make a folder for weights, where one process or thread at a time may write."""
    folder = path.parent
    # Not in the folder itself, which may be removed while others wait.
    lock = _root() / ".locks" / f"{folder.parent.name}--{folder.name}.lock"
    with contextlib.ExitStack() as stack:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(WeakFileLock(lock))
            folder.mkdir(parents=True, exist_ok=True)
            for part in folder.glob(".*.part"):  # of a process that was killed
                part.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(path, error.strerror or error) from error
        yield


def check_room(path: Path, num_bytes: int) -> None:
    """Raise an OSError if a disk has no room for weights, before the download."""
    if shutil.disk_usage(path.parent).free < num_bytes:
        raise _unwritable(path, os.strerror(errno.ENOSPC), num_bytes)


def write_kept(path: Path, data: bytes) -> None:
    """Keep weights, and their hash; on an OSError, earlier ones stay as they were."""
    line = f"{hashlib.sha256(data).hexdigest()}  {path.name}\n"
    try:
        # The inner one is moved to its place first.
        with atomic_write(path) as weights, atomic_write(_hash_path(path)) as described:
            weights.write_bytes(data)
            described.write_text(line)
    except OSError as error:
        raise _unwritable(path, error.strerror or error, len(data)) from error


def remove_kept(path: Path) -> None:
    """Remove kept weights."""
    with lock_kept(path):
        path.unlink(missing_ok=True)  # first: without it, the rest does not count
        _hash_path(path).unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            with contextlib.suppress(OSError):  # something else is in it
                folder.rmdir()


def _hash_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _unwritable(path: Path, reason: object, num_bytes: int | None = None) -> OSError:
    needed = f", which needs {num_bytes / 1e6:.0f} MB" if num_bytes else ""
    return OSError(
        f"the weights cannot be kept in {path.parent}{needed}: {reason}. Make room or "
        "set HF_HOME to a folder that can be written."
    )
