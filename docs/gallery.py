"""Paint the gallery: `docs/gallery/*.jpg`, and the page `docs/gallery.md`.

    python docs/gallery.py              # what is not there yet, and the page
    python docs/gallery.py NAME ...     # these pairs again
    python docs/gallery.py --draw       # draw the styles that are our own

Each pair of the table is painted by the command that its page shows.
"""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from jaxnst.cli.main import main


DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
GALLERY = DOCS / "gallery"
QUALITY = 85
SIDE = 448  # of the styles that are drawn here


class Pair(NamedTuple):
    """One picture of the gallery.

    Attributes:
        kind: kind of style, for its title.
        photo: name of the photograph, without `.jpg`.
        style: name of the style picture, without `.jpg`.
        flags: settings of the command; "" for the defaults.
        file: name of the painted file, without `.jpg`; "": the last words of both.
    """

    kind: str
    photo: str
    style: str
    flags: str = "--size 256"
    file: str = ""

    @property
    def name(self) -> str:
        """Name of the painted file, without `.jpg`."""
        return self.file or f"{self.photo.split('_')[-1]}_{self.style.split('_')[-1]}"


PAIRS = (
    Pair("Woodcut", "summer_palace", "hokusai_great_wave", ""),
    Pair(
        "Abstract", "astronaut", "kandinsky_composition_viii", "", "astronaut_kandinsky"
    ),
    Pair("Oil, thick", "chelsea_cat", "van_gogh_auvers", ""),
    Pair("Oil, light", "coffee", "cassatt_summertime", "--size 384"),
    Pair("Oil, a crowd", "summer_palace", "renoir_galette", "--size 384"),
    Pair("Woodcut, flowers", "chelsea_cat", "hokusai_poppies"),
    Pair("Woodcut, wind", "coffee", "hokusai_ejiri"),
    Pair("Ink and wash", "chelsea_cat", "hiroshige_fish"),
    Pair("Pen and ink", "summer_palace", "pen"),
    Pair("Pencil", "astronaut", "pencil", "--size 320"),
    Pair("Mosaic", "coffee", "mosaic", "--size 320"),
    Pair("Cubism", "astronaut", "facets"),
    Pair("Fabric", "chelsea_cat", "tartan"),
    Pair("Cross-stitch", "coffee", "stitches"),
    Pair("Pixels", "summer_palace", "pixels"),
    Pair("Stained glass", "chelsea_cat", "glass"),
)

TITLES = {
    "summer_palace": "the Summer Palace",
    "astronaut": "Eileen Collins",
    "chelsea_cat": "a cat",
    "coffee": "a cup",
    "hokusai_great_wave": "Hokusai, The Great Wave",
    "kandinsky_composition_viii": "Kandinsky, Composition VIII",
    "van_gogh_auvers": "Van Gogh, Village Street in Auvers",
    "cassatt_summertime": "Cassatt, Summertime",
    "renoir_galette": "Renoir, Bal du moulin de la Galette",
    "hokusai_poppies": "Hokusai, Poppies",
    "hokusai_ejiri": "Hokusai, Ejiri in Suruga Province",
    "hiroshige_fish": "Hiroshige, Horse-mackerel and Prawn",
    "pen": "hatching in ink",
    "pencil": "strokes of a pencil",
    "mosaic": "stones and mortar",
    "facets": "cut planes",
    "tartan": "a tartan",
    "stitches": "cross-stitch",
    "pixels": "large pixels",
    "glass": "glass and lead",
}
TEXT = """\
# Gallery

Pairs over different kinds of style. Under each is the command that painted it, with the
default settings; only the size of most is smaller, 256 to 384 px. `jaxnst show` prints
the settings of each. The pictures are free:
[SOURCES.md](gallery/SOURCES.md) has their sources. The pen, the pencil, the mosaic, the
cut planes, the fabrics, the pixels and the glass were drawn for this gallery by
`python docs/gallery.py --draw`, which also paints it and writes this page.
"""


