"""A step on a GPU: jaxnst in float32 and bfloat16 over torch in float32.

pip install -e . && pip install "jax[cuda13]" torch==2.13.0
python benchmarks/gpu.py [--sizes 512 1024 2048] [--steps-per-call 1 5 10] [--json FILE]
python benchmarks/gpu.py --device cpu --sizes 64  # does it run?

Every row is a process of its own, so that none holds memory of another. Seconds are
medians per step. Torch is eager and channels_last, with and without TF32, which its
convolutions use by default and jaxnst never does. Peak memory is what each one's own
allocator counts on a GPU, and the resident size of the process on a CPU.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from _common import (
    count_of,
    make_parser,
    run_fresh,
    run_main,
    run_torch_step,
    versions,
    write_json,
)


FIND = """
import json, jax
try:
    print(json.dumps(jax.devices()[0].device_kind))
except Exception:  # many kinds, one for every way not to have one
    print(json.dumps(None))
"""

JAXNST = """
import json, statistics
import jax
from _common import peak_memory
from _steps import Steps
size, several, repeats = map(int, sys.argv[1:4])
steps = Steps(size, padding="zeros", precision=sys.argv[4], steps_per_call=several)
seconds = steps.time(repeats, warm_up=2)
stats = jax.devices()[0].memory_stats() or {}
print(json.dumps({
    "seconds": statistics.median(seconds),
    "all": seconds,
    "compile_seconds": steps.compile_seconds,
    "peak": stats.get("peak_bytes_in_use") or peak_memory(),
}))
"""


def environment_for(device: str) -> dict[str, str]:
    """Return the environment in which JAX takes this device, or nothing."""
    return os.environ | {
        "JAX_PLATFORMS": "cuda" if device == "gpu" else "cpu",
        "JAXNST_CACHE": "0",
        # Torch and the screen may need some of it too.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


def measure(args: argparse.Namespace, size: int) -> list[dict[str, Any]]:
    """Return the rows of one size, torch's first; what fails is told, not raised."""
    environment = environment_for(args.device)
    runs = [
        ("torch", precision, 1)
        for precision in (("float32", "tf32") if args.device == "gpu" else ("float32",))
    ]
    runs += [
        ("jaxnst", precision, several)
        for precision in ("float32", "bfloat16")
        for several in args.steps_per_call
    ]
    rows: list[dict[str, Any]] = []
    base = None
    for who, precision, several in runs:
        row = {
            "size": size,
            "who": who,
            "precision": precision,
            "steps_per_call": several,
        }
        head = f"{size:6}  {who:7} {precision:9} {several:6}"
        try:
            if who == "torch":
                found = run_torch_step(
                    args.torch_python,
                    size,
                    args.repeats,
                    device="cuda" if args.device == "gpu" else "cpu",
                    precision=precision,
                    environment=environment,
                )
            else:
                arguments = size, several, args.repeats, precision
                found = run_fresh(JAXNST, *arguments, environment=environment)
        except RuntimeError as error:
            rows.append(row | {"error": str(error)})
            print(f"{head}   {error}", flush=True)
            continue
        seconds, compile_seconds = found["seconds"], found.get("compile_seconds")
        if (who, precision) == ("torch", "float32"):
            base = seconds
        ratio = None if base is None else seconds / base
        rows.append(row | found | {"over_torch": ratio})
        print(
            f"{head} {seconds:9.4f} "
            f"{'-' if ratio is None else f'{ratio:.2f}':>11} "
            f"{'-' if compile_seconds is None else f'{compile_seconds:.1f}':>11} "
            f"{found['peak'] / 1e9:9.2f}",
            flush=True,
        )
    return rows


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, sizes=[512, 1024, 2048], repeats=7, needs_torch=True)
    parser.add_argument(
        "--steps-per-call", type=count_of, nargs="+", default=[1, 5, 10]
    )
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    kind = run_fresh(FIND, environment=environment_for(args.device))
    if kind is None:
        print(
            "there is no GPU that JAX can use: install jax[cuda13] on a machine with "
            "one, or see whether this runs with --device cpu --sizes 64"
        )
        return 1
    print(f"{kind}, jax {versions()['jax']}")
    print("  size  who     precision  /call   s/step  over torch  compile, s  peak, GB")
    rows = [row for size in args.sizes for row in measure(args, size)]
    os.environ.update(environment_for(args.device))  # for the machine's own line
    torch = next((row["version"] for row in rows if "version" in row), None)
    write_json(args.json, rows, torch=torch)
    return 0


if __name__ == "__main__":
    run_main(main)
