"""What a GPU makes of jaxnst, in one call of a few minutes, and of the same in torch.

python benchmarks/gpu.py [--only steps pictures] [--minutes 6] [--json FILE]
python benchmarks/gpu.py --device cpu --sizes 64  # does it run?

Nothing has to be installed but jax, torch and what jaxnst needs; jaxnst itself is that
of this checkout. Every section is a process of its own, so that none holds memory of
another. A row is written as soon as it is there, so a call that is cut off has not been
in vain; and it ends with an error if any row has failed.

machine   what it is, and the fastest products and copies of JAX on it
steps     seconds of a step in every precision and with several steps a call; the device
          is waited for after twenty calls
torch     the step of `torch_step.py`: eager and compiled
pictures  whole paintings of the default recipe, the first twice: in the second run all
          programs are on disk
sweep     sixteen pictures at once over one after the other
equality  first gradient and picture against those of the CPU; the same painting twice
calls     the host's part of a call, see `calls.py`
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from _common import (
    FOLDER,
    make_parser,
    path_of,
    peak_memory,
    run_main,
    run_torch_step,
    versions,
    write_json,
)


CONTENT, STYLE = "chelsea_cat", "van_gogh_auvers"
CALLS = 20
MEMBERS = 16
# The least cosine between a first gradient and the CPU's. bfloat16 is never "auto".
ALIKE, ALIKE_IN_BFLOAT16 = 0.999, 0.99

Rows = Iterator[dict[str, Any]]


def on_device() -> Any:
    import jax

    return jax.devices()[0]


def peak() -> int:
    """Return the most bytes that were in use on the device, or by this process."""
    stats = on_device().memory_stats() or {}
    return stats.get("peak_bytes_in_use") or peak_memory()


def make_job(size: int, **settings: Any) -> Any:
    """Return a job of `jaxnst.stylize` at one size alone."""
    from jaxnst.transfer.setup import set_up, settle_config

    given = {"size": size, "min_size": 0, **settings}
    config = settle_config(**given)
    return set_up(path_of(CONTENT), path_of(STYLE), config, given, progress=False)


def recipe_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return settings of a painting: on a CPU a few steps show that it runs."""
    return {"num_steps": 3, "coarse_steps": 3} if args.device == "cpu" else {}


