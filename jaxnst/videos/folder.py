"""The work folder of a clip, which can be killed at any moment and resumed.

It holds `plan.json`, what decides the frames; a picture of 16 bits for each painted
frame, from which the next one starts; and `frames.csv`, to which a row is added once
the frame's picture is in its place. So a frame is there if it has a row, and what is
painted after a kill is what would have been painted without one.
"""

import abc
import contextlib
import csv
import hashlib
import io
import json
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxnst._checks import path_text, plain
from jaxnst._types import HostImage
from jaxnst.config import NETWORK_MEMORY_LEVELS
from jaxnst.images.files import atomic_write, file_sha256, named_errors, take_lock

from .source import cv2


PLAN, TABLE, LOCK = "plan.json", "frames.csv", ".lock"
# Beginning of the names of folders of temporary files.
SCRATCH = "scratch-"
# Columns of `frames.csv`.
COLUMNS = (
    "frame",
    "pass",
    "shot",
    "time",
    "steps",
    "total",
    "content",
    "style",
    "temporal",
    "certainty",
    "still",
    "mean",
    "contrast",
    "detail",
    "memory",
    "ratios",
    "gaps",
    "warp_error",
    "warp_error_content",
    "static_error",
    "seconds",
    "sha256",
)
_WHOLE = ("frame", "pass", "shot", "steps")
_TEXT = ("memory", "ratios", "gaps", "sha256")

Row = dict[str, Any]


def to_levels(image: HostImage) -> np.ndarray:
    """Return a picture in 16 bits."""
    return np.round(np.clip(image, 0, 1) * 65535).astype(np.uint16)


def from_levels(levels: np.ndarray) -> HostImage:
    """Return a picture from levels of 8 or 16 bits."""
    return levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max)


class Store(abc.ABC):
    """Painted frames, by their number and their pass.

    Attributes:
        rows: {(frame, pass): its row}.
        last: {frame: its last pass}.
        scratch: folder for temporary files; None: that of the system.
    """

    scratch: Path | None = None

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], Row] = {}
        self.last: dict[int, int] = {}

    @abc.abstractmethod
    def read(self, index: int, number: int) -> HostImage:
        """Return a painted frame of a pass."""

    @abc.abstractmethod
    def add(self, image: HostImage, row: Row) -> None:
        """Keep a painted frame, and its row."""

    def is_done(self, index: int, number: int) -> bool:
        """Return whether a frame was painted in this pass, or in a later one."""
        return self.last.get(index, 0) >= number

    def row(self, index: int) -> Row:
        """Return the row of a frame after its last pass."""
        return self.rows[index, self.last[index]]

    def image(self, index: int) -> HostImage:
        """Return a frame after its last pass."""
        return self.read(index, self.last[index])

    def _note(self, row: Row) -> None:
        index, number = row["frame"], row["pass"]
        self.rows[index, number] = row
        self.last[index] = max(number, self.last.get(index, 0))


