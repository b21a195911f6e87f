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

from .metadata import open_picture
from .save import to_pil


# In pixels: sides of a sheet and of a picture on it, height of text.
MAX_SIDE = 4000
MAX_CELL, MIN_CELL = 512, 64
MIN_TEXT = 14
# Rows and columns of a table, and lines of a label.
_MAX_CELLS, _MAX_LINES = 20, 3
# Width over height that a sheet has at best, and its least width.
_SHAPE = 2.0
_MIN_WIDTH = 480
_LANCZOS = PILImage.Resampling.LANCZOS
_PAPER, _INK = (251, 251, 250), (33, 33, 33)
_FRAME, _HOLLOW, _ALARM = (208, 208, 206), (244, 244, 242), (165, 60, 45)
# Pillow's own font has only ASCII. These are not decomposed by Unicode itself.
_SIMILAR = str.maketrans("‐‑‒–—−‘’‚“”„×øØłŁ", "------'''\"\"\"xoOlL") | {ord("ß"): "ss"}  # noqa: RUF001

Source = PILImage.Image | np.ndarray | Path
PictureFn = Callable[[int, int], PILImage.Image | str]


class Table(NamedTuple):
    """Pictures in rows and columns; without row labels they run in lines, as text does.

    Attributes:
        indices: numbers of the pictures, row by row.
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
    """Return a contact sheet of pictures, each at most `longest` pixels long.

    They run in lines, of `columns` or of all; or they are the rows of a table,
    {row label: pictures}, whose columns have the labels.
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

    Pictures are never enlarged, and are as large as a sheet of `MAX_SIDE` allows. The
    tables have equal numbers of rows and columns, and are cut after so many `columns`;
    the shapes are (width, height) of the pictures. `picture_fn` gets a picture's number
    and the longest side that it may have, and returns the picture, or a text to be
    shown in its place. Title, note and inputs are at the top.
    """
    given = {name: thumbnail(each, MAX_CELL) for name, each in (inputs or {}).items()}
    names, pictures = _legible([*given]), list(given.values())
    shapes = shapes or [(256, 256)]
    longest = min(MAX_CELL, max(map(max, shapes)))
    laid = _lay_out(tables, _cell_shape(shapes, longest), columns)
    num_columns = max(max(cell.column + 1 for cell in laid), min(len(names), 4))
    # Inputs come first, in cells like all others; their numbers are below 0.
    cells = [_Cell(*divmod(i, num_columns), name, ~i) for i, name in enumerate(names)]
    lines = -(-len(names) // num_columns)
    cells += [cell._replace(row=cell.row + lines) for cell in laid]
    num_rows = 1 + max(cell.row for cell in cells)
    while True:
        size, gap = max(MIN_TEXT, round(0.07 * longest)), max(6, round(0.03 * longest))
        width, height = _cell_shape(shapes, longest)
        base = _tallest([cell.caption for cell in cells], size, width) + gap // 2
        step = width + gap, base + height + gap
        margin, inside = max(20, 2 * gap), max(_MIN_WIDTH, num_columns * step[0] - gap)
        texts = [(_ascii(title), round(1.4 * size)), (_ascii(note), size)]
        heights = [_tallest([text], size, inside) for text, size in texts]
        top = margin + sum(heights) + gap * any(heights)
        whole = inside + 2 * margin, top + num_rows * step[1] - gap + margin
        if max(whole) <= MAX_SIDE or longest <= MIN_CELL:
            break
        longest = max(MIN_CELL, longest * MAX_SIDE // max(whole))
    sheet = PILImage.new("RGB", whole, _PAPER)
    for y, text in zip((margin, margin + heights[0]), texts, strict=True):
        _write(sheet, (margin, y), *text, inside)
    for cell in cells:
        x, y = margin + cell.column * step[0], top + cell.row * step[1] + base
        place = x + width // 2, y - gap // 2
        _write(sheet, place, cell.caption, size, width, "md")
        if isinstance(cell.content, str):
            place = x + width, y + height // 2
            _write(sheet, place, cell.content, size, width, "rm")
            continue
        number = cell.content
        picture = picture_fn(number, longest) if number >= 0 else pictures[~number]
        _draw(sheet, (x, y, width, height), picture, size)
    return sheet


def thumbnail(source: Source, longest: int) -> PILImage.Image:
    """Return a picture as RGB or RGBA, at most `longest` pixels long; not enlarged."""
    if isinstance(source, Path):
        with open_picture(source.read_bytes()) as opened:
            return thumbnail(opened, longest)
    picture = to_pil(source) if isinstance(source, np.ndarray) else source
    kept = {name: x for name, x in picture.info.items() if name == "icc_profile"}
    picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if max(picture.size) > longest:
        picture = ImageOps.contain(picture, (longest, longest), _LANCZOS)
    picture.info = kept
    return picture


class _Cell(NamedTuple):
    """A place on a sheet, with the number of a picture or the label of a row."""

    row: int
    column: int
    caption: str
    content: int | str


def _lay_out(
    tables: Sequence[Table], shape: tuple[int, int], columns: int | None
) -> list[_Cell]:
    """Return the cells of tables of equal size, each cut where it is too large."""
    down, wide = len(tables[0].row_labels), len(tables[0].column_labels)
    has_rows = any(tables[0].row_labels)
    if columns is None:
        down, columns = _even(down), _even(wide) if has_rows else _across(wide, *shape)
    parts = [
        (table, top, left)
        for table in tables
        for top in range(0, len(table.row_labels), down)
        for left in range(0, wide, columns)
    ]
    block = columns + has_rows
    # Without row labels a table goes on in the next line, not beside itself.
    across = _across(len(parts), block * shape[0], down * shape[1]) if has_rows else 1
    cells = []
    for number, (table, top, left) in enumerate(parts):
        own = slice(left, left + columns)
        captions = [_ascii(table.title)] * has_rows
        captions += _legible(table.column_labels)[own]
        for i, label in enumerate(_legible(table.row_labels)[top : top + down]):
            contents = [label] * has_rows + [*table.indices[top + i][own]]
            row, column = number // across * down + i, number % across * block
            cells += [
                _Cell(row, column + j, "" if i else caption, content)
                for j, (caption, content) in enumerate(
                    zip(captions, contents, strict=True)
                )
            ]
    return cells


def _even(count: int) -> int:
    """Return the length of the parts into which a row or column is cut."""
    return -(-count // -(-count // _MAX_CELLS))


def _across(count: int, width: int, height: int) -> int:
    """Return how many of `count` things beside each other fill a screen best."""
    across = max(1, min(count, math.ceil(math.sqrt(_SHAPE * count * height / width))))
    return -(-count // -(-count // across))  # lines of equal length


def _cell_shape(shapes: Collection[tuple[int, int]], longest: int) -> tuple[int, int]:
    """Return (width, height) of a cell, into which every shape fits once shrunk."""
    scales = [(shape, min(1, longest / max(shape))) for shape in shapes]
    width, height = (max(round(each[i] * s) for each, s in scales) for i in (0, 1))
    return max(width, 5 * MIN_TEXT), max(height, 2 * MIN_TEXT)


def _draw(
    sheet: PILImage.Image,
    cell: tuple[int, int, int, int],
    picture: PILImage.Image | str,
    size: int,
) -> None:
    """Draw a picture, or a frame with a text, into a cell: left, top, width, height."""
    (left, top, width, height), draw = cell, ImageDraw.Draw(sheet)
    if isinstance(picture, str):
        outline = (left, top, left + width - 1, top + height - 1)
        draw.rectangle(outline, fill=_HOLLOW, outline=_FRAME)
        place = left + width // 2, top + height // 2
        _write(sheet, place, _ascii(picture), size, width, "mm", _ALARM)
        return
    if picture.width > width or picture.height > height:
        picture = ImageOps.contain(picture, (width, height), _LANCZOS)
    left += (width - picture.width) // 2
    top += (height - picture.height) // 2
    sheet.paste(picture, (left, top), picture if picture.mode == "RGBA" else None)
    # Around the picture, so that no pixel of it is covered.
    corner = left + picture.width, top + picture.height
    draw.rectangle((left - 1, top - 1, *corner), outline=_FRAME)
    # Pictures of one sheet have the same color profile, so the sheet has it, too.
    sheet.info = picture.info | sheet.info


def _legible(labels: Sequence[str]) -> list[str]:
    """Return labels that the font has; those that have become equal are numbered."""
    drawn = [_ascii(label) for label in labels]
    if len(set(drawn)) == len(set(labels)):
        return drawn
    return [f"{number}: {text}" for number, text in enumerate(drawn, 1)]


def _ascii(text: str) -> str:
    """Return text with what the font has; accents are dropped, line breaks stay."""
    parts = unicodedata.normalize("NFKD", text.translate(_SIMILAR))
    letters = [part for part in parts if not unicodedata.combining(part)]
    return "".join(c if c == "\n" or " " <= c <= "~" else "?" for c in letters)


class _Wrapper(textwrap.TextWrapper):
    """Breaks lines after spaces and `_-./,`, but not within a number."""

    wordsep_re = re.compile(r"(\s+|(?:[^\s_\-./,]|[.\-](?=\d))*(?:[_/,]|[.\-](?!\d))+)")


@functools.lru_cache(maxsize=4096)
def fit_text(text: str, size: int, width: int) -> str:
    """Return text with line breaks, so that it fits in a width, both in pixels.

    Each of its lines becomes at most three; their last one then keeps the end, as the
    beginnings and ends of names tell more.
    """
    length_of, lines = _font(size).getlength, []
    for line in text.split("\n"):
        fitted = [line]
        # A line may have somewhat narrower letters than the text.
        start = round(1.3 * width * len(line) / max(length_of(line), 1))
        for count in range(start if length_of(line) > width else 0, 0, -1):
            fitted = _Wrapper(count).wrap(line)
            if len(fitted) > _MAX_LINES:
                end = "..." + line.rstrip()[-max(count - 3, 1) :]
                fitted = [*fitted[: _MAX_LINES - 1], end]
            if max(map(length_of, fitted), default=0) <= width:
                break
        lines += fitted
    return "\n".join(lines)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # as it has a size
    return font


def _tallest(texts: Sequence[str], size: int, width: int) -> int:
    """Return the height of the text that has most lines; 0 if there is none."""
    counts = [fit_text(text, size, width).count("\n") + 1 for text in texts if text]
    if not counts:
        return 0
    draw = ImageDraw.Draw(PILImage.new("L", (1, 1)))
    text = "\n".join(["Ag"] * max(counts))
    return round(draw.multiline_textbbox((0, 0), text, _font(size))[3] + 0.1 * size)


def _write(
    sheet: PILImage.Image,
    place: tuple[int, int],
    text: str,
    size: int,
    width: int,
    anchor: str = "la",
    color: tuple[int, int, int] = _INK,
) -> None:
    """Write text, of which Pillow's `anchor` is at `place`."""
    ImageDraw.Draw(sheet).multiline_text(
        place,
        fit_text(text, size, width),
        color,
        _font(size),
        anchor,
        align={"l": "left", "m": "center", "r": "right"}[anchor[0]],
    )
