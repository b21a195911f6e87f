"""What a batch paints: read from a table, JSON, TOML or a list, and checked whole.

A row has columns named like the arguments of `jaxnst.stylize`. A blank cell is not set.
"""

import codecs
import contextlib
import csv
import dataclasses
import io
import itertools
import json
import math
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxnst._checks import (
    check_list,
    check_path,
    expand_home,
    no_such_file,
    one_line,
    path_text,
    shown,
    suggestion,
)
from jaxnst.config import INITS, SETTINGS
from jaxnst.images import check_format, read_record
from jaxnst.pretrained.formats import SUFFIXES
from jaxnst.transfer.result import FINISHED

from .axes import picture_name
from .jobs import JobLoader, PictureJob, find_difference, is_in_registry, listed


COLUMNS = ("content", "style", "output", *SETTINGS)
# Separators of cells; the first one if the header has none.
_DELIMITERS = ",;\t"
# A row or a column that begins with it is a note.
_NOTE = "#"
_PARTS = ("defaults", "jobs")
_EXTENSIONS = (".csv", ".tsv", ".json", ".toml")
# Why pictures ended that are painted again.
_UNFINISHED = ("interrupted", "not finite")
# Limit of a table, in bytes; a device may have no end.
_MAX_TABLE = 2**26
# More problems are seldom read.
_MAX_PROBLEMS = 20

# (number of the row, or 0 for the whole table; what is wrong with it)
Problem = tuple[int, str]


class BadJobs(ValueError):
    """Some jobs cannot be painted, so none was.

    Attributes:
        problems: one line for each problem, in the order of the jobs.
    """

    def __init__(self, problems: Iterable[str]):
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """The first problems, and how many more there are."""
        more = len(self.problems) - _MAX_PROBLEMS
        if more <= 0:
            return self.problems
        return *self.problems[:_MAX_PROBLEMS], f"and {more} more"


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobTable:
    """All rows of a file or a list.

    Attributes:
        name: name of the file; empty for a list.
        noun: name of a row in messages, "row" or "job".
        folder: folder in which its relative paths start.
        defaults: {column: value} of all rows that do not say otherwise.
        rows: {number: {column: value}}. A value is text where it came as text. The
            number is that of a spreadsheet, or the place in the list, from 1.
    """

    name: str
    noun: str = "job"
    folder: Path
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: dict[int, dict[str, Any]] = dataclasses.field(default_factory=dict)
    problems: list[Problem] = dataclasses.field(default_factory=list)

    def place(self, number: int) -> str:
        """Return the name of a row in messages, such as `jobs.csv row 4`."""
        if not number:
            return self.name or "jobs"
        return f"{self.name} {self.noun} {number}".strip()

    def columns(self, number: int, names: Iterable[str], noun: str) -> list[str | None]:
        """Return a column for each name; None for a note, and for what is wrong.

        `Style Weight` is `style_weight`.
        """
        where = "" if number else "defaults: "
        found: list[str | None] = []
        for name in names:
            column = re.sub(r"[\s_-]+", "_", name.strip().lower())
            is_known = column in COLUMNS and column not in found
            found.append(column if is_known else None)
            if is_known or not column or column.startswith(_NOTE):
                continue
            if column in COLUMNS:
                problem = f"{noun} {shown(name)} is there twice"
            else:
                hint = suggestion(column, COLUMNS) or f" Known: {', '.join(COLUMNS)}."
                problem = f"unknown {noun} {shown(name)}.{hint}"
            self.problems.append((number, where + problem))
        return found


def read_jobs(source: str | os.PathLike[str] | Iterable[Mapping[str, Any]]) -> JobTable:
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
        entries = check_list("jobs", source, "a file or a list of mappings")
        table = _from_document(entries, name="", folder=Path())
    else:
        path = Path(check_path("jobs", source))
        extension = path.suffix.lower()
        if extension not in _EXTENSIONS and path.is_file():  # it may be a pipe
            raise ValueError(
                f"jobs {path}: unknown extension {shown(extension)}; known: "
                f"{', '.join(_EXTENSIONS)}"
            )
        is_document = extension in (".json", ".toml")
        table = (_read_document if is_document else _read_table)(path, _read_text(path))
    if not table.rows:
        raise ValueError(f"{table.name or 'the list'} holds no {table.noun}s to paint.")
    return table


