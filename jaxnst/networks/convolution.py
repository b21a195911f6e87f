"""Convolutions, by XLA or, for 3 x 3 kernels, by Winograd's algorithm.

Winograd's F(4 x 4, 3 x 3) takes a quarter of the multiplications: tiles of 6 x 6 pixels
are transformed, multiplied channel by channel at 36 points, and transformed back to
4 x 4 pixels of the result. On a CPU, where a frozen network is bound by arithmetic,
that halves the time of layers with many channels; with few channels the transforms
cost more than they save.

Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section
4.3. The gradient is the adjoint of the same algorithm, so that one set of transformed
kernels serves both ways.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxnst._checks import check_choice, check_convolution
from jaxnst.config import CONVOLUTIONS, PRECISIONS

from .devices import arithmetic_of, convolution_precision, default_device


Border = Literal["zeros", "circular", "none"]

# Below so many channels on either side the transforms cost more than they save
# (benchmarks/layers.py).
_MIN_WIDTH = 128

_TILE = 4
_WINDOW = 6  # a tile and the pixels a 3 x 3 kernel reaches around it
_OVERLAP = _WINDOW - _TILE

# The transforms of picture, kernel and result, for the interpolation points 0, 1, -1,
# 2, -2 and infinity.
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_KERNEL = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
_RESULT = np.array(
    [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ]
)


# The transforms of rows and columns as one matrix.
_INPUT_2D, _KERNEL_2D, _RESULT_2D = (
    np.kron(each, each).astype(np.float32) for each in (_INPUT, _KERNEL, _RESULT)
)

# The product of two matrices at each point.
_product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)

Pixels = Float[Array, "rows columns _"]
_Points = Float[Array, "36 _ _"]
_Tiles = Float[Array, "_ tiles _"]


class Convolution(nnx.Module):
    """A convolution whose output has the size of its input, divided by its stride.

    Args:
        in_width: number of input channels.
        out_width: number of output channels.
        size: height and width of its kernel, odd.
        stride: stride in pixels of its input.
        method: "xla", "winograd", or "auto", the faster one, see `fit`. Winograd's
            algorithm is for 3 x 3 kernels of stride 1; all others use XLA's.
        precision: "float32", "tf32", "bfloat16", "float16", or "auto", the fastest, see
            `jaxnst.networks.devices`; Winograd's algorithm is for float32 only.
        rngs: random number generators of the initial weights.

    Raises:
        ValueError: if `method` or `precision` is unknown, or they exclude each other.
    """

    def __init__(
        self,
        in_width: int,
        out_width: int,
        *,
        size: int = 3,
        stride: int = 1,
        method: str = "auto",
        precision: str = "auto",
        rngs: nnx.Rngs,
    ):
        check_choice("conv", method, CONVOLUTIONS)
        check_choice("precision", precision, PRECISIONS)
        check_convolution(method, precision)
        self.kernel_shape = (size, size, in_width, out_width)
        self.stride = stride
        self.method = method
        self.precision = precision
        self._decide(default_device(), allows_float16=False)
        kernel = nnx.initializers.he_normal()(rngs.params(), self.kernel_shape)
        self.set_weights(kernel, jnp.zeros(out_width))

    def _decide(self, device: Any, *, allows_float16: bool) -> None:
        """Decide how a device computes the convolution."""
        *_, in_width, out_width = self.kernel_shape
        self.arithmetic = arithmetic_of(
            self.precision, device, method=self.method, allows_float16=allows_float16
        )
        if self.method == "auto":
            is_cpu = device.platform == "cpu"
            is_faster = is_cpu and min(in_width, out_width) >= _MIN_WIDTH
        else:
            # On the picture itself, with three channels, nothing would be saved.
            is_faster = self.method == "winograd" and in_width > 3
        is_possible = (self.kernel_shape[0], self.stride) == (3, 1)
        self.is_winograd = is_faster and is_possible and self.arithmetic == "float32"

    def fit(self, device: Any, precision: str, *, allows_float16: bool = True) -> None:
        """Decide what is "auto" for the device that will compute the convolution.

        A network may be made on another device than the one that runs it.

        Args:
            device: device of JAX that will run it.
            precision: one of `jaxnst.config.PRECISIONS`.
            allows_float16: whether "auto" may be float16.
        """
        before = self.is_winograd, self.dtype
        self.precision = precision
        self._decide(device, allows_float16=allows_float16)
        if before == (self.is_winograd, self.dtype):
            return
        kernel = np.asarray(self.kernel[...], np.float64)
        if before[0]:
            inverse = np.linalg.pinv(_KERNEL_2D.astype(np.float64))
            kernel = (inverse @ kernel.reshape(36, -1)).reshape(self.kernel_shape)
        self.set_weights(kernel, np.asarray(self.bias[...], np.float32))

    @property
    def dtype(self) -> str:
        """The dtype of the weights and of the result."""
        is_wide = self.arithmetic in ("float32", "tf32")
        return "float32" if is_wide else self.arithmetic

    def set_weights(self, kernel: np.ndarray | Array, bias: np.ndarray | Array) -> None:
        """Set the weights.

        Args:
            kernel: kernel of shape `kernel_shape`, HWIO.
            bias: one bias for each output channel.
        """
        if self.is_winograd:
            # In NumPy, so that nothing is compiled for every shape.
            kernel = transform_kernel(kernel.astype(np.float32))
        self.kernel = nnx.Param(jnp.asarray(kernel, self.dtype))
        self.bias = nnx.Param(jnp.asarray(bias, self.dtype))

    def __call__(
        self,
        x: Float[Array, "1 h w c"],
        *,
        vertical: Border = "zeros",
        horizontal: Border = "zeros",
    ) -> Float[Array, "1 h2 w2 c2"]:
        """Return the convolution of one picture.

        Args:
            x: picture, one in the batch.
            vertical: values above and below the picture: "zeros", "circular" for the
                opposite border, or "none", whose result has `size` - 1 rows less.
            horizontal: the same, left and right of the picture.
        """
        borders = (vertical, horizontal)
        kernel = self.kernel[...].astype(x.dtype)
        bias = self.bias[...].astype(x.dtype).reshape(1, 1, 1, -1)
        margin = self.kernel_shape[0] // 2
        if "circular" in borders:
            around = [(margin, margin) if b == "circular" else (0, 0) for b in borders]
            x = jnp.pad(x, ((0, 0), *around, (0, 0)), mode="wrap")
        if self.is_winograd:
            y = winograd_convolution(x[0], kernel)[None]
            inner = (slice(None) if b == "zeros" else slice(1, -1) for b in borders)
            return y[:, *inner] + bias
        y = jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(self.stride, self.stride),
            # As numbers: with a stride, "SAME" pads otherwise than in training.
            padding=[(margin, margin) if b == "zeros" else (0, 0) for b in borders],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=convolution_precision(self.arithmetic),
        )
        return y + bias


def transform_kernel(kernel: Any) -> Any:
    """Return a 3 x 3 kernel, of NumPy or JAX, transformed to the 36 points."""
    return (_KERNEL_2D @ kernel.reshape(9, -1)).reshape(36, *kernel.shape[2:])


@jax.custom_vjp
def winograd_convolution(x: Pixels, points: _Points) -> Pixels:
    """Return the convolution of a picture of the same size, with zeros around it.

    It agrees with the direct convolution within 2e-5 of the largest value in float32.
    """
    height, width, _ = x.shape
    products = _product("ptc,pcd->ptd", _mix(_INPUT_2D, _windows(x)), points)
    return _join_tiles(_mix(_RESULT_2D, products), height, width)


def _forward(x: Pixels, points: _Points) -> tuple[Pixels, tuple[Pixels, _Points]]:
    return winograd_convolution(x, points), (x, points)


def _backward(
    residuals: tuple[Pixels, _Points], gradient: Pixels
) -> tuple[Pixels, _Points]:
    x, points = residuals
    height, width, _ = x.shape
    tiles = _mix(_RESULT_2D.T, _split_tiles(gradient))
    back = _product("ptd,pcd->ptc", tiles, points)
    to_x = _add_windows(_mix(_INPUT_2D.T, back), height, width)
    # These networks are not trained, so XLA drops this gradient.
    to_points = _product("ptc,ptd->pcd", _mix(_INPUT_2D, _windows(x)), tiles)
    return to_x, to_points


winograd_convolution.defvjp(_forward, _backward)


def _mix(transform: np.ndarray, tiles: _Tiles) -> _Tiles:
    """Transform every tile, as one product of a small matrix and all tiles."""
    matrix = jnp.asarray(transform, tiles.dtype)
    flat = tiles.reshape(tiles.shape[0], -1)
    mixed = jnp.matmul(matrix, flat, precision=jax.lax.Precision.HIGHEST)
    return mixed.reshape(transform.shape[0], *tiles.shape[1:])


def _num_tiles(height: int, width: int) -> tuple[int, int]:
    return -(-height // _TILE), -(-width // _TILE)


def _windows(x: Pixels) -> _Tiles:
    """Return the windows of 6 x 6 pixels of a picture, which overlap by 2."""
    height, width, channels = x.shape
    down, across = _num_tiles(height, width)
    bottom = _TILE * (down + 1) - 1 - height
    right = _TILE * (across + 1) - 1 - width
    x = jnp.pad(x, ((1, bottom), (1, right), (0, 0)))
    x = x.reshape(down + 1, _TILE, across + 1, _TILE, channels)
    # Without the barriers here and below, XLA fuses the shuffling of values with what
    # follows, and shuffles value by value.
    tiles = jax.lax.optimization_barrier(x.transpose(1, 3, 0, 2, 4))
    # A window is a tile and the first two rows and columns of the next tiles.
    windows = jnp.concatenate([tiles[:, :, :down], tiles[:_OVERLAP, :, 1:]], axis=0)
    windows = jnp.concatenate(
        [windows[:, :, :, :across], windows[:, :_OVERLAP, :, 1:]], axis=1
    )
    windows = jax.lax.optimization_barrier(windows)
    return windows.reshape(_WINDOW**2, down * across, channels)


def _add_windows(windows: _Tiles, height: int, width: int) -> Pixels:
    """Return the sum of overlapping windows of 6 x 6: the adjoint of `_windows`."""
    down, across = _num_tiles(height, width)
    tiles = windows.reshape(_WINDOW, _WINDOW, down, across, -1)
    for axis in (0, 1):
        tiles = jax.lax.optimization_barrier(_add_overlaps(tiles, axis))
    shape = (_TILE * (down + 1), _TILE * (across + 1), tiles.shape[-1])
    picture = tiles.transpose(2, 0, 3, 1, 4).reshape(shape)
    return picture[1 : height + 1, 1 : width + 1]


def _add_overlaps(
    windows: Float[Array, "_ _ _ _ _"], axis: int
) -> Float[Array, "_ _ _ _ _"]:
    """Return tiles: windows with their overlaps along an axis added.

    There is one tile more than windows. Joining slices is five times as fast on a CPU
    as adding padded arrays.
    """
    along = axis + 2
    length = windows.shape[along]

    def cut(part: Array, start: int, stop: int) -> Array:
        return jax.lax.slice_in_dim(part, start, stop, axis=along)

    shared, alone, beyond = jnp.split(windows, [_OVERLAP, _TILE], axis)
    both = cut(shared, 1, length) + cut(beyond, 0, length - 1)
    ends = cut(shared, 0, 1), cut(beyond, length - 1, length)
    shared = jnp.concatenate([ends[0], both, ends[1]], along)
    alone = jnp.concatenate([alone, jnp.zeros_like(cut(alone, 0, 1))], along)
    return jnp.concatenate([shared, alone], axis)


def _join_tiles(tiles: _Tiles, height: int, width: int) -> Pixels:
    """Return the picture made of tiles of 4 x 4."""
    down, across = _num_tiles(height, width)
    tiles = tiles.reshape(_TILE, _TILE, down, across, -1).transpose(2, 0, 3, 1, 4)
    return tiles.reshape(_TILE * down, _TILE * across, -1)[:height, :width]


def _split_tiles(x: Pixels) -> _Tiles:
    """Return the tiles of 4 x 4 of a picture: the adjoint of `_join_tiles`."""
    height, width, channels = x.shape
    down, across = _num_tiles(height, width)
    bottom, right = _TILE * down - height, _TILE * across - width
    x = jnp.pad(x, ((0, bottom), (0, right), (0, 0)))
    x = x.reshape(down, _TILE, across, _TILE, channels).transpose(1, 3, 0, 2, 4)
    tiles = jax.lax.optimization_barrier(x)
    return tiles.reshape(_TILE**2, down * across, channels)
