"""Line charts as SVG: losses over steps, with the sizes marked."""

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np


_WIDTH, _HEIGHT = 760, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 130, 22, 34
# From fine to coarse layers: told apart by the color-blind, on white and on black.
COLORS = (
    "#0072b2",
    "#56b4e9",
    "#009e73",
    "#b8a000",
    "#e69f00",
    "#d55e00",
    "#cc79a7",
    "#8a63d2",
)


def draw_traces(
    places: Sequence[float] | np.ndarray,
    sizes: Sequence[int] | np.ndarray,
    series: Mapping[str, np.ndarray],
    *,
    title: str,
) -> str:
    """Return an SVG of values over steps, on a logarithmic scale.

    Args:
        places: numbers of the steps.
        sizes: longest side that each was painted at; where it changes a line says so.
        series: {name: value at each step}; what is not above 0 is left out.
        title: what it is a picture of, for those who do not see it.
    """
    steps = [float(step) for step in places]
    positive = [values[values > 0] for values in series.values()]
    shown = np.concatenate([*positive, np.ones(1)])
    bottom = math.log10(max(float(shown.min()), 1e-6)) - 0.03
    top = math.log10(float(shown.max())) + 0.03
    first, last = steps[0], max(steps[-1], steps[0] + 1)

    def x(step: float) -> float:
        return _LEFT + (step - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        part = (math.log10(value) - bottom) / (top - bottom)
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" class="chart" '
        f'aria-label="{html.escape(title, quote=True)}">'
    ]
    parts += [
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" '
        f'y2="{y(tick):.1f}" class="grid"/><text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" '
        f'text-anchor="end">{tick:g}</text>'
        for tick in _ticks(10**bottom, 10**top)
    ]
    starts = [0, *(int(i) + 1 for i in np.flatnonzero(np.diff(sizes)))]
    parts += [
        f'<line x1="{x(steps[i]):.1f}" x2="{x(steps[i]):.1f}" y1="{_TOP}" '
        f'y2="{_HEIGHT - _BOTTOM}" class="mark"/>'
        f'<text x="{x(steps[i]) + 4:.1f}" y="{_TOP - 8}">{int(sizes[i])} px</text>'
        for i in starts
    ]
    ends = []
    for number, (name, values) in enumerate(series.items()):
        color = COLORS[number % len(COLORS)]
        for start, stop in zip(starts, [*starts[1:], len(steps)], strict=True):
            points = " ".join(
                f"{x(step):.1f},{y(float(value)):.1f}"
                for step, value in zip(
                    steps[start:stop], values[start:stop], strict=True
                )
                if value > 0
            )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{color}" '
                'stroke-width="1.8"/>'
            )
        if values[-1] > 0:
            ends.append((y(float(values[-1])), name, color))
    for height, name, color in _spread(sorted(ends), gap=14):
        parts.append(
            f'<text x="{_WIDTH - _RIGHT + 8}" y="{height + 4:.1f}" '
            f'style="fill:{color}" class="name">{html.escape(name)}</text>'
        )
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}" '
        'text-anchor="middle">step</text></svg>'
    )
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two numbers; at most eight."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [
            factor * 10.0**exponent
            for exponent in exponents
            for factor in factors
            if low <= factor * 10.0**exponent <= high
        ]
        if len(ticks) <= 8:
            break
    return ticks


def _spread(
    ends: Sequence[tuple[float, str, str]], gap: float
) -> list[tuple[float, str, str]]:
    """Move labels down where they would cover each other, and up from the edge."""
    placed: list[tuple[float, str, str]] = []
    for height, name, color in ends:
        if placed:
            height = max(height, placed[-1][0] + gap)
        placed.append((height, name, color))
    over = max(0.0, placed[-1][0] - (_HEIGHT - _BOTTOM)) if placed else 0.0
    return [(height - over, name, color) for height, name, color in placed]
