"""One step of jaxnst against the same step in torch, in one run.

pip install -e '.[bench]' && pip install torch==2.13.0
python benchmarks/step.py [--sizes 256 512] [--rounds 5] [--repeats 5] [--json FILE]

The two take turns: a round is `--repeats` steps of each, and the ratio is the median of
the rounds' ratios of medians. A machine that others use too is now quick, now slow.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from _common import write_json

import jaxnst
from jaxnst.config import TransferConfig
from jaxnst.objective import compute_targets, make_loss_weights
from jaxnst.optimize import compiled_step, init_state, make_optimizer


def make_jaxnst(size: int) -> Callable[[int], float]:
    """Return what times steps of the default recipe: their median, in seconds."""
    config = TransferConfig()
    network = jaxnst.load_network(padding="zeros")
    generator = np.random.default_rng(0)
    content, style = (
        jnp.asarray(generator.random((size, size, 3), np.float32)) for _ in range(2)
    )
    targets = jax.jit(
        compute_targets, static_argnames=("content_layers", "style_layers")
    )(
        network,
        content,
        style,
        content_layers=tuple(config.content_layers),
        style_layers=tuple(config.style_layers),
    )
    weights = make_loss_weights(
        content=1.0,
        style=1.0,
        tv=0.0,
        content_layers=config.content_layers,
        style_layers=config.style_layers,
    )
    optimizer = make_optimizer("adam")
    state = init_state(content, optimizer)

    def time_steps(repeats: int) -> float:
        nonlocal state
        seconds = []
        for _ in range(repeats + 2):
            started = time.perf_counter()
            state, info = compiled_step(
                state, network, targets, weights, jnp.float32(0.02), optimizer=optimizer
            )
            jax.block_until_ready(info)
            seconds.append(time.perf_counter() - started)
        return statistics.median(seconds[2:])

    return time_steps


def time_torch(size: int, repeats: int) -> float:
    """Return the same of torch, in a process of its own: two thread pools fight."""
    script = Path(__file__).with_name("torch_step.py")
    command = [sys.executable, str(script), str(size), str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a step against torch's.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print("   size   jaxnst, s    torch, s   jaxnst / torch    (least to most)")
    for size in args.sizes:
        time_jaxnst = make_jaxnst(size)
        rounds = [
            (time_jaxnst(args.repeats), time_torch(size, args.repeats))
            for _ in range(args.rounds)
        ]
        ours, theirs = map(statistics.median, zip(*rounds, strict=True))
        ratios = sorted(mine / their for mine, their in rounds)
        ratio = statistics.median(ratios)
        rows.append(
            {"size": size, "jaxnst": ours, "torch": theirs, "ratio": ratio}
            | {"rounds": rounds}
        )
        print(
            f"{size:7} {ours:11.3f} {theirs:11.3f} {ratio:16.2f} "
            f"{ratios[0]:12.2f} {ratios[-1]:5.2f}",
            flush=True,
        )
    write_json(args.json, rows)


if __name__ == "__main__":
    main()