def _curves(rng: np.random.Generator, step: float) -> Image.Image:
    """Return smooth random grays, which the drawn styles are shaded with."""
    coarse = rng.random((5, 5)) * 255
    image = Image.fromarray(coarse.astype(np.uint8))
    return image.resize((SIDE, SIDE), Image.Resampling.BICUBIC).filter(
        ImageFilter.GaussianBlur(step)
    )


def draw_pen(rng: np.random.Generator) -> Image.Image:
    """Return cross-hatching in black ink: denser where it is darker."""
    tone = np.asarray(_curves(rng, 6), float) / 255
    image = Image.new("RGB", (SIDE, SIDE), (249, 246, 238))
    draw = ImageDraw.Draw(image)
    for angle, least in ((0.9, 0.3), (2.2, 0.55), (1.55, 0.75), (0.3, 0.88)):
        for _ in range(5200):
            x, y = rng.uniform(0, SIDE, 2)
            if 1 - tone[int(y), int(x)] < least * rng.uniform(0.8, 1.2):
                continue
            a = angle + rng.normal(0, 0.07)
            half = rng.uniform(5, 15)
            dx, dy = half * np.cos(a), half * np.sin(a)
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=(22, 20, 24), width=1)
    return image


def draw_pencil(rng: np.random.Generator) -> Image.Image:
    """Return gray strokes of a soft pencil on grainy paper."""
    tone = np.asarray(_curves(rng, 6), float) / 255
    big = Image.new("L", (SIDE * 2, SIDE * 2), 246)
    draw = ImageDraw.Draw(big)
    for _ in range(26000):
        x, y = rng.uniform(0, SIDE, 2)
        dark = 1 - tone[int(y), int(x)]
        if rng.random() > dark**1.5:
            continue
        a = 0.8 + 0.7 * np.sin(x / 160) + rng.normal(0, 0.12)
        half = rng.uniform(10, 34)
        dx, dy = half * np.cos(a), half * np.sin(a)
        gray = int(np.clip(235 - 190 * dark + rng.normal(0, 18), 30, 235))
        draw.line((2 * x - dx, 2 * y - dy, 2 * x + dx, 2 * y + dy), fill=gray, width=2)
    gray = np.asarray(big.resize((SIDE, SIDE), Image.Resampling.LANCZOS), float)
    gray += rng.normal(0, 9, gray.shape) * (gray < 238)
    rgb = gray[..., None] * (1, 0.99, 0.965)
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


