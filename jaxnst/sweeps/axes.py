"""The axes of a sweep: which settings are lists, the members, and their file names."""

import dataclasses
import itertools
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnst._checks import check_choice, check_names


MODES = ("product", "zip")
# Settings whose single value is a list already; an axis of them is a list of lists.
_LAYERS = ("content_layers", "style_layers", "style_loss", "finish")
_PICTURES = ("content", "style", "init")
# Longer labels make names and sheets hard to read.
MAX_LABEL = 40
# More pictures than anybody paints: a typing error, and memory would not hold them.
_MAX_VALUES = 100_000
_MAX_FILE_NAME = 120
# Most file systems allow 255 bytes; names of temporary files are longer than these.
_MAX_FILE_NAME_BYTES = 192
# Refused by Windows, or special in shells and URLs.
_REFUSED = frozenset("<>:\"/\\|?*%#&;'`$!^{}[]")
# Extension of a picture that is a label, to avoid `style-wave.jpg.png`.
_EXTENSION = re.compile(r"\.(jpe?g|png|webp|tiff?|bmp|gif|ppm)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """One argument of `jaxnst.stylize` that differs from member to member.

    Attributes:
        labels: a short text for each value; unique, except where lists are zipped.
    """

    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A member of a sweep and its outcome, in values that JSON can hold.

    Attributes:
        index: number of the member, from 0, in the order of the axes; the last axis
            runs fastest.
        labels: {axis: label} of the member.
        settings: all settings of the picture, see `TransferConfig.to_dict`; those of
            the axes alone from `make_members`.
        file: name of the picture in the sweep's folder; None if there is none.
        sha256: hash of that file.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        steps: number of steps made, over all sizes.
        stopped: reason for an early end, see `jaxnst.Result`; or None.
        losses: {"total", "content", "style", "tv"} of the last step; all but the total
            are unweighted.
        metrics: see `jaxnst.metrics.Metrics`; empty unless they were asked for.
        seconds: time it took; in a batch, the time of the batch divided by its members.
        error: reason for a missing picture; or None.
    """

    index: int
    labels: Mapping[str, str]
    settings: Mapping[str, Any]
    file: str | None = None
    sha256: str | None = None
    height: int = 0
    width: int = 0
    steps: int = 0
    stopped: str | None = None
    losses: Mapping[str, float] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None

    @property
    def title(self) -> str:
        """Labels of the member in words, such as `style_weight 3, seed 1`."""
        return ", ".join(f"{name} {label}" for name, label in self.labels.items())


def split_axes(
    content: Any, style: Any, settings: Mapping[str, Any], *, mode: str = "product"
) -> tuple[list[Axis], dict[str, Any]]:
    """Return the axes, in the order of the arguments, and all other settings.

    With `style_blend` or `masks` a list of styles is one value. With mode "zip" a list
    may repeat a value.
    """
    axes: list[Axis] = []
    fixed: dict[str, Any] = {}
    is_blended = any(
        settings.get(name) is not None for name in ("style_blend", "masks")
    )
    for name, value in {"content": content, "style": style, **settings}.items():
        if value is None:
            continue
        if not _is_axis(name, value, is_blended=is_blended):
            fixed[name] = value
            continue
        count = value.size if isinstance(value, np.ndarray) else len(value)
        if count > _MAX_VALUES:
            raise ValueError(f"`{name}` has {count} values; at most {_MAX_VALUES}.")
        # Numbers of Python, which JSON can hold.
        values = tuple(value.tolist() if isinstance(value, np.ndarray) else value)
        if not values:
            raise ValueError(f"`{name}` is an empty list; give at least one value.")
        if name == "strength" and not all(map(is_number, values)):
            raise TypeError(
                "`strength` may be a list of numbers, or one picture; give each "
                "picture to a sweep of its own."
            )
        if name == "finish":  # whose order counts
            values = tuple(_named(name, value, None) for value in values)
        elif name in _LAYERS:
            values = _same_layers(name, values)
        axes.append(Axis(name=name, values=values, labels=_labels(name, values, mode)))
    return axes, fixed


def make_members(axes: Sequence[Axis], mode: str) -> list[Row]:
    """Return one member for each combination of values."""
    check_choice("mode", mode, MODES)
    lengths = {axis.name: len(axis.values) for axis in axes}
    if mode == "zip" and len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(
            f"with mode='zip' all lists must be of one length, got {found}."
        )
    combine = itertools.product if mode == "product" else zip
    labels, values = (
        [dict(zip(lengths, member, strict=True)) for member in combine(*columns)]
        for columns in ([axis.labels for axis in axes], [axis.values for axis in axes])
    )
    return [
        Row(index=index, labels=labels[index], settings=values[index])
        for index in range(len(labels))
    ]


def make_file_name(
    index: int, labels: Mapping[str, str], num_digits: int, extension: str
) -> str:
    """Return the file name of a member, such as `03_style_weight-3_seed-1.png`.

    It is readable and allowed on every file system; the index makes it unique.
    """
    parts = [
        (_clean(name), _clean(_EXTENSION.sub("", label)))
        for name, label in labels.items()
    ]
    room = _MAX_FILE_NAME - len(extension)
    stem = ""
    longest = min(room, max((len(label) for _, label in parts), default=1))
    for length in range(longest, 0, -1):
        shown = [f"{name}-{_cut(label, length)}" for name, label in parts]
        stem = "_".join([f"{index:0{num_digits}}", *shown])
        if len(stem) <= room and len(stem.encode()) <= _MAX_FILE_NAME_BYTES:
            break
    stem = stem[:room].encode()[:_MAX_FILE_NAME_BYTES].decode(errors="ignore")
    return stem.rstrip(" .-_") + extension


def _is_axis(name: str, value: Any, *, is_blended: bool) -> bool:
    """Whether a value is a list of values."""
    if name == "masks":
        return False
    if name == "strength" and getattr(value, "ndim", 0) > 1:  # a map
        return False
    if name in _PICTURES:  # an array is a picture
        if not isinstance(value, list | tuple):
            return False
        is_one_blend = name == "style" and is_blended
        return not is_one_blend or any(isinstance(x, list | tuple) for x in value)
    if name == "style_blend" or name in _LAYERS:
        return _is_list(value) and any(
            _is_list(x) or isinstance(x, Mapping) for x in value
        )
    return _is_list(value)


def _is_list(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    # An optax transformation is a named tuple.
    return isinstance(value, list | tuple | range) and not hasattr(value, "_fields")


def _named(name: str, value: Any, usual: float | None) -> dict[str, Any]:
    """Return {layer: weight} or {filter: amount}; None is the filter's usual one."""
    if isinstance(value, Mapping):
        return dict(value)
    return dict.fromkeys(check_names(name, value), usual)


def _same_layers(name: str, values: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Give all values the same layers, missing ones with weight 0.

    Which layers there are is static, so one program serves all members.
    """
    mappings = [_named(name, value, 1.0) for value in values]
    names = list(dict.fromkeys(name for mapping in mappings for name in mapping))
    return tuple(
        {name: mapping.get(name, 0.0) for name in names} for mapping in mappings
    )


def _labels(name: str, values: Sequence[Any], mode: str) -> tuple[str, ...]:
    labels = [_label(name, value, number) for number, value in enumerate(values, 1)]
    if len(set(labels)) < len(labels) and all(map(is_number, values)):
        labels = [repr(value) for value in values]  # equal in their first six digits
    counts = Counter(labels)
    for number, label in enumerate(labels):
        if counts[label] > 1:
            if name not in _PICTURES:
                if mode == "zip":
                    continue
                raise ValueError(f"`{name}` has {label} twice; give every value once.")
            labels[number] = f"{label} ({number + 1})"  # same name, other folder
    return tuple(labels)


def _label(name: str, value: Any, number: int) -> str:
    if is_number(value):
        return f"{value:g}"
    if isinstance(value, Mapping):
        label = ", ".join(
            layer if weight in (1, None) else f"{layer} {_label(name, weight, number)}"
            for layer, weight in value.items()
            if weight != 0
        )
        if len(label) > MAX_LABEL:
            weights = ["" if weight is None else weight for weight in value.values()]
            label = "/".join(_label(name, weight, number) for weight in weights)
        return label or "none"
    if name in _PICTURES:
        return picture_name(value, f"{name} {number}")
    if isinstance(value, list | tuple):
        return "+".join(_label(name, each, number) for each in value)[:MAX_LABEL]
    return str(value)[:MAX_LABEL]


def picture_name(source: Any, other: str) -> str:
    """Return the names of picture files, short; `other` for what is in no file."""
    if isinstance(source, list | tuple):
        return "+".join(picture_name(each, other) for each in source)[:MAX_LABEL]
    is_file = isinstance(source, str | os.PathLike)
    return Path(source).stem[:MAX_LABEL] if is_file else other


def is_number(value: object) -> bool:
    """Return whether a value is a finite number of Python or NumPy."""
    if isinstance(value, np.number):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # integers may be larger


def _clean(text: str) -> str:
    cleaned = ""
    for char in unicodedata.normalize("NFC", text):
        # C: control, format, surrogate, private, unassigned; Z: separators.
        is_safe = char not in _REFUSED and unicodedata.category(char)[0] not in "CZ"
        if is_safe or not cleaned.endswith("-"):
            cleaned += char if is_safe else "-"
    return cleaned.rstrip(".-") or "x"


def _cut(label: str, length: int) -> str:
    """Keep the beginning and the end of a label, which say more than its middle."""
    if len(label) <= length:
        return label
    if length < 6:
        return label[:length]
    end = (length - 1) // 3
    return f"{label[: length - 1 - end]}~{label[len(label) - end :]}"
