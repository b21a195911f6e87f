"""A clip to be painted: checked and loaded, its shots found, nothing painted."""

import dataclasses
import functools
import importlib.metadata
import os
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnst import __version__
from jaxnst._checks import check_count, check_number, shown
from jaxnst._types import HostAlpha, HostImage
from jaxnst.config import (
    CLIP_SETTINGS,
    CUSTOM,
    FLOWS,
    OVER_TIME,
    SETTINGS,
    ClipConfig,
    TransferConfig,
)
from jaxnst.images import Picture, load_picture, resize
from jaxnst.images.resizing import fill_hidden
from jaxnst.networks.devices import default_device
from jaxnst.transfer.driver import finish
from jaxnst.transfer.inputs import StyleSource
from jaxnst.transfer.memory import choose_memory
from jaxnst.transfer.regions import load_guiding, make_regions
from jaxnst.transfer.result import make_record, settings_of
from jaxnst.transfer.run import Painted
from jaxnst.transfer.setup import Job, load_used_network, set_up, settle_config

from .flow import FlowFn, is_flow_pattern, make_flow_fn, read_flow
from .motion import Motion, measure_motion
from .shots import Shots, find_shots
from .source import Clip, is_film, open_clip


# Settings of a picture that have no meaning for a clip, and why.
_NOT_FOR_CLIPS = {
    "max_seconds": "frames that end early would differ; set `frame_steps`",
    "tile": "frames would have to be shifted one by one",
}


