"""Coarse to fine: the sizes that are painted, and the state from size to size."""

import jax
import jax.numpy as jnp
import optax

from jaxnst._types import Image, Scalar

from .stepping import TransferState, init_state


def pyramid_sizes(
    shape: tuple[int, int],
    *,
    min_size: int,
    min_side: int,
    multiples: tuple[int, int] = (1, 1),
) -> tuple[tuple[int, int], ...]:
    """Return the (height, width) of every size, the last being `shape`.

    Each is half the next. The longest side of the coarsest is within a factor of
    sqrt(2) of `min_size`, unless its shortest side would be below `min_side`.

    Args:
        shape: height and width of the full size.
        min_size: longest side of the coarsest size; 0 gives the full size alone.
        min_side: least side of all sizes but the last.
        multiples: numbers that divide height and width of all sizes but the last.
    """
    down, across = multiples
    shapes = [shape]
    factor = 2
    while (
        min_size > 0
        and max(shape) / factor >= min_size / 2**0.5
        and min(shape) / factor >= min_side
    ):
        height = round(shape[0] / factor / down) * down
        shapes.append((height, round(shape[1] / factor / across) * across))
        factor *= 2
    return tuple(reversed(shapes))


def resize_state(
    state: TransferState,
    content: Image,
    optimizer: optax.GradientTransformation,
    *,
    content_detail: float | Scalar = 0.0,
    wraps: tuple[bool, bool] = (False, False),
) -> TransferState:
    """Return the state at the size of `content`, with the optimizer's state kept.

    The picture is resized with cubic interpolation and clipped. The optimizer's state
    per pixel (both moments of Adam) is resized linearly, so that squares stay positive;
    counts stay, so bias correction does not restart (after Crowson's
    style-transfer-pytorch). A state that cannot be resized, because it holds arrays of
    other shapes, is initialized again. So is the average of the pictures: the pictures
    before had no detail of this size.

    Args:
        state: state at any size.
        content: content picture at the new size.
        optimizer: optimizer of the state.
        content_detail: fraction of the content's detail beyond the previous size that
            is added, 0 to 1. It gives the next steps edges to paint, not blur (after
            STROTSS).
        wraps: whether pictures wrap around, vertically and horizontally.
    """
    old, new = state.image.shape, content.shape

    def resize(leaf: jax.Array) -> jax.Array:
        # Only the last three axes are resized; an L-BFGS of optax has an axis of steps.
        if leaf.ndim >= 3 and leaf.shape[-3:] == old:
            return _resize(leaf, new, "linear", wraps)
        return leaf

    image = _resize(state.image, new, "cubic", wraps)
    small = _resize(content, old, "linear", wraps)
    known = _resize(small, new, "cubic", wraps)
    image = jnp.clip(image + content_detail * (content - known), 0.0, 1.0)
    begun = init_state(image, optimizer, use_average=state.average is not None)
    opt_state: optax.OptState = jax.tree.map(resize, state.opt_state)
    if _shapes(opt_state) != _shapes(begun.opt_state):
        return begun
    return begun._replace(opt_state=opt_state)


def _resize(
    x: jax.Array, shape: tuple[int, ...], method: str, wraps: tuple[bool, bool]
) -> jax.Array:
    """Return an array with its last three axes resized; rows and columns may wrap."""
    leading = x.shape[:-3]
    if not any(wraps):
        return jax.image.resize(x, (*leading, *shape), method)
    # At least the reach of any interpolation kernel.
    beyond = [4 if goes_around else 0 for goes_around in wraps]
    around = [(0, 0)] * len(leading) + [(n, n) for n in beyond] + [(0, 0)]
    padded = jnp.pad(x, around, mode="wrap")
    old = x.shape[-3:-1]
    scales = [shape[axis] / old[axis] for axis in (0, 1)]
    shifts = [-n * scale for n, scale in zip(beyond, scales, strict=True)]
    axes = (x.ndim - 3, x.ndim - 2)
    return jax.image.scale_and_translate(
        padded,
        (*leading, *shape),
        axes,
        jnp.asarray(scales),
        jnp.asarray(shifts),
        method,
    )


def _shapes(tree: optax.OptState) -> tuple:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [jnp.shape(leaf) for leaf in leaves]
