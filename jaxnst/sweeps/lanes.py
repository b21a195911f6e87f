"""Lanes: the same call for several paintings at once, shared out over devices.

A batch has one lane for each painting. Where a call of theirs is due, the arrays in
which they differ are stacked, the lanes are laid over the devices of a mesh, and each
device maps the function over its own (`jax.vmap`; a single lane is not even that). What
comes of it stays stacked: a painting is given its `Lane` of it, and as long as lanes
come back as they went nothing is copied between steps.
"""

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnst.calls import Call
from jaxnst.compiling import KeptFunction


_AXIS = "members"
# Arrays below so many values are fetched for all lanes at once.
_SMALL = 4096
# Stacks of arrays that come again (weights, targets) are kept, so many of them.
_MAX_KEPT = 128


class _Stack:
    """An array with an axis of lanes, and its copy on the host once there is one."""

    def __init__(self, array: jax.Array):
        self.array = array
        self._host: np.ndarray | None = None

    def fetch(self) -> np.ndarray:
        if self._host is None:
            self._host = np.asarray(self.array)
        return self._host


class Lane:
    """One painting's part of a stack: an array, for those who ask for no more.

    Args:
        stack: of all lanes.
        index: of this one.
    """

    def __init__(self, stack: _Stack, index: int):
        self.stack = stack
        self.index = index

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the axis of lanes."""
        return self.stack.array.shape[1:]

    @property
    def ndim(self) -> int:
        """Without the axis of lanes."""
        return self.stack.array.ndim - 1

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.stack.array.size // self.stack.array.shape[0]

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.stack.array.dtype

    def copy(self) -> jax.Array:
        """Return an array of its own, on the device where the lane is."""
        shards = self.stack.array.addressable_shards
        per_device = self.stack.array.shape[0] // len(shards)
        device, index = divmod(self.index, per_device)
        return shards[device].data[index]

    def block_until_ready(self) -> "Lane":
        """Wait until it is computed."""
        self.stack.array.block_until_ready()
        return self

    def __array__(
        self, dtype: Any = None, copy: bool | None = None
    ) -> np.ndarray:  # as NumPy wants it
        del copy
        whole = self.size < _SMALL
        values = self.stack.fetch()[self.index] if whole else np.asarray(self.copy())
        return np.asarray(values, dtype)

    def __jax_array__(self) -> jax.Array:
        return self.copy()

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def __float__(self) -> float:
        return float(np.asarray(self))


class Lanes:
    """Makes one call of what is the same call of several paintings.

    Args:
        num_lanes: how many paintings there can be; a multiple of the devices.
        devices: over which they are shared out.
    """

    def __init__(self, num_lanes: int, devices: Sequence[Any]):
        if num_lanes % len(devices):
            raise ValueError(
                f"{num_lanes} lanes cannot be shared out over {len(devices)} devices."
            )
        self.num_lanes = num_lanes
        self._devices = list(devices)
        mesh = Mesh(np.array(devices), (_AXIS,))
        self._mesh = mesh
        self._split = NamedSharding(mesh, PartitionSpec(_AXIS))
        self._whole = NamedSharding(mesh, PartitionSpec())
        # The array itself is held, too, or its `id` might become another's.
        self._shared: dict[int, tuple[Any, jax.Array]] = {}
        self._kept: OrderedDict[tuple[int, ...], tuple[list[Any], jax.Array]]
        self._kept = OrderedDict()

    def share(self, tree: Any) -> None:
        """Let all lanes have the same arrays, so that there is one copy on a device."""
        for leaf in jax.tree.leaves(tree):
            if id(leaf) not in self._shared:
                on_all = leaf
                if len(self._devices) > 1:
                    on_all = jax.device_put(leaf, self._whole)
                self._shared[id(leaf)] = leaf, on_all

    def make(self, calls: Mapping[int, Call]) -> dict[int, Any]:
        """Make the calls of some lanes; those of the others compute idly.

        Args:
            calls: {lane: call}, alike but for the values of arrays.

        Returns:
            {lane: what came of it}, every array a `Lane`.
        """
        first = next(iter(calls.values()))
        leaves, structure = jax.tree.flatten(first.args)
        flat = {lane: jax.tree.leaves(call.args) for lane, call in calls.items()}
        split, whole, is_shared = [], [], []
        for position, leaf in enumerate(leaves):
            is_shared.append(id(leaf) in self._shared)
            if is_shared[-1]:
                whole.append(self._shared[id(leaf)][1])
            else:
                column = {lane: own[position] for lane, own in flat.items()}
                split.append(self._gather(column))
        function = _mapped(first.function, structure, tuple(is_shared), self._mesh)
        made = function(split, whole, **first.static)
        stacks = jax.tree.map(_Stack, made)
        return {
            lane: jax.tree.map(lambda stack, lane=lane: Lane(stack, lane), stacks)
            for lane in calls
        }

    def _gather(self, column: Mapping[int, Any]) -> Any:
        """Stack one array of every lane; idle lanes get whatever there is."""
        leaf = next(iter(column.values()))
        if isinstance(leaf, Lane) and all(
            isinstance(other, Lane)
            and other.stack is leaf.stack
            and other.index == lane
            for lane, other in column.items()
        ):
            return leaf.stack.array
        leaves = [column.get(lane, leaf) for lane in range(self.num_lanes)]
        if all(isinstance(other, np.ndarray | np.generic) for other in leaves):
            stacked = np.stack(leaves)
            return stacked if len(self._devices) == 1 else self._put(stacked)
        if any(isinstance(other, Lane) for other in leaves):
            return self._stack(leaves)
        key = tuple(map(id, leaves))
        if key not in self._kept:
            self._kept[key] = leaves, self._stack(leaves)
        self._kept.move_to_end(key)
        while len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key][1]

    def _put(self, stacked: np.ndarray) -> jax.Array:
        return jax.device_put(stacked, self._split)

    def _stack(self, leaves: Sequence[Any]) -> jax.Array:
        arrays = [leaf.copy() if isinstance(leaf, Lane) else leaf for leaf in leaves]
        if len(self._devices) == 1:
            return jnp.stack(arrays)
        per_device = self.num_lanes // len(self._devices)
        blocks = []
        for number, device in enumerate(self._devices):
            own = arrays[number * per_device : (number + 1) * per_device]
            blocks.append(jnp.stack([jax.device_put(x, device) for x in own]))
        shape = (self.num_lanes, *blocks[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, self._split, blocks)


@functools.lru_cache(maxsize=64)
def _mapped(
    function: KeptFunction, structure: Any, is_shared: tuple[bool, ...], mesh: Mesh
) -> KeptFunction:
    """Return a function of stacked and of shared arrays, for all lanes.

    Args:
        function: for one lane.
        structure: of its arguments.
        is_shared: for every array in them, whether it is the same for all lanes.
        mesh: of the devices.
    """

    def one(split: list[Any], whole: list[Any], static: dict[str, Any]) -> Any:
        own, common = iter(split), iter(whole)
        leaves = [next(common if shared else own) for shared in is_shared]
        args = jax.tree.unflatten(structure, leaves)
        return function.function(*args, **static)

    def mapped(split: list[Any], whole: list[Any], **static: Any) -> Any:
        def on_device(split: list[Any], whole: list[Any]) -> Any:
            if split[0].shape[0] > 1:
                each = functools.partial(one, whole=whole, static=static)
                return jax.vmap(each)(split)
            # As it is: the same program as for a single painting, the same result.
            made = one([leaf[0] for leaf in split], whole, static)
            return jax.tree.map(lambda leaf: leaf[None], made)

        if mesh.size == 1:
            return on_device(split, whole)
        lanes = PartitionSpec(_AXIS)
        return jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=(lanes, PartitionSpec()),
            out_specs=lanes,
            check_vma=False,
        )(split, whole)

    return KeptFunction(mapped, static_argnames=function.static_argnames)
