"""Layer functions: pooling, and smoothing of activations.

Smoothing is for networks other than VGGs: residual connections add up to a few values
far above all others, which dominate the Gram matrix (SWAG).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnst._types import Activations, FeatureMap


@jax.custom_vjp
def _largest(parts: list[Activations]) -> Activations:
    """Return the largest of several values; the first of equals gets the gradient."""
    return functools.reduce(jnp.maximum, parts)


def _forward(parts: list[Activations]) -> tuple[Activations, tuple[Array, list[None]]]:
    largest = _largest(parts)
    # Which one it is, in a byte: a fraction of the memory of the parts.
    which = jnp.full(largest.shape, len(parts) - 1, jnp.uint8)
    for index in reversed(range(len(parts) - 1)):  # the first last, so that it stays
        which = jnp.where(parts[index] == largest, jnp.uint8(index), which)
    return largest, (which, [None] * len(parts))


def _backward(
    residuals: tuple[Array, list[None]], gradient: Activations
) -> tuple[list[Activations]]:
    which, parts = residuals
    return ([jnp.where(which == index, gradient, 0) for index in range(len(parts))],)


_largest.defvjp(_forward, _backward)


class Window(NamedTuple):
    """The windows of a pooling.

    Attributes:
        margin: pixels of the first window that are beyond the border.
        is_ceil: whether the last window may be incomplete, as in torch's `ceil_mode`.
    """

    size: int
    stride: int
    margin: int = 0
    is_ceil: bool = False

    def count(self, length: int) -> int:
        """Return the number of windows along an axis of so many pixels, 0 or more."""
        steps = length + 2 * self.margin - self.size
        count = (-(-steps // self.stride) if self.is_ceil else steps // self.stride) + 1
        if self.is_ceil and (count - 1) * self.stride >= length + self.margin:
            count -= 1  # it would lie outside the picture
        return max(count, 0)

    def reach(self, length: int) -> tuple[int, int]:
        """Return the pixels that windows reach beyond the picture, before and after.

        The second is negative if the last pixels are in no window.
        """
        last = (self.count(length) - 1) * self.stride + self.size
        return self.margin, last - length - self.margin


def pool_windows(
    x: Activations,
    window: Window,
    kind: str,
    *,
    wraps: tuple[bool, bool],
    num_rows: int | None = None,
) -> Activations:
    """Return the maximum ("max") or mean ("average") of the pixels in every window.

    Windows wrap around where `wraps`, vertically and horizontally, says so; else pixels
    beyond the border do not count. `num_rows` are the rows of the picture, if rows of
    zeros follow, for which the result has no meaning; not for vertical wrapping.
    """
    if window == Window(2, 2):  # reaches beyond no border
        # Several times as fast as `nnx.max_pool` on a CPU, with the same gradient.
        rows, columns = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
        parts = [x[:, i:rows:2, j:columns:2] for i in (0, 1) for j in (0, 1)]
        return _largest(parts) if kind == "max" else sum(parts[1:], start=parts[0]) / 4
    down, across = wraps
    x = _pool_axis(x, 2, window, kind, across, x.shape[2])
    return _pool_axis(x, 1, window, kind, down, num_rows or x.shape[1])


def _pool_axis(
    x: Activations, axis: int, window: Window, kind: str, is_circular: bool, own: int
) -> Activations:
    """Pool along one axis, on which `own` pixels are of the picture."""
    length = x.shape[axis]
    before, behind = window.reach(length)
    x = jax.lax.slice_in_dim(x, 0, length + min(behind, 0), axis=axis)
    beyond = [(0, 0)] * 4
    beyond[axis] = (before, max(behind, 0))
    if is_circular:
        x = jnp.pad(x, beyond, mode="wrap")
    else:
        x = jnp.pad(x, beyond, constant_values=-jnp.inf if kind == "max" else 0)
    indices = range(window.size)
    if kind == "max":
        # Last to first, so that the gradients of overlapping windows add up in order.
        parts = [_shifted(x, axis, window, index) for index in reversed(indices)]
        # Without the barrier, XLA computes one axis again for every value of the other.
        return jax.lax.optimization_barrier(_largest(parts[::-1]))
    parts = [_shifted(x, axis, window, index) for index in indices]
    total = functools.reduce(jnp.add, parts)
    counts = np.full(window.count(length), window.size)
    if not is_circular:
        # Pixels of the picture in each window.
        starts = np.arange(window.count(own)) * window.stride - window.margin
        inside = np.minimum(starts + window.size, own) - np.maximum(starts, 0)
        counts[: len(inside)] = inside
    shape = [1] * 4
    shape[axis] = -1
    return total / jnp.asarray(counts.reshape(shape), x.dtype)


def _shifted(x: Activations, axis: int, window: Window, index: int) -> Activations:
    """Return the pixel at an index of every window along an axis."""
    stop = index + (x.shape[axis] - window.size) // window.stride * window.stride + 1
    return jax.lax.slice_in_dim(x, index, stop, window.stride, axis)


@jax.custom_vjp
def rectify_fused(x: Activations) -> Activations:
    """Return the ReLU, whose gradient needs only its output.

    cuDNN then computes convolution, bias and ReLU in one kernel, and what is before the
    ReLU takes no memory. On a CPU it would only hinder XLA.
    """
    return _rectify_forward(x)[0]


def _rectify_forward(x: Activations) -> tuple[Activations, Activations]:
    # The barrier keeps XLA from asking for the sign of the input instead.
    y = jax.lax.optimization_barrier(jnp.maximum(x, 0))
    return y, y


def _rectify_backward(y: Activations, gradient: Activations) -> tuple[Activations]:
    return (jnp.where(y > 0, gradient, 0),)


rectify_fused.defvjp(_rectify_forward, _rectify_backward)


def smooth(features: FeatureMap, smoothing: str) -> FeatureMap:
    """Return a feature map with its peaks reduced.

    Args:
        features: activations after a ReLU, 0 or more.
        smoothing: "none"; "log", log(1 + x), which keeps small values and reduces large
            ones; or "softmax", the softmax over all values, times their number, minus
            1, so that the mean is 0 at every size.

    References:
        Wang, Li, Vasconcelos, "Rethinking and Improving the Robustness of Image Style
        Transfer", CVPR 2021 (SWAG), found the peaks and proposes the softmax. It
        reduces them relative to the 1 that every zero becomes. Our losses are divided
        by their scale, which cancels that 1, and the exponential then makes peaks
        higher. (The code released with the paper has the softmax commented out, and
        scales deep layers by 0.001 instead, which would change nothing in our losses.)
        Hence "log", which is not in the paper.
    """
    if smoothing == "none":
        return features
    values = features.astype(jnp.float32)
    if smoothing == "log":
        smoothed = jnp.log1p(values)
    else:
        smoothed = jax.nn.softmax(values, axis=(0, 1, 2)) * values.size - 1
    return smoothed.astype(features.dtype)
