"""A network without what is behind the layers that are asked for."""

from collections.abc import Collection

import jax

from .base import Network


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
