"""What a sweep is made of: axes, the members they span, and a row for each picture."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """One setting that differs from member to member.

    Attributes:
        name: of the argument of `jaxnst.stylize`.
        values: what it is set to, in the order in which it was given.
        labels: the same for people, short; no two alike but where lists are zipped.
    """

    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One picture of a sweep.

    Attributes:
        index: from 0, in the order of the axes, of which the last runs fastest.
        labels: {axis: label}.
        settings: {argument of `jaxnst.stylize`: value} of the axes alone.
    """

    index: int
    labels: Mapping[str, str]
    settings: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What people call it: `style_weight 3, seed 1`."""
        return _title(self.labels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What became of a member, as JSON can hold it.

    Attributes:
        index: of the member.
        labels: of the member.
        settings: every setting it was painted with, see `TransferConfig.to_dict`.
        file: name of the picture in the sweep's folder; None if there is none.
        sha256: of that file.
        height: of the picture, in pixels.
        width: likewise.
        steps: how many were made, over all sizes.
        stopped: why it ended early, see `jaxnst.Result`; or None.
        losses: {"total", "content", "style", "tv"} of the last step, before weights but
            for the total.
        metrics: see `jaxnst.metrics.Metrics`, if they were asked for.
        seconds: it took; in a batch, of the batch over its members.
        error: why there is no picture; or None.
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
        """What people call its member."""
        return _title(self.labels)


def _title(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {label}" for name, label in labels.items())
