"""Checks of public arguments, with messages of one form.

Every message names the argument and says what was expected, what came and what to do.
A check takes the argument's name first, for its message; it raises TypeError for values
of another kind, and ValueError for the others that it refuses.
"""

import contextlib
import difflib
import math
import operator
import os
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


# Errors whose text is clear without their type.
FORESEEN = (ValueError, TypeError, OSError, ImportError, MemoryError)
# No side of a picture may be shorter or longer, in pixels.
MIN_SIDE = 32
MAX_SIDE = 65_535
# Larger whole numbers do not fit into int32.
MAX_COUNT = 2**31 - 1
# Larger weights and rates would overflow float32 once multiplied with a loss.
MAX_NUMBER = 1e20
# Limit of file systems for one part of a path, in bytes.
_MAX_NAME = 255
# Most characters of a value in a message.
_MAX_SHOWN = 100
# Most characters of a message whose values were not cut.
_MAX_LINE = 2000
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _MAX_SHOWN


def shown(value: object) -> str:
    """Return a value as messages show it: its repr in one line of about 100 letters."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # Python does not write integers of more than 4300 digits
        text = "a number of too many digits"
    text = plain(" ".join(text.split()))
    return text if len(text) <= _MAX_SHOWN + 2 else f"{text[:_MAX_SHOWN]}..."


def plain(text: str) -> str:
    """Return text in which nothing controls a terminal: such characters are escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def short(text: str) -> str:
    """Return text in which words of hundreds of characters are cut in their middle."""
    text = re.sub(r"(\S{100})\S{100,}(\S{50})", r"\1...\2", text)
    return text if len(text) <= _MAX_LINE else f"{text[:_MAX_LINE]}..."


def path_text(path: str | os.PathLike[str]) -> str:
    """Return a path as messages show it: escaped, and not too long."""
    return short(plain(str(path)))


def one_line(error: BaseException) -> str:
    """Return an error's text in one line, after its type if it was not foreseen."""
    text = " ".join(str(error).split())
    if isinstance(error, FORESEEN) and text:
        return text
    return f"{type(error).__name__}: {text[:300]}"


def suggestion(value: object, known: Iterable[str]) -> str:
    """Return ` Did you mean ...?`, or an empty text if no known name is near."""
    name = value if isinstance(value, str) else ""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def no_such_file(path: Path) -> str:
    """Return the message about a file that is not there, with a name like it."""
    text = f"no such file: {path_text(path)}"
    if re.match(r"https?:/", str(path)):  # Path leaves one slash of two
        return f"{text}; addresses are not read, so download the file first"
    near: list[str] = []
    with contextlib.suppress(OSError):
        names = {each.stem: each.name for each in path.parent.iterdir()}
        stems = difflib.get_close_matches(path.stem, names, 1, 0.7)
        near = [names[stem] for stem in stems]
    return f"{text}; there is {path_text(near[0])}" if near else text


def check_path(name: str, value: object) -> str:
    """Return the text of a path, if a file can have such a name."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(f"`{name}` must be text or a path, got {shown(value)}.")
    try:
        parts = os.fsencode(text).split(b"/")
    except UnicodeEncodeError:
        parts = [b"\0"]
    if not text or any(b"\0" in part for part in parts):
        raise ValueError(f"`{name}` is {shown(text)}, which no file can be named.")
    if max(map(len, parts)) > _MAX_NAME:
        raise ValueError(
            f"`{name}` is {shown(text)}, but a name may have {_MAX_NAME} bytes."
        )
    return text


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Return a path in which `~` is the home of a user, if there is such a user."""
    with contextlib.suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def one_or_all(pictures: Sequence[Any]) -> Any:
    """Return the only picture, or the list of several."""
    return pictures if len(pictures) > 1 else pictures[0]


def check_list(name: str, value: Any, wanted: str) -> list[Any]:
    """Return the entries of a list, or of anything else that has entries but text."""
    try:
        if not isinstance(value, str | bytes) and getattr(value, "ndim", 1) == 1:
            return list(value)
    except TypeError:
        pass
    raise TypeError(f"`{name}` must be {wanted}, got {shown(value)}.")


def check_names(name: str, value: Any) -> list[str]:
    """Return the names in one text, a list, or the keys of a mapping."""
    wanted = "names or {name: number}"
    names = [value] if isinstance(value, str) else check_list(name, value, wanted)
    if not all(isinstance(each, str) for each in names):
        raise TypeError(f"`{name}` must be {wanted}, got {shown(value)}.")
    return names


def check_choice(name: str, value: object, known: Iterable[str]) -> str:
    """Return `value` if it is one of the known names."""
    known = list(known)
    if isinstance(value, str) and value in known:
        return value
    raise ValueError(
        f"`{name}` is {shown(value)}.{suggestion(value, known)} "
        f"Known: {', '.join(known)}."
    )


