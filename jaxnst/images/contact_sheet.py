"""Contact sheets: pictures in equal cells, with labels."""

import functools
import math
import re
import textwrap
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage, ImageDraw, ImageFont, ImageOps

from .save import to_pil


# In pixels: sides of a sheet and of a picture on it, height of text.
MAX_SIDE = 4000
MAX_CELL, MIN_CELL = 512, 64
MIN_TEXT = 14
_LANCZOS = PILImage.Resampling.LANCZOS
_SCREEN = (1600, 1000)
_MAX_CUTS = 64
# A table stays whole unless cutting it makes its pictures this much larger.
_CUT_GAIN = 1.5
_PAPER, _INK, _QUIET = (251, 251, 250), (33, 33, 33), (112, 112, 112)
_FRAME, _HOLLOW, _ALARM = (208, 208, 206), (244, 244, 242), (165, 60, 45)
# Pillow's own font has only ASCII. These are not decomposed by Unicode itself.
_SIMILAR = str.maketrans("‐‑‒–—−‘’‚“”„×øØłŁ", "------'''\"\"\"xoOlL") | {ord("ß"): "ss"}  # noqa: RUF001

Source = PILImage.Image | np.ndarray | Path
PictureFn = Callable[[int, int], PILImage.Image | str]


class Table(NamedTuple):
    """Pictures in rows and columns; without row labels they run in lines, as text does.

    Attributes:
        column_labels: a label for each column.
        indices: numbers of the pictures, row by row.
        row_labels: a label for each row.
        title: text above the table; may be empty.
    """

    column_labels: tuple[str, ...]
    indices: tuple[tuple[int, ...], ...]
    row_labels: tuple[str, ...] = ("",)
    title: str = ""


def draw_pictures(
    pictures: Sequence[Source] | Mapping[str, Sequence[Source]],
    labels: Sequence[str],
    *,
    longest: int,
    columns: int | None = None,
    inputs: Mapping[str, Source] | None = None,
) -> PILImage.Image:
    """Return a contact sheet of pictures that are in memory or in files.

    Args:
        pictures: pictures that run in lines; or {row label: pictures} of a table.
        labels: a label for each picture, or for each column of a table.
        longest: longest side of a picture on the sheet, in pixels.
        columns: number of pictures in a line, by default all.
        inputs: {name: picture} to be shown at the top.
    """
    rows = pictures if isinstance(pictures, Mapping) else {"": pictures}
    small = [thumbnail(each, longest) for row in rows.values() for each in row]
    indices = np.arange(len(small)).reshape(len(rows), len(labels)).tolist()
    return draw_sheet(
        [Table(tuple(labels), tuple(map(tuple, indices)), tuple(rows))],
        {picture.size for picture in small},
        lambda index, longest: thumbnail(small[index], longest),
        inputs=inputs,
        columns=columns or len(labels),
    )


