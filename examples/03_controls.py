"""Every control, before and after: the sheets in docs/controls.

    python examples/03_controls.py [-o docs/controls] [--size 320] [SHEET ...]

A picture takes ten seconds on two cores at this size, and there are some forty; those
that the folder `FOLDER/pictures` has already are not painted again.
"""

import argparse
from pathlib import Path

import numpy as np

import jaxnst
from jaxnst.finishing import check_filters, finish_picture
from jaxnst.images import resize_picture
from jaxnst.images.contact_sheet import draw_pictures


IMAGES = Path(__file__).parent / "images"
PALACE, ASTRONAUT, CAT, COFFEE = (
    IMAGES / f"{name}.jpg"
    for name in ("summer_palace", "astronaut", "chelsea_cat", "coffee")
)
WAVE, VILLAGE, LINES = (
    IMAGES / f"{name}.jpg"
    for name in ("hokusai_great_wave", "van_gogh_auvers", "kandinsky_composition_viii")
)


def ellipse(shape, *ellipses):
    """Return a mask of ellipses: (across, down, radius across, radius down) of 1."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    mask = np.zeros(shape, np.float32)
    for across, down, wide, high in ellipses:
        far = ((x / width - across) / wide) ** 2 + ((y / height - down) / high) ** 2
        # Soft over some pixels: borders look painted, not cut.
        mask = np.maximum(mask, np.clip((1.06 - np.sqrt(far)) / 0.12, 0, 1))
    return mask.astype(np.float32)


CUP = ellipse((400, 600), (0.465, 0.545, 0.34, 0.43), (0.485, 0.34, 0.205, 0.245))
SMALL_WAVE = resize_picture(jaxnst.load_picture(WAVE), 160).rgb
RAMP = np.tile(np.linspace(0, 0.9, 451, dtype=np.float32), (300, 1))

# {sheet: (content, style, {title: settings})}
PAINTED = {
    "strength": (
        PALACE,
        WAVE,
        {f"{s:g}": {"strength": s} for s in (0.2, 0.5, 0.8, 0.9)},
    ),
    "strength_map": (
        CAT,
        VILLAGE,
        {"a map from 0, left, to 0.9, right": {"strength": RAMP}},
    ),
    "color": (
        ASTRONAUT,
        LINES,
        {
            name: {"color": name}
            for name in (
                "style",
                "content",
                "luminance",
                "match",
                "histogram",
                "palette-only",
            )
        },
    ),
    "blend": (
        CAT,
        [VILLAGE, WAVE],
        {
            "1, 0": {"style_blend": [1, 0]},
            "1, 1": {"style_blend": [1, 1]},
            "0, 1": {"style_blend": [0, 1]},
            "fine of the first, coarse of the second": {
                "style_blend": [[1, 0], [0, 1]]
            },
            "the other way round": {"style_blend": [[0, 1], [1, 0]]},
        },
    ),
    "layers": (
        CAT,
        VILLAGE,
        {
            "style_scale 0.5": {"style_scale": 0.5},
            "style_scale 1": {},
            "style_scale 2": {"style_scale": 2},
            "detail -1": {"detail": -1},
            "detail 1": {"detail": 1},
        },
    ),
    "small_file": (
        PALACE,
        SMALL_WAVE,
        {
            "style_scale 0.5": {"style_scale": 0.5},
            "style_scale 1, the default": {},
            "style_scale 2": {"style_scale": 2},
        },
    ),
    "losses": (
        PALACE,
        WAVE,
        {
            name: {"style_loss": name}
            for name in (
                "gram",
                "moments",
                "wasserstein",
                "sliced_wasserstein",
                "nearest_neighbor",
            )
        }
        | {"gram and moments, the default": {}},
    ),
    "regions": (
        COFFEE,
        [WAVE, VILLAGE],
        {
            "a style for the cup, one for the rest": {"masks": [CUP, "rest"]},
            "the other way round": {"masks": ["rest", CUP]},
        },
    ),
    "tile": (COFFEE, VILLAGE, {"plain": {}, "tile=True": {"tile": True}}),
}
TEXTURES = {"village": VILLAGE, "wave": WAVE, "lines": LINES}
FINISHES = {
    "as painted": {},
    "denoise 0.2": {"denoise": 0.2},
    "sharpen 1.5": {"sharpen": 1.5},
    "contrast 0.3": {"contrast": 0.3},
    "levels": {"levels": 1},
    "saturation -0.6": {"saturation": -0.6},
    "grain 0.7": {"grain": 0.7},
    "vignette 0.8": {"vignette": 0.8},
    "halftone": {"halftone": 1},
}


def painting(folder, name, paint):
    """Return a picture, painted or from the folder."""
    path = folder / "pictures" / f"{name}.png"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        result = paint()
        result.save(path)
        made = result.record["result"]
        print(name, f"{result.record['seconds']['total']:.0f} s", made.get("strength"))
    return jaxnst.load_picture(path).rgb


def lay_out(path, pictures, *, columns, longest=320):
    """Write a sheet of titled pictures."""
    sheet = draw_pictures(
        list(pictures.values()), list(pictures), columns=columns, longest=longest
    )
    sheet.save(path, quality=88)
    print(path)


def make_sheet(name, folder, size):
    """Paint what a sheet shows, and write it."""
    if name == "texture":
        tiles = {
            f"{title}, 2 x 2": np.tile(
                painting(
                    folder,
                    f"texture_{title}",
                    lambda style=style: jaxnst.texture(style, size=size),
                ),
                (2, 2, 1),
            )
            for title, style in TEXTURES.items()
        }
        lay_out(folder / "texture.jpg", tiles, columns=3, longest=2 * size)
        return
    if name == "finish":
        settings = {"size": size, "tile": None}
        image = painting(
            folder, "finish", lambda: jaxnst.stylize(PALACE, WAVE, **settings)
        )
        pictures = {
            title: finish_picture(image, check_filters("finish", filters))
            for title, filters in FINISHES.items()
        }
        lay_out(folder / "finish.jpg", pictures, columns=3, longest=size)
        return
    content, style, cases = PAINTED[name]
    photo = resize_picture(jaxnst.load_picture(content), size).rgb
    pictures = {"the photograph": photo}
    if name == "regions":
        pictures["a mask"] = np.repeat(CUP[..., None], 3, axis=2)
    for index, (title, settings) in enumerate(cases.items()):
        rgb = painting(
            folder,
            f"{name}_{index}",
            lambda settings=settings: jaxnst.stylize(
                content, style, size=size, **settings
            ),
        )
        if name == "tile":
            title, rgb = f"{title}, 2 x 2", np.tile(rgb, (2, 2, 1))
        pictures[title] = rgb
    lay_out(folder / f"{name}.jpg", pictures, columns=3)


if __name__ == "__main__":
    sheets = [*PAINTED, "texture", "finish"]
    parser = argparse.ArgumentParser(description="Paint the sheets in docs/controls.")
    parser.add_argument("sheets", nargs="*", metavar="SHEET", help=", ".join(sheets))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/controls"))
    parser.add_argument("--size", type=int, default=320)
    args = parser.parse_args()
    for sheet in args.sheets or sheets:
        make_sheet(sheet, args.output, args.size)
