"""The shots of a clip: where one frame does not go on from another."""

import concurrent.futures
import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxnst.images import resize

from .flow import consistent_share
from .source import Clip, small_shape


# Frames are compared at this longest side, in pixels.
_SIZE = 256
# A frame that shows less than this part of another one does not go on from it.
_LEAST_SHARE = 0.35
# Pairs of frames that are compared ahead.
_AHEAD = 8


class Shots(NamedTuple):
    """The shots of a clip.

    Attributes:
        spans: first frame of each shot, and the one behind its last.
        before: for each frame the one that it goes on from; that before a flash of one
            frame for the one after it.
    """

    spans: tuple[tuple[int, int], ...]
    before: tuple[int, ...]


def find_shots(
    clip: Clip,
    cuts: str | Sequence[int],
    *,
    num_threads: int,
    seen_fn: Callable[[int], object],
) -> Shots:
    """Return the shots of a clip: those that `cuts` begin, or that are found.

    `seen_fn` is called with the number of each frame that was looked at.
    """
    if isinstance(cuts, str):
        starts, before = _find_cuts(clip, num_threads, seen_fn)
    else:
        starts = {*cuts} - {0}
        before = list(range(-1, len(clip) - 1))
    edges = [0, *sorted(starts), len(clip)]
    return Shots(tuple(itertools.pairwise(edges)), tuple(before))


def _find_cuts(
    clip: Clip, num_threads: int, seen_fn: Callable[[int], object]
) -> tuple[set[int], list[int]]:
    starts, before = set(), list(range(-1, len(clip) - 1))
    pairs = _compare(clip, num_threads)
    flashed = -1
    for index, share, after_fn in pairs:
        seen_fn(index)
        if index == 0 or share >= _LEAST_SHARE or index == flashed:
            continue
        if after_fn() >= _LEAST_SHARE:  # what follows goes on from before
            flashed = index + 1
            before[flashed] = index - 1
        else:
            starts.add(index)
    return starts, before


def _compare(
    clip: Clip, num_threads: int
) -> Iterator[tuple[int, float, Callable[[], float]]]:
    """Yield each frame's share of the one before, and that of the next one of it."""
    shape = small_shape(clip.shape, _SIZE)
    small: dict[int, np.ndarray] = {}
    waiting: deque[tuple[int, concurrent.futures.Future[float]]] = deque()

    def resolve() -> tuple[int, float, Callable[[], float]]:
        index, share = waiting.popleft()
        around = small.get(index - 1), small.get(index + 1)
        small.pop(index - 2, None)

        def after_fn() -> float:
            one, other = around
            return 0.0 if one is None or other is None else consistent_share(other, one)

        return index, share.result(), after_fn

    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        for index, frame in enumerate(clip.frames()):
            small[index] = resize(frame.rgb, shape)
            last = small.get(index - 1, small[index])
            compare_fn = functools.partial(consistent_share, small[index], last)
            waiting.append((index, pool.submit(compare_fn)))
            if len(waiting) > _AHEAD:
                yield resolve()
        while waiting:
            yield resolve()
