"""XLA's convolution against Winograd's, at every layer shape of VGG-19.

pip install -e .
python benchmarks/layers.py [--sizes 256 512] [--repeats 7] [--json FILE]

For each shape the medians of a convolution (forward) and of the gradient with respect
to its input (adjoint), which is what a step needs: the two by turns, after a call each
that is not counted. `jaxnst.networks.convolution` takes Winograd's way where the ratio
of both together is below 1 at all sizes (`_MIN_WIDTH`).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import make_parser, run_main, say_if_busy, write_json
from flax import nnx

from jaxnst.networks import VGG19, Convolution


METHODS = ("xla", "winograd")
WAYS = ("forward", "adjoint")


def layer_shapes(size: int) -> list[tuple[list[str], int, int, int]]:
    """Return names, longest side, input and output channels of each layer shape."""
    shapes: dict[tuple[int, int, int], list[str]] = {}
    for layer in VGG19:
        side = size // 2 ** (layer.block - 1)
        for conv in layer.convolutions:
            # The picture's own three channels are never done in Winograd's way.
            if conv.in_width > 3:
                shape = (side, conv.in_width, conv.out_width)
                shapes.setdefault(shape, []).append(conv.name)
    return [(names, *shape) for shape, names in shapes.items()]


def compiled(method: str, side: int, in_width: int, out_width: int) -> dict[str, Any]:
    """Return {way: a call of the compiled program}."""
    layer = Convolution(in_width, out_width, method=method, rngs=nnx.Rngs(0))
    generator = np.random.default_rng(0)
    x, y = (
        jnp.asarray(generator.standard_normal((1, side, side, width), np.float32))
        for width in (in_width, out_width)
    )

    def adjoint(layer: Convolution, x: jax.Array, y: jax.Array) -> jax.Array:
        return jax.vjp(layer, x)[1](y)[0]

    forward_fn = jax.jit(lambda layer, x: layer(x)).lower(layer, x).compile()
    adjoint_fn = jax.jit(adjoint).lower(layer, x, y).compile()
    return {
        "forward": lambda: forward_fn(layer, x),
        "adjoint": lambda: adjoint_fn(layer, x, y),
    }


def seconds_of(call_fn: Callable[[], jax.Array]) -> float:
    started = time.perf_counter()
    jax.block_until_ready(call_fn())
    return time.perf_counter() - started


def measure(side: int, in_width: int, out_width: int, repeats: int) -> dict[str, Any]:
    """Return {"xla forward": median seconds, ...} and the ratios."""
    calls = {
        f"{method} {way}": call_fn
        for method in METHODS
        for way, call_fn in compiled(method, side, in_width, out_width).items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call_fn in calls.items():
            elapsed = seconds_of(call_fn)
            if repeat:
                seconds[name].append(elapsed)
    row: dict[str, Any] = {k: statistics.median(v) for k, v in seconds.items()}
    for way in WAYS:
        row[f"ratio {way}"] = row[f"winograd {way}"] / row[f"xla {way}"]
    both = [sum(row[f"{method} {way}"] for way in WAYS) for method in METHODS]
    row["ratio"] = both[1] / both[0]
    return row


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    return make_parser(__doc__, sizes=[256, 512], repeats=7).parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    load = say_if_busy()
    rows = []
    for size in args.sizes:
        print(f"{size} px, milliseconds              forward           adjoint")
        print(
            "side   channels    first layer   xla  winograd     xla  winograd   ratio"
        )
        for names, side, in_width, out_width in layer_shapes(size):
            row = measure(side, in_width, out_width, args.repeats)
            rows.append(
                {
                    "size": size,
                    "side": side,
                    "in_width": in_width,
                    "out_width": out_width,
                    "layers": names,
                    **row,
                }
            )
            times = [
                f"{row[f'{method} {way}'] * 1e3:8.1f}"
                for way in WAYS
                for method in METHODS
            ]
            print(
                f"{side:4}   {in_width:3} > {out_width:3}    {names[0]:9}"
                f"{''.join(times)}{row['ratio']:8.2f}",
                flush=True,
            )
    write_json(args.json, rows, load=load)


if __name__ == "__main__":
    run_main(main)
