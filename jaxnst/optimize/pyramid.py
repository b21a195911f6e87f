"""Coarse to fine: which sizes are painted, and what one hands to the next."""

import jax
import jax.numpy as jnp
import optax

from .step import TransferState


def pyramid_sizes(
    shape: tuple[int, int], *, min_size: int, min_side: int
) -> tuple[tuple[int, int], ...]:
    """Return the (height, width) of every size, the last being `shape`.

    Each is half the next, down to a longest side of about `min_size`, as long as the
    shortest side stays at `min_side` or above.

    Args:
        shape: the full size.
        min_size: longest side of the coarsest size; above half of the full size gives
            the full size alone.
        min_side: no side of any size but the last is shorter.
    """
    shapes = [shape]
    factor = 2
    # A factor of sqrt(2) is allowed below `min_size`, so that the number of sizes does
    # not jump when `size` is a little off a power of two.
    while (
        max(shape) / factor * 2**0.5 > min_size
        and max(shape) / factor < max(shape)
        and min(shape) / factor >= min_side
        and min_size < max(shape)
    ):
        shapes.append((round(shape[0] / factor), round(shape[1] / factor)))
        factor *= 2
    return tuple(reversed(shapes))


def resize_state(state: TransferState, shape: tuple[int, int]) -> TransferState:
    """Return the state at another size, the optimizer's memory kept.

    The picture is resized with cubic interpolation and clipped. Whatever the optimizer
    remembers per pixel (for Adam both moments) is resized linearly, which keeps
    squares from turning negative; counts stay, so bias correction does not restart
    (after Crowson's style-transfer-pytorch).

    Args:
        state: at any size.
        shape: height and width wanted.
    """
    old, new = state.image.shape, (*shape, state.image.shape[2])

    def resize(leaf: jax.Array) -> jax.Array:
        # Leaves with leading axes (L-BFGS keeps past steps) are resized in the last
        # three.
        if leaf.ndim >= 3 and leaf.shape[-3:] == old:
            return jax.image.resize(leaf, (*leaf.shape[:-3], *new), "linear")
        return leaf

    image = jnp.clip(jax.image.resize(state.image, new, "cubic"), 0.0, 1.0)
    opt_state: optax.OptState = jax.tree.map(resize, state.opt_state)
    return TransferState(image, opt_state)
