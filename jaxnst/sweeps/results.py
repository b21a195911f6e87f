"""What a sweep gives: a row for each member, and the pictures."""

import dataclasses
import functools
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from jaxnst._checks import check_choice, one_line
from jaxnst.images import check_format
from jaxnst.images.contact_sheet import thumbnail
from jaxnst.transfer.result import Result

from .brief import Brief
from .folder import SweepFolder
from .local import Done
from .members import Axis, Row
from .sheet import make_sheet


def make_row(done: Done) -> Row:
    """Return what became of a member, without the file."""
    member, task = done.assignment.member, done.assignment.task
    row = Row(
        index=member.index,
        labels=dict(member.labels),
        settings=task.config.to_dict(),
        seconds=round(done.seconds, 3),
    )
    if done.result is None:
        error = one_line(done.error) if done.error is not None else "unknown"
        return dataclasses.replace(row, error=error)
    made, history = done.result.record["result"], done.result.history
    losses = {
        name: float(history[name][-1])
        for name in ("total", "content", "style", "tv")
        if len(history[name])
    }
    return dataclasses.replace(
        row,
        height=made["height"],
        width=made["width"],
        steps=made["steps"],
        stopped=made["stopped"],
        losses=losses,
        metrics=dict(done.result.record.get("metrics", {})),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepResult:
    """The pictures of a sweep, and how each was made.

    Attributes:
        axes: which settings differ, and their values.
        mode: "product" or "zip".
        rows: one for each member that was painted or failed, in their order.
        folder: where the pictures are; None if they are in memory.
        results: {index: result} of the pictures in memory.
        brief: what was to be painted.
    """

    axes: Sequence[Axis]
    mode: str
    rows: Sequence[Row]
    folder: Path | None
    results: Mapping[int, Result]
    brief: Brief

    def __len__(self) -> int:
        """How many members there are, painted or not."""
        return len(self.brief.assignments)

    @property
    def errors(self) -> dict[str, str]:
        """{title of a member: why it has no picture}."""
        return {row.title: row.error for row in self.rows if row.error is not None}

    def find(self, **settings: Any) -> list[Row]:
        """Return the rows with these values: `find(style_weight=3)`.

        Args:
            settings: {axis: value, or its label}.

        Raises:
            ValueError: if that is no axis, or has no such value.
        """
        wanted: dict[str, str] = {}
        for name, value in settings.items():
            check_choice("axis", name, tuple(axis.name for axis in self.axes))
            axis = next(axis for axis in self.axes if axis.name == name)
            labels = [
                label
                for label, own in zip(axis.labels, axis.values, strict=True)
                if value is own or _is_equal(value, label) or _is_equal(value, own)
            ]
            if not labels:
                raise ValueError(
                    f"`{name}` is never {value!r}; it is {', '.join(axis.labels)}."
                )
            wanted[name] = labels[0]
        return [row for row in self.rows if wanted.items() <= row.labels.items()]

    def picture(self, index: int) -> PILImage.Image:
        """Return the picture of a member, as a PIL image.

        Args:
            index: of the member, see `Row`.

        Raises:
            ValueError: if there is none; says why.
            OSError: if its file cannot be read any more.
        """
        if index in self.results:
            return self.results[index].to_pil()
        row = next((row for row in self.rows if row.index == index), None)
        if row is None or row.file is None or self.folder is None:
            why = "it was not painted" if row is None else row.error
            raise ValueError(f"member {index} has no picture: {why}.")
        with PILImage.open(self.folder / row.file) as picture:
            picture.load()
            return picture

    def sheet(self) -> PILImage.Image:
        """Return the contact sheet: all pictures, small, with their settings."""
        rows = {
            # A row has a file where there is a picture, be it in memory.
            row.index: dataclasses.replace(row, file=row.file or "in memory")
            if row.index in self.results
            else row
            for row in self.rows
        }
        return make_sheet(
            self.axes,
            self.mode,
            rows,
            lambda row, longest: thumbnail(self.picture(row.index), longest),
            inputs=self.brief.inputs,
        )

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        extension: str = ".png",
        bits: int = 8,
        quality: int = 95,
    ) -> Path:
        """Write a folder: pictures, `sheet.png`, `manifest.json`, `.csv`, `index.html`.

        Args:
            folder: is made; one that holds a part of this sweep is completed.
            extension: of the pictures: .png, .jpg, .webp or .tif. Pictures that are in
                a folder already are copied as they are.
            bits: per channel of them, 8 or 16.
            quality: of JPEG and WebP, 1 to 100.

        Raises:
            ValueError: if the folder holds another sweep, or the extension is unknown.
            OSError: if it cannot be written.
        """
        check_format(f"any{extension}", bits=bits, quality=quality)
        form = {"bits": bits, "quality": quality}
        if self.folder is not None:
            extension = next(
                (Path(row.file).suffix for row in self.rows if row.file), extension
            )
        with open_folder(self.brief, folder, extension=extension, form=form) as opened:
            finished = opened.finished()
            for row in self.rows:
                if row.index not in finished:
                    opened.add(row, self._save_fn(row, form))
            return opened.path

    def _save_fn(self, row: Row, form: Mapping[str, int]) -> Any:
        if row.index in self.results:
            return functools.partial(self.results[row.index].save, **form)
        if row.file is None or self.folder is None:
            return None
        source = self.folder / row.file
        return lambda place: shutil.copyfile(source, place)

    def _repr_png_(self) -> bytes:
        """Show the contact sheet where this is the value of a notebook's cell."""
        stream = io.BytesIO()
        self.sheet().save(stream, "PNG")
        return stream.getvalue()


def open_folder(
    brief: Brief,
    folder: str | os.PathLike[str],
    *,
    extension: str,
    form: Mapping[str, int],
    process: int = 0,
    num_processes: int = 1,
) -> SweepFolder:
    """Open the folder of a sweep, see `SweepFolder.open`.

    Args:
        brief: what the sweep paints.
        folder: which one.
        extension: of the pictures.
        form: {"bits", "quality"} of their files.
        process: number of this process.
        num_processes: that write there.
    """
    return SweepFolder.open(
        folder,
        identity={**brief.identity, **form},
        axes=brief.axes,
        mode=brief.mode,
        members=brief.members,
        process=process,
        num_processes=num_processes,
        extension=extension,
        inputs=brief.inputs,
    )


def _is_equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (TypeError, ValueError):  # arrays
        return False
