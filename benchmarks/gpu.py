"""A step on a GPU: jaxnst in float32 and bfloat16 over torch in float32.

pip install -e '.[bench]' && pip install "jax[cuda13]" torch==2.13.0
python benchmarks/gpu.py [--sizes 512 1024 2048] [--steps-per-call 1 5 10] [--json FILE]
python benchmarks/gpu.py --device cpu --sizes 64  # does it run?

Every row is a process of its own, so that none holds memory of another. Seconds are
medians per step. Torch is eager and channels_last, with and without TF32, which its
convolutions use by default and jaxnst never does. Peak memory is what each one's own
allocator counts on a GPU, and the resident size of the process on a CPU.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from _common import PEAK, run_fresh, versions, write_json


FIND = """
import json, jax
try:
    print(json.dumps(jax.devices()[0].device_kind))
except Exception:  # many kinds, one for every way not to have one
    print(json.dumps(None))
"""

JAXNST = f"""
import json, resource, statistics, sys, time
import jax, jax.numpy as jnp, numpy as np
import jaxnst
from jaxnst.ahead import compiled_targets, weights_of
from jaxnst.optimize import compiled_step, compiled_steps, init_state, make_optimizer
size, several, repeats = map(int, sys.argv[1:4])
config = jaxnst.TransferConfig(padding="zeros", precision=sys.argv[4])
network = jaxnst.load_network(padding="zeros", precision=config.precision)
generator = np.random.default_rng(0)
content, style = (
    jnp.asarray(generator.random((size, size, 3), np.float32)) for _ in range(2)
)
targets = jax.block_until_ready(compiled_targets(
    network, content, style,
    content_layers=tuple(config.content_layers),
    style_layers=tuple(config.style_layers),
    normalization=config.normalization,
))
optimizer = make_optimizer("adam")
function, rates = compiled_step, [jnp.float32(0.02)]
if several > 1:
    function = compiled_steps
    rates = [jnp.full(several, 0.02, jnp.float32), jnp.asarray(several, jnp.int32)]
state = init_state(content, optimizer)
rest = [network, targets, weights_of(config), *rates]
started = time.perf_counter()
function.get(state, *rest, optimizer=optimizer)
compile_seconds = time.perf_counter() - started
seconds = []
for _ in range(repeats + 2):
    started = time.perf_counter()
    state, info = function(state, *rest, optimizer=optimizer)
    jax.block_until_ready((state, info))
    seconds.append((time.perf_counter() - started) / several)
stats = jax.devices()[0].memory_stats() or {{}}
print(json.dumps({{
    "step_seconds": statistics.median(seconds[2:]),
    "compile_seconds": compile_seconds,
    "peak": stats.get("peak_bytes_in_use") or {PEAK},
}}))
"""

TORCH = f"""
import json, resource, statistics, sys, time
sys.path.insert(0, sys.argv[1])
import torch
import torch.nn.functional as F
from torch_step import features, make_weights
size, repeats, device, kind = int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]
if device == "cuda" and not torch.cuda.is_available():
    sys.exit("torch sees no GPU")
torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
torch.backends.cudnn.allow_tf32 = kind == "tf32"
torch.backends.cudnn.benchmark = True
wait_fn = torch.cuda.synchronize if device == "cuda" else lambda: None
torch.manual_seed(0)
weights = [(name, kernel.to(device)) for name, kernel in make_weights()]
def picture():
    image = torch.rand(1, 3, size, size)
    return image.to(device).contiguous(memory_format=torch.channels_last)
with torch.no_grad():
    content, _ = features(picture(), weights)
    _, grams = features(picture(), weights)
image = picture().requires_grad_()
optimizer = torch.optim.Adam([image], 0.02, betas=(0.9, 0.99))
seconds = []
for _ in range(repeats + 2):
    wait_fn()
    started = time.perf_counter()
    optimizer.zero_grad()
    found, found_grams = features(image, weights)
    loss = F.mse_loss(found, content)
    for gram, target in zip(found_grams, grams, strict=True):
        loss = loss + (gram - target).norm()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        image.clamp_(0, 1)
    wait_fn()
    seconds.append(time.perf_counter() - started)
is_gpu = device == "cuda"
print(json.dumps({{
    "step_seconds": statistics.median(seconds[2:]),
    "compile_seconds": None,
    "peak": torch.cuda.max_memory_allocated() if is_gpu else {PEAK},
    "version": torch.__version__,
}}))
"""


def environment_for(device: str) -> dict[str, str]:
    """Return the environment in which JAX takes this device, or nothing."""
    return os.environ | {
        "JAX_PLATFORMS": "cuda" if device == "gpu" else "cpu",
        "JAXNST_CACHE": "0",
        # Torch and the screen may need some of it too.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


def last_line(error: Exception) -> str:
    """Return what a process said last before it failed."""
    return str(error).strip().splitlines()[-1][:200]


def measure(args: argparse.Namespace, size: int) -> list[dict[str, Any]]:
    """Return the rows of one size, torch's first; what fails is told, not raised."""
    environment = environment_for(args.device)
    folder = Path(__file__).parent
    device = "cuda" if args.device == "gpu" else "cpu"
    runs: list[tuple[str, str, int, tuple[object, ...]]] = [
        ("torch", kind, 1, (folder, size, args.repeats, device, kind))
        for kind in (("float32", "tf32") if args.device == "gpu" else ("float32",))
    ]
    runs += [
        ("jaxnst", precision, several, (size, several, args.repeats, precision))
        for precision in ("float32", "bfloat16")
        for several in args.steps_per_call
    ]
    rows: list[dict[str, Any]] = []
    base = None
    for who, precision, several, arguments in runs:
        row = {
            "size": size,
            "who": who,
            "precision": precision,
            "steps_per_call": several,
        }
        head = f"{size:6}  {who:7} {precision:9} {several:6}"
        try:
            found = run_fresh(
                TORCH if who == "torch" else JAXNST,
                *arguments,
                python=args.torch_python if who == "torch" else sys.executable,
                environment=environment,
            )
        except RuntimeError as error:
            rows.append(row | {"error": last_line(error)})
            print(f"{head}   {last_line(error)}", flush=True)
            continue
        step_seconds, compile_seconds = found["step_seconds"], found["compile_seconds"]
        if (who, precision) == ("torch", "float32"):
            base = step_seconds
        ratio = None if base is None else step_seconds / base
        rows.append(row | found | {"over_torch": ratio})
        print(
            f"{head} {step_seconds:9.4f} "
            f"{'-' if ratio is None else f'{ratio:.2f}':>11} "
            f"{'-' if compile_seconds is None else f'{compile_seconds:.1f}':>11} "
            f"{found['peak'] / 1e9:9.2f}",
            flush=True,
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="Time a step on a GPU over torch's.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--steps-per-call", type=int, nargs="+", default=[1, 5, 10])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
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
    write_json(args.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
