"""The folder of a sweep: resumed after anything, refused when it is another's."""

import csv
import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import pytest
from PIL import Image
from sweep_killer import (
    AXES,
    FAILED,
    PICTURES,
    ROWS,
    contents,
    open_folder,
    read_picture,
    sweep,
)

from jaxnst.sweeps import folder as folder_module
from jaxnst.sweeps.axes import Axis, Row, make_file_name
from jaxnst.sweeps.folder import SweepFolder


NUM_DONE = len(ROWS) - 1
IDENTITY = {"size": 48}


def save_fn(index: int):
    return lambda path: path.write_bytes(PICTURES[index])


def add(folder: SweepFolder, index: int, **fields) -> Row:
    return folder.add(dataclasses.replace(ROWS[index], **fields), save_fn(index))


def reopen(path: Path, **changed) -> SweepFolder:
    given: dict[str, Any] = {"identity": IDENTITY, "axes": AXES, "mode": "product"}
    given |= {"rows": ROWS, "read_fn": read_picture}
    return SweepFolder(path, **(given | changed))


@pytest.fixture
def whole(tmp_path):
    """A finished sweep."""
    sweep(tmp_path / "grid")
    return tmp_path / "grid"


def test_what_lies_in_the_folder(whole):
    names = sorted(path.name for path in whole.iterdir())
    pictures = [name for name in names if name[0].isdecimal()]
    assert pictures[0] == "00_seed-0_style_weight-0.3.png"
    assert len(pictures) == NUM_DONE
    others = ["index.html", "manifest.csv", "manifest.json", "sheet.png"]
    assert set(names) - set(pictures) == {".sweep", *others}
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["counts"] == {"done": NUM_DONE, "failed": 1, "missing": 0}
    assert manifest["identity"] == IDENTITY
    for entry in manifest["members"]:
        if entry["status"] == "done":
            data = (whole / entry["file"]).read_bytes()
            assert data == PICTURES[entry["index"]]
            assert entry["sha256"] == hashlib.sha256(data).hexdigest()
            assert entry["settings"]["seed"] == int(entry["labels"]["seed"])
            assert entry["seconds"] > 0
    assert manifest["members"][FAILED]["error"] == "out of memory"
    with Image.open(whole / "sheet.png") as sheet:
        assert sheet.size[0] > 3 * 48


def test_pictures_above_pillow_s_limit_are_whole_too(whole, monkeypatch):
    with open_folder(whole) as folder:
        with monkeypatch.context() as patch:
            patch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
            finished = folder.finished()
        assert sorted(finished) == [r.index for r in ROWS if r.index != FAILED]


