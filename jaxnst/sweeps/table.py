"""What a batch paints: read from a table, JSON, TOML or a list, and checked whole.

A row has columns named like the arguments of `jaxnst.stylize`. A blank cell is not set.
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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxnst._checks import one_line, suggestion
from jaxnst.config import INITS, SETTINGS, parse_setting
from jaxnst.images import check_format, read_record
from jaxnst.pretrained.formats import SUFFIXES
from jaxnst.transfer.result import FINISHED

from .jobs import JobLoader, PictureJob, find_difference, is_in_registry, listed


COLUMNS = ("content", "style", "output", *SETTINGS)
# Separators of cells; the first one if none fits the header.
_DELIMITERS = ",;\t"
# A row or a column that begins with it is a note.
_NOTE = "#"
_PARTS = ("defaults", "jobs")
# Why pictures ended that are painted again.
_UNFINISHED = ("interrupted", "not finite")
# Parts of a name that is made from those of other files.
_MAX_STEM = 40
# Limit of file systems, in bytes.
_MAX_NAME = 255
# More problems are seldom read.
_MAX_PROBLEMS = 20

# (number of the row, what is wrong with it)
Problem = tuple[int, str]


class BadJobs(ValueError):
    """Some jobs cannot be painted, so none was.

    Args:
        problems: one line for each problem, in the order of the jobs.

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
        noun: name of a row in messages, "row" or "job".
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

    Args:
        table: table of the pictures to be painted.
        output: folder for the pictures.
        defaults: {column: value} of all rows that do not say otherwise; they precede
            those of the table.
        overwrite: replace files that are something else.
        bits: bits per channel of the files, 8 or 16.
        quality: quality of JPEG and WebP, 1 to 100.

    Raises:
        BadJobs: naming everything that is wrong.
        ValueError: if `bits` or `quality` is out of range.
    """
    check_format("any.png", bits=bits, quality=quality)
    folder = Path(output)
    loader = JobLoader(is_whole=False)
    problems: list[Problem] = [*table.problems, *_folder_problems(folder)]
    common = place_paths(table.defaults, table.folder) | dict(defaults)
    drafts = []
    for entry in table.items:
        values = common | place_paths(entry.values, table.folder)
        draft, wrong = _draft(entry, values, table, folder, loader, bits, quality)
        drafts.append(draft)
        problems += [(entry.number, text) for text in wrong]
    problems += _clashes(drafts, table.noun)
    bad = {number for number, _ in problems}
    jobs = []
    for draft in drafts:
        if draft.job is None or draft.number in bad:
            continue
        job = draft.job
        try:
            job = _resumed(job, loader)
        except (OSError, ValueError) as error:
            if not overwrite:
                text = (
                    f"output {draft.output} is there already, and {one_line(error)}; "
                    "`overwrite` replaces it, or give another `output`"
                )
                problems.append((draft.number, text))
        jobs.append(job)
    if problems:
        raise BadJobs(_as_lines(problems, table))
    return jobs


def place_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return values with relative paths made to start in a folder.

    Args:
        values: {column: value}.
        folder: folder of the table.
    """

    def placed(value: Any) -> Any:
        is_path = isinstance(value, str | os.PathLike)
        return folder / Path(value).expanduser() if is_path else value

    found = dict(values)
    for name in ("content", "style", "init", "network"):
        value = values.get(name)
        if name == "style" and (styles := listed_styles(value)) is not None:
            found[name] = [placed(each) for each in styles]
        elif isinstance(value, str | os.PathLike):
            is_name = name == "init" and value in INITS
            if name == "network" and isinstance(value, str):
                path = placed(value)
                is_file = path.suffix.lower() in SUFFIXES or path.is_file()
                is_name = is_in_registry(value) or not ("/" in value or is_file)
            found[name] = value if is_name else placed(value)
    return found


def listed_styles(value: object) -> list[Any] | None:
    """Return several styles that are blended; None if it is one.

    Args:
        value: a list, or the text of a cell with semicolons: `wave.jpg; night.jpg`.
    """
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str) and ";" in value:
        return [part.strip() for part in value.split(";") if part.strip()]
    return None


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


class _Draft(NamedTuple):
    number: int
    arguments: Mapping[str, Any]
    output: Path | None
    job: PictureJob | None


