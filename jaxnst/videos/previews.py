"""What painting a clip would take, and how some of its frames would look."""

import dataclasses
import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from jaxnst.images import resize
from jaxnst.images.contact_sheet import draw_pictures
from jaxnst.images.files import atomic_write, check_place
from jaxnst.transfer.driver import finish
from jaxnst.transfer.inputs import StyleSource
from jaxnst.transfer.memory import as_text, make_estimate
from jaxnst.transfer.terminal import Screen

from .driver import make_clip_config
from .encoding import Output, check_streams
from .flow import one_thread
from .jobs import STEPS_BESIDES, ClipJob, plan_clip
from .painting import paint_alone


# Frames of a preview: their longest side, every so many of a shot, at most so many in
# all, and in a row.
_SIZE, _EVERY, _MOST, _COLUMNS = 256, 24, 60, 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipEstimate:
    """Memory and time that a clip will take; `str` gives it in words.

    Attributes:
        seconds: duration of all frames, if all of them move.
        whole_seconds: duration of one frame painted by itself.
        frame_seconds: duration of one that goes on from the one before.
        memory: peak, in bytes.
    """

    frames: int
    shots: int
    shape: tuple[int, int]
    clip_seconds: float
    seconds: float
    whole_seconds: float
    frame_seconds: float
    memory: float

    def __str__(self) -> str:
        """Return the estimate in words."""
        minutes, seconds = divmod(round(self.seconds), 60)
        hours, minutes = divmod(minutes, 60)
        length = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
        return (
            f"{self.frames} frames, {self.clip_seconds:.2f} s, {self.shots} "
            f"shot{'s' * (self.shots > 1)}, {self.shape[1]} x {self.shape[0]} px\n"
            f"{self.whole_seconds:.1f} s for the first frame of a shot, "
            f"{self.frame_seconds:.1f} s for each other one\n"
            f"about {length} and {as_text(self.memory)}"
        )


def estimate_clip(
    clip: Any,
    style: StyleSource,
    own: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    output: Output | None = None,
    audio: bool = True,
    is_quiet: bool = True,
) -> ClipEstimate:
    """Return how much memory and time a clip would take; nothing is painted."""
    screen = Screen(enabled=not is_quiet)
    with one_thread(), screen.working("looking for cuts, and timing a few steps"):
        job = _plan(clip, style, own, settings, output, audio=audio)
        holds = psutil.Process().memory_info().rss
        found = make_estimate(job.first, job.memory, holds=holds)
        flow = _time_motion(job)
    each = found.sizes[-1].step_seconds * (job.steps_per_pass + STEPS_BESIDES) + flow
    shots, count = len(job.shots.spans), len(job.clip)
    whole = shots if job.own.steadiness > 0 else count
    follow = (count - whole) * job.num_passes
    return ClipEstimate(
        frames=count,
        shots=shots,
        shape=job.shape,
        clip_seconds=float(job.clip.times[-1] - job.clip.times[0] + job.clip.duration),
        seconds=whole * found.seconds + follow * each,
        whole_seconds=found.seconds,
        frame_seconds=each,
        memory=found.memory,
    )


def _time_motion(job: ClipJob) -> float:
    """Return the seconds that the motion of one frame takes."""
    orders = (job.order(shot, 1) for shot in range(len(job.shots.spans)))
    order = next((found for found in orders if found), None)
    if order is None or job.own.steadiness == 0:  # nothing goes on from anything
        return 0.0
    index, other = order[0][0], order[0][1][0]
    two, one = (
        resize(next(job.clip.frames(i, i + 1)).rgb, job.shape) for i in (index, other)
    )
    started = time.perf_counter()
    job.motion(index, other, two, one)
    return (time.perf_counter() - started) * len(job.own.reach)


def _plan(
    clip: Any,
    style: StyleSource,
    own: Mapping[str, Any],
    settings: Mapping[str, Any],
    output: Output | None,
    *,
    audio: bool,
    longest: int | None = None,
) -> ClipJob:
    """Return a clip to be painted, which its output can hold."""
    check_fn = functools.partial(check_streams, output, audio=audio)
    config, flow = make_clip_config(own), own.get("flow", "dis")
    return plan_clip(
        clip, style, config, flow, settings, longest=longest, check_fn=check_fn
    )


def preview_clip(
    clip: Any,
    style: StyleSource,
    own: Mapping[str, Any],
    settings: Mapping[str, Any],
    place: Path,
    *,
    is_quiet: bool = True,
    output: Output | None = None,
    audio: bool = True,
) -> Path:
    """Write a sheet of some frames, small and each painted by itself; return its path.

    They are the first of every shot, and every 24th of it; of a long clip fewer.
    """
    check_place(place)
    screen = Screen(enabled=not is_quiet)
    with one_thread(), screen.working("looking for cuts"):
        job = _plan(clip, style, own, settings, output, audio=audio, longest=_SIZE)
    found = [i for first, end in job.shots.spans for i in range(first, end, _EVERY)]
    wanted = {*found[:: -(-len(found) // _MOST)]}
    pictures, labels = [], []
    for index, picture in zip(range(len(job.clip)), job.clip.frames(), strict=True):
        if index not in wanted:
            continue
        whole = job.whole(index, picture)
        with screen.working(f"frame {index} of {len(job.clip)}"):
            painted = paint_alone(whole, job.memory)
        pictures.append(finish(whole, painted, seconds=0.0).image)
        number, time = job.clip.numbers[index], float(job.clip.times[index])
        labels.append(f"frame {number}, {time:.2f} s")
    sheet = draw_pictures(
        pictures, labels, longest=_SIZE, columns=min(_COLUMNS, len(labels))
    )
    with atomic_write(place) as beside:
        sheet.save(beside, "PNG")
    return place
