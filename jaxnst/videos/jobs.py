"""A clip to be painted: checked and loaded, its shots found, nothing painted."""

import dataclasses
import functools
import importlib.metadata
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnst import __version__
from jaxnst._checks import shown
from jaxnst._types import HostAlpha, HostImage
from jaxnst.config import (
    CLIP_SETTINGS,
    CUSTOM,
    FLOWS,
    OVER_TIME,
    SETTINGS,
    STRENGTH_MAP,
    ClipConfig,
    TransferConfig,
    check_moment,
    is_flow_pattern,
)
from jaxnst.images import Picture, load_picture, resize
from jaxnst.images.resizing import fill_hidden
from jaxnst.networks.devices import default_device
from jaxnst.transfer.driver import finish
from jaxnst.transfer.inputs import StyleSource
from jaxnst.transfer.memory import choose_memory
from jaxnst.transfer.plan import step_work, work_of
from jaxnst.transfer.regions import (
    MAX_LABEL,
    Regions,
    levels_of,
    load_guiding,
    split_strength,
)
from jaxnst.transfer.result import make_record, settings_of
from jaxnst.transfer.run import Painted
from jaxnst.transfer.setup import Job, load_used_network, set_up, settle_config

from .flow import FlowFn, find_flow, make_flow_fn, read_flow
from .motion import Motion, measure_motion
from .shots import Shots, find_shots
from .source import Clip, as_array, is_film, is_pattern, open_clip, small_shape


# Frames of a shot that tell its strengths, and of a clip of masks that tell what it is.
_NUM_LOOKED = 6
# Settings of a picture that have no meaning for a clip, and why.
_NOT_FOR_CLIPS = {
    "max_seconds": "frames that end early would differ; set `frame_steps`",
    "tile": "frames would have to be shifted one by one",
}


# Time of a frame's content target, in units of one step.
STEPS_BESIDES = 0.3

# Frames, each with those that hold it, the nearest first.
Order = list[tuple[int, tuple[int, ...]]]


