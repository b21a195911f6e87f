"""`video`: a clip painted frame by frame, so that it does not flicker."""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnst._checks import shown, suggestion
from jaxnst._memory import foreign_errors
from jaxnst._types import HostAlpha, HostImage
from jaxnst.config import CLIP_SETTINGS, CUSTOM, MEMORY_LEVELS, SETTINGS, ClipConfig
from jaxnst.images.metadata import place_of_part
from jaxnst.optimize import StepCallback, StepView
from jaxnst.optimize.interrupt import deferred_interrupt
from jaxnst.sweeps.executor import check_executor
from jaxnst.transfer.inputs import StyleSource
from jaxnst.transfer.progress import Workload, time_text
from jaxnst.transfer.terminal import Screen

from .encoding import (
    DEFAULT_QUALITY,
    Output,
    check_output,
    check_streams,
    write_clip,
)
from .flow import one_thread
from .folder import WorkFolder, planned_memory
from .jobs import ClipJob, plan_clip
from .painting import Stopped
from .remote import paint_elsewhere
from .runner import paint_shots
from .source import Clip, TemporaryFolder, open_clip


# Seconds between two steps that are shown: in a bar, or as lines.
_BAR_INTERVAL, _LINE_INTERVAL = 0.2, 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoResult:
    """A painted clip; iterating gives its frames, RGB, float32, [0, 1], HWC.

    Attributes:
        path: file or folder that was written; None if none was asked for.
        times: time stamp of each painted frame, in seconds from the first one.
        rows: for each frame the steps, losses, certainty, detail and seconds of its
            last pass.
        record: settings, versions and sha256 of the inputs, as in `Result.record`.
        clip: clip that was painted.
        metrics: measures of its steadiness, see `jaxnst.videos.measuring`; None if it
            was not measured.
    """

    path: Path | None
    times: tuple[float, ...]
    rows: Sequence[Mapping[str, Any]]
    record: Mapping[str, Any]
    clip: Clip = dataclasses.field(repr=False, compare=False)
    metrics: Mapping[str, float] | None = None
    _frames_fn: Callable[[], Iterator[tuple[HostImage, HostAlpha | None]]] = (
        dataclasses.field(repr=False, compare=False)
    )
    _folder: Any = dataclasses.field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        place = "" if self.path is None else f" in {self.path}"
        return f"VideoResult({len(self)} frames{place})"

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[HostImage]:
        for image, _ in self._frames_fn():
            yield image

    def save(
        self,
        output: str | os.PathLike[str],
        *,
        codec: str | None = None,
        quality: int = DEFAULT_QUALITY,
        audio: bool = True,
    ) -> Path:
        """Write the clip to a film or a folder of pictures, and return its path.

        Args:
            output: film, folder, or pattern of pictures, as for `jaxnst.video`.
            codec: codec of a film; by default that of its ending.
            quality: quality of a film, 0 (best) to 51.
            audio: whether to copy sound and subtitles.

        Raises:
            ValueError: if the ending is unknown, or cannot hold what is asked for.
            OSError: if it cannot be written.
        """
        place = check_output(output, codec=codec, quality=quality)
        check_streams(place, self.clip, audio=audio)
        return write_clip(
            self._frames_fn(), place, self.clip, record=self.record, audio=audio
        )


class VideoInterrupted(KeyboardInterrupt):
    """Ctrl-C during `video`; the frames painted so far are put together.

    Attributes:
        result: the clip so far; None if not even one frame was painted. Its `path` is
            None if the frames were not put together.
    """

    def __init__(self, result: VideoResult | None):
        super().__init__("interrupted; the frames painted so far are in `.result`")
        self.result = result


