"""How steady a painted clip is: measured along the motion of its content.

Errors are mean squared differences to an earlier frame, carried along the flow, over
the pixels whose flow is certain; frames are RGB in [0, 1]. The flow is another one than
that which painted.

References:
    Lai, Huang, Wang, Shechtman, Yumer, Yang, "Learning Blind Video Temporal
    Consistency", ECCV 2018: the warping error. Departure: certainty by the rule of
    Sundaram, Brox, Keutzer, ECCV 2010, without smoothing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxnst._types import HostAlpha, HostImage
from jaxnst.images import resize
from jaxnst.images.resizing import fill_hidden
from jaxnst.metrics import measure
from jaxnst.pretrained import load_lpips_network

from .flow import FlowFn, check_consistency, farneback_flow, warp, warp_smooth
from .folder import Row
from .jobs import ClipJob
from .motion import find_still
from .source import cv2


# Frames that AlexNet looks at.
_NUM_JUDGED = 5
# The long-term error is that to so many frames before.
_LONG = 5
# Detail kept is that of this last part of a shot, where so much of its first frame is
# still seen.
_END, _LEAST_SEEN = 0.25, 0.1


class FrameErrors(NamedTuple):
    """Measures of one frame; those that compare frames are None for a shot's first.

    Attributes:
        warp_error: error to the frame before; None if no motion from there is certain.
        warp_error_content: the same of the content: what flow, noise and light leave.
        warp_error_5: error to the fifth frame before, if there is one.
        warp_error_first: error to the first frame of the shot.
        static_error: root of the mean squared change of the pixels that stand still,
            in levels of 255; None if there are none.
        detail_kept: energy of the fine detail over that which the first frame of the
            shot has in the same places, where the motion from there is certain.
        variance: variance over the frame.
        mean: mean of the frame, less that of its content, in levels of 255.
        contrast: the same of the standard deviation.
    """

    warp_error: float | None
    warp_error_content: float | None
    warp_error_5: float | None
    warp_error_first: float | None
    static_error: float | None
    detail_kept: float | None
    variance: float
    mean: float
    contrast: float


def measure_frames(
    paintings: Iterable[HostImage],
    contents: Iterable[HostImage],
    starts: Sequence[int] = (0,),
    *,
    flow_fn: FlowFn = farneback_flow,
) -> Iterator[FrameErrors]:
    """Yield the measures of each frame of a clip, of any program.

    `contents` have the size of the paintings; `starts` are the first frames of shots.
    """
    kept: list[tuple[HostImage, HostImage]] = []
    for index, pair in enumerate(zip(paintings, contents, strict=True)):
        if index in starts:
            kept = []
        painting, content = pair
        errors: dict[str, float | None] = dict.fromkeys(FrameErrors._fields)
        if kept:
            flow, mask = _certain_flow(content, kept[-1][1], flow_fn)
            errors["warp_error"] = _error(painting, kept[-1][0], flow, mask)
            errors["warp_error_content"] = _error(content, kept[-1][1], flow, mask)
            still = find_still(content, kept[-1][1], flow)
            change = (painting - kept[-1][0])[still]
            if change.size:
                errors["static_error"] = 255 * float(np.sqrt(np.square(change).mean()))
            flow, mask = _certain_flow(content, kept[0][1], flow_fn)
            errors["warp_error_first"] = _error(painting, kept[0][0], flow, mask)
            if mask.mean() > _LEAST_SEEN:
                before = warp_smooth(_fine_energy(kept[0][0]), flow)
                own = (mask * _fine_energy(painting)).sum()
                errors["detail_kept"] = float(own / max((mask * before).sum(), 1e-9))
        if len(kept) >= _LONG:
            long = _certain_flow(content, kept[-_LONG][1], flow_fn)
            errors["warp_error_5"] = _error(painting, kept[-_LONG][0], *long)
        errors |= {
            "variance": float(painting.var(axis=(0, 1)).mean()),
            "mean": 255 * float(painting.mean() - content.mean()),
            "contrast": 255 * float(painting.std() - content.std()),
        }
        yield FrameErrors(**errors)  # pyright: ignore[reportArgumentType]
        kept = [*kept[:1], *kept[1:][-_LONG:], pair] if kept else [pair]


def summarize(
    frames: Sequence[FrameErrors], starts: Sequence[int] = (0,)
) -> dict[str, float]:
    """Return the measures of a clip.

    Returns:
        The means of the errors, and:
        flicker: root of the error beyond the content's, in levels of 255.
        unsteadiness: error over twice the variance; 1 for unrelated frames.
        detail_kept: that of the last quarter of each shot; below 1 for a blurred clip.
        drift_mean, drift_contrast: largest change of mean and contrast from the first
            frame of a shot, beyond that of the content, in levels of 255.
        static_error: the largest of the frames'.
    """
    found: dict[str, float] = {}
    for name in FrameErrors._fields[:4]:
        values = [x for each in frames if (x := getattr(each, name)) is not None]
        if values:
            found[name] = float(np.mean(values))
    if "warp_error" in found:
        beyond = found["warp_error"] - found["warp_error_content"]
        found["flicker"] = 255 * math.sqrt(max(0.0, beyond))
        variance = float(np.mean([each.variance for each in frames]))
        found["unsteadiness"] = found["warp_error"] / (2 * max(variance, 1e-6))
    shots = [
        frames[start:end]
        for start, end in zip(starts, [*starts[1:], len(frames)], strict=True)
    ]
    kept = [
        each.detail_kept
        for shot in shots
        for each in shot[-max(1, int(_END * len(shot))) :]
        if each.detail_kept is not None
    ]
    if kept:
        found["detail_kept"] = float(np.mean(kept))
    for name in ("mean", "contrast"):
        changes = [
            abs(getattr(each, name) - getattr(shot[0], name))
            for shot in shots
            for each in shot
        ]
        found[f"drift_{name}"] = max(changes)
    still = [each.static_error for each in frames if each.static_error is not None]
    if still:
        found["static_error"] = max(still)
    return found


def measure_clip(
    job: ClipJob, paintings: Iterable[HostImage], rows: Sequence[Row]
) -> dict[str, float]:
    """Return the measures of a painted clip; rows get those of their frames."""
    count = len(rows)
    starts = [start for start, _ in job.shots.spans if start < count]
    wanted = {*np.linspace(0, count - 1, min(_NUM_JUDGED, count)).round().astype(int)}
    judge = load_lpips_network()
    style = job.first.inputs.styles[0].rgb
    judged = []

    def looked_at() -> Iterator[HostImage]:
        contents = job.clip.frames(0, count)
        for index, (painting, content) in enumerate(
            zip(paintings, contents, strict=True)
        ):
            if index in wanted:
                judged.append(measure(painting, content.rgb, style, judge=judge))
            yield painting

    frames = []
    pictures = (
        resize(fill_hidden(each).rgb, job.shape) for each in job.clip.frames(0, count)
    )
    for row, found in zip(
        rows, measure_frames(looked_at(), pictures, starts), strict=True
    ):
        frames.append(found)
        names = ("warp_error", "warp_error_content", "static_error")
        row |= {name: getattr(found, name) for name in names}
    summary = summarize(frames, starts)
    for name in ("lpips", "gram_gap", "palette_gap"):
        summary[name] = float(np.mean([getattr(each, name) for each in judged]))
    later = [row["seconds"] for row in rows if row["frame"] not in starts]
    if later:
        summary["seconds_per_frame"] = float(np.mean(later))
    return {name: float(f"{value:.5g}") for name, value in summary.items()}


def _certain_flow(
    one: HostImage, other: HostImage, flow_fn: FlowFn
) -> tuple[np.ndarray, HostAlpha]:
    """Return the flow from one frame to another, and 1 where it is certain, else 0."""
    flow = flow_fn(one, other)
    found = check_consistency(flow, flow_fn(other, one))
    return flow, (found > 0).astype(np.float32)


def _error(
    one: HostImage, other: HostImage, flow: np.ndarray, mask: HostAlpha
) -> float | None:
    """Return the mean squared difference to a frame that is carried along a flow."""
    if not mask.any():
        return None
    change = np.square(one - warp(other, flow)).mean(-1)
    return float((mask * change).sum() / mask.sum())


def _fine_energy(image: HostImage) -> HostAlpha:
    """Return the energy of what is finer than a Gaussian of one pixel."""
    return np.square(image - cv2.GaussianBlur(image, (0, 0), 1.0)).mean(-1)
