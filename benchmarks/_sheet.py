"""Pictures laid into a sheet, to be looked at."""

from pathlib import Path

from PIL import Image as PILImage, ImageDraw


_LABEL = 16


def write_sheet(
    path: Path, rows: dict[str, list[Path]], titles: list[str], side: int
) -> None:
    """Lay pictures out, a row for each name."""
    cells = {
        name: [_thumbnail(picture, side) for picture in pictures]
        for name, pictures in rows.items()
    }
    heights = [max(cell.height for cell in row) + _LABEL for row in cells.values()]
    sheet = PILImage.new("RGB", (side * len(titles), sum(heights) + _LABEL), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((column * side + 4, 2), title, fill="black")
    top = _LABEL
    for (name, row), height in zip(cells.items(), heights, strict=True):
        draw.text((4, top + 1), name, fill="black")
        for column, cell in enumerate(row):
            sheet.paste(cell, (column * side, top + _LABEL))
        top += height
    sheet.save(path)


def _thumbnail(picture: Path, side: int) -> PILImage.Image:
    with PILImage.open(picture) as image:
        image.thumbnail((side - 2, side - 2))
        return image.convert("RGB")
