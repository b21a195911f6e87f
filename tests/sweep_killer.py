"""Kills sweeps at random moments and looks at what they leave; run as a program.

`python sweep_killer.py FOLDER KILLS` ends with 0 if every folder became what an
undisturbed sweep makes, byte for byte but for the seconds. No JAX: its processes are
forks of one that has imported all it needs, so that hundreds can be killed.
"""

import csv
import dataclasses
import io
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image as PILImage, PngImagePlugin

from jaxnst.sweeps import folder as sweep_folder
from jaxnst.sweeps.axes import Axis, make_members
from jaxnst.sweeps.folder import SweepFolder


AXES = (
    Axis(name="seed", values=tuple(range(5)), labels=tuple("01234")),
    Axis(name="style_weight", values=(0.3, 1.0, 3.0), labels=("0.3", "1", "3")),
)
MEMBERS = make_members(AXES, "product")
ROWS = [
    dataclasses.replace(member, settings={**member.settings, "size": 48})
    for member in MEMBERS
]
FAILED = 7  # this member, in every run


def picture_bytes(index: int) -> bytes:
    """Return a picture that says in its file which member it is."""
    picture = PILImage.linear_gradient("L").resize((48, 32)).convert("RGB")
    picture = picture.point([value * (index + 2) % 256 for value in range(256)] * 3)
    stream = io.BytesIO()
    record = PngImagePlugin.PngInfo()
    record.add_text("member", str(index))
    picture.save(stream, "PNG", pnginfo=record)
    return stream.getvalue()


def read_picture(index: int, path: Path) -> dict[str, Any] | None:
    """Return the fields of a row, as the record in a picture gives them."""
    try:
        with PILImage.open(path) as picture:
            found = int(picture.info["member"])
    except Exception:
        return None
    if found != index:
        raise ValueError(f"{path.name}: it is member {found}, not {index}")
    losses = {"total": 2.0, "content": 0.5, "style": 1 / (index + 1)}
    return {"height": 32, "width": 48, "steps": 10, "losses": losses}


PICTURES = {member.index: picture_bytes(member.index) for member in MEMBERS}


def save_slowly(path: Path, index: int) -> None:
    """Write a picture as `Result.save` does, with time to be killed in the middle."""
    beside = path.with_name(f".jaxnst-{os.getpid()}-1.part")
    data = PICTURES[index]
    with beside.open("xb") as stream:
        stream.write(data[: len(data) // 2])
        stream.flush()
        time.sleep(0.002)
        stream.write(data[len(data) // 2 :])
    beside.replace(path)


def open_folder(path: Path, process: int = 0, num_processes: int = 1) -> SweepFolder:
    return SweepFolder(
        path,
        identity={"size": 48},
        axes=AXES,
        mode="product",
        rows=ROWS,
        read_fn=read_picture,
        process=process,
        num_processes=num_processes,
    )


def sweep(path: Path, process: int = 0, num_processes: int = 1) -> None:
    with open_folder(path, process, num_processes) as folder:
        finished = folder.finished()
        mine = [row for row in ROWS if row.index % num_processes == process]
        for row in mine:
            if row.index in finished:
                continue
            row = dataclasses.replace(row, seconds=time.perf_counter())
            if row.index == FAILED:
                folder.add(dataclasses.replace(row, error="out of memory"), None)
            else:
                folder.add(row, lambda path, i=row.index: save_slowly(path, i))
        # What a barrier does in a real run.
        deadline = time.monotonic() + 5
        while process == 0 and len(folder.finished()) < len(MEMBERS) - 1:
            assert time.monotonic() < deadline, "the others did not finish"
            time.sleep(0.002)


def check(path: Path) -> set[int]:
    """Return which members are there, once nothing that is in place is torn."""
    there = set()
    digits = len(str(len(MEMBERS) - 1))
    for place in path.glob("[0-9]*.png"):
        index = int(place.name[:digits])
        assert place.read_bytes() == PICTURES[index], f"{place} is torn"
        there.add(index)
    assert not [p for p in path.rglob("*") if p.suffix == ".part" and p.parent == path]
    if (path / "manifest.json").exists():
        manifest = json.loads((path / "manifest.json").read_text())
        assert len(manifest["members"]) == len(MEMBERS)
    if (path / "manifest.csv").exists():
        text = (path / "manifest.csv").read_text()
        assert len(list(csv.reader(io.StringIO(text)))) == len(MEMBERS) + 1
    if (path / "sheet.png").exists():
        with PILImage.open(path / "sheet.png") as sheet:
            sheet.load()
    if (path / "index.html").exists():
        assert (path / "index.html").read_text().endswith("</html>\n")
    return there


def contents(path: Path) -> dict[str, object]:
    """Return {name: content} of a folder, without seconds and locks."""
    found: dict[str, object] = {}
    for place in sorted(path.rglob("*")):
        name = place.relative_to(path).as_posix()
        if place.suffix == ".json":
            found[name] = without_seconds(json.loads(place.read_text()))
        elif place.suffix == ".csv":
            rows = list(csv.DictReader(io.StringIO(place.read_text())))
            assert all(row.pop("seconds") for row in rows)
            found[name] = rows
        elif place.suffix != ".lock":
            found[name] = place.read_bytes() if place.is_file() else None
    return found


def without_seconds(value: object) -> object:
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k != "seconds"}
    if isinstance(value, list):
        return [without_seconds(entry) for entry in value]
    return value


def start(path: Path, process: int, num_processes: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        sweep(path, process, num_processes)
        os._exit(0)
    except BaseException as error:
        print(f"process {process} of {num_processes}: {error!r}", file=sys.stderr)
        os._exit(1)


def main(root: Path, num_kills: int) -> int:
    # As often as possible, so that many die while they write sheet and page.
    sweep_folder._REFRESH_SECONDS, sweep_folder._REFRESH_SHARE = 0.0, 0
    chance = random.Random(0)
    sweep_start = time.monotonic()
    for process in (0,):
        sweep(root / "undisturbed", process)
    whole = time.monotonic() - sweep_start
    expected = contents(root / "undisturbed")
    killed = torn_stages = folders = 0
    while killed < num_kills:
        folders += 1
        path = root / f"killed{folders}"
        before: set[int] = set()
        while True:
            number = chance.choice((1, 1, 2, 3))
            children = [start(path, process, number) for process in range(number)]
            chance.shuffle(children)
            codes = []
            for child in children:
                time.sleep(chance.uniform(0, 0.4 * whole / number))
                os.kill(child, signal.SIGKILL)
                codes.append(os.waitpid(child, 0)[1])
            killed += sum(os.WIFSIGNALED(code) for code in codes)
            assert not any(map(os.WEXITSTATUS, codes)), "a sweep failed"
            if not path.exists():
                continue
            torn_stages += any(path.glob(".sweep/process-*/*"))
            after = check(path)
            assert before <= after, f"lost {before - after}"
            before = after
            folder = open_folder(path)
            assert set(folder.finished()) == after
            if folder._lock is not None:
                folder._lock.release()  # as if it died, too
            if len(after) == len(MEMBERS) - 1:
                break
        sweep(path)
        assert contents(path) == expected, "not what an undisturbed sweep makes"
    print(json.dumps({"killed": killed, "folders": folders, "torn": torn_stages}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