def draw_sheet(
    tables: Sequence[Table],
    shapes: Collection[tuple[int, int]],
    picture_fn: PictureFn,
    *,
    title: str = "",
    note: str = "",
    inputs: Mapping[str, Source] | None = None,
    columns: int | None = None,
) -> PILImage.Image:
    """Return a contact sheet; equal arguments give equal pixels.

    Pictures are never enlarged, and are as large as a sheet of `MAX_SIDE` allows.

    Args:
        tables: tables with equal numbers of rows and columns.
        shapes: (width, height) of the pictures.
        picture_fn: function of a picture's number and the longest side that it may
            have; returns the picture, or a text to be shown in its place.
        title: text at the top of the sheet.
        note: text below the title.
        inputs: {name: picture} to be shown below the note.
        columns: number of columns after which a table is cut; chosen by default.
    """
    tables = [_legible(table) for table in tables]
    longest = min(MAX_CELL, max((max(shape) for shape in shapes), default=256))
    plan = _choose_plan(tables, _cell_shape(shapes, longest), columns)
    given = {name: thumbnail(each, MAX_CELL) for name, each in (inputs or {}).items()}
    while True:
        grid = _Grid(tables, shapes, longest, plan)
        head = _draw_head(title, note, given, max(480, grid.width), longest)
        width, height = head.width, head.height + grid.height
        margin = max(20, 2 * grid.gap)
        side = max(width, height) + 2 * margin
        if side <= MAX_SIDE or longest <= MIN_CELL:
            break
        longest = max(MIN_CELL, min(longest - 1, longest * MAX_SIDE // side))
    sheet = PILImage.new("RGB", (width + 2 * margin, height + 2 * margin), _PAPER)
    sheet.paste(head, (margin, margin))
    grid.draw(sheet, margin, margin + head.height, picture_fn)
    return sheet


def thumbnail(source: Source, longest: int) -> PILImage.Image:
    """Return a picture as RGB or RGBA, no side longer than `longest`; never enlarged.

    Args:
        source: picture, RGB array in [0, 1], or picture file.
        longest: longest side, in pixels.
    """
    if isinstance(source, Path):
        with PILImage.open(source) as opened:
            return thumbnail(opened, longest)
    picture = to_pil(source) if isinstance(source, np.ndarray) else source
    profile = picture.info.get("icc_profile")
    picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if max(picture.size) > longest:
        picture = ImageOps.contain(picture, (longest, longest), _LANCZOS)
    picture.info = {} if profile is None else {"icc_profile": profile}
    return picture


def _choose_plan(
    tables: Sequence[Table], cell: tuple[int, int], columns: int | None
) -> tuple[int, int, int]:
    """Return the plan that shows pictures largest on a screen, at a rough estimate.

    Returns:
        (rows, columns, across): tables are cut into parts of at most so many rows and
        columns, and so many parts lie beside each other.
    """
    down, wide = len(tables[0].row_labels), len(tables[0].column_labels)
    if columns is not None:
        return down, columns, 1
    has_rows = any(tables[0].row_labels)
    lines = 1 + max(label.count("\n") for label in tables[0].column_labels)
    plans = []
    for cuts in range(1, min(max(down, wide), _MAX_CUTS) + 1):
        rows, columns = -(-down // cuts), wide
        if wide >= down:
            rows, columns = down, -(-wide // cuts)
        parts = len(tables) * -(-down // rows) * -(-wide // columns)
        # Without row labels a table goes on in the next line, not beside itself.
        for across in range(1, (min(parts, _MAX_CUTS) if has_rows else 1) + 1):
            width = across * cell[0] * (columns + 0.5 * has_rows)
            height = -(-parts // across) * cell[1] * (rows + 0.1 + 0.1 * lines)
            scale = min(1.0, _SCREEN[0] / width, _SCREEN[1] / height)
            scale /= _CUT_GAIN if has_rows and cuts > 1 else 1
            scale *= 1.05 if parts % across == 0 else 1
            plans.append((scale, -cuts, across, (rows, columns, across)))
    return max(plans)[-1]


class _Grid:
    """Tables cut into parts of equal cells: their measures, and how they are drawn."""

    def __init__(
        self,
        tables: Sequence[Table],
        shapes: Collection[tuple[int, int]],
        longest: int,
        plan: tuple[int, int, int],
        size: int = 0,
    ):
        rows, columns, across = plan
        self.parts = [part for table in tables for part in _cut(table, rows, columns)]
        self.across, self.longest = min(across, len(self.parts)), longest
        self.size = size = size or max(MIN_TEXT, round(0.07 * longest))
        self.gap = gap = max(6, round(0.03 * longest))
        width, height = _cell_shape(shapes, longest)
        self.cell = max(width, 5 * MIN_TEXT), max(height, _height(1, size))
        names = [label for part in self.parts for label in part.row_labels]
        self.has_rows = any(names)
        widest = math.ceil(max(map(_font(size).getlength, names)))
        self.room = min(max(6 * size, round(0.8 * self.cell[0])), widest)
        self.side = self.room + gap if self.has_rows else 0
        self.part_width = self.side + columns * (self.cell[0] + gap) - gap
        titles = [part.title for part in self.parts]
        labels = [label for part in self.parts for label in part.column_labels]
        # From the top of a part to the bottom of its labels.
        self.base = _tallest(titles, size, self.part_width)
        self.base += _tallest(labels, size, self.cell[0])
        part_height = self.base + gap // 2 + rows * (self.cell[1] + gap) - gap
        between = max(3 * gap, 2 * size) if self.has_rows else gap
        self.step = self.part_width + between, part_height + between
        self.width = self.across * self.step[0] - between
        self.height = -(-len(self.parts) // self.across) * self.step[1] - between

    def draw(
        self, sheet: PILImage.Image, left: int, top: int, picture_fn: PictureFn
    ) -> None:
        """Draw all parts, with the left upper corner of the first at (left, top)."""
        size, (width, height) = self.size, self.cell
        most = max(1, min(3, height // _height(1, size)))
        for number, part in enumerate(self.parts):
            line, column = divmod(number, self.across)
            x, y = left + column * self.step[0], top + line * self.step[1]
            _write(sheet, (x, y), part.title, size, self.part_width)
            y += self.base
            lefts = [
                x + self.side + column * (width + self.gap)
                for column in range(len(part.column_labels))
            ]
            for each, label in zip(lefts, part.column_labels, strict=True):
                _write(sheet, (each + width // 2, y), label, size, width, "md")
            y += self.gap // 2
            for label, indices in zip(part.row_labels, part.indices, strict=True):
                place = x, y + height // 2
                _write(sheet, place, label, size, self.room, "lm", most=most)
                for each, index in zip(lefts, indices, strict=True):
                    self._draw_cell(sheet, each, y, picture_fn(index, self.longest))
                y += height + self.gap

    def _draw_cell(
        self, sheet: PILImage.Image, left: int, top: int, picture: PILImage.Image | str
    ) -> None:
        (width, height), draw = self.cell, ImageDraw.Draw(sheet)
        if isinstance(picture, str):
            outline = (left, top, left + width - 1, top + height - 1)
            draw.rectangle(outline, fill=_HOLLOW, outline=_FRAME)
            place = left + width // 2, top + height // 2
            _write(sheet, place, _ascii(picture), self.size, width, "mm", _ALARM)
            return
        if picture.width > width or picture.height > height:  # `shapes` were wrong
            picture = ImageOps.contain(picture, self.cell, _LANCZOS)
        left += (width - picture.width) // 2
        top += (height - picture.height) // 2 if self.has_rows else 0
        sheet.paste(picture, (left, top), picture if picture.mode == "RGBA" else None)
        # Around the picture, so that no pixel of it is covered.
        corner = left + picture.width, top + picture.height
        draw.rectangle((left - 1, top - 1, *corner), outline=_FRAME)
        # Pictures of one sheet have the same color profile, so the sheet has it, too.
        if profile := picture.info.get("icc_profile"):
            sheet.info.setdefault("icc_profile", profile)


def _draw_head(
    title: str,
    note: str,
    inputs: Mapping[str, PILImage.Image],
    width: int,
    longest: int,
) -> PILImage.Image:
    """Return what is above the tables: title, note, and inputs."""
    size = max(MIN_TEXT, round(0.07 * longest), width // 110)
    texts = [(_ascii(title), round(1.4 * size)), (_ascii(note), size)]
    heights = [_tallest([text], size, width) for text, size in texts]
    top, grid = sum(heights) + (size // 2 if any(heights) else 0), None
    if inputs:
        side = min(200, max(MIN_CELL, round(0.4 * longest)))
        table = _legible(Table(tuple(inputs), (tuple(range(len(inputs))),)))
        columns = min(len(inputs), max(1, width // (max(side, 5 * MIN_TEXT) + 6)))
        shapes = [picture.size for picture in inputs.values()]
        grid = _Grid(
            [table], shapes, side, (1, columns, 1), max(MIN_TEXT, min(size, side // 8))
        )
    height = top + (grid.height + size if grid else 0)
    sheet = PILImage.new("RGB", (width, height), _PAPER)
    for (text, size), y in zip(texts, (0, heights[0]), strict=True):
        _write(sheet, (0, y), text, size, width)
    if grid:
        pictures = list(inputs.values())
        grid.draw(sheet, 1, top, lambda i, longest: thumbnail(pictures[i], longest))
    return sheet


def _cut(table: Table, rows: int, columns: int) -> list[Table]:
    """Return a table cut into tables of at most so many rows and columns."""
    return [
        table._replace(
            row_labels=table.row_labels[top : top + rows],
            column_labels=table.column_labels[left : left + columns],
            indices=tuple(
                row[left : left + columns] for row in table.indices[top : top + rows]
            ),
        )
        for top in range(0, len(table.row_labels), rows)
        for left in range(0, len(table.column_labels), columns)
    ]


def _cell_shape(shapes: Collection[tuple[int, int]], longest: int) -> tuple[int, int]:
    """Return (width, height) into which every shape fits, once shrunk."""
    scales = {shape: min(1.0, longest / max(shape)) for shape in shapes}
    if not scales:
        return longest, longest
    width, height = (
        max(max(1, round(shape[axis] * scale)) for shape, scale in scales.items())
        for axis in (0, 1)
    )
    return width, height


def _legible(table: Table) -> Table:
    """Return a table with text that the font has."""

    def each(labels: tuple[str, ...]) -> tuple[str, ...]:
        drawn = tuple(map(_ascii, labels))
        if len(set(drawn)) == len(set(labels)):
            return drawn
        # Labels that have become equal are numbered.
        return tuple(f"{number}: {text}" for number, text in enumerate(drawn, 1))

    columns, rows = each(table.column_labels), each(table.row_labels)
    return Table(columns, table.indices, rows, _ascii(table.title))


def _ascii(text: str) -> str:
    """Return text with what the font has; accents are dropped, line breaks stay."""
    parts = unicodedata.normalize("NFKD", text.translate(_SIMILAR))
    letters = [part for part in parts if not unicodedata.combining(part)]
    return "".join(c if c == "\n" or " " <= c <= "~" else "?" for c in letters)


class _Wrapper(textwrap.TextWrapper):
    """Breaks lines after spaces and `_-./,`, but not within a number."""

    wordsep_re = re.compile(r"(\s+|(?:[^\s_\-./,]|[.\-](?=\d))*(?:[_/,]|[.\-](?!\d))+)")


@functools.lru_cache(maxsize=4096)
def fit_text(text: str, size: int, width: int, most: int = 3) -> str:
    """Return text with line breaks, so that it has room.

    What has no room is left out of the middle of a line: the beginnings and ends of
    names tell more.

    Args:
        text: text to be broken; its own line breaks stay.
        size: height of the text, in pixels.
        width: width of the room, in pixels.
        most: number of lines that each line of `text` may become.
    """
    length_of, lines = _font(size).getlength, []
    for line in text.split("\n"):
        fitted = [line]
        # A line may have somewhat narrower letters than the text.
        start = round(1.3 * width * len(line) / max(length_of(line), 1))
        for count in range(start if length_of(line) > width else 0, 0, -1):
            fitted, kept = _Wrapper(count).wrap(line), min(len(line), count * most)
            while len(fitted) > most and kept > 0:
                kept -= 1
                short = f"{line[: kept - kept // 2]}...{line[len(line) - kept // 2 :]}"
                fitted = _Wrapper(count).wrap(short)
            if max(map(length_of, fitted), default=0) <= width:
                break
        lines += fitted[:most]
    return "\n".join(lines)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # as it has a size
    return font


@functools.cache
def _height(num_lines: int, size: int) -> int:
    """Return the height of lines of text, in pixels, with some room below."""
    draw = ImageDraw.Draw(PILImage.new("L", (1, 1)))
    text = "\n".join(["Ag"] * num_lines)
    return round(draw.multiline_textbbox((0, 0), text, _font(size))[3] + 0.1 * size)


def _tallest(texts: Sequence[str], size: int, width: int) -> int:
    """Return the height of the text that has most lines; 0 if there is none."""
    counts = [fit_text(text, size, width).count("\n") + 1 for text in texts if text]
    return _height(max(counts), size) if counts else 0


def _write(
    sheet: PILImage.Image,
    place: tuple[int, int],
    text: str,
    size: int,
    width: int,
    anchor: str = "la",
    color: tuple[int, int, int] = _INK,
    most: int = 3,
) -> None:
    """Write text, of which Pillow's `anchor` is at `place`."""
    ImageDraw.Draw(sheet).multiline_text(
        place,
        fit_text(text, size, width, most),
        color,
        _font(size),
        anchor,
        align="center" if anchor[0] == "m" else "left",
    )
