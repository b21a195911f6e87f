"""How much memory there is."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import jax

from ._checks import check_memory_size


def default_device() -> Any:
    """Return where JAX puts arrays that nobody has put elsewhere."""
    device = getattr(jax.config, "jax_default_device", None)
    if isinstance(device, str):
        return jax.local_devices(backend=device)[0]
    return device or jax.local_devices()[0]


def local_devices() -> list[Any]:
    """Return all devices of this machine like the one that JAX computes on."""
    return jax.local_devices(backend=default_device().platform)


def available_memory(num_devices: int = 1) -> int | None:
    """Return how many bytes can still be had where JAX computes; None if unknown.

    For each of so many devices; several of the CPU have its memory between them.

    `JAXNST_MEMORY_LIMIT` (such as `6G`) takes the place of what would be found. On
    accelerators: what the device says. On the CPU: what the system can give without
    swapping, or the container's limit if that is lower.

    Raises:
        ValueError: if `JAXNST_MEMORY_LIMIT` is not a size.
    """
    device = default_device()
    between = num_devices if device.platform == "cpu" else 1
    if given := os.environ.get("JAXNST_MEMORY_LIMIT"):
        return check_memory_size("JAXNST_MEMORY_LIMIT", given) // between
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        if "bytes_limit" not in stats:
            return None
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    found = [x for x in (_system_memory(), *_container_memory()) if x is not None]
    return min(found) // between if found else None


def process_memory() -> int:
    """Return how many bytes of memory this process holds now; 0 if unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def _system_memory() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return _windows_memory()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # All there is, less a quarter for the system and for others.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
    return None


def _windows_memory() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *(
                (name, ctypes.c_ulonglong)
                for name in (
                    "total",
                    "available",
                    "total_page",
                    "available_page",
                    "total_virtual",
                    "available_virtual",
                    "extended",
                )
            ),
        )

    status = Status(length=ctypes.sizeof(Status))
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return status.available


def _container_memory(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Return what the limits of this container leave, of both kinds of cgroups."""
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