def video(
    clip: Any,
    style: "StyleSource",
    *,
    output: str | os.PathLike[str] | None = None,
    steadiness: float | None = None,
    frame_steps: int | None = None,
    temporal_weight: float | None = None,
    frame_learning_rate: float | None = None,
    reach: Sequence[int] | None = None,
    passes: int | None = None,
    loop: bool | None = None,
    flow: Any = "dis",
    cuts: str | Sequence[float] | None = None,
    start: float | None = None,
    stop: float | None = None,
    every: int | None = None,
    rate: float | None = None,
    audio: bool = True,
    codec: str | None = None,
    quality: int = DEFAULT_QUALITY,
    keep: bool = False,
    metrics: bool = False,
    executor: Any = None,
    callback: Callable[[Mapping[str, Any]], object] | None = None,
    step_callback: StepCallback | None = None,
    progress: bool = True,
    **settings: Any,
) -> VideoResult:
    """Return `clip`, painted in the style of `style`, so that it does not flicker.

    The first frame of each shot is painted as `stylize` paints it. Each frame after it
    starts from the last painted one, carried along the motion, and is held to it where
    the motion is certain. What stands still is not painted again. Settings left at None
    have their defaults.

    With an `output`, painted frames are kept in a folder beside it until it is written:
    after a kill the same call goes on, and ends with the same bytes.

    Args:
        clip: film; folder or pattern of pictures, such as `frames/%04d.png`; or an
            iterable of arrays, (H, W, 3), or of pictures.
        style: style picture, or a list of them, as for `stylize`.
        output: film to write, .mp4, .mov, .mkv or .webm, with the time stamps and the
            sound of `clip`; or a folder or pattern of pictures. None: frames are kept
            in a temporary folder.
        steadiness: 0 paints every frame by itself, 1 holds frames as still as possible;
            sets the defaults of `temporal_weight` and `frame_learning_rate`.
        frame_steps: number of steps for a frame that goes on from the one before.
        temporal_weight: weight of the term that holds a frame, 0 or more.
        frame_learning_rate: step size of Adam for such a frame, in pixel values.
        reach: distances, in frames, of those before that hold a frame; (1, 5, 24) also
            paints as before what was covered for a while.
        passes: number of times that a shot is gone through, back and forth from the
            second on.
        loop: whether the last frame goes on in the first, as in a clip that repeats.
        flow: "dis"; "deepflow"; a function of two frames that returns the way of each
            pixel of the first to its place in the second, (H, W, 2); a pattern of .flo
            files such as `flow/%04d_%04d.flo`; or None: nothing is taken to move, and
            what changes between frames is added to the painting.
        cuts: "auto", or the first frame of every shot after the first, as numbers of
            frames or, if they are floats, as seconds.
        start: first frame that is painted, or its time in seconds if it is a float.
        stop: frame before which to stop, or its time in seconds if it is a float.
        every: 2 paints every other frame, and so on.
        rate: frames a second, of pictures and arrays; by default 25.
        audio: whether to copy sound and subtitles.
        codec: "h264", "h265", "vp9", "av1", "prores" or "ffv1"; by default that of the
            output's ending.
        quality: quality of the film, 0 (best) to 51; 16 looks like the frames.
        keep: whether to keep the folder of frames once the output is written.
        metrics: whether to measure how steady the result is, with another flow than the
            one it is painted with.
        executor: paints shots elsewhere, side by side: any
            `concurrent.futures.Executor` that does not fork.
        callback: function called with the row of each painted frame, in which the
            numbers of all `frames` and `passes` are, too; it returns True to stop.
        step_callback: called with each step of a frame that is painted by itself, as
            the callback of `stylize`. A KeyboardInterrupt that it raises ends the clip,
            as Ctrl-C does; what it returns is not used. An `executor` does not call it.
        progress: whether to show a bar on standard error (without a terminal, lines).
        settings: settings of `stylize`. Of `strength`, `style_weight`, `style_blend`
            and `detail` also {frame, or seconds if a float: value}, linear in between.
            Each of `masks`, and `strength`, may be a clip of as many frames.

    Returns:
        The painted frames, their rows and their record.

    Raises:
        ValueError, TypeError, OSError: if an input is unusable, before anything is
            painted; or if the folder holds frames of another clip.
        ImportError: if the extra `video` is not installed.
        VideoInterrupted: on Ctrl-C, with the frames so far; a KeyboardInterrupt.

    Examples:
        >>> painted = video("in.mp4", "wave.jpg", output="out.mp4")  # doctest: +SKIP
        >>> painted.rows[5]["certainty"]  # doctest: +SKIP
    """
    given = dict(locals())
    for name in settings:
        if name not in (*SETTINGS, "masks"):
            known = (*SETTINGS, *CLIP_SETTINGS, "masks")
            raise TypeError(
                f"{shown(name)} is no setting of `video`.{suggestion(name, known)}"
            )
    for name, each in (("callback", callback), ("step_callback", step_callback)):
        if each is not None and not callable(each):
            raise TypeError(f"`{name}` must be callable, got {shown(each)}.")
    if executor is not None:
        check_executor(executor)
    own = make_clip_config({name: given[name] for name in CLIP_SETTINGS})
    place = None
    if output is not None:
        place = check_output(output, codec=codec, quality=quality)
    screen = Screen(enabled=progress)
    with one_thread(), Progress(screen, step_callback) as bar:
        check_fn = functools.partial(check_streams, place, audio=audio)
        job = plan_clip(
            clip, style, own, flow, settings, check_fn=check_fn, seen_fn=bar.look
        )
        return _paint(
            job,
            place,
            bar,
            audio=audio,
            keep=keep,
            metrics=metrics,
            executor=executor,
            callback=callback,
        )


