"""What all benchmarks share: the machine, the versions, the JSON."""

import importlib.metadata
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil


PACKAGES = ("jaxnst", "jax", "jaxlib", "flax", "optax", "numpy", "torch")
# The process that is measured prints one line of JSON, last.
PEAK = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024"


def machine() -> dict[str, Any]:
    """Return what it was measured on."""
    import jax

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        models = [x.split(":")[1].strip() for x in lines if x.startswith("model name")]
        name = next(iter(models), name)
    device = jax.devices()[0]
    return {
        "processor": name,
        "cpus": psutil.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "device": device.device_kind,
        "platform": device.platform,
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of all packages that take part."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write_json(path: Path | None, rows: list[dict[str, Any]]) -> None:
    """Write rows with machine and versions, if there is a path."""
    if path is not None:
        data = {"machine": machine(), "versions": versions(), "rows": rows}
        path.write_text(json.dumps(data, indent=2) + "\n")


def run_fresh(
    code: str,
    *arguments: object,
    python: str = sys.executable,
    environment: dict[str, str] | None = None,
) -> Any:
    """Run code in a process of its own; return its last line, which is JSON.

    Args:
        code: Python.
        arguments: its `sys.argv[1:]`.
        python: the interpreter.
        environment: of the process; by default this one's.
    """
    command = [python, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
