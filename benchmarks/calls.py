"""The host's part of a call of the device: Python's, and what JAX adds to it.

pip install -e .
python benchmarks/calls.py [--members 1 16] [--calls 300] [--repeats 5] [--json FILE]

The loop of a painting runs as it always does, with VGG-19, but its compiled step has no
network in it, so that next to nothing is left for the device: a loss of zero, and
Adam on a picture of 32 x 32. What is timed is the processor time of the thread that
gives the calls, so other processes matter little. `--members` are the pictures that a
call paints side by side; 1 is a picture by itself. "jax" is the part of it within the
compiled function, which mostly looks at its arguments; the rest is jaxnst's Python.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Sequence
from typing import Any
from unittest import mock

from _common import count_of, make_parser, run_main, say_if_busy, write_json


SIZE = 32
STEPS = 5  # of a call


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, repeats=5)
    add = parser.add_argument
    add("--members", type=count_of, nargs="+", default=[1, 16], metavar="N")
    add("--calls", type=count_of, default=300, help="(%(default)s)")
    return parser.parse_args(argv)


def measure(
    num_members: int, num_calls: int, repeats: int
) -> tuple[list[float], list[float]]:
    """Return the host's seconds per call, and those within JAX, of each repeat."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxnst.objective import LossTerms, Targets
    from jaxnst.optimize import stepping
    from jaxnst.optimize.loop import run_size
    from jaxnst.optimize.member import Member
    from jaxnst.optimize.programs import Program
    from jaxnst.optimize.recovery import Method
    from jaxnst.optimize.schedule import Budget
    from jaxnst.transfer.plan import make_plan
    from jaxnst.transfer.run import measure_targets
    from jaxnst.transfer.setup import set_up, settle_config

    def nothing(image: jax.Array, network, targets: Targets, weights, *, normalization):
        del network, normalization
        zero: jax.Array = 0 * image[0, 0, 0]
        terms = LossTerms(
            zero,
            zero,
            zero,
            zero,
            dict.fromkeys(targets.content_scale, zero),
            dict.fromkeys(targets.style_scale, zero),
            0 * targets.shares,
        )
        return zero * weights.content, terms, jnp.zeros_like(image)

    stepping.loss_and_gradient = nothing
    run, within = Program.run, [0.0]

    def timed(program: Program) -> Any:
        began = time.thread_time()
        found = run(program)
        within[-1] += time.thread_time() - began
        return found

    content, style = np.random.default_rng(0).random((2, SIZE, SIZE, 3), np.float32)
    given: dict[str, Any] = {"size": SIZE, "min_size": 0}
    config = settle_config(**given)
    job = set_up(content, style, config, given, progress=False)
    jobs = [job] * num_members
    devices = None if num_members == 1 else jax.devices()[:1]
    plan = make_plan(
        jobs, "fast", num_members=num_members, devices=devices, shares_targets=True
    )
    step = dataclasses.replace(plan.step, steps_per_call=STEPS)
    content = job.inputs.content_at(job.inputs.shape)
    targets = step.stack_targets([measure_targets(job, plan, plan.sizes[0], content)])
    seconds = []
    for _ in range(repeats + 1):
        members = [
            Member(
                method=Method(job.optimizer, config.learning_rate),
                weights=plan.weights[0],
                budget=Budget([1], [STEPS * num_calls]),
                full_shape=job.inputs.shape,
            )
            for _ in jobs
        ]
        state = step.stack([step.init(content) for _ in jobs])
        jax.block_until_ready((state, targets))
        within.append(0.0)
        started = time.thread_time()
        with mock.patch.object(Program, "run", timed):
            jax.block_until_ready(run_size(state, targets, step, members))
        seconds.append((time.thread_time() - started) / num_calls)
    # The first compiles.
    return seconds[1:], [each / num_calls for each in within[2:]]


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    load = say_if_busy()
    rows = []
    print("pictures   call, us   (least)    jax, us")
    for num_members in args.members:
        seconds, within = measure(num_members, args.calls, args.repeats)
        median, in_jax = statistics.median(seconds), statistics.median(within)
        row = {"members": num_members, "seconds": median, "in_jax": in_jax}
        rows.append(row | {"all": seconds})
        numbers = (1e6 * each for each in (median, min(seconds), in_jax))
        print("{:8} {:10.0f} {:9.0f} {:10.0f}".format(num_members, *numbers))
    write_json(args.json, rows, load=load, calls=args.calls)


if __name__ == "__main__":
    run_main(main)
