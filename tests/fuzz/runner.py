"""Gives inputs to a worker, watches over it, and counts what became of them."""

import collections
import contextlib
import dataclasses
import itertools
import multiprocessing
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from .oracle import MAX_BYTES, MAX_SECONDS, Problem
from .worker import Outcome, serve


# A worker that uses no processor at all waits for something that never comes. (On a
# busy machine it may get little, so a part of the time says nothing.)
_MAX_WAIT = 30.0
_POLL = 0.25
# What the libraries keep from one input to the next is given back then.
_INPUTS_PER_WORKER = 2000
_KEPT_PER_FAILURE = 3


class _Guarded:
    """A worker process, started when needed and replaced when it hangs or dies."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._context = multiprocessing.get_context("spawn")
        self._process = None
        self._count = 0

    def __enter__(self) -> "_Guarded":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, kind: str, number: int) -> Outcome:
        """Return what became of an input, also if the worker did not survive it."""
        if self._process is None or self._count >= _INPUTS_PER_WORKER:
            self._end()
            self._start()
        self._count += 1
        self._connection.send((kind, number))
        self._begun = self._last = self._spent()
        self._moved = time.monotonic()
        while True:
            with contextlib.suppress(EOFError, ConnectionError):
                if self._connection.poll(_POLL):
                    return self._connection.recv()
            if (problem := self._problem()) is not None:
                break
        self._end()
        title = self.folder / "title"
        text = title.read_text() if title.exists() else ""
        return Outcome(kind, number, False, [problem], text, "")

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=serve, args=(theirs, self.folder), daemon=True
        )
        self._process.start()
        theirs.close()
        self._base = self._connection.recv()
        self._watched = psutil.Process(self._process.pid)
        self._count = 0

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _spent(self) -> float:
        with contextlib.suppress(psutil.Error):
            times = self._watched.cpu_times()
            return times.user + times.system
        return 0.0

    def _problem(self) -> Problem | None:
        """Return why the worker is to be ended; None if it is still at work."""
        assert self._process is not None
        if not self._process.is_alive():
            code = self._process.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Problem("crash", f"the process ended: {name}")
        now, spent = time.monotonic(), self._spent()
        if spent > self._last:
            self._last, self._moved = spent, now
        if now - self._moved > _MAX_WAIT:
            return Problem("hang", f"{_MAX_WAIT:.0f} s without using the processor")
        if (used := spent - self._begun) > 1.5 * MAX_SECONDS:
            return Problem("slow", f"ended after {used:.0f} s of the processor")
        with contextlib.suppress(psutil.Error):
            grown = self._watched.memory_info().rss - self._base
            if grown > 1.25 * MAX_BYTES:
                return Problem("memory", f"ended at {grown / 2**30:.1f} GB")
        return None


@dataclasses.dataclass
class Report:
    """How many inputs of each kind there were, and a few outcomes of each failure."""

    counts: dict[str, collections.Counter[str]]
    failures: dict[str, list[Outcome]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def note(self, outcome: Outcome) -> bool:
        """Count an outcome, and return whether its input is worth keeping."""
        count = self.counts[outcome.kind]
        count["inputs"] += 1
        if not outcome.problems:
            count["accepted" if outcome.is_accepted else "refused"] += 1
            return False
        count["failures"] += 1
        is_kept = False
        for problem in outcome.problems:
            seen = self.failures.setdefault(problem.key, [])
            is_kept |= len(seen) < _KEPT_PER_FAILURE
            if len(seen) < _KEPT_PER_FAILURE:
                seen.append(outcome)
        return is_kept

    def table(self) -> str:
        """Return the counts as a table."""
        columns = ("inputs", "refused", "accepted", "failures")
        rows = [("kind", *columns)]
        rows += [
            (kind, *(str(count[name]) for name in columns))
            for kind, count in self.counts.items()
        ]
        total = sum(self.counts.values(), collections.Counter())
        rows.append(("all", *(str(total[name]) for name in columns)))
        lines = ["  ".join(f"{cell:>9}" for cell in row) for row in rows]
        rate = total["inputs"] / max(self.seconds, 1e-9)
        return "\n".join([*lines, f"{self.seconds:.0f} s, {rate:.1f} inputs a second"])

    def lines(self) -> Iterator[str]:
        """Yield every distinct failure, and how to repeat it."""
        for key, outcomes in self.failures.items():
            first = outcomes[0]
            problem = next(each for each in first.problems if each.key == key)
            yield f"\n{key}\n  {problem.detail!r}\n  {first.title[:300]!r}"
            yield f"  {repeat_command(first.kind, first.number)}"


def repeat_command(kind: str, number: int) -> str:
    """Return the command that repeats an input."""
    return f"python -m tests.fuzz --kind {kind} --case {number}"


def fuzz(
    kinds: Sequence[str],
    *,
    seconds: float,
    inputs: int | None = None,
    seed: int = 0,
    found: Path | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Report:
    """Return what became of many inputs, of each kind in turn.

    At most so many `inputs` of each kind, from number `seed` on; failing ones are kept
    in the folder `found`, and `say` gets a line for each.
    """
    report = Report({kind: collections.Counter() for kind in kinds})
    started = told = time.monotonic()
    numbers = itertools.count(seed) if inputs is None else range(seed, seed + inputs)
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as name,
        _Guarded(Path(name)) as worker,
        contextlib.suppress(KeyboardInterrupt),
    ):
        for number, kind in ((n, kind) for n in numbers for kind in kinds):
            now = time.monotonic()
            if now - started > seconds:
                break
            if now - told > 60:
                told, report.seconds = now, now - started
                say(report.table())
            outcome = worker.run(kind, number)
            if report.note(outcome):
                problem = outcome.problems[0]
                say(f"{kind} {number}: {problem.what}: {problem.detail!r:.150}")
                if found is not None:
                    _keep(outcome, worker.folder, found)
    report.seconds = time.monotonic() - started
    return report


def repeat(kind: str, number: int) -> int:
    """Run one input again, and show everything about it; return 1 if it fails."""
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as name,
        _Guarded(Path(name)) as worker,
    ):
        outcome = worker.run(kind, number)
        print(_description(outcome))
    return 1 if outcome.problems else 0


def _keep(outcome: Outcome, folder: Path, found: Path) -> None:
    """Copy the files of a failing input, with the command that repeats it."""
    target = found / f"{outcome.kind}-{outcome.number}"
    shutil.rmtree(target, ignore_errors=True)
    # The files of the command itself, too: they may be what was left over.
    shutil.copytree(folder / "case", target, symlinks=True)
    text = _description(outcome)
    (target / "REPEAT.txt").write_text(text, errors="backslashreplace")


def _description(outcome: Outcome) -> str:
    lines = [
        repeat_command(outcome.kind, outcome.number),
        outcome.title,
        "",
        *(f"{each.what}: {each.detail!r} {each.where}" for each in outcome.problems),
        "",
        outcome.output.encode("unicode_escape").decode().replace("\\n", "\n"),
    ]
    return "\n".join(lines) + "\n"
