"""The contact sheet of a sweep: which picture lies where, and what is written there."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image as PILImage

from jaxnst.images.contact_sheet import Source, Table, draw_sheet, thumbnail

from .axes import Axis, Row, make_members


def make_sheet(
    axes: Sequence[Axis],
    mode: str,
    rows: Mapping[int, Row],
    thumbnail_fn: Callable[[Row, int], PILImage.Image | None],
    *,
    inputs: Mapping[str, Source] | None = None,
) -> PILImage.Image:
    """Return the contact sheet; equal arguments give equal pixels.

    A member without a row is an empty frame. Inputs are shown at the top. The function
    gets a row and the longest side wanted.
    """
    painted = [row for row in rows.values() if row.file is not None]

    def picture(index: int, longest: int) -> PILImage.Image | str:
        row = rows.get(index)
        if row is None:
            return ""
        if row.file is None:
            return "failed"
        return thumbnail_fn(row, longest) or "no preview"

    return draw_sheet(
        make_tables(axes, mode),
        {(max(row.width, 1), max(row.height, 1)) for row in painted},
        picture,
        title=heading(axes, mode),
        note=in_common(axes),
        inputs=inputs,
    )


def read_thumbnail(path: Path, longest: int) -> PILImage.Image | None:
    """Return a picture file shrunk, see `thumbnail`; None if it cannot be read."""
    try:
        return thumbnail(path, longest)
    # On damaged files Pillow raises nearly anything. The sheet does without them.
    except Exception:
        return None


def make_tables(axes: Sequence[Axis], mode: str) -> list[Table]:
    """Return the members of a sweep as tables.

    The last axis runs across, the one before it down, and each combination of the
    others is a table of its own. Members of a single axis, and of zipped ones, run in
    lines. Axes with one value are left out, as `in_common` names them.
    """
    varied = [axis for axis in axes if len(axis.labels) > 1] or list(axes)
    # On one line each, as file names may hold line breaks.
    labels = [
        [" ".join(f"{axis.name} {label}".split()) for label in axis.labels]
        for axis in varied
    ]
    count = len(make_members(axes, mode))
    if mode == "zip" or count == 1:
        captions = tuple(map("\n".join, zip(*labels, strict=True)))
        return [Table(captions, (tuple(range(count)),))]
    *outer, down, across = [("",), *map(tuple, labels)]
    width, size = len(across), len(down) * len(across)
    return [
        Table(
            title=", ".join(titles[1:] if len(varied) > 2 else ()),
            row_labels=down,
            column_labels=across,
            indices=tuple(
                tuple(range(first, first + width))
                for first in range(number * size, (number + 1) * size, width)
            ),
        )
        for number, titles in enumerate(itertools.product(*outer))
    ]


def heading(axes: Sequence[Axis], mode: str) -> str:
    """Return the title of a sweep, such as `6 pictures: seed, size`."""
    varied = [axis for axis in axes if len(axis.labels) > 1] or axes
    count = len(make_members(axes, mode))
    joint = ", " if mode == "zip" else " \N{MULTIPLICATION SIGN} "
    names = joint.join(axis.name for axis in varied)
    return f"{count} picture{'' if count == 1 else 's'}: {names}"


def in_common(axes: Sequence[Axis]) -> str:
    """Return the axes with a single value, as text, if others have more."""
    fixed = [f"{axis.name} {axis.labels[0]}" for axis in axes if len(axis.labels) == 1]
    return ", ".join(fixed) if len(fixed) < len(axes) else ""
