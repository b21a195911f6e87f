"""The explanation of a clip: how steady it is over time, and its worst frames."""

import dataclasses
import functools
import heapq
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnst._checks import path_text
from jaxnst._types import HostImage
from jaxnst.config import ClipConfig
from jaxnst.images import read_record, resize
from jaxnst.images.resizing import fill_hidden
from jaxnst.sweeps.page import render_page
from jaxnst.transfer.terminal import Screen
from jaxnst.videos.driver import VideoResult
from jaxnst.videos.flow import check_consistency, farneback_flow, one_thread, warp
from jaxnst.videos.measuring import FrameErrors, measure_frames, summarize
from jaxnst.videos.source import open_clip

from .plots import as_svg
from .report import embed, heat_map, write_report


if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Frames that are shown, and the change that is white on their maps, in levels of 255.
_NUM_WORST, _WHITE = 4, 40 / 255
# Settings that say which frames of a clip are painted.
_WHICH = ("start", "stop", "every", "rate")
# From here on a measure is worth advice.
_BLURRED, _UNSTEADY, _DRIFTED = 0.9, 0.1, 4.0
_PANELS = {
    "change along the motion, of 255": ("warp_error", "warp_error_content"),
    "fine detail kept": ("detail_kept",),
    "mean and contrast, of 255": ("mean", "contrast"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorstFrame:
    """A frame that differs most from the one before, along the motion.

    Attributes:
        index: number of the frame.
        before: painted frame before it.
        image: painted frame.
        content: frame of the clip.
        change: change along the motion, where the motion is certain; else 0.
    """

    index: int
    before: HostImage
    image: HostImage
    content: HostImage
    change: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipExplanation:
    """How steady a painted clip is.

    Attributes:
        record: record of the clip.
        frames: measures of each frame, see `jaxnst.videos.measuring`.
        summary: measures of the clip.
        worst: frames that differ most from those before them, the worst first.
        advice: sentences on what to change, the most important first.
        seconds: duration of the explanation.
    """

    record: Mapping[str, Any]
    frames: Sequence[FrameErrors]
    summary: Mapping[str, float]
    worst: Sequence[WorstFrame]
    advice: Sequence[str]
    seconds: float

    def save(self, path: str | os.PathLike[str], *, title: str = "") -> Path:
        """Write the report, one self-contained HTML file, and return where it is.

        Args:
            path: file name, .html or .htm; written as a whole or not at all.
            title: title of the report; by default the names of the inputs.

        Raises:
            ValueError: if the extension is another one.
            OSError: if the file cannot be written.
        """
        return write_report(path, functools.partial(self._page, title))

    def _page(self, title: str) -> str:
        """Return the report as HTML."""
        inputs = self.record.get("inputs", {})
        names = [str(each.get("name")) for each in inputs.values()]
        return render_page(
            "jaxnst.insight",
            "clip.html",
            title=title or " in the style of ".join(names[:2]) or "A clip",
            digest="",  # it has no script
            explanation=self,
            chart=as_svg(self.plot),
            embed=embed,
            maps=[
                heat_map(each.change, each.image, high=_WHITE) for each in self.worst
            ],
            record=json.dumps(dict(self.record), indent=1, default=str),
        )

    def plot(self) -> "Figure":
        """Return a matplotlib figure of the measures over the frames."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 7), layout="constrained")
        axes = figure.subplots(len(_PANELS), sharex=True)
        for axis, (title, names) in zip(axes, _PANELS.items(), strict=True):
            for name in names:
                values = np.array(
                    [getattr(each, name) for each in self.frames], dtype=float
                )
                if name.startswith("warp"):
                    values = 255 * np.sqrt(values)
                axis.plot(values, label=name.replace("_", " "))
            axis.set_ylabel(title, fontsize="small")
            axis.grid(alpha=0.25)
            axis.legend(fontsize="small", frameon=False)
        axes[-1].set_xlabel("frame")
        axes[-1].xaxis.get_major_locator().set_params(integer=True)
        return figure


def explain_clip(
    painted: VideoResult | str | os.PathLike[str],
    content: Any = None,
    *,
    progress: bool = True,
) -> ClipExplanation:
    """Return how steady a painted clip is, and where it is least.

    Args:
        painted: result of `jaxnst.video`; or a film or a folder of frames saved by
            jaxnst, together with the clip that it was painted from.
        content: clip that a film was painted from.
        progress: whether to report progress on standard error.

    Raises:
        ValueError: if the clip is missing, or not the one that was painted.
    """
    started = time.perf_counter()
    screen = Screen(enabled=progress)
    if isinstance(painted, VideoResult):
        record, clip, count = painted.record, painted.clip, len(painted)

        def paintings() -> Iterator[HostImage]:
            return iter(painted)
    else:
        record = read_record(painted)
        if content is None:
            raise ValueError("give the clip that it was painted from as `content`.")
        known = record.get("inputs", {}).get("content", {}).get("sha256")
        given = record.get("clip", {})
        own = ClipConfig(**{x: given[x] for x in _WHICH if given.get(x) is not None})
        film = open_clip(painted, argument="picture")
        whole = open_clip(content, argument="content", rate=own.rate)
        clip, count = whole.part(own.start, own.stop, own.every), len(film)
        if known != clip.sha256 or len(clip) < count:
            raise ValueError("`content` is not the clip that it was painted from.")
        made = record.get("result", {"height": 0, "width": 0})
        height, width = made["height"], made["width"]
        # Films have even sides; folders of frames have not.
        even = height + height % 2, width + width % 2
        if film.shape not in (even, (height, width)):
            raise ValueError(
                f"{path_text(painted)} was scaled or cut since jaxnst wrote it with "
                f"{width} x {height} px."
            )

        def paintings() -> Iterator[HostImage]:
            for frame in film.frames():
                yield frame.rgb[:height, :width]

    starts = sorted({0, *(x for x in record.get("shot_starts", []) if x < count)})
    shape = record["result"]["height"], record["result"]["width"]

    def contents() -> Iterator[HostImage]:
        frames = clip.frames(0, count)
        return (resize(fill_hidden(each).rgb, shape) for each in frames)

    with one_thread(), screen.working("measuring the change along the motion"):
        frames = [*measure_frames(paintings(), contents(), starts)]
        found = [*_find_worst(frames, paintings(), contents())]
    worst = sorted(found, key=lambda each: -(frames[each.index].warp_error or 0))
    summary = summarize(frames, starts)
    return ClipExplanation(
        record=record,
        frames=frames,
        summary=summary,
        worst=worst,
        advice=_give_advice(summary, is_changing="over_time" in record),
        seconds=time.perf_counter() - started,
    )


def _find_worst(
    frames: Sequence[FrameErrors],
    paintings: Iterator[HostImage],
    contents: Iterator[HostImage],
) -> Iterator[WorstFrame]:
    """Yield the frames whose error is largest, in their order."""
    known = [(each.warp_error, i) for i, each in enumerate(frames) if each.warp_error]
    wanted = {index for _, index in heapq.nlargest(_NUM_WORST, known)}
    last: tuple[HostImage, HostImage] | None = None
    for index, (image, content) in enumerate(zip(paintings, contents, strict=True)):
        if index in wanted and last is not None:
            flow = farneback_flow(content, last[1])
            is_certain = check_consistency(flow, farneback_flow(last[1], content)) > 0
            change = np.abs(image - warp(last[0], flow)).mean(-1)
            yield WorstFrame(
                index=index,
                before=last[0],
                image=image,
                content=content,
                change=np.where(is_certain, change, 0).astype(np.float32),
            )
        last = image, content


def _give_advice(summary: Mapping[str, float], *, is_changing: bool) -> list[str]:
    found = []
    if summary.get("unsteadiness", 0) > _UNSTEADY:
        found.append(
            "It flickers: frames differ along the motion by "
            f"{summary['unsteadiness']:.0%} of what unrelated frames would; raise "
            "`steadiness`, or `reach` to (1, 5)."
        )
    if summary.get("detail_kept", 1) < _BLURRED:
        found.append(
            f"It blurs: {summary['detail_kept']:.0%} of the first frame's fine detail "
            "are left; lower `steadiness`, or raise `frame_steps`."
        )
    drift = max(summary.get("drift_mean", 0), summary.get("drift_contrast", 0))
    if drift > _DRIFTED and not is_changing:
        found.append(
            f"It drifts: brightness or contrast change by {drift:.0f} levels of 255 "
            "beyond the clip's own; paint the first frame longer, with more "
            "`num_steps`, or raise `steadiness`."
        )
    return found or ["It is steady, and keeps its detail."]
