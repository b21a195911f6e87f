"""The report: one HTML file that shows why a picture looks as it does."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from jaxnst.images.files import atomic_write

from .advice import describe_convergence
from .correspondence import Correspondence, position_colors
from .figures import (
    attribution_figures,
    correspondence_figures,
    difference_figures,
    embed,
    matched_patches,
)
from .plots import check_is_writable, lay_out_charts


if TYPE_CHECKING:
    from .explanation import Explanation

# Longest sides of pictures, in pixels: large ones, those in rows, and patches.
_LARGE, _SMALL, _PATCH = 768, 320, 120
# (metric, what it measures, how to read it), in the order in which they are shown.
_METRICS = (
    (
        "lpips",
        "content lost (LPIPS)",
        "0: the same picture; 0.3: easy to recognize; 0.7: not recognizable",
    ),
    (
        "gram_gap",
        "style left, textures (Gram)",
        "0: reached; 1: no nearer to the painting than the photograph",
    ),
    (
        "wasserstein_gap",
        "style left, all features (sliced Wasserstein)",
        "same scale; stricter, as rare features count, too",
    ),
    (
        "bures_gap",
        "style left, means and covariances (Bures)",
        "same scale; strong features count less",
    ),
    ("palette_gap", "style left, colors", "same scale, for the colors alone"),
    (
        "style_detail",
        "fine detail, relative to the painting",
        "1: as much; much more is noise, much less is blur",
    ),
    (
        "content_detail",
        "fine detail, relative to the photograph",
        "1: as much; much more is noise, much less is blur",
    ),
)


def save_report(
    explanation: "Explanation", path: str | os.PathLike[str], *, title: str = ""
) -> Path:
    """Write the report and return where it is; see `Explanation.save`."""
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(
            f"a report is a .html file, got {target.name!r}; `save_sheets` writes PNG."
        )
    check_is_writable(target)
    text = make_report(explanation, title=title)
    with atomic_write(target) as beside:
        beside.write_text(text, encoding="utf-8")
    return target


def make_report(explanation: "Explanation", *, title: str = "") -> str:
    """Return the report as HTML.

    It loads nothing from outside, and its content security policy tells the browser so.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxnst.insight", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    assert environment.loader is not None
    css, script = (
        environment.loader.get_source(environment, f"report.{extension}")[0]
        for extension in ("css", "js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    record = {k: v for k, v in explanation.record.items() if k != "trace"}
    text = environment.get_template("report.html").render(
        title=title or _title(explanation.record),
        css=css,
        script=script,
        digest=digest,
        embed=embed,
        large=_LARGE,
        small=_SMALL,
        patch=_PATCH,
        explanation=explanation,
        made=explanation.record["result"],
        record=json.dumps(record, indent=1, default=str),
        metrics=[
            (what, getattr(explanation.metrics, name), scale)
            for name, what, scale in _METRICS
        ],
        attribution=attribution_figures(explanation),
        differences=difference_figures(explanation),
        convergence=describe_convergence(explanation.convergence),
        charts=lay_out_charts(explanation.history),
        **_correspondence(explanation),
    )
    return text.encode(errors="replace").decode()


def _title(record: Mapping[str, Any]) -> str:
    inputs = record.get("inputs", {})
    names = [str(entry.get("name")) for entry in inputs.values() if "name" in entry]
    return " in the style of ".join(names[:2]) if len(names) > 1 else "A picture"


def _correspondence(explanation: "Explanation") -> dict[str, Any]:
    """Return what the section on similar patches of picture and style shows."""
    image, styles = explanation.image, explanation.styles
    scales = explanation.correspondences
    pairs = matched_patches(explanation, scales[0], _PATCH)
    matches = [match for match, _, _ in pairs]
    start = matches[0].center if matches else tuple(n / 2 for n in image.shape[:2])
    across, down = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 64))
    return {
        "data": {
            "shape": image.shape[:2],
            "styles": [style.shape[:2] for style in styles],
            "start": start,
            "scales": [_encoded(each) for each in scales],
        },
        "scales": list(zip(("fine", "coarse"), scales, strict=False)),
        "pins": [
            (number, *_percent(match.center, image))
            for number, match in enumerate(matches, 1)
        ],
        "style_pins": [
            [
                (number, *_percent(match.source, style))
                for number, match in enumerate(matches, 1)
                if match.style == index
            ]
            for index, style in enumerate(styles)
        ],
        "pairs": pairs,
        "maps": correspondence_figures(explanation),
        "key": position_colors(down, across),
    }


def _percent(place: tuple[float, float], image: np.ndarray) -> tuple[str, str]:
    """Return a place in percent of a picture, as the style sheet needs it."""
    y, x = (100 * each / n for each, n in zip(place, image.shape, strict=False))
    return f"{y:.2f}", f"{x:.2f}"


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
