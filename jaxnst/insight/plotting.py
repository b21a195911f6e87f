"""Losses over the steps, drawn with matplotlib or written as a table."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnst.images.files import atomic_write


if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTENSIONS = (".png", ".svg", ".pdf", ".csv")


def plot_history(history: Mapping[str, np.ndarray], *, title: str = "") -> "Figure":
    """Draw every loss term over the steps, with the sizes marked.

    Args:
        history: of a `Result`.
        title: of the figure.

    Returns:
        A matplotlib figure of three panels: the sums, style by layer, content by layer.
        All but the total are before weights; style terms are 1 where the content
        picture stands and 0 where the painting does.

    Raises:
        ImportError: without matplotlib.
        ValueError: if nothing was painted.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "drawing losses needs matplotlib: pip install 'jaxnst[plot]'"
        ) from None
    if not len(history["total"]):
        raise ValueError("no step was painted, so there are no losses to draw.")
    steps = np.asarray(history["step"])
    sizes = np.asarray(history["size"])
    panels = {
        "all": [
            name for name in ("total", "content", "style", "tv") if name in history
        ],
        "style left, by layer": [n for n in history if n.startswith("style/")],
        "content lost, by layer": [n for n in history if n.startswith("content/")],
    }
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True)
    starts = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist()]
    for axis, (name, columns) in zip(axes, panels.items(), strict=True):
        for column in columns:
            values = np.asarray(history[column], float)
            if not np.any(values > 0):
                continue
            # A size begins anew: no line from one to the next.
            drawn = np.where(values > 0, values, np.nan)
            drawn = np.insert(drawn, starts[1:], np.nan)
            places = np.insert(steps.astype(float), starts[1:], np.nan)
            axis.semilogy(places, drawn, label=column.partition("/")[2] or column)
        for start in starts:
            axis.axvline(steps[start], color="gray", linewidth=0.6, linestyle=":")
        axis.set_ylabel(name)
        axis.grid(alpha=0.25)
        if axis.has_data():
            axis.legend(fontsize="small", ncols=2)
    for start in starts:
        axes[0].annotate(
            f" {int(sizes[start])} px",
            (steps[start], 1),
            xycoords=("data", "axes fraction"),
            va="bottom",
            fontsize="small",
            color="gray",
        )
    axes[-1].set_xlabel("step")
    if title:
        figure.suptitle(title)
    return figure


def check_history_path(path: str | os.PathLike[str]) -> Path:
    """Return where a history would be written, if it can be.

    Raises:
        ValueError: if the extension is none of `EXTENSIONS`.
        OSError: if it is a folder, or its folder is missing.
        ImportError: if it would be drawn and matplotlib is missing.
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
            raise ImportError(
                "drawing losses needs matplotlib: pip install 'jaxnst[plot]'; or write "
                "them as .csv"
            ) from None
    return target


def save_history(
    history: Mapping[str, np.ndarray], path: str | os.PathLike[str]
) -> Path:
    """Write losses as a figure or, as .csv, as a table; return where it is.

    Raises:
        ValueError, OSError, ImportError: as `check_history_path` and `plot_history`.
    """
    target = check_history_path(path)
    with atomic_write(target) as beside:
        if target.suffix.lower() == ".csv":
            beside.write_text(_table(history), encoding="utf-8")
        else:
            figure: Any = plot_history(history)
            figure.savefig(beside, format=target.suffix[1:].lower(), dpi=120)
    return target


def _table(history: Mapping[str, np.ndarray]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(history)
    for row in zip(*history.values(), strict=True):
        writer.writerow([f"{float(value):.7g}" for value in row])
    return stream.getvalue()
