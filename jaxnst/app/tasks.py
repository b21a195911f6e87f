"""What a page asks for beside single pictures: grids, clips, reports, comparisons.

Each begins a job of a session. Nothing here knows of Gradio.
"""

import importlib.util
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxnst._checks import one_or_all
from jaxnst.images import load_picture
from jaxnst.insight.explanation import explain
from jaxnst.metrics import Metrics, measure
from jaxnst.optimize import StepView
from jaxnst.sweeps.axes import Row
from jaxnst.sweeps.driver import SweepInterrupted, sweep
from jaxnst.sweeps.results import SweepResult

from .session import Frame, Job, Made, Session, saved_all_the_same, short_stem


# What a grid may vary, and values to begin with.
AXES: Mapping[str, str] = {
    "strength": "0.3, 0.5, 0.7, 0.9",
    "style_weight": "0.3, 1, 3",
    "detail": "-0.8, 0, 0.8",
    "style_scale": "0.5, 1, 2",
    "seed": "0, 1, 2",
}
MAX_TILES = 25
# Longest side to which a report shrinks a picture, in pixels.
_REPORT_SIDE = 512


class PaintedClip(NamedTuple):
    """A clip that was painted.

    Attributes:
        path: the film, in the folder of results.
        shown: a copy of it, for the page.
        frames: number of frames that were painted.
    """

    path: Path
    shown: Path
    frames: int


def has_clips() -> bool:
    """Whether the extra `video` is installed."""
    return all(importlib.util.find_spec(name) for name in ("av", "cv2"))


def paint_grid(
    session: Session,
    content: str,
    styles: Sequence[str],
    settings: Mapping[str, Any],
    axes: Mapping[str, Sequence[Any]],
) -> Job:
    """Begin a picture for each combination of values; the job's tiles fill.

    Raises:
        ValueError: if these are too many, or do not go with a drawn strength.
    """
    count = math.prod(map(len, axes.values()))
    if count > MAX_TILES:
        raise ValueError(f"these are {count} pictures; a grid has {MAX_TILES} at most.")
    is_drawn = isinstance(settings.get("strength"), os.PathLike)
    if is_drawn and {"strength", "style_weight", "content_weight"} & {*axes}:
        raise ValueError(
            "a grid over strengths or weights does not go with a drawn strength; clear "
            "the drawing, or choose another setting."
        )
    # A strength finds the weights itself.
    left = {*axes}
    left |= {"strength"} if "style_weight" in axes else set()
    left |= {"style_weight", "content_weight"} if "strength" in axes else set()
    swept = {name: value for name, value in settings.items() if name not in left}
    swept |= {name: list(values) for name, values in axes.items()}
    if len(axes.get("seed", ())) > 1:  # only noise differs by it
        swept["init"] = "noise"
    if len(styles) > 1 and "masks" not in swept:  # one blend, and no list of styles
        swept.setdefault("style_blend", [1.0] * len(styles))
    photo, paintings = session.keep(content), [session.keep(path) for path in styles]

    def run(job: Job) -> SweepResult:
        folder = session.studio.place_for("grid.html").with_suffix("")
        job.note(num_tiles=count)

        def add(row: Row) -> None:
            if row.file is not None:
                file = folder / row.file
                session.know(file)
                tile = session.thumb(file), row.title, file
                job.note(tiles=[*job.tiles, tile], phase="painting")

        def see(view: StepView) -> None:
            if job.see(view):
                raise KeyboardInterrupt  # `sweep` keeps what is there

        style = one_or_all(paintings)
        try:
            return sweep(
                photo,
                style,
                output=folder,
                callback=add,
                step_callback=see,
                progress=False,
                **swept,
            )
        except SweepInterrupted as stopped:
            return stopped.result

    session.grid = session.begin("grid", run)
    return session.grid


def paint_clip(
    session: Session,
    clip: str,
    styles: Sequence[str],
    settings: Mapping[str, Any],
    own: Mapping[str, Any],
) -> Job:
    """Begin a clip; the job's value is a `PaintedClip`, or None without a frame."""
    source, paintings = session.keep(clip), [session.keep(path) for path in styles]
    style = one_or_all(paintings)

    def run(job: Job) -> PaintedClip | None:
        from jaxnst.videos.driver import VideoInterrupted, video
        from jaxnst.videos.folder import frame_file

        place = session.studio.place_for(
            f"{short_stem(source)}_{short_stem(paintings[0])}.mp4"
        )
        frames = place.with_name(f"{place.name}.frames")

        times: list[float] = []

        def add(row: Mapping[str, Any]) -> bool:
            times.append(time.monotonic())
            done, total = len(times), row["frames"] * row["passes"]
            each = (times[-1] - times[0]) / (done - 1) if done > 1 else None
            job.note(
                reached=None,
                frame=Frame(
                    file=frame_file(frames, row["frame"], row["pass"]),
                    done=done,
                    total=total,
                    left=None if each is None else each * (total - done),
                ),
            )
            return job.is_stopping

        def see(view: StepView) -> None:
            if job.see(view):
                raise KeyboardInterrupt  # `video` keeps the frames that are there

        result = None
        try:
            result = video(
                source,
                style,
                output=place,
                callback=add,
                step_callback=see,
                progress=False,
                **own,
                **settings,
            )
        except VideoInterrupted as stopped:
            result = stopped.result
        if job.is_stopping:  # what was painted is in the film, and nothing goes on
            shutil.rmtree(frames, ignore_errors=True)
        if result is None:
            return None
        with saved_all_the_same(place):
            return PaintedClip(place, session.copy(place), len(result))

    return session.begin("clip", run)


def forecast_clip(
    session: Session,
    clip: str,
    styles: Sequence[str],
    settings: Mapping[str, Any],
    own: Mapping[str, Any],
) -> Job:
    """Begin to look through a clip; the job's value is a `ClipEstimate`."""
    style = one_or_all(styles)

    def run(_: Job) -> Any:
        from jaxnst.videos.previews import estimate_clip

        return estimate_clip(clip, style, own, settings)

    return session.begin("forecast", run)


def explain_picture(session: Session, made: Made) -> Job:
    """Begin the report on a result; the job's value is the path of its HTML file."""

    def run(_: Job) -> Path:
        report = made.path.with_suffix(".html")
        if not report.exists():
            found = explain(
                made.path, progress=False, max_size=_REPORT_SIDE, **made.sources
            )
            found.save(report)
        return report

    return session.begin("report", run)


def compare_pictures(session: Session, pair: Sequence[Made]) -> Job:
    """Begin to measure two results; the job's value is their titles and `Metrics`."""

    def run(_: Job) -> tuple[list[str], list[Metrics]]:
        found = []
        for made in pair:
            style = made.sources["style"]
            first = style[0] if isinstance(style, list) else style
            image = load_picture(made.path).rgb
            # Of a picture that tiles, sides were shortened and moved.
            is_tiled = made.record["settings"].get("tile") is not None
            content = made.before if is_tiled else made.sources["content"]
            found.append(measure(image, content, first))
        return [made.title for made in pair], found

    return session.begin("comparison", run)