def test_a_finished_sweep_is_left_as_it_is(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.glob("[0-9]*.png")}
    expected = contents(whole)
    with open_folder(whole) as folder:
        finished = folder.finished()
        assert sorted(finished) == [r.index for r in ROWS if r.index != FAILED]
        assert all(row.file and row.error is None for row in finished.values())
    assert contents(whole) == expected
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes")
def test_killed_at_any_moment_and_resumed(tmp_path):
    """By one process and by several, while they write pictures, rows and sheets."""
    program = Path(__file__).with_name("sweep_killer.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", program, tmp_path, "60"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["killed"] >= 60
    assert report["torn"] > 5  # enough died in the midst of writing


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


DAMAGE = {
    "cut picture": lambda picture: cut(picture),
    "empty picture": lambda picture: picture.write_bytes(b""),
    "no picture": lambda picture: picture.unlink(),
    "no record": lambda picture: strip(picture),
}
NOTES = {
    "cut": lambda note: cut(note),
    "gone": lambda note: note.unlink(),
    "no text": lambda note: note.write_bytes(b"\xff\xfe\x00"),
    "no object": lambda note: note.write_text("[1, 2]"),
    "deep": lambda note: note.write_text("[" * 100_000),
    "wrong kind": lambda note: note.write_text('{"seconds": "?", "error": 3}'),
    "fewer fields": lambda note: note.write_text('{"seconds": 3}'),
}


def strip(picture: Path) -> None:
    with Image.open(picture) as opened:
        opened.load()
    opened.save(picture, pnginfo=None)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_members_are_painted_anew(whole, kind):
    expected = contents(whole)
    (picture,) = whole.glob("04_*.png")
    DAMAGE[kind](picture)
    with open_folder(whole) as folder:
        assert set(range(len(ROWS))) - set(folder.finished()) == {4, FAILED}
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["members"][4]["status"] == "missing"
    sweep(whole)
    assert contents(whole) == expected


@pytest.mark.parametrize("kind", NOTES)
def test_a_damaged_note_costs_no_picture(whole, kind):
    NOTES[kind](whole / ".sweep" / "04.json")
    with open_folder(whole) as folder:
        assert folder.finished()[4].sha256 is not None
        assert folder.finished()[4].error is None


def test_a_picture_of_another_sweep_is_refused(whole):
    (picture,) = whole.glob("04_*.png")
    picture.write_bytes(PICTURES[9])
    with pytest.raises(ValueError, match=r"another sweep: 04_.*: it is member 9, not"):
        open_folder(whole)
    assert picture.read_bytes() == PICTURES[9]


def test_failed_members_are_tried_again(whole):
    with open_folder(whole) as folder:
        assert FAILED not in folder.finished()
        add(folder, FAILED)
        assert folder.finished()[FAILED].error is None
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["counts"]["failed"] == 0


def test_a_failure_leaves_no_picture(tmp_path):
    with reopen(tmp_path / "grid") as folder:
        row = add(folder, 3)
        failed = folder.add(dataclasses.replace(ROWS[3], error="out of memory"), None)
        assert failed.file is failed.sha256 is None
        assert folder.finished() == {}
        assert not (folder.path / str(row.file)).exists()


def test_a_picture_that_cannot_be_saved_is_not_finished(tmp_path):
    def fail(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with reopen(tmp_path / "grid") as folder:
        with pytest.raises(OSError, match="No space left"):
            folder.add(ROWS[3], fail)
        assert folder.finished() == {}
        assert list(folder.path.glob("*.png")) == []
        add(folder, 3)
    assert len(list((tmp_path / "grid").glob("03_*.png"))) == 1
    assert not list((tmp_path / "grid" / ".sweep").glob("process-*/*"))


def test_another_sweep_is_refused_with_what_differs(whole):
    before = contents(whole)
    with pytest.raises(ValueError, match="holds another sweep") as caught:
        reopen(whole, identity={"size": 64})
    message = str(caught.value)
    assert "\n" not in message
    assert "`size` was 48, is 64" in message
    assert message.endswith("Give another folder, or remove this one.")
    with pytest.raises(ValueError, match=r"`size` was 48, is xxx.*x\. Give") as caught:
        reopen(whole, identity={"size": "x" * 1000})
    assert len(str(caught.value)) < 300
    assert contents(whole) == before
    reopen(whole).close()  # and no lock was kept


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"extension": ".jpg"}, r"00_seed-0_style_weight-0\.3\.png is none of its"),
        (
            {"rows": ROWS[:12]},
            r"12_seed-4_style_weight-0\.3\.png: it is member 12",
        ),
        ({"rows": ROWS[:9]}, r"00_seed-0_style_weight-0\.3\.png is none of its"),
    ],
)
def test_pictures_of_another_sweep_are_refused(whole, changed, message):
    before = contents(whole)
    with pytest.raises(ValueError, match=f"holds another sweep: {message}"):
        reopen(whole, **changed)
    assert contents(whole) == before


def test_other_files_with_numbers_are_no_hindrance(whole):
    (whole / "1 of many.png").write_bytes(b"")
    (whole / "2.txt").write_text("note")
    reopen(whole).close()


def test_a_damaged_description_is_named(whole):
    for text in ("{", "[]", '"', "\x00"):
        (whole / ".sweep" / "sweep.json").write_text(text)
        with pytest.raises(ValueError, match=r"\.sweep/sweep\.json is damaged"):
            reopen(whole)


