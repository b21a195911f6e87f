"""The contact sheet: all pictures of a sweep on one, small, with their settings."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image as PILImage, ImageDraw

from .arranging import Block, arrange, heading, in_common
from .axes import Axis, Row
from .layout import Box, Header, Layout, Words, lay_out
from .lettering import draw_text, drawable, drawable_labels, line_height, text_width
from .planning import fitted


ThumbnailFn = Callable[[Row, int], PILImage.Image | None]

_PAPER = (251, 251, 250)
_INK = (33, 33, 33)
_QUIET = (112, 112, 112)
_FRAME = (208, 208, 206)
_HOLLOW = (244, 244, 242)
_ALARM = (165, 60, 45)


def make_sheet(
    axes: Sequence[Axis],
    mode: str,
    rows: Mapping[int, Row],
    thumbnail_fn: ThumbnailFn,
    *,
    title: str = "",
    inputs: Mapping[str, PILImage.Image] | None = None,
) -> PILImage.Image:
    """Return the contact sheet; equal arguments give equal pixels.

    Two axes are a table, the last one across; more are a table for each combination of
    the others; one axis, or zipped ones, run in lines. A member without a row is an
    empty frame.

    Args:
        axes: at least one.
        mode: "product" or "zip".
        rows: {index: row} of the members that are done.
        thumbnail_fn: gives the picture of a row, shrunk so that no side is longer than
            so many pixels, see `shrink`; None if it cannot be had.
        title: of the sheet; by default what the sweep varies.
        inputs: {name: picture} to show small in the header.
    """
    given = {drawable(name): picture for name, picture in (inputs or {}).items()}
    header = Header(
        title=drawable(title or heading(axes, mode)),
        note=drawable(in_common(axes)),
        inputs={name: picture.size for name, picture in given.items()},
    )
    painted = {index: row for index, row in rows.items() if row.file is not None}
    shapes = {(max(row.width, 1), max(row.height, 1)) for row in painted.values()}
    layout = lay_out(_drawable_blocks(axes, mode), shapes, header)
    sheet = PILImage.new("RGB", (layout.width, layout.height), _PAPER)
    for words in layout.words:
        _draw_words(sheet, words)
    for name, box in layout.inputs.items():
        picture = shrink(given[name], max(box.width, box.height))
        _draw_picture(sheet, box, picture, "middle")
    for index, box in sorted(layout.cells.items()):
        row = rows.get(index)
        picture = None
        if index in painted:
            picture = thumbnail_fn(painted[index], layout.longest)
        if picture is None:
            _draw_frame(sheet, layout, box, row)
            continue
        _draw_picture(sheet, box, picture, layout.valign)
        # All pictures of a sweep have the same color profile, so the sheet has it, too.
        if profile := picture.info.get("icc_profile"):
            sheet.info.setdefault("icc_profile", profile)
    return sheet


def shrink(picture: PILImage.Image, longest: int) -> PILImage.Image:
    """Return a picture as RGB or RGBA, with no side longer than `longest`.

    By Lanczos; never enlarged.
    """
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    converted = picture.convert(mode)
    shape = fitted(picture.size, longest)
    if shape != picture.size:
        converted = converted.resize(shape, PILImage.Resampling.LANCZOS)
    converted.info = {
        key: value for key, value in picture.info.items() if key == "icc_profile"
    }
    return converted


def read_thumbnail(path: Path, longest: int) -> PILImage.Image | None:
    """Return a picture file shrunk, see `shrink`; None if it cannot be read."""
    try:
        with PILImage.open(path) as picture:
            return shrink(picture, longest)
    # On damaged files Pillow raises nearly anything. The sheet does without it.
    except Exception:
        return None


def _drawable_blocks(axes: Sequence[Axis], mode: str) -> list[Block]:
    drawn = [
        Axis(
            name=drawable(axis.name),
            values=axis.values,
            labels=drawable_labels(axis.labels),
        )
        for axis in axes
    ]
    return arrange(drawn, mode)


def _draw_words(sheet: PILImage.Image, words: Words) -> None:
    box, step = words.box, line_height(words.size)
    free = box.height - len(words.lines) * step
    top = box.top + {"top": 0, "middle": free // 2, "bottom": free}[words.valign]
    for line in words.lines:
        left = box.left
        if words.align == "center":
            left += max(0, round((box.width - text_width(line, words.size)) / 2))
        color = _QUIET if words.is_quiet else _INK
        draw_text(sheet, (left, top), line, words.size, color)
        top += step


def _draw_picture(
    sheet: PILImage.Image, box: Box, picture: PILImage.Image, valign: str
) -> None:
    width, height = picture.size
    if width > box.width or height > box.height:  # the row said otherwise
        scale = min(box.width / width, box.height / height)
        picture = shrink(picture, max(1, int(scale * max(width, height))))
        width, height = picture.size
    left = box.left + (box.width - width) // 2
    top = box.top + ((box.height - height) // 2 if valign == "middle" else 0)
    mask = picture if picture.mode == "RGBA" else None
    sheet.paste(picture, (left, top), mask)
    # Around it, so that no pixel of the picture is lost.
    outline = (left - 1, top - 1, left + width, top + height)
    ImageDraw.Draw(sheet).rectangle(outline, outline=_FRAME)


def _draw_frame(
    sheet: PILImage.Image, layout: Layout, box: Box, row: Row | None
) -> None:
    right, bottom = box.left + box.width - 1, box.top + box.height - 1
    outline = (box.left, box.top, right, bottom)
    ImageDraw.Draw(sheet).rectangle(outline, fill=_HOLLOW, outline=_FRAME)
    if row is None:
        return
    text, color = "no preview", _QUIET
    if row.file is None:
        text, color = "failed", _ALARM
    size = layout.text_size
    left = box.left + max(0, round((box.width - text_width(text, size)) / 2))
    top = box.top + max(0, (box.height - line_height(size)) // 2)
    draw_text(sheet, (left, top), text, size, color)