def precisions_of(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the names of all precisions, the default first; on a CPU that alone."""
    from jaxnst.config import PRECISIONS

    return PRECISIONS[:1] if args.device == "cpu" else PRECISIONS


def machine_rows(args: argparse.Namespace) -> Rows:
    import jax
    import jax.numpy as jnp

    device = on_device()
    row = {"device": device.device_kind, "client": device.client.platform_version}
    try:
        command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv"]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        row["nvidia_smi"] = said.stdout.strip()
    except OSError:
        row["nvidia_smi"] = None
    yield row | {"memory": (device.memory_stats() or {}).get("bytes_limit")}

    def seconds_of(function: Any, *arrays: Any) -> float:
        compiled = jax.jit(function).lower(*arrays).compile()
        jax.block_until_ready(compiled(*arrays))
        started = time.perf_counter()
        jax.block_until_ready([compiled(*arrays) for _ in range(CALLS)])
        return (time.perf_counter() - started) / CALLS

    side = 256 if args.device == "cpu" else 8192
    for dtype, precision in (
        ("float32", "highest"),
        ("float32", "tensorfloat32"),
        ("bfloat16", "default"),
    ):
        x = jnp.ones((side, side), dtype)
        with jax.default_matmul_precision(precision):
            seconds = seconds_of(jnp.matmul, x, x)
        rate = 2 * side**3 / seconds / 1e12
        yield {"product": f"{dtype}, {precision}", "teraflops": rate}
    x = jnp.ones((side, side))
    seconds = seconds_of(lambda x: -x, x)
    yield {"copy": "float32", "gigabytes_per_second": 8 * side**2 / seconds / 1e9}


def step_rows(args: argparse.Namespace) -> Rows:
    import jax

    from jaxnst.optimize.programs import compile_in_background
    from jaxnst.transfer.plan import make_plan, size_programs
    from jaxnst.transfer.run import measure_targets

    # The step of torch, then the default recipe's.
    as_torch = {"padding": "zeros", "style_loss": "gram"}
    default, *_ = precisions = precisions_of(args)
    variants = [{"precision": name, **as_torch} for name in precisions]
    variants += [{"precision": name} for name in dict.fromkeys((default, "float32"))]
    variants += [{"precision": default, "steps_per_call": count} for count in (1, 5)]
    variants += [{"precision": default, "style_loss": "wasserstein"}]
    size = args.sizes[0]
    plans = [make_plan([make_job(size, **each)], "fast") for each in variants]
    started = time.perf_counter()
    threads = [
        compile_in_background([each])
        for plan in plans
        for each in size_programs(plan, plan.sizes[0])
    ]
    for thread in threads:
        thread.join()
    yield {"what": "compile all, in parallel", "seconds": time.perf_counter() - started}
    for settings, plan in zip(variants, plans, strict=True):
        row = {"size": size, **settings}
        try:
            (sized,) = plan.sizes
            program = size_programs(plan, sized)[0]
            stats: Any = program.compile().memory_analysis()
            job = make_job(size, **settings)
            content = job.inputs.content_at(job.inputs.shape)
            targets = measure_targets(job, plan, sized, content)
            several = sized.steps_per_call
            step = plan.step_at(sized)
            state = step.init(content)
            rates = [[0.02] * several]
            seconds = []
            calls = CALLS if args.device == "gpu" else 1
            for _ in range(args.repeats + 1):
                jax.block_until_ready(state)
                started = time.perf_counter()
                for _ in range(calls):
                    state, _ = step.call(state, targets, plan.weights, rates)
                jax.block_until_ready(state)
                seconds.append((time.perf_counter() - started) / (calls * several))
            yield row | {
                "steps_per_call": several,
                "seconds": statistics.median(seconds[1:]),
                "all": seconds[1:],
                "temporaries": stats.temp_size_in_bytes,
                "peak_so_far": peak(),
            }
        except Exception as error:
            yield row | failure(error)


def torch_rows(args: argparse.Namespace) -> Rows:
    is_gpu = args.device == "gpu"
    variants = ["float32", "tf32", "bfloat16", "tf32 compiled"]
    for precision in variants if is_gpu else ["float32"]:
        row = {"size": args.sizes[0], "precision": precision}
        try:
            yield row | run_torch_step(
                args.torch_python,
                args.sizes[0],
                args.repeats,
                device="cuda" if is_gpu else "cpu",
                precision=precision,
                calls=CALLS if is_gpu else 1,
            )
        except RuntimeError as error:
            yield row | failure(error)


PICTURE = """
import json, time
started = time.perf_counter()
import jax, jaxnst, gpu
from jax import monitoring
compiled = []
monitoring.register_event_listener(
    lambda event, **_: compiled.append(event) if event.endswith("cache_misses") else 0
)
imported = time.perf_counter()
settings = json.loads(sys.argv[1])
pictures = gpu.path_of(gpu.CONTENT), gpu.path_of(gpu.STYLE)
result = jaxnst.stylize(*pictures, progress=False, **settings)
record = result.record
row = {
    "seconds": time.perf_counter() - imported,
    "import_seconds": imported - started,
    "of_which": record["seconds"],
    "compiled": len(compiled),
    "memory": record["result"]["memory"],
    "peak": gpu.peak(),
    "pixels": gpu.digest(result.image),
}
# What was at hand when it was painted was compiled, so this costs next to nothing.
row["forecast"] = jaxnst.estimate(*pictures, progress=False, **settings).memory
print(json.dumps(row))
"""


def digest(image: Any) -> str:
    import hashlib

    return hashlib.sha256(image.tobytes()).hexdigest()[:16]


def picture_rows(args: argparse.Namespace) -> Rows:
    from _common import run_fresh

    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {"JAXNST_CACHE_DIR": folder, "JAXNST_CACHE": "1"}
            settings = {"size": size, **recipe_of(args)}
            for run in ("cold", "warm") if size == args.sizes[0] else ("cold",):
                row = {"size": size, "run": run}
                try:
                    text = json.dumps(settings)
                    yield row | run_fresh(PICTURE, text, environment=environment)
                except RuntimeError as error:
                    yield row | failure(error)


def sweep_rows(args: argparse.Namespace) -> Rows:
    import jaxnst

    size = min(256, args.sizes[0])
    is_gpu = args.device == "gpu"
    most = MEMBERS if is_gpu else 2

    def paint(count: int, batch_size: int, **steps: Any) -> float:
        started = time.perf_counter()
        jaxnst.sweep(
            path_of(CONTENT),
            path_of(STYLE),
            style_weight=[0.5 + 0.1 * index for index in range(count)],
            size=size,
            batch_size=batch_size,
            progress=False,
            **steps,
        )
        return (time.perf_counter() - started) / count

    few: dict[str, Any] = {"num_steps": 2, "coarse_steps": 2}
    steps: dict[str, Any] = few
    if is_gpu:
        steps = {"num_steps": 50, "coarse_steps": 20}
    seconds = {}
    for batch_size, count in ((most, most), (1, max(2, most // 4))):
        paint(count, batch_size, **few)  # compiles
        seconds[batch_size] = paint(count, batch_size, **steps)
        row = {"size": size, "batch_size": batch_size}
        yield row | {"seconds_a_picture": seconds[batch_size]}
    yield {"what": "times as many pictures at once", "gain": seconds[1] / seconds[most]}


EQUAL = """
import gpu, numpy as np
settings = json.loads(sys.argv[1])
np.savez(sys.argv[2], **gpu.first_gradient_and_picture(settings))
print(json.dumps(None))
"""


def first_gradient_and_picture(settings: Mapping[str, Any]) -> dict[str, Any]:
    import numpy as np

    import jaxnst
    from jaxnst.transfer.plan import make_plan
    from jaxnst.transfer.run import measure_targets

    job = make_job(**settings)
    plan = make_plan([job], "fast")
    content = job.inputs.content_at(job.inputs.shape)
    targets = measure_targets(job, plan, plan.sizes[0], content)
    loss = plan.step.prepare_loss(content, targets, plan.weights[0])
    gradient = np.asarray(loss.run()[2])
    result = jaxnst.stylize(
        path_of(CONTENT),
        path_of(STYLE),
        min_size=0,
        num_steps=10,
        progress=False,
        **settings,
    )
    return {"gradient": gradient, "picture": result.image}


def equality_rows(args: argparse.Namespace) -> Rows:
    import numpy as np
    from _common import run_fresh

    precisions = precisions_of(args)
    size = min(128, args.sizes[0])
    cpu = os.environ | {"JAX_PLATFORMS": "cpu"}
    base = {"size": size, "precision": "float32", "conv": "xla"}
    with tempfile.TemporaryDirectory() as folder:

        def found(name: str, settings: Mapping[str, Any], **options: Any) -> Any:
            place = Path(folder) / f"{name}.npz"
            code = f"import json\n{EQUAL}"
            run_fresh(code, json.dumps(settings), place, **options)
            return np.load(place)

        expected = found("cpu", base, environment=cpu)
        pictures = []
        for precision in (*precisions, precisions[0]):
            row = {"size": size, "precision": precision}
            try:
                own = found("own", base | {"precision": precision})
                one, other = (x["gradient"].ravel() for x in (own, expected))
                norms = np.linalg.norm(one), np.linalg.norm(other)
                cosine = float(one @ other / norms[0] / norms[1])
                difference = np.abs(own["picture"] - expected["picture"])
                row |= {
                    "cosine": cosine,
                    "gradient_error": float(np.linalg.norm(one - other) / norms[1]),
                    "picture_mean_levels": 255 * float(difference.mean()),
                    "picture_most_levels": 255 * float(difference.max()),
                }
                least = ALIKE_IN_BFLOAT16 if precision == "bfloat16" else ALIKE
                if not cosine >= least:
                    row["error"] = f"its gradient has a cosine of {cosine:.4f}"
                pictures.append(digest(own["picture"]))
            except RuntimeError as error:
                row |= failure(error)
            yield row
        # Autotuning may choose other algorithms, so this is no failure.
        yield {"what": "same bytes twice", "same": pictures[0] == pictures[-1]}


def call_rows(args: argparse.Namespace) -> Rows:
    import calls

    for members in (1, MEMBERS):
        both = calls.measure(members, 100, args.repeats)
        seconds, in_jax = map(statistics.median, both)
        yield {"members": members, "seconds": seconds, "in_jax": in_jax}


SECTIONS = {
    "machine": machine_rows,
    "steps": step_rows,
    "torch": torch_rows,
    "pictures": picture_rows,
    "sweep": sweep_rows,
    "equality": equality_rows,
    "calls": call_rows,
}


def failure(error: Exception) -> dict[str, str]:
    """Return what a row says of an error."""
    text = " ".join(str(error).split())[:300]
    return {"error": f"{type(error).__name__}: {text}"}


def environment_for(device: str, folder: Path) -> dict[str, str]:
    """Return the environment of a section: the device, and jaxnst of this checkout.

    The `folder` takes what a package's version is read from, if it is not installed.
    """
    paths = [str(FOLDER.parent), str(FOLDER)]
    try:
        importlib.metadata.version("jaxnst")
    except importlib.metadata.PackageNotFoundError:
        about = folder / "jaxnst-0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: jaxnst\nVersion: 0\n"
        )
        paths.append(str(folder))
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    return os.environ | {
        "JAX_PLATFORMS": "cuda" if device == "gpu" else "cpu",
        "JAXNST_CACHE": "0",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        # Torch may need some of it too, and a peak would be what was taken in advance.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


def rows_of(
    section: str, argv: Sequence[str], environment: Mapping[str, str], limit: float
) -> Rows:
    """Yield the rows of a section, each as soon as its process has printed it."""
    if limit <= 0:
        yield {"error": "no time was left"}
        return
    command = [sys.executable, __file__, "--section", section, *argv]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            # Ends it, and what it has started, when its time is over.
            ["timeout", str(round(limit, 1)), *command],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=dict(environment),
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            try:
                yield json.loads(line)
            except ValueError:  # a library's own words
                print(line, end="", file=sys.stderr)
        code = process.wait()
        if code == 0:
            return
        said.seek(0)
        lines = said.read().strip().splitlines()
        reason = "its time was over" if code == 124 else f"exit status {code}"
        last = f"; {lines[-1][:300]}" if lines else ""
        yield {"error": f"{reason}{last}", "said": lines[-20:]}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, sizes=[512, 1024, 2048], repeats=5, needs_torch=True)
    add = parser.add_argument
    add("--device", choices=("gpu", "cpu"), default="gpu")
    add("--only", choices=SECTIONS, nargs="+", default=list(SECTIONS), metavar="NAME")
    add("--minutes", type=float, default=6.0, help="for all sections (%(default)s)")
    add("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parse_args(argv)
    if args.section is not None:
        for row in SECTIONS[args.section](args):
            print(json.dumps(row), flush=True)
        return 0
    ends = time.monotonic() + 60 * args.minutes
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        environment = environment_for(args.device, Path(folder))
        for section in args.only:
            started = time.monotonic()
            for row in rows_of(section, argv, environment, ends - started):
                rows.append({"section": section, **row})
                print(json.dumps(rows[-1]), flush=True)
                write_json(args.json, rows, with_device=False)
            print(f"{section}: {time.monotonic() - started:.0f} s", flush=True)
    failed = [row for row in rows if "error" in row]
    print(f"{len(rows)} rows, {len(failed)} failed; jax {versions()['jax']}")
    return 1 if failed else 0


if __name__ == "__main__":
    run_main(main)