@dataclasses.dataclass
class ClipJob:
    """A clip to be painted.

    Attributes:
        own: settings of the clip.
        arguments: arguments of `stylize` that do not change over time.
        moving: {setting: [(number of a frame, value)]} of those that do.
        masks: clip or picture of each mask; None: there are none.
        strengths: clip of strengths; None: there is none.
        shape: height and width of the painted frames.
        memory: level of memory.
        source_numbers: number of each frame in the clip that was given.
    """

    clip: Clip
    style: StyleSource
    own: ClipConfig
    flow_fn: FlowFn | None
    flow_files: str | None
    shots: Shots
    arguments: dict[str, Any]
    moving: dict[str, list[tuple[int, Any]]]
    masks: list[Any] | None
    strengths: Clip | None
    loaders: dict[str, Any]
    first: Job = dataclasses.field(init=False)
    shape: tuple[int, int] = dataclasses.field(init=False)
    memory: str = dataclasses.field(init=False)
    source_numbers: Sequence[int] = ()
    _shot_jobs: dict[int, Job] = dataclasses.field(default_factory=dict)
    _readers: dict[int, "Reader"] = dataclasses.field(default_factory=dict)

    def set_first(self, picture: Picture, *, memory: str | None = None) -> None:
        """Take the first frame, and what of it holds for all of them."""
        self.source_numbers = self.source_numbers or self.clip.numbers
        self.first = self.whole(0, picture)
        self.shape = self.first.inputs.shape
        self.memory = memory or choose_memory(self.first)

    @property
    def num_passes(self) -> int:
        """How often each shot is gone through."""
        return max(self.own.passes, 2 if self.is_loop else 1)

    @property
    def is_loop(self) -> bool:
        """Whether the last frame goes on in the first."""
        return self.own.loop and len(self.shots.spans) == 1

    def config_at(self, index: int) -> TransferConfig:
        """Return the settings of the picture that a frame is."""
        if not self.moving:
            return self.first.config
        return dataclasses.replace(self.first.config, **self._now(index))

    def _now(self, index: int) -> dict[str, Any]:
        """Return the settings that change over time, as they are at a frame."""
        place = self.source_numbers[index]
        return {name: _at(place, points) for name, points in self.moving.items()}

    def whole(self, index: int, picture: Picture) -> Job:
        """Return the job of a frame that is painted by itself, as `stylize` has it."""
        arguments = self.arguments | self._now(index)
        if self.masks is not None:
            arguments["masks"] = [self._frame_of(each, index) for each in self.masks]
        if self.strengths is not None:
            arguments["strength"] = self._frame_of(self.strengths, index)
        config = settle_config(**arguments)
        content = as_array(picture)
        return set_up(content, self.style, config, arguments, **self.loaders)

    def following(self, job: Job, index: int, picture: Picture) -> Job:
        """Return the job of a frame that goes on from the first one of its shot."""
        alpha = picture.alpha
        alpha = None if alpha is None else resize(alpha, self.shape)
        inputs = job.inputs._replace(content=picture, alpha=alpha)
        moving = self.strengths is not None or any(
            isinstance(each, Clip) for each in self.masks or ()
        )
        if moving and job.inputs.regions is not None:
            inputs = inputs._replace(regions=self._regions_at(job, index, picture))
        return job._replace(inputs=inputs, config=self.config_at(index))

    def _frame_of(self, guide: Any, index: int) -> Any:
        """Return the frame of a clip of masks or strengths; a picture stays."""
        if not isinstance(guide, Clip):
            return guide
        if id(guide) not in self._readers:
            self._readers[id(guide)] = Reader(guide)
        return as_array(self._readers[id(guide)](index))

    def _regions_at(self, job: Job, index: int, picture: Picture) -> Any:
        def fit_fn(values: np.ndarray) -> np.ndarray:
            return resize(values, self.shape, is_mask=True)

        maps, known = [], job.inputs.regions
        assert known is not None
        if self.masks is not None:
            found, _ = load_guiding(
                [self._frame_of(each, index) for each in self.masks],
                None,
                content=picture,
                num_styles=len(self.masks),
                fit_fn=fit_fn,
                picture_fn=self.loaders["picture_fn"],
            )
            maps = list(found.maps)
        strength_map, levels = None, ()
        if known.strengths is not None:
            frame = self.arguments.get("strength")
            if self.strengths is not None:
                frame = self._frame_of(self.strengths, index)
            loaded = self.loaders["picture_fn"](frame, argument="strength")
            strength_map = fit_fn(loaded.rgb.mean(-1))
            count = len(known.strengths) // max(1, len(maps))
            levels = known.strengths[:count]
        return make_regions(maps, strength_map, levels)

    def motion(
        self, index: int, other: int, frame: HostImage, before: HostImage
    ) -> Motion:
        """Return how a frame goes on from another one."""
        if self.flow_files is None:
            return measure_motion(frame, before, self.flow_fn)
        numbers = self.source_numbers[index], self.source_numbers[other]

        def read(one: int, two: int) -> FlowFn:
            return lambda *_: read_flow(str(self.flow_files), one, two, self.shape)

        return measure_motion(frame, before, read(*numbers), read(*numbers[::-1]))

    def first_of_shot(self, number: int, picture: Picture | None = None) -> Job:
        """Return the job of a shot's first frame, which is read if it is not given."""
        if number not in self._shot_jobs:
            index = self.shots.spans[number][0]
            if picture is None:
                picture = next(self.clip.frames(index, index + 1))
            self._shot_jobs = {number: self.whole(index, picture)}
        return self._shot_jobs[number]

    def shot_of(self, index: int) -> int:
        """Return the number of a frame's shot."""
        return next(i for i, (_, end) in enumerate(self.shots.spans) if index < end)

    def finished(
        self, index: int, picture: Picture, image: HostImage
    ) -> tuple[HostImage, HostAlpha | None]:
        """Return a frame with its colors and filters, and its opacity."""
        picture = fill_hidden(picture)
        number = self.shot_of(index)
        is_first = index == self.shots.spans[number][0]
        if self.own.steadiness == 0:
            job = self.whole(index, picture)
        else:
            first = self.first_of_shot(number, picture if is_first else None)
            job = self.following(first, index, picture)
        painted = Painted(image, [], None, self.memory)
        result = finish(job, painted, seconds=0.0)
        return result.image, result.alpha

    def identity(self) -> dict[str, Any]:
        """Return what decides the frames, in a form that JSON can hold."""
        record = self._base()
        return {
            "jaxnst": __version__,
            "inputs": record["inputs"],
            "frames": [self.clip.numbers[0], self.clip.numbers[-1], len(self.clip)],
            "settings": record["settings"],
            "clip": self.own.to_dict(),
            "over_time": {k: [list(x) for x in v] for k, v in self.moving.items()},
            "weights": record["weights"],
            "shots": [start for start, _ in self.shots.spans],
            "memory": self.memory,
            "versions": record["versions"],
            "device": record["device"]["kind"],
        }

    def _base(self) -> dict[str, Any]:
        image = np.zeros((*self.shape, 3), np.float32)
        painted = Painted(image, [], None, self.memory)
        record = make_record(self.first, painted, seconds=0.0, moved=(0, 0))
        record["inputs"]["content"] = {
            "name": self.clip.name,
            "sha256": self.clip.sha256,
        }
        for number, each in enumerate(self.masks or (), start=1):
            if isinstance(each, Clip):
                name = {"name": each.name, "sha256": each.sha256}
                record["inputs"][f"mask {number}"] = name
        if self.strengths is not None:
            known = self.strengths
            record["inputs"]["strength"] = {"name": known.name, "sha256": known.sha256}
        for name in ("av", "opencv-python-headless"):
            try:
                record["versions"][name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:  # another one of OpenCV's
                record["versions"][name] = "other"
        return record

    def record(
        self,
        rows: Sequence[Mapping[str, Any]],
        measured: Mapping[str, float] | None,
        *,
        is_part: bool,
    ) -> dict[str, Any]:
        """Return the record of the clip."""
        record = self._base()
        del record["seconds"], record["recoveries"]
        record["kind"] = "video"
        record["result"] |= {
            "steps": sum(row["steps"] for row in rows),
            "stopped": "interrupted" if is_part else None,
            "frames": len(rows),
            "shots": len(self.shots.spans),
        }
        record["clip"] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.own.to_dict().items()
        }
        record["shot_starts"] = [
            start for start, _ in self.shots.spans if start < len(rows)
        ]
        if self.moving:
            record["over_time"] = {
                name: [list(point) for point in points]
                for name, points in self.moving.items()
            }
        if measured is not None:
            record["metrics"] = dict(measured)
        return record


