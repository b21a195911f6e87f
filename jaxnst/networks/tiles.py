"""The tiles of a picture, each in a window that shows the network all it has to see.

A feature depends on the pixels within a certain reach only. So the features of a tile
are the same, whether they are computed from the whole picture or from a window around
the tile that is larger by the reach, its halo. Windows start at multiples of the
network's stride, so that poolings take the same pixels as in the whole picture; and the
last ends at the border of the picture, beyond which the network sees zeros, as it does
in the whole. So all windows have one shape, and one program computes them all.

All positions are those of the picture as it is laid out: extended by what the network
itself would extend it by, its mirror image for example; where it wraps around, by a
halo of the opposite border.
"""

import dataclasses
import math
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnst._types import AnyImage, FeatureMap, Scalar

from .base import Network


class Tile(NamedTuple):
    """One tile, vertically and horizontally.

    Attributes:
        start: first row and column of its window.
        own: first row and column of the tile.
        end: the row and the column behind the tile.
    """

    start: tuple[int, int]
    own: tuple[int, int]
    end: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Tiling:
    """A picture in tiles.

    Attributes:
        shape: height and width of the picture.
        margins: pixels that it is extended by, above and below, left and right.
        wraps: whether it wraps around, vertically and horizontally.
        window: height and width of all windows.
        strides: {layer: pixels from one of its features to the next}.
        shapes: {layer: rows and columns of the whole picture's feature map}.
        parts: {layer: rows and columns of a window's feature map}.
    """

    shape: tuple[int, int]
    margins: tuple[int, int]
    wraps: tuple[bool, bool]
    window: tuple[int, int]
    tiles: tuple[Tile, ...]
    strides: tuple[tuple[str, int], ...]
    shapes: tuple[tuple[str, tuple[int, int]], ...]
    parts: tuple[tuple[str, tuple[int, int]], ...]

    @property
    def laid_shape(self) -> tuple[int, int]:
        """Height and width of the picture as tiles are cut from it."""
        (height, width), (down, across), (y, x) = self.shape, self.margins, self.wraps
        return height + 2 * down * y, width + 2 * across * x

    def lay(self, image: AnyImage) -> AnyImage:
        """Return a picture extended by its opposite borders, where it wraps around."""
        (down, across), (y, x) = self.margins, self.wraps
        around = ((down * y,) * 2, (across * x,) * 2, (0, 0))
        return jnp.pad(image, around, mode="wrap")

    def cut(self, laid: AnyImage, tile: Tile) -> AnyImage:
        """Return the part of a picture that the window of a tile shows."""
        sizes = map(min, self.window, self.laid_shape)
        return jax.lax.dynamic_slice(laid, (*self._first(tile), 0), (*sizes, 3))

    def add(self, laid: AnyImage, part: AnyImage, tile: Tile) -> AnyImage:
        """Return a picture with a part added to it, in its place."""
        part = part + self.cut(laid, tile)
        return jax.lax.dynamic_update_slice(laid, part, (*self._first(tile), 0))

    def extend(self, part: AnyImage, tile: Tile) -> AnyImage:
        """Return the window of a tile: its part, and mirror images beyond the border.

        Args:
            part: result of `cut`, or what is computed from it.
            tile: tile.
        """
        firsts = self._first(tile)
        for axis, margin in enumerate(self.margins):
            if self.wraps[axis] or not margin:
                continue
            places = tile.start[axis] - margin + jnp.arange(self.window[axis])
            last = self.shape[axis] - 1
            mirrored = last - jnp.abs(last - jnp.abs(places))
            part = jnp.take(part, mirrored - firsts[axis], axis=axis)
        return part

    def roughness(self, part: AnyImage, tile: Tile) -> Scalar:
        """Return what a tile adds to the total variation of the picture.

        Args:
            part: result of `cut`.
            tile: tile.
        """
        own = []
        for axis, first in enumerate(self._first(tile)):
            margin = 0 if self.wraps[axis] else self.margins[axis]
            places = first + margin + jnp.arange(part.shape[axis])
            own.append((places >= tile.own[axis]) & (places < tile.end[axis]))
        total = jnp.zeros(())
        for axis, wraps in enumerate(self.wraps):
            kept = list(own)
            kept[axis] = own[axis][:-1]
            weights = (kept[0][:, None] & kept[1][None])[..., None]
            steps = jnp.where(weights, jnp.diff(part, axis=axis), 0)
            counts = list(self.shape)
            counts[axis] -= not wraps
            total += jnp.sum(jnp.square(steps)) / (3 * math.prod(counts))
        return total

    def _first(self, tile: Tile) -> list[Any]:
        """Return the first row and column of the part that a window shows."""
        firsts = []
        for axis, start in enumerate(tile.start):
            margin = 0 if self.wraps[axis] else self.margins[axis]
            last = max(0, self.laid_shape[axis] - self.window[axis])
            firsts.append(jnp.clip(start - margin, 0, last))
        return firsts

    def cut_map(self, layer: str, x: Array, tile: Tile) -> Array:
        """Return the part of a map that lies in the window of a tile.

        Args:
            layer: layer of the map.
            x: map of the whole picture, its rows and columns first.
            tile: tile.
        """
        stride, shape = dict(self.strides)[layer], dict(self.parts)[layer]
        for axis in (0, 1):
            if self.wraps[axis]:
                first = (tile.start[axis] - self.margins[axis]) // stride
                places = (first + jnp.arange(shape[axis])) % x.shape[axis]
                x = jnp.take(x, places, axis=axis)
            else:
                first = tile.start[axis] // stride
                x = jax.lax.dynamic_slice_in_dim(x, first, shape[axis], axis)
        return x

    def put_map(self, layer: str, x: Array, part: Array, tile: Tile) -> Array:
        """Return a map with the features of a tile in their places.

        Args:
            layer: layer of the map.
            x: map of the whole picture.
            part: map of the window.
            tile: tile.
        """
        stride = dict(self.strides)[layer]
        own = self._own_axes(layer, tile)
        if any(self.wraps):  # a window may show a place twice
            found = []
            for axis, is_own in enumerate(own):
                margin = self.margins[axis] * self.wraps[axis]
                first = (tile.start[axis] - margin) // stride
                places = first + jnp.arange(part.shape[axis])
                found.append(jnp.where(is_own, places, x.shape[axis]))
            rows, columns = found
            return x.at[rows[:, None], columns[None]].set(part, mode="drop")
        is_own = (own[0][:, None] & own[1][None])[..., None]
        part = jnp.where(is_own, part, self.cut_map(layer, x, tile))
        first = [start // stride for start in tile.start]
        return jax.lax.dynamic_update_slice(x, part, (*first, 0))

    def own(self, layer: str, tile: Tile) -> Float[Array, "_ _"]:
        """Return 1 for the features of a tile and 0 for the others in its window."""
        rows, columns = self._own_axes(layer, tile)
        return (rows[:, None] & columns[None]).astype(jnp.float32)

    def _own_axes(self, layer: str, tile: Tile) -> list[Array]:
        """Return whether the rows and columns of a window are those of the tile."""
        stride = dict(self.strides)[layer]
        found = []
        for start, own, end, length in zip(*tile, dict(self.parts)[layer], strict=True):
            places = start + stride * jnp.arange(length)
            found.append((places >= own) & (places < end))
        return found

    def share(self, layer: str) -> float:
        """Return the factor from a mean over a window to its part of the whole mean.

        That is the number of features in a window over that in the whole picture.
        """
        return math.prod(dict(self.parts)[layer]) / self.num_features(layer)

    def pick(
        self, layer: str, x: FeatureMap, places: Int[np.ndarray, " n"], tile: Tile
    ) -> Float[Array, "n channels"]:
        """Return features at places of the whole picture; 0 if they are not the tile's.

        Args:
            layer: layer of the features.
            x: map of the window.
            places: numbers of features of the whole picture, counted row by row.
            tile: tile.
        """
        stride = dict(self.strides)[layer]
        down, across = np.divmod(places, self.shape_of(layer)[1])
        rows = down - tile.start[0] // stride
        columns = across - tile.start[1] // stride
        is_inside = (rows >= 0) & (rows < x.shape[0])
        is_inside &= (columns >= 0) & (columns < x.shape[1])
        rows = jnp.clip(rows, 0, x.shape[0] - 1)
        columns = jnp.clip(columns, 0, x.shape[1] - 1)
        own = self.own(layer, tile)[rows, columns]
        weights = jnp.where(is_inside, own, 0)
        return weights[:, None] * x[rows, columns].astype(jnp.float32)

    def shape_of(self, layer: str) -> tuple[int, int]:
        """Return rows and columns of a layer of the whole picture."""
        return dict(self.shapes)[layer]

    def num_features(self, layer: str) -> int:
        """Return the number of features of a layer of the whole picture."""
        return math.prod(self.shape_of(layer))


def make_tiling(
    network: Network, shape: tuple[int, int], layers: Collection[str], tile_size: int
) -> Tiling:
    """Return a picture in tiles.

    Args:
        network: network that will see it.
        shape: height and width of the picture.
        layers: layers that will be computed.
        tile_size: longest side of a tile in the middle of the picture, in pixels.

    Raises:
        ValueError: if the picture wraps around, and its side is no multiple of the
            network's stride.
    """
    layers = tuple(sorted(layers))
    strides = strides_of(network, layers)
    halo, stride = reach_of(network, layers), max(strides.values())
    halo = -(-halo // stride) * stride
    margins, windows, places = [], [], []
    for length, wraps, margin in zip(
        shape, network.wraps, network.margins, strict=True
    ):
        if wraps and length % stride:
            raise ValueError(
                f"a picture in tiles that wraps around needs sides that are multiples "
                f"of {stride}, got {length}; use `tile`, or another `memory`."
            )
        margins.append(halo if wraps else margin)
        window, own = _divide(
            length + 2 * margins[-1], tile_size, halo, stride, is_circular=wraps
        )
        windows.append(window)
        places.append(own)
    whole = window_network(network)
    laid = (shape[0] + 2 * margins[0], shape[1] + 2 * margins[1])
    shapes = {}
    for layer, found in whole.layer_shapes(laid, layers).items():
        rows, columns = (
            count - 2 * margin // strides[layer] * wraps
            for count, margin, wraps in zip(found, margins, network.wraps, strict=True)
        )
        shapes[layer] = rows, columns
    return Tiling(
        shape=shape,
        margins=(margins[0], margins[1]),
        wraps=network.wraps,
        window=(windows[0], windows[1]),
        tiles=tuple(
            Tile(*zip(down, across, strict=True))
            for down in places[0]
            for across in places[1]
        ),
        strides=tuple(strides.items()),
        shapes=tuple(shapes.items()),
        parts=tuple(whole.layer_shapes((windows[0], windows[1]), layers).items()),
    )


def window_network(network: Network) -> Network:
    """Return the network for windows, which are extended already."""
    padding = "replicate" if network.padding == "replicate" else "zeros"
    return network.changed(padding=padding, spread=None, rows=None)


def _divide(
    length: int, tile_size: int, halo: int, stride: int, *, is_circular: bool
) -> tuple[int, list[tuple[int, int, int]]]:
    """Return the length of all windows of an axis, and (start, own, end) of its tiles.

    The first and the last tile need a halo on one side only.
    """
    inner = length - 2 * halo
    count = max(1, -(-inner // max(stride, tile_size // stride * stride)))
    step = -(-inner // count // stride) * stride if count > 1 else inner
    # The last window ends at the border, and starts at a multiple of the stride.
    window = length if count == 1 else step + 2 * halo + (inner - step) % stride
    tiles = []
    for index in range(count):
        own, end = halo + index * step, halo + (index + 1) * step
        if index == count - 1:
            end = length - halo if is_circular else length
        if index == 0 and not is_circular:
            own = 0
        tiles.append((min(index * step, length - window), own, end))
    return window, tiles


# So large a picture that rounding does not matter, and a multiple of all strides.
_LARGE = 4096


def reach_of(network: Network, layers: Collection[str]) -> int:
    """Return how many pixels beyond its own a feature sees, to each side.

    Args:
        network: network.
        layers: layers of the features.
    """
    needed = network.architecture.up_to(layers)
    strides = strides_of(network, [layer.name for layer in needed])
    reach, stride = 0, 1
    for layer in needed:
        beyond = max((shape.size // 2 for shape in layer.convolutions), default=0)
        if layer.kind == "pool":
            beyond = network.architecture.pool_overlap
        reach += beyond * stride
        stride = strides[layer.name]
    return reach


def strides_of(network: Network, layers: Collection[str]) -> dict[str, int]:
    """Return {layer: pixels from one of its features to the next}.

    Args:
        network: network.
        layers: some of its layers.
    """
    shapes = window_network(network).layer_shapes((_LARGE, _LARGE), layers)
    return {layer: round(_LARGE / rows) for layer, (rows, _) in shapes.items()}
