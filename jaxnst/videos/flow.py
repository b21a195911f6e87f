"""Optical flow, what of it is certain, and pictures carried along it.

A flow from one picture to another has for each pixel of the one the way to its place in
the other, as (right, down) in pixels.
"""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxnst._checks import check_choice, path_text, shown
from jaxnst._memory import foreign_errors
from jaxnst._types import HostAlpha, HostImage
from jaxnst.config import FLOWS

from .source import cv2


Flow = Float[np.ndarray, "height width 2"]
FlowFn = Callable[[HostImage, HostImage], np.ndarray]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Iterations of the refinement of "dis": with 5, OpenCV's own number, twice as many
# pixels of a noisy clip go a wrong way.
_REFINEMENTS = 20
# The first bytes of a file of a flow, and what is put where it is not known.
_FLO, _UNKNOWN = b"PIEH", 1e9
# A border of motion lies up to so many pixels beside its place in a flow.
_BESIDE = 4
# Standard deviations over which a flow's differences, and certainty, are smoothed.
_DIFFERENCE_SMOOTHING = 1.2
_SMOOTHING = 0.8


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let OpenCV work in the calling thread alone.

    Its flow depends on the number of its threads, and must be the same on all machines;
    pairs of frames are measured side by side instead.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def gray_levels(rgb: HostImage) -> np.ndarray:
    """Return the luminance in 8 bits."""
    return np.round(rgb @ LUMA * 255).astype(np.uint8)


def dis_flow(one: HostImage, other: HostImage) -> Flow:
    """Return the flow of Kroeger, Timofte, Dai, Van Gool, ECCV 2016.

    Departure: `_move_borders`.
    """
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setFinestScale(0)
    method.setVariationalRefinementIterations(_REFINEMENTS)
    flow = method.calc(gray_levels(one), gray_levels(other), None)
    return _move_borders(flow, one @ LUMA, other @ LUMA)


def _move_borders(flow: Flow, one: HostAlpha, other: HostAlpha) -> Flow:
    """Return a flow whose borders of motion are where the pictures show them.

    Patches that lie on both sides of a border take it to one of them. So each pixel
    takes the flow of one beside it, if that explains the picture better by more than
    the noise.
    """

    def difference(flow: Flow) -> HostAlpha:
        found = np.abs(one - warp_smooth(other, flow))
        return cv2.GaussianBlur(found, (0, 0), _DIFFERENCE_SMOOTHING)

    height, width = one.shape
    around = cv2.copyMakeBorder(flow, *[_BESIDE] * 4, cv2.BORDER_REPLICATE)
    least = difference(flow)
    least = least - np.median(least)
    for down, right in itertools.product((0, _BESIDE, 2 * _BESIDE), repeat=2):
        beside = around[down : down + height, right : right + width]
        found = difference(beside)
        is_better = found < least
        least = np.where(is_better, found, least)
        flow = np.where(is_better[..., None], beside, flow)
    return flow


def farneback_flow(one: HostImage, other: HostImage) -> Flow:
    """Return the flow of Farneback, SCIA 2003, with a variational refinement.

    It judges what was painted by another flow.
    """
    pair = gray_levels(one), gray_levels(other)
    flow = cv2.calcOpticalFlowFarneback(*pair, None, 0.5, 6, 15, 5, 7, 1.5, 0)
    refinement = cv2.VariationalRefinement_create()
    refinement.setFixedPointIterations(10)
    return refinement.calc(*pair, flow)


def deep_flow(one: HostImage, other: HostImage) -> Flow:
    """Return the flow of Weinzaepfel, Revaud, Harchaoui, Schmid, ICCV 2013."""
    method = cv2.optflow.createOptFlow_DeepFlow()
    return method.calc(gray_levels(one), gray_levels(other), None)


def make_flow_fn(flow: Any) -> FlowFn | None:
    """Return the function of a setting `flow`.

    Raises:
        ValueError: if it is unknown, or its package is not installed.
    """
    if flow is None or flow == "none":
        return None
    if callable(flow):
        return _checked(flow)
    check_choice("flow", flow, FLOWS)
    if flow == "dis":
        return dis_flow
    if not hasattr(cv2, "optflow"):
        raise ValueError(
            "`flow` 'deepflow' needs opencv-contrib-python-headless in the place of "
            "opencv-python-headless; or use 'dis'."
        )
    return deep_flow


def _checked(flow_fn: Any) -> FlowFn:
    """Return a user's function whose results are checked."""

    def checked(one: HostImage, other: HostImage) -> Flow:
        with foreign_errors():
            found = np.asarray(flow_fn(one, other), np.float32)
        wanted = (*one.shape[:2], 2)
        if found.shape != wanted:
            got = shown(found.shape)
        elif not np.isfinite(found).all():
            got = "NaN or infinite ones"
        else:
            return found
        raise ValueError(
            f"`flow` must return finite numbers of shape {wanted}, got {got}."
        )

    return checked