def test_places_that_cannot_be_used(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("text")
    with pytest.raises(NotADirectoryError, match="is a file; give a folder"):
        reopen(file)
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*none; make it"):
        reopen(tmp_path / "none" / "grid")
    full = tmp_path / "full"
    full.mkdir()
    (full / "holiday.jpg").write_text("")
    with pytest.raises(FileExistsError, match=r"holds no sweep \(there is holiday.jpg"):
        reopen(full)
    assert [path.name for path in full.iterdir()] == ["holiday.jpg"]

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(PermissionError, match="grid cannot be written: Perm"):
            reopen(tmp_path / "grid")
    reopen(tmp_path / "grid").close()


def test_what_systems_leave_in_folders_is_no_hindrance(tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    reopen(tmp_path).close()
    assert {path.name for path in tmp_path.iterdir()} >= {".DS_Store", "sheet.png"}


def test_one_run_at_a_time(tmp_path):
    with reopen(tmp_path / "grid") as folder:
        with pytest.raises(BlockingIOError, match="another run is writing there"):
            reopen(tmp_path / "grid")
        add(folder, 0)
        # Of the same run.
        with reopen(tmp_path / "grid", process=1, num_processes=2) as other:
            assert list(other.finished()) == [0]
    reopen(tmp_path / "grid").close()


@pytest.mark.parametrize("error", [OSError(37, "No locks"), NotImplementedError("no")])
def test_without_locks_it_goes_on(tmp_path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    sweep(tmp_path / "grid")
    assert len(list((tmp_path / "grid").glob("[0-9]*.png"))) == NUM_DONE


def test_what_a_larger_run_left_is_removed(tmp_path):
    folder = reopen(tmp_path / "grid", process=3, num_processes=4)
    stage = tmp_path / "grid" / ".sweep" / "process-3"
    (stage / ".jaxnst-1-1.part").write_text("half")
    with reopen(tmp_path / "grid"):
        assert stage.exists()  # it may still be running
    folder._lock.release()
    with reopen(tmp_path / "grid"):
        assert not stage.exists()


def test_only_process_0_lists_what_all_have_painted(tmp_path):
    grid = tmp_path / "grid"
    first = reopen(grid, num_processes=2)
    with reopen(grid, process=1, num_processes=2) as second:
        add(second, 1)
    assert not list(grid.glob("manifest.*"))
    add(first, 0)
    first.close()
    text = (grid / "manifest.csv").read_text()
    status = [row["status"] for row in csv.DictReader(io.StringIO(text))]
    assert status[:3] == ["done", "done", "missing"]


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_sheets_take_a_small_part_of_the_time(tmp_path, monkeypatch):
    clock = Clock()
    made: list[int] = []

    def slow_sheet(axes, mode, rows, *_, **__):
        made.append(len(rows))
        clock.now += 0.1 * len(rows)
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(folder_module, "time", clock)
    monkeypatch.setattr(folder_module, "make_sheet", slow_sheet)
    axis = Axis(
        name="seed", values=tuple(range(300)), labels=tuple(map(str, range(300)))
    )
    rows = [
        Row(index=i, labels={"seed": str(i)}, settings={"seed": i}) for i in range(300)
    ]
    grid = {"axes": [axis], "rows": rows, "read_fn": lambda *_: {}}
    with reopen(tmp_path / "grid", **grid) as folder:
        for row in rows:
            clock.now += 10
            folder.add(row, save_fn(0))
        assert clock.now < 300 * 10 * 1.08
        assert len(made) > 3
    assert made[-1] == 300


def test_thumbnails_are_read_once(tmp_path, monkeypatch):
    read: list[str] = []
    original = folder_module.read_thumbnail

    def counted(path, longest):
        read.append(path.name)
        return original(path, longest)

    monkeypatch.setattr(folder_module, "_REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(folder_module, "_REFRESH_SHARE", 0)
    monkeypatch.setattr(folder_module, "read_thumbnail", counted)
    with reopen(tmp_path / "grid") as folder:
        for index in range(5):
            add(folder, index)
    assert sorted(read) == sorted(set(read))
    assert len(read) == 5


def test_a_table_that_is_held_open_stops_nothing(tmp_path, monkeypatch):
    """Windows refuses to replace what a spreadsheet has open."""
    grid = tmp_path / "grid"
    monkeypatch.setattr(folder_module, "_REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(folder_module, "_REFRESH_SHARE", 0)
    original = Path.replace

    def refuse(self, target):
        if Path(target).name == "manifest.csv":
            raise PermissionError(13, "Permission denied", str(self), None, str(target))
        return original(self, target)

    folder = reopen(grid)
    monkeypatch.setattr(Path, "replace", refuse)
    add(folder, 0)
    add(folder, 1)
    with pytest.raises(PermissionError, match=r"manifest\.csv cannot be written: Perm"):
        folder.close()
    monkeypatch.undo()
    with reopen(grid) as folder:  # the lock is free
        assert list(folder.finished()) == [0, 1]


def test_the_first_error_is_the_one_that_is_seen(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module, "make_sheet", fail)
    with pytest.raises(KeyError, match="first"), reopen(tmp_path / "grid"):
        raise KeyError("first")


def named(labels: dict[str, str], digits: int = 2, extension: str = ".png") -> str:
    return make_file_name(3, labels, digits, extension)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"style_weight": "3", "seed": "1"}, "03_style_weight-3_seed-1.png"),
        ({"style": "Great Wave.jpg"}, "03_style-Great-Wave.png"),
        ({"style": 'a<b>:"/\\|?*c'}, "03_style-a-b-c.png"),
        ({"style": "../../etc/passwd"}, "03_style-..-..-etc-passwd.png"),
        ({"style": "e\u0301tude\u202e\x00 \ud800"}, "03_style-\u00e9tude.png"),
        ({"style": "日本"}, "03_style-日本.png"),
        ({"style": "..."}, "03_style-x.png"),
        ({}, "03.png"),
    ],
)
def test_file_names(labels, expected):
    assert named(labels) == expected


@pytest.mark.parametrize("label", ["x" * 500, "日" * 500, "a.b" * 200, " " * 300])
def test_long_names_are_cut(label):
    name = named({"style": label, "content": label, "seed": "12"}, extension=".jpeg")
    assert len(name) <= 120
    assert len(name.encode()) <= 205
    assert name.startswith("03_style-")
    assert name.endswith("_seed-12.jpeg")


def test_names_are_unique_and_sort_as_the_members_do():
    labels = ["a/b", "a?b", "A/B", *["a/b"] * 8]
    names = [
        make_file_name(index, {"style": label}, 2, ".png")
        for index, label in enumerate(labels)
    ]
    assert len({name.lower() for name in names}) == 11
    assert names == sorted(names)
