"""Motion between frames; start and target of a frame, made from earlier paintings."""

import concurrent.futures
import contextlib
import functools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool

from jaxnst._types import HostAlpha, HostImage

from .flow import (
    LUMA,
    Flow,
    FlowFn,
    certainty_of,
    check_consistency,
    squared_length,
    squared_slope,
    warp,
    warp_smooth,
)
from .source import cv2


T = TypeVar("T")

# What moves less than this stands still, in pixels, as the mean over a neighborhood of
# the second standard deviation.
_STILL_FLOW, _FLOW_SMOOTHING = 0.1, 5.0
# Share of the whole picture's flow in that mean.
_FAR_SHARE = 0.05
# Mean difference over 5 x 5 pixels up to which a place stands still: the first, or the
# second times that of the noise, whichever is more.
_STILL_LEAST = 1.5 / 255
_STILL_NOISE = 1.3
_STILL_WINDOW = 5
# Of normal noise: mean over median of its absolute value.
_MEAN_OVER_MEDIAN = 0.7979 / 0.6745
# Squared slope of the mean flow up to which all around a place moves alike.
_EVEN_SLOPE = 0.002
# Standard deviation over which a change of light is smoothed, in pixels.
_LIGHT_SMOOTHING = 4.0
# Detail of a carried picture is finer than this, in pixels; it is compared with what
# it was over a neighborhood of the second standard deviation, and raised at most so.
_DETAIL, _DETAIL_AROUND, _MOST_GAIN = 1.0, 8.0, 1.4
# Factor on the update of pixels of which nothing is known.
NEW_RATE = 3.0


class Motion(NamedTuple):
    """How a frame goes on from one frame before.

    Attributes:
        flow: way of each pixel to its place in the frame before.
        certainty: certainty of that way, [0, 1].
        seen: degree to which that place shows the same, [0, 1]; at borders of motion it
            does, though the motion is not certain.
        light: change of the luminance, smoothed.
        still: mask of what neither moved nor changed.
    """

    flow: Flow
    certainty: HostAlpha
    seen: HostAlpha
    light: HostAlpha
    still: Bool[np.ndarray, "height width"]


class Held(NamedTuple):
    """What the paintings of frames before say about a frame.

    Attributes:
        image: paintings before, carried along the motion.
        certainty: certainty of that, [0, 1].
        first: picture from which the frame is painted.
        rates: factor on the update of each pixel.
    """

    image: HostImage
    certainty: HostAlpha
    first: HostImage
    rates: HostAlpha


def measure_motion(
    frame: HostImage,
    before: HostImage,
    flow_fn: FlowFn | None,
    back_fn: FlowFn | None = None,
) -> Motion:
    """Return how a frame goes on from one before, both at the size of the painting.

    Without a flow nothing moves, and the painting is to change as the frame does.
    `back_fn` gives the flow from the frame before to this one, if `flow_fn` does not.
    """
    shape = frame.shape[0], frame.shape[1]
    nothing = np.zeros(shape, np.float32)
    everything = np.ones(shape, bool)
    if np.array_equal(frame, before):
        flow = np.zeros((*shape, 2), np.float32)
        full = everything.astype(np.float32)
        return Motion(flow, full, full, nothing, everything)
    if flow_fn is None:
        flow = np.zeros((*shape, 2), np.float32)
        certainty = seen = everything.astype(np.float32)
    else:
        flow = flow_fn(frame, before)
        back = (back_fn or flow_fn)(before, frame)
        found = check_consistency(flow, back)
        mean, is_plain = _find_plain(frame, before, flow)
        is_plain &= found < 0
        flow = np.where(is_plain[..., None], mean, flow)
        certainty, seen = certainty_of(flow, np.where(is_plain, np.float32(1), found))
    change = frame - warp(before, flow)
    certain = cv2.GaussianBlur(certainty, (0, 0), _LIGHT_SMOOTHING)
    brighter = cv2.GaussianBlur(certainty * (change @ LUMA), (0, 0), _LIGHT_SMOOTHING)
    light = brighter / np.maximum(certain, 1e-3)
    still = find_still(frame, before, flow)
    certainty, seen = (np.where(still, np.float32(1), x) for x in (certainty, seen))
    return Motion(flow, certainty, seen, light, still)


