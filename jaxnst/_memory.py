"""How much memory this process may still take on the host."""

import contextlib
import os
from pathlib import Path

import psutil

from ._checks import check_memory_size


# Fraction of the available memory: forecasts err, and others use the machine too.
USABLE = 0.9
MEMORY_LIMIT = "JAXNST_MEMORY_LIMIT"


def host_memory() -> int:
    """Return how many bytes the host has available.

    That is what the system can give without swapping, or the container's limit if that
    is lower. `JAXNST_MEMORY_LIMIT` (such as `6G`) overrides it.
    """
    if given := os.environ.get(MEMORY_LIMIT):
        return check_memory_size(MEMORY_LIMIT, given)
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
