"""Losses over the steps: as SVG for reports, as matplotlib figure, as table."""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnst.images.files import atomic_write


if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTENSIONS = (".png", ".svg", ".pdf", ".csv")
_NEEDS_MATPLOTLIB = "drawing losses needs matplotlib: pip install 'jaxnst[plot]'"
_WIDTH, _HEIGHT = 760, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 130, 22, 34
_LABEL_STEP = 14
# Told apart by the color-blind, on white and on black.
_COLORS = ("#0072b2", "#56b4e9", "#009e73", "#b8a000", "#e69f00", "#d55e00")
_COLORS += ("#cc79a7", "#8a63d2")

History = Mapping[str, np.ndarray]


def panels_of(history: History) -> dict[str, dict[str, np.ndarray]]:
    """Return the curves of each plot: sums, style by layer, content by layer.

    Args:
        history: history of a `Result`.

    Returns:
        {title: {label: values}}, without curves that are nowhere above 0, which a
        logarithmic scale cannot show.
    """
    columns = {
        "all": {name: name for name in ("total", "content", "style", "tv")},
        "style left, by layer": {},
        "content lost, by layer": {},
    }
    for name in history:
        kind, _, layer = name.partition("/")
        for title in columns:
            if layer and title.startswith(kind):
                columns[title][layer] = name
    values = {name: np.asarray(column, float) for name, column in history.items()}
    return {
        title: {
            label: values[name]
            for label, name in names.items()
            if name in values and np.any(values[name] > 0)
        }
        for title, names in columns.items()
    }


def place_curves(history: History, curves: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return where curves over the steps lie in an SVG, on a logarithmic scale.

    Args:
        history: history of a `Result`; of it "step" and "size" are needed.
        curves: {label: value at each step}; values that are not above 0 are left out.

    Returns:
        Numbers and texts for the macro `chart` of the report's template.
    """
    steps = np.asarray(history["step"], float)
    sizes, starts = _sizes(history)
    shown = np.concatenate([*(c[c > 0] for c in curves.values()), np.ones(1)])
    bottom = math.log10(max(float(shown.min()), 1e-6)) - 0.03
    top = math.log10(float(shown.max())) + 0.03

    def x(step: float) -> float:
        part = (step - steps[0]) / max(steps[-1] - steps[0], 1)
        return round(_LEFT + part * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        part = (math.log10(max(value, 1e-6)) - bottom) / (top - bottom)
        return round(_HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM), 1)

    lines, ends = [], []
    for number, (label, values) in enumerate(curves.items()):
        color = _COLORS[number % len(_COLORS)]
        points = list(zip(steps.tolist(), values.tolist(), strict=True))
        for start, stop in zip(starts, [*starts[1:], len(steps)], strict=True):
            piece = [(x(step), y(v)) for step, v in points[start:stop] if v > 0]
            lines.append((color, piece))
        if values[-1] > 0:
            ends.append((y(float(values[-1])), label, color))
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "top": _TOP,
        "bottom": _HEIGHT - _BOTTOM,
        "ticks": [(y(tick), f"{tick:g}") for tick in _ticks(10**bottom, 10**top)],
        "marks": [(x(steps[i]), f"{sizes[i]} px") for i in starts],
        "lines": lines,
        "labels": _spread(sorted(ends)),
    }


def plot_history(history: History, *, title: str = "") -> "Figure":
    """Draw every loss term over the steps, with the sizes marked.

    Args:
        history: history of a `Result`.
        title: title of the figure.

    Returns:
        A matplotlib figure of three panels: the sums, style by layer, content by layer.
        All but the total are before weights; style terms are 1 for the content picture
        and 0 for the style picture.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if the history has no steps.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(_NEEDS_MATPLOTLIB) from None
    if not len(history["total"]):
        raise ValueError("no step was painted, so there are no losses to draw.")
    panels = panels_of(history)
    sizes, starts = _sizes(history)
    # No line from one size to the next, as each begins anew.
    steps = np.insert(np.asarray(history["step"], float), starts[1:], np.nan)
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True)
    for axis, (name, curves) in zip(axes, panels.items(), strict=True):
        for label, values in curves.items():
            drawn = np.where(values > 0, values, np.nan)
            axis.semilogy(steps, np.insert(drawn, starts[1:], np.nan), label=label)
        for start in starts:
            mark = history["step"][start]
            axis.axvline(mark, color="gray", linewidth=0.6, linestyle=":")
            if axis is axes[0]:
                place, within = (mark, 1), ("data", "axes fraction")
                text = f" {sizes[start]} px"
                axis.annotate(text, place, xycoords=within, va="bottom", color="gray")
        axis.set_ylabel(name)
        axis.grid(alpha=0.25)
        if axis.has_data():
            axis.legend(fontsize="small", ncols=2)
    axes[-1].set_xlabel("step")
    if title:
        figure.suptitle(title)
    return figure


def check_history_path(path: str | os.PathLike[str]) -> Path:
    """Return where losses would be written, if they can be written there.

    Args:
        path: file name with one of `EXTENSIONS`.

    Raises:
        ValueError: if the extension is another one.
        OSError: if the path is a folder, or its folder is missing.
        ImportError: if matplotlib is needed and not installed.
    """
    target = Path(path)
    if target.suffix.lower() not in EXTENSIONS:
        raise ValueError(
            f"losses are written as {', '.join(EXTENSIONS)}, got {target.name!r}."
        )
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give a file name.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {target.parent}; make it first.")
    if target.suffix.lower() != ".csv":
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise ImportError(f"{_NEEDS_MATPLOTLIB}; or write them as .csv") from None
    return target


def save_history(history: History, path: str | os.PathLike[str]) -> Path:
    """Write losses as a figure or, as .csv, as a table; return where the file is.

    Args:
        history: history of a `Result`.
        path: file name with one of `EXTENSIONS`.

    Raises:
        ValueError, OSError, ImportError: see `check_history_path` and `plot_history`.
    """
    target = check_history_path(path)
    with atomic_write(target) as beside:
        if target.suffix.lower() == ".csv":
            stream = io.StringIO()
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(history)
            for row in zip(*history.values(), strict=True):
                writer.writerow([f"{float(value):.7g}" for value in row])
            beside.write_text(stream.getvalue(), encoding="utf-8")
        else:
            figure: Any = plot_history(history)
            figure.savefig(beside, format=target.suffix[1:].lower(), dpi=120)
    return target


def _sizes(history: History) -> tuple[list[int], list[int]]:
    """Return the size of each step, and the first step of each size."""
    sizes = np.asarray(history["size"]).astype(int)
    return sizes.tolist(), [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist()]


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two numbers; at most eight."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**each for each in exponents for factor in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 8:
            break
    return ticks


def _spread(ends: Sequence[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Move labels down where they would cover each other, and up from the edge."""
    placed: list[tuple[float, str, str]] = []
    for height, label, color in ends:
        if placed:
            height = max(height, placed[-1][0] + _LABEL_STEP)
        placed.append((height, label, color))
    over = max(0.0, placed[-1][0] - (_HEIGHT - _BOTTOM)) if placed else 0.0
    return [(round(height - over, 1), label, color) for height, label, color in placed]
