"""Checks of public arguments, with messages of one form.

Every message names the argument and says what was expected, what came and what to do.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping


# Errors whose text is clear without their type.
FORESEEN = (ValueError, TypeError, OSError, ImportError, MemoryError)
# No side of a picture may be shorter, in pixels.
MIN_SIDE = 32
# Larger weights and rates would overflow float32 once multiplied with a loss.
MAX_NUMBER = 1e20


def check_choice(name: str, value: object, known: Iterable[str]) -> str:
    """Return `value` if it is one of the known names.

    Args:
        name: the argument's name, for messages.
        value: the value to check.
        known: the names that there are.

    Raises:
        ValueError: if `value` is unknown; with the nearest known name, if one is near.
    """
    known = list(known)
    if isinstance(value, str) and value in known:
        return value
    raise ValueError(
        f"`{name}` is {value!r}.{suggestion(value, known)} Known: {', '.join(known)}."
    )


def suggestion(value: object, known: Iterable[str]) -> str:
    """Return ` Did you mean ...?`, or an empty text if no known name is near.

    Args:
        value: an unknown name.
        known: the names that there are.
    """
    near = difflib.get_close_matches(str(value), list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def check_count(name: str, value: object, *, minimum: int = 1) -> int:
    """Return `value` as an int of at least `minimum`.

    Args:
        name: the argument's name, for messages.
        value: the value to check.
        minimum: smallest number that is allowed.

    Raises:
        ValueError: if it is smaller.
        TypeError: if it is not a whole number.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"`{name}` must be a whole number, got {value!r}.")
    count = value.__index__()  # type: ignore[attr-defined]
    if count < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, got {count}.")
    return count


def check_number(name: str, value: object, *, positive: bool = False) -> float:
    """Return `value` as a finite float of 0 or more.

    Args:
        name: the argument's name, for messages.
        value: the value to check.
        positive: whether 0 is refused, too.

    Raises:
        ValueError: if it is NaN, infinite or out of range.
        TypeError: if it is not a number.
    """
    number = _number(name, value)
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        wanted = "greater than 0" if positive else "0 or more"
        raise ValueError(f"`{name}` must be finite and {wanted}, got {number:g}.")
    if number > MAX_NUMBER:
        raise ValueError(f"`{name}` must be at most {MAX_NUMBER:g}, got {number:g}.")
    return number


def check_range(name: str, value: object, least: float, most: float) -> float:
    """Return `value` as a float from `least` to `most`.

    Args:
        name: the argument's name, for messages.
        value: the value to check.
        least: smallest number that is allowed.
        most: largest number that is allowed.

    Raises:
        ValueError: if it is not between them.
        TypeError: if it is not a number.
    """
    number = _number(name, value)
    if not least <= number <= most:  # refuses NaN, too
        raise ValueError(
            f"`{name}` must be between {least:g} and {most:g}, got {number:g}."
        )
    return number


def _number(name: str, value: object) -> float:
    if isinstance(value, bool | str):
        raise TypeError(f"`{name}` must be a number, got {value!r}.")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        raise TypeError(f"`{name}` must be a number, got {value!r}.") from None


def check_shares(name: str, value: object, known: Iterable[str]) -> dict[str, float]:
    """Return {name: weight}, from one name, several, or names with weights.

    Args:
        name: the argument's name, for messages.
        value: a name, names, or {name: weight}.
        known: the names that there are.

    Raises:
        ValueError: if a name is unknown, or no weight is above 0.
        TypeError: if it is none of these.
    """
    if not isinstance(value, str | Mapping) and not isinstance(value, Iterable):
        raise TypeError(f"`{name}` must be a name or {{name: weight}}, got {value!r}.")
    return check_layer_weights(name, value, known)


def check_layer_weights(
    name: str,
    layers: Mapping[str, object] | Iterable[str],
    known: Iterable[str] | None = None,
) -> dict[str, float]:
    """Return layers and their weights; a plain list of names weighs them equally.

    Args:
        name: the argument's name, for messages.
        layers: {layer: weight}, or names.
        known: the layers that there are; None: any name is accepted.

    Raises:
        ValueError: if a layer is unknown or named twice, if a weight is negative or
            not finite, if all weights are zero, or if there is no layer.
    """
    if isinstance(layers, str):
        layers = [layers]
    if isinstance(layers, Mapping):
        weights = dict(layers)
    else:
        names = list(layers)
        weights = dict.fromkeys(names, 1.0)
        if len(weights) < len(names):
            raise ValueError(f"`{name}` names a layer twice: {', '.join(names)}.")
    if known is not None:
        known = list(known)
        for layer in weights:
            check_choice(name, layer, known)
    checked = {
        layer: check_number(f"{name}[{layer!r}]", weight)
        for layer, weight in weights.items()
    }
    if not any(checked.values()):
        what = "all its weights are 0" if checked else "it is empty"
        raise ValueError(f"`{name}` needs a layer with a weight above 0, but {what}.")
    return checked


def check_blend(
    name: str, shares: object
) -> tuple[float, ...] | tuple[tuple[float, ...], ...]:
    """Return weights of styles, at least one above 0, or rows of such weights.

    Args:
        name: the argument's name, for messages.
        shares: numbers, or rows of numbers, of 0 or more.

    Raises:
        ValueError: if there is none, one is negative or not finite, or rows differ in
            length.
        TypeError: if it is not a list of numbers, or of lists of them.
    """
    if isinstance(shares, str) or not isinstance(shares, Iterable):
        raise TypeError(f"`{name}` must be a list of numbers, got {shares!r}.")
    shares = list(shares)
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
        raise ValueError(f"`{name}` needs a number above 0, got {list(checked)}.")
    return checked


def check_memory_size(name: str, text: str) -> int:
    """Return a size such as `6G`, `800M` or `1000` in bytes.

    Args:
        name: the argument's name, for messages.
        text: the size.

    Raises:
        ValueError: if the text is not a size.
    """
    units = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if match is None:
        raise ValueError(f"`{name}` must be a size such as 6G or 800M, got {text!r}.")
    return int(float(match[1]) * units[match[2]])


def one_line(error: BaseException) -> str:
    """Return an error's text in one line, after its type if it was not foreseen.

    Args:
        error: the error.
    """
    text = " ".join(str(error).split())
    if isinstance(error, FORESEEN) and text:
        return text
    return f"{type(error).__name__}: {text[:300]}"
