"""The list of all pictures of a sweep, for programs (JSON) and for tables (CSV)."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .axes import Axis, Row
from .sheet import places


FORMAT = 1
LOSSES = ("total", "content", "style", "tv")
# Spreadsheets take these for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def as_plain(value: object) -> Any:
    """Return a mapping or a NumPy number as `json` knows it, for its `default`.

    Args:
        value: the mapping or number.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):
        return value.item()  # type: ignore[attr-defined]
    raise TypeError(f"{type(value).__name__} cannot be kept in JSON: {value!r}")


def fields_of_record(
    record: Mapping[str, Any], history: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of a `Row` that the record of its picture holds.

    Args:
        record: record of the picture.
        history: {loss: its values}, such as `record["trace"]`; None where not finite.

    Returns:
        "height", "width", "steps", "stopped", "losses" and "metrics".

    Raises:
        KeyError, TypeError, ValueError: if the record is not one of a picture.
    """
    made = record["result"]
    last = {name: history[name][-1] for name in LOSSES if len(history.get(name, ()))}
    return {
        "height": int(made["height"]),
        "width": int(made["width"]),
        "steps": int(made["steps"]),
        "stopped": made["stopped"],
        "losses": {n: float(loss) for n, loss in last.items() if loss is not None},
        "metrics": dict(record.get("metrics", {})),
    }


def status_of(row: Row | None) -> str:
    """Return "done", "failed" or "missing".

    Args:
        row: row of the member; None if there is none.
    """
    if row is None:
        return "missing"
    return "failed" if row.file is None else "done"


def make_manifest(
    axes: Sequence[Axis],
    mode: str,
    rows: Mapping[int, Row],
    *,
    identity: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the manifest, as JSON can hold it.

    Args:
        axes: at least one axis.
        mode: "product" or "zip".
        rows: {index: row} of the members that are done or failed.
        identity: everything that decides the pictures besides the axes.

    Returns:
        "format", "mode", "axes": [{"name", "labels"}], "identity", "counts": {"done",
        "failed", "missing"}, and "members": for each its "status" and the fields of
        `Row`; for a missing member only its index and labels. Numbers that are not
        finite are None.
    """
    members = []
    counts = {"done": 0, "failed": 0, "missing": 0}
    for index, place in enumerate(places(axes, mode)):
        row = rows.get(index)
        status = status_of(row)
        counts[status] += 1
        if row is None:
            labels = [axis.labels[i] for axis, i in zip(axes, place, strict=True)]
            names = [axis.name for axis in axes]
            fields = {"labels": dict(zip(names, labels, strict=True))}
        else:
            fields = dataclasses.asdict(row)
        members.append({"index": index, "status": status, **fields})
    manifest = {
        "format": FORMAT,
        "mode": mode,
        "axes": [{"name": axis.name, "labels": list(axis.labels)} for axis in axes],
        "identity": identity or {},
        "counts": counts,
        "members": members,
    }
    return _finite(json.loads(json.dumps(manifest, default=as_plain)))


def manifest_json(
    axes: Sequence[Axis],
    mode: str,
    rows: Mapping[int, Row],
    *,
    identity: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of `manifest.json`.

    Args:
        axes: see `make_manifest`.
        mode: see `make_manifest`.
        rows: see `make_manifest`.
        identity: see `make_manifest`.
    """
    manifest = make_manifest(axes, mode, rows, identity=identity)
    return json.dumps(manifest, indent=1, allow_nan=False) + "\n"


def manifest_csv(axes: Sequence[Axis], mode: str, rows: Mapping[int, Row]) -> bytes:
    """Return the bytes of `manifest.csv`.

    It has one column for each axis, then other settings that differ between members,
    then status, steps, losses, metrics and the rest. It is UTF-8, with a byte order
    mark (which Excel needs and other programs dislike) only if it holds more than
    ASCII. Text that a spreadsheet would take for a formula starts with an apostrophe.

    Args:
        axes: at least one axis.
        mode: "product" or "zip".
        rows: {index: row} of the members that are done or failed.
    """
    names = [axis.name for axis in axes]
    others = _differing(rows, names)
    losses = [
        name for name in LOSSES if any(name in row.losses for row in rows.values())
    ]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    head = ["index", *names, *others, "status", "stopped", "steps", "width", "height"]
    metrics = list(dict.fromkeys(n for row in rows.values() for n in row.metrics))
    head += [*(f"{name}_loss" for name in losses), *metrics]
    head += ["seconds", "file", "sha256", "error"]
    writer.writerow([_cell(name) for name in head])
    for index, place in enumerate(places(axes, mode)):
        row = rows.get(index)
        cells = [index, *(_value(*pair) for pair in zip(axes, place, strict=True))]
        if row is None:
            cells += [None] * len(others) + ["missing"]
        else:
            cells += [row.settings.get(name) for name in others]
            cells += [status_of(row), row.stopped, row.steps, row.width, row.height]
            cells += [row.losses.get(name) for name in losses]
            cells += [row.metrics.get(name) for name in metrics]
            cells += [row.seconds, row.file, row.sha256, row.error]
        cells += [None] * (len(head) - len(cells))
        writer.writerow([_cell(value) for value in cells])
    text = stream.getvalue()
    return text.encode("utf-8" if text.isascii() else "utf-8-sig", errors="replace")


def _value(axis: Axis, number: int) -> object:
    """Return a value that is a number, or the label of any other."""
    value = axis.values[number]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else axis.labels[number]


def _differing(rows: Mapping[int, Row], names: Sequence[str]) -> list[str]:
    """Return the settings that are no axis and yet not the same in all rows."""
    found: dict[str, set[str]] = {}
    for row in rows.values():
        for name, value in row.settings.items():
            found.setdefault(name, set()).add(json.dumps(value, default=as_plain))
    return [name for name in found if len(found[name]) > 1 and name not in names]


def _cell(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    if not isinstance(value, str):
        value = json.dumps(value, default=as_plain)
    text = " ".join(value.split()) if "\n" in value or "\r" in value else value
    return f"'{text}" if text.startswith(_FORMULA) else text


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return value