def find_still(frame: HostImage, before: HostImage, flow: Flow) -> np.ndarray:
    """Return where nothing moves, and nothing changes by more than the noise."""
    change = frame - before
    window = (_STILL_WINDOW, _STILL_WINDOW)
    # Without what changes smoothly, such as the light.
    rough = np.abs(change - cv2.blur(change, window))
    mean = _mean_flow(frame, flow, float(np.median(rough)))
    is_at_rest = squared_length(mean) < _STILL_FLOW**2
    if not is_at_rest.any():
        return is_at_rest
    noise = _MEAN_OVER_MEDIAN * float(np.median(rough[is_at_rest]))
    found = cv2.blur(np.abs(change).mean(-1), window)
    still = is_at_rest & (found < max(_STILL_LEAST, _STILL_NOISE * noise))
    # Single pixels of noise do not count.
    square = np.ones(window, np.uint8)
    closed = cv2.morphologyEx(still.astype(np.uint8), cv2.MORPH_CLOSE, square)
    return closed.astype(bool) & is_at_rest


def _find_plain(
    frame: HostImage, before: HostImage, flow: Flow
) -> tuple[Flow, np.ndarray]:
    """Return the flow around each pixel, and where it explains the frame but for noise.

    In flat places, such as a sky, a flow and the one back need not agree, though
    nothing was covered there.
    """
    change = frame - warp_smooth(before, flow)
    window = (_STILL_WINDOW, _STILL_WINDOW)
    noise = float(np.median(np.abs(change - cv2.blur(change, window))))
    mean = _mean_flow(frame, flow, noise)
    found = cv2.blur(np.abs(frame - warp_smooth(before, mean)).mean(-1), window)
    most = max(_STILL_LEAST, _STILL_NOISE * _MEAN_OVER_MEDIAN * noise)
    return mean, (found < most) & (squared_slope(mean) < _EVEN_SLOPE)


def _mean_flow(frame: HostImage, flow: Flow, noise: float) -> Flow:
    """Return the mean flow around each pixel, where there is something to be seen.

    In flat places the flow is noise, so the mean of the surroundings, or of the whole
    picture, is used.
    """
    gray = cv2.GaussianBlur(frame @ LUMA, (0, 0), 1.0)
    slopes = np.square(np.stack(np.gradient(gray))).sum(0)
    weight = np.maximum(slopes - np.square(noise), 1e-8).astype(np.float32)[..., None]
    everywhere = (weight * flow).mean((0, 1)), weight.mean()
    smooth = (0, 0), _FLOW_SMOOTHING
    near = cv2.GaussianBlur(weight * flow, *smooth), cv2.GaussianBlur(weight, *smooth)
    far = [np.float32(_FAR_SHARE) * each for each in everywhere]
    return (near[0] + far[0]) / (near[1][..., None] + far[1])


def carry(painted: HostImage, motion: Motion) -> HostImage:
    """Return a painting carried along a motion, with its fine detail and new light.

    Every interpolation blurs a little, and frame after frame would sum it up: so detail
    gets the energy that it had.
    """
    moved = warp(painted, motion.flow)
    fine = moved - cv2.GaussianBlur(moved, (0, 0), _DETAIL)
    own = painted - cv2.GaussianBlur(painted, (0, 0), _DETAIL)

    def energy(detail: HostImage) -> HostAlpha:
        around = np.square(detail).mean(-1)
        return cv2.GaussianBlur(around, (0, 0), _DETAIL_AROUND) + 1e-8

    gain = np.sqrt(warp_smooth(energy(own), motion.flow) / energy(fine))
    moved = moved + (np.clip(gain, 1, _MOST_GAIN) - 1)[..., None] * fine
    moved = np.where(motion.still[..., None], painted, moved)
    return np.clip(moved + motion.light[..., None], 0, 1).astype(np.float32)


