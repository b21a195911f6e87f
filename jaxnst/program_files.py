"""Files of compiled programs.

Each is written beside its place and renamed, with a checksum, so one that was cut short
or damaged is as good as none.

`JAXNST_CACHE_DIR` moves the folder, `JAXNST_CACHE=0` does without it.
"""

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path


# The oldest go once there is more. A program is half a megabyte to a few.
MAX_CACHE_BYTES = 1_000_000_000
# Half-written files of processes that were killed go after an hour.
_STALE_SECONDS = 3600
PROGRAM = ".program"
# What is known of a call before it is traced, see `jaxnst.fingerprints`.
KNOWN = ".known"


def cache_folder() -> Path | None:
    """Return where compiled programs are kept; None if they are not."""
    if os.environ.get("JAXNST_CACHE", "").strip().lower() in ("0", "off", "false"):
        return None
    try:
        if given := os.environ.get("JAXNST_CACHE_DIR"):
            return Path(given).expanduser()
        return _cache_base() / "jaxnst"
    except RuntimeError:  # a user without a home, as in some containers
        return None


def _cache_base() -> Path:
    if sys.platform == "win32":
        if given := os.environ.get("LOCALAPPDATA"):
            return Path(given)
        return Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given)
    return Path.home() / ".cache"


def read_file(path: Path) -> bytes | None:
    """Return what a file holds; None if it is not there or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    with contextlib.suppress(OSError):  # a folder may be for reading only
        os.utime(path)  # for `_prune`: used just now
    return data[32:]


def write_file(path: Path, data: bytes) -> None:
    """Write a file; where that cannot be done, nothing.

    A full disk or a folder for reading only must not keep anybody from painting.
    """
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
        _prune(path.parent)


def _prune(folder: Path) -> None:
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < time.time() - _STALE_SECONDS:
                part.unlink()
    entries = []
    for path in (*folder.glob(f"*{PROGRAM}"), *folder.glob(f"*{KNOWN}")):
        with contextlib.suppress(OSError):  # another process was quicker
            status = path.stat()
            entries.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= MAX_CACHE_BYTES:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
