"""The list of all pictures of a sweep, for programs (JSON) and for tables (CSV)."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .axes import Axis, Row, is_number, make_members


_FORMAT = 1
_LOSSES = ("total", "content", "style", "tv")
# Spreadsheets take text that begins so for a formula, or drop an apostrophe.
_ESCAPED = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def fields_of_record(
    record: Mapping[str, Any], history: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of a `Row` that the record of its picture holds.

    The history is {loss: its values}, or `record["trace"]`, with None for NaN.

    Raises:
        KeyError, TypeError, ValueError: if the record is not one of a picture.
    """
    made = record["result"]
    last = {name: history[name][-1] for name in _LOSSES if len(history.get(name, ()))}
    return {
        "height": int(made["height"]),
        "width": int(made["width"]),
        "steps": int(made["steps"]),
        "stopped": made["stopped"],
        "losses": {n: float(loss) for n, loss in last.items() if loss is not None},
        "metrics": dict(record.get("metrics", {})),
    }


def status_of(row: Row | None) -> str:
    """Return "done", "failed" or "missing"."""
    if row is None:
        return "missing"
    return "failed" if row.file is None else "done"


def manifest_json(
    axes: Sequence[Axis],
    mode: str,
    rows: Mapping[int, Row],
    *,
    identity: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of `manifest.json`; its `members` have the fields of `Row`.

    A missing member has only index and labels. Numbers that are not finite are null.
    """
    members = []
    counts = {"done": 0, "failed": 0, "missing": 0}
    for member in make_members(axes, mode):
        row = rows.get(member.index)
        status = status_of(row)
        counts[status] += 1
        fields = {"labels": member.labels} if row is None else dataclasses.asdict(row)
        members.append({"index": member.index, "status": status, **fields})
    manifest = {
        "format": _FORMAT,
        "mode": mode,
        "axes": [{"name": axis.name, "labels": list(axis.labels)} for axis in axes],
        "identity": identity or {},
        "counts": counts,
        "members": members,
    }
    text = json.dumps(manifest)
    finite = json.loads(text, parse_constant=lambda name: None)  # NaN, Infinity
    return json.dumps(finite, indent=1, allow_nan=False) + "\n"


def manifest_csv(axes: Sequence[Axis], mode: str, rows: Mapping[int, Row]) -> bytes:
    """Return the bytes of `manifest.csv`.

    It has one column for each axis, then other settings that differ between members,
    then status, steps, losses, metrics and the rest. It is UTF-8, with a byte order
    mark (which Excel needs and other programs dislike) only if it holds more than
    ASCII. Text that a spreadsheet would take for a formula, or that begins with an
    apostrophe, gets an apostrophe in front, which a reader has to remove.
    """
    names = [axis.name for axis in axes]
    others = _differing(rows, names)
    losses = [name for name in _LOSSES if any(name in r.losses for r in rows.values())]
    metrics = list(dict.fromkeys(n for row in rows.values() for n in row.metrics))
    stream = io.StringIO(newline="")
    head = ["index", *names, *others, "status", "stopped", "steps", "width", "height"]
    head += [*(f"{name}_loss" for name in losses), *metrics]
    head += ["seconds", "file", "sha256", "error"]
    writer = csv.writer(stream)
    writer.writerow(map(as_cell, head))
    for member in make_members(axes, mode):
        cells: dict[str, Any] = {"index": member.index}
        for name, value in member.settings.items():
            cells[name] = value if is_number(value) else member.labels[name]
        row = rows.get(member.index)
        if row is not None:
            cells |= {name: row.settings.get(name) for name in others}
            cells |= {f"{name}_loss": loss for name, loss in row.losses.items()}
            cells |= {**row.metrics, **vars(row)}
        cells["status"] = status_of(row)
        writer.writerow(as_cell(cells.get(name)) for name in head)
    text = stream.getvalue()
    return text.encode("utf-8" if text.isascii() else "utf-8-sig", errors="replace")


def _differing(rows: Mapping[int, Row], names: Sequence[str]) -> list[str]:
    """Return the settings that are no axis and yet not the same in all rows."""
    found: dict[str, set[str]] = {}
    for row in rows.values():
        for name, value in row.settings.items():
            found.setdefault(name, set()).add(json.dumps(value))
    return [name for name in found if len(found[name]) > 1 and name not in names]


def as_cell(value: object) -> object:
    """Return a value as a cell that no spreadsheet takes for a formula."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, int | float):
        return value
    if not isinstance(value, str):
        value = json.dumps(value)
    return f"'{value}" if value.startswith(_ESCAPED) else value