def plan_clip(
    source: Any,
    style: StyleSource,
    own: ClipConfig,
    flow: Any,
    settings: Mapping[str, Any],
    *,
    check_fn: Callable[[Clip], object] = lambda _: None,
    seen_fn: Callable[[int], object] = lambda _: None,
    num_threads: int | None = None,
) -> ClipJob:
    """Return a clip to be painted: all is checked, and the shots are found.

    `check_fn` is called with the clip before anything else is loaded, and `seen_fn`
    with the number of each frame that was looked at.
    """
    for name, reason in _NOT_FOR_CLIPS.items():
        if settings.get(name):
            raise ValueError(f"`{name}` is of single pictures: {reason}.")
    is_files = is_flow_pattern(flow)
    flow_fn = None if is_files else make_flow_fn(flow)[0]
    whole = open_clip(source, rate=own.rate)
    clip = whole.part(own.start, own.stop, own.every)
    if len(clip) < 2:
        raise ValueError(
            f"`start`, `stop` and `every` leave {len(clip)} frame; leave two or more."
        )
    check_fn(clip)
    arguments = {name: x for name, x in settings.items() if x is not None}
    moving = {
        name: _points(name, arguments.pop(name), whole)
        for name in OVER_TIME
        if isinstance(arguments.get(name), Mapping)
    }
    masks, strengths = None, None
    if arguments.get("masks") is not None:
        given = arguments.pop("masks")
        masks = (
            [
                _guide(f"masks[{i}]", each, whole, clip) if _is_clip(each) else each
                for i, each in enumerate(given)
            ]
            if isinstance(given, list | tuple)
            else given
        )
    if _is_clip(arguments.get("strength")):
        strengths = _guide("strength", arguments.pop("strength"), whole, clip)
    style = [*style] if isinstance(style, list | tuple) else style
    loaders = cached_loaders()
    job = ClipJob(
        clip=clip,
        style=style,
        own=own,
        flow_fn=flow_fn,
        flow_files=str(flow) if is_files else None,
        shots=Shots(((0, len(clip)),), tuple(range(-1, len(clip) - 1))),
        arguments=arguments,
        moving=moving,
        masks=masks,
        strengths=strengths,
        loaders=loaders,
    )
    job.set_first(next(clip.frames(0, 1)))
    threads = num_threads or num_flow_threads()
    if own.steadiness > 0:
        job.shots = find_shots(clip, own.cuts, num_threads=threads, seen_fn=seen_fn)
    if own.loop and len(job.shots.spans) > 1:
        warnings.warn(
            f"`loop` has no effect, as the clip has {len(job.shots.spans)} shots.",
            stacklevel=3,
        )
    return job


def num_flow_threads() -> int:
    """Return how many threads measure flows: all but one beside an accelerator."""
    if default_device().platform == "cpu":  # whose cores are busy painting
        return 1
    return max(1, (os.cpu_count() or 2) - 1)


