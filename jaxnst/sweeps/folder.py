"""The folder that a sweep fills, so that it can be stopped and taken up at any moment.

In it: a picture for each member, `manifest.json`, `manifest.csv`, `sheet.png` and
`index.html`; and `.sweep/` with `sweep.json` (what decides the pictures), a row for
each member, and for each process a lock and a folder for what is being written.
Everything is written there first and then moved to its place, so that whatever is in
place is whole; a picture counts once its row is there and has its hash.
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

from .identity import describe_sweep, find_differences, in_words
from .manifest import manifest_csv, manifest_json
from .members import Axis, Member, Row
from .naming import make_file_name
from .opening import PROBE, STATE, SWEEP_FILE, make_folder, numbered_paths, take_lock
from .page import make_page
from .rows import decode_row, encode_row, file_sha256, read_row
from .sheet import make_sheet, read_thumbnail


# Manifest, sheet and page are made anew after so many seconds, and so many times what
# it took last.
_REFRESH_SECONDS = 2.0
_REFRESH_SHARE = 20


class SweepFolder:
    """The pictures of a sweep on disk; see `open`.

    Its methods may be called from several threads.

    Attributes:
        path: of the folder.
    """

    def __init__(
        self,
        path: Path,
        *,
        identity: Mapping[str, Any],
        axes: Sequence[Axis],
        mode: str,
        members: Sequence[Member],
        process: int,
        num_processes: int,
        extension: str,
        title: str,
        inputs: Mapping[str, PILImage.Image],
        lock: filelock.BaseFileLock | None,
    ):
        self.path = path
        self._state = path / STATE
        self._stage = self._state / f"process-{process}"
        self._identity, self._axes, self._mode = identity, axes, mode
        self._members = {member.index: member for member in members}
        self._process, self._num_processes = process, num_processes
        self._extension, self._title, self._inputs = extension, title, inputs
        self._lock = lock
        self._num_digits = len(str(max(self._members, default=0)))
        self._known: dict[int, tuple[str, Row]] = {}
        self._thumbnails: dict[int, tuple[str | None, int, PILImage.Image | None]] = {}
        self._mutex = threading.RLock()
        self._is_open = True
        self._refreshed, self._cost = time.monotonic(), 0.0

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        identity: Mapping[str, Any],
        axes: Sequence[Axis],
        mode: str,
        members: Sequence[Member],
        process: int = 0,
        num_processes: int = 1,
        extension: str = ".png",
        title: str = "",
        inputs: Mapping[str, PILImage.Image] | None = None,
    ) -> "SweepFolder":
        """Make the folder, or take up what is there; called before any painting.

        Args:
            path: of the folder; it is made, the one it lies in must be there.
            identity: what decides the pictures besides the axes (settings, hashes of
                pictures and weights, version), as JSON can hold it.
            axes: of the sweep, at least one.
            mode: "product" or "zip".
            members: all of them, also those that other processes paint.
            process: number of this process, from 0; process 0 writes manifest, sheet
                and page.
            num_processes: that write into the folder at the same time.
            extension: of the pictures, with its dot.
            title: of sheet and page; by default what the sweep varies.
            inputs: {name: picture} to show small at the top of the sheet.

        Raises:
            ValueError: if the folder holds another sweep.
            NotADirectoryError: if a file lies in its place.
            FileNotFoundError: if there is no folder to make it in.
            FileExistsError: if it is full of other things.
            BlockingIOError: if another run is writing there.
            OSError: if it cannot be written.
        """
        path = Path(path)
        make_folder(path, process)
        lock = take_lock(path, process)
        try:
            folder = cls(
                path,
                identity=identity,
                axes=axes,
                mode=mode,
                members=members,
                process=process,
                num_processes=num_processes,
                extension=extension,
                title=title,
                inputs=inputs or {},
                lock=lock,
            )
            folder._clear()
            folder._settle()
            folder._read_rows()
        except BaseException:
            shutil.rmtree(path / STATE / f"process-{process}", ignore_errors=True)
            if lock is not None:
                lock.release()
            raise
        return folder

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
        with contextlib.suppress(OSError):  # what went wrong first is to be seen
            self.close()

    def finished(self) -> dict[int, Row]:
        """Return the rows of the members whose pictures are there, whole.

        Also those of other processes. A picture is read once, to compare its hash.
        """
        with self._mutex:
            self._read_rows()
            return {
                index: row
                for index, (_, row) in sorted(self._known.items())
                if row.error is None
            }

    def file_name(self, member: Member) -> str:
        """Return the name of a member's picture, see `make_file_name`."""
        return make_file_name(member, self._num_digits, self._extension)

    def add(self, row: Row, save_fn: Callable[[Path], object] | None) -> Row:
        """Write a picture and its row; then, if it is time, manifest, sheet and page.

        Args:
            row: of the member; `file` and `sha256` are filled in here.
            save_fn: writes the picture to the path it is given; None if there is none,
                then `row.error` says why.

        Returns:
            The row as it was written.

        Raises:
            OSError: if it cannot be written; then the member is not finished.
        """
        name = self.file_name(self._members[row.index])
        place = self.path / name
        if save_fn is None:
            row = dataclasses.replace(row, file=None, sha256=None)
            place.unlink(missing_ok=True)  # of a run that was killed before its row
        else:
            staged = self._stage / name
            save_fn(staged)
            digest = file_sha256(staged)
            row = dataclasses.replace(row, file=name, sha256=digest, error=None)
            staged.replace(place)
        text = encode_row(row)
        with self._mutex:
            self._write(self._row_path(row.index), text.encode(), is_synced=True)
            # As it would be read, so that a resumed sweep lists the same.
            kept = decode_row(text)
            self._known[row.index] = text, kept
            pause = max(_REFRESH_SECONDS, _REFRESH_SHARE * self._cost)
            if self._process == 0 and time.monotonic() - self._refreshed >= pause:
                # Whoever has the table open in a spreadsheet must not stop the sweep;
                # if that is so to the end, `close` says so.
                with contextlib.suppress(OSError):
                    self._refresh()
        return kept

    def close(self) -> None:
        """Write manifest, sheet and page a last time, and let the folder go.

        Process 0 is to call it when the others have added their last.

        Raises:
            OSError: if they cannot be written; the pictures are there all the same.
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
                shutil.rmtree(self._stage, ignore_errors=True)
                if self._lock is not None:
                    self._lock.release()

    def _row_path(self, index: int) -> Path:
        return self._state / f"{index:0{self._num_digits}}.json"

    def _clear(self) -> None:
        """Remove what killed processes were writing: those whose locks we can have."""
        shutil.rmtree(self._stage, ignore_errors=True)
        self._stage.mkdir(exist_ok=True)
        if self._process != 0:
            return
        # Of an earlier run with more processes, where none of them goes on.
        others = self._num_processes
        for stage, number in numbered_paths(self._state, "process-", others):
            with contextlib.suppress(BlockingIOError):
                lock = take_lock(self.path, number)
                shutil.rmtree(stage, ignore_errors=True)
                if lock is not None:
                    lock.release()
        for folder in (self.path, self._state):
            for probe, _ in numbered_paths(folder, PROBE, others):
                probe.unlink(missing_ok=True)

    def _settle(self) -> None:
        """Write down what decides the pictures, or compare it with what was."""
        place = self._state / SWEEP_FILE
        new = describe_sweep(self._identity, self._axes, self._mode, self._extension)
        try:
            old = json.loads(place.read_text("utf-8"))
            if not isinstance(old, dict):
                raise ValueError("no object")
        except FileNotFoundError:
            text = json.dumps(new, indent=1) + "\n"
            self._write(place, text.encode(), is_synced=True)
            return
        except (ValueError, RecursionError):
            raise ValueError(
                f"output {self.path} holds a sweep, but its {STATE}/{SWEEP_FILE} is "
                "damaged. Give another folder, or remove this one."
            ) from None
        if differences := find_differences(old, new):
            raise ValueError(
                f"output {self.path} holds another sweep: {in_words(differences)}. "
                "Give another folder, or remove this one."
            )

    def _read_rows(self) -> None:
        """Read the rows that are new, and the pictures they are of."""
        for index, member in self._members.items():
            try:
                text = self._row_path(index).read_text("utf-8")
            except (OSError, UnicodeDecodeError):
                self._known.pop(index, None)
                continue
            if index in self._known and self._known[index][0] == text:
                continue
            row = read_row(text, member, self.path / self.file_name(member))
            if row is None:
                self._known.pop(index, None)
            else:
                self._known[index] = text, row

    def _write(self, place: Path, data: bytes, *, is_synced: bool = False) -> None:
        staged = self._stage / place.name
        with staged.open("wb") as stream:
            stream.write(data)
            if is_synced:
                stream.flush()
                os.fsync(stream.fileno())
        staged.replace(place)

    def _refresh(self) -> None:
        start = time.monotonic()
        try:
            if self._num_processes > 1:
                self._read_rows()
            rows = {index: row for index, (_, row) in sorted(self._known.items())}
            about = self._axes, self._mode, rows
            text = manifest_json(*about, identity=self._identity)
            self._write(self.path / "manifest.json", text.encode())
            self._write(self.path / "manifest.csv", manifest_csv(*about))
            page = make_page(*about, self._title)
            self._write(self.path / "index.html", page.encode())
            sheet = make_sheet(
                *about, self._thumbnail, title=self._title, inputs=self._inputs
            )
            staged = self._stage / "sheet.png"
            sheet.save(staged, "PNG")
            staged.replace(self.path / "sheet.png")
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
