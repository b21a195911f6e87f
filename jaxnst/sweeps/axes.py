"""Which settings of a sweep are lists, and the members that they span."""

import itertools
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnst._checks import check_choice

from .members import Axis, Member


MODES = ("product", "zip")
# Settings whose single value is a list already; an axis of them is a list of lists.
_LAYERS = ("content_layers", "style_layers", "style_loss", "finish")
_PICTURES = ("content", "style", "init")
# What is set for the sweep as a whole.
_NEVER = ("callback", "progress")
# A label is no longer, or names and sheets would be hard to read.
_MAX_LABEL = 40


def split_axes(
    content: Any, style: Any, settings: Mapping[str, Any], *, mode: str = "product"
) -> tuple[list[Axis], dict[str, Any]]:
    """Tell the settings that are lists from those that are the same for all members.

    Args:
        content: a picture, or a list of them.
        style: likewise; where `style_blend` or `masks` is set a list of pictures is one
            value.
        settings: of `jaxnst.stylize`; None where not set.
        mode: "zip" lets a list have a value more than once.

    Returns:
        The axes, in the order of the arguments, and all other settings.

    Raises:
        ValueError: if a list is empty or has a value twice.
        TypeError: if a setting cannot be a list.
    """
    axes: list[Axis] = []
    fixed: dict[str, Any] = {}
    # Then several styles make one picture.
    is_blended = any(
        settings.get(name) is not None for name in ("style_blend", "masks")
    )
    for name, value in {"content": content, "style": style, **settings}.items():
        if value is None:
            continue
        if not _is_axis(name, value, is_blended=is_blended):
            fixed[name] = value
            continue
        if name in _NEVER:
            raise TypeError(f"`{name}` is for the whole sweep and cannot be a list.")
        values = tuple(_listed(value))
        if not values:
            raise ValueError(f"`{name}` is an empty list; give at least one value.")
        if name == "strength" and not all(map(_is_number, values)):
            raise TypeError(
                "`strength` may be a list of numbers, or one picture; give each "
                "picture to a sweep of its own."
            )
        if name in _LAYERS:
            # What is only named counts 1, or as much as is usual.
            values = _same_layers(values, None if name == "finish" else 1.0)
        axes.append(Axis(name=name, values=values, labels=_labels(name, values, mode)))
    return axes, fixed


def make_members(axes: Sequence[Axis], mode: str) -> list[Member]:
    """Return one member for each combination of values.

    Args:
        axes: in the order in which they vary, the last one fastest.
        mode: "product": every value with every other; "zip": first with first, second
            with second.

    Raises:
        ValueError: if the mode is unknown, or lists to be zipped differ in length.
    """
    check_choice("mode", mode, MODES)
    columns = [range(len(axis.values)) for axis in axes]
    if mode == "product":
        rows = list(itertools.product(*columns))
    else:
        lengths = {axis.name: len(axis.values) for axis in axes}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(
                f"with mode='zip' all lists must be of one length, got {found}."
            )
        rows = list(zip(*columns, strict=True)) or [()]
    return [
        Member(
            index=index,
            labels={
                axis.name: axis.labels[i] for axis, i in zip(axes, row, strict=True)
            },
            settings={
                axis.name: axis.values[i] for axis, i in zip(axes, row, strict=True)
            },
        )
        for index, row in enumerate(rows)
    ]


def _is_axis(name: str, value: Any, *, is_blended: bool) -> bool:
    """Whether a value is a list of values."""
    if name == "content":
        return isinstance(value, list | tuple)
    if name == "style":
        if not isinstance(value, list | tuple):
            return False
        return not is_blended or any(isinstance(each, list | tuple) for each in value)
    if name == "style_blend":
        return _is_list(value) and any(_is_list(each) for each in value)
    if name in _LAYERS:
        return _is_list(value) and any(
            isinstance(each, Mapping) or _is_list(each) for each in value
        )
    if name == "masks":
        return False
    if name == "strength" and getattr(value, "ndim", 0) > 1:  # a map
        return False
    if name == "init":
        return isinstance(value, list | tuple)
    return _is_list(value)


def _is_list(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, list | tuple | range)


def _listed(value: Iterable[Any]) -> list[Any]:
    # Python's numbers, as records want them.
    return value.tolist() if isinstance(value, np.ndarray) else list(value)


def _same_layers(
    values: Sequence[Any], count: float | None
) -> tuple[dict[str, Any], ...]:
    """Give every value the same layers, the ones missing with a weight of 0.

    So which layers there are is the same for all members, and so is their program.
    """
    mappings = [
        dict(value)
        if isinstance(value, Mapping)
        else dict.fromkeys([value] if isinstance(value, str) else value, count)
        for value in values
    ]
    names = list(dict.fromkeys(name for mapping in mappings for name in mapping))
    return tuple(
        {name: mapping.get(name, 0.0) for name in names} for mapping in mappings
    )


def _labels(name: str, values: Sequence[Any], mode: str) -> tuple[str, ...]:
    labels = [_label(name, value, number) for number, value in enumerate(values, 1)]
    if len(set(labels)) < len(labels) and all(map(_is_number, values)):
        labels = [repr(value) for value in values]  # alike in their first six digits
    counts = Counter(labels)
    for number, label in enumerate(labels):
        if counts[label] > 1:
            if name not in _PICTURES:
                if mode == "zip":
                    continue
                raise ValueError(f"`{name}` has {label} twice; give every value once.")
            labels[number] = f"{label} ({number + 1})"  # of one name, in two folders
    return tuple(labels)


def _label(name: str, value: Any, number: int) -> str:
    if _is_number(value):
        return f"{value:g}"
    if isinstance(value, Mapping):
        label = ", ".join(
            layer if weight in (1, None) else f"{layer} {weight:g}"
            for layer, weight in value.items()
            if weight != 0
        )
        if len(label) > _MAX_LABEL:
            weights = value.values()
            label = "/".join("" if w is None else f"{w:g}" for w in weights)
        return label or "none"
    if isinstance(value, list | tuple):
        return "+".join(_label(name, each, number) for each in value)[:_MAX_LABEL]
    if name in _PICTURES:
        if isinstance(value, str | os.PathLike):
            return Path(value).stem[:_MAX_LABEL]
        return f"{name} {number}"
    return str(value)[:_MAX_LABEL]


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float | np.number) and math.isfinite(value)
