"""The figures of an explanation as PNG sheets, for papers and slides."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PILImage

from jaxnst.images.files import atomic_write
from jaxnst.sweeps.lettering import draw_text, drawable, line_height, shorten

from .correspondence import pick_links, position_map, rebuild
from .pictures import enlarged, heat, pair, relative_pull, shrunk, to_uint8
from .words import CHANGE_TITLES, short_name


if TYPE_CHECKING:
    from .explanation import Explanation

Cell = tuple[np.ndarray, str]

_CELL, _GAP, _TEXT = 320, 12, 16
_PAPER, _INK = (255, 255, 255), (33, 33, 33)


def save_sheets(
    explanation: "Explanation", folder: str | os.PathLike[str]
) -> list[Path]:
    """Write every sheet as a PNG and return where they are."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, sheet in make_sheets(explanation).items():
        path = target / f"{name}.png"
        with atomic_write(path) as beside:
            sheet.save(beside, "PNG", optimize=True)
        written.append(path)
    return written


def make_sheets(explanation: "Explanation") -> dict[str, PILImage.Image]:
    """Return {name: sheet}: "pull", "changes", "origins", "pairs", and "layers"."""
    image, pull, changes = explanation.image, explanation.pull, explanation.changes
    color, structure = CHANGE_TITLES
    inputs: list[Cell] = [(explanation.content, "content")]
    inputs += [(style, "style") for style in explanation.styles]
    sheets = {
        "pull": [
            (image, "picture"),
            *(
                (
                    relative_pull(shares, image),
                    f"{short_name(term)}: {pull.overall[term]:.0%}",
                )
                for term, shares in pull.shares.items()
            ),
        ],
        "changes": [
            *inputs[:1],
            (image, "picture"),
            *(
                (heat(error, image, high=2.0), f"{layer}: {float(error.mean()):.2f}")
                for layer, error in changes.content.items()
            ),
            (heat(changes.color, image, high=0.2), color),
            (heat(changes.structure, image, high=0.7), structure),
        ],
        "origins": [*inputs, (image, "picture")],
        "pairs": [],
    }
    shapes = [style.shape[:2] for style in explanation.styles]
    for each in explanation.origins:
        rebuilt = rebuild(each, image.shape[:2], explanation.styles)
        sheets["origins"] += [
            (rebuilt, f"of the style's pixels, by {each.layer}"),
            (enlarged(position_map(each, shapes), _CELL), f"where from, {each.layer}"),
        ]
        for link in pick_links(each, image.mean(-1)):
            both = pair(link, image, explanation.styles, each.patch, _CELL // 2)
            sheets["pairs"].append(
                (
                    np.concatenate(both, axis=1),
                    f"{each.layer}: {link.similarity:.0%} alike",
                )
            )
    if (painted := explanation.ablations) is not None:
        columns = len(painted.alone)
        sheets["layers"] = [
            *inputs[:2],
            (painted.whole, "all layers"),
            *(
                (_blank(painted.whole), "")
                for _ in range(columns - len(inputs[:2]) - 1)
            ),
            *((each, f"{name} alone") for name, each in painted.alone.items()),
            *((each, f"without {name}") for name, each in painted.without.items()),
        ]
        wide = {"layers": columns}
    else:
        wide = {}
    return {
        name: _sheet(cells, wide.get(name, min(4, len(cells))))
        for name, cells in sheets.items()
        if cells
    }


def _blank(image: np.ndarray) -> np.ndarray:
    return np.ones_like(image)


def _sheet(cells: Sequence[Cell], columns: int) -> PILImage.Image:
    """Return pictures in lines, each with its caption below."""
    pictures = [to_uint8(_fitted(image)) for image, _ in cells]
    lines = [
        list(range(i, min(i + columns, len(cells))))
        for i in range(0, len(cells), columns)
    ]
    caption = line_height(_TEXT)
    heights = [max(pictures[i].height for i in line) for line in lines]
    width = columns * (_CELL + _GAP) + _GAP
    sheet = PILImage.new(
        "RGB", (width, sum(heights) + len(lines) * (caption + 2 * _GAP) + _GAP), _PAPER
    )
    top = _GAP
    for line, height in zip(lines, heights, strict=True):
        for column, index in enumerate(line):
            left = _GAP + column * (_CELL + _GAP)
            sheet.paste(pictures[index], (left, top))
            text = shorten(drawable(cells[index][1]), _TEXT, _CELL, 1)
            below = top + pictures[index].height + 2
            draw_text(sheet, (left, below), text[0] if text else "", _TEXT, _INK)
        top += height + caption + 2 * _GAP
    return sheet


def _fitted(image: np.ndarray) -> np.ndarray:
    """Return a picture with a longest side of a cell's width."""
    if max(image.shape[:2]) >= _CELL:
        return shrunk(image, _CELL)
    height, width = image.shape[:2]
    scale = _CELL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    large = to_uint8(image).resize(size, PILImage.Resampling.BICUBIC)
    return np.asarray(large, np.float32) / 255
