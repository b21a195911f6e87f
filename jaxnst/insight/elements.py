"""Small parts of the report's page."""

import html
from collections.abc import Sequence

import numpy as np

from .pictures import data_url, shrunk


# Longest sides of pictures in the report: those to look at, and those in rows.
LARGE, SMALL = 768, 320


def bar(value: float, full: float) -> str:
    """Return a cell of a table: a number, and how much of the full one it is."""
    width = 5 * min(max(value / full, 0), 1)
    return f'<td class="bar"><i style="width: {width:.2f}rem"></i>{value:.2f}</td>'


def pins(places: Sequence[tuple[tuple[float, float], int]], image: np.ndarray) -> str:
    """Return numbers on a picture, at (row, column) in its pixels."""
    return "".join(
        f'<span class="pin" style="top: {100 * y / image.shape[0]:.2f}%; '
        f'left: {100 * x / image.shape[1]:.2f}%">{number}</span>'
        for (y, x), number in places
    )


def figure(image: np.ndarray, caption: str, longest: int = SMALL) -> str:
    """Return a picture with its caption below."""
    return (
        f"<figure>{img(image, caption, longest)}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def img(image: np.ndarray, alt: str, longest: int) -> str:
    """Return a picture, whole in the page."""
    small = shrunk(image, longest)
    height, width = small.shape[:2]
    return (
        f'<img src="{data_url(small)}" width="{width}" height="{height}" '
        f'alt="{escape(alt)}">'
    )


def escape(text: str) -> str:
    """Return text as it stands in HTML."""
    return html.escape(text, quote=True)
