"""Networks made from networks: truncated, normalized, or sharded over devices.

Gatys et al. 2016 scaled the weights of their VGG-19 "such that the mean activation of
each convolutional filter over images and positions is equal to one". With ReLUs, and
poolings that act on each channel, every feature map is only divided by a number.
"""

from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jaxtyping import Array, Float

from jaxnst._checks import check_choice
from jaxnst._types import AnyImage, Image
from jaxnst.config import DEVICES

from .architecture import Architecture
from .base import Network
from .devices import local_devices
from .sharding import AXIS, Spread, by_rows, whole
from .vgg import VGGArchitecture


def cut_behind(network: Network, layers: Collection[str]) -> Network:
    """Return a network without the convolutions deeper than some layers.

    The weights are shared with the given network, which is not changed. In VGG-19 the
    convolutions after relu5_1 take 113 MB in Winograd's form.

    Args:
        network: network to truncate.
        layers: all layers that will be computed.
    """
    cut = network.changed()
    architecture = network.architecture
    for layer in tuple(architecture)[len(architecture.up_to(layers)) :]:
        for shape in layer.convolutions:
            if hasattr(cut, shape.name):  # not cut off before
                delattr(cut, shape.name)
    return cut


# The least scale of a filter, relative to the mean of its layer: a filter that is
# hardly active in these pictures may be active in others.
_QUIETEST = 1e-3


def normalize_activations(network: Network, images: Sequence[AnyImage]) -> Network:
    """Return a VGG whose filters have a mean activation of 1 over pictures and pixels.

    `normalized(image)["relu3_1"]` is `network(image)["relu3_1"]` divided by its
    `filter_means`. Nothing is compiled again for it, because weights are arguments.

    Args:
        network: VGG with any options.
        images: pictures, RGB, [0, 1], of any size; all weigh the same.

    Raises:
        ValueError: if the network is no VGG, or there is no picture.

    References:
        Gatys, Ecker, Bethge, CVPR 2016, section 2. Differs from it: means over
        the given pictures, not over ImageNet, and the least scale of a filter is 0.001
        times the mean of its layer.
    """
    check_normalizable(network.architecture)
    scales = filter_means(network, images)
    divided = network.changed()
    before = np.ones(3)
    for shape in network.architecture.convolutions:
        scale = scales[shape.name.replace("conv", "relu")]
        convolution = getattr(divided, shape.name)
        # In NumPy, so that nothing is compiled for every shape. The last two axes are
        # input and output channels, in Winograd's kernels too.
        factors = np.divide.outer(before, scale).astype(np.float32)
        kernel = np.asarray(convolution.kernel[...], np.float32) * factors
        bias = np.asarray(convolution.bias[...], np.float32) / scale
        convolution.kernel = nnx.Param(jnp.asarray(kernel, convolution.dtype))
        convolution.bias = nnx.Param(jnp.asarray(bias, convolution.dtype))
        before = scale
    return divided


def check_normalizable(architecture: Architecture) -> None:
    """Raise a ValueError if a network cannot be normalized, as it is no VGG."""
    if not isinstance(architecture, VGGArchitecture):
        # Other networks add or average feature maps.
        raise ValueError(
            f"`normalize_activations` is for VGGs, and this is {architecture.name}; "
            "leave it out."
        )


def filter_means(network: Network, images: Sequence[AnyImage]) -> dict[str, np.ndarray]:
    """Return the mean activation of each filter over pictures and pixels.

    Args:
        network: VGG.
        images: pictures, RGB, [0, 1], of any size; all weigh the same.

    Returns:
        {"relu1_1": one number per filter, ...}, at least a thousandth of the mean of
        the layer; 1 if the whole layer is 0.

    Raises:
        ValueError: if there is no picture.
    """
    if not len(images):
        raise ValueError("`images` must hold at least one picture to measure.")
    measured = [_means(network, image) for image in images]
    scales = {}
    for name in measured[0]:
        mean = np.mean([np.asarray(each[name], np.float64) for each in measured], 0)
        least = _QUIETEST * mean.mean()
        scales[name] = np.maximum(mean, least) if least > 0 else np.ones_like(mean)
    return scales


@jax.jit
def _means(network: Network, image: Image) -> dict[str, Float[Array, " _"]]:
    names = [name for name in network.layer_names if name.startswith("relu")]
    features = network(image, names).items()
    return {name: jnp.mean(x.astype(jnp.float32), (0, 1)) for name, x in features}


def device_mesh(devices: str | None) -> Mesh | None:
    """Return a mesh of the local devices, or None for a single device.

    Args:
        devices: "all" for all local devices of the default platform; None for one.

    Raises:
        ValueError: if `devices` is unknown.
    """
    if devices is None:
        return None
    check_choice("devices", devices, DEVICES)
    found = local_devices()
    if len(found) == 1:
        return None
    # Auto: XLA chooses every sharding that is not stated.
    return Mesh(np.array(found), (AXIS,), axis_types=(AxisType.Auto,))


def spread_network(network: Network, mesh: Mesh, layers: Collection[str]) -> Network:
    """Return a network that shards its pictures, with its weights on all devices.

    Args:
        network: network, which is not changed.
        mesh: result of `device_mesh`.
        layers: all layers that will be computed.

    Raises:
        ValueError: if the network cannot be sharded.
    """
    name = network.architecture.name
    if any(getattr(layer, "is_winograd", False) for layer in vars(network).values()):
        raise ValueError(
            "`devices` needs XLA's convolutions, and the given network has Winograd's; "
            "make it with `conv` 'xla'."
        )
    if not isinstance(network.architecture, VGGArchitecture):
        if any(network.wraps):
            raise ValueError(
                f"`devices` does not go with `padding` {network.padding!r} in {name}; "
                "leave one of them out, or take a VGG."
            )
        if network.smoothing == "softmax":
            raise ValueError(
                f"`devices` does not go with `smoothing` 'softmax' in {name}; leave "
                "one of them out, or take 'log'."
            )
    deepest = network.architecture.up_to(layers)[-1].name
    spread = network.changed(spread=Spread(mesh, deepest))
    return jax.device_put(spread, whole(mesh))


def lay_whole(network: Network, shapes: Any) -> Any:
    """Return shapes with the sharding of arrays that every device holds all of.

    If the network is not sharded, they are returned as they are.
    """
    spread = network.spread
    return shapes if spread is None else _laid(shapes, whole(spread.mesh))


def lay_by_rows(
    network: Network, image: Image | jax.ShapeDtypeStruct, maps: Any
) -> Any:
    """Return shapes of the feature maps of a picture with their sharding."""
    spread = network.spread
    if spread is None or not spread.suits(image.shape[0]):
        return lay_whole(network, maps)
    return _laid(maps, by_rows(spread.mesh, 0))


def _laid(shapes: Any, placement: NamedSharding) -> Any:
    return jax.tree.map(lambda leaf: leaf.update(sharding=placement), shapes)
