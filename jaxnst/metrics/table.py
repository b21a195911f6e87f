"""Metrics as a table for people."""

from collections.abc import Mapping

from .measuring import Metrics


_HEADINGS = {
    "lpips": "lpips",
    "gram_gap": "gram",
    "wasserstein_gap": "wasserst.",
    "bures_gap": "bures",
    "palette_gap": "palette",
    "style_detail": "detail/s",
    "content_detail": "detail/c",
}
LEGEND = """\
lpips      distance from the content as people see it; 0: the same
gram, wasserst., bures, palette
           style still to be reached; 0: reached, 1: as far as the content picture
detail/s, detail/c
           fine detail over that of style and content; << 1: blurred, >> 1: noisy"""


def format_table(rows: Mapping[str, Metrics]) -> str:
    """Return a line of headings and a line for each picture.

    Args:
        rows: {name of the picture: its metrics}.
    """
    width = max(map(len, rows), default=0)
    lines = [" " * width + "".join(f"{text:>11}" for text in _HEADINGS.values())]
    for name, metrics in rows.items():
        cells = [f"{float(getattr(metrics, field)):11.3f}" for field in _HEADINGS]
        lines.append(f"{name:{width}}" + "".join(cells))
    return "\n".join(lines)
