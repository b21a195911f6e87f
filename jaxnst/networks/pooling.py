"""Pooling of 2 x 2 pixels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


Pixels = Float[Array, "1 _ _ _"]
Corner = UInt8[Array, "1 _ _ _"]


@jax.custom_vjp
def max_pool(x: Pixels) -> Pixels:
    """Return the largest of every 2 x 2 pixels; an odd last row or column is dropped.

    As `nnx.max_pool`, and with its gradient, which goes to the first of equals. XLA's
    own takes several times as long on a CPU.
    """
    upper_left, upper_right, lower_left, lower_right = _corners(x)
    return jnp.maximum(
        jnp.maximum(upper_left, upper_right), jnp.maximum(lower_left, lower_right)
    )


def _forward(x: Pixels) -> tuple[Pixels, tuple[Pixels, Corner]]:
    corners = _corners(x)
    largest = max_pool(x)
    # Which one it was, in a byte: a quarter of a quarter of the memory of `x`.
    corner = jnp.full(largest.shape, 3, jnp.uint8)
    for index in (2, 1, 0):  # the first of equals last, so that it stays
        corner = jnp.where(corners[index] == largest, jnp.uint8(index), corner)
    # Of `x` only the shape is wanted, so this slice is of no size.
    return largest, (x[..., :0], corner)


def _backward(residuals: tuple[Pixels, Corner], gradient: Pixels) -> tuple[Pixels]:
    shaped, corner = residuals
    parts = [jnp.where(corner == index, gradient, 0) for index in range(4)]
    _, rows, columns, channels = corner.shape
    spread = jnp.stack(parts).reshape(2, 2, rows, columns, channels)
    spread = spread.transpose(2, 0, 3, 1, 4).reshape(1, 2 * rows, 2 * columns, channels)
    below, right = shaped.shape[1] - 2 * rows, shaped.shape[2] - 2 * columns
    return (jnp.pad(spread, ((0, 0), (0, below), (0, right), (0, 0))),)


max_pool.defvjp(_forward, _backward)


def average_pool(x: Pixels) -> Pixels:
    """Return the mean of every 2 x 2 pixels; an odd last row or column is dropped."""
    return sum(_corners(x)[1:], start=_corners(x)[0]) / 4


def _corners(x: Pixels) -> list[Pixels]:
    rows, columns = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    return [x[:, i:rows:2, j:columns:2] for i in (0, 1) for j in (0, 1)]
