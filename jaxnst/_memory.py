"""How much memory this process may still take on the host."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from ._checks import check_memory_size


# Fraction of the available memory: forecasts err, and others use the machine too.
USABLE = 0.9
_LIMIT = "JAXNST_MEMORY_LIMIT"


def given_limit() -> int | None:
    """Return the bytes of `JAXNST_MEMORY_LIMIT`, such as `6G`; None without one."""
    given = os.environ.get(_LIMIT)
    return check_memory_size(_LIMIT, given) if given else None


def host_memory() -> int:
    """Return how many bytes the host has available.

    That is what the system can give without swapping, or the container's limit if that
    is lower. `JAXNST_MEMORY_LIMIT` (such as `6G`) overrides it.
    """
    if (given := given_limit()) is not None:
        return given
    return min([psutil.virtual_memory().available, *container_memory()])


def container_memory(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Return how many bytes each memory limit of this container leaves."""
    found = []
    for folder, limit, used in (
        (root, "memory.max", "memory.current"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        # "max" is no number, and no limit.
        with contextlib.suppress(OSError, ValueError):
            left = int((folder / limit).read_text()) - int((folder / used).read_text())
            # Cached files count as used, but are given up when needed.
            for line in (folder / "memory.stat").read_text().splitlines():
                if line.startswith(("inactive_file ", "total_inactive_file ")):
                    left += int(line.split()[1])
                    break
            found.append(left)
    return found


_FOREIGN = "_is_foreign_to_jaxnst"


@contextlib.contextmanager
def foreign_errors() -> Iterator[None]:
    """Mark a MemoryError of a user's function, which is none of the painting's."""
    try:
        yield
    except MemoryError as error:
        setattr(error, _FOREIGN, True)
        raise


def is_foreign(error: BaseException) -> bool:
    """Return whether an error was marked by `foreign_errors`."""
    return hasattr(error, _FOREIGN)
