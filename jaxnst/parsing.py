"""Text into settings: the same for a flag of a command and for a cell of a table."""

import contextlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any


# More pictures than that are a slip of the finger.
MAX_SPAN = 10_000

_YES_OR_NO = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


def parse_count(text: str) -> int:
    """Return a whole number; `512.0` is one, as tables often have it.

    Raises:
        ValueError: if it is none.
    """
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if (number := float(text)).is_integer():
            return int(number)
    raise ValueError(f"{text[:60]!r} is not a whole number")


def parse_number(text: str) -> float:
    """Return a number, with a point.

    Raises:
        ValueError: if it is none.
    """
    with contextlib.suppress(ValueError):
        return float(text)
    hint = ""
    # 2,5 is what spreadsheets write in half of Europe; 2,500 may be either, so ask.
    with contextlib.suppress(ValueError):
        hint = f"; write {float(text.replace(',', '.')):g} if that is meant"
    raise ValueError(f"{text[:60]!r} is not a number{hint}")


def parse_flag(text: str) -> bool:
    """Return yes or no.

    Raises:
        ValueError: if it is neither.
    """
    if text.lower() not in _YES_OR_NO:
        raise ValueError(f"{text[:60]!r} is not yes or no")
    return _YES_OR_NO[text.lower()]


def parse_layers(text: str) -> dict[str, float]:
    """Return `relu1_1,relu2_1:0.5` as layers and weights.

    Raises:
        ValueError: if a layer is named twice, or a weight is no number.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = (piece.strip() for piece in part.partition(":"))
        if name in weights:
            raise ValueError(f"layer {name} is named twice")
        try:
            weights[name] = float(weight) if weight else 1.0
        except ValueError:
            raise ValueError(f"{part.strip()!r} is not LAYER or LAYER:WEIGHT") from None
    return weights


def parse_blend(text: str) -> list[float] | list[list[float]]:
    """Return `3,1` as numbers, and `1,0/0,1` as rows; semicolons do as well as commas.

    Raises:
        ValueError: if one of them is none.
    """
    rows = [
        [parse_number(part.strip()) for part in row.replace(";", ",").split(",")]
        for row in text.split("/")
    ]
    return rows if len(rows) > 1 else rows[0]


def parse_strength(text: str) -> float | str:
    """Return a number, or the path of a picture, which has a point or a slash.

    Raises:
        ValueError: if it is neither.
    """
    with contextlib.suppress(ValueError):
        return float(text)
    stem, point, extension = text.rpartition(".")
    if "/" in text or (stem and point and extension.isalpha()):
        return text
    raise ValueError(f"{text[:60]!r} is neither a number nor a picture file")


def parse_finish(text: str) -> dict[str, float | None]:
    """Return `sharpen:0.5,grain` as filters and amounts, in their order.

    Returns:
        {filter: amount}; None where none is given.

    Raises:
        ValueError: if a filter is named twice, or an amount is no number.
    """
    amounts: dict[str, float | None] = {}
    for part in text.split(","):
        name, colon, amount = (piece.strip() for piece in part.partition(":"))
        if name in amounts:
            raise ValueError(f"filter {name} is named twice")
        amounts[name] = parse_number(amount) if colon else None
    return amounts


def parse_tile(text: str) -> bool | str:
    """Return yes or no, or which way: `x`, `y`, `xy`.

    Raises:
        ValueError: if it is none of these.
    """
    if text.lower() in ("x", "y", "xy"):
        return text.lower()
    with contextlib.suppress(ValueError):
        return parse_flag(text)
    raise ValueError(f"{text[:60]!r} is not yes, no, x or y")


# The settings of `stylize` that text can set, and how it is read.
SETTINGS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "preset": str,
        "size": parse_count,
        "style_size": parse_count,
        "style_scale": parse_number,
        "style_blend": parse_blend,
        "min_size": parse_count,
        "content_layers": parse_layers,
        "style_layers": parse_layers,
        "style_loss": parse_layers,
        "detail": parse_number,
        "strength": parse_strength,
        "content_weight": parse_number,
        "style_weight": parse_number,
        "tv_weight": parse_number,
        "color": str,
        "finish": parse_finish,
        "normalization": str,
        "num_steps": parse_count,
        "coarse_steps": parse_count,
        "optimizer": str,
        "learning_rate": parse_number,
        "decay": parse_number,
        "averaging": parse_number,
        "tolerance": parse_number,
        "max_seconds": parse_number,
        "steps_per_call": parse_count,
        "content_detail": parse_number,
        "init": str,
        "seed": parse_count,
        "network": str,
        "pooling": str,
        "padding": str,
        "tile": parse_tile,
        "smoothing": str,
        "normalize_activations": parse_flag,
        "conv": str,
        "precision": str,
        "memory": str,
        "devices": str,
    }
)


def parse_values(name: str, text: str) -> Any:
    """Return one value of a setting, or a list of several.

    `0.3,1,3` are several, and of whole numbers `0..3` as well. Where a single value has
    commas, as layers do, semicolons separate several.

    Args:
        name: one of `SETTINGS`.
        text: of a flag.

    Raises:
        ValueError: if it cannot be read so.
    """
    parse_fn = SETTINGS[name]
    separator = ";" if parse_fn in (parse_layers, parse_blend, parse_finish) else ","
    values: list[Any] = []
    for part in text.split(separator):
        first, dots, last = part.strip().partition("..")
        if dots and parse_fn is parse_count:
            start, end = parse_count(first), parse_count(last)
            step = 1 if start <= end else -1
            if abs(end - start) >= MAX_SPAN:
                raise ValueError(f"{part!r} are more than {MAX_SPAN} numbers")
            values += range(start, end + step, step)
        else:
            values.append(parse_fn(part.strip()))
    return values[0] if len(values) == 1 else values


def parse_setting(name: str, value: object) -> Any:
    """Return a setting: text as it is read from a flag, all else as it is.

    Args:
        name: one of `SETTINGS`.
        value: text, or the value itself; 512.0 is 512, as in columns with gaps.

    Raises:
        ValueError: if the text cannot be read so.
    """
    parse_fn = SETTINGS[name]
    if isinstance(value, str):
        return parse_fn(value.strip())
    if parse_fn is parse_count and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
