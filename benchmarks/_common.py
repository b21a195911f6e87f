"""What all benchmarks share: options, processes, the machine, the versions, the JSON.

Nothing here needs more than Python itself before it is called, so that the processes
that are measured, torch's among them, may import it.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any


FOLDER = Path(__file__).parent
IMAGES = FOLDER.parent / "examples" / "images"
PACKAGES = ("jaxnst", "jax", "jaxlib", "flax", "optax", "numpy", "torch")
# The gallery of the README, and a fourth of the pictures that come with jaxnst.
PAIRS = (
    "summer_palace,hokusai_great_wave",
    "astronaut,kandinsky_composition_viii",
    "chelsea_cat,van_gogh_auvers",
    "coffee,van_gogh_auvers",
)
MORE_PAIRS = (
    "coffee,hokusai_great_wave",
    "summer_palace,van_gogh_auvers",
    "astronaut,hokusai_great_wave",
    "chelsea_cat,kandinsky_composition_viii",
)
# The smallest picture that jaxnst paints.
MIN_SIZE = 32
# More processes than this, over the last minute, and times say little.
_BUSY = 0.5

Pair = tuple[Path, Path]


def count_of(text: str) -> int:
    """Read a number of times, 1 or more."""
    with contextlib.suppress(ValueError):
        if (value := int(text)) >= 1:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")


def size_of(text: str) -> int:
    """Read a longest side in pixels."""
    with contextlib.suppress(ValueError):
        if (value := int(text)) >= MIN_SIZE:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a size from {MIN_SIZE} px up")


def path_of(name: str) -> Path:
    """Return the picture called `name`: a file, or one that comes with jaxnst."""
    for path in (Path(name), IMAGES / name, IMAGES / f"{name}.jpg"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in IMAGES.glob("*.jpg")))
    raise argparse.ArgumentTypeError(
        f"there is no picture {name!r}; give a file, or one that comes with jaxnst: "
        f"{known}"
    )


def pair_of(text: str) -> Pair:
    """Read `CONTENT,STYLE`."""
    content, comma, style = text.partition(",")
    if not comma:
        raise argparse.ArgumentTypeError(f"{text!r} is not CONTENT,STYLE")
    return path_of(content), path_of(style)


def name_of(pair: Pair) -> str:
    """Return what files and tables call a pair."""
    return "+".join(path.stem for path in pair)


def setting_of(text: str) -> tuple[str, Any]:
    """Read `num_steps=30` or `optimizer=lbfgs`, a setting of `jaxnst.stylize`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def candidate_of(text: str) -> tuple[str, dict[str, Any]]:
    """Read `NAME:SETTING=VALUE,...`."""
    name, _, rest = text.partition(":")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} has no name before its settings")
    # Commas inside braces are those of a value, such as {"relu1_1":1,"relu2_1":2}.
    parts = re.split(r",(?![^{]*})", rest)
    return name, dict(map(setting_of, filter(None, parts)))


def json_path(text: str) -> Path:
    """Read where to write: hours of measuring must not end at a missing folder."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def make_parser(
    doc: str | None,
    *,
    sizes: Sequence[int] | None = None,
    repeats: int | None = None,
    pairs: Sequence[str] | None = None,
    needs_torch: bool = False,
) -> argparse.ArgumentParser:
    """Return a parser with the options that benchmarks have in common.

    Args:
        doc: the benchmark's docstring, shown by `--help`.
        sizes: default of `--sizes`, if there is such an option.
        repeats: default of `--repeats`, if there is such an option.
        pairs: default of `--pairs`, as names, if there is such an option.
        needs_torch: whether there is `--torch-python`.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    if sizes is not None:
        add("--sizes", type=size_of, nargs="+", default=list(sizes), metavar="PX")
    if repeats is not None:
        add("--repeats", type=count_of, default=repeats, help="(%(default)s)")
    if pairs is not None:
        default = list(map(pair_of, pairs))
        add(
            "--pairs", type=pair_of, nargs="+", default=default, metavar="CONTENT,STYLE"
        )
    if needs_torch:
        add("--torch-python", default=sys.executable, help="where torch is installed")
    add("--json", type=json_path, metavar="FILE", help="where to write the results")
    return parser