def make_clip_config(given: Mapping[str, Any]) -> ClipConfig:
    """Return the settings of a clip; those that are None have their defaults."""
    flow = given.get("flow", "dis")
    named = {name: value for name, value in given.items() if value is not None}
    named["flow"] = "none" if flow is None else CUSTOM if callable(flow) else flow
    return ClipConfig(**named)


def _paint(
    job: ClipJob,
    place: Output | None,
    bar: "Progress",
    *,
    audio: bool,
    keep: bool,
    metrics: bool,
    executor: Any,
    callback: Callable[[Mapping[str, Any]], object] | None,
) -> VideoResult:
    """Paint what is missing in the work folder, and put the clip together."""
    temporary = None
    if place is None:
        temporary = TemporaryFolder("jaxnst-video-")
        path = temporary.path
    else:
        path = place.beside(".frames")
    if job.config.memory == "auto":  # another level would give other frames
        job.memory = planned_memory(path) or job.memory
    folder = WorkFolder(path, job.identity())
    is_stopped = is_interrupted = False
    counts = {"frames": len(job.clip), "passes": job.num_passes}
    try:
        bar.begin(job, folder)
        with deferred_interrupt(bar.say) as interrupted_fn:
            try:
                painted = (
                    paint_shots(
                        job, folder, is_interrupted=interrupted_fn, step_fn=bar.step
                    )
                    if executor is None
                    else paint_elsewhere(
                        job, folder, executor, is_interrupted=interrupted_fn
                    )
                )
                for row in painted:
                    bar.advance(row)
                    answer = callback is not None and callback(row | counts)
                    is_stopped |= isinstance(answer, bool | np.bool_) and bool(answer)
                    # The first frame may come late, from another device.
                    if is_stopped and folder.is_done(0, 1):
                        break
                    if interrupted_fn():
                        raise Stopped
            except KeyboardInterrupt:  # of a step, or of a callback
                is_interrupted = True
        folder.finish()
        missing = (i for i in range(len(job.clip)) if not folder.is_done(i, 1))
        count = next(missing, len(job.clip))
        if not count:
            raise VideoInterrupted(None)
        is_part = not all(
            folder.is_done(index, job.num_passes) for index in range(len(job.clip))
        )
        clip = job.clip.first(count)
        rows = [folder.row(index) for index in range(count)]
        frames_fn = functools.partial(_finished, job, folder, count)
        record_fn = functools.partial(
            job.record,
            count,
            num_steps=sum(row["steps"] for row in folder.rows.values()),
            memory=max((row["memory"] for row in rows), key=MEMORY_LEVELS.index),
            is_part=is_part,
        )
        result = VideoResult(
            path=None,
            times=tuple(float(t - clip.times[0]) for t in clip.times),
            rows=rows,
            record=record_fn(None),
            _frames_fn=frames_fn,
            clip=clip,
            _folder=temporary,
        )
        try:
            if metrics:
                from .measuring import measure_clip

                bar.say("measuring ...")
                measured = measure_clip(job, (rgb for rgb, _ in frames_fn()), rows)
                folder.finish()
                record = record_fn(measured)
                result = dataclasses.replace(result, record=record, metrics=measured)
            if place is not None:
                if is_part and place.is_film:
                    place = place._replace(path=place_of_part(place.path))
                bar.say("putting the frames together ...")
                written = write_clip(
                    frames_fn(),
                    place,
                    clip,
                    record=result.record,
                    audio=audio,
                    folder=path,
                )
                result = dataclasses.replace(result, path=written)
        except KeyboardInterrupt:
            is_interrupted = True
    finally:
        folder.close()
    if is_interrupted:
        raise VideoInterrupted(result)
    if place is not None and not keep and not is_part:
        folder.remove()
        result = dataclasses.replace(
            result,
            _frames_fn=functools.partial(_written, place, clip.numbers, job.shape),
        )
    return result


