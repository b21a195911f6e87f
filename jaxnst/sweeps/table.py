"""Read what a batch paints, from a table, JSON, TOML or a list.

A row has columns named like the arguments of `jaxnst.stylize`. A blank cell is not set.
Only the form is checked here; `jaxnst.sweeps.jobs` checks the rest.
"""

import codecs
import csv
import dataclasses
import io
import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jaxnst._checks import suggestion
from jaxnst.parsing import SETTINGS


COLUMNS = ("content", "style", "output", *SETTINGS)
# Separators of cells; the first one if none fits the header.
_DELIMITERS = ",;\t"
# A row or a column that begins with it is a note.
_NOTE = "#"
_PARTS = ("defaults", "jobs")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of a table, as it was given.

    Attributes:
        number: its row, as a spreadsheet shows it; or its place in the list, from 1.
        values: {column: value}, text where it came as text.
    """

    number: int
    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobTable:
    """All rows of a file or a list.

    Attributes:
        name: name of the file; empty for a list.
        noun: what a row is called in it: "row" or "job".
        folder: folder in which its relative paths start.
        defaults: {column: value} of all rows that do not say otherwise.
        items: the rows.
        problems: (number of the row, what is wrong); number 0 for none in particular.
    """

    name: str = ""
    noun: str = "job"
    folder: Path
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    items: tuple[Entry, ...]
    problems: tuple[tuple[int, str], ...] = ()

    def place(self, number: int) -> str:
        """Return what a row is called in messages, such as `jobs.csv row 4`.

        Args:
            number: number of the row; 0 for the whole table.
        """
        if not number:
            return self.name or "jobs"
        return f"{self.name} {self.noun} {number}".strip()


def read_jobs(
    source: str | os.PathLike[str] | Iterable[Mapping[str, Any]],
) -> JobTable:
    """Return the rows of a file or a list.

    Args:
        source: path of a file, or mappings. Files: `.csv` and `.tsv` in UTF-8 or
            UTF-16, with cells separated by commas, semicolons or tabs and column names
            in the first row; rows and columns that begin with # are notes. `.json` with
            a list of objects or {"defaults": {...}, "jobs": [...]}. `.toml` with
            [defaults] and [[jobs]].

    Raises:
        ValueError: if it cannot be read so, or holds no row.
        OSError: if the file cannot be read.
    """
    if not isinstance(source, str | os.PathLike):
        return _from_document({"jobs": list(source)}, name="", folder=Path())
    path = Path(source)
    extension = path.suffix.lower()
    if extension not in _READERS and path.is_file():
        raise ValueError(
            f"jobs {path}: unknown extension {extension!r}; known: "
            f"{', '.join(_READERS)}"
        )
    text = _read_text(path)
    return _READERS[extension](path, text)


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"jobs: no such file: {path}") from None
    except IsADirectoryError:
        raise IsADirectoryError(f"jobs {path} is a folder; give a file") from None
    except OSError as error:
        raise OSError(f"jobs: cannot read {path}: {error.strerror}") from error
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path.name} is not in UTF-8 (line {line}); save it so, spreadsheets call "
            "it 'CSV UTF-8'."
        ) from None


def _read_table(path: Path, text: str) -> JobTable:
    delimiter = _delimiter(text)
    name, noun = path.name, "row"
    try:
        records = list(_records(text, delimiter))
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
    if not records:
        raise ValueError(f"{name} is empty.")
    (header_number, header), *rows = records
    problems: list[tuple[int, str]] = []
    columns: list[str | None] = []
    for cell in header:
        column, problem = _column(cell, "column") if cell else (None, None)
        if column is not None and column in columns:
            column, problem = None, f"column {cell!r} is there twice"
        columns.append(column)
        if problem is not None:
            problems.append((header_number, problem))
    if not any(columns):
        raise ValueError(
            f"{name} row {header_number} names no column that is known; the first row "
            "must be like: content,style,size"
        )
    jobs = []
    for number, cells in rows:
        values = {}
        for index, (column, cell) in enumerate(zip_longest(columns, cells)):
            if not cell:
                continue
            if column is not None:
                values[column] = cell
            elif index >= len(header):
                problems.append(
                    (
                        number,
                        f"{cell!r} is one cell more than there are columns; a cell "
                        f"that holds {delimiter!r} must stand in quotes",
                    )
                )
            elif not header[index]:
                problems.append((number, f"{cell!r} is in a column without a name"))
        jobs.append(Entry(number=number, values=values))
    return _not_empty(
        JobTable(
            name=name,
            noun=noun,
            folder=path.parent,
            items=tuple(jobs),
            problems=tuple(problems),
        )
    )


def _delimiter(text: str) -> str:
    """Return the separator that gives the header the most known columns."""

    def num_known(delimiter: str) -> int:
        try:
            _, header = next(_records(text, delimiter), (1, []))
        except ValueError:
            return 0
        return sum(_column(cell, "column")[0] is not None for cell in header)

    return max(_DELIMITERS, key=num_known)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of every row, without blank rows and notes."""
    is_start = True

    def lines() -> Iterator[str]:
        """Blank the notes: a quote in one would begin a cell of many lines."""
        nonlocal is_start
        for line in io.StringIO(text, newline=""):
            is_note = is_start and line.lstrip().startswith(_NOTE)
            is_start = False
            yield "\n" if is_note else line

    reader = csv.reader(
        lines(), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    number = 0
    try:
        for number, record in enumerate(reader, start=1):
            cells = [cell.strip() for cell in record]
            # A spreadsheet puts a note with a comma into quotes.
            is_note = cells[:1] and cells[0].startswith(_NOTE) and not any(cells[1:])
            if any(cells) and not is_note:
                yield number, cells
            is_start = True
    except csv.Error as error:
        raise ValueError(f"row {number + 1}: {error}; look at its quotes.") from None


def _read_json(path: Path, text: str) -> JobTable:
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from None
    if isinstance(document, list):
        document = {"jobs": document}
    return _from_document(document, name=path.name, folder=path.parent)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} is there twice in one object")
        found[key] = value
    return found


