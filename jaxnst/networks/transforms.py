"""Networks made from networks: truncated, normalized, or sharded over devices.

Gatys et al. 2016 scaled the weights of their VGG-19 "such that the mean activation of
each convolutional filter over images and positions is equal to one". With ReLUs, and
pools that keep channels apart, the network sees the same as before: every feature map
is only divided by a number.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jaxtyping import Array, Float

from jaxnst._checks import check_choice
from jaxnst._types import FeatureMap, Image
from jaxnst.config import DEVICES

from .architecture import Architecture
from .base import Network
from .devices import local_devices
from .remat import Part, measure_features
from .sharding import AXIS, Spread, by_rows, whole
from .vgg import VGG, VGGArchitecture


def cut_behind(network: Network, layers: Collection[str]) -> Network:
    """Return the same network, weights shared, without the convolutions not needed.

    Those of VGG-19 behind relu5_1 take 113 MB in Winograd's form.

    Args:
        network: is left as it is.
        layers: all that the result will be asked for.
    """
    leaves, structure = jax.tree.flatten(network)
    cut: Network = jax.tree.unflatten(structure, leaves)
    architecture = network.architecture
    needed = {layer.name for layer in architecture.up_to(layers)}
    # Where a convolution is a layer, no other layer uses it.
    for layer in architecture:
        if layer.kind == "conv" and layer.name not in needed:
            delattr(cut, layer.name)
    return cut


# A filter that hardly ever speaks in these pictures is not made louder than this part
# of the layer's mean would be: in others it may speak.
_QUIETEST = 1e-3

# Of different sizes, so their axes have no common names.
Images = Sequence[Float[Array, "_ _ 3"]]
Scales = Mapping[str, Float[np.ndarray, " _"]]


def normalize_activations(network: Network, images: Images) -> VGG:
    """Return a VGG whose filters have a mean activation of 1 over pictures and places.

    `normalized(image)["relu3_1"]` is `network(image)["relu3_1"]` divided by its
    `filter_means`. Programs are not compiled anew for it: weights are arguments.

    Args:
        network: a VGG, whatever its options.
        images: RGB, [0, 1], of any size; each counts equally.

    Raises:
        ValueError: if the network is no VGG, or there is no picture.

    References:
        Gatys, Ecker, Bethge, CVPR 2016, section 2. They took the means over pictures of
        ImageNet. Filters that hardly respond to these pictures are scaled by less.
    """
    check_normalizable(network.architecture)
    return divide_filters(network, filter_means(network, images))


def check_normalizable(architecture: Architecture) -> None:
    """Check that a network can be normalized.

    Raises:
        ValueError: if it is no VGG.
    """
    if not isinstance(architecture, VGGArchitecture):
        # Elsewhere feature maps are added to each other, or are means of others.
        raise ValueError(
            f"`normalize_activations` is for VGGs, and this is {architecture.name}; "
            "leave it out."
        )


def filter_means(network: Network, images: Images) -> Scales:
    """Return {"relu1_1": mean of each filter over pictures and places, ...}.

    Above 0: no less than a thousandth of the layer's mean, or 1 where all is silent.

    Args:
        network: a VGG.
        images: RGB, [0, 1], of any size; each counts equally.

    Raises:
        ValueError: if there is no picture.
    """
    if not len(images):
        raise ValueError("`images` must hold at least one picture to measure.")
    measured = [_compiled_means(network, image) for image in images]
    scales = {}
    for name in measured[0]:
        mean = np.mean([np.asarray(each[name], np.float64) for each in measured], 0)
        least = _QUIETEST * mean.mean()
        scales[name] = np.maximum(mean, least) if least > 0 else np.ones_like(mean)
    return scales


def divide_filters(network: Network, scales: Scales) -> VGG:
    """Return a VGG whose feature maps behind each ReLU are divided by numbers above 0.

    Args:
        network: a VGG; it stays as it is.
        scales: {"relu1_1": a number for each filter, ...}, for all its ReLUs.
    """
    leaves, structure = jax.tree.flatten(network)
    divided: VGG = jax.tree.unflatten(structure, leaves)
    before = np.ones(3)
    for shape in network.architecture.convolutions:
        scale = scales[shape.name.replace("conv", "relu")]
        convolution = getattr(divided, shape.name)
        # On the host: nothing to compile for every shape there is. The last two axes
        # are channels in and out, for Winograd's kernels too.
        factors = np.divide.outer(before, scale).astype(np.float32)
        kernel = np.asarray(convolution.kernel[...], np.float32) * factors
        bias = np.asarray(convolution.bias[...], np.float32) / scale
        convolution.kernel = nnx.Param(jnp.asarray(kernel, convolution.precision))
        convolution.bias = nnx.Param(jnp.asarray(bias, convolution.precision))
        before = scale
    return divided


def _means(network: Network, image: Image) -> dict[str, Float[Array, " _"]]:
    names = [name for name in network.layer_names if name.startswith("relu")]
    measures = {name: {"mean": jax.tree_util.Partial(_mean)} for name in names}
    return {
        name: found["mean"]
        for name, found in measure_features(network, image, measures).items()
    }


def _mean(features: FeatureMap, rows: Part) -> Float[Array, " channels"]:
    del rows
    return jnp.mean(features.astype(jnp.float32), axis=(0, 1))


_compiled_means = jax.jit(_means)


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
