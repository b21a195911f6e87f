"""Losses over the steps: one selection of curves, for reports, figures and tables."""

import csv
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnst.images.files import atomic_write, check_place
from jaxnst.sweeps.manifest import as_cell


if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTENSIONS = (".png", ".svg", ".pdf", ".csv")
_NEEDS_MATPLOTLIB = "drawing losses needs matplotlib: pip install 'jaxnst[plot]'"
_TITLES = {
    "": "all",
    "style": "style left, by layer",
    "content": "content lost, by layer",
}
# Told apart by the color-blind, on white and on black.
_COLORS = ("#0072b2", "#56b4e9", "#009e73", "#b8a000", "#e69f00", "#d55e00")
_COLORS += ("#cc79a7", "#8a63d2")
# Size of a chart in a report, and where its curves lie, in its own units.
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 630, 22, 306
_FRAME = {"width": 760, "height": 340}
_FRAME |= {"left": _LEFT, "right": _RIGHT, "top": _TOP, "bottom": _BOTTOM}
_LABEL_STEP = 14

History = Mapping[str, np.ndarray]


def _select_curves(
    history: History,
) -> tuple[np.ndarray, list[tuple[float, str]], dict[str, dict[str, np.ndarray]]]:
    """Return the curves of a history, for a logarithmic scale.

    Returns:
        The steps, with NaN between two sizes, as each size begins anew; first step and
        name of each size; and {title: {label: values at the steps}}, NaN where they
        are not above 0.
    """
    steps = np.asarray(history["step"], float)
    sizes = np.asarray(history["size"]).astype(int)
    starts = np.flatnonzero(np.diff(sizes)) + 1
    panels: dict[str, dict[str, np.ndarray]] = {each: {} for each in _TITLES.values()}
    sums = [name for name in ("total", "content", "style", "tv") if name in history]
    for name in (*sums, *(name for name in history if "/" in name)):
        kind, _, layer = name.partition("/")
        title = _TITLES.get(kind if layer else "")
        values = np.asarray(history[name], float)
        is_shown = (values > 0) & np.isfinite(values)
        if title and is_shown.any():
            values = np.where(is_shown, values, np.nan)
            panels[title][layer or name] = np.insert(values, starts, np.nan)
    marks = [(float(steps[start]), f"{sizes[start]} px") for start in (0, *starts)]
    return np.insert(steps, starts, np.nan), marks, panels


def lay_out_charts(history: History | None) -> dict[str, dict[str, Any]]:
    """Return {title: numbers and texts of an SVG}, see `chart` in the template."""
    if history is None:
        return {}
    steps, marks, panels = _select_curves(history)
    first, last = steps[0], max(steps[-1], steps[0] + 1)

    def across(step: Any) -> Any:
        return np.round(_LEFT + (step - first) / (last - first) * (_RIGHT - _LEFT), 1)

    charts = {}
    for title, curves in panels.items():
        # The scale has 1 on it.
        low, high = (
            math.log10(reduce_fn([1, *map(nan_fn, curves.values())]))
            for reduce_fn, nan_fn in ((min, np.nanmin), (max, np.nanmax))
        )
        bottom, top = max(low, -6) - 0.03, high + 0.03

        def down(value: Any, bottom: float = bottom, top: float = top) -> Any:
            part = (np.log10(np.maximum(value, 1e-6)) - bottom) / (top - bottom)
            return np.round(_BOTTOM - part * (_BOTTOM - _TOP), 1)

        lines, ends = [], []
        for number, (label, values) in enumerate(curves.items()):
            color = _COLORS[number % len(_COLORS)]
            for piece in np.ma.clump_unmasked(np.ma.masked_invalid(values)):
                x, y = across(steps[piece]).tolist(), down(values[piece]).tolist()
                lines.append((color, list(zip(x, y, strict=True))))
            if values[-1] > 0:
                ends.append((float(down(values[-1])), label, color))
        charts[title] = {
            **_FRAME,
            "ticks": [(down(tick), f"{tick:g}") for tick in _ticks(bottom, top)],
            "marks": [(across(step), text) for step, text in marks],
            "lines": lines,
            "labels": _spread(sorted(ends)),
        }
    return charts


def _spread(ends: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Move labels down where they would cover each other, and up from the edge."""
    heights = [height for height, _, _ in ends]
    for row in range(1, len(heights)):
        heights[row] = max(heights[row], heights[row - 1] + _LABEL_STEP)
    over = max([0.0, *(height - _BOTTOM for height in heights)])
    return [
        (round(height - over, 1), label, color)
        for height, (_, label, color) in zip(heights, ends, strict=True)
    ]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two powers of ten; at most eight."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks: list[float] = []
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        ticks = [tick for tick in ticks if 10**low <= tick <= 10**high]
        if len(ticks) <= 8:
            break
    return ticks


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
    steps, marks, panels = _select_curves(history)
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True)
    for axis, (name, curves) in zip(axes, panels.items(), strict=True):
        axis.set_prop_cycle(color=_COLORS)
        for label, values in curves.items():
            # A dollar would begin a formula.
            axis.semilogy(steps, values, label=label.replace("$", r"\$"))
        for step, _ in marks:
            axis.axvline(step, color="gray", linewidth=0.6, linestyle=":")
        axis.set_ylabel(name)
        axis.grid(alpha=0.25)
        if axis.has_data():
            axis.legend(fontsize="small", ncols=2)
    for step, text in marks:
        place = {"xycoords": ("data", "axes fraction"), "va": "bottom"}
        axes[0].annotate(f" {text}", (step, 1), color="gray", **place)
    axes[-1].set_xlabel("step")
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def check_history_path(path: str | os.PathLike[str]) -> Path:
    """Return where losses would be written.

    Raises:
        ValueError: if the extension is none of `EXTENSIONS`.
        OSError: if the path is a folder, or its folder is missing.
        ImportError: if matplotlib is needed and not installed.
    """
    target = Path(path)
    if target.suffix.lower() not in EXTENSIONS:
        raise ValueError(
            f"losses are written as {', '.join(EXTENSIONS)}, got {target.name!r}."
        )
    check_place(target)
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
        path: file name, .png, .svg, .pdf or .csv; written as a whole or not at all.

    Raises:
        ValueError: if the extension is another one, or the history has no steps.
        OSError: if the file cannot be written.
        ImportError: if matplotlib is needed and not installed.
    """
    target = check_history_path(path)
    with atomic_write(target) as beside:
        if target.suffix.lower() == ".csv":
            stream = io.StringIO()
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(map(as_cell, history))
            for row in zip(*history.values(), strict=True):
                writer.writerow([f"{float(value):.7g}" for value in row])
            beside.write_text(stream.getvalue(), encoding="utf-8")
        else:
            plot_history(history).savefig(
                beside, format=target.suffix[1:].lower(), dpi=120
            )
    return target
