"""What shows why a picture looks as it does: an HTML file, and sheets of figures."""

import base64
import hashlib
import importlib.resources
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PILImage, ImageOps

from jaxnst._types import AnyHostImage
from jaxnst.images import fitted_shape, resize, to_pil
from jaxnst.images.contact_sheet import draw_pictures
from jaxnst.images.files import atomic_write, check_place
from jaxnst.sweeps.page import render_page
from jaxnst.transfer.result import name_styles

from .attribution import Map
from .correspondence import (
    Correspondence,
    Match,
    pick_matches,
    position_colors,
    position_map,
    rebuild,
)
from .plots import draw_svg


if TYPE_CHECKING:
    from .explanation import Explanation

# A picture and its caption.
Figure = tuple[AnyHostImage | PILImage.Image, str]

# Longest side of a picture on a sheet, in pixels.
_CELL = 320
# How much of the picture's own lightness shows through a map, so that places are known.
_OPACITY = 0.45
_JPEG_QUALITY = 82
# Sides of the patches in the HTML file, in pixels.
_PATCH = 120


def write_report(
    path: str | os.PathLike[str], text_fn: Callable[[], str], *, hint: str = ""
) -> Path:
    """Write a report, as a whole or not at all, and return where it is."""
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"a report is a .html file, got {target.name!r}{hint}.")
    check_place(target)
    text = text_fn()
    with atomic_write(target) as beside:
        beside.write_text(text, encoding="utf-8")
    return target


def make_report(explanation: "Explanation", *, title: str = "") -> str:
    """Return the report as HTML.

    It loads nothing from outside, and its content security policy tells the browser so.
    """
    files = importlib.resources.files("jaxnst.insight")
    script = files.joinpath("report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    history = explanation.history
    record = {k: v for k, v in explanation.record.items() if k != "trace"}
    return render_page(
        "jaxnst.insight",
        "report.html",
        title=title or _title(explanation.record),
        script=script,
        digest=digest,
        embed=embed,
        explanation=explanation,
        made=explanation.record["result"],
        record=json.dumps(record, indent=1, default=str),
        attribution=_attribution_figures(explanation),
        differences=_difference_figures(explanation),
        chart=None if history is None else draw_svg(history),
        **_correspondence(explanation),
    )


def _title(record: Mapping[str, Any]) -> str:
    inputs = record.get("inputs", {})
    names = [str(entry.get("name")) for entry in inputs.values() if "name" in entry]
    return " in the style of ".join(names[:2]) if len(names) > 1 else "A picture"


def _correspondence(explanation: "Explanation") -> dict[str, Any]:
    """Return what the section on similar patches of picture and style shows."""
    image, scales = explanation.image, explanation.correspondences
    pairs = _matched_patches(explanation, scales[0], _PATCH)
    across, down = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 64))
    return {
        "data": {
            "shape": image.shape[:2],
            "styles": [style.shape[:2] for style in explanation.styles],
            "start": pairs[0][0].center if pairs else [n / 2 for n in image.shape[:2]],
            "scales": [_encoded(each) for each in scales],
        },
        "scales": list(zip(("fine", "coarse"), scales, strict=False)),
        "pairs": list(enumerate(pairs, 1)),
        "maps": _correspondence_figures(explanation),
        "key": position_colors(down, across),
    }


def _encoded(found: Correspondence) -> dict[str, object]:
    """Return a correspondence as the script reads it: whole pixels, in base64."""

    def text(values: np.ndarray, dtype: str) -> str:
        return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()

    similar = np.round(np.clip(found.similarity, 0, 1) * 255)
    rows, columns = found.styles.shape
    return {
        "layer": found.layer,
        "stride": found.stride,
        "patch": found.patch,
        "rows": rows,
        "columns": columns,
        "first": found.centers[0, 0].tolist(),
        "places": text(np.clip(np.round(found.sources), 0, 65535), "<u2"),
        "styles": text(found.styles, "u1"),
        "similar": text(similar, "u1"),
    }


