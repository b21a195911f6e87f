"""How long the command takes to its first step, and what importing costs.

pip install -e '.[bench]'
python benchmarks/startup.py [--size 512] [--repeats 5] [--json FILE]

Every figure is of new processes; medians. The first run of each pair finds an empty
folder of compiled programs, the second what the first left there.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from _common import run_fresh, write_json


IMPORTS = """
import json, time
started = time.perf_counter()
{}
print(json.dumps(time.perf_counter() - started))
"""

# All that a user waits for but the interpreter: imports, weights, pictures, programs.
FIRST_STEP = """
import json, sys, time
started = time.perf_counter()
import jaxnst
content, style, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
seconds = []
def stop(view):
    view.loss
    seconds.append(time.perf_counter() - started)
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

IMAGES = Path(__file__).parent.parent / "examples" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time imports and the first step.")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    pictures = IMAGES / "chelsea_cat.jpg", IMAGES / "van_gogh_auvers.jpg"
    seconds: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        seconds.setdefault(name, []).append(value)

    for _ in range(args.repeats):
        # In turn, so that a busy machine disturbs all alike.
        add(
            "import its dependencies",
            run_fresh(IMPORTS.format("import jax, flax.nnx, optax")),
        )
        add("import jaxnst", run_fresh(IMPORTS.format("import jaxnst")))
        add(
            "import jaxnst, use stylize",
            run_fresh(IMPORTS.format("import jaxnst; jaxnst.stylize")),
        )
        add("load the network", run_fresh(LOAD))
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {"JAXNST_CACHE_DIR": folder, "JAXNST_CACHE": "1"}
            for name in ("first run, to step 1", "second run, to step 1"):
                run = run_fresh(
                    FIRST_STEP, *pictures, args.size, environment=environment
                )
                add(name, run)
    base = statistics.median(seconds["import its dependencies"])
    rows = []
    print("                                 s   over importing jax, flax, optax")
    for name, values in seconds.items():
        median = statistics.median(values)
        rows.append({"what": name, "seconds": median, "all": values})
        print(f"{name:27} {median:7.2f} {median / base:10.2f}")
    write_json(args.json, rows)


if __name__ == "__main__":
    main()