def run_main(main_fn: Callable[[], int | None]) -> None:
    """Run a benchmark as a command, which ends in a line and never in a traceback."""
    try:
        sys.exit(main_fn())
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        sys.exit(f"error: {error}")


def say_if_busy() -> float:
    """Return the load of the machine, and say so if it is no fair measure."""
    load = os.getloadavg()[0]
    if load > _BUSY:
        print(f"the machine is busy (load {load:.1f}): no fair measure", flush=True)
    return load


def machine(*, with_device: bool = True) -> dict[str, Any]:
    """Return what it was measured on.

    Args:
        with_device: whether to ask JAX for its device, which starts it up.
    """
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        models = [x.split(":")[1].strip() for x in lines if x.startswith("model name")]
        name = next(iter(models), name)
    found = {
        "processor": name,
        "cpus": os.cpu_count(),
        "memory": total_memory(),
        "system": platform.platform(),
    }
    if with_device:
        import jax

        device = jax.devices()[0]
        found |= {"device": device.device_kind, "platform": device.platform}
    return found


def total_memory() -> int:
    """Return how many bytes of memory there are."""
    import psutil

    return psutil.virtual_memory().total


def peak_memory() -> int:
    """Return the most bytes of memory that this process has held."""
    # `ru_maxrss` counts what held the process that started this one, too.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def versions() -> dict[str, str]:
    """Return the versions of Python and of all packages that take part."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def write_json(
    path: Path | None,
    rows: list[dict[str, Any]],
    *,
    torch: str | None = None,
    with_device: bool = True,
    **more: Any,
) -> None:
    """Write rows with machine and versions, if there is a path.

    Args:
        path: path of the file.
        rows: rows of the table.
        torch: the version that took part, if it is not that of this Python.
        with_device: whether to name the device, as for `machine`.
        more: further entries.
    """
    if path is None:
        return
    own = versions() | ({} if torch is None else {"torch": torch})
    data = {"machine": machine(with_device=with_device), "versions": own, **more}
    write_text(path, json.dumps(data | {"rows": rows}, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text)
    beside.replace(path)


def median_ratio(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """Return the median of the ratios of what was measured by turns."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def run_fresh(
    code: str,
    *arguments: object,
    python: str = sys.executable,
    environment: dict[str, str] | None = None,
) -> Any:
    """Run code in a process of its own; return its last line, which is JSON.

    Args:
        code: Python; it may import from this folder.
        arguments: its `sys.argv[1:]`.
        python: the interpreter.
        environment: environment of the process; by default this one's.

    Raises:
        RuntimeError: if it fails; one line says why, a note all that it printed.
    """
    code = f"import sys; sys.path.append({str(FOLDER)!r})\n{code}"
    command = [python, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    lines = done.stderr.strip().splitlines()
    reason = lines[-1][:200] if lines else f"no word, exit status {done.returncode}"
    if done.returncode < 0:
        reason = f"killed by signal {-done.returncode}; is there memory enough?"
    error = RuntimeError(reason)
    error.add_note(done.stderr[-2000:])
    raise error


def run_torch_step(
    python: str,
    size: int,
    repeats: int,
    *,
    device: str = "cpu",
    precision: str = "float32",
    calls: int = 1,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return what `torch_step.measure` says, in a process: two thread pools fight.

    Args:
        python: interpreter that has torch.
        size: size of the picture, in pixels.
        repeats: number of steps that are timed, after two that are not.
        device: "cpu" or "cuda".
        precision: "float32", "tf32" or "bfloat16", or with " compiled" behind it.
        calls: number of steps before the device is waited for.
        environment: environment of the process, as for `run_fresh`.

    Raises:
        RuntimeError: if it fails.
    """
    code = (
        "import json, torch_step\nprint(json.dumps(torch_step.measure(*sys.argv[1:])))"
    )
    arguments = size, repeats, device, precision, calls
    try:
        return run_fresh(code, *arguments, python=python, environment=environment)
    except RuntimeError as error:
        if "No module named 'torch'" in str(error):
            raise RuntimeError(
                f"torch is not installed in {python}: pip install torch==2.13.0, or "
                "say where it is with --torch-python"
            ) from error
        raise
