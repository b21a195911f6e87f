"""The page of a sweep: all pictures with their losses, in one file for any browser.

It loads nothing but the pictures beside it and runs no scripts; its content security
policy makes the browser hold it to that.
"""

import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup, escape

from .axes import Axis, Row
from .manifest import status_of
from .sheet import heading, in_common, make_tables


_METRICS = {"lpips": "LPIPS", "gram_gap": "Gram gap"}


def make_page(axes: Sequence[Axis], mode: str, rows: Mapping[int, Row]) -> str:
    """Return `index.html`; equal arguments give equal text."""
    rows = dict(sorted(rows.items()))
    tables = make_tables(axes, mode)
    states = [status_of(row) for row in rows.values()]
    total = sum(len(row) for table in tables for row in table.indices)
    counts = f"{states.count('done')} of {total} done"
    if failed := states.count("failed"):
        counts += f", {failed} failed"
    # Frames without a picture are as large as the first picture.
    shapes = [f"{row.width:d} / {row.height:d}" for row in rows.values() if row.width]
    return render_page(
        "jaxnst.sweeps",
        "page.html",
        title=heading(axes, mode),
        notes=[note for note in (in_common(axes), counts) if note],
        tables=tables,
        rows=rows,
        shape=(shapes or ["1 / 1"])[0],
        metric_names=_METRICS,
        plot=_plot(rows),
    )


def render_page(package: str, template: str, **values: Any) -> str:
    """Return a page from a template that lies in a package."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"breakable": _breakable, "address": _address}
    text = environment.get_template(template).render(values)
    # File names of other systems may hold what UTF-8 cannot encode.
    return text.encode(errors="replace").decode()


def pareto_front(rows: Sequence[Row]) -> list[Row]:
    """Return the pictures that none beats in both metrics, by increasing LPIPS."""
    found: list[Row] = []
    for row in sorted(rows, key=_lost_and_left):
        if not found or _lost_and_left(row)[1] < _lost_and_left(found[-1])[1]:
            found.append(row)
    return found


def _plot(rows: Mapping[int, Row]) -> dict[str, Any] | None:
    """Return the ranges and the pictures of the plot of content against style.

    None below two pictures. Places are parts of the ranges.
    """
    measured = [row for row in rows.values() if row.metrics and row.file is not None]
    if len(measured) < 2:
        return None
    values = list(zip(*map(_lost_and_left, measured), strict=True))
    (left, right), (bottom, top) = map(_span, values)

    def place(row: Row) -> tuple[float, float]:
        lost, remains = _lost_and_left(row)
        return (lost - left) / (right - left), (remains - bottom) / (top - bottom)

    return {
        "ranges": (left, right, bottom, top),
        "front": [place(row) for row in pareto_front(measured)],
        "points": [(row, *place(row)) for row in measured],
    }


def _lost_and_left(row: Row) -> tuple[float, float]:
    return row.metrics["lpips"], row.metrics["gram_gap"]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high - low > 1e-3 else (low - 0.05, high + 0.05)


def _breakable(text: str) -> Markup:
    """Return text that may be broken after `_.-`, where people would break a name."""
    return Markup(re.sub(r"([_.\-]+)(?=[^\W\d_])", r"\1<wbr>", str(escape(text))))


def _address(name: str) -> str:
    """Return the address of a file beside the page, and of nothing else."""
    return urllib.parse.quote(name, safe="", errors="replace")