def plan_table(
    table: JobTable,
    output: str | os.PathLike[str],
    *,
    defaults: Mapping[str, Any],
    overwrite: bool = False,
    bits: int = 8,
    quality: int = 95,
) -> list[PictureJob]:
    """Return the jobs of a table; of pictures only the headers are read.

    The defaults here precede those of the table. BadJobs names all that is wrong.
    """
    check_format("any.png", bits=bits, quality=quality)
    folder = Path(check_path("output", output))
    loader = JobLoader(is_whole=False)
    problems = [*table.problems, *_folder_problems(folder)]
    common = place_paths(table.defaults, table.folder) | place_paths(defaults, Path())
    rows = {
        number: common | place_paths(values, table.folder)
        for number, values in table.rows.items()
    }
    jobs: list[PictureJob] = []
    outputs: dict[int, Path] = {}
    for number, values in rows.items():
        arguments, wrong = _parse_row(values)
        job, found = loader.make_job(
            arguments, number=number, place=table.place(number)
        )
        wrong += map(one_line, found)
        try:
            name = _output_name(number, values)
            longest = 0 if job is None else max(job.shape)
            check_format(name, bits=bits, quality=quality, longest=longest)
            outputs[number] = folder / name
            if outputs[number].is_dir():
                wrong.append(f"output {outputs[number]} is a folder")
        except (TypeError, ValueError) as error:
            wrong.append(str(error))
        problems += [(number, text) for text in wrong]
        if job is not None:
            jobs.append(dataclasses.replace(job, output=outputs.get(number)))
    problems += _clashes(rows, outputs, table.noun)
    bad = {number for number, _ in problems}
    for place, job in enumerate(jobs):
        try:
            if job.number not in bad:
                jobs[place] = _resumed(job, loader)
        except (OSError, ValueError) as error:
            text = (
                f"output {job.output} is there already, and {one_line(error)}; "
                "`overwrite` replaces it, or give another `output`"
            )
            problems += [] if overwrite else [(job.number, text)]
    if problems:
        raise BadJobs(_as_lines(problems, table))
    return jobs


def place_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return values whose relative paths start in a folder, and a list for `a; b`."""

    def placed(value: Any) -> Any:
        is_path = isinstance(value, str | os.PathLike)
        return folder / expand_home(value) if is_path else value

    found = dict(values)
    for name in ("content", "style", "init", "network"):
        value = values.get(name)
        if name == "style" and isinstance(value, str) and ";" in value:
            value = [part.strip() for part in value.split(";") if part.strip()]
        if isinstance(value, list | tuple):
            found[name] = [placed(each) for each in value]
        elif isinstance(value, str | os.PathLike):
            is_name = name == "init" and value in INITS
            if name == "network" and isinstance(value, str):
                path = placed(value)
                is_file = path.suffix.lower() in SUFFIXES or os.path.isfile(path)  # noqa: PTH113
                is_name = is_in_registry(value) or not ("/" in value or is_file)
            found[name] = value if is_name else placed(value)
    return found


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TABLE + 1)
    except FileNotFoundError:
        raise FileNotFoundError(f"jobs: {no_such_file(path)}") from None
    except IsADirectoryError:
        raise IsADirectoryError(f"jobs {path} is a folder; give a file") from None
    except OSError as error:
        raise OSError(
            f"jobs: cannot read {path_text(path)}: {error.strerror}"
        ) from error
    if len(data) > _MAX_TABLE:
        raise ValueError(
            f"jobs {path_text(path)} is larger than {_MAX_TABLE // 2**20} MiB."
        )
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
    table = JobTable(name=path.name, noun="row", folder=path.parent)
    try:
        records = list(_records(text))
    except ValueError as error:
        raise ValueError(f"{path.name} {error}") from None
    if not records:
        return table
    (first, header), *rows = records
    columns = table.columns(first, header, "column")
    if not any(columns):
        raise ValueError(
            f"{path.name} row {first} names no column that is known; the first row "
            "must be like: content,style,size"
        )
    for number, cells in rows:
        table.rows[number] = {
            column: cell
            for column, cell in zip(columns, cells, strict=False)
            if column is not None and cell
        }
        for cell, name in itertools.zip_longest(cells, header):
            if not cell or name:
                continue
            problem = f"{shown(cell)} is in a column without a name"
            if name is None:
                problem = (
                    f"{shown(cell)} is one cell more than there are columns; a cell "
                    "that holds a separator must stand in quotes"
                )
            table.problems.append((number, problem))
    return table


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of every row, without blank rows and notes."""
    plain = (line.strip(' "\t\r\n') for line in io.StringIO(text, newline=""))
    header = next((line for line in plain if line and line[0] != _NOTE), "")
    delimiter = max(_DELIMITERS, key=header.count)
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


def _read_document(path: Path, text: str) -> JobTable:
    kind = path.suffix[1:].upper()
    try:
        if kind == "TOML":
            document = tomllib.loads(text)
        else:
            document = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply.") from None
    except ValueError as error:
        # Python's own words about numbers of thousands of digits help nobody.
        fault = "a number has too many digits" if "limit (" in str(error) else error
        raise ValueError(f"{path.name} is not {kind}: {fault}") from None
    return _from_document(document, name=path.name, folder=path.parent)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{shown(key)} is there twice in one object")
        found[key] = value
    return found


