"""The report: one HTML file that shows why a picture looks as it does."""

import base64
import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnst.sweeps.page import render_page

from .correspondence import Correspondence, position_colors
from .figures import (
    attribution_figures,
    correspondence_figures,
    difference_figures,
    embed,
    matched_patches,
)
from .plots import draw_svg


if TYPE_CHECKING:
    from .explanation import Explanation

# Sides of the patches that are shown, in pixels.
_PATCH = 120


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
        attribution=attribution_figures(explanation),
        differences=difference_figures(explanation),
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
    pairs = matched_patches(explanation, scales[0], _PATCH)
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
        "maps": correspondence_figures(explanation),
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