def check_count(
    name: str, value: Any, *, minimum: int = 1, maximum: int = MAX_COUNT
) -> int:
    """Return a whole number as an int; 512.0 is one, as tables and JSON have it."""
    count = None
    if not isinstance(value, bool):
        with contextlib.suppress(TypeError):
            is_whole = hasattr(value, "is_integer") and value.is_integer()
            count = int(value) if is_whole else operator.index(value)
    if count is None:
        raise TypeError(f"`{name}` must be a whole number, got {shown(value)}.")
    if count < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, got {shown(count)}.")
    if count > maximum:
        raise ValueError(
            f"`{name}` must be {minimum} to {maximum}, got {shown(count)}."
        )
    return count


def check_number(
    name: str, value: object, *, positive: bool = False, most: float = MAX_NUMBER
) -> float:
    """Return `value` as a finite float of 0 or more; `positive` refuses 0, too."""
    number = _number(name, value)
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        wanted = "greater than 0" if positive else "0 or more"
        raise ValueError(f"`{name}` must be finite and {wanted}, got {number:g}.")
    if number > most:
        raise ValueError(f"`{name}` must be at most {most:g}, got {number:g}.")
    return number


def check_range(name: str, value: object, least: float, most: float) -> float:
    """Return `value` as a float from `least` to `most`."""
    number = _number(name, value)
    if not least <= number <= most:  # refuses NaN, too
        raise ValueError(
            f"`{name}` must be between {least:g} and {most:g}, got {number:g}."
        )
    return number


def _number(name: str, value: object) -> float:
    if not isinstance(value, bool | str):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            return math.inf
        except (TypeError, ValueError):
            pass
    raise TypeError(f"`{name}` must be a number, got {shown(value)}.")


def check_layer_weights(
    name: str, layers: object, known: Iterable[str] | None = None
) -> dict[str, float]:
    """Return layers and their weights, one above 0; names alone weigh the same.

    `known` are the layers that there are; None: any name is accepted.
    """
    names = check_names(name, layers)
    weights = layers if isinstance(layers, Mapping) else dict.fromkeys(names, 1.0)
    if len(weights) < len(names):
        raise ValueError(f"`{name}` names a layer twice: {shown(names)}.")
    if known is not None:
        known = list(known)
        for layer in weights:
            check_choice(name, layer, known)
    checked = {
        layer: check_number(f"{name}[{shown(layer)}]", weight)
        for layer, weight in weights.items()
    }
    if not any(checked.values()):
        what = "all its weights are 0" if checked else "it is empty"
        raise ValueError(f"`{name}` needs a layer with a weight above 0, but {what}.")
    return checked


def check_blend(
    name: str, shares: object
) -> tuple[float, ...] | tuple[tuple[float, ...], ...]:
    """Return weights of styles, at least one above 0, or equally long rows of them."""
    shares = check_list(name, shares, "a list of numbers")
    if shares and all(isinstance(row, list | tuple) for row in shares):
        rows = tuple(check_blend(f"{name}[{i}]", row) for i, row in enumerate(shares))
        if len({len(row) for row in rows}) > 1:
            raise ValueError(
                f"`{name}` has rows of different length; give a number for each style "
                "in each."
            )
        return rows  # type: ignore[return-value]
    checked = tuple(check_number(f"{name}[{i}]", x) for i, x in enumerate(shares))
    if not any(checked):
        raise ValueError(
            f"`{name}` needs a number above 0, got {shown(list(checked))}."
        )
    return checked


def check_convolution(method: str, precision: str) -> None:
    """Check that a way to convolve exists at a precision."""
    if method == "winograd" and precision not in ("auto", "float32"):
        # Its transforms lose two digits more, and the others have three or fewer.
        raise ValueError(
            f"`conv` is 'winograd', which needs `precision` 'float32', got "
            f"{precision!r}; use `conv` 'auto' or 'xla'."
        )


def check_memory_size(name: str, text: str) -> int:
    """Return a size such as `6G`, `800M` or `1000` in bytes."""
    units = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if match is None:
        raise ValueError(
            f"`{name}` must be a size such as 6G or 800M, got {shown(text)}."
        )
    return int(min(float(match[1]) * units[match[2]], 2.0**62))


def parse_count(text: str) -> int:
    """Return a whole number; `512.0` counts as one, as spreadsheets write it."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if (number := float(text)).is_integer():
            return int(number)
    what = "a number of too many digits" if text.isdecimal() else "not a whole number"
    raise ValueError(f"{shown(text)} is {what}")


def parse_number(text: str) -> float:
    """Return a number with a decimal point."""
    with contextlib.suppress(ValueError):
        return float(text)
    hint = ""
    # Many spreadsheets write 2,5; but 2,500 may be either, so ask.
    with contextlib.suppress(ValueError):
        hint = f"; write {float(text.replace(',', '.')):g} if that is meant"
    raise ValueError(f"{shown(text)} is not a number{hint}")
