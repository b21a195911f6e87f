"""Rematerialization: statistics of activations without keeping all activations.

The backward pass needs the activations of every layer. They are kept ("fast") or
computed a second time, block by block: the first blocks, which hold most of all
activations ("balanced"), or every block ("low"), as `Architecture.recomputed` says.

Blocks of a VGG are computed again in strips of rows, one after the other; "low" makes
more strips. Strips overlap by the rows that their convolutions reach, so the result is
the same. The blocks of other networks, which shrink the picture at once, are computed
again as a whole. If the network shards rows over devices, strips are cut out of
columns.

`jax.checkpoint` does not serve: on the CPU, XLA drops the barriers that should keep the
second computation apart, finds it equal to the first and keeps everything.
"""

import functools
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float, PyTree

from jaxnst._types import FeatureMap, Features, Image, Scalar

from .architecture import Layer
from .base import Network


# Strips of fewer rows would be mostly overlap.
_MIN_STRIP_ROWS = 8

# A mean over the pixels of a part of a feature map. The second argument is the position
# of the part, rows or rows and columns. A `jax.tree_util.Partial` can hold arrays.
Part = slice | tuple[slice, slice]
MeasureFn = Callable[[Float[Array, "_ _ _"], Part], PyTree]
Measures = Mapping[str, Mapping[str, MeasureFn]]

# A "statistic" that is the feature map itself, where `is_whole` says that it is whole.
WHOLE_MAP = Partial(lambda features, rows: features)


class _Strip(NamedTuple):
    """Some rows, or columns, of a block's input, and how far its convolutions reach."""

    start: int
    stop: int
    halo: tuple[int, int]
    num_rows: int


def measure_features(
    network: Callable, image: Image, measures: Measures
) -> dict[str, dict[str, PyTree]]:
    """Return statistics of the activations of a picture.

    The result, and its gradient with respect to the picture, is the same at every
    memory level, up to rounding. Levels other than "fast" treat the network and the
    arrays in `measures` as constants.

    Args:
        network: `Network`, whose `memory` is the level; any other function is "fast".
        image: RGB, [0, 1].
        measures: {layer: {name: function}}; a function takes a part of a feature map
            and its position, and returns a mean over pixels.

    Returns:
        {layer: {name: result of the function for the whole feature map}}.
    """
    if not isinstance(network, Network) or (
        network.memory == "fast" and network.spread is None
    ):
        features = network(image, list(measures))
        return {
            layer: {name: fn(features[layer], slice(None)) for name, fn in fns.items()}
            for layer, fns in measures.items()
        }
    network = network.over(image)
    x = network.prepare(image)
    found: dict[str, dict[str, PyTree]] = {}
    needed = network.architecture.up_to(measures)
    by_block = itertools.groupby(needed, operator.attrgetter("block"))
    blocks = {number: tuple(layers) for number, layers in by_block}
    for number, layers in blocks.items():
        names = [name for layer in layers for name in layer.names]
        wanted = {name: measures[name] for name in names if name in measures}
        num_strips = network.architecture.recomputed[network.memory].get(number)
        is_last = number == max(blocks)
        if num_strips is None or (is_last and num_strips == 1):
            x, part = _run(layers, x, network, wanted, None)
        else:
            made: Any = _recomputed(layers, num_strips, x, network, wanted)
            x, part = made
        found |= part
    return {layer: found[layer] for layer in measures}


def filling(network: Callable, image: Image, features: FeatureMap) -> float:
    """Return the factor from a mean over a feature map to that without added rows."""
    if not isinstance(network, Network) or network.spread is None:
        return 1.0
    rows = network.over(image).rows
    return 1.0 if rows is None else rows.filling(features.shape[0])


def is_whole(network: Callable, layer: str) -> bool:
    """Return whether functions of `measure_features` get whole feature maps."""
    if not isinstance(network, Network):
        return True
    if network.spread is not None:
        return False
    blocks = {n: known.block for known in network.architecture for n in known.names}
    strips = network.architecture.recomputed[network.memory]
    return strips.get(blocks[layer], 1) == 1


def compute_maps(network: Network, image: Image, layers: Sequence[str]) -> Features:
    """Return feature maps; blocks before them are computed in strips if they can be.

    Args:
        network: network, whose `memory` says which blocks.
        image: RGB, [0, 1].
        layers: layers of the maps.
    """
    if not all(is_whole(network, layer) for layer in layers):
        return dict(network(image, layers))
    measures = {layer: {"map": WHOLE_MAP} for layer in layers}
    found = measure_features(network, image, measures)
    return {layer: found[layer]["map"] for layer in layers}


