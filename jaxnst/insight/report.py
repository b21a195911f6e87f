"""The report: one HTML file that shows why a picture looks as it does."""

import base64
import hashlib
import importlib.resources
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnst.images.files import atomic_write

from .elements import LARGE, escape, figure
from .sections import show_changes, show_layers, show_origins, show_traces
from .words import METRIC_WORDS


if TYPE_CHECKING:
    from .explanation import Explanation


def save_report(
    explanation: "Explanation", path: str | os.PathLike[str], *, title: str = ""
) -> Path:
    """Write the report and return where it is; see `Explanation.save`."""
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(
            f"a report is a .html file, got {target.name!r}; `save_sheets` writes PNG."
        )
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give a file name.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {target.parent}; make it first.")
    text = make_report(explanation, title=title)
    with atomic_write(target) as beside:
        beside.write_text(text, encoding="utf-8")
    return target


def make_report(explanation: "Explanation", *, title: str = "") -> str:
    """Return the report; it asks for nothing from outside, and tells the browser so."""
    title = title or _title(explanation.record)
    script = _resource("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{_resource('report.css')}</style>",
        f"<h1>{escape(title)}</h1>",
        *_opening(explanation),
        *_numbers(explanation),
        *show_origins(explanation),
        *show_layers(explanation),
        *show_changes(explanation),
        *show_traces(explanation),
        *_closing(explanation),
        f"<script>{script}</script>",
        "</html>",
    ]
    text = "\n".join(parts) + "\n"
    return text.encode(errors="replace").decode()


def _title(record: Mapping) -> str:
    inputs = record.get("inputs", {})
    names = [str(entry.get("name")) for entry in inputs.values() if "name" in entry]
    return " in the style of ".join(names[:2]) if len(names) > 1 else "A picture"


def _opening(explanation: "Explanation") -> list[str]:
    first, *others = explanation.advice
    more = ""
    if others:
        more = "".join(f'<p class="quiet">{escape(each)}</p>' for each in others)
    made = explanation.record["result"]
    return [
        f'<p class="quiet">{made["width"]} &times; {made["height"]} px, '
        f"{made['steps']} steps; explained at {explanation.image.shape[1]} &times; "
        f"{explanation.image.shape[0]} px.</p>",
        '<div class="row">',
        figure(explanation.content, "the content picture"),
        *(figure(style, "the painting") for style in explanation.styles),
        figure(explanation.image, "the picture", LARGE),
        "</div>",
        f'<div class="advice"><p><b>What to turn.</b> {escape(first)}</p>{more}</div>',
    ]


def _numbers(explanation: "Explanation") -> list[str]:
    rows = []
    for name, (what, scale) in METRIC_WORDS.items():
        value = getattr(explanation.metrics, name)
        rows.append(
            f'<tr><th scope="row">{escape(what)}</th>'
            f'<td class="number">{value:.3f}</td><td>{escape(scale)}</td></tr>'
        )
    for name, score in explanation.seams.items():
        rows.append(
            f'<tr><th scope="row">seam, {name[-1]}</th><td class="number">{score:.3f}'
            "</td><td>1: none to be seen where it repeats</td></tr>"
        )
    return [
        "<h2>How good it is</h2>",
        '<p class="quiet">Measured with AlexNet, which did not paint it.</p>',
        '<div class="scroll"><table class="numbers"><tbody>',
        *rows,
        "</tbody></table></div>",
    ]


def _closing(explanation: "Explanation") -> list[str]:
    record = {k: v for k, v in explanation.record.items() if k != "trace"}
    text = json.dumps(record, indent=1, default=str)
    return [
        "<details><summary>How it was made</summary>",
        f"<pre>{escape(text)}</pre></details>",
        f'<p class="quiet">Explained in {explanation.seconds:.0f} s.</p>',
    ]


def _resource(name: str) -> str:
    folder = importlib.resources.files("jaxnst.insight")
    return (folder / name).read_text(encoding="utf-8")