class MemoryStore(Store):
    """Painted frames in memory, as 16 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[tuple[int, int], np.ndarray] = {}

    def read(self, index: int, number: int) -> HostImage:
        """Return a painted frame of a pass."""
        return from_levels(self.images[index, number])

    def add(self, image: HostImage, row: Row) -> None:
        """Keep a painted frame, and its row."""
        index, number = row["frame"], row["pass"]
        self.images[index, number] = to_levels(image)
        self.images.pop((index, number - 1), None)
        self._note(row)


def frame_file(folder: Path, index: int, number: int) -> Path:
    """Return the file of a frame that was painted in a pass."""
    suffix = "" if number == 1 else f"-{number}"
    return folder / f"{index:06}{suffix}.png"


class WorkFolder(Store):
    """Painted frames on disk, by their number and their pass.

    Opening makes the folder, or resumes what is in it. `identity` is what decides the
    frames.

    Raises:
        ValueError: if the folder holds another clip.
        FileExistsError: if it is full of other things.
        BlockingIOError: if another run is writing there.
        OSError: if it cannot be made or written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]):
        super().__init__()
        self.path = self.scratch = path
        self._mutex = threading.Lock()
        self._make()
        self._lock = take_lock(
            path / LOCK,
            f"{plain(str(path))}: another run is writing there; wait for it.",
        )
        try:
            self._check_identity(json.loads(json.dumps(identity)))
            self._read_rows()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let other runs in."""
        self._lock.release()

    def remove(self) -> None:
        """Remove the folder and all in it."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def _make(self) -> None:
        path = self.path
        with named_errors(f"{plain(str(path))} cannot be made"):
            path.mkdir(exist_ok=True)
            others = {each.name for each in path.iterdir()} - {LOCK}
        if others and PLAN not in others:
            raise FileExistsError(
                f"{plain(str(path))} is full of other things (there is {min(others)}); "
                "move it away, or give another output."
            )

    def _check_identity(self, identity: Mapping[str, Any]) -> None:
        place = self.path / PLAN
        try:
            known = json.loads(place.read_text("utf-8"))
        except FileNotFoundError:
            self._write(PLAN, json.dumps(identity, indent=1) + "\n")
            return
        except (ValueError, RecursionError):
            known = None
        if known == identity:
            return
        fault = "its plan is damaged"
        if isinstance(known, dict):
            names = {*known, *identity}
            differing = [x for x in sorted(names) if known.get(x) != identity.get(x)]
            fault = f"`{differing[0]}` {_difference(known, identity, differing[0])}"
        raise ValueError(
            f"{plain(str(self.path))} holds frames of another clip: {plain(fault)}. "
            "Remove it, or give another output."
        )

    def _read_rows(self) -> None:
        """Read what is there; a row that is half written does not count."""
        text = ""
        with contextlib.suppress(FileNotFoundError):
            text = (self.path / TABLE).read_text("utf-8", errors="replace")
        found = []
        for line in text.split("\n")[1:-1]:
            with contextlib.suppress(ValueError):
                found.append(_parsed(line.split(",")))
        # Of earlier passes only the rows are kept.
        for row in sorted(found, key=lambda row: -row["pass"]):
            with contextlib.suppress(OSError):
                is_later = self.is_done(row["frame"], row["pass"] + 1)
                place = self._place(row["frame"], row["pass"])
                if is_later or file_sha256(place) == row["sha256"]:
                    self._note(row)
        self._write_rows()
        kept = {self._place(index, number) for index, number in self.last.items()}
        for path in {*self.path.glob("*.png")} - kept:
            path.unlink()
        for path in self.path.glob(f"{SCRATCH}*"):  # of a run that was killed
            shutil.rmtree(path, ignore_errors=True)

    def _write_rows(self) -> None:
        """Write all rows anew, in the order of the frames."""
        stream = io.StringIO()
        writer = _writer(stream)
        writer.writeheader()
        writer.writerows(row for _, row in sorted(self.rows.items()))
        self._write(TABLE, stream.getvalue())

    def _write(self, name: str, text: str) -> None:
        told = named_errors(f"{plain(str(self.path))} cannot be written")
        with told, atomic_write(self.path / name) as beside:
            beside.write_text(text)

    def finish(self) -> None:
        """Bring the rows into the order of the frames."""
        with self._mutex:
            self._write_rows()

    def _place(self, index: int, number: int) -> Path:
        return frame_file(self.path, index, number)

    def read(self, index: int, number: int) -> HostImage:
        """Return a painted frame of a pass."""
        place = self._place(index, number)
        try:
            data = np.frombuffer(place.read_bytes(), np.uint8)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no such file: {path_text(place)}; the folder of frames was removed."
            ) from None
        # OpenCV itself ends the process at names that are not UTF-8.
        found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        return from_levels(found[..., ::-1])

    def add(self, image: HostImage, row: Row) -> None:
        """Write a painted frame, and then its row.

        Raises:
            OSError: if there is no room; what is there stays.
        """
        index, number = row["frame"], row["pass"]
        place = self._place(index, number)
        try:
            # Little compressed, as the next frame waits for it.
            levels = np.ascontiguousarray(to_levels(image)[..., ::-1])
            _, data = cv2.imencode(".png", levels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            with atomic_write(place) as beside:
                beside.write_bytes(data.tobytes())
            row["sha256"] = hashlib.sha256(data).hexdigest()
            self.add_row(row)
        except OSError as error:
            raise type(error)(
                f"frame {index} cannot be written to {plain(str(self.path))}: "
                f"{error.strerror or error}; the frames before it are there, and the "
                "same call goes on from them."
            ) from error
        if number > 1:  # nothing starts from the pass before any more
            self._place(index, number - 1).unlink(missing_ok=True)

    def add_row(self, row: Row) -> None:
        """Write a row, of a frame whose picture, or a later one, is there."""
        stream = io.StringIO()
        _writer(stream).writerow(row)
        with self._mutex:
            with (self.path / TABLE).open("a") as table:
                table.write(stream.getvalue())
            self._note(row)


def planned_memory(path: Path) -> str | None:
    """Return the level of memory of the frames that are in a folder; None for none."""
    try:
        found = json.loads((path / PLAN).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    level = found.get("memory") if isinstance(found, dict) else None
    return level if level in NETWORK_MEMORY_LEVELS else None


def _writer(stream: io.StringIO) -> Any:
    return csv.DictWriter(stream, COLUMNS, lineterminator="\n")


def _parsed(cells: list[str]) -> Row:
    row: Row = {}
    for name, text in zip(COLUMNS, cells, strict=True):
        if name in _TEXT:
            row[name] = text
        elif name in _WHOLE:
            row[name] = int(text)
        else:
            row[name] = float(text) if text else None
    if row["memory"] not in NETWORK_MEMORY_LEVELS:
        raise ValueError(row["memory"])
    return row


def _difference(known: Mapping, identity: Mapping, name: str) -> str:
    """Return what differs in an entry, in words."""
    was, now = known.get(name), identity.get(name)
    if isinstance(was, dict) and isinstance(now, dict):
        names = [x for x in sorted({*was, *now}) if was.get(x) != now.get(x)]
        return f"{names[0]} was {was.get(names[0])!s:.60}, is {now.get(names[0])!s:.60}"
    return f"was {was!s:.60}, is {now!s:.60}"
