"""Seconds that jaxnst and torch's L-BFGS need until a picture is as good as jaxnst's.

pip install -e . && pip install torch==2.13.0
python benchmarks/time_to_quality.py [--size 512] [--reference-steps 300]
    [--pairs CONTENT,STYLE ...] [--set NAME=VALUE ...] [--references FOLDER]
    [--torch-python PYTHON] [--json FILE]

Both minimize one objective, that of jaxnst's settings with Gram matrices alone as the
style loss, on the same weights. The reference is `torch_lbfgs.py`, at one size from the
content picture, in a process of its own: two thread pools fight. jaxnst paints by its
own recipe, from coarse to fine, which the clock sees in full: network, pictures, and
programs, be they compiled or kept. The reference's seconds are those of its steps until
its loss, of the clipped picture, is as low as jaxnst's at the end.

Run it on a machine that does nothing else: torch's threads wait for one another, and
beside other work its steps take up to ten times as long, which is no measure of it. So
the reference's seconds are its number of steps times their median, which a short
disturbance does not change.

The reference takes most of the time. With `--references FOLDER` its answer is kept
there, and taken from there when the problem is the same to the last bit; ten new steps
then say how long its steps take now.
"""

import argparse
import hashlib
import json
import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import (
    FOLDER,
    PAIRS,
    Pair,
    count_of,
    make_parser,
    name_of,
    run_main,
    say_if_busy,
    setting_of,
    size_of,
    write_json,
)

import jaxnst
from jaxnst.config import TransferConfig, make_config
from jaxnst.images import fitted_shape, load_picture, resize, resize_picture
from jaxnst.networks import Network
from jaxnst.objective import compute_targets, perceptual_loss
from jaxnst.transfer.plan import weights_of


# So many steps say how long the steps of a kept answer would take now.
TIMING_STEPS = 10
# The two compute one objective if they differ by no more.
SAME = 1e-3


class Ruler:
    """The objective that both are measured with."""

    def __init__(
        self,
        network: Network,
        config: TransferConfig,
        content: np.ndarray,
        style: np.ndarray,
    ):
        self._network = network
        self._targets = jax.jit(
            compute_targets,
            static_argnames=("content_layers", "style_layers", "normalization"),
        )(
            network,
            jnp.asarray(content),
            jnp.asarray(style),
            content_layers=tuple(config.content_layers),
            style_layers=tuple(config.style_layers),
            normalization=config.normalization,
        )
        self._weights = weights_of(config)
        self._measure_fn = jax.jit(perceptual_loss)

    def measure(self, image: np.ndarray) -> float:
        total, _ = self._measure_fn(
            jnp.asarray(image), self._network, self._targets, self._weights
        )
        return float(total)


