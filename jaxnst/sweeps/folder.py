"""The folder of a sweep, which can be stopped at any moment and resumed.

It holds a picture for each member, `manifest.json`, `manifest.csv`, `sheet.png` and
`index.html`; and `.sweep/` with `sweep.json` (what no record can tell), for each member
that was tried a note of its seconds and its error, and for each process a lock and a
folder for files being written. Files are written there and then renamed, so that no
file is ever half in place. A member is finished if its picture is there and says, in
the record inside, that it is the one asked for.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
from PIL import Image as PILImage

from jaxnst._checks import check_path, plain
from jaxnst.images import EXTENSIONS
from jaxnst.images.files import (
    NEGLIGIBLE,
    atomic_write,
    file_sha256,
    named_errors,
    take_lock,
)
from jaxnst.images.metadata import open_picture

from .axes import Axis, Row, make_file_name
from .manifest import manifest_csv, manifest_json
from .page import make_page
from .sheet import make_sheet, read_thumbnail


STATE = ".sweep"
_SWEEP_FILE = "sweep.json"
# Manifest, sheet and page are made again after so many seconds, and after so many times
# the seconds that they took last.
_REFRESH_SECONDS = 2.0
_REFRESH_SHARE = 20


class SweepFolder:
    """The pictures of a sweep on disk.

    Opening makes the folder, or resumes the sweep in it. `identity` is what decides the
    pictures and no record can tell, and `rows` has index, labels and settings of every
    member; `read_fn` returns fields of a member's row from its picture, None if that is
    not usable, and raises ValueError if it is another picture. Several processes may
    share a folder; process 0 writes manifest, sheet and page. A folder that holds
    another sweep or other things, or that another run writes to, is refused.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        identity: Mapping[str, Any],
        axes: Sequence[Axis],
        mode: str,
        rows: Sequence[Row],
        read_fn: Callable[[int, Path], Mapping[str, Any] | None],
        process: int = 0,
        num_processes: int = 1,
        extension: str = ".png",
        inputs: Mapping[str, PILImage.Image] | None = None,
    ):
        self.path = Path(check_path("output", path))
        self._state = self.path / STATE
        self._stage = self._state / f"process-{process}"
        self._identity, self._axes, self._mode = identity, axes, mode
        self._blank = {row.index: row for row in rows}
        self._read_fn = read_fn
        self._process, self._num_processes = process, num_processes
        self._inputs = inputs
        num_digits = len(str(max(self._blank, default=0)))
        self._places, self._notes = {}, {}
        for row in rows:
            name = make_file_name(row.index, row.labels, num_digits, extension)
            note = f"{row.index:0{num_digits}}.json"
            self._places[row.index] = self.path / name
            self._notes[row.index] = self._state / note
        # {index: (state of its files, row)}
        self._rows: dict[int, tuple[Any, Row | None]] = {}
        self._thumbnails: dict[int, tuple[str | None, int, PILImage.Image | None]] = {}
        self._refreshed, self._cost = time.monotonic(), 0.0
        _make_folder(self.path, self._stage)
        self._lock = _take_lock(self.path, process)
        try:
            self._clear()
            self._check_identity()
            self._check_others()
            self._read_rows()
        except BaseException:
            self._leave()
            raise

    def __enter__(self) -> "SweepFolder":
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(OSError):  # the first error is the one to be seen
            self.close()

    def finished(self) -> dict[int, Row]:
        """Return {index: row} of the members whose pictures are there, of any process.

        A picture is read again only if its file changed.
        """
        rows = self._read_rows()
        return {index: row for index, row in rows.items() if row.error is None}

    def add(self, row: Row, save_fn: Callable[[Path], object] | None) -> Row:
        """Write a picture, and return its row as it will be read again.

        Without a `save_fn`, which writes to the path it is given, `row.error` says why.
        If it is time, manifest, sheet and page are written, too.

        Raises:
            OSError: if the picture cannot be written; then the member is not finished.
        """
        place = self._places[row.index]
        note = {"seconds": row.seconds, "error": None if save_fn else row.error}
        self._write(self._notes[row.index], json.dumps(note).encode())
        if save_fn is None:
            place.unlink(missing_ok=True)
        else:
            with atomic_write(place, self._stage) as staged:
                save_fn(staged)
        kept = self._look(row.index)
        if kept is None:  # without its record it is painted again next time
            kept = dataclasses.replace(row, file=place.name, sha256=file_sha256(place))
            self._rows[row.index] = self._rows[row.index][0], kept
        pause = max(_REFRESH_SECONDS, _REFRESH_SHARE * self._cost)
        if self._process == 0 and time.monotonic() - self._refreshed >= pause:
            # A table that is open in a spreadsheet must not stop the sweep; if it still
            # is at the end, `close` says so.
            with contextlib.suppress(OSError):
                self._refresh()
        return kept

    def close(self) -> None:
        """Write manifest, sheet and page a last time, and release the folder.

        Process 0 must call it after the others have added their last picture.

        Raises:
            OSError: if they cannot be written; the pictures are there nevertheless.
        """
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

    def _leave(self) -> None:
        shutil.rmtree(self._stage, ignore_errors=True)
        self._lock.release()

    def _clear(self) -> None:
        """Remove the unfinished files of killed processes, whose locks are free."""
        shutil.rmtree(self._stage, ignore_errors=True)
        self._stage.mkdir(exist_ok=True)
        if self._process != 0:
            return
        for stage in self._state.glob("process-*[0-9]"):
            number = int(stage.name.removeprefix("process-"))
            if number >= self._num_processes:  # of an earlier run with more processes
                with contextlib.suppress(BlockingIOError):
                    lock = _take_lock(self.path, number)
                    shutil.rmtree(stage, ignore_errors=True)
                    lock.release()

    def _check_identity(self) -> None:
        """Write down what no record can tell, or compare it with what is there."""
        place = self._state / _SWEEP_FILE
        text = json.dumps(self._identity, indent=1)
        try:
            old = json.loads(place.read_text("utf-8"))
            if not isinstance(old, dict):
                raise ValueError("no object")
        except FileNotFoundError:
            self._write(place, f"{text}\n".encode())
            return
        except (ValueError, RecursionError):
            raise ValueError(
                f"output {self.path} holds a sweep, but its {STATE}/{_SWEEP_FILE} is "
                "damaged. Give another folder, or remove this one."
            ) from None
        for name, value in json.loads(text).items():
            if (was := old.get(name, value)) != value:
                raise self._is_another(f"`{name}` was {was!s:.60}, is {value!s:.60}")

    def _check_others(self) -> None:
        """Refuse a folder with pictures that are none of this sweep."""
        own, last = {path.name for path in self._places.values()}, max(self._blank)
        for path in sorted(self.path.glob("[0-9]*")):
            name = unicodedata.normalize("NFC", path.name)  # Macs may list another form
            if name in own or path.suffix.lower() not in EXTENSIONS:
                continue
            index = int(re.findall("[0-9]+", path.name)[0])
            if self._fields(min(index, last), path) is not None:
                raise self._is_another(f"{path.name} is none of its pictures")

    def _is_another(self, why: str) -> ValueError:
        return ValueError(
            f"output {self.path} holds another sweep: {plain(why)}. Give another "
            "folder, or remove this one."
        )

    def _read_rows(self) -> dict[int, Row]:
        """Return {index: row} of the members that are done or failed."""
        found = {index: self._look(index) for index in sorted(self._blank)}
        return {index: row for index, row in found.items() if row is not None}

    def _look(self, index: int) -> Row | None:
        """Return the row of a member, read anew if its files changed."""
        state = _state_of(self._places[index]), _state_of(self._notes[index])
        if index not in self._rows or self._rows[index][0] != state:
            self._rows[index] = state, self._read(index)
        return self._rows[index][1]

    def _read(self, index: int) -> Row | None:
        """Return the row of a member from its picture and its note."""
        place, seconds, error = self._places[index], 0.0, None
        try:
            note = json.loads(self._notes[index].read_text("utf-8"))
            seconds, error = float(note["seconds"]), note["error"]
        except (
            OSError,
            ValueError,
            TypeError,
            KeyError,
            ArithmeticError,
            RecursionError,
        ):
            pass  # only the seconds and the error are lost
        row = dataclasses.replace(self._blank[index], seconds=seconds)
        if not place.exists():
            return dataclasses.replace(row, error=str(error)) if error else None
        fields = self._fields(index, place)
        if fields is None or not _is_whole(place):
            return None
        digest = file_sha256(place)
        return dataclasses.replace(row, file=place.name, sha256=digest, **fields)

    def _fields(self, index: int, place: Path) -> Mapping[str, Any] | None:
        try:
            return self._read_fn(index, place)
        except ValueError as difference:
            raise self._is_another(str(difference)) from None

    def _write(self, place: Path, data: bytes) -> None:
        with atomic_write(place, self._stage) as staged:
            staged.write_bytes(data)

    def _refresh(self) -> None:
        start = time.monotonic()
        try:
            about = self._axes, self._mode, self._read_rows()
            text = manifest_json(*about, identity=self._identity)
            self._write(self.path / "manifest.json", text.encode())
            self._write(self.path / "manifest.csv", manifest_csv(*about))
            self._write(self.path / "index.html", make_page(*about).encode())
            sheet = make_sheet(*about, self._thumbnail, inputs=self._inputs)
            with atomic_write(self.path / "sheet.png", self._stage) as staged:
                sheet.save(staged)
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


