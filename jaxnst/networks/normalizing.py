"""Rescaling a VGG so that all its filters are equally loud.

Gatys et al. 2016 scaled the weights of their VGG-19 "such that the mean activation of
each convolutional filter over images and positions is equal to one". With ReLUs, and
pools that keep channels apart, the network sees the same as before: every feature map
is only divided by a number.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxnst._types import FeatureMap, Image
from jaxnst.compiling import KeptFunction

from .architecture import Architecture
from .base import Network
from .measuring import Part, measure_features
from .vgg import VGG, VGGArchitecture


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


_compiled_means = KeptFunction(_means)