class Reader:
    """The frames of a clip by number, read again from the start only to go back."""

    def __init__(self, clip: Clip):
        self._clip = clip
        self._index = -2
        self._frames: Any = iter(())
        self._last: Picture | None = None

    def __call__(self, index: int) -> Picture:
        """Return a frame."""
        if index != self._index:
            if index != self._index + 1:
                self._frames = self._clip.frames(index)
            self._last, self._index = next(self._frames), index
        assert self._last is not None
        return self._last


def _is_clip(source: Any) -> bool:
    """Return whether a mask or a map of strengths is a clip, not a picture."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return (
            is_film(path) or path.is_dir() or ("%" in path.name and not path.exists())
        )
    if isinstance(source, list | tuple):
        return True
    return getattr(source, "ndim", 0) == 4


def _guide(argument: str, source: Any, whole: Clip, clip: Clip) -> Clip:
    """Return a clip of masks, for the same frames.

    Raises:
        ValueError: if it has not as many frames as the clip that is painted.
    """
    found = open_clip(source, argument=argument)
    if len(found) not in (len(whole), len(clip)):
        raise ValueError(
            f"`{argument}` has {len(found)} frames, but the clip {len(whole)}; it must "
            "have as many."
        )
    if len(found) == len(clip):
        return found
    numbers = clip.numbers
    times = tuple(found.times[number] for number in numbers)
    return dataclasses.replace(found, numbers=numbers, times=times)


def _points(name: str, given: Mapping[Any, Any], clip: Clip) -> list[tuple[int, Any]]:
    """Return (frame, value) of a setting that changes, in the order of the frames."""
    if not given:
        raise ValueError(f"`{name}` is empty; give {{frame: value}}.")
    points = []
    for moment, value in given.items():
        if isinstance(moment, float):
            check_number(name, moment)
        else:
            check_count(name, moment, minimum=0)
        if isinstance(value, np.ndarray | np.generic):
            value = value.tolist()
        points.append((clip.index_of(name, moment, is_end=True), _listed(value)))
    shapes = {np.shape(value) for _, value in points}
    if len(shapes) > 1 or not all(
        np.issubdtype(np.asarray(value).dtype, np.number) for _, value in points
    ):
        raise ValueError(
            f"`{name}` must have numbers of one form over time, got {shown(given)}."
        )
    for _, value in points:
        SETTINGS[name].check(name, value)
    return sorted(points, key=lambda point: point[0])


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_listed(each) for each in value]
    return value


def _at(index: int, points: Sequence[tuple[int, Any]]) -> Any:
    """Return the value of a frame, linear between the points."""
    places = [place for place, _ in points]
    values = np.asarray([value for _, value in points], float)
    flat = values.reshape(len(values), -1)
    found = [float(np.interp(index, places, column)) for column in flat.T]
    return _listed(np.reshape(found, values.shape[1:]).tolist())


def cached_loaders() -> dict[str, Any]:
    """Return functions that load pictures, and each network once."""
    return {
        "picture_fn": load_picture,
        "network_fn": functools.cache(load_used_network),
    }


def as_array(picture: Picture) -> np.ndarray:
    """Return a frame as an array, with its opacity as a fourth channel."""
    if picture.alpha is None:
        return picture.rgb
    return np.dstack([picture.rgb, picture.alpha])


# Settings of a clip that say which frames of it are painted.
_OF_ONE_CLIP = ("start", "stop", "every", "cuts", "rate")


def settings_of_clip(
    record: Mapping[str, Any], given: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the frames and those of the clip in a record.

    The record may be of a picture, too. What only fits the clip that it is of, such as
    its cuts, is left out.

    Raises:
        ValueError: if a value is none that jaxnst writes.
    """
    if record.get("kind") == "video":
        record = {**record, "kind": "picture"}
    settings = settings_of(record, given)
    own = {}
    known = record.get("clip", {})
    for name in CLIP_SETTINGS.keys() - {*_OF_ONE_CLIP}:
        value = known.get(name) if isinstance(known, Mapping) else None
        if value is None or name in given:
            continue
        if value == CUSTOM or (name == "flow" and value not in FLOWS):
            raise ValueError(
                f"the record's `{name}` was the user's own; give it with --{name}."
            )
        own[name] = CLIP_SETTINGS[name].check(name, value)
    moving = record.get("over_time", {})
    for name in OVER_TIME:
        points = moving.get(name) if isinstance(moving, Mapping) else None
        if points is None or name in given:
            continue
        try:
            settings[name] = {int(at): value for at, value in points}
        except (TypeError, ValueError):
            raise ValueError(f"the record's `{name}` over time is damaged.") from None
    return settings, own