def _from_document(document: Any, *, name: str, folder: Path) -> JobTable:
    place = name or "jobs"
    if isinstance(document, list):
        document = {"jobs": document}
    if not isinstance(document, dict):
        raise ValueError(f"{place} must be a list of jobs, or have 'jobs' in it.")
    if unknown := [key for key in document if key not in _PARTS]:
        hint = f"{suggestion(unknown[0], _PARTS)} Known: {', '.join(_PARTS)}."
        raise ValueError(f"{place} has {shown(unknown[0])}.{hint}")
    entries, defaults = document.get("jobs", []), document.get("defaults", {})
    if not isinstance(entries, list) or not isinstance(defaults, dict):
        raise ValueError(f"{place}: 'jobs' must be a list, and 'defaults' an object.")
    table = JobTable(name=name, folder=folder)
    for number, entry in enumerate([defaults, *entries]):
        row = table.defaults if number == 0 else table.rows.setdefault(number, {})
        if not isinstance(entry, Mapping):
            problem = f"expected names and values, got {shown(entry)}"
            table.problems.append((number, problem))
            continue
        columns = table.columns(number, map(str, entry), "name")
        for column, value in zip(columns, entry.values(), strict=True):
            if column is not None and not _is_blank(value):
                row[column] = value
    if table.defaults.pop("output", None) is not None:
        table.problems.append((0, "defaults: `output` must be one for each job"))
    return table


def _is_blank(value: object) -> bool:
    """Whether a value is not set; pandas has NaN for an empty cell."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def _parse_row(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments of `stylize` in a row, and all that is wrong with them."""
    wrong: list[str] = []
    arguments = {name: values[name] for name in ("content", "style") if name in values}
    for name, declared in SETTINGS.items():
        if name in values:
            value = values[name]
            try:
                is_text = isinstance(value, str)
                arguments[name] = declared.parse_fn(value.strip()) if is_text else value
            except ValueError as error:
                wrong.append(f"`{name}`: {error}")
    if isinstance(arguments.get("strength"), str):
        wrong.append("`strength` is a number from 0 to 1 here; maps are for `stylize`")
        del arguments["strength"]
    return arguments, wrong


def _folder_problems(folder: Path) -> Iterator[Problem]:
    """Say why the folder cannot be made or written to; nothing is made."""
    existing = next(
        path for path in (folder, *folder.absolute().parents) if path.exists()
    )
    if not existing.is_dir():
        yield 0, f"output {folder}: {existing} is a file; give a folder"
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield 0, f"output {folder}: {existing} cannot be written to"


def _clashes(
    rows: Mapping[int, Mapping[str, Any]], outputs: Mapping[int, Path], noun: str
) -> Iterator[Problem]:
    """Say which outputs would replace each other, or a picture that is read."""
    inputs: dict[tuple[int, int], str] = {}
    for values in rows.values():
        for name in ("content", "style", "init"):
            for source in listed(values.get(name)):
                if isinstance(source, Path):
                    with contextlib.suppress(OSError, ValueError):  # there is none
                        inputs.setdefault(_inode(source), name)
    taken: dict[str, int] = {}
    for number, output in outputs.items():
        # Disks of Macs and Windows do not tell `a.png` from `A.png`.
        first = taken.setdefault(str(output).casefold(), number)
        if first != number:
            case = "" if outputs[first] == output else f" ({outputs[first]})"
            yield number, f"output {output} is that of {noun} {first}, too{case}"
        if output.exists() and (name := inputs.get(_inode(output))):
            yield number, f"output {output} is a {name} picture; choose another"


def _inode(path: Path) -> tuple[int, int]:
    """Return a key that is the same for all names of a file."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _resumed(job: PictureJob, loader: JobLoader) -> PictureJob:
    """Return a job, with its record if its picture is there, finished.

    Raises:
        ValueError, OSError: if something else is there.
    """
    output = job.output
    if output is None or not output.exists():
        return job
    job = loader.identify(job)
    try:
        record = read_record(output)
    except ValueError as error:
        fault = str(error).partition(f"{output}: ")[2].rstrip(".")
        raise ValueError(fault or "jaxnst did not make it") from None
    try:
        if (difference := find_difference(record, job)) is not None:
            raise ValueError(difference)
        stopped = record["result"]["stopped"]
    except (AttributeError, KeyError, TypeError):
        raise ValueError("its record is not whole") from None
    if stopped in FINISHED:
        return dataclasses.replace(job, record=record)
    if stopped not in _UNFINISHED:
        raise ValueError(f"it was ended early ({stopped})")
    return job


def _as_lines(problems: Sequence[Problem], table: JobTable) -> Iterator[str]:
    """Yield problems as lines; a problem of every row is said once."""
    counts = Counter(text for number, text in set(problems) if number)
    said: set[str] = set()
    for number, text in sorted(problems, key=lambda problem: problem[0]):
        if 1 < len(table.rows) == counts[text]:
            if text not in said:
                yield f"{table.place(0)}, every {table.noun}: {text}"
            said.add(text)
        else:
            yield f"{table.place(number)}: {text}"


def _output_name(number: int, values: Mapping[str, Any]) -> Path:
    """Return the name of a row's picture in the folder."""
    given = values.get("output")
    if given is None:
        names = (picture_name(values.get(name), name) for name in ("content", "style"))
        return Path(f"{number:03d}_{'_'.join(names)}.png")
    path = Path(check_path("output", given))
    if path.is_absolute() or path.drive or ".." in path.parts:
        raise ValueError(
            f"output {path} is outside of the folder for the pictures; give a name in "
            "it."
        )
    return path
