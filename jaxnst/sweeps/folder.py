"""The folder of a sweep, which can be stopped at any moment and resumed.

It holds a picture for each member, `manifest.json`, `manifest.csv`, `sheet.png` and
`index.html`; and `.sweep/` with `sweep.json` (what decides the pictures), for each
member that was tried a note of its seconds and its error, and for each process a lock
and a folder for files being written. Files are written there and then renamed, so that
no file is ever half in place. A member is finished if its picture is there and says, in
the record inside, that it is the one asked for.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import filelock
from PIL import Image as PILImage

from jaxnst.images.files import atomic_write, file_sha256

from .axes import Axis, Row, make_file_name
from .manifest import as_plain, manifest_csv, manifest_json
from .page import make_page
from .sheet import make_sheet, read_thumbnail


STATE = ".sweep"
SWEEP_FILE = "sweep.json"
_PROBE = ".probe-"
# Files that systems leave in folders that are merely looked at.
_NEGLIGIBLE = {".DS_Store", "Thumbs.db", "desktop.ini"}
# Manifest, sheet and page are made again after so many seconds, and after so many times
# the seconds that they took last.
_REFRESH_SECONDS = 2.0
_REFRESH_SHARE = 20
# Of the differences to another sweep so many are named, at this length.
_NUM_NAMED = 3
_MAX_SHOWN = 60

# Given the index of a member and the path of its picture, returns fields of its row;
# None if the picture is not usable; raises ValueError if it is another picture.
ReadFn = Callable[[int, Path], Mapping[str, Any] | None]


class SweepFolder:
    """The pictures of a sweep on disk; its methods may be called from several threads.

    Opening makes the folder, or resumes the sweep in it.

    Args:
        path: the folder; its parent must exist.
        identity: everything that decides the pictures besides the axes (settings,
            hashes of pictures and weights), as JSON can hold it.
        axes: axes of the sweep, at least one.
        mode: "product" or "zip".
        rows: a row for each member, with index, labels and settings.
        read_fn: reads the record of a picture, see `ReadFn`.
        process: number of this process, from 0; process 0 writes manifest, sheet and
            page.
        num_processes: number of processes that write into the folder.
        extension: extension of the pictures, with its dot.
        title: title of sheet and page; by default the names of the axes.
        inputs: {name: picture} shown at the top of the sheet.

    Attributes:
        path: the folder.

    Raises:
        ValueError: if the folder holds another sweep.
        NotADirectoryError: if a file lies in its place.
        FileNotFoundError: if its parent does not exist.
        FileExistsError: if it is full of other things.
        BlockingIOError: if another run is writing there.
        OSError: if it cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        identity: Mapping[str, Any],
        axes: Sequence[Axis],
        mode: str,
        rows: Sequence[Row],
        read_fn: ReadFn,
        process: int = 0,
        num_processes: int = 1,
        extension: str = ".png",
        title: str = "",
        inputs: Mapping[str, PILImage.Image] | None = None,
    ):
        self.path = Path(path)
        self._state = self.path / STATE
        self._stage = self._state / f"process-{process}"
        self._identity, self._axes, self._mode = identity, axes, mode
        self._blank = {row.index: row for row in rows}
        self._read_fn = read_fn
        self._process, self._num_processes = process, num_processes
        self._extension, self._title, self._inputs = extension, title, inputs or {}
        self._num_digits = len(str(max(self._blank, default=0)))
        # {index: (state of its files, row)}
        self._rows: dict[int, tuple[Any, Row | None]] = {}
        self._thumbnails: dict[int, tuple[str | None, int, PILImage.Image | None]] = {}
        self._mutex = threading.RLock()
        self._is_open = True
        self._refreshed, self._cost = time.monotonic(), 0.0
        _make_folder(self.path, process)
        self._lock = _take_lock(self.path, process)
        try:
            self._clear()
            self._settle()
            self.rows()
        except BaseException:
            self._leave()
            raise

    def __enter__(self) -> "SweepFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(OSError):  # the first error is the one to be seen
            self.close()

    def rows(self) -> dict[int, Row]:
        """Return {index: row} of the members that are done or failed.

        Members of other processes are included. A picture is read again only if its
        file changed.
        """
        with self._mutex:
            found = {index: self._look(index) for index in sorted(self._blank)}
        return {index: row for index, row in found.items() if row is not None}

    def finished(self) -> dict[int, Row]:
        """Return {index: row} of the members whose pictures are there."""
        return {index: row for index, row in self.rows().items() if row.error is None}

    def add(self, row: Row, save_fn: Callable[[Path], object] | None) -> Row:
        """Write a picture; then, if it is time, manifest, sheet and page.

        Args:
            row: row of the member.
            save_fn: writes the picture to the path it is given; None if there is none,
                then `row.error` says why.

        Returns:
            The row as it will be read again.

        Raises:
            OSError: if the picture cannot be written; then the member is not finished.
        """
        index, place = row.index, self._place(row.index)
        note = {"seconds": row.seconds, "error": None if save_fn else row.error}
        staged = self._stage / place.name
        if save_fn is not None:
            save_fn(staged)
            with staged.open("rb+") as stream:
                os.fsync(stream.fileno())
        with self._mutex:
            self._write(self._note(index), json.dumps(note, default=as_plain).encode())
            if save_fn is None:
                place.unlink(missing_ok=True)
            else:
                staged.replace(place)
            kept = self._look(index)
            if kept is None:  # without its record it is painted again next time
                digest = file_sha256(place)
                kept = dataclasses.replace(row, file=place.name, sha256=digest)
                self._rows[index] = self._rows[index][0], kept
            pause = max(_REFRESH_SECONDS, _REFRESH_SHARE * self._cost)
            if self._process == 0 and time.monotonic() - self._refreshed >= pause:
                # A table that is open in a spreadsheet must not stop the sweep; if it
                # still is at the end, `close` says so.
                with contextlib.suppress(OSError):
                    self._refresh()
        return kept

    def close(self) -> None:
        """Write manifest, sheet and page a last time, and release the folder.

        Process 0 must call it after the others have added their last picture.

        Raises:
            OSError: if they cannot be written; the pictures are there nevertheless.
        """
        with self._mutex:
            if not self._is_open:
                return
            self._is_open = False
            try:
                if self._process == 0:
                    self._refresh()
            except OSError as error:
                name = Path(error.filename2 or error.filename or "sheet.png").name
                raise type(error)(
                    f"output {self.path}: {name} cannot be written: {error.strerror}; "
                    "the pictures are there. Start the sweep again to list them."
                ) from error
            finally:
                self._leave()

    def _place(self, index: int) -> Path:
        labels = self._blank[index].labels
        name = make_file_name(index, labels, self._num_digits, self._extension)
        return self.path / name

    def _note(self, index: int) -> Path:
        return self._state / f"{index:0{self._num_digits}}.json"

    def _leave(self) -> None:
        shutil.rmtree(self._stage, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()

    def _clear(self) -> None:
        """Remove the unfinished files of killed processes, whose locks are free."""
        shutil.rmtree(self._stage, ignore_errors=True)
        self._stage.mkdir(exist_ok=True)
        if self._process != 0:
            return
        # Of an earlier run with more processes.
        others = self._num_processes
        for stage, number in _numbered(self._state, "process-", others):
            with contextlib.suppress(BlockingIOError):
                lock = _take_lock(self.path, number)
                shutil.rmtree(stage, ignore_errors=True)
                if lock is not None:
                    lock.release()
        for folder in (self.path, self._state):
            for probe, _ in _numbered(folder, _PROBE, others):
                probe.unlink(missing_ok=True)

    def _settle(self) -> None:
        """Write down what decides the pictures, or compare it with what is there."""
        place = self._state / SWEEP_FILE
        description = {
            "mode": self._mode,
            "extension": self._extension,
            "order": [axis.name for axis in self._axes],
            **{f"axes.{axis.name}": list(axis.labels) for axis in self._axes},
            **self._identity,
        }
        text = json.dumps(description, default=as_plain, indent=1)
        new = json.loads(text)
        try:
            old = json.loads(place.read_text("utf-8"))
            if not isinstance(old, dict):
                raise ValueError("no object")
        except FileNotFoundError:
            self._write(place, f"{text}\n".encode())
            return
        except (ValueError, RecursionError):
            raise ValueError(
                f"output {self.path} holds a sweep, but its {STATE}/{SWEEP_FILE} is "
                "damaged. Give another folder, or remove this one."
            ) from None
        if differences := _differences(old, new):
            raise self._is_another("; ".join(differences))

    def _is_another(self, why: str) -> ValueError:
        return ValueError(
            f"output {self.path} holds another sweep: {why}. Give another folder, or "
            "remove this one."
        )

    def _look(self, index: int) -> Row | None:
        """Return the row of a member, read anew if its files changed."""
        state = _state_of(self._place(index)), _state_of(self._note(index))
        if index not in self._rows or self._rows[index][0] != state:
            self._rows[index] = state, self._read(index)
        return self._rows[index][1]

    def _read(self, index: int) -> Row | None:
        """Return the row of a member from its picture and its note."""
        row, place, seconds, error = self._blank[index], self._place(index), 0.0, None
        try:
            note = json.loads(self._note(index).read_text("utf-8"))
            seconds, error = float(note["seconds"]), note["error"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            pass  # only the seconds and the error are lost
        row = dataclasses.replace(row, seconds=seconds)
        if not place.exists():
            return dataclasses.replace(row, error=str(error)) if error else None
        try:
            fields = self._read_fn(index, place)
        except ValueError as difference:
            raise self._is_another(str(difference)) from None
        if fields is None or not _is_whole(place):
            return None
        digest = file_sha256(place)
        return dataclasses.replace(row, file=place.name, sha256=digest, **fields)

    def _write(self, place: Path, data: bytes) -> None:
        with atomic_write(place, self._stage) as beside:
            beside.write_bytes(data)

    def _refresh(self) -> None:
        start = time.monotonic()
        try:
            about = self._axes, self._mode, self.rows()
            text = manifest_json(*about, identity=self._identity)
            self._write(self.path / "manifest.json", text.encode())
            self._write(self.path / "manifest.csv", manifest_csv(*about))
            page = make_page(*about, self._title)
            self._write(self.path / "index.html", page.encode())
            sheet = make_sheet(
                *about, self._thumbnail, title=self._title, inputs=self._inputs
            )
            with atomic_write(self.path / "sheet.png", self._stage) as beside:
                sheet.save(beside, "PNG")
        finally:
            self._refreshed = time.monotonic()
            self._cost = self._refreshed - start

    def _thumbnail(self, row: Row, longest: int) -> PILImage.Image | None:
        """Return a small picture, kept from one sheet to the next."""
        kept = self._thumbnails.get(row.index)
        if kept is None or kept[:2] != (row.sha256, longest):
            picture = read_thumbnail(self.path / str(row.file), longest)
            kept = self._thumbnails[row.index] = row.sha256, longest, picture
        return kept[2]


def _make_folder(path: Path, process: int) -> None:
    """Make the folder, and try to write in it."""
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"output {path} is a file; give a folder.")
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"output {path}: no such folder: {path.parent}; make it first"
            )
        path.mkdir(exist_ok=True)
        names = {entry.name for entry in path.iterdir()} - _NEGLIGIBLE - {STATE}
        # Another process of this run may be probing, or was killed while it did.
        others = {name for name in names if not name.startswith(_PROBE)}
        # A sweep writes nothing before its description is there.
        if others and not (path / STATE / SWEEP_FILE).is_file():
            raise FileExistsError(
                f"output {path} is not empty and holds no sweep (there is "
                f"{min(others)}); give a new folder, or an empty one."
            )
        (path / STATE).mkdir(exist_ok=True)
        for folder in (path / STATE, path):
            probe = folder / f"{_PROBE}{process}"
            probe.write_bytes(b"")
            probe.unlink()
    except OSError as error:
        if error.errno is None:  # raised above
            raise
        message = f"output {path} cannot be written: {error.strerror}"
        raise type(error)(message) from error