def _run(
    layers: Sequence[Layer],
    x: Array,
    network: Network,
    measures: Measures,
    strip: _Strip | None,
) -> tuple[Array, dict[str, dict[str, PyTree]]]:
    """Return the output of a block and its statistics; of a strip, its part of them."""
    found: dict[str, dict[str, PyTree]] = {}
    axis = _axis(network)
    whole = x.shape[axis]
    start, stop, (above, _), num_rows = strip or _Strip(0, whole, (0, 0), whole)
    for layer in layers:
        x = network.apply_layer(layer, x)
        if strip is None:
            stop = num_rows = x.shape[axis]
        elif layer.kind == "pool":
            start, stop, above, num_rows = (
                n // 2 for n in (start, stop, above, num_rows)
            )
        for part, features in network.read(layer, x, measures).items():
            for name, measure_fn in measures[part].items():
                own = _cut(features, above, above + stop - start, axis - 1)
                rows = slice(start, stop)
                mean = measure_fn(own, rows if axis == 1 else (slice(None), rows))
                share = (stop - start) / num_rows
                if network.rows is not None:
                    share *= network.rows.filling(x.shape[1])
                found.setdefault(part, {})[name] = jax.tree.map(
                    lambda leaf, share=share: share * leaf, mean
                )
    return _cut(x, above, above + stop - start, axis), found


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recomputed(
    layers: tuple[Layer, ...],
    num_strips: int,
    x: Array,
    network: Network,
    measures: Measures,
) -> tuple[Array, dict[str, dict[str, PyTree]]]:
    """Return the same as `_run`, keeping only the input for the backward pass."""
    axis = _axis(network)
    strips = _strips(layers, x.shape[axis], num_strips, network.wraps[axis - 1])
    if len(strips) == 1:
        return _run(layers, x, network, measures, None)
    shapes = jax.eval_shape(
        functools.partial(_run, layers, strip=None), x, network, measures
    )
    y, total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    before = _first(x, axis)
    row = 0
    for strip in strips:
        rows = after(_take(x, strip, axis), before)
        part, found = _run(layers, rows, network, measures, strip)
        y = jax.lax.dynamic_update_slice_in_dim(y, part, row, axis=axis)
        total = jax.tree.map(jnp.add, total, found)
        row += part.shape[axis]
        before = _first(part, axis)
    return y, total


def _forward(layers, num_strips, x, network, measures):
    return _recomputed(layers, num_strips, x, network, measures), (x, network, measures)


def _backward(layers, num_strips, kept, cotangents):
    x, network, measures = kept
    y_bar, total_bar = cotangents
    axis = _axis(network)
    strips = _strips(layers, x.shape[axis], num_strips, network.wraps[axis - 1])
    before = _first(y_bar, axis)
    if len(strips) == 1:
        _, pull = jax.vjp(
            lambda x: _run(layers, x, network, measures, None), after(x, before)
        )
        return (*pull(cotangents), None, None)
    x_bar = jnp.zeros_like(x)
    row = y_bar.shape[axis]
    for strip in reversed(strips):
        (part, _), pull = jax.vjp(
            lambda rows, strip=strip: _run(layers, rows, network, measures, strip),
            after(_take(x, strip, axis), before),
        )
        behind, row = row, row - part.shape[axis]
        (rows_bar,) = pull((_cut(y_bar, row, behind, axis), total_bar))
        x_bar = _give(x_bar, rows_bar, strip, axis)
        before = _first(rows_bar, axis)
    return x_bar, None, None


_recomputed.defvjp(_forward, _backward)


def _strips(
    layers: Sequence[Layer], num_rows: int, num_strips: int, is_circular: bool
) -> list[_Strip]:
    """Return strips of rows that are pooled as in the whole picture."""
    num_strips = max(1, min(num_strips, num_rows // _MIN_STRIP_ROWS))
    cuts = [2 * round(i * num_rows / num_strips / 2) for i in range(num_strips)]
    # Every 3 x 3 convolution spoils a row next to a cut. Even, so that pooling windows
    # are those of the whole picture.
    reach = sum(layer.kind == "conv" for layer in layers)
    reach += reach % 2
    strips = []
    for start, stop in itertools.pairwise([*cuts, num_rows]):
        above = reach if is_circular else min(reach, start)
        below = reach if is_circular else min(reach, num_rows - stop)
        strips.append(_Strip(start, stop, (above, below), num_rows))
    return strips


def _ranges(strip: _Strip) -> list[tuple[int, int]]:
    """Return the ranges of rows in a strip; over the border it wraps around."""
    first, last = strip.start - strip.halo[0], strip.stop + strip.halo[1]
    whole = strip.num_rows
    ranges = [(max(first, 0), min(last, whole))]
    if first < 0:
        ranges.insert(0, (first + whole, whole))
    if last > whole:
        ranges.append((0, last - whole))
    return ranges


def _take(x: Array, strip: _Strip, axis: int) -> Array:
    """Return the rows of a strip, with its halo."""
    parts = [_cut(x, *rows, axis) for rows in _ranges(strip)]
    return jnp.concatenate(parts, axis=axis)


def _give(x_bar: Array, rows_bar: Array, strip: _Strip, axis: int) -> Array:
    """Return the gradient with that of a strip added: `_take` transposed."""
    row = 0
    for start, stop in _ranges(strip):
        part = _cut(rows_bar, row, row + stop - start, axis)
        part += _cut(x_bar, start, stop, axis)
        x_bar = jax.lax.dynamic_update_slice_in_dim(x_bar, part, start, axis=axis)
        row += stop - start
    return x_bar


def _axis(network: Network) -> int:
    """Return the axis that strips are cut from."""
    return 1 if network.rows is None else 2


def _cut(x: Array, start: int, stop: int, axis: int) -> Array:
    return jax.lax.slice_in_dim(x, start, stop, axis=axis)


def _first(x: Array, axis: int) -> Scalar:
    """Return one number that is known only once `x` is."""
    # A sum, as one number of rows that are sharded would have to be fetched.
    return x[0, 0, 0, 0] if axis == 1 else jnp.sum(x[0, :, 0, 0])


def after(x: Float[Array, "*shape"], before: Scalar) -> Float[Array, "*shape"]:
    """Return `x`, available only after `before` is computed.

    Compilers may not simplify 0 * x, which is NaN where x is not finite. So they can
    neither start earlier nor merge what follows with an equal computation.
    """
    return x + 0 * before
