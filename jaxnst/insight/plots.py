"""Losses over the steps: drawn, as a figure or in a report, or as a table."""

import csv
import functools
import io
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxnst._checks import plain
from jaxnst.images.files import atomic_write, check_place
from jaxnst.sweeps.axes import MAX_LABEL
from jaxnst.sweeps.manifest import as_cell


if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTENSIONS = (".png", ".svg", ".pdf", ".csv")
_SUMS = ("total", "content", "style", "tv")
# What is in a panel: the sums, or the layers of one loss.
_PANELS = {
    "": "all",
    "style": "style left, by layer",
    "content": "content lost, by layer",
}
# Told apart by the color-blind, on white and on black.
_COLORS = ("#0072b2", "#56b4e9", "#009e73", "#b8a000", "#e69f00", "#d55e00")
_COLORS += ("#cc79a7", "#8a63d2")

History = Mapping[str, np.ndarray]


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
        ValueError: if the history has no steps.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    if not len(history["total"]):
        raise ValueError("no step was painted, so there are no losses to draw.")
    steps = np.asarray(history["step"], float)
    sizes = np.asarray(history["size"]).astype(int)
    # Each size begins anew, so lines are broken there.
    starts = np.flatnonzero(np.diff(sizes)) + 1
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots(len(_PANELS), sharex=True)
    panels = dict(zip(_PANELS, axes, strict=True))
    for kind, axis in panels.items():
        axis.set(yscale="log", ylabel=_PANELS[kind])
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("")
        axis.set_prop_cycle(color=_COLORS)
        axis.grid(alpha=0.25)
        for start in (0, *starts):
            axis.axvline(steps[start], color="gray", linewidth=0.6, linestyle=":")
    for start in (0, *starts):
        place = {"xycoords": ("data", "axes fraction"), "va": "bottom"}
        text = f" {sizes[start]} px"
        axes[0].annotate(text, (steps[start], 1), color="gray", **place)
    for name, values in history.items():
        kind, _, layer = name.partition("/")
        axis = panels.get(kind if layer else "")
        is_shown = (np.asarray(values) > 0) & np.isfinite(values)
        if axis is None or not (layer or name in _SUMS) or not is_shown.any():
            continue
        curve = np.where(is_shown, values, np.nan)
        # A dollar would begin a formula.
        label = plain(layer or name)[:MAX_LABEL].replace("$", r"\$")
        x, y = (np.insert(each, starts, np.nan) for each in (steps, curve))
        axis.plot(x, y, label=label)
    for axis in axes:
        low, high = axis.get_ylim()
        factors = (1, 2, 5) if high > 5 * low else range(1, 10)
        axis.yaxis.set_major_locator(LogLocator(subs=factors, numticks=5))
        if axis.get_legend_handles_labels()[1]:
            outside = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
            axis.legend(fontsize="small", frameon=False, **outside)
    axes[-1].set_xlabel("step")
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def draw_svg(history: History) -> str:
    """Return the figure of `plot_history` as an element of an HTML page."""
    return as_svg(functools.partial(plot_history, history))


def as_svg(figure_fn: Callable[[], "Figure"]) -> str:
    """Return a figure as an element of an HTML page.

    Its text is text. Lines that are not curves have the color of the page's text.
    """
    from matplotlib import style

    stream = io.StringIO()
    about = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # Whatever style the user has set; with equal ids, so equal bytes, in every run.
    looks = ["default", {"svg.fonttype": "none", "svg.hashsalt": "jaxnst"}]
    with style.context(looks), warnings.catch_warnings():
        # The browser has the letters that matplotlib's font lacks.
        warnings.simplefilter("ignore")
        figure_fn().savefig(stream, format="svg", transparent=True, metadata=about)
    _, start, element = stream.getvalue().partition("<svg")
    return start + element.replace("stroke: #000000", "stroke: currentColor")


def check_history_path(path: str | os.PathLike[str]) -> Path:
    """Return where losses would be written; raises an error if they cannot be."""
    target = Path(path)
    if target.suffix.lower() not in EXTENSIONS:
        raise ValueError(
            f"losses are written as {', '.join(EXTENSIONS)}, got {target.name!r}."
        )
    return check_place(target)


def save_history(history: History, path: str | os.PathLike[str]) -> Path:
    """Write losses as a figure or, as .csv, as a table; return where the file is.

    Args:
        history: history of a `Result`.
        path: file name, .png, .svg, .pdf or .csv; written as a whole or not at all.

    Raises:
        ValueError: if the extension is another one, or the history has no steps.
        OSError: if the file cannot be written.
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
