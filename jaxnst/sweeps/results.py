"""The result of a sweep: a row for each member, and the pictures."""

import dataclasses
import functools
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from jaxnst._checks import check_choice, one_line, shown
from jaxnst.images import check_format, read_record
from jaxnst.images.contact_sheet import thumbnail
from jaxnst.images.metadata import open_picture
from jaxnst.transfer.result import Result

from .axes import Axis, Row
from .folder import SweepFolder
from .jobs import PictureJob, SweepPlan, find_difference
from .manifest import fields_of_record
from .runner import Done
from .sheet import make_sheet


def make_row(job: PictureJob, done: Done | None = None) -> Row:
    """Return the row of a member, without its file."""
    row = Row(index=job.number, labels=dict(job.labels), settings=job.config.to_dict())
    if done is None:
        return row
    if done.result is None:
        fields = {"error": one_line(done.error) if done.error else "unknown"}
    else:
        fields = fields_of_record(done.result.record, done.result.history)
    return dataclasses.replace(row, seconds=round(done.seconds, 3), **fields)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepResult:
    """The pictures of a sweep, and how each was made.

    Attributes:
        axes: settings that differ, and their values.
        mode: "product" or "zip".
        rows: a row for each member that was painted or failed, in their order.
        folder: folder of the pictures; None if they are in memory.
        results: {index: result} of the pictures in memory.
        plan: all pictures that were to be painted.
    """

    axes: Sequence[Axis]
    mode: str
    rows: Sequence[Row]
    folder: Path | None
    results: Mapping[int, Result]
    plan: SweepPlan

    def __repr__(self) -> str:
        place = "" if self.folder is None else f" in {self.folder}"
        return f"SweepResult({len(self.rows)} of {len(self)} pictures{place})"

    def __len__(self) -> int:
        """Return the number of members, painted or not."""
        return len(self.plan.jobs)

    @property
    def errors(self) -> dict[str, str]:
        """{title of a member: why it has no picture}."""
        return {row.title: row.error for row in self.rows if row.error is not None}

    def find(self, **settings: Any) -> list[Row]:
        """Return the rows with these values: `find(style_weight=3)`.

        Args:
            settings: {axis: value or label}.

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
                if np.array_equal(value, label) or np.array_equal(value, own)
            ]
            if not labels:
                raise ValueError(
                    f"`{name}` is never {shown(value)}; it is {', '.join(axis.labels)}."
                )
            wanted[name] = labels[0]
        return [row for row in self.rows if wanted.items() <= row.labels.items()]

    def picture(self, index: int) -> PILImage.Image:
        """Return the picture of a member, as a PIL image.

        Args:
            index: number of the member, see `Row`.

        Raises:
            ValueError: if there is no picture; says why.
            OSError: if its file can no longer be read.
        """
        if index in self.results:
            return self.results[index].to_pil()
        row = next((row for row in self.rows if row.index == index), None)
        if row is None or row.file is None or self.folder is None:
            why = "it was not painted" if row is None else row.error
            raise ValueError(f"member {index} has no picture: {why}.")
        with open_picture((self.folder / row.file).read_bytes()) as picture:
            picture.load()
            return picture

    def sheet(self) -> PILImage.Image:
        """Return the contact sheet: all pictures, small, with their settings."""
        rows = {row.index: row for row in self.rows}
        for index in self.results:  # a row with a file has a picture
            rows[index] = dataclasses.replace(rows[index], file="in memory")
        return make_sheet(
            self.axes,
            self.mode,
            rows,
            lambda row, longest: thumbnail(self.picture(row.index), longest),
            inputs=self.plan.inputs,
        )

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        extension: str = ".png",
        bits: int = 8,
        quality: int = 95,
    ) -> Path:
        """Write all to a folder, and return its path.

        It gets the pictures, `sheet.png`, `manifest.json`, `manifest.csv` and
        `index.html`.

        Args:
            folder: path of the folder; one that holds a part of this sweep is
                completed.
            extension: extension of the pictures: .png, .jpg, .webp or .tif. Pictures
                that are in a folder already are copied as they are.
            bits: bits per channel, 8 or 16.
            quality: quality of JPEG and WebP, 1 to 100.

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
        with open_folder(self.plan, folder, extension=extension, form=form) as opened:
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
    plan: SweepPlan,
    folder: str | os.PathLike[str],
    *,
    form: Mapping[str, int],
    **options: Any,
) -> SweepFolder:
    """Return the folder of a sweep, new or resumed; `form` has bits and quality."""
    jobs = {job.number: job for job in plan.jobs}

    def read(index: int, path: Path) -> Mapping[str, Any] | None:
        try:
            record = read_record(path)
            difference = find_difference(record, jobs[index], are_objects_known=True)
            fields = fields_of_record(record, record.get("trace", {}))
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            return None
        if difference is not None:
            raise ValueError(f"{path.name}: {difference}")
        return fields

    return SweepFolder(
        folder,
        identity={**plan.identity, **form},
        axes=plan.axes,
        mode=plan.mode,
        rows=[make_row(job) for job in plan.jobs],
        read_fn=read,
        inputs=plan.inputs,
        **options,
    )
