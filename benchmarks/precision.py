"""How near the gradient in each precision is to that in float32.

pip install -e .
python benchmarks/precision.py [--sizes 128] [--pairs CONTENT,STYLE ...]
    [--set NAME=VALUE ...] [--steps 10] [--pictures] [--json FILE]

Cosine of the gradients, with the default recipe or the settings given, at the
photograph and at the picture after some steps in float32; the JSON also has the ratios
of their lengths. "tf32" is emulated on a CPU: the factors of all products that
ask for it are rounded to the ten bits of TF32, as an interpreter of the program meets
them. "float16, no factor" is without the factor on the loss.

With `--pictures` whole pictures are painted instead, and measured with AlexNet. How
much the two in float32 differ, with XLA's convolutions and Winograd's, is what rounding
does.
"""

import argparse
import contextlib
import functools
import statistics
import warnings
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from _common import (
    MORE_PAIRS,
    PAIRS,
    count_of,
    make_parser,
    name_of,
    run_main,
    setting_of,
    write_json,
)

import jaxnst
from jaxnst.config import make_config
from jaxnst.images import fitted_shape, load_picture, resize
from jaxnst.metrics import Metrics, format_table, measure
from jaxnst.networks.devices import LOSS_SCALE, default_device
from jaxnst.objective import compute_targets
from jaxnst.optimize import (
    batching,
    init_state,
    loss_and_gradient,
    make_optimizer,
    step,
    stepping,
)
from jaxnst.pretrained import load_lpips_network
from jaxnst.transfer import plan, run, setup
from jaxnst.transfer.plan import weights_of


PAINTED = ("float32", "float32, Winograd", "tf32", "bfloat16", "float16")
WAYS = ("tf32", "bfloat16", "float16", "float16, no factor")
# A device that has TF32.
_AMPERE = SimpleNamespace(
    platform="gpu", compute_capability="8.0", device_kind="emulated"
)
_HIGHEST = jax.lax.Precision.HIGHEST


