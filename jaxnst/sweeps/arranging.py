"""How the members of a sweep lie beside each other, on the sheet and on the page."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

from .axes import Axis


_TIMES = " \N{MULTIPLICATION SIGN} "


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A table of members.

    Attributes:
        title: what they have in common and other blocks have not; or empty.
        row_name: of the axis that runs down; empty if there is one row alone.
        row_labels: its values.
        column_name: of the axis that runs across; empty if the labels name theirs.
        column_labels: its values; of zipped axes one line for each.
        indices: of the members, row by row.
    """

    title: str = ""
    row_name: str = ""
    row_labels: tuple[str, ...] = ("",)
    column_name: str = ""
    column_labels: tuple[str, ...]
    indices: tuple[tuple[int, ...], ...]


def count_members(axes: Sequence[Axis], mode: str) -> int:
    """Return how many pictures a sweep has.

    Args:
        axes: at least one.
        mode: "product" or "zip".
    """
    if mode == "zip":
        return len(axes[0].labels)
    return math.prod(len(axis.labels) for axis in axes)


def places(axes: Sequence[Axis], mode: str) -> list[tuple[int, ...]]:
    """Return for each member the place of its value on each axis."""
    if mode == "zip":
        return [(index,) * len(axes) for index in range(count_members(axes, mode))]
    return list(itertools.product(*(range(len(axis.labels)) for axis in axes)))


def heading(axes: Sequence[Axis], mode: str) -> str:
    """Return a title for a sweep that was given none."""
    varied = _varied(axes) or axes
    count = count_members(axes, mode)
    noun = "picture" if count == 1 else "pictures"
    between = ", " if mode == "zip" else _TIMES
    return f"{count} {noun}: {between.join(axis.name for axis in varied)}"


def in_common(axes: Sequence[Axis]) -> str:
    """Return the axes that have one value alone, in words, if others have more."""
    if not _varied(axes):
        return ""
    return ", ".join(
        f"{axis.name} {axis.labels[0]}" for axis in axes if len(axis.labels) == 1
    )


def arrange(axes: Sequence[Axis], mode: str) -> list[Block]:
    """Return the members as tables.

    The last axis runs across, the one before it down, and each combination of the
    others has a table of its own; an axis with one value takes no room. One axis, and
    zipped ones, are one row.

    Args:
        axes: at least one.
        mode: "product" or "zip".
    """
    varied = _varied(axes)
    if mode == "zip" or len(varied) < 2:
        return [_row(varied or axes, mode)]
    *outer, down, across = varied
    size = len(down.labels) * len(across.labels)
    blocks = []
    for number, labels in enumerate(
        itertools.product(*(axis.labels for axis in outer))
    ):
        start = number * size
        blocks.append(
            Block(
                title=", ".join(
                    f"{axis.name} {label}"
                    for axis, label in zip(outer, labels, strict=True)
                ),
                row_name=down.name,
                row_labels=down.labels,
                column_name=across.name,
                column_labels=across.labels,
                indices=tuple(
                    tuple(range(first, first + len(across.labels)))
                    for first in range(start, start + size, len(across.labels))
                ),
            )
        )
    return blocks


def _varied(axes: Sequence[Axis]) -> list[Axis]:
    return [axis for axis in axes if len(axis.labels) > 1]


def _row(axes: Sequence[Axis], mode: str) -> Block:
    labels = axes[0].labels
    if is_single := len(axes) == 1:
        captions = labels
    elif mode == "zip":
        captions = tuple(
            "\n".join(f"{axis.name} {axis.labels[index]}" for axis in axes)
            for index in range(len(labels))
        )
    else:  # all have one value
        captions = ("\n".join(f"{axis.name} {axis.labels[0]}" for axis in axes),)
    return Block(
        column_name=axes[0].name if is_single else "",
        column_labels=captions,
        indices=(tuple(range(len(captions))),),
    )


def split(block: Block, num_rows: int, num_columns: int) -> list[Block]:
    """Cut a block into blocks of at most so many rows and columns."""
    parts = []
    for top in range(0, len(block.row_labels), num_rows):
        for left in range(0, len(block.column_labels), num_columns):
            columns = slice(left, left + num_columns)
            parts.append(
                dataclasses.replace(
                    block,
                    row_labels=block.row_labels[top : top + num_rows],
                    column_labels=block.column_labels[columns],
                    indices=tuple(
                        row[columns] for row in block.indices[top : top + num_rows]
                    ),
                )
            )
    return parts
