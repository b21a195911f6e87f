"""What a sweep costs over as many single runs, and whether kills cost any of it.

pip install -e .
python benchmarks/sweep.py [--size 256] [--members 8] [--repeats 5]
    [--set NAME=VALUE ...] [--pairs CONTENT,STYLE] [--kills 50] [--files 1000]
    [--json FILE]

The first part paints the same pictures, differing in their style weight, by turns in
one process: with `jaxnst.stylize` one after the other, and with one `jaxnst.sweep`. On
a CPU that paints them one after the other as well, and the ratio of seconds should be
near 1; on an accelerator side by side, and its inverse is how many times as many
pictures a second there are. Every program is compiled before. The pictures are compared
as well.

The second part, with `--kills`, starts `jaxnst sweep` as a process on small pictures,
kills it with SIGKILL at a random moment, looks whether every picture in place is whole,
and starts it again, until so many were killed. Each folder that became complete must
hold, byte for byte, what a sweep that nobody disturbed writes.

The third, with `--files`, is the work of the one process that hands out jobs and writes
files: the size of a job, and seconds for so many rows and files in a folder, for the
last sheet, and for taking the folder up again.
"""

import argparse
import os
import pickle
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _common import (
    count_of,
    make_parser,
    median_ratio,
    run_main,
    say_if_busy,
    setting_of,
    size_of,
    write_json,
)
from PIL import Image

import jaxnst
from jaxnst.sweeps.executor import pack_job
from jaxnst.sweeps.jobs import JobLoader, PictureJob, plan_sweep
from jaxnst.sweeps.results import make_row, open_folder


# They hold seconds.
FIGURES = ("manifest.json", "manifest.csv", "index.html")
KILLED = ["--size", "64", "--min-size", "0", "--num-steps", "3", "--init", "noise"]
KILLED_AXES = ["--style-weight", "0.5,1,2,4", "--seed", "0..3"]


# Steps that were compiled.
_compiled: list[str] = []


def note_compiled(event: str, duration_secs: float, **details: Any) -> None:
    """Count the steps that JAX compiles."""
    name = str(details.get("fun_name"))
    is_step = any(f"jit({x})" == name for x in ("step", "steps", "batch"))
    if event == "/jax/core/compile/backend_compile_duration" and is_step:
        _compiled.append(name)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    pair = ("summer_palace,hokusai_great_wave",)
    parser = make_parser(__doc__, repeats=5, pairs=pair)
    add = parser.add_argument
    add("--size", type=size_of, default=256, help="(%(default)s)")
    add("--members", type=count_of, default=8, help="(%(default)s)")
    add("--set", dest="settings", type=setting_of, nargs="+", default=[], metavar="N=V")
    add("--kills", type=int, default=0, help="how many (%(default)s)")
    add("--files", type=int, default=0, help="how many (%(default)s)")
    return parser.parse_args(argv)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of both ways, by turns."""
    content, style = args.pairs[0]
    weights = np.geomspace(0.1, 10, args.members).tolist()
    settings = {"size": args.size, "progress": False} | dict(args.settings)

    def one_by_one() -> list[np.ndarray]:
        return [
            jaxnst.stylize(content, style, style_weight=weight, **settings).image
            for weight in weights
        ]

    def sweep() -> list[np.ndarray]:
        found = jaxnst.sweep(content, style, style_weight=weights, **settings)
        if found.errors:
            raise RuntimeError(next(iter(found.errors.values())))
        return [found.results[index].image for index in range(len(weights))]

    jax.monitoring.register_event_duration_secs_listener(note_compiled)
    jaxnst.stylize(content, style, style_weight=weights[0], **settings)
    alone = len(_compiled)
    jaxnst.sweep(content, style, style_weight=weights, **settings)
    programs = len(_compiled)
    seconds: dict[str, list[float]] = {"single runs": [], "one sweep": []}
    worst = 0.0
    for _ in range(args.repeats):
        images = []
        for name, paint in (("single runs", one_by_one), ("one sweep", sweep)):
            started = time.perf_counter()
            images.append(paint())
            seconds[name].append(time.perf_counter() - started)
        pairs = zip(*images, strict=True)
        worst = max(worst, *(float(np.abs(a - b).max()) for a, b in pairs))
    return {
        "members": args.members,
        "size": args.size,
        "seconds": seconds,
        "ratio": median_ratio(seconds["one sweep"], seconds["single runs"]),
        "largest_difference": 255 * worst,
        "programs_of_one_run": alone,
        "programs_of_all": programs,
    }


def kill(args: argparse.Namespace) -> dict[str, Any]:
    """Return what became of sweeps that were killed."""
    content, style = args.pairs[0]
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        started = time.perf_counter()
        whole = _files(_run(base / "whole", content, style).folder)
        span = time.perf_counter() - started
        kills = complete = number = 0
        cut = base / "cut-0"
        while kills < args.kills:
            cut = base / f"cut-{number}"
            is_killed = _run(
                cut, content, style, after=generator.random() * span
            ).killed
            kills += is_killed
            _check_whole(cut)
            if not is_killed:
                _compare(_files(cut), whole)
                complete, number = complete + 1, number + 1
        _run(cut, content, style)
        _compare(_files(cut), whole)
        return {"kills": kills, "complete_sweeps": complete + 1, "seconds_of_one": span}


def write_files(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a folder of so many pictures costs the process that fills it."""
    content, style = args.pairs[0]
    settings = {"seed": range(args.files), "init": "noise"}
    plan = plan_sweep(content, style, settings, mode="product", loader=JobLoader())
    photo = jaxnst.images.resize_picture(jaxnst.load_picture(content), 512).rgb
    form = {"bits": 8, "quality": 95}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        one, grid = Path(folder) / "one.png", Path(folder) / "grid"
        files = []
        for job in plan.jobs:
            jaxnst.images.save_picture(one, photo, record=_record_of(job, photo.shape))
            files.append(one.read_bytes())
        opened = open_folder(plan, grid, extension=".png", form=form)
        started = time.perf_counter()
        for job, data in zip(plan.jobs, files, strict=True):
            opened.add(make_row(job), lambda place, data=data: place.write_bytes(data))
        seconds["files and rows"] = time.perf_counter() - started
        started = time.perf_counter()
        opened.close()
        seconds["the last sheet"] = time.perf_counter() - started
        started = time.perf_counter()
        again = open_folder(plan, grid, extension=".png", form=form)
        seconds["taking it up again"] = time.perf_counter() - started
        again.close()
    packed = len(pickle.dumps(pack_job(plan.jobs[0])))
    return {
        "job": packed,
        "file": len(files[0]),
        "files": args.files,
        "seconds": seconds,
    }


