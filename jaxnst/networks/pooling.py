"""Pooling of 2 x 2 pixels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


Pixels = Float[Array, "1 _ _ channels"]


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


def _forward(x: Pixels) -> tuple[Pixels, tuple[Pixels, Pixels]]:
    largest = max_pool(x)
    return largest, (x, largest)


def _backward(residuals: tuple[Pixels, Pixels], gradient: Pixels) -> tuple[Pixels]:
    x, largest = residuals
    parts: list[Pixels] = []
    is_taken: Bool[Array, "1 _ _ channels"] | bool = False
    for corner in _corners(x):
        is_here = (corner == largest) & ~jnp.asarray(is_taken)
        is_taken = is_here | is_taken
        parts.append(jnp.where(is_here, gradient, 0))
    _, rows, columns, channels = largest.shape
    spread = jnp.stack(parts).reshape(2, 2, rows, columns, channels)
    spread = spread.transpose(2, 0, 3, 1, 4).reshape(1, 2 * rows, 2 * columns, channels)
    odd = (x.shape[1] - 2 * rows, x.shape[2] - 2 * columns)
    return (jnp.pad(spread, ((0, 0), (0, odd[0]), (0, odd[1]), (0, 0))),)


max_pool.defvjp(_forward, _backward)


def average_pool(x: Pixels) -> Pixels:
    """Return the mean of every 2 x 2 pixels; an odd last row or column is dropped."""
    return sum(_corners(x)[1:], start=_corners(x)[0]) / 4


def _corners(x: Pixels) -> list[Pixels]:
    rows, columns = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    return [x[:, i:rows:2, j:columns:2] for i in (0, 1) for j in (0, 1)]