def hold(
    frame: HostImage,
    motions: Sequence[Motion],
    paintings: Sequence[HostImage],
    recolor_fn: Callable[[HostImage], HostImage],
    recolorings: Sequence[HostImage | None],
    *,
    moves: bool = True,
    changes: Sequence[HostImage] = (),
) -> Held:
    """Return what the paintings of the frames before, the nearest first, say.

    The distances to several pictures, each weighted by what no nearer one knows, have
    the gradient of the distance to their weighted mean, so one target is enough.

    Args:
        frame: frame to paint, at the size of the painting.
        motions: motion from each of the frames before.
        paintings: painting of each.
        recolor_fn: function that gives a frame the colors of the painting.
        recolorings: change of the colors since each painting, as the settings changed;
            None: they did not.
        moves: whether there is a flow; without one, `changes` are added.
        changes: change of the frame from each of those before.
    """
    carried = []
    for number, (motion, painting) in enumerate(zip(motions, paintings, strict=True)):
        if moves:
            moved = carry(painting, motion)
        else:
            moved = np.clip(painting + changes[number], 0, 1)
            moved = np.where(motion.still[..., None], painting, moved)
        recoloring = recolorings[number]
        if recoloring is not None:
            moved = np.clip(moved + recoloring, 0, 1)
        carried.append(moved)
    image, certainty = _mean_of(carried, [each.certainty for each in motions])
    first, seen = _mean_of(carried, [each.seen for each in motions])
    if (seen < 1).any():
        share = seen[..., None]
        new = share * first + (1 - share) * recolor_fn(frame)
        first = np.where(share == 1, first, new).astype(np.float32)
    rates = np.where(motions[0].still, 0, 1 + (NEW_RATE - 1) * (1 - seen))
    return Held(image, certainty, first, rates.astype(np.float32))


def _mean_of(
    carried: Sequence[HostImage], weights: Sequence[HostAlpha]
) -> tuple[HostImage, HostAlpha]:
    """Return the mean of pictures, each for what no earlier one knows, and its weight.

    Where the first is all that is known, its pixels stay as they are to the last bit.
    """
    total, known = np.zeros_like(carried[0]), np.zeros_like(weights[0])
    for picture, weight in zip(carried, weights, strict=True):
        new = np.maximum(0, weight - known)
        total += new[..., None] * picture
        known += new
    is_one = (known == weights[0])[..., None]
    mean = total / np.maximum(known, 1e-6)[..., None]
    return np.where(is_one, carried[0], mean).astype(np.float32), np.minimum(known, 1)


class Window:
    """The frames of a clip by number, read in their order; only the last are kept."""

    def __init__(self, frames: Iterator[HostImage], first: int, kept: int):
        self._frames = enumerate(frames, first)
        self._kept = kept
        self._found: dict[int, HostImage] = {}

    def __call__(self, index: int) -> HostImage:
        """Return a frame that is not too far back."""
        while index not in self._found:
            number, frame = next(self._frames)
            self._found[number] = frame
            self._found.pop(number - self._kept, None)
        return self._found[index]


def in_thread(items: Generator[T, None, None], depth: int) -> Iterator[T]:
    """Yield items that a thread makes ahead, at most so many."""
    pool = concurrent.futures.ThreadPoolExecutor(1, "jaxnst-frames")
    with contextlib.closing(items), pool:  # the thread ends first
        try:
            waiting = deque(pool.submit(next, items, None) for _ in range(depth + 1))
            while (item := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(next, items, None))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)


class Prepared(NamedTuple):
    """A frame and its motions, of the frames that hold it."""

    number: int
    frame: HostImage
    before: tuple[int, ...]
    motions: tuple[Motion, ...]
    changes: tuple[HostImage, ...]


def prepare(
    order: Iterable[tuple[int, tuple[int, ...]]],
    frame_fn: Callable[[int], HostImage],
    motion_fn: Callable[[int, int, HostImage, HostImage], Motion],
    *,
    num_threads: int,
    ahead: int,
    keeps_changes: bool = False,
) -> Generator[Prepared, None, None]:
    """Yield frames with their motions, which threads measure ahead.

    `order` has each frame and those that hold it, the nearest first.
    """
    waiting: deque[tuple[int, HostImage, tuple[int, ...], list, tuple]] = deque()

    def resolve() -> Prepared:
        index, frame, before, motions, changes = waiting.popleft()
        found = tuple(each.result() for each in motions)
        return Prepared(index, frame, before, found, changes)

    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        for index, before in order:
            frame = frame_fn(index)
            others = [frame_fn(each) for each in before]
            motions = [
                pool.submit(functools.partial(motion_fn, index, each, frame, other))
                for each, other in zip(before, others, strict=True)
            ]
            changes = tuple(frame - x for x in others) if keeps_changes else ()
            waiting.append((index, frame, before, motions, changes))
            if len(waiting) >= ahead:
                yield resolve()
        while waiting:
            yield resolve()
