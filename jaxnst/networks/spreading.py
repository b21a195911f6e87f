"""A network spread over several devices, so that each holds a part of a picture.

Every device holds some rows of the activations, see `jaxnst.networks.rows`; whole on
every device are the weights, the picture itself, the optimizer's state and the Gram
matrices.
"""

from collections.abc import Collection
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from jaxnst._checks import check_choice
from jaxnst._types import Image
from jaxnst.hardware import local_devices

from .base import Network
from .rows import AXIS, Spread, by_rows, whole
from .vgg import VGGArchitecture


DEVICES = ("all",)


def device_mesh(devices: str | None) -> Mesh | None:
    """Return devices in a row.

    Args:
        devices: "all" of this machine of the kind that JAX computes on; None: one.

    Returns:
        None if it is one device.

    Raises:
        ValueError: if `devices` is unknown.
    """
    if devices is None:
        return None
    check_choice("devices", devices, DEVICES)
    found = local_devices()
    if len(found) == 1:
        return None
    # Auto: XLA decides on what is not said.
    return Mesh(np.array(found), (AXIS,), axis_types=(AxisType.Auto,))


def spread_network(network: Network, mesh: Mesh, layers: Collection[str]) -> Network:
    """Return the same network, its weights on all devices.

    Args:
        network: is left as it is.
        mesh: the devices, of `device_mesh`.
        layers: all that the result will be asked for.

    Raises:
        ValueError: if such a network cannot be spread.
    """
    check_spreadable(network)
    deepest = network.architecture.up_to(layers)[-1].name
    spread = network.changed(spread=Spread(mesh, deepest))
    return jax.device_put(spread, whole(mesh))


def check_spreadable(network: Network) -> None:
    """Check that a network can be spread over devices.

    Raises:
        ValueError: if it cannot.
    """
    name = network.architecture.name
    used = [shape.name for shape in network.architecture.convolutions]
    if any(getattr(getattr(network, n, None), "is_winograd", False) for n in used):
        raise ValueError(
            "`devices` needs convolutions in XLA's way, and the network given has "
            "Winograd's; make it with `conv` 'xla'."
        )
    if isinstance(network.architecture, VGGArchitecture):
        return
    if any(network.wraps):
        raise ValueError(
            f"`devices` does not go with `padding` {network.padding!r} in {name}; "
            "leave one of them out, or take a VGG."
        )
    if network.smoothing == "softmax":
        raise ValueError(
            f"`devices` does not go with `smoothing` 'softmax' in {name}; leave one of "
            "them out, or take 'log'."
        )


def lay_whole(network: Network, shapes: Any) -> Any:
    """Return the same shapes, as they lie if all devices hold all of each.

    Args:
        network: a network; if it is not spread nothing is changed.
        shapes: a tree of `jax.ShapeDtypeStruct`.
    """
    if network.spread is None:
        return shapes
    return _laid(shapes, whole(network.spread.mesh))


def lay_by_rows(
    network: Network, image: Image | jax.ShapeDtypeStruct, maps: Any
) -> Any:
    """Return the shapes of feature maps as they lie.

    Args:
        network: a network; if it is not spread nothing is changed.
        image: the picture they are of, or its shape.
        maps: a tree of `jax.ShapeDtypeStruct`.
    """
    spread = network.spread
    if spread is None or not spread.suits(image.shape[0]):
        return lay_whole(network, maps)
    return _laid(maps, by_rows(spread.mesh, 0))


def _laid(shapes: Any, placement: NamedSharding) -> Any:
    def lay(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=placement, weak_type=leaf.weak_type
        )

    return jax.tree.map(lay, shapes)