def _read_toml(path: Path, text: str) -> JobTable:
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"{path.name} is not TOML: {error}") from None
    return _from_document(document, name=path.name, folder=path.parent)


_READERS: Mapping[str, Callable[[Path, str], JobTable]] = MappingProxyType(
    {
        ".csv": _read_table,
        ".tsv": _read_table,
        ".json": _read_json,
        ".toml": _read_toml,
    }
)


def _from_document(document: Any, *, name: str, folder: Path) -> JobTable:
    place = name or "jobs"
    if not isinstance(document, dict):
        raise ValueError(f"{place} must be a list of jobs, or have 'jobs' in it.")
    for key in document:
        if key not in _PARTS:
            raise ValueError(
                f"{place} has {key!r}.{suggestion(key, _PARTS)} Known: "
                f"{', '.join(_PARTS)}."
            )
    entries, defaults = document.get("jobs", []), document.get("defaults", {})
    if not isinstance(entries, list) or not isinstance(defaults, dict):
        raise ValueError(f"{place}: 'jobs' must be a list, and 'defaults' an object.")
    problems: list[tuple[int, str]] = []

    def named(number: int, entry: Any) -> dict[str, Any]:
        if not isinstance(entry, Mapping):
            problems.append((number, f"expected names and values, got {entry!r:.60}"))
            return {}
        values: dict[str, Any] = {}
        for key, value in entry.items():
            column, problem = _column(str(key), "name")
            if column in values:
                problem = f"`{column}` is there twice"
            if problem is not None:
                where = "" if number else "defaults: "
                problems.append((number, f"{where}{problem}"))
            elif column is not None and not _is_blank(value):
                values[column] = value
        return values

    checked_defaults = named(0, defaults)
    if "output" in checked_defaults:
        problems.append((0, "defaults: `output` must be one for each job"))
        del checked_defaults["output"]
    jobs = tuple(
        Entry(number=number, values=named(number, entry))
        for number, entry in enumerate(entries, start=1)
    )
    return _not_empty(
        JobTable(
            name=name,
            folder=folder,
            defaults=checked_defaults,
            items=jobs,
            problems=tuple(problems),
        )
    )


def _is_blank(value: object) -> bool:
    """Whether a value is not set; pandas has NaN for an empty cell."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def _column(text: str, noun: str) -> tuple[str | None, str | None]:
    """Return the column of a name, or why there is none; neither for a note.

    `Style Weight` is `style_weight`.
    """
    name = re.sub(r"[\s_-]+", "_", text.strip().lower())
    if name in COLUMNS:
        return name, None
    if name.startswith(_NOTE):
        return None, None
    hint = suggestion(name, COLUMNS) or f" Known: {', '.join(COLUMNS)}."
    return None, f"unknown {noun} {text!r}.{hint}"


def _not_empty(table: JobTable) -> JobTable:
    if not table.items:
        raise ValueError(f"{table.name or 'the list'} holds no {table.noun} to paint.")
    return table
