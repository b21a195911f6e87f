"""Files that are there as a whole or not at all; their locks and hashes."""

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock


# Files that systems leave in folders that are merely looked at.
NEGLIGIBLE = {".DS_Store", "Thumbs.db", "desktop.ini"}


def _place_beside(path: Path) -> Path:
    """Return where a file is written before it is moved to its place."""
    # Process and thread keep two writers in one folder apart.
    writer = f"{os.getpid()}-{threading.get_ident()}"
    return path.with_name(f".jaxnst-{writer}{path.suffix}.part")


def _resolved(path: Path) -> Path:
    """Return the file that a symbolic link names, even where there is none yet."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def sorted_naturally(paths: Iterable[Path]) -> list[Path]:
    """Return paths with frame 2 before frame 10."""

    def key(path: Path) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", path.name.lower())
        return [(int(x), "") if x.isdecimal() else (-1, x) for x in parts]

    return sorted(paths, key=lambda path: (key(path), path.name))


@contextlib.contextmanager
def named_errors(text: str) -> Iterator[None]:
    """Put a text before the reason of the system's errors; ours pass as they are."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # ours
            raise
        raise type(error)(f"{text}: {error.strerror}") from error


def check_place(path: Path) -> Path:
    """Return `path` if a file can be written there; called before any work."""
    with named_errors(f"output {path} cannot be written"):
        if path.is_dir():
            raise IsADirectoryError(
                f"output {path} is a folder; give a file name in it"
            )
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"output {path}: no such folder: {path.parent}; make it first"
            )
        # Missing permissions, a read-only disk or a name that is too long show now, and
        # not after hours of painting.
        target = _resolved(path)
        is_new = not target.exists()
        try:
            for place in (_place_beside(target), target):
                with place.open("ab"):
                    pass
        finally:
            _place_beside(target).unlink(missing_ok=True)
            if is_new:
                target.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def atomic_write(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield a place to write to; the file written there is moved to `path` at the end.

    If writing fails, the place is cleared and `path` stays as it was. A symbolic link
    stays, and the file that it names is written. The place is beside `path`, hidden, or
    in a `folder` on the same disk that only this writer uses.
    """
    if path.is_symlink():
        path, folder = _resolved(path), None
    beside = _place_beside(path) if folder is None else folder / path.name
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def take_lock(place: Path, message: str) -> filelock.BaseFileLock:
    """Take the lock of a file, where the file system has locks.

    The lock is released when the process dies.

    Raises:
        BlockingIOError: if another run holds it, with this message.
    """
    lock = filelock.FileLock(place, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BlockingIOError(message) from None
    except (OSError, NotImplementedError):
        pass  # the run goes on without
    return lock


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
