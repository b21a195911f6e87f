"""What a network's weights cost: bytes from the Hub, bytes on disk, time to load.

pip install -e .
python benchmarks/networks.py [--repeats 5] [--json FILE]

A server on this machine takes the place of the Hub. Its files have the names, shapes
and order of the real ones, and zeros for values. Loading is timed in new processes,
medians; what was read just before is in the system's cache.
"""

import argparse
import contextlib
import json
import math
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from _common import make_parser, run_fresh, run_main, write_json

from jaxnst.pretrained import SPECS, HubFile, WeightSpec
from jaxnst.pretrained.inventory import weights_path
from jaxnst.pretrained.layouts import expected_shapes


sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from hub_server import HubServer


NETWORKS = ("vgg19.tv_in1k", "vgg16.tv_in1k", "resnet50.tv_in1k", "googlenet")
# What is in the files besides.
VGG_HEAD = {
    "pre_logits.fc1.weight": (4096, 512, 7, 7),
    "pre_logits.fc1.bias": (4096,),
    "pre_logits.fc2.weight": (4096, 4096, 1, 1),
    "pre_logits.fc2.bias": (4096,),
    "head.fc.weight": (1000, 4096),
    "head.fc.bias": (1000,),
}
LINEAR_WIDTHS = {"resnet50": 2048, "googlenet": 1024}

LOAD = """
import json, sys, time
import jax, jaxnst
jaxnst.load_network
jax.devices()
started = time.perf_counter()
jax.block_until_ready(jax.tree.leaves(jaxnst.load_network(sys.argv[1])))
print(json.dumps(time.perf_counter() - started))
"""


def shapes_of(spec: WeightSpec) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return {name: (dtype, shape)} of the real file of a network."""
    shapes = dict(expected_shapes(spec.architecture, "torchvision"))
    counts = [
        name.replace("running_mean", "num_batches_tracked")
        for name in shapes
        if name.endswith("running_mean")
    ]
    if (width := LINEAR_WIDTHS.get(spec.architecture.name)) is not None:
        shapes |= {"fc.weight": (1000, width), "fc.bias": (1000,)}
    else:
        shapes |= VGG_HEAD
    floats = {name: ("F32", shape) for name, shape in shapes.items()}
    return floats | dict.fromkeys(counts, ("I64", ()))


def write_file(path: Path, shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
    """Write a safetensors file in the order of its library, with holes for data."""
    sizes = {"F32": 4, "I64": 8}
    header, reached = {}, 0
    for name in sorted(shapes, key=lambda name: (-sizes[shapes[name][0]], name)):
        dtype, shape = shapes[name]
        start, reached = reached, reached + sizes[dtype] * math.prod(shape)
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": (start, reached),
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + reached)


@contextlib.contextmanager
def serving(path: Path, spec: WeightSpec, home: Path) -> Iterator[HubServer]:
    """Serve a file as the Hub would, to processes that have no other Hub."""
    assert isinstance(spec.source, HubFile)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body,
        HubServer(body, commit=spec.source.revision, is_hashed=False) as server,
    ):
        os.environ |= {"HF_ENDPOINT": server.url, "HF_HOME": str(home)}
        yield server


def run_command(*arguments: object) -> float:
    """Run `jaxnst networks ...` and return how many seconds it took."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "jaxnst", "networks", *map(str, arguments)]
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def measure(name: str, folder: Path, repeats: int) -> dict[str, Any]:
    """Return the row of one network."""
    spec = SPECS[name]
    home, path = folder / f"home-{name}", folder / f"{name}.safetensors"
    write_file(path, shapes_of(spec))
    row: dict[str, Any] = {"network": name, "file": path.stat().st_size}
    os.environ["HF_HOME"] = str(home)
    if isinstance(spec.source, HubFile):
        with serving(path, spec, home) as server:
            row["seconds_get"] = run_command("get", name, "-q")
            row["sent"] = server.num_sent
            row["requests"] = len(server.requests)
    else:
        row["seconds_get"] = run_command("get", name, "--from", path, "-q")
    command = [sys.executable, "-m", "jaxnst", "networks", "path", name]
    kept = Path(subprocess.run(command, capture_output=True, text=True).stdout.strip())
    row["kept"] = kept.stat().st_size
    for key, source in (("seconds_load", name), ("seconds_load_whole_file", path)):
        row[key] = statistics.median(run_fresh(LOAD, source) for _ in range(repeats))
    path.unlink()
    return row


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    return make_parser(__doc__, repeats=5).parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
    bundled = [run_fresh(LOAD, "vgg19") for _ in range(args.repeats)]
    size = weights_path("vgg19").stat().st_size
    rows: list[dict[str, Any]] = [
        {
            "network": "vgg19",
            "file": size,
            "kept": size,
            "seconds_load": statistics.median(bundled),
        }
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            rows.append(measure(name, Path(folder), args.repeats))
    keys = ("file", "sent", "kept")
    times = ("seconds_get", "seconds_load", "seconds_load_whole_file")
    print(f"{'':18}" + "".join(f"{key.replace('_', ' '):>22}" for key in keys + times))
    for row in rows:
        cells = [f"{row[key] / 1e6:.1f} MB" if key in row else "" for key in keys]
        cells += [f"{row[key]:.2f} s" if key in row else "" for key in times]
        print(f"{row['network']:18}" + "".join(f"{cell:>22}" for cell in cells))
    write_json(args.json, rows)


if __name__ == "__main__":
    run_main(main)
