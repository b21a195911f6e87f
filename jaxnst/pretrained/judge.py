"""The network that judges pictures, ready to measure."""

import jax.numpy as jnp
import safetensors.numpy
from flax import nnx

from jaxnst.networks import LPIPS, AlexNet, LPIPSNetwork

from .bundled import read_bundled
from .loading import set_weights
from .specs import LPIPS_SPEC


def load_lpips_network() -> LPIPSNetwork:
    """Return the bundled AlexNet and its LPIPS heads.

    Raises:
        ValueError: if its file is damaged.
        FileNotFoundError: if its file is missing.
    """
    tensors = safetensors.numpy.load(read_bundled(LPIPS_SPEC))
    network: AlexNet = nnx.eval_shape(
        lambda: AlexNet(preprocessing=LPIPS, rngs=nnx.Rngs(0))
    )
    heads = {
        name: tensors.pop(f"head{index}.kernel")
        for index, name in enumerate(network.layer_names, start=1)
    }
    layers: dict[str, dict] = {}
    for key, tensor in tensors.items():
        name, kind = key.split(".")
        layers.setdefault(name, {})[kind] = tensor
    set_weights(network, layers)
    return LPIPSNetwork(
        network, {name: jnp.asarray(head) for name, head in heads.items()}
    )
