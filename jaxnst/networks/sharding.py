"""Spatial sharding: the rows of one picture are distributed over several devices.

Experimental. The program is written as for one device; only the sharding of activations
is stated here, and XLA exchanges the neighboring rows that convolutions need. All
devices hold equally many rows at every depth, so rows are added after the last row of
the picture. The added rows are kept at zero, as beyond any border, and left out of
means.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from jaxnst._types import Activations

from .convolution import Border, Convolution


AXIS = "rows"

# With fewer rows per device, exchanging and adding rows costs more than it saves.
_MIN_ROWS = 32


@dataclasses.dataclass(frozen=True)
class Spread:
    """The devices that pictures are sharded over, and the deepest layer computed."""

    mesh: Mesh
    deepest: str

    def suits(self, height: int) -> bool:
        """Return whether a picture of so many rows is sharded, not computed by each."""
        return height >= _MIN_ROWS * self.mesh.size


@dataclasses.dataclass(frozen=True)
class Rows:
    """The numbers of rows of one sharded picture and of its activations.

    Attributes:
        counts: (rows in all, rows of the picture) at every depth.
    """

    mesh: Mesh
    counts: tuple[tuple[int, int], ...]

    @property
    def own(self) -> Mapping[int, int]:
        """The rows of the picture at each number of rows in all."""
        return dict(self.counts)

    def lay_out(self, x: Activations, *, use_edge: bool) -> Activations:
        """Return a picture with rows added, zeros or the last row, sharded by rows."""
        behind = self.counts[0][0] - x.shape[1]
        mode = "edge" if use_edge else "constant"
        x = jnp.pad(x, ((0, 0), (0, behind), (0, 0), (0, 0)), mode=mode)
        # The gradient is gathered here, so that every device holds all of it.
        x = jax.lax.with_sharding_constraint(x, whole(self.mesh))
        return jax.lax.with_sharding_constraint(x, by_rows(self.mesh, 1))

    def settle(self, x: Activations) -> Activations:
        """Return activations, sharded by rows, whose added rows are zero."""
        num_rows = self.own[x.shape[1]]
        if num_rows < x.shape[1]:
            x = jnp.where(_index(x) < num_rows, x, 0)
        return jax.lax.with_sharding_constraint(x, by_rows(self.mesh, 1))

    def filling(self, num_rows: int) -> float:
        """Return the factor from the mean over all rows to that over the picture."""
        return num_rows / self.own[num_rows]


def whole(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays that every device holds all of."""
    return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh, axis: int) -> NamedSharding:
    """Return the sharding of arrays of which every device holds some rows."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))


def rows_of(mesh: Mesh, counts: Sequence[int]) -> Rows:
    """Return the numbers of rows in all, given those of the picture, layer by layer.

    Each count is equal to the one before or about half of it.
    """
    own = [counts[0]]
    own += [after for before, after in itertools.pairwise(counts) if after < before]
    # A multiple of the number of devices at every depth.
    step = mesh.size * 2 ** (len(own) - 1)
    num_rows = -(-counts[0] // step) * step
    return Rows(mesh, tuple((num_rows >> depth, n) for depth, n in enumerate(own)))


def go_around(
    convolution: Convolution, x: Activations, num_rows: int, horizontal: Border
) -> Activations:
    """Return the convolution of a sharded picture that wraps around vertically.

    Rows of zeros follow the `num_rows` of the picture.
    """
    size = convolution.kernel_shape[0]
    y = convolution(x, vertical="zeros", horizontal=horizontal)
    starts = range(-(size // 2), num_rows - size // 2, convolution.stride)
    for index, start in enumerate(starts):
        if start < 0 or start + size > num_rows:  # it reaches over a border
            # Sums, because for slices XLA would gather the whole array.
            seen = [
                jnp.sum(jnp.where(_index(x) == row % num_rows, x, 0), 1, keepdims=True)
                for row in range(start, start + size)
            ]
            seen_rows = jnp.concatenate(seen, axis=1)
            row = convolution(seen_rows, vertical="none", horizontal=horizontal)
            y = jnp.where(_index(y) == index, row, y)
    return y


def _index(x: Activations) -> Int[Array, "1 _ 1 1"]:
    """Return the index of every row."""
    return jax.lax.broadcasted_iota(jnp.int32, (1, x.shape[1], 1, 1), 1)
