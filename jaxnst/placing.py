"""Where the arguments of a program lie: on one device, or on several.

On several, each device holds a part of an argument, or all of it. What was not put
anywhere is held by all of them.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .networks.devices import default_device


def place_of(leaf: Any) -> Any:
    """Return the sharding of an argument that was put somewhere; else None."""
    # Of shapes, those have one that are to lie there.
    is_put = getattr(leaf, "committed", isinstance(leaf, jax.ShapeDtypeStruct))
    return leaf.sharding if is_put else None


def mesh_of(leaves: Iterable[Any]) -> Mesh | None:
    """Return the devices on which arguments lie, if there are several; else None."""
    for leaf in leaves:
        place = place_of(leaf)
        if isinstance(place, NamedSharding) and place.num_devices > 1:
            assert isinstance(place.mesh, Mesh)  # arrays are on real devices
            return place.mesh
    return None


def part_of(leaf: Any) -> tuple[int, ...] | None:
    """Return the shape of the part that each device holds; None if it is all."""
    place = place_of(leaf)
    if place is None or place.is_fully_replicated:
        return None
    return place.shard_shape(leaf.shape)


def placed(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments for `jax.jit` to lower that say where all of them lie.

    Else XLA chooses, and the next call may come with another choice. Where none is on
    several devices, nothing is changed.
    """
    mesh = mesh_of(jax.tree.leaves(args))
    if mesh is None:
        return args
    whole = NamedSharding(mesh, PartitionSpec())

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(
            leaf.shape,
            leaf.dtype,
            sharding=whole if part_of(leaf) is None else leaf.sharding,
            weak_type=getattr(leaf, "weak_type", False),
        )

    return jax.tree.map(place, args)


def device_of(args: tuple[Any, ...]) -> Any:
    """Return the one device on which a program will run; None if there are several."""
    devices: set[Any] = set()
    for leaf in jax.tree.leaves(args):
        if (place := place_of(leaf)) is not None:
            devices |= place.device_set
    if len(devices) > 1:
        return None
    return devices.pop() if devices else default_device()


def num_bytes(tree: Any) -> int:
    """Return how many bytes each device holds of arrays, or will of such shapes."""
    return sum(_num_bytes(leaf) for leaf in jax.tree.leaves(tree))


def _num_bytes(leaf: Any) -> int:
    part = part_of(leaf)
    if part is None:
        return leaf.size * leaf.dtype.itemsize
    return math.prod(part) * leaf.dtype.itemsize