def rounded(x: jax.Array) -> jax.Array:
    """Return float32 numbers rounded to the ten bits of TF32."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    return jax.lax.bitcast_convert_type((bits + 0x1000) >> 13 << 13, jnp.float32)


def emulated(function: Any) -> Any:
    """Return a function whose products are in TF32 where they ask for less than all."""

    def run(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        leaves = _interpret(closed.jaxpr, closed.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), leaves)

    return jax.jit(run)


def _interpret(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

    def read(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else known[atom]

    for eqn in jaxpr.eqns:
        values, params = list(map(read, eqn.invars)), dict(eqn.params)
        inner: Any = params.get("jaxpr", params.get("call_jaxpr"))
        if eqn.primitive.name in ("jit", "pjit", "custom_jvp_call", "custom_vjp_call"):
            found = _interpret(inner.jaxpr, inner.consts, values)
        else:
            given = params.get("precision")
            asked = given[0] if isinstance(given, tuple) else given
            if asked not in (None, _HIGHEST):
                values = [rounded(x) for x in values]
                params["precision"] = (_HIGHEST, _HIGHEST)
            found = eqn.primitive.bind(*values, **params)
            found = found if eqn.primitive.multiple_results else [found]
        known.update(zip(eqn.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


@functools.cache
def emulated_program(function: Any, static_names: tuple[str, ...]) -> Any:
    """Return the emulation of a function that has static arguments."""

    def call(*args: Any, **static: Any) -> Any:
        return emulated(functools.partial(function, **static))(*args)

    return jax.jit(call, static_argnames=static_names)


@contextlib.contextmanager
def emulating() -> Iterator[None]:
    """Let `jaxnst.stylize` paint as a device with TF32 would."""
    names = "content_layers", "style_layers", "style_losses", "normalization"
    targets = emulated_program(compute_targets, names)
    stepped = emulated_program(step, ("optimizer", "normalization"))
    with (
        mock.patch.object(setup, "default_device", return_value=_AMPERE),
        mock.patch.object(batching, "compiled_step", stepped),
        mock.patch.object(plan, "compiled_targets", targets),
        mock.patch.object(run, "compiled_targets", targets),
    ):
        yield


def paint_pictures(args: argparse.Namespace) -> None:
    """Paint every pair in every precision, and print the means of the metrics."""
    judge = load_lpips_network()
    rows: list[dict[str, Any]] = []
    for size in args.sizes:
        table: dict[str, list[Metrics]] = {way: [] for way in PAINTED}
        for pair in args.pairs:
            for way, measured in table.items():
                settings = {"conv": "auto" if "Winograd" in way else "xla"}
                settings |= {"precision": way.partition(",")[0], "size": size}
                emulator = emulating() if way == "tf32" else contextlib.nullcontext()
                with emulator, warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "`precision`", UserWarning)
                    result = jaxnst.stylize(
                        *pair, progress=False, **settings | dict(args.set)
                    )
                measured.append(measure(result.image, *pair, judge=judge))
                row = {"pair": name_of(pair), "size": size, "precision": way}
                rows.append(row | measured[-1]._asdict())
                print(format_table({f"{row['pair']} {way}": measured[-1]}), flush=True)
        means = {
            way: Metrics(*map(statistics.fmean, zip(*measured, strict=True)))
            for way, measured in table.items()
        }
        print(f"means at {size} px\n{format_table(means)}")
    write_json(args.json, rows, settings=dict(args.set))


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, sizes=(128,), pairs=(*PAIRS, *MORE_PAIRS))
    add = parser.add_argument
    add("--set", type=setting_of, nargs="+", default=[], metavar="NAME=VALUE")
    add("--steps", type=count_of, default=10, help="steps before the second gradient")
    add("--pictures", action="store_true", help="paint, and measure the pictures")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.pictures:
        paint_pictures(args)
        return
    config = make_config(**dict(args.set))
    network = jaxnst.load_network(config.network, precision="float32", conv="xla")
    weights, optimizer = weights_of(config), make_optimizer("adam")
    paper: dict[str, Any] = {"normalization": config.normalization}
    aims: dict[str, Any] = {
        "content_layers": tuple(config.content_layers),
        "style_layers": tuple(config.style_layers),
        "style_losses": tuple(config.style_loss),
    }

    def gradient(image: Any, content: Any, style: Any, network: Any) -> Any:
        targets = compute_targets(network, content, style, **aims, **paper)
        return loss_and_gradient(image, network, targets, weights, **paper)[2]

    def steps(image: Any, style: Any, network: Any) -> Any:
        targets = compute_targets(network, image, style, **aims, **paper)
        state = init_state(image, optimizer)
        for _ in range(args.steps):
            state, _ = step_fn(state, network, targets, weights, 0.02)
        return state.image

    step_fn = jax.jit(functools.partial(step, optimizer=optimizer, **paper))
    functions = {}
    for way in ("float32", *WAYS):
        name = way.partition(",")[0]
        fitted = network.changed(precision=name).fitted(
            _AMPERE if way == "tf32" else default_device()
        )
        # Another function, for which other programs are compiled.
        own = functools.partial(gradient)
        run = (emulated if way == "tf32" else jax.jit)(own)
        functions[way] = run, fitted
    rows: list[dict[str, Any]] = []
    print(f"{'':48}" + "".join(f"{way:>20}" for way in WAYS))
    for size in args.sizes:
        for pair in args.pairs:
            content, style = (
                jnp.asarray(resize(rgb, fitted_shape(rgb.shape, size)))
                for rgb in (load_picture(path).rgb for path in pair)
            )
            images = content, steps(content, style, network)
            found = {}
            for way, (run, fitted) in functions.items():
                factor = 1.0 if "no factor" in way else LOSS_SCALE
                stepping.LOSS_SCALE = factor  # read when the function is compiled
                found[way] = [
                    np.asarray(run(image, content, style, fitted), np.float64)
                    for image in images
                ]
            row: dict[str, Any] = {"pair": name_of(pair), "size": size}
            for way in WAYS:
                both = list(zip(found[way], found["float32"], strict=True))
                row[way] = {
                    "cosine": [cosine(mine, true) for mine, true in both],
                    "length": [
                        float(np.linalg.norm(mine) / np.linalg.norm(true))
                        for mine, true in both
                    ],
                }
            rows.append(row)
            cells = "".join(
                "".join(f"{each:10.5f}" for each in row[way]["cosine"]) for way in WAYS
            )
            print(f"{row['pair']:42} {size:5}{cells}", flush=True)
    write_json(args.json, rows, settings=dict(args.set))


def cosine(x: Any, y: Any) -> float:
    """Return the cosine of two arrays."""
    return float(np.vdot(x, y) / np.linalg.norm(x) / np.linalg.norm(y))


if __name__ == "__main__":
    run_main(main)
