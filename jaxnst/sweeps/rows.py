"""Rows as files: written as JSON, and read with no trust in what they say."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .members import Member, Row


_KINDS: Mapping[str, tuple[type, ...]] = {
    "index": (int,),
    "labels": (dict,),
    "settings": (dict,),
    "file": (str, type(None)),
    "sha256": (str, type(None)),
    "height": (int,),
    "width": (int,),
    "steps": (int,),
    "stopped": (str, type(None)),
    "losses": (dict,),
    "metrics": (dict,),
    "seconds": (int, float),
    "error": (str, type(None)),
}


def as_plain(value: object) -> Any:
    """Return a mapping or a NumPy number as `json` knows it; for its `default`.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):
        return value.item()  # type: ignore[attr-defined]
    raise TypeError(f"{type(value).__name__} cannot be kept in JSON: {value!r}")


def row_fields(row: Row) -> dict[str, Any]:
    """Return a row as a dict, in the order of its fields."""
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}


def encode_row(row: Row) -> str:
    """Return a row as JSON.

    Raises:
        TypeError: if it holds what JSON cannot.
    """
    return json.dumps(row_fields(row), default=as_plain, indent=1) + "\n"


def decode_row(text: str) -> Row:
    """Return the row that `encode_row` wrote.

    Raises:
        ValueError: if the text is anything else.
    """
    fields = json.loads(text)
    if not isinstance(fields, dict) or fields.keys() != _KINDS.keys():
        raise ValueError("not the fields of a row")
    for name, kinds in _KINDS.items():
        if not isinstance(fields[name], kinds) or isinstance(fields[name], bool):
            raise ValueError(f"`{name}` is {fields[name]!r}")
    for name in ("losses", "metrics"):
        numbers = fields[name].values()
        if not all(isinstance(number, int | float) for number in numbers):
            raise ValueError(f"`{name}` are {fields[name]!r}")
    return Row(**fields)


def read_row(text: str, member: Member, picture: Path) -> Row | None:
    """Return a member's row if it can be trusted, else None.

    Args:
        text: of the row.
        member: whose it should be.
        picture: where its picture should lie; read to compare its hash.
    """
    try:
        row = decode_row(text)
    except (ValueError, RecursionError):
        return None
    if row.index != member.index or row.labels != dict(member.labels):
        return None
    if row.error is not None:
        return row if row.file is None else None
    if row.file != picture.name or row.sha256 is None:
        return None
    try:
        return row if row.sha256 == file_sha256(picture) else None
    except OSError:
        return None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
