"""What is gained and lost, drawn: every picture by content lost and style left.

No picture has both at nothing. Those that no other one beats in both are the frontier,
and joined by a line.
"""

import html
import urllib.parse
from collections.abc import Mapping, Sequence

from .axes import Row


# Of the drawing and of the pictures in it, in its own units.
_WIDTH, _HEIGHT = 960, 600
_THUMBNAIL = 72
_MARGIN = 64


def frontier_of(rows: Sequence[Row]) -> list[Row]:
    """Return the pictures that none beats in both, the one with most content first.

    Args:
        rows: with metrics.
    """
    found: list[Row] = []
    for row in sorted(rows, key=_place):
        if not found or _place(row)[1] < _place(found[-1])[1]:
            found.append(row)
    return found


def draw_frontier(rows: Mapping[int, Row]) -> str:
    """Return an SVG of the pictures by their metrics; "" if fewer than two have any.

    Args:
        rows: {index: row} of the members that are done or failed.
    """
    measured = [row for row in rows.values() if row.metrics and row.file is not None]
    if len(measured) < 2:
        return ""
    places = [_place(row) for row in measured]
    spans = [_span([place[axis] for place in places]) for axis in (0, 1)]

    def at(row: Row) -> tuple[float, float]:
        across, down = (
            (value - low) / (high - low)
            for value, (low, high) in zip(_place(row), spans, strict=True)
        )
        # Least of both is at the lower left.
        x = _MARGIN + across * (_WIDTH - 2 * _MARGIN)
        y = _HEIGHT - _MARGIN - down * (_HEIGHT - 2 * _MARGIN)
        return round(x, 1), round(y, 1)

    line = " ".join(f"{x},{y}" for x, y in map(at, frontier_of(measured)))
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="content lost against style left" class="frontier">',
        f'<polyline points="{line}" fill="none" stroke="currentColor" '
        'stroke-opacity=".45" stroke-width="2"/>',
    ]
    for row in sorted(measured, key=lambda row: row.index):
        x, y = at(row)
        left, top = round(x - _THUMBNAIL / 2, 1), round(y - _THUMBNAIL / 2, 1)
        address = html.escape(urllib.parse.quote(row.file or "", errors="replace"))
        lost, gap = _place(row)
        title = html.escape(f"{row.title}: LPIPS {lost:.3f}, Gram gap {gap:.3f}")
        parts.append(
            f'<a href="{address}"><image href="{address}" x="{left}" y="{top}" '
            f'width="{_THUMBNAIL}" height="{_THUMBNAIL}"><title>{title}</title></image>'
            "</a>"
        )
    (least, most), (lowest, highest) = spans
    parts += [
        _label(_WIDTH / 2, _HEIGHT - 8, "content lost (LPIPS)", "middle"),
        _label(_MARGIN, _HEIGHT - 8, f"{least:.2f}", "middle"),
        _label(_WIDTH - _MARGIN, _HEIGHT - 8, f"{most:.2f}", "middle"),
        f'<g transform="rotate(-90 14 {_HEIGHT / 2})">'
        f"{_label(14, _HEIGHT / 2, 'style left (Gram gap)', 'middle')}</g>",
        _label(4, _HEIGHT - _MARGIN, f"{lowest:.2f}", "start"),
        _label(4, _MARGIN, f"{highest:.2f}", "start"),
        "</svg>",
    ]
    return "\n".join(parts)


def _place(row: Row) -> tuple[float, float]:
    return row.metrics["lpips"], row.metrics["gram_gap"]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high - low > 1e-3 else (low - 0.05, high + 0.05)


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor" '
        f'font-size="15">{html.escape(text)}</text>'
    )
