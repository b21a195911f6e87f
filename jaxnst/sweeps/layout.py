"""Where everything lies on the contact sheet: plain geometry, in pixels.

Cells are as large as they can be while the sheet stays below `MAX_SIDE`, and never
larger than the largest picture. Text grows with them, so that it can still be read
when the whole sheet is looked at.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from .arranging import Block, split
from .lettering import MIN_TEXT, fit, line_height, shorten, text_width
from .planning import Plan, cell_shape, choose_plan, fitted, largest_cell


MAX_SIDE = 4000
# Below it a thumbnail tells nothing; rather than that, the sheet grows.
MIN_CELL = 64
_MIN_WIDTH = 480
_EMPTY = (256, 256)


class Box(NamedTuple):
    """A rectangle."""

    left: int
    top: int
    width: int
    height: int


class Words(NamedTuple):
    """Lines of text in a box.

    Attributes:
        lines: of text.
        box: in which they lie.
        size: of the text.
        align: "left" or "center".
        valign: "top", "middle" or "bottom".
        is_quiet: whether it names something, rather than being a value.
    """

    lines: tuple[str, ...]
    box: Box
    size: int
    align: str = "left"
    valign: str = "top"
    is_quiet: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A sheet before it is drawn.

    Attributes:
        width: of the sheet.
        height: likewise.
        longest: that a side of a thumbnail may be.
        text_size: of most text.
        cells: {index of the member: its box}.
        words: all text.
        inputs: {name: box} of the pictures in the header.
        valign: of thumbnails in their boxes.
    """

    width: int
    height: int
    longest: int
    text_size: int
    cells: Mapping[int, Box]
    words: Sequence[Words]
    inputs: Mapping[str, Box]
    valign: str


class Header(NamedTuple):
    """What is above the members.

    Attributes:
        title: of the sheet.
        note: below the title; may be empty.
        inputs: {name: (width, height)} of pictures.
    """

    title: str
    note: str
    inputs: Mapping[str, tuple[int, int]]


def lay_out(
    blocks: Sequence[Block], shapes: Collection[tuple[int, int]], header: Header
) -> Layout:
    """Return where everything lies.

    Args:
        blocks: what is to be shown, see `arrange`; text as it can be drawn.
        shapes: (width, height) of the pictures that are there.
        header: what is above.
    """
    shapes = set(shapes) or {_EMPTY}
    plan = choose_plan(blocks, shapes)
    high = largest_cell(shapes)
    low = min(MIN_CELL, high)
    best = _build(blocks, plan, shapes, header, high)
    if _is_too_large(best) and low < high:
        best, high = _build(blocks, plan, shapes, header, low), high - 1
        while low < high:
            middle = (low + high + 1) // 2
            layout = _build(blocks, plan, shapes, header, middle)
            if _is_too_large(layout):
                high = middle - 1
            else:
                low, best = middle, layout
    return best


def _is_too_large(layout: Layout) -> bool:
    return max(layout.width, layout.height) > MAX_SIDE


