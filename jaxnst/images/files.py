"""Files that are there as a whole or not at all."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


def place_beside(path: Path) -> Path:
    """Return where a file is written before it is moved to its place."""
    # Process and thread keep two writers in one folder apart.
    return path.with_name(f".jaxnst-{os.getpid()}-{threading.get_ident()}.part")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a place to write to; what is there in the end is moved to `path`.

    Nothing is left of it where writing fails.
    """
    beside = place_beside(path)
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