def _draft(
    entry: Entry,
    values: Mapping[str, Any],
    table: JobTable,
    folder: Path,
    loader: JobLoader,
    bits: int,
    quality: int,
) -> tuple[_Draft, list[str]]:
    """Return a row as it is to be painted, and all that is wrong with it."""
    wrong: list[str] = []
    arguments: dict[str, Any] = {}
    for name in SETTINGS:
        if name in values:
            try:
                arguments[name] = parse_setting(name, values[name])
            except ValueError as error:
                wrong.append(f"`{name}`: {error}")
    if isinstance(arguments.get("strength"), str):
        wrong.append("`strength` is a number from 0 to 1 here; maps are for `stylize`")
        del arguments["strength"]
    arguments |= {name: values[name] for name in ("content", "style") if name in values}
    if (styles := listed_styles(values.get("style"))) is not None:
        arguments["style"] = styles
    job, problems = loader.make_job(
        arguments, number=entry.number, place=table.place(entry.number)
    )
    wrong += map(one_line, problems)
    output = None
    try:
        output = folder / _output_name(entry, values, bits=bits, quality=quality)
        if output.is_dir():
            wrong.append(f"output {output} is a folder")
    except (TypeError, ValueError) as error:
        wrong.append(str(error))
    if job is not None:
        job = dataclasses.replace(job, output=output)
    return _Draft(entry.number, arguments, output, job), wrong


def _folder_problems(folder: Path) -> Iterator[Problem]:
    """Say why the folder cannot be made or written to; nothing is made."""
    existing = next(
        path for path in (folder, *folder.absolute().parents) if path.exists()
    )
    if not existing.is_dir():
        yield 0, f"output {folder}: {existing} is a file; give a folder"
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield 0, f"output {folder}: {existing} cannot be written to"


def _clashes(drafts: Sequence[_Draft], noun: str) -> Iterator[Problem]:
    """Say which outputs would replace each other, or a picture that is read."""
    inputs: dict[tuple[int, int], str] = {}
    for draft in drafts:
        for name in ("content", "style", "init"):
            value = draft.arguments.get(name)
            for source in listed(value):
                if isinstance(source, str | os.PathLike) and Path(source).exists():
                    inputs.setdefault(_inode(Path(source)), name)
    taken: dict[str, _Draft] = {}
    for draft in drafts:
        output = draft.output
        if output is None:
            continue
        # Disks of Macs and Windows do not tell `a.png` from `A.png`.
        first = taken.setdefault(str(output).casefold(), draft)
        if first is not draft:
            case = "" if first.output == output else f" ({first.output})"
            text = f"output {output} is that of {noun} {first.number}, too{case}"
            yield draft.number, text
        if output.exists() and (name := inputs.get(_inode(output))):
            text = f"output {output} is a {name} picture; choose another"
            yield draft.number, text


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
        if 1 < len(table.items) == counts[text]:
            if text not in said:
                yield f"{table.place(0)}, every {table.noun}: {text}"
            said.add(text)
        else:
            yield f"{table.place(number)}: {text}"


def _output_name(
    entry: Entry, values: Mapping[str, Any], *, bits: int, quality: int
) -> Path:
    """Return the name of a row's picture in the folder.

    Raises:
        ValueError: if there can be no such picture in it.
        TypeError: if it is no name.
    """
    given = values.get("output")
    if given is None:
        stems = (_stem(values.get(name), name) for name in ("content", "style"))
        return Path(f"{entry.number:03d}_{'_'.join(stems)}.png")
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"`output` must be the name of a file, got {given!r}.")
    path = Path(given)
    if path.is_absolute() or path.drive or ".." in path.parts:
        raise ValueError(
            f"output {path} is outside of the folder for the pictures; give a name in "
            "it."
        )
    check_format(path, bits=bits, quality=quality)
    if max(len(os.fsencode(part)) for part in path.parts) > _MAX_NAME:
        raise ValueError(
            f"output {path.name[:_MAX_STEM]}...: a name may have {_MAX_NAME} bytes."
        )
    return path


def _stem(source: object, name: str) -> str:
    if (styles := listed_styles(source)) is not None:
        return "+".join(_stem(each, name) for each in styles)[:_MAX_STEM]
    if isinstance(source, str | os.PathLike):
        return Path(source).stem[:_MAX_STEM]
    return name