def _finished(
    job: ClipJob, folder: WorkFolder, count: int
) -> Iterator[tuple[HostImage, HostAlpha | None]]:
    """Yield the frames with their colors and filters, as `stylize` finishes them."""
    pictures = job.clip.frames(0, count)
    for index, picture in enumerate(pictures):
        yield job.finished(index, picture, folder.image(index))


def _written(
    place: Output, numbers: Sequence[int], shape: tuple[int, int]
) -> Iterator[tuple[HostImage, HostAlpha | None]]:
    """Yield the frames of a clip that was written."""
    source: Any = place.path
    if not place.is_film:
        source = [place.place(number) for number in numbers]
    height, width = shape
    for picture in open_clip(source).frames():
        alpha = picture.alpha
        alpha = None if alpha is None else alpha[:height, :width]
        yield picture.rgb[:height, :width], alpha


class Progress:
    """A bar of a clip's frames, or a line for each where there is no terminal."""

    def __init__(self, screen: Screen, step_fn: StepCallback | None = None):
        self._screen, self._step_fn = screen, step_fn
        self._shown = time.monotonic()
        self._workload = Workload()
        self._work_fn: Callable[[int, int], float] = lambda index, number: 0.0
        self._total = self._passes = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._screen.stop()

    def look(self, index: int) -> None:
        """Say that a frame is looked at, for cuts."""
        if index == 0:
            self._screen.print("looking for cuts ...")

    def begin(self, job: ClipJob, folder: WorkFolder) -> None:
        """Start, once it is known how many frames there are, and are done."""
        self._passes = job.num_passes
        self._total = len(job.clip) * self._passes
        self._work_fn = job.work_at
        self._workload = Workload(
            sum(
                job.work_at(index, number)
                for index in range(len(job.clip))
                for number in range(1, self._passes + 1)
                if not folder.is_done(index, number)
            )
        )
        shots = len(job.shots.spans)
        self._screen.print(
            f"{len(job.clip)} frames, {shots} shot{'s' * (shots > 1)}, "
            f"{job.shape[1]} x {job.shape[0]}"
        )
        if self._screen.is_terminal:
            from rich.progress import BarColumn, TextColumn

            self._screen.start_bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[left]}"),
                is_transient=True,
                description="frame 0",
                total=self._total,
                completed=sum(folder.last.values()),
                left="",
            )

    def advance(self, row: Mapping[str, Any]) -> None:
        """Show that a frame is there."""
        self._workload.before += self._work_fn(row["frame"], row["pass"])
        left = self._left(self._workload.before)
        text = f"frame {row['frame'] + 1} of {self._total // self._passes}"
        if self._passes > 1:
            text += f", pass {row['pass']} of {self._passes}"
        if self._screen.is_terminal:
            self._screen.update(description=text, advance=1, left=left)
        else:
            self._screen.print(
                f"{text}  {row['steps']} steps, {row['seconds']:.1f} s, certain "
                f"{row['certainty']:.0%}, still {row['still']:.0%}"
                + (f", {left}" if left else "")
            )

    def step(self, index: int, view: StepView) -> None:
        """Show a step of a frame that is painted by itself, which takes long."""
        if self._step_fn is not None:
            with foreign_errors():
                self._step_fn(view)
        work = view.work_done * self._work_fn(index, 1)
        left = self._left(self._workload.before + work)
        now = time.monotonic()
        interval = _BAR_INTERVAL if self._screen.is_terminal else _LINE_INTERVAL
        if now - self._shown < interval:
            return
        self._shown = now
        text = f"frame {index + 1}, step {view.step} of {view.num_steps}"
        if self._screen.is_terminal:
            self._screen.update(description=text, left=left)
        else:
            self._screen.print(text + (f", {left}" if left else ""))

    def _left(self, done: float) -> str:
        """Return the time that is left, in words; nothing if it is not known yet."""
        left = self._workload.left(time.monotonic(), done)
        return "" if left is None else f"about {time_text(left)} left"

    def say(self, text: str) -> None:
        """Show a line."""
        self._screen.print(text)
