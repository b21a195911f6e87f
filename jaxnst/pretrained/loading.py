"""From a spec to a network that is ready to measure."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxnst.networks import VGG, AlexNet

from .bundled import read_bundled
from .codebook import decode
from .specs import get_spec


def load_network(
    name: str = "vgg19",
    *,
    pooling: str = "max",
    rescale_pooling: bool = False,
    padding: str = "reflect",
) -> VGG:
    """Return a pretrained network.

    Args:
        name: one of `jaxnst.pretrained.SPECS`.
        pooling: "max" or "average", see `jaxnst.networks.VGG`.
        rescale_pooling: see there.
        padding: "reflect", "replicate", "zeros" or "circular", see there.

    Raises:
        ValueError: if the name is unknown or its file is damaged.
        FileNotFoundError: if its file is missing.

    Examples:
        >>> network = load_network("vgg19")
        >>> network(jnp.zeros((64, 64, 3)), ["relu4_2"])["relu4_2"].shape
        (10, 10, 512)
    """
    spec = get_spec(name)
    network: VGG = nnx.eval_shape(
        lambda: VGG(
            spec.architecture,
            preprocessing=spec.preprocessing,
            pooling=pooling,
            rescale_pooling=rescale_pooling,
            padding=padding,
            rngs=nnx.Rngs(0),
        )
    )
    set_weights(network, decode(read_bundled(spec)))
    return network


def set_weights(
    network: VGG | AlexNet, layers: dict[str, dict[str, np.ndarray]]
) -> None:
    """Put weights into a network, in place.

    Args:
        network: with parameters of any value, or only of a shape.
        layers: {"conv1_1": {"kernel": HWIO, "bias": O}, ...}.

    Raises:
        ValueError: naming all that is missing, unexpected or of a wrong shape.
    """
    problems: list[str] = []
    convolutions = [
        name for name, x in vars(network).items() if isinstance(x, nnx.Conv)
    ]
    expected = {(name, kind) for name in convolutions for kind in ("kernel", "bias")}
    given = {(name, kind) for name, arrays in layers.items() for kind in arrays}
    problems += [f"missing {'.'.join(key)}" for key in sorted(expected - given)]
    problems += [f"unexpected {'.'.join(key)}" for key in sorted(given - expected)]
    for name, kind in sorted(expected & given):
        parameter = getattr(getattr(network, name), kind)
        array = layers[name][kind]
        if parameter.shape != array.shape:
            problems.append(
                f"{name}.{kind} has shape {array.shape}, expected {parameter.shape}"
            )
    if problems:
        name = network.architecture.name if isinstance(network, VGG) else "alexnet"
        raise ValueError(f"the weights do not fit {name}: {'; '.join(problems)}.")
    for name, kind in expected:
        array = jnp.asarray(layers[name][kind], jnp.float32)
        setattr(getattr(network, name), kind, nnx.Param(array))