def make_sheets(explanation: "Explanation") -> dict[str, PILImage.Image]:
    """Return {name of the sheet: sheet}, "pairs" and "layers" only if there are any."""
    picture: Figure = (explanation.image, "picture")
    named = {"content": explanation.content, **name_styles(explanation.styles)}
    inputs: list[Figure] = [(each, name) for name, each in named.items()]
    pairs: list[Figure] = [
        (
            PILImage.fromarray(np.hstack([np.asarray(here), np.asarray(there)])),
            f"{each.layer}: similarity {match.similarity:.0%}",
        )
        for each in explanation.correspondences
        for match, here, there in _matched_patches(explanation, each, _CELL // 2)
    ]
    sheets = {
        "attribution": [picture, *_attribution_figures(explanation)],
        "differences": [inputs[0], picture, *_difference_figures(explanation)],
        "correspondence": [*inputs, picture, *_correspondence_figures(explanation)],
        "pairs": pairs,
    }
    drawn = {
        name: draw_pictures(
            [_filling(each) for each, _ in figures],
            [caption for _, caption in figures],
            longest=_CELL,
            columns=min(4, len(figures)),
        )
        for name, figures in sheets.items()
        if figures
    }
    if (painted := explanation.ablations) is not None:
        rows = {"alone": painted.alone, "without": painted.without}
        drawn["layers"] = draw_pictures(
            {name: list(map(_filling, each.values())) for name, each in rows.items()},
            list(painted.alone),
            longest=_CELL,
            inputs={
                name: _filling(each)
                for name, each in {**named, "all layers": painted.whole}.items()
            },
        )
    return drawn


def _filling(picture: AnyHostImage | PILImage.Image) -> PILImage.Image:
    """Return a picture as large as a cell of a sheet."""
    if not isinstance(picture, PILImage.Image):
        picture = to_pil(picture)
    return ImageOps.contain(picture, (_CELL, _CELL), PILImage.Resampling.BICUBIC)


def heat_map(values: Map, image: AnyHostImage, *, high: float) -> AnyHostImage:
    """Return a map, dark at 0 and light at `high`, over its picture's lightness."""
    import matplotlib

    # Its lightness alone tells the order, also in gray print.
    colors = matplotlib.colormaps["magma"](values / high)[..., :3]
    gray = image.mean(-1, keepdims=True)
    return (colors * (1 - _OPACITY + _OPACITY * gray)).astype(np.float32)


def _attribution_figures(explanation: "Explanation") -> list[Figure]:
    """Return each loss term's share of the attribution, relative to its mean."""
    attribution, figures = explanation.attribution, []
    for term, shares in attribution.shares.items():
        relative = shares / max(float(shares.mean()), 1e-12)
        kind, _, layer = term.partition("/")
        name = f"{layer} (content)" if kind == "content" else layer
        caption = f"{name or 'total variation'}: {attribution.overall[term]:.0%}"
        figures.append((heat_map(relative, explanation.image, high=2.0), caption))
    return figures


def _difference_figures(explanation: "Explanation") -> list[Figure]:
    """Return where content, colors and structure differ from the content picture."""
    found, image = explanation.differences, explanation.image
    maps = [(error, f"content at {name}", 2) for name, error in found.content.items()]
    maps += [(found.color, "colors", 0.2), (found.structure, "structure", 0.7)]
    return [
        (heat_map(each, image, high=high), f"{name}: {float(each.mean()):.3g}")
        for each, name, high in maps
    ]


def _correspondence_figures(explanation: "Explanation") -> list[Figure]:
    """Return, for each layer, the picture in style pixels, and where they come from."""
    shapes = [style.shape[:2] for style in explanation.styles]
    figures: list[Figure] = []
    for each in explanation.correspondences:
        rebuilt = rebuild(each, explanation.image.shape[:2], explanation.styles)
        figures.append((rebuilt, f"rebuilt from the style's pixels, {each.layer}"))
        places = position_map(each, shapes)
        factor = max(1, _CELL // max(places.shape))
        places = np.repeat(np.repeat(places, factor, axis=0), factor, axis=1)
        figures.append((places, f"position in the style picture, {each.layer}"))
    return figures


def _matched_patches(
    explanation: "Explanation", found: Correspondence, size: int
) -> list[tuple[Match, PILImage.Image, PILImage.Image]]:
    """Return matches, each with its patch and the style's, in squares of `size` pixels.

    A square shows twice the width of a patch.
    """
    image, patch = explanation.image, found.patch

    def square(picture: AnyHostImage, center: tuple[float, float]) -> PILImage.Image:
        top, left = (
            int(np.clip(round(middle - patch), 0, max(0, length - 2 * patch)))
            for middle, length in zip(center, picture.shape, strict=False)
        )
        cropped = picture[top : top + 2 * patch, left : left + 2 * patch]
        return to_pil(cropped).resize((size, size), PILImage.Resampling.BICUBIC)

    return [
        (
            match,
            square(image, match.center),
            square(explanation.styles[match.style], match.source),
        )
        for match in pick_matches(found, image.mean(-1))
    ]


def embed(picture: AnyHostImage | PILImage.Image, longest: int) -> dict[str, object]:
    """Return a picture, shrunk to `longest` pixels, as attributes of an HTML image."""
    if not isinstance(picture, PILImage.Image):
        if max(picture.shape) > longest:
            shape = fitted_shape(picture.shape, longest)
            picture = resize(np.asarray(picture, np.float32), shape)
        picture = to_pil(picture)
    stream = io.BytesIO()
    options = {"quality": _JPEG_QUALITY, "optimize": True, "icc_profile": None}
    picture.save(stream, "JPEG", **options)
    data = base64.b64encode(stream.getvalue()).decode()
    source = f"data:image/jpeg;base64,{data}"
    return {"src": source, "width": picture.width, "height": picture.height}
