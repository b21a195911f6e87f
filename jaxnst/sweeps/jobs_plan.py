"""All jobs checked before any is painted, and all that is wrong told at once."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxnst._checks import one_line
from jaxnst.images import PictureSource, check_format
from jaxnst.transfer.inputs import StyleSource

from .jobs_check import Draft, Files, check_job, place_paths
from .jobs_file import Jobs
from .jobs_resume import finished_record


# So many problems are told; more are seldom read.
MAX_PROBLEMS = 20

# (number of the job, what is wrong with it)
Problem = tuple[int, str]


class BadJobs(ValueError):
    """Some jobs cannot be painted, so none was.

    Attributes:
        problems: what is wrong with which, a line each, in the order of the jobs.
    """

    def __init__(self, problems: Iterable[str]):
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """The first problems, and how many more there are."""
        more = len(self.problems) - MAX_PROBLEMS
        if more <= 0:
            return self.problems
        return *self.problems[:MAX_PROBLEMS], f"and {more} more"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedJob:
    """One picture that can be painted, as far as that can be seen beforehand.

    Attributes:
        number: of the job, see `Job`.
        place: what it is called in messages.
        content: what is to be seen.
        style: how it is to be painted; a list of several is blended.
        settings: {other argument of `jaxnst.stylize`: value}.
        output: where the picture goes.
        work: pixels times steps, over all sizes.
        record: of the picture, if it is there already.
    """

    number: int
    place: str
    content: PictureSource
    style: StyleSource
    settings: Mapping[str, Any]
    output: Path
    work: float
    record: Mapping[str, Any] | None


def plan_jobs(
    jobs: Jobs,
    output: str | os.PathLike[str],
    *,
    defaults: Mapping[str, Any],
    overwrite: bool = False,
    bits: int = 8,
    quality: int = 95,
) -> list[PlannedJob]:
    """Check all jobs, and return how they will be painted; nothing is written.

    Args:
        jobs: of `read_jobs`.
        output: the folder for the pictures, which need not be there.
        defaults: {column: value} for jobs that do not say otherwise; before those of
            the file.
        overwrite: replace files that are there and are something else.
        bits: per channel of the files, 8 or 16.
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        BadJobs: naming everything that is wrong.
        ValueError: if `bits` or `quality` is out of range.
    """
    check_format("any.png", bits=bits, quality=quality)
    folder = Path(output)
    files = Files()
    problems: list[Problem] = [*jobs.problems, *_folder_problems(folder)]
    common = place_paths(jobs.defaults, jobs.folder) | dict(defaults)
    drafts = []
    for job in jobs.items:
        values = common | place_paths(job.values, jobs.folder)
        draft, wrong = check_job(job, values, folder, files, bits=bits, quality=quality)
        drafts.append(draft)
        problems += [(job.number, text) for text in wrong]
    problems += _clashes(drafts, jobs.noun)
    bad = {number for number, _ in problems}
    planned = []
    for draft in drafts:
        number = draft.job.number
        if number in bad:
            continue
        try:
            record = _record(draft, files)
        except (OSError, ValueError) as error:
            record = None
            if not overwrite:
                text = (
                    f"output {draft.output} is there already, and {one_line(error)}; "
                    "`overwrite` replaces it, or give another `output`"
                )
                problems.append((number, text))
        assert draft.output is not None  # or it would be bad
        planned.append(
            PlannedJob(
                number=number,
                place=jobs.place(number),
                content=draft.pictures["content"],
                style=draft.style,
                settings=draft.settings,
                output=draft.output,
                work=draft.work,
                record=record,
            )
        )
    if problems:
        raise BadJobs(_told(problems, jobs))
    return planned


def _folder_problems(folder: Path) -> Iterator[Problem]:
    """Say why the folder cannot be made or written to; nothing is made."""
    existing = next(
        path for path in (folder, *folder.absolute().parents) if path.exists()
    )
    if not existing.is_dir():
        yield 0, f"output {folder}: {existing} is a file; give a folder"
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield 0, f"output {folder}: {existing} cannot be written to"


def _clashes(drafts: Sequence[Draft], noun: str) -> Iterator[Problem]:
    """Say which outputs would replace each other, or what others are painted from."""
    inputs: dict[tuple[int, int], str] = {}
    for draft in drafts:
        for name, source in draft.pictures.items():
            if isinstance(source, str | os.PathLike) and Path(source).exists():
                inputs.setdefault(_identity(Path(source)), name)
    taken: dict[str, Draft] = {}
    for draft in drafts:
        output = draft.output
        if output is None:
            continue
        # Disks of Macs and Windows do not tell `a.png` from `A.png`.
        first = taken.setdefault(str(output).casefold(), draft)
        if first is not draft:
            case = "" if first.output == output else f" ({first.output})"
            yield (
                draft.job.number,
                f"output {output} is that of {noun} {first.job.number}, too{case}",
            )
        if output.exists() and (name := inputs.get(_identity(output))):
            yield (
                draft.job.number,
                f"output {output} is a {name} picture; choose another",
            )


def _identity(path: Path) -> tuple[int, int]:
    """Return what is the same for all names of a file."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _record(draft: Draft, files: Files) -> Mapping[str, Any] | None:
    """Return the record of a job's picture, if it is there and finished.

    Raises:
        ValueError, OSError: if something else is there.
    """
    if draft.output is None or draft.config is None or not draft.output.exists():
        return None
    network = draft.settings.get("network", draft.config.network)
    return finished_record(
        draft.output,
        config=draft.config,
        digests={name: files.digest(x) for name, x in draft.pictures.items()},
        weights=files.weights(network),
    )


def _told(problems: Sequence[Problem], jobs: Jobs) -> Iterator[str]:
    """Yield problems as lines; what is wrong with every job is said once."""
    counts = Counter(text for number, text in set(problems) if number)
    said: set[str] = set()
    for number, text in sorted(problems, key=lambda problem: problem[0]):
        if 1 < len(jobs.items) == counts[text]:
            if text not in said:
                yield f"{jobs.place(0)}, every {jobs.noun}: {text}"
            said.add(text)
        else:
            yield f"{jobs.place(number)}: {text}"
