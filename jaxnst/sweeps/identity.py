"""What a folder's sweep is, and how another one differs from it."""

import json
import numbers
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .members import Axis
from .rows import as_plain


FORMAT = 1
_NUM_NAMED = 3
_MAX_SHOWN = 60


def describe_sweep(
    identity: Mapping[str, Any], axes: Sequence[Axis], mode: str, extension: str
) -> dict[str, Any]:
    """Return all that decides what a folder will hold, as JSON gives it back.

    Args:
        identity: what decides the pictures, besides the axes.
        axes: their labels count, and those values that are numbers or made of them;
            what other values are must be in `identity`.
        mode: "product" or "zip".
        extension: of the pictures.

    Raises:
        TypeError: if `identity` holds what JSON cannot.
    """
    description = {
        "format": FORMAT,
        "mode": mode,
        "order": [axis.name for axis in axes],
        "axes": {
            axis.name: list(map(_exact, axis.labels, axis.values)) for axis in axes
        },
        "extension": extension,
        "identity": identity,
    }
    return json.loads(json.dumps(description, default=as_plain))


def find_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return in words what differs, a phrase for each."""
    before, after = _flatten(old), _flatten(new)
    phrases = []
    for key in [*after, *(key for key in before if key not in after)]:
        if key not in before:
            phrases.append(f"`{key}` was not set, is {_show(after[key])}")
        elif key not in after:
            phrases.append(f"`{key}` was {_show(before[key])}, is not set")
        elif before[key] != after[key]:
            was, now = _show(before[key]), _show(after[key])
            phrases.append(f"`{key}` was {was}, is {now}")
    return phrases


def in_words(differences: Sequence[str]) -> str:
    """Return the first differences, and how many more there are."""
    text = "; ".join(differences[:_NUM_NAMED])
    more = len(differences) - _NUM_NAMED
    return f"{text}; and {more} more" if more > 0 else text


def _exact(label: str, value: object) -> str:
    """Return the label, with the value where it says more."""
    number = _numbers_in(value)
    if number is None or isinstance(value, str):
        return label
    try:
        if not isinstance(number, bool) and float(label) == number:
            return label
    except ValueError:
        pass
    text = json.dumps(number)
    return label if text == label else f"{label} = {text}"


def _numbers_in(value: object) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _numbers_in(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers_in(entry) for entry in value]
    return None


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, entry in value.items():
        # What the user set has no need of our name for all of it.
        name = prefix if not prefix and key == "identity" else f"{prefix}{key}"
        if isinstance(entry, dict) and entry:
            flat |= _flatten(entry, f"{name}." if name else "")
        else:
            flat[name] = entry
    return flat


def _show(value: object) -> str:
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        text = f"[{', '.join(value)}]"
    elif isinstance(value, str) and re.fullmatch("[0-9a-f]{40,}", value):
        text = f"{value[:12]}..."
    else:
        text = json.dumps(value, ensure_ascii=False)
    if len(text) <= _MAX_SHOWN:
        return text
    return f"{text[: _MAX_SHOWN * 2 // 3]}...{text[-_MAX_SHOWN // 4 :]}"
