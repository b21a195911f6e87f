"""Paint the small pictures of `docs/start/troubles.md`: how it looks, and mended.

    python docs/troubles.py [NAME ...]

Each is painted as a draft of 192 px where its settings say nothing else.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import jaxnst


DOCS = Path(__file__).resolve().parent
IMAGES = DOCS.parent / "examples" / "images"
WIDTH = 160  # of a saved picture
PALACE, CAT, ASTRONAUT, COFFEE = (
    IMAGES / f"{name}.jpg"
    for name in ("summer_palace", "chelsea_cat", "astronaut", "coffee")
)
WAVE, VILLAGE, LINES = (
    IMAGES / f"{name}.jpg"
    for name in ("hokusai_great_wave", "van_gogh_auvers", "kandinsky_composition_viii")
)
PENCIL = DOCS / "gallery" / "styles" / "pencil.jpg"


def around_the_face() -> np.ndarray:
    """Return a map of strengths: 0.9, and less at the face of the astronaut."""
    y, x = np.mgrid[:192, :192] / 192
    far = np.hypot((x - 0.44) / 0.16, (y - 0.22) / 0.2)
    return (0.9 - 0.7 * np.clip(1.6 - far, 0, 1)).astype(np.float32)


def below_the_sky() -> np.ndarray:
    """Return a mask of the palace and the trees."""
    y, x = np.mgrid[:128, :192]
    far = np.hypot((x - 58) / 40, (y - 60) / 52)
    return np.clip(np.maximum((y - 84) / 12, 4 * (1.1 - far)), 0, 1).astype(np.float32)


# {name: (content, style, settings of how it looks, settings of the mended one)}
TROUBLES: dict[str, tuple[Path, Any, dict[str, Any], dict[str, Any]]] = {
    "strong": (PALACE, WAVE, {"style_weight": 30}, {"strength": 0.6}),
    "weak": (PALACE, WAVE, {"strength": 0.25}, {"strength": 0.85}),
    "gray": (CAT, PENCIL, {}, {"color": "content"}),
    "coarse": (CAT, VILLAGE, {"style_scale": 2}, {"style_scale": 0.5}),
    "unfinished": (CAT, WAVE, {}, {"preset": "default"}),
    "ground": (PALACE, LINES, {}, {"masks": [below_the_sky()]}),
    "face": (ASTRONAUT, LINES, {"strength": 0.9}, {"strength": around_the_face()}),
    "seam": (COFFEE, VILLAGE, {}, {"tile": True}),
}


def paint(name: str) -> None:
    """Paint and save both pictures of a trouble."""
    content, style, *both = TROUBLES[name]
    for suffix, settings in zip(("", "_mended"), both, strict=True):
        settings = {"preset": "draft", "size": 192} | settings
        rgb = jaxnst.stylize(content, style, progress=False, **settings).image
        if name == "seam":
            rgb = np.tile(rgb, (2, 2, 1))
        picture = Image.fromarray(np.round(255 * rgb).astype(np.uint8))
        picture.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
        picture.save(DOCS / "troubles" / f"{name}{suffix}.jpg", quality=85)


if __name__ == "__main__":
    for each in sys.argv[1:] or TROUBLES:
        paint(each)
