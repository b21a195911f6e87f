"""Seconds until jaxnst's picture is as good as torch's after its classic 500 steps.

pip install -e '.[bench]' && pip install torch==2.13.0
python benchmarks/time_to_quality.py [--size 512] [--reference-steps 500]
    [--pairs CONTENT,STYLE ...] [--set NAME=VALUE ...] [--references FOLDER]
    [--json FILE]

Both minimize one objective, that of jaxnst's settings, on the same weights. The
reference is `torch_lbfgs.py`, at one size from the content picture, in a process of its
own: two thread pools fight. jaxnst paints by its own recipe, from coarse to fine, which
the clock sees in full: network, pictures, and programs, be they compiled or kept. Its
pictures at the full size are kept with the second they were there, and measured when
the clock has stopped. The reference's picture is the one clipped to [0, 1], as it would
be saved, measured by jaxnst as well.

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
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil

import jaxnst
from jaxnst.config import TransferConfig, make_config
from jaxnst.images import fitted_shape, load_picture, resize, resize_picture
from jaxnst.networks import VGG
from jaxnst.objective import compute_targets, make_loss_weights, perceptual_loss


IMAGES = Path(__file__).parent.parent / "examples" / "images"
PAIRS = (
    "astronaut,kandinsky_composition_viii",
    "chelsea_cat,van_gogh_auvers",
    "summer_palace,hokusai_great_wave",
    "coffee,van_gogh_auvers",
)
# So many steps say how long the steps of a kept answer would take now.
TIMING_STEPS = 10


class Ruler:
    """The objective that both are measured with."""

    def __init__(
        self,
        network: VGG,
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
        self._weights = make_loss_weights(
            content=config.content_weight,
            style=config.style_weight,
            tv=config.tv_weight,
            content_layers=config.content_layers,
            style_layers=config.style_layers,
            normalization=config.normalization,
        )
        self._measure_fn = jax.jit(perceptual_loss)

    def measure(self, image: np.ndarray) -> float:
        total, _ = self._measure_fn(
            jnp.asarray(image), self._network, self._targets, self._weights
        )
        return float(total)


def run_torch(
    network: VGG,
    config: TransferConfig,
    content: np.ndarray,
    style: np.ndarray,
    num_steps: int,
    folder: Path | None,
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
        "reference_steps": num_steps,
    }
    arrays: dict[str, Any] = {"content": content, "style": style}
    for name in network.layer_names:
        if name.startswith("conv"):
            layer = getattr(network, name)
            arrays[f"{name}/kernel"] = np.asarray(layer.kernel[...])
            arrays[f"{name}/bias"] = np.asarray(layer.bias[...])
    if folder is None:
        return ask_torch(settings, arrays)
    digest = hashlib.sha256(json.dumps(settings, default=dict).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    kept = folder / f"{digest.hexdigest()[:16]}.npz"
    if not kept.exists():
        answer = ask_torch(settings, arrays)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **answer)
        return answer
    with np.load(kept) as loaded:
        answer = dict(loaded)
    now = ask_torch(settings | {"reference_steps": TIMING_STEPS}, arrays)
    pace = step_seconds(now) / step_seconds(answer)
    return answer | {"seconds": answer["seconds"] * pace}


def ask_torch(
    settings: dict[str, Any], arrays: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Run `torch_lbfgs.py` in a process of its own."""
    script = Path(__file__).with_name("torch_lbfgs.py")
    with tempfile.TemporaryDirectory() as folder:
        problem, answer = Path(folder) / "problem.npz", Path(folder) / "answer.npz"
        np.savez(problem, settings=json.dumps(settings, default=dict), **arrays)
        subprocess.run([sys.executable, script, problem, answer], check=True)
        with np.load(answer) as loaded:
            return dict(loaded)


def step_seconds(answer: dict[str, np.ndarray]) -> float:
    """Return the median seconds of the reference's steps."""
    return float(np.median(np.diff(answer["seconds"])))


def run_jaxnst(
    paths: tuple[Path, Path], settings: dict[str, Any]
) -> tuple[list[tuple[float, np.ndarray]], float, jaxnst.Result]:
    """Return (second, picture) of every step at the full size, and the result."""
    pictures: list[tuple[float, np.ndarray]] = []

    def callback(view: Any) -> None:
        if view.shape == view.full_shape:
            image = np.array(view.image)
            pictures.append((time.perf_counter() - started, image))

    started = time.perf_counter()
    result = jaxnst.stylize(*paths, callback=callback, progress=False, **settings)
    return pictures, time.perf_counter() - started, result