def _make_folder(path: Path, stage: Path) -> None:
    """Make the folder, unless it is full of other things."""
    with named_errors(f"output {path} cannot be written"):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"output {path} is a file; give a folder.")
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"output {path}: no such folder: {path.parent}; make it first"
            )
        path.mkdir(exist_ok=True)
        others = {entry.name for entry in path.iterdir()} - NEGLIGIBLE - {STATE}
        # A sweep writes nothing before its description is there.
        if others and not (path / STATE / _SWEEP_FILE).is_file():
            raise FileExistsError(
                f"output {path} is not empty and holds no sweep (there is "
                f"{min(others)}); give a new folder, or an empty one."
            )
        stage.mkdir(parents=True, exist_ok=True)


def _take_lock(path: Path, process: int) -> filelock.BaseFileLock:
    """Take the lock of a process."""
    place = path / STATE / f"process-{process}.lock"
    return take_lock(
        place,
        f"output {path}: another run is writing there; wait for it, or give another "
        f"folder. (If none is, remove {place}.)",
    )


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
        with open_picture(path.read_bytes()) as picture:
            picture.load()
    except PILImage.DecompressionBombError:  # a TIFF too large for Pillow
        return True
    except Exception:  # on damaged files Pillow raises nearly anything
        return False
    return True