def _cells(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of each pixel, and how near it is to the next cell."""
    points = rng.uniform(0, SIDE, (count, 2))
    for _ in range(4):  # Lloyd's: cells of about one size
        grid = np.mgrid[0:SIDE:4, 0:SIDE:4].reshape(2, -1).T
        owner = ((grid[:, None] - points) ** 2).sum(-1).argmin(1)
        points = np.array(
            [
                grid[owner == i].mean(0) if (owner == i).any() else points[i]
                for i in range(count)
            ]
        )
    cell = np.empty((SIDE, SIDE), int)
    edge = np.empty((SIDE, SIDE))
    for y in range(SIDE):
        row = np.stack([np.full(SIDE, y), np.arange(SIDE)], -1)
        far = np.sqrt(((row[:, None] - points) ** 2).sum(-1))
        cell[y] = far.argmin(1)
        edge[y] = np.diff(np.partition(far, 1, axis=1)[:, :2], axis=1)[:, 0]
    return cell, edge


_ROMAN = ((178, 62, 40), (222, 178, 96), (32, 84, 120), (232, 222, 196), (70, 120, 96))
_JEWELS = ((190, 20, 40), (20, 60, 170), (240, 180, 30), (20, 130, 80), (120, 30, 130))


def _paint_cells(
    rng: np.random.Generator,
    count: int,
    colors: tuple[tuple[int, int, int], ...],
    joint: tuple[int, int, int],
    width: float,
) -> Image.Image:
    cell, edge = _cells(rng, count)
    field = np.asarray(_curves(rng, 3), float) / 256 * len(colors)
    middle = np.array(
        [field[cell == i].mean() if (cell == i).any() else 0 for i in range(count)]
    )
    index = np.clip(middle + rng.normal(0, 0.35, count), 0, len(colors) - 1)
    rgb = np.array(colors, float)[index.astype(int)] * rng.uniform(
        0.8, 1.15, (count, 1)
    )
    image = rgb[cell] + rng.normal(0, 5, (SIDE, SIDE, 1))
    image = np.where(edge[..., None] < width, joint, image)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(0.6)
    )


def draw_mosaic(rng: np.random.Generator) -> Image.Image:
    """Return small stones in five colors, with joints of mortar."""
    return _paint_cells(rng, 900, _ROMAN, (206, 198, 182), 2.2)


def draw_glass(rng: np.random.Generator) -> Image.Image:
    """Return stained glass: large bright cells between black lead."""
    return _paint_cells(rng, 150, _JEWELS, (14, 12, 16), 4.5)


def draw_facets(rng: np.random.Generator) -> Image.Image:
    """Return planes in ochre and gray that cut each other, each shaded to one side."""
    colors = (
        (168, 134, 88),
        (108, 92, 72),
        (206, 184, 142),
        (74, 82, 88),
        (140, 70, 46),
    )
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    image = np.full((SIDE, SIDE, 3), (150, 128, 96), float)
    for _ in range(90):
        cx, cy = rng.uniform(0, SIDE, 2)
        inside = np.ones((SIDE, SIDE), bool)
        for turn in rng.uniform(0, 2 * np.pi, 3):
            reach = rng.uniform(20, 75)
            inside &= (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn) < reach
        inside &= (x - cx) ** 2 + (y - cy) ** 2 < 110**2
        turn = rng.uniform(0, 2 * np.pi)
        ramp = ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)) / 110
        shade = (
            np.array(colors[rng.integers(5)])[None, None]
            * (0.95 + 0.55 * ramp)[..., None]
        )
        image[inside] = 0.85 * shade[inside] + 0.15 * image[inside]
        outline = inside ^ np.roll(inside, (1, 1), (0, 1))
        image[outline] = (34, 28, 24)
    image += rng.normal(0, 7, (SIDE, SIDE, 1))
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def draw_tartan(rng: np.random.Generator) -> Image.Image:
    """Return a woven tartan: two sets of stripes, thread over thread."""
    stripes = [
        ((150, 24, 32), 36),
        ((20, 40, 70), 14),
        ((150, 24, 32), 8),
        ((236, 200, 70), 4),
        ((24, 84, 56), 30),
        ((240, 236, 224), 4),
    ]
    line = np.concatenate([np.tile(color, (width, 1)) for color, width in stripes])
    line = np.concatenate([line, line[::-1]])
    line = np.resize(line, (SIDE, 3)).astype(float)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    over = ((x // 2 + y // 2) % 4 < 2)[..., None]
    image = np.where(over, line[None], line[:, None])
    thread = 0.82 + 0.18 * np.where(over[..., 0], x % 2, y % 2)
    image = image * thread[..., None] + rng.normal(0, 6, (SIDE, SIDE, 1))
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def draw_stitches(rng: np.random.Generator) -> Image.Image:
    """Return cross-stitch: a cross of thread in each square of linen."""
    step, count = 8, SIDE // 8
    field = np.asarray(_curves(rng, 3).resize((count, count)), float) / 256 * 5
    colors = (
        (196, 40, 52),
        (30, 70, 130),
        (240, 206, 120),
        (60, 120, 80),
        (240, 236, 226),
    )
    image = Image.new("RGB", (SIDE, SIDE), (222, 214, 196))
    draw = ImageDraw.Draw(image)
    for i in range(count):
        for j in range(count):
            color = colors[int(np.clip(field[i, j] + rng.normal(0, 0.25), 0, 4))]
            x, y, far = j * step, i * step, step - 2
            dark = tuple(int(0.72 * c) for c in color)
            draw.line((x + 1, y + far, x + far, y + 1), fill=dark, width=3)
            draw.line((x + 1, y + 1, x + far, y + far), fill=color, width=3)
    return image


def draw_pixels(rng: np.random.Generator) -> Image.Image:
    """Return large square pixels in sixteen colors, as of an old computer."""
    step, count = 8, SIDE // 8
    field = np.asarray(_curves(rng, 2).resize((count, count)), float) / 256
    bayer = (
        np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16
    )
    dither = np.tile(bayer, (count // 4, count // 4))
    palette = np.array(
        [(20, 12, 28), (68, 36, 52), (48, 52, 109), (89, 125, 206), (109, 170, 44),
         (210, 125, 44), (218, 212, 94), (222, 238, 214)]
    )  # fmt: skip
    index = np.clip(field * 8 + dither - 0.5, 0, 7).astype(int)
    return Image.fromarray(
        palette[index].astype(np.uint8).repeat(step, 0).repeat(step, 1)
    )


DRAWN: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "pen": draw_pen,
    "pencil": draw_pencil,
    "mosaic": draw_mosaic,
    "glass": draw_glass,
    "facets": draw_facets,
    "tartan": draw_tartan,
    "stitches": draw_stitches,
    "pixels": draw_pixels,
}


def place(name: str) -> str:
    """Return where a photograph or a style is, from the root of the repository."""
    example = f"examples/images/{name}.jpg"
    return example if (ROOT / example).exists() else f"docs/gallery/styles/{name}.jpg"


def command(pair: Pair) -> str:
    """Return the command that paints a pair, to be run in the root."""
    photo, style = place(pair.photo), place(pair.style)
    flags = f" {pair.flags}" if pair.flags else ""
    return f"jaxnst stylize {photo} {style} -o {pair.name}.jpg{flags}"


def painted(pair: Pair) -> Path:
    """Return where the picture of a pair is."""
    return GALLERY / f"{pair.name}.jpg"


def write_page() -> None:
    """Write the page of the pairs that are painted."""
    lines = [TEXT]
    for pair in [each for each in PAIRS if painted(each).exists()]:
        photo, style = (
            f"../{path}" if path.startswith("examples") else path.removeprefix("docs/")
            for path in (place(pair.photo), place(pair.style))
        )
        lines += [
            f"## {pair.kind}\n",
            f"| {TITLES[pair.photo]} | {TITLES[pair.style]} | painted |",
            "|---|---|---|",
            f"| ![]({photo}) | ![]({style}) | "
            f"![{TITLES[pair.photo]}: {pair.kind}](gallery/{pair.name}.jpg) |\n",
            f"```sh\n{command(pair)}\n```\n",
        ]
    (DOCS / "gallery.md").write_text("\n".join(lines).rstrip() + "\n")


def paint(pair: Pair) -> None:
    """Paint a pair by its command."""
    words = shlex.split(command(pair))[1:]
    words[words.index("-o") + 1] = str(painted(pair))
    assert main([*words, "--quality", str(QUALITY)]) == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Paint the gallery, and write its page."
    )
    parser.add_argument("names", nargs="*", help="pairs to paint again")
    parser.add_argument(
        "--draw", action="store_true", help="draw the styles that are ours"
    )
    arguments = parser.parse_args()
    if arguments.draw:
        for number, (name, draw_fn) in enumerate(DRAWN.items()):
            image = draw_fn(np.random.default_rng(number))
            image.save(GALLERY / "styles" / f"{name}.jpg", quality=88)
    for each in PAIRS:
        if each.name in arguments.names or not painted(each).exists():
            paint(each)
    write_page()