def _record_of(job: PictureJob, shape: Sequence[int]) -> dict[str, Any]:
    """Return as much of a picture's record as says that it is the job's."""
    made = {"height": shape[0], "width": shape[1], "steps": 1, "stopped": None}
    return {
        "settings": job.config.to_dict(),
        "inputs": {name: {"sha256": digest} for name, digest in job.digests.items()},
        "weights": None,
        "result": made,
    }


class Run(argparse.Namespace):
    """A process that was run: its `folder`, and whether it was `killed`."""


def _run(
    folder: Path, content: Path, style: Path, *, after: float | None = None
) -> Run:
    command = [sys.executable, "-m", "jaxnst", "sweep", str(content), str(style)]
    command += [*KILLED_AXES, *KILLED, "--quiet", "-o", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        _, errors = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Run(folder=folder, killed=True)
    if process.returncode:
        raise RuntimeError(f"a sweep failed: {errors.strip()[-200:]}")
    return Run(folder=folder, killed=False)


def _check_whole(folder: Path) -> None:
    """Look at every picture that is in place."""
    for path in folder.glob("*.png"):
        try:
            with Image.open(path) as picture:
                picture.load()
            if path.name != "sheet.png":
                jaxnst.read_record(path)
        except Exception as error:
            raise RuntimeError(f"{path.name} is torn: {error}") from error


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name not in FIGURES
    }


def _compare(found: dict[str, bytes], whole: dict[str, bytes]) -> None:
    if found != whole:
        names = [name for name in found | whole if found.get(name) != whole.get(name)]
        raise RuntimeError(f"not the files of an undisturbed sweep: {names}")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    load = say_if_busy()
    row = measure(args)
    for name, values in row["seconds"].items():
        median = statistics.median(values)
        print(f"{args.members} pictures, {name:12} {median:8.2f} s", flush=True)
    print(f"one sweep over single runs      {row['ratio']:6.3f}")
    print(f"pictures a second, times        {1 / row['ratio']:6.2f}")
    print(f"largest difference, of 255      {row['largest_difference']:6.2f}")
    print(
        f"programs of steps: of one run {row['programs_of_one_run']}, "
        f"of all {row['programs_of_all']}"
    )
    rows = [row]
    if args.kills:
        os.environ.setdefault("JAXNST_CACHE_DIR", tempfile.mkdtemp())
        rows.append(kill(args))
        print(
            f"killed {rows[-1]['kills']} times; {rows[-1]['complete_sweeps']} sweeps "
            "became complete, and are what one undisturbed writes"
        )
    if args.files:
        rows.append(found := write_files(args))
        print(f"a job {found['job'] / 1e3:.0f} kB, a file {found['file'] / 1e3:.0f} kB")
        for name, value in found["seconds"].items():
            print(f"{args.files} pictures, {name:18} {value:8.2f} s")
    write_json(args.json, rows, load=load)


if __name__ == "__main__":
    run_main(main)