def find_flow(pattern: str, one: int, other: int) -> Path:
    """Return the file of a flow.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    numbers = iter((one, other))
    path = Path(re.sub(r"%\d{0,3}d", lambda form: form[0] % next(numbers), pattern))
    if not path.is_file():
        raise FileNotFoundError(f"`flow`: no such file: {path_text(path)}")
    return path


def read_flow(pattern: str, one: int, other: int, shape: tuple[int, int]) -> Flow:
    """Return a flow from a file, in the form of Middlebury (.flo).

    `pattern` has two numbers, as in `flow/%04d_%04d.flo`: of the frame, and of that
    which the flow leads to. A flow of another size is scaled.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no flow.
    """
    path = find_flow(pattern, one, other)
    data = path.read_bytes()
    width, height = np.frombuffer(data[4:12].ljust(8, b"\0"), "<i4").tolist()
    is_whole = min(width, height) > 0 and len(data) == 12 + 8 * width * height
    if data[:4] != _FLO or not is_whole:
        raise ValueError(f"`flow`: {path_text(path)} is no flow that can be read.")
    found = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2)
    if not (np.abs(found) < _UNKNOWN).all():
        raise ValueError(
            f"`flow`: {path_text(path)} has places where the flow is not known; fill "
            "them."
        )
    scale = shape[1] / found.shape[1], shape[0] / found.shape[0]
    if scale != (1, 1):
        found = cv2.resize(found, shape[::-1]) * np.asarray(scale, np.float32)
    return np.array(found, np.float32)


def places(flow: Flow) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns and the rows that a flow leads to."""
    height, width = flow.shape[:2]
    columns = np.arange(width, dtype=np.float32) + flow[..., 0]
    return columns, np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]


def warp(image: np.ndarray, flow: Flow) -> np.ndarray:
    """Return a picture read at the places that a flow leads to, by Lanczos' kernel.

    Beyond the border the picture is mirrored.
    """
    return cv2.remap(
        image, *places(flow), cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101
    )


def warp_smooth(field: np.ndarray, flow: Flow) -> np.ndarray:
    """Return a smooth field, such as a flow, read at the places of a flow, linearly."""
    return cv2.remap(
        field, *places(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def check_consistency(flow: Flow, back: Flow) -> np.ndarray:
    """Return 1 where a flow is certain, 0 where not, -1 where the other disagrees.

    `flow` leads from this picture to the other, `back` from the other to this one.

    References:
        Sundaram, Brox, Keutzer, ECCV 2010: the checks for what is covered and for
        borders of motion, with their numbers.
    """
    returned = warp_smooth(back, flow)
    lengths = squared_length(flow)
    most = 0.01 * (lengths + squared_length(returned)) + 0.5
    is_lost = squared_length(flow + returned) >= most
    found = np.where(squared_slope(flow) > 0.01 * lengths + 0.002, 0, 1)
    found = np.where(is_lost, -1, found)
    return np.where(_leaves(flow), 0, found).astype(np.float32)


def squared_slope(flow: Flow) -> np.ndarray:
    """Return the sum of the squared derivatives of a flow at each pixel."""
    down, across = np.gradient(flow, axis=(0, 1))
    return squared_length(down) + squared_length(across)


def squared_length(flow: Flow) -> np.ndarray:
    """Return the squared length of each vector; `sum` takes five times as long."""
    return np.einsum("ijk,ijk->ij", flow, flow)


def certainty_of(flow: Flow, found: np.ndarray) -> tuple[HostAlpha, HostAlpha]:
    """Return how certain a flow is, and what of the picture it leads to, [0, 1].

    `found` is what `check_consistency` says of it. At a border of motion a flow is not
    certain, but leads to nearly the right place. What is lost spreads outwards.
    """
    is_boundary = (found == 0) & ~_leaves(flow)
    return _smoothed(found), _smoothed(np.where(is_boundary, 1, found))


def _smoothed(found: np.ndarray) -> HostAlpha:
    smooth = cv2.GaussianBlur(found, (0, 0), _SMOOTHING)
    return np.clip(smooth, 0, 1)


def _leaves(flow: Flow) -> np.ndarray:
    """Return where a flow leads out of the picture."""
    columns, rows = places(flow)
    height, width = flow.shape[:2]
    is_beside = (columns < 0) | (columns > width - 1)
    return is_beside | (rows < 0) | (rows > height - 1)


def consistent_share(one: HostImage, other: HostImage) -> float:
    """Return the part of a picture that another one shows, too."""
    if np.array_equal(one, other):
        return 1.0
    flow, back = dis_flow(one, other), dis_flow(other, one)
    return float((check_consistency(flow, back) > 0).mean())
