"""Peak memory of a step, at every level, against torch's and against the forecast.

pip install -e '.[bench]' && pip install torch==2.13.0
python benchmarks/memory.py [--sizes 512 1024] [--low 2048] [--json FILE]

Every figure is the peak resident size of a new process that makes two steps.
"""

import argparse
import sys
from pathlib import Path

from _common import PEAK, run_fresh, write_json


JAXNST = f"""
import json, resource, sys, time
import numpy as np
import jaxnst
size, memory = int(sys.argv[1]), sys.argv[2]
generator = np.random.default_rng(0)
content, style = (generator.random((size, size, 3), np.float32) for _ in range(2))
settings = dict(size=size, min_size=0, num_steps=2, memory=memory)
if sys.argv[3] == "estimate":
    print(json.dumps(jaxnst.estimate(content, style, **settings).memory))
else:
    times = []
    def callback(view):
        view.loss
        times.append(time.perf_counter())
    jaxnst.stylize(content, style, progress=False, callback=callback, **settings)
    print(json.dumps([{PEAK}, times[1] - times[0]]))
"""

TORCH = f"""
import json, resource, runpy, sys
script, size = sys.argv[1:]
sys.argv = [script, size, "0"]
import statistics
statistics.median = lambda values: 0.0  # it makes its two steps to warm up only
runpy.run_path(script, run_name="__main__")
print(json.dumps({PEAK}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the memory of a step.")
    parser.add_argument("--sizes", type=int, nargs="*", default=[512, 1024])
    parser.add_argument("--low", type=int, nargs="*", default=[2048])
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    script = Path(__file__).with_name("torch_step.py")
    rows = []
    print("  size  level      peak, GB  forecast, GB   off   over torch   step, s")
    for size in [*args.sizes, *args.low]:
        is_low = size not in args.sizes
        theirs = None
        if not is_low:
            try:
                theirs = run_fresh(TORCH, script, size, python=args.torch_python)
            except RuntimeError as error:
                print(f"without torch: {str(error).splitlines()[-1]}")
            else:
                rows.append({"size": size, "level": "torch", "peak": theirs})
                print(f"{size:6}  {'torch':9} {theirs / 1e9:9.2f}")
        for level in ["low"] if is_low else ["fast", "balanced", "low"]:
            # Compiled here, so that neither run holds what compiling took.
            # (It takes the folder of `JAXNST_CACHE_DIR`.)
            forecast = run_fresh(JAXNST, size, level, "estimate")
            peak, seconds = run_fresh(JAXNST, size, level, "paint")
            row = {"size": size, "level": level, "peak": peak, "step": seconds}
            rows.append(row | {"forecast": forecast})
            ratio = "" if theirs is None else f"{peak / theirs:.2f}"
            print(
                f"{size:6}  {level:9} {peak / 1e9:9.2f} {forecast / 1e9:13.2f} "
                f"{forecast / peak - 1:+6.0%} {ratio:>11} {seconds:10.2f}",
                flush=True,
            )
    write_json(args.json, rows)


if __name__ == "__main__":
    main()