def _build(
    blocks: Sequence[Block],
    plan: Plan,
    shapes: Collection[tuple[int, int]],
    header: Header,
    longest: int,
) -> Layout:
    parts = [part for block in blocks for part in split(block, plan.rows, plan.columns)]
    width, height = cell_shape(shapes, longest)
    cell = max(width, 5 * MIN_TEXT), max(height, line_height(MIN_TEXT))
    lines = -(-len(parts) // plan.across)
    extent = max(plan.across * plan.columns * cell[0], lines * plan.rows * cell[1])
    size = round(min(max(0.07 * longest, extent / 110), 0.2 * longest))
    size = max(MIN_TEXT, size)
    gap = max(6, round(0.03 * longest))
    margin = max(20, 2 * gap)
    tile = _Tile(parts, plan, cell, size, gap)
    between = max(3 * gap, 2 * size) if tile.is_table else gap
    across, down = tile.width + between, tile.height + between
    width = max(_MIN_WIDTH, plan.across * across - between + 2 * margin)
    words, inputs, top = _lay_header(header, width, margin, size, longest)
    if blocks[0].column_name and not tile.is_table:
        room = max(tile.width, min(width - 2 * margin, 12 * size))
        box = Box(margin, top, room, line_height(size))
        words.append(_one_line(blocks[0].column_name, box, size))
        top += box.height
    cells: dict[int, Box] = {}
    for number, part in enumerate(parts):
        line, column = divmod(number, plan.across)
        tile.place(part, margin + column * across, top + line * down, words, cells)
    return Layout(
        width=width,
        height=top + (lines - 1) * down + tile.height + margin,
        longest=longest,
        text_size=size,
        cells=cells,
        words=words,
        inputs=inputs,
        valign="middle" if tile.is_table else "top",
    )


def _lay_header(
    header: Header, width: int, margin: int, size: int, longest: int
) -> tuple[list[Words], dict[str, Box], int]:
    """Return text and pictures above the members, and where these begin."""
    words: list[Words] = []
    boxes: dict[str, Box] = {}
    side = min(200, max(64, round(0.4 * longest)))
    left, top, bottom = margin, margin, margin
    for name, shape in header.inputs.items():
        picture = fitted(shape, side)
        # A name longer than its picture is wide gets some room, and two lines.
        room = max(picture[0], min(6 * size, _width_of(name, size)))
        small = fit([name], size, room, 2)
        lines = tuple(shorten(name, small, room, 2))
        if left > margin and left + room > width - margin:
            left, top = margin, bottom + size
        boxes[name] = Box(left, top + side - picture[1], *picture)
        box = Box(left, top + side, room, len(lines) * line_height(small))
        words.append(Words(lines, box, small, is_quiet=True))
        left += room + size
        bottom = max(bottom, box.top + box.height)
    room = width - margin - left
    if boxes and room < 0.5 * width:
        left, top, room = margin, bottom + size // 2, width - 2 * margin
    for text, wanted in ((header.title, round(1.4 * size)), (header.note, size)):
        if text:
            small = fit([text], wanted, room, 3)
            lines = tuple(shorten(text, small, room, 3))
            box = Box(left, top, room, len(lines) * line_height(small))
            words.append(Words(lines, box, small))
            top += box.height
    return words, boxes, max(bottom, top) + size


def _one_line(text: str, box: Box, size: int) -> Words:
    small = fit([text], size, box.width, 1)
    lines = tuple(shorten(text, small, box.width, 1))
    return Words(lines, box, small, "center", is_quiet=True)


def _width_of(text: str, size: int) -> int:
    return round(text_width(text, size)) + 1


class _Tile:
    """The measures that all parts of a sheet share.

    From the top down: title; name of the axis across; its labels, beside them the name
    of the axis down; the grid.
    """

    def __init__(
        self,
        parts: Sequence[Block],
        plan: Plan,
        cell: tuple[int, int],
        size: int,
        gap: int,
    ):
        first = parts[0]
        self.is_table = bool(first.row_name)
        self.cell, self.gap, self.size = cell, gap, size
        self.grid_width = plan.columns * (cell[0] + gap) - gap
        self.side = self.room = self.name_height = self.title_height = 0
        labels = sorted({label for part in parts for label in part.column_labels})
        self.column_size = fit(labels, size, cell[0], 3)
        most = max(len(self._column_lines(label)) for label in labels)
        self.label_height = most * line_height(self.column_size)
        if self.is_table:
            self._measure_names(parts)
        self.width = self.side + self.grid_width
        if any(part.title for part in parts):
            most = max(len(self._title_lines(part)) for part in parts)
            self.title_height = most * line_height(size)
        self.head = self.title_height + self.name_height + self.label_height + gap // 2
        self.height = self.head + plan.rows * (cell[1] + gap) - gap

    def _measure_names(self, parts: Sequence[Block]) -> None:
        first, size = parts[0], self.size
        labels = sorted({label for part in parts for label in part.row_labels})
        widest = max(_width_of(text, size) for text in (*labels, first.row_name))
        self.room = min(max(6 * size, round(0.8 * self.cell[0])), widest)
        self.side = self.room + self.gap
        most = max(1, self.cell[1] // line_height(size))
        self.row_size = fit(labels, size, self.room, min(3, most))
        self.corner_size = fit([first.row_name], size, self.room, 2)
        self.corner = tuple(shorten(first.row_name, self.corner_size, self.room, 3))
        height = len(self.corner) * line_height(self.corner_size)
        self.label_height = max(self.label_height, height)
        self.name_size = fit([first.column_name], size, self.grid_width, 1)
        lines = shorten(first.column_name, self.name_size, self.grid_width, 3)
        self.name, self.name_height = tuple(lines), len(lines) * line_height(size)

    def _column_lines(self, label: str) -> tuple[str, ...]:
        return tuple(shorten(label, self.column_size, self.cell[0], 3))

    def _row_lines(self, label: str) -> tuple[str, ...]:
        most = max(1, self.cell[1] // line_height(self.row_size))
        return tuple(shorten(label, self.row_size, self.room, min(3, most)))

    def _title_lines(self, part: Block) -> tuple[str, ...]:
        return tuple(shorten(part.title, self.size, self.width, 3))

    def place(
        self,
        part: Block,
        left: int,
        top: int,
        words: list[Words],
        cells: dict[int, Box],
    ) -> None:
        """Lay a part down with its left upper corner there."""
        width, height = self.cell
        columns = [
            left + self.side + column * (width + self.gap)
            for column in range(len(part.column_labels))
        ]
        if part.title:
            box = Box(left, top, self.width, self.title_height)
            words.append(Words(self._title_lines(part), box, self.size))
        top += self.title_height
        if self.is_table:
            # Above the middle of the columns that are there, if they are wide enough.
            widest = max(_width_of(line, self.name_size) for line in self.name)
            across = max(widest, columns[-1] + width - columns[0])
            box = Box(columns[0], top, across, self.name_height)
            words.append(Words(self.name, box, self.name_size, "center", "top", True))
            top += self.name_height
            box = Box(left, top, self.room, self.label_height)
            words.append(
                Words(self.corner, box, self.corner_size, "left", "bottom", True)
            )
        for label, x in zip(part.column_labels, columns, strict=True):
            lines = self._column_lines(label)
            box = Box(x, top, width, self.label_height)
            words.append(Words(lines, box, self.column_size, "center", "bottom"))
        top += self.label_height + self.gap // 2
        for label, row in zip(part.row_labels, part.indices, strict=True):
            if self.is_table:
                box = Box(left, top, self.room, height)
                words.append(
                    Words(self._row_lines(label), box, self.row_size, "left", "middle")
                )
            for index, x in zip(row, columns, strict=True):
                cells[index] = Box(x, top, width, height)
            top += height + self.gap