def run_torch(
    network: Network,
    config: TransferConfig,
    content: np.ndarray,
    style: np.ndarray,
    args: argparse.Namespace,
) -> dict[str, np.ndarray]:
    """Return what `torch_lbfgs.py` answers, or answered before to the same problem."""
    preprocessing = network.preprocessing
    settings = {
        "scale": preprocessing.scale,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "channel_order": preprocessing.channel_order,
        "pooling": config.pooling,
        "padding": config.padding,
        "content_layers": config.content_layers,
        "style_layers": config.style_layers,
        "content_weight": config.content_weight,
        "style_weight": config.style_weight,
        "tv_weight": config.tv_weight,
        "reference_steps": args.reference_steps,
    }
    arrays: dict[str, Any] = {"content": content, "style": style}
    for name in network.layer_names:
        if name.startswith("conv"):
            layer = getattr(network, name)
            arrays[f"{name}/kernel"] = np.asarray(layer.kernel[...])
            arrays[f"{name}/bias"] = np.asarray(layer.bias[...])
    folder, python = args.references, args.torch_python
    if folder is None:
        return ask_torch(python, settings, arrays)
    digest = hashlib.sha256(json.dumps(settings, default=dict).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    kept = folder / f"{digest.hexdigest()[:16]}.npz"
    if not kept.exists():
        answer = ask_torch(python, settings, arrays)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(kept, allow_pickle=False, **answer)
        return answer
    with np.load(kept) as loaded:
        answer = dict(loaded)
    now = ask_torch(python, settings | {"reference_steps": TIMING_STEPS}, arrays)
    pace = step_seconds(now) / step_seconds(answer)
    return answer | {"seconds": answer["seconds"] * pace}


def ask_torch(
    python: str, settings: dict[str, Any], arrays: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Run `torch_lbfgs.py` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        problem, answer = Path(folder) / "problem.npz", Path(folder) / "answer.npz"
        arrays = {"settings": np.array(json.dumps(settings, default=dict)), **arrays}
        np.savez(problem, allow_pickle=False, **arrays)
        command = [python, FOLDER / "torch_lbfgs.py", problem, answer]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
            raise RuntimeError(f"torch's L-BFGS failed in {python}: {lines[-1]}")
        with np.load(answer) as loaded:
            return dict(loaded)


def step_seconds(answer: dict[str, np.ndarray]) -> float:
    """Return the median seconds of the reference's steps."""
    return float(np.median(np.diff(answer["seconds"])))


def compare(pair: Pair, args: argparse.Namespace) -> dict[str, Any]:
    """Return the row of one pair."""
    content_path, style_path = pair
    size = args.size
    settings: dict[str, Any] = dict(args.settings) | {"style_loss": "gram"}
    config = make_config(size=size, **settings)
    network = jaxnst.load_network(
        config.network,
        pooling=config.pooling,
        padding=config.padding,
        conv="xla",  # kernels as torch takes them
    )
    content = resize_picture(load_picture(content_path), size).rgb
    painting = load_picture(style_path).rgb
    style_size = config.style_size or min(size, max(painting.shape))
    style = resize(painting, fitted_shape(painting.shape, style_size))
    load = os.getloadavg()[0]
    reference = run_torch(network, config, content, style, args)
    started = time.perf_counter()
    result = jaxnst.stylize(*pair, size=size, progress=False, **settings)
    seconds = time.perf_counter() - started
    ruler = Ruler(network, config, content, style)
    by_jaxnst, by_torch = ruler.measure(reference["image"]), float(reference["final"])
    if not math.isclose(by_jaxnst, by_torch, rel_tol=SAME):
        raise RuntimeError(
            f"the loss of torch's picture is {by_torch:.5f} by torch, {by_jaxnst:.5f} "
            "by jaxnst: `torch_lbfgs.py` does not minimize jaxnst's objective any more"
        )
    aim, losses = ruler.measure(result.image), reference["losses"]
    # The loss of a step is that of the picture before it.
    steps = next((number for number, loss in enumerate(losses) if loss <= aim), None)
    needed = None if steps is None else steps * step_seconds(reference)
    return {
        "pair": name_of(pair),
        "load_before": load,
        "jaxnst_loss": aim,
        "jaxnst_seconds": seconds,
        "reference_lowest": float(losses.min()),
        "reference_steps": steps,
        "reference_step_seconds": step_seconds(reference),
        "reference_seconds": needed,
        "ratio": None if needed is None else seconds / needed,
        "reference_trajectory": [
            (round(float(when), 3), float(loss))
            for when, loss in zip(
                reference["seconds"], reference["losses"], strict=True
            )
        ],
        "sizes": result.record["result"]["sizes"],
        "settings": result.record["settings"],
        "torch": str(reference["version"]),
        "torch_threads": int(reference["threads"]),
    }


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, pairs=PAIRS, needs_torch=True)
    add = parser.add_argument
    add("--size", type=size_of, default=512, help="longest side (%(default)s)")
    add("--reference-steps", type=count_of, default=300, help="(%(default)s)")
    help = "settings of stylize; both minimize what they make of the objective"
    kind = {"type": setting_of, "dest": "settings", "metavar": "NAME=VALUE"}
    add("--set", nargs="+", default=[], help=help, **kind)
    add("--references", type=Path, metavar="FOLDER")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    rows: list[dict[str, Any]] = []
    mean: float | None = None
    say_if_busy()
    print("jaxnst's loss and seconds; L-BFGS's steps and seconds to it, and its lowest")
    print(
        f"{'pair':40} {'loss':>7} {'s':>6} {'steps':>6} {'s':>6} {'lowest':>7} "
        f"{'ratio':>6}"
    )
    for pair in args.pairs:
        row = compare(pair, args)
        rows.append(row)
        steps, needed, ratio = (
            "never" if row[name] is None else f"{row[name]:.{digits}f}"
            for name, digits in (
                ("reference_steps", 0),
                ("reference_seconds", 1),
                ("ratio", 2),
            )
        )
        print(
            f"{row['pair']:40} {row['jaxnst_loss']:7.4f} {row['jaxnst_seconds']:6.1f} "
            f"{steps:>6} {needed:>6} {row['reference_lowest']:7.4f} {ratio:>6}",
            flush=True,
        )
        ratios = [row["ratio"] for row in rows]
        mean = statistics.geometric_mean(ratios) if all(ratios) else None
        # After every pair: the next one takes long.
        write_json(
            args.json,
            rows,
            torch=row["torch"],
            size=args.size,
            reference_steps=args.reference_steps,
            geometric_mean=mean,
        )
    if mean is not None:
        print(f"geometric mean of the ratios, jaxnst / torch: {mean:.2f}")
    else:
        print("no mean: the reference did not reach jaxnst's loss on every pair")


if __name__ == "__main__":
    run_main(main)
