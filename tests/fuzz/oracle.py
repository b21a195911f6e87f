"""What a failure is: one function from what a call did to what was wrong with it."""

import dataclasses
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from jaxnst._checks import FORESEEN


MAX_SECONDS = 20.0
MAX_BYTES = 4 * 2**30
# Longer lines fill the screen. Lists of all columns of a table are this long.
MAX_LINE = 1500
# Codes of success, "some failed" and errors. 130 is for Ctrl-C.
_CODES = (0, 1, 2)
# A codec's own words on a file, after ours.
_DAMAGED = "damaged"
# What Python says by itself when a value is of a kind that nobody thought of.
_UNTHOUGHT = re.compile(
    r"object is not (?:a mapping|iterable|callable|subscriptable)"
    r"|object (?:has no|does not support|cannot be interpreted)"
    r"|has no attribute|unsupported operand|not supported between instances"
    r"|(?:can't|cannot) (?:multiply|unpack|convert|concatenate|mix)"
    r"|invalid literal for|could not convert string|unhashable type"
    r"|indices must be|index out of range|not enough values|too many values"
    r"|must be real number|embedded null|operands could not be broadcast"
    r"|Unknown format code|unsupported format string|codec can't"
    r"|must be str, (?:bytes )?or|expected str, bytes|math domain error"
    r"|Exceeds the limit|too large to convert|Python int too large"
    r"|incompatible shapes|cannot reshape|setting an array element"
    r"|zero-size array|loop of ufunc|ufunc '|No loop matching"
    r"|truth value of|iteration over a 0-d|empty sequence|argument is empty"
    r"|has no len\(\)|only (?:length-1|0-dimensional|integer)"
)


class Problem(NamedTuple):
    """One thing that was wrong: `where` is the innermost line of jaxnst that raised."""

    what: str
    detail: str
    where: str = ""

    @property
    def key(self) -> str:
        """Return what equal failures have in common."""
        if self.where:
            return f"{self.what} | {self.where}"
        quoted = r"`[^`]*`|'[^']*'?|\"[^\"]*\"?|A{9,}|\S*[\d/\\]\S*"
        words = re.sub(quoted, "_", self.detail)
        return f"{self.what} | {words[:60]}"


@dataclasses.dataclass(kw_only=True)
class Seen:
    """What one call did.

    Attributes:
        code: exit code of a command; None for a call of a function.
        error: the exception that came out, or that a command turned into its message.
        where: the innermost line of jaxnst that raised it.
        left, broken: new files, and those of them that cannot be read.
        injected: new pages and tables in which text of a record is code.
        opened: canaries that were opened, whose names only a record has.
        asked: hosts that were asked, and programs that were started.
        seconds: processor time.
        grown: bytes by which the peak of memory grew.
        may_ask, many_lines, may_chat: see `Case`.
    """

    code: int | None = None
    error: BaseException | None = None
    where: str = ""
    out: str = ""
    err: str = ""
    warned: Sequence[str] = ()
    left: Sequence[str] = ()
    broken: Sequence[str] = ()
    injected: Sequence[str] = ()
    changed: Sequence[str] = ()
    opened: Sequence[str] = ()
    asked: Sequence[str] = ()
    seconds: float = 0.0
    grown: int = 0
    may_ask: bool = False
    many_lines: bool = False
    may_chat: bool = False

    @property
    def is_accepted(self) -> bool:
        """Return whether the input was good enough."""
        return self.code == 0 or (self.code is None and self.error is None)


def problems_of(seen: Seen) -> list[Problem]:
    """Return all that is wrong with what a call did; [] if it is no failure."""
    found: list[Problem] = []

    def note(what: str, detail: object, where: str = "") -> None:
        found.append(Problem(what, str(detail)[:500], where))

    if seen.code is None:
        _judge_error(seen, note)
    else:
        _judge_output(seen, note)
    # A command escapes what an exception says when it prints it.
    raised = "" if seen.err else str(seen.error or "")
    for text in (seen.out, seen.err, raised, *seen.warned):
        if bad := sorted({c for c in text if _controls(c)}):
            shown = next(line for line in text.splitlines() if {*line} & {*bad})
            note("control character", f"{bad!r} in {shown!r}", seen.where)
            break
    for name in seen.left:
        stem = name.rsplit("/", 1)[-1]
        is_temporary = stem.startswith(".jaxnst-") or stem.endswith((".part", ".tmp"))
        if is_temporary or name.startswith("tmp/") or seen.code == 2:
            note("file left over", name)
    for name in seen.broken:
        note("half-written file", name)
    for name in seen.injected:
        note("injected", name)
    for name in seen.changed:
        note("input changed", name)
    for name in seen.opened:
        note("opened what a record names", name)
    if seen.asked and not seen.may_ask:
        note("host asked", ", ".join(seen.asked))
    if seen.seconds > MAX_SECONDS:
        note("slow", f"{seen.seconds:.0f} s of the processor")
    if seen.grown > MAX_BYTES:
        note("memory", f"{seen.grown / 2**30:.1f} GB")
    return found


def _judge_error(seen: Seen, note) -> None:
    """Judge the exception of a function: foreseen, one line, its own words."""
    if seen.error is None:
        return
    text = str(seen.error)
    shown = f"{type(seen.error).__name__}: {text}"
    # A list of jobs has a line for each problem.
    is_listed = type(seen.error).__name__ == "BadJobs"
    if not isinstance(seen.error, FORESEEN) or not text.strip():
        note("traceback", shown, seen.where)
    elif _UNTHOUGHT.search(text) and _DAMAGED not in text:
        note("Python's own words", shown, seen.where)
    elif "\n" in text.strip() and not is_listed:
        note("several lines", shown, seen.where)
    elif max(map(len, text.splitlines())) > MAX_LINE:
        note("fills the screen", f"{len(text)} characters: {shown}", seen.where)


def _judge_output(seen: Seen, note) -> None:
    """Judge what a command printed on standard error, and its exit code."""
    lines = seen.err.splitlines()
    if seen.code not in _CODES:
        note("traceback", f"{type(seen.error).__name__}: {seen.error}", seen.where)
        return
    if "Traceback (most recent" in seen.err:
        note("traceback", lines[-1], seen.where)
        return
    for line in lines:
        if "--debug shows where" in line:
            note("unforeseen", line, seen.where)
        elif not line.startswith("jaxnst: ") and not seen.may_chat:
            note("several lines", line or seen.err, seen.where)
            break
        elif _UNTHOUGHT.search(line) and _DAMAGED not in line:
            note("Python's own words", line, seen.where)
        elif len(line) > MAX_LINE:
            note("fills the screen", f"{len(line)} characters: {line}", seen.where)
    errors = [line for line in lines if line.startswith("jaxnst: error:")]
    if len(errors) > 1 and not seen.many_lines:
        note("several lines", " / ".join(errors), seen.where)
    if seen.code == 2 and not errors:
        note("refused without a word", seen.err, seen.where)


def _controls(character: str) -> bool:
    """Return whether a character does something to a terminal, beside showing."""
    category = unicodedata.category(character)
    # Bidirectional overrides are of the category Cf.
    is_override = character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return (category == "Cc" and character not in "\n\t") or is_override