def path_of(name: str) -> Path:
    """Return the picture called `name`: a file, or one that comes with jaxnst."""
    path = Path(name)
    return path if path.suffix else IMAGES / f"{name}.jpg"


def compare(
    pair: str,
    size: int,
    num_steps: int,
    settings: dict[str, Any],
    references: Path | None,
) -> dict:
    """Return the row of one pair."""
    content_path, style_path = map(path_of, pair.split(","))
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
    reference = run_torch(network, config, content, style, num_steps, references)
    pictures, seconds, result = run_jaxnst(
        (content_path, style_path), {"size": size, **settings}
    )
    ruler = Ruler(network, config, content, style)
    aim = ruler.measure(reference["image"])
    losses = [ruler.measure(image) for _, image in pictures]
    final = ruler.measure(result.image)
    reached = next(
        (when for (when, _), loss in zip(pictures, losses, strict=True) if loss <= aim),
        seconds if final <= aim else None,
    )
    reference_seconds = step_seconds(reference) * num_steps
    return {
        "pair": f"{content_path.stem}+{style_path.stem}",
        "load_before": load,
        "reference_loss": aim,
        "reference_loss_by_torch": float(reference["final"]),
        "reference_loss_unclipped": float(reference["losses"][-1]),
        "reference_seconds": reference_seconds,
        "jaxnst_loss": final,
        "jaxnst_seconds": seconds,
        "seconds_to_quality": reached,
        "ratio": None if reached is None else reached / reference_seconds,
        "trajectory": [
            (round(when, 3), loss)
            for (when, _), loss in zip(pictures, losses, strict=True)
        ],
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


def parse_setting(text: str) -> tuple[str, Any]:
    """Read `optimizer=lbfgs` or `num_steps=30`."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description="Time jaxnst to torch's quality.")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--reference-steps", type=int, default=500)
    parser.add_argument("--pairs", nargs="+", default=PAIRS, metavar="CONTENT,STYLE")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        type=parse_setting,
        dest="settings",
        metavar="NAME=VALUE",
        help="settings of stylize; both minimize what they make of the objective",
    )
    parser.add_argument("--references", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = dict(args.settings)
    rows = []
    print("loss: reference's, jaxnst's at its end; seconds: of both, and to its loss")
    print(
        f"{'pair':40} {'loss':>8} {'jaxnst':>8} {'torch, s':>9} {'jaxnst, s':>9} "
        f"{'to it, s':>9} {'ratio':>6}"
    )
    if os.getloadavg()[0] > 0.5:
        print(f"the machine is busy (load {os.getloadavg()[0]:.1f}): no fair measure")
    for pair in args.pairs:
        row = compare(pair, args.size, args.reference_steps, settings, args.references)
        rows.append(row)
        reached, ratio = row["seconds_to_quality"], row["ratio"]
        print(
            f"{row['pair']:40} {row['reference_loss']:8.4f} {row['jaxnst_loss']:8.4f} "
            f"{row['reference_seconds']:9.1f} {row['jaxnst_seconds']:9.1f} "
            + (f"{reached:9.1f} {ratio:6.2f}" if reached else f"{'never':>9} {'-':>6}"),
            flush=True,
        )
    ratios = [row["ratio"] for row in rows]
    mean = None
    if all(ratios):
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"geometric mean of the ratios, jaxnst / torch: {mean:.2f}")
    else:
        print("no mean: jaxnst did not reach the reference's loss on every pair")
    if args.json is not None:
        machine = {
            "processor": platform.machine(),
            "cpus": psutil.cpu_count(),
            "memory": psutil.virtual_memory().total,
            "device": jax.devices()[0].device_kind,
            "python": platform.python_version(),
            "jax": jax.__version__,
            "torch": rows[0]["torch"],
            "jaxnst": jaxnst.__version__,
        }
        summary = {
            "machine": machine,
            "size": args.size,
            "reference_steps": args.reference_steps,
            "geometric_mean": mean,
            "rows": rows,
        }
        args.json.write_text(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
