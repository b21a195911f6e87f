"""How the rows of one picture lie on several devices.

The program is written as for one device; here it is said where activations lie, and
XLA exchanges those rows of neighbors that convolutions see. All devices hold equally
many rows at every depth, for which rows are added behind the picture's last one. These
are kept at zero, which is what lies beyond a border anyway, and left out of means.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from .convolution import Border, Convolution


AXIS = "rows"

Activations = Float[Array, "1 _ _ _"]
# With fewer rows on a device, what is exchanged and added would outweigh its share.
MIN_ROWS = 32


@dataclasses.dataclass(frozen=True)
class Spread:
    """Over which devices pictures are spread.

    Attributes:
        mesh: the devices, in a row.
        deepest: the last layer that is asked for.
    """

    mesh: Mesh
    deepest: str

    def suits(self, height: int) -> bool:
        """Whether a picture of this height is spread; else all devices compute it."""
        return height >= MIN_ROWS * self.mesh.size


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of one picture and of all its activations.

    Attributes:
        mesh: the devices, in a row.
        counts: at every depth, how many rows there are and how many of them are the
            picture's.
    """

    mesh: Mesh
    counts: tuple[tuple[int, int], ...]

    @property
    def own(self) -> Mapping[int, int]:
        """{rows there are: rows of the picture}."""
        return dict(self.counts)

    def whole(self, x: Array) -> Array:
        """Let every device hold all of `x`."""
        return jax.lax.with_sharding_constraint(x, whole(self.mesh))

    def over_devices(self, x: Activations) -> Activations:
        """Let every device hold some rows of `x`."""
        return jax.lax.with_sharding_constraint(x, by_rows(self.mesh, 1))

    def lay_out(self, x: Activations, *, use_edge: bool) -> Activations:
        """Add rows behind a picture, and give every device its own.

        Args:
            x: the picture as the first layer is to see it.
            use_edge: repeat the last row; else the added ones are zeros.
        """
        behind = self.counts[0][0] - x.shape[1]
        mode = "edge" if use_edge else "constant"
        x = jnp.pad(x, ((0, 0), (0, behind), (0, 0), (0, 0)), mode=mode)
        # Its gradient is gathered here, and stays whole from here on.
        return self.over_devices(self.whole(x))

    def settle(self, x: Activations) -> Activations:
        """Make the rows behind the picture zero, whatever was computed there."""
        num_rows = self.own[x.shape[1]]
        if num_rows < x.shape[1]:
            x = jnp.where(_index(x) < num_rows, x, 0)
        return self.over_devices(x)

    def filling(self, num_rows: int) -> float:
        """Return by what a mean over all rows there are is too small."""
        return num_rows / self.own[num_rows]


def whole(mesh: Mesh) -> NamedSharding:
    """Return how arrays lie that every device holds all of."""
    return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh, axis: int) -> NamedSharding:
    """Return how arrays lie of which every device holds some rows.

    Args:
        mesh: the devices, in a row.
        axis: that of the rows.
    """
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))


def rows_of(mesh: Mesh, counts: Sequence[int]) -> Rows:
    """Return how a picture lies on devices.

    Args:
        mesh: the devices, in a row.
        counts: rows of the picture and of its activations, layer by layer; from one to
            the next they stay or are about halved.
    """
    own = [counts[0]]
    own += [after for before, after in itertools.pairwise(counts) if after < before]
    # As many on every device, and to be halved as often.
    step = mesh.size * 2 ** (len(own) - 1)
    num_rows = -(-counts[0] // step) * step
    return Rows(mesh, tuple((num_rows >> depth, n) for depth, n in enumerate(own)))


def go_around(
    convolution: Convolution, x: Activations, num_rows: int, horizontal: Border
) -> Activations:
    """Convolve a picture that goes around, behind which rows of zeros follow.

    Args:
        convolution: any.
        x: the picture, and the rows of zeros.
        num_rows: of the picture.
        horizontal: what is seen to the left and right.
    """
    size = convolution.kernel_shape[0]
    y = convolution(x, vertical="zeros", horizontal=horizontal)
    starts = range(-(size // 2), num_rows - size // 2, convolution.stride)
    for index, start in enumerate(starts):
        if start < 0 or start + size > num_rows:  # it sees over a border
            # Sums: of slices, XLA would gather all there is to be sliced.
            seen = [
                jnp.sum(jnp.where(_index(x) == row % num_rows, x, 0), 1, keepdims=True)
                for row in range(start, start + size)
            ]
            seen_rows = jnp.concatenate(seen, axis=1)
            row = convolution(seen_rows, vertical="none", horizontal=horizontal)
            y = jnp.where(_index(y) == index, row, y)
    return y


def _index(x: Activations) -> Int[Array, "1 _ 1 1"]:
    """Return the number of every row."""
    return jax.lax.broadcasted_iota(jnp.int32, (1, x.shape[1], 1, 1), 1)