@dataclasses.dataclass
class ClipJob:
    """A clip to be painted.

    Attributes:
        own: settings of the clip.
        flow: name, function or pattern of files of the flow; None for none.
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
    flow: Any
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
    _levels: dict[int, tuple[float, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        is_files = is_flow_pattern(self.flow)
        self._flow_files: str | None = self.flow if is_files else None
        self._flow_fn = None if is_files else make_flow_fn(self.flow)

    def set_first(self, picture: Picture, *, memory: str | None = None) -> None:
        """Take the first frame, and what of it holds for all of them."""
        self.source_numbers = self.source_numbers or self.clip.numbers
        self.first = self.whole(0, picture)
        self._shot_jobs = {0: self.first}
        self.shape = self.first.inputs.shape
        if self.first.config.memory == "tiles":
            raise ValueError(
                "`memory` 'tiles' is for pictures, not for clips; use 'low', or a "
                "smaller `size`."
            )
        self.memory = memory or choose_memory(self.first, is_clip=True)
        if not self.first.config.normalize_activations:  # that needs all layers
            # The layers are those of all frames; the deeper ones would take memory.
            used = self.first.network, self.first.weights
            self.loaders = self.loaders | {"network_fn": lambda *_, **__: used}

    def copy(self) -> "ClipJob":
        """Return the same job, loaded anew, for another thread and its device."""
        other = dataclasses.replace(
            self, loaders=cached_loaders(), _shot_jobs={}, _readers={}
        )
        other.set_first(next(self.clip.frames(0, 1)), memory=self.memory)
        return other

    @property
    def num_passes(self) -> int:
        """How often each shot is gone through."""
        if self.own.steadiness == 0:
            return 1
        return max(self.own.passes, 2 if self.is_loop else 1)

    @property
    def steps_per_pass(self) -> int:
        """The number of steps of a frame that goes on from the one before."""
        return max(1, self.own.frame_steps // self.num_passes)

    def work_at(self, index: int, number: int) -> float:
        """Return the work of painting a frame in a pass, as `work_of` counts it."""
        is_first = any(index == start for start, _ in self.shots.spans)
        if self.own.steadiness == 0 or (is_first and number == 1):
            return work_of(self.first.config, self.shape)
        if is_first:  # it stays as it is
            return 0.0
        return (self.steps_per_pass + STEPS_BESIDES) * step_work(self.shape)

    @property
    def has_flow(self) -> bool:
        """Whether there is a flow; without one nothing is carried along."""
        return self._flow_fn is not None or self._flow_files is not None

    def seconds(self, index: int) -> float:
        """Return the time of a frame, from the first one."""
        return float(self.clip.times[index] - self.clip.times[0])

    @property
    def is_loop(self) -> bool:
        """Whether the last frame goes on in the first."""
        return self.own.loop and len(self.shots.spans) == 1

    @property
    def config(self) -> TransferConfig:
        """Settings of all frames, but for what changes over time."""
        config = self.first.config
        if self.strengths is None or config.strength == STRENGTH_MAP:
            return config
        return dataclasses.replace(config, strength=STRENGTH_MAP)

    def config_at(self, index: int) -> TransferConfig:
        """Return the settings of the picture that a frame is."""
        if not self.moving:
            return self.config
        return dataclasses.replace(self.config, **self._now(index))

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
            found = self._read(self.strengths, index)
            # A map that is 0 everywhere asks for no style.
            arguments["strength"] = as_array(found) if levels_of([found]) else 0.0
        config = settle_config(**arguments)
        content = as_array(self._with_opacity(picture))
        return set_up(
            content,
            self.style,
            config,
            arguments,
            is_frame=self._are_masks_moving,
            **self.loaders,
        )

    def following(self, job: Job, index: int, picture: Picture | None = None) -> Job:
        """Return the job of a frame that goes on from the first one of its shot.

        Called with the first frame it returns what all of them share. Without its
        `picture` it has all but its own content.
        """
        inputs = job.inputs
        if picture is not None:
            alpha = picture.alpha
            alpha = None if alpha is None else resize(alpha, self.shape)
            inputs = inputs._replace(content=picture, alpha=alpha)
        if self._are_masks_moving or self.strengths is not None:
            inputs = inputs._replace(regions=self._regions_at(index, picture))
        return job._replace(inputs=inputs, config=self.config_at(index))

    @property
    def has_alpha_mask(self) -> bool:
        """Whether the opacity of the clip is one of its masks."""
        return any(isinstance(x, str) and x == "alpha" for x in self.masks or ())

    @property
    def _are_masks_moving(self) -> bool:
        return self.has_alpha_mask or any(
            isinstance(each, Clip) for each in self.masks or ()
        )

    def _with_opacity(self, picture: Picture) -> Picture:
        """Return a frame with an opacity, if it is a mask: some frames have none."""
        if picture.alpha is not None or not self.has_alpha_mask:
            return picture
        opaque = np.ones(picture.rgb.shape[:2], np.float32)
        return dataclasses.replace(picture, alpha=opaque)

    def _read(self, clip: Clip, index: int) -> Picture:
        if id(clip) not in self._readers:
            self._readers[id(clip)] = Reader(clip)
        return self._readers[id(clip)](index)

    def _frame_of(self, guide: Any, index: int) -> Any:
        """Return the frame of a clip of masks; a picture stays."""
        is_clip = isinstance(guide, Clip)
        return as_array(self._read(guide, index)) if is_clip else guide

    def _regions_at(self, index: int, picture: Picture | None) -> Regions:
        if picture is None:
            picture = self.first.inputs.content
            if self.has_alpha_mask:
                picture = self._read(self.clip, index)
        masks, strength, levels = self.masks, self.arguments.get("strength"), ()
        if masks is not None:
            masks = [self._frame_of(each, index) for each in masks]
        if self.strengths is not None:
            strength = self._frame_of(self.strengths, index)
            levels = self._levels_of_shot(self.shot_of(index))
        found, _ = load_guiding(
            masks,
            split_strength(strength)[1],
            content=self._with_opacity(picture),
            num_styles=len(masks or ()),
            fit_fn=functools.partial(resize, shape=self.shape, is_mask=True),
            picture_fn=self.loaders["picture_fn"],
            levels=levels,
            is_frame=True,
        )
        return found

    def _levels_of_shot(self, number: int) -> tuple[float, ...]:
        """Return the strengths that represent those of a shot, from some frames."""
        if number not in self._levels:
            assert self.strengths is not None
            span = self.shots.spans[number]
            wanted = {*np.linspace(span[0], span[1] - 1, _NUM_LOOKED).round().tolist()}
            frames = enumerate(self.strengths.frames(*span), span[0])
            found = levels_of([each for index, each in frames if index in wanted])
            self._levels[number] = found or (1.0,)
        return self._levels[number]

    def motion(
        self, index: int, other: int, frame: HostImage, before: HostImage
    ) -> Motion:
        """Return how a frame goes on from another one."""
        files = self._flow_files
        if files is None:
            return measure_motion(frame, before, self._flow_fn)
        numbers = self.source_numbers[index], self.source_numbers[other]

        def read(one: int, two: int) -> FlowFn:
            return lambda *_: read_flow(files, one, two, self.shape)

        return measure_motion(frame, before, read(*numbers), read(*numbers[::-1]))

    def check_flow_files(self) -> None:
        """Check that there is a flow from each frame to those that hold it, and back.

        Raises:
            FileNotFoundError: if one is missing.
            ValueError: if the first one cannot be read.
        """
        files = self._flow_files
        if files is None:
            return
        pairs = {
            (self.source_numbers[index], self.source_numbers[other])
            for shot in range(len(self.shots.spans))
            for number in range(1, self.num_passes + 1)
            for index, before in self.order(shot, number)
            for other in before
        }
        for pair in sorted(pairs):
            for one, other in (pair, pair[::-1]):
                find_flow(files, one, other)
        if pairs:
            read_flow(files, *min(pairs), self.shape)

    def order(self, shot: int, number: int) -> Order:
        """Return the frames of a shot in the order of a pass, with what holds them."""
        indices = range(*self.shots.spans[shot])
        reach, count = self.own.reach, len(indices)
        if number == 1:
            found = []
            for index in indices[1:]:
                near = [self.shots.before[index], *(index - k for k in reach if k > 1)]
                near = near if 1 in reach else near[1:] or near
                before = tuple(dict.fromkeys(x for x in near if x >= indices.start))
                found.append((index, before or (index - 1,)))
            return found
        if self.is_loop:
            turned = [
                (index, [indices[(index - indices.start - k) % count] for k in reach])
                for index in indices
            ]
            return [
                (index, tuple(dict.fromkeys(x for x in before if x != index)))
                for index, before in turned
            ]
        way = -1 if number % 2 else 1
        return [
            (index, tuple(index + way * k for k in reach if index + way * k in indices))
            for index in (indices if way < 0 else indices[::-1])
        ]

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
            job = self.first_of_shot(number, picture if is_first else None)
            job = job if is_first else self.following(job, index, picture)
        painted = Painted(image, [], None, self.memory)
        result = finish(job, painted, seconds=0.0)
        return result.image, result.alpha

    def identity(self) -> dict[str, Any]:
        """Return what decides the frames, in a form that JSON can hold."""
        record = self._base()
        return {
            "jaxnst": __version__,
            "frames": [self.clip.numbers[0], self.clip.numbers[-1], len(self.clip)],
            **{
                name: record.get(name)
                for name in ("inputs", "settings", "clip", "over_time", "weights")
            },
            "shots": [start for start, _ in self.shots.spans],
            "memory": self.memory,
            "versions": record["versions"],
            "device": record["device"]["kind"],
        }

    def _base(self) -> dict[str, Any]:
        image = np.zeros((*self.shape, 3), np.float32)
        painted = Painted(image, [], None, self.memory)
        job = self.first._replace(config=self.config)
        record = make_record(job, painted, seconds=0.0, moved=(0, 0))
        masks = {f"mask {number}": x for number, x in enumerate(self.masks or (), 1)}
        clips = {"content": self.clip, **masks, "strength": self.strengths}
        for name, each in clips.items():
            if isinstance(each, Clip):
                known = {"name": each.name, "sha256": each.sha256}
                record["inputs"][name] = known
        for name in ("av", "opencv-python-headless"):
            try:
                record["versions"][name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:  # another one of OpenCV's
                record["versions"][name] = "other"
        record["clip"] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.own.to_dict().items()
        }
        if self.moving:
            record["over_time"] = {
                name: [list(point) for point in points]
                for name, points in self.moving.items()
            }
        return record

    def record(
        self,
        count: int,
        measured: Mapping[str, float] | None,
        *,
        num_steps: int,
        memory: str,
        is_part: bool,
    ) -> dict[str, Any]:
        """Return the record of so many frames of the clip, painted in so many steps.

        `memory` is the lowest level at which a frame was painted.
        """
        record = self._base()
        del record["seconds"], record["recoveries"]
        record["kind"] = "video"
        record["result"] |= {
            "steps": num_steps,
            "memory": memory,
            "stopped": "interrupted" if is_part else None,
            "frames": count,
            "shots": len(self.shots.spans),
        }
        record["shot_starts"] = [
            start for start, _ in self.shots.spans if start < count
        ]
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
    longest: int | None = None,
    check_fn: Callable[[Clip], object] = lambda _: None,
    seen_fn: Callable[[int], object] = lambda _: None,
) -> ClipJob:
    """Return a clip to be painted: all is checked, and the shots are found.

    With `longest` its frames are no longer than that, but for long and narrow ones.
    `check_fn` is called with the clip before anything else is loaded, and `seen_fn`
    with the number of each frame that was looked at.
    """
    for name, reason in _NOT_FOR_CLIPS.items():
        if settings.get(name):
            raise ValueError(f"`{name}` is only for single pictures: {reason}.")
    whole = open_clip(source, rate=own.rate)
    clip = whole.part(own.start, own.stop, own.every)
    if len(clip) < 2:
        raise ValueError(
            f"`start`, `stop` and `every` leave {len(clip)} frame; leave two or more."
        )
    check_fn(clip)
    arguments = {name: x for name, x in settings.items() if x is not None}
    if longest is not None:
        most = max(small_shape(clip.shape, longest))
        arguments["size"] = min(most, arguments.get("size", most))
    moving = {
        name: _points(name, arguments.pop(name), whole)
        for name in OVER_TIME
        if isinstance(arguments.get(name), Mapping)
    }
    masks, strengths = None, None
    if isinstance(arguments.get("masks"), list | tuple):
        masks = [
            _guide(f"masks[{i}]", each, whole, clip) if _is_clip(each) else each
            for i, each in enumerate(arguments.pop("masks"))
        ]
    if _is_clip(arguments.get("strength")):
        strengths = _guide("strength", arguments.pop("strength"), whole, clip)
    style = [*style] if isinstance(style, list | tuple) else style
    loaders = cached_loaders()
    job = ClipJob(
        clip=clip,
        style=style,
        own=own,
        flow=flow,
        shots=Shots(((0, len(clip)),), tuple(range(-1, len(clip) - 1))),
        arguments=arguments,
        moving=moving,
        masks=masks,
        strengths=strengths,
        loaders=loaders,
    )
    if job.has_alpha_mask and not clip.has_alpha:
        raise ValueError(
            "`masks` has 'alpha', but the clip has no transparency; give a clip as the "
            "mask."
        )
    cuts = own.cuts if isinstance(own.cuts, str) else _cuts(own.cuts, whole, clip)
    job.set_first(next(clip.frames(0, 1)))
    for index in range(len(clip)):  # what of it does not go together is told now
        job.config_at(index)
    if own.steadiness > 0:
        job.shots = find_shots(
            clip, cuts, num_threads=num_flow_threads(), seen_fn=seen_fn
        )
        job.check_flow_files()
    if own.loop and len(job.shots.spans) > 1:
        warnings.warn(
            f"`loop` has no effect, as the clip has {len(job.shots.spans)} shots.",
            stacklevel=3,
        )
    return job


def num_flow_threads() -> int:
    """Return how many threads measure flows.

    One on a CPU, whose cores paint; beside an accelerator all cores but one.
    """
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
        return is_film(path) or path.is_dir() or is_pattern(path)
    if isinstance(source, list | tuple):
        return True
    if isinstance(source, Iterator):
        return not hasattr(source, "read")  # a file is a picture
    shape = getattr(source, "shape", ())
    return len(shape) == 4 or (len(shape) == 3 and shape[-1] not in (1, 3, 4))


def _guide(argument: str, source: Any, whole: Clip, clip: Clip) -> Clip:
    """Return a clip of masks, for the same frames.

    Raises:
        ValueError: if it has not as many frames as the clip that is painted.
    """
    if isinstance(source, np.ndarray | list | tuple):
        source = [_visible(each) for each in source]
    found = open_clip(source, argument=argument)
    if argument != "strength":
        _check_white(argument, found)
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


def _visible(mask: Any) -> Any:
    """Return a mask of True and False as one of 1 and 0."""
    is_flags = getattr(mask, "dtype", None) == np.bool_
    return np.asarray(mask, np.float32) if is_flags else mask


def _check_white(argument: str, masks: Clip) -> None:
    """Check that masks are not numbers of classes, which are read as nearly black.

    Raises:
        ValueError: if they are.
    """
    places = {*np.linspace(0, len(masks) - 1, _NUM_LOOKED).astype(int).tolist()}
    highest = max(next(masks.frames(x, x + 1)).rgb.max() for x in places)
    if highest == 0:
        warnings.warn(
            f"`{argument}` is black in the {len(places)} frames that were looked at; "
            "white is where its style is painted.",
            stacklevel=5,
        )
    elif highest <= MAX_LABEL:
        raise ValueError(
            f"`{argument}` has values up to {255 * highest:.3g} of 255, which look "
            "like numbers of classes; give masks that are white where the style is "
            "painted."
        )


def _cuts(cuts: Sequence[int | float], whole: Clip, clip: Clip) -> list[int]:
    """Return the places in a part of a clip where shots begin."""
    numbers = [whole.index_of("cuts", each) for each in cuts]
    places = np.searchsorted(clip.numbers, numbers).tolist()
    return [place for place in places if place < len(clip)]


def _points(name: str, given: Mapping[Any, Any], clip: Clip) -> list[tuple[int, Any]]:
    """Return (frame, value) of a setting that changes, in the order of the frames."""
    if not given:
        raise ValueError(f"`{name}` is empty; give {{frame: value}}.")
    points: dict[int, Any] = {}
    for moment, value in given.items():
        try:
            moment = check_moment(name, moment)
        except (ValueError, TypeError):
            raise ValueError(
                f"`{name}` has the moment {shown(moment)}; give numbers of frames, or "
                "seconds as floats."
            ) from None
        if isinstance(value, np.ndarray | np.generic):
            value = value.tolist()
        place = clip.index_of(name, moment, is_end=True)
        if place in points:
            raise ValueError(f"`{name}` names frame {place} twice: {shown(given)}.")
        points[place] = _listed(value)
    try:
        values = np.array([*points.values()])
    except ValueError:  # of several forms
        values = np.array(None)
    if not np.issubdtype(values.dtype, np.number):
        raise ValueError(
            f"`{name}` must have numbers of one form over time, got {shown(given)}."
        )
    for value in points.values():
        SETTINGS[name].check(name, value)
    return sorted(points.items())


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


# Settings that fit one clip only.
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
    if settings.get("tile") is not None and "padding" not in given:
        settings.pop("padding", None)
    for name in _NOT_FOR_CLIPS:
        settings.pop(name, None)
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
        weights = {"content_weight", "style_weight"}
        is_free = name == "style_weight" and "strength" in given
        is_free |= name == "strength" and not weights.isdisjoint(given)
        if points is None or name in given or is_free:
            continue
        try:
            settings[name] = {int(at): value for at, value in points}
        except (TypeError, ValueError):
            raise ValueError(f"the record's `{name}` over time is damaged.") from None
    return settings, own
