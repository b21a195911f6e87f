"""Memory of a step on each of several devices, with one picture spread over all.

pip install -e .
python benchmarks/devices.py [--sizes 512 2032 2048] [--devices 1 2 4 8]
    [--memory fast] [--json FILE]

From XLA's own analysis of the compiled program, on virtual devices of the CPU, each
number of them in a process of its own; nothing is painted. Also the largest arrays, in
numbers, that devices exchange.
"""

import argparse
import os
from collections.abc import Sequence

from _common import count_of, make_parser, run_fresh, run_main, write_json


PROGRAM = """
import json, math, re
import numpy as np
from jaxnst.transfer.plan import make_plan, size_programs
from jaxnst.transfer.setup import set_up, settle_config
size, memory = int(sys.argv[1]), sys.argv[2]
generator = np.random.default_rng(0)
pictures = [generator.random((size, size, 3), np.float32) for _ in range(2)]
config = settle_config(
    size=size,
    devices="all", conv="xla",
)
plan = make_plan([set_up(*pictures, config, {}, progress=False)], memory)
program = size_programs(plan, plan.sizes[-1])[0].compile()
exchanged = {}
kinds = "all-gather|all-to-all|all-reduce|collective-permute"
for line in program.as_text().splitlines():
    if found := re.search(rf"= (.*?) ({kinds})(?:-start)?\\(", line):
        for shape in re.findall(r"f32\\[([\\d,]*)\\]", found[1]):
            count = math.prod(map(int, shape.split(","))) if shape else 1
            exchanged[found[2]] = max(exchanged.get(found[2], 0), count)
stats = program.memory_analysis()
print(json.dumps({"temporary": stats.temp_size_in_bytes, "exchanged": exchanged}))
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, sizes=[512, 2032, 2048])
    add = parser.add_argument
    add("--devices", type=count_of, nargs="+", default=[1, 2, 4, 8], metavar="N")
    add("--memory", default="fast", metavar="LEVEL", help="(%(default)s)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    rows = []
    print("size  devices  step, MB each  over the first  exchanged, numbers")
    for size in args.sizes:
        first = None
        for count in args.devices:
            flags = f"--xla_force_host_platform_device_count={count}"
            environment = os.environ | {"XLA_FLAGS": flags, "JAXNST_CACHE": "0"}
            found = run_fresh(PROGRAM, size, args.memory, environment=environment)
            first = first or found["temporary"]
            rows.append({"size": size, "devices": count, **found})
            exchanged = ", ".join(f"{k} {n}" for k, n in found["exchanged"].items())
            print(
                f"{size:4} {count:8} {found['temporary'] / 1e6:14.0f} "
                f"{found['temporary'] / first:15.2f}  {exchanged}",
                flush=True,
            )
    write_json(args.json, rows, memory=args.memory)


if __name__ == "__main__":
    run_main(main)
