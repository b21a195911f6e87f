"""Photographs of little contrast, painted: fog, sky, logo, pencil, night, text.

pip install -e .
python benchmarks/hard_content.py [--kinds fog sky ...] [--contrasts 1 0.5 ...]
    [--size 256] [--preset NAME ...] [--style PICTURE] [-o FOLDER] [--json FILE]

Each picture is painted at every contrast: its colors, brought nearer to their mean. A
table has the style term at the end, that over the same of full contrast, the standard
deviation of the result, the recoveries and the metrics. All pictures are in one sheet,
a row for each kind. The picture "flat" has one color only, so it has one contrast.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import make_parser, path_of, run_main, size_of, write_json
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import jaxnst
from jaxnst.config import PRESETS
from jaxnst.images.contact_sheet import draw_pictures
from jaxnst.metrics import measure
from jaxnst.pretrained import load_lpips_network


CONTRASTS = (1.0, 0.5, 0.2, 0.1, 0.05)
SIDE = 512
TEXT = "It was a bright cold day, and the clocks were striking. "


def photograph(name: str) -> Image.Image:
    return Image.open(path_of(name)).convert("RGB").resize((SIDE, SIDE))


def fog() -> Image.Image:
    """A photograph that fades to white with distance, here with height."""
    there = np.asarray(photograph("summer_palace"), np.float32) / 255
    haze = np.linspace(0.8, 0.3, SIDE)[:, None, None]
    return as_picture(there * (1 - haze) + 0.85 * haze)


def sky() -> Image.Image:
    """A calm sky: a gradient, and nothing else."""
    ramp = np.linspace(0, 1, SIDE)[:, None, None]
    colors = (1 - ramp) * (0.25, 0.45, 0.8) + ramp * (0.85, 0.9, 0.95)
    return as_picture(np.broadcast_to(colors, (SIDE, SIDE, 3)))


def logo() -> Image.Image:
    """A logo on white, most of which is empty."""
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((130, 130, 380, 380), outline=(200, 30, 40), width=40)
    draw.polygon([(255, 170), (340, 340), (170, 340)], fill=(20, 60, 160))
    return picture


def pencil() -> Image.Image:
    """A drawing in pencil: thin lines on paper."""
    gray = photograph("astronaut").convert("L")
    light = np.asarray(gray, np.float32)
    around = np.asarray(gray.filter(ImageFilter.GaussianBlur(4)), np.float32)
    lines = np.clip(light / np.maximum(around, 1), 0, 1)
    return as_picture(np.repeat((lines * 0.95)[..., None], 3, axis=-1))


def night() -> Image.Image:
    """A photograph taken at night: nearly black, with a few lights."""
    there = np.asarray(photograph("coffee"), np.float32) / 255
    return as_picture(0.25 * there**2 * (0.6, 0.7, 1.0))


def text() -> Image.Image:
    """A page of text, as a scanner sees it."""
    picture = Image.new("RGB", (SIDE, SIDE), (244, 241, 232))
    draw = ImageDraw.Draw(picture)
    for row in range(14):
        line = (TEXT * 2)[row * 3 : row * 3 + 42]
        draw.text((36, 30 + row * 33), line, (40, 38, 36), ImageFont.load_default(21))
    return picture


def flat() -> Image.Image:
    """One color."""
    return Image.new("RGB", (SIDE, SIDE), (128, 128, 128))


KINDS: dict[str, Callable[[], Image.Image]] = {
    each.__name__: each for each in (fog, sky, logo, pencil, night, text, flat)
}


def as_picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.round(np.clip(values, 0, 1) * 255).astype(np.uint8))


def at_contrast(picture: Image.Image, contrast: float) -> Image.Image:
    """Return a picture with its colors brought nearer to their mean."""
    values = np.asarray(picture, np.float32) / 255
    mean = values.mean(axis=(0, 1))
    return as_picture(mean + contrast * (values - mean))


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    add("--contrasts", nargs="+", type=float, default=CONTRASTS, metavar="FRACTION")
    add("--size", type=size_of, default=256, help="longest side (%(default)s)")
    presets = ["default", *PRESETS]
    add("--presets", nargs="+", choices=presets, default=["default"])
    style = path_of("hokusai_great_wave")
    add("--style", type=path_of, default=style, metavar="PICTURE")
    add("-o", "--output", type=Path, default=Path("build/hard"), metavar="FOLDER")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    judge = load_lpips_network()
    rows: list[dict[str, Any]] = []
    sheet: dict[str, list[Any]] = {}
    print(
        "preset   kind    contrast  style  over full  deviation  recoveries  "
        "LPIPS   Gram  Wasserstein  palette"
    )
    for preset in args.presets:
        settings = {} if preset == "default" else {"preset": preset}
        for kind in args.kinds:
            full: float | None = None
            for contrast in args.contrasts if kind != "flat" else (1.0,):
                stem = args.output / f"{preset}_{kind}_{contrast:g}"
                content = stem.with_name(f"{stem.name}_content.png")
                at_contrast(KINDS[kind](), contrast).save(content)
                result = jaxnst.stylize(
                    content, args.style, size=args.size, progress=False, **settings
                )
                path = result.save(stem.with_name(f"{stem.name}.png"))
                term = float(result.history["style"][-1])
                full = term if full is None else full
                metrics = measure(path, content, args.style, judge=judge)
                row = {
                    "preset": preset,
                    "kind": kind,
                    "contrast": contrast,
                    "style": term,
                    "ratio": term / full,
                    "deviation": float(np.std(result.image)),
                    "recoveries": len(result.record["result"].get("recoveries", [])),
                } | metrics._asdict()
                rows.append(row)
                sheet.setdefault(f"{preset} {kind}", []).append(path)
                print(
                    f"{preset:8} {kind:8}{contrast:7g}{term:8.3f}{term / full:10.2f}"
                    f"{row['deviation']:11.3f}{row['recoveries']:10}"
                    f"{metrics.lpips:10.3f}{metrics.gram_gap:7.3f}"
                    f"{metrics.wasserstein_gap:10.3f}{metrics.palette_gap:11.3f}",
                    flush=True,
                )
    titles = [f"{each:g}" for each in args.contrasts]
    for pictures in sheet.values():
        pictures += pictures[-1:] * (len(titles) - len(pictures))
    found = draw_pictures(sheet, titles, longest=args.size)
    found.save(args.output / "sheet.png")
    write_json(args.json, rows)


if __name__ == "__main__":
    run_main(main)
