"""Pictures laid into a sheet, to be looked at."""

from pathlib import Path

from PIL import Image as PILImage, ImageDraw


def write_sheet(
    path: Path, rows: dict[str, list[Path]], titles: list[str], side: int
) -> None:
    """Lay pictures out, a row for each name."""
    label = 16
    sheet = PILImage.new(
        "RGB", (side * len(titles), (side + label) * len(rows) + label), "white"
    )
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((column * side + 4, 2), title, fill="black")
    for row, (name, pictures) in enumerate(rows.items()):
        top = label + row * (side + label)
        draw.text((4, top + 1), name, fill="black")
        for column, picture in enumerate(pictures):
            with PILImage.open(picture) as image:
                image.thumbnail((side, side))
                sheet.paste(image.convert("RGB"), (column * side, top + label))
    sheet.save(path)