def _take_lock(path: Path, process: int) -> filelock.BaseFileLock | None:
    """Take the lock of a process; None if the file system has no locks.

    The lock is released when the process dies.
    """
    place = path / STATE / f"process-{process}.lock"
    lock = filelock.FileLock(place, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BlockingIOError(
            f"output {path}: another run is writing there; wait for it, or give "
            f"another folder. (If none is, remove {place}.)"
        ) from None
    except (OSError, NotImplementedError):
        return None
    return lock


def _numbered(folder: Path, prefix: str, first: int) -> list[tuple[Path, int]]:
    """Return the files named `prefix` and a number from `first`, with that number."""
    found = [(path, path.name[len(prefix) :]) for path in folder.glob(f"{prefix}*")]
    return [(p, int(n)) for p, n in found if n.isdecimal() and int(n) >= first]


def _state_of(path: Path) -> Any:
    """Return a value that changes when a file does; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _is_whole(path: Path) -> bool:
    """Whether a picture file can be decoded to its end."""
    try:
        with PILImage.open(path) as picture:
            picture.load()
    except Exception:  # on damaged files Pillow raises nearly anything
        return False
    return True


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return in words how two descriptions differ, the first few differences."""
    phrases = []
    for key in dict.fromkeys([*new, *old]):
        if key not in old:
            phrases.append(f"`{key}` was not set, is {_show(new[key])}")
        elif key not in new:
            phrases.append(f"`{key}` was {_show(old[key])}, is not set")
        elif old[key] != new[key]:
            phrases.append(f"`{key}` was {_show(old[key])}, is {_show(new[key])}")
    more = len(phrases) - _NUM_NAMED
    return phrases if more <= 0 else [*phrases[:_NUM_NAMED], f"and {more} more"]


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and all(isinstance(x, str) for x in value):
        text = text.replace('"', "")  # labels
    if len(text) <= _MAX_SHOWN:
        return text
    return f"{text[: _MAX_SHOWN * 2 // 3]}...{text[-_MAX_SHOWN // 4 :]}"
