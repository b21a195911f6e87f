"""How long it takes from a new process to its first step, and what importing costs.

pip install -e .
python benchmarks/startup.py [--size 512] [--repeats 5] [--json FILE]

Every figure is of new processes; medians of `--repeats`, by turns, and of the rounds'
ratios to the first row. Importing all once, not counted, comes first, for the disk.

The imports and the network are timed inside Python, without the interpreter's start.
`import jaxnst` alone does next to nothing, as names are looked up when they are used;
what a user pays before painting is the row "import jaxnst, use stylize".

The runs are timed from before the process is started to the end of the first step of
the first, smallest size of a painting whose full size is `--size`: interpreter,
imports, weights, pictures, programs. The first run of each pair finds an empty folder
of compiled programs, the second what the first left there.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence

from _common import (
    make_parser,
    median_ratio,
    path_of,
    run_fresh,
    run_main,
    say_if_busy,
    size_of,
    write_json,
)


IMPORTS = """
import json, time
started = time.perf_counter()
{}
print(json.dumps(time.perf_counter() - started))
"""

FIRST_STEP = """
import json, time
import jaxnst
content, style, size, started = *sys.argv[1:3], int(sys.argv[3]), float(sys.argv[4])
seconds = []
def stop(view):
    view.loss
    seconds.append(time.time() - started)
    return True
jaxnst.stylize(content, style, size=size, progress=False, callback=stop)
print(json.dumps(seconds[0]))
"""

LOAD = """
import json, time
import jax, jaxnst
jaxnst.stylize
jax.devices()
started = time.perf_counter()
jax.block_until_ready(jax.tree.leaves(jaxnst.load_network()))
print(json.dumps(time.perf_counter() - started))
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--size", type=size_of, default=512, help="(%(default)s)")
    return parser.parse_args(argv)


def measure(size: int) -> dict[str, float]:
    """Return {what: seconds} of one round."""
    imports = {
        "import its dependencies": "import jax, flax.nnx, optax",
        "import jaxnst": "import jaxnst",
        "import jaxnst, use stylize": "import jaxnst; jaxnst.stylize",
    }
    seconds = {name: run_fresh(IMPORTS.format(code)) for name, code in imports.items()}
    seconds["load the network"] = run_fresh(LOAD)
    pictures = path_of("chelsea_cat"), path_of("van_gogh_auvers")
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"JAXNST_CACHE_DIR": folder, "JAXNST_CACHE": "1"}

        def first_step() -> float:
            arguments = *pictures, size, time.time()
            return run_fresh(FIRST_STEP, *arguments, environment=environment)

        seconds["first run, to step 1"] = first_step()
        seconds["second run, to step 1"] = first_step()
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    load = say_if_busy()
    run_fresh(IMPORTS.format("import jax, flax.nnx, optax, jaxnst; jaxnst.stylize"))
    rounds = [measure(args.size) for _ in range(args.repeats)]
    seconds = {name: [each[name] for each in rounds] for name in rounds[0]}
    base = next(iter(seconds.values()))
    rows = []
    print("                                 s   over importing jax, flax, optax")
    for name, values in seconds.items():
        row = {"what": name, "seconds": statistics.median(values), "all": values}
        rows.append(row | {"over_dependencies": median_ratio(values, base)})
        print(f"{name:27} {row['seconds']:7.2f} {rows[-1]['over_dependencies']:10.2f}")
    write_json(args.json, rows, size=args.size, load=load)


if __name__ == "__main__":
    run_main(main)
