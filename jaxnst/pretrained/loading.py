"""From a spec to a network that is ready to measure."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxnst.networks import AlexNet, Convolution, Network

from .bundled import read_bundled
from .codebook import decode
from .specs import get_spec


def load_network(
    name: str = "vgg19",
    *,
    pooling: str = "max",
    rescale_pooling: bool = False,
    padding: str = "reflect",
    smoothing: str = "none",
    conv: str = "auto",
    precision: str = "float32",
) -> Network:
    """Return a pretrained network.

    Args:
        name: one of `jaxnst.pretrained.SPECS`.
        pooling: "max" or "average", see `jaxnst.networks.Network`.
        rescale_pooling: see there.
        padding: "reflect", "replicate", "zeros" or "circular", see there.
        smoothing: "none", "log" or "softmax", see there.
        conv: "auto", "xla" or "winograd", see there.
        precision: "float32" or "bfloat16", see there.

    Raises:
        ValueError: if the name or an option is unknown, or its file is damaged.
        FileNotFoundError: if its file is missing.

    Examples:
        >>> network = load_network("vgg19")
        >>> network(jnp.zeros((64, 64, 3)), ["relu4_2"])["relu4_2"].shape
        (10, 10, 512)
    """
    spec = get_spec(name)
    network: Network = nnx.eval_shape(
        lambda: spec.architecture.build(
            preprocessing=spec.preprocessing,
            pooling=pooling,
            rescale_pooling=rescale_pooling,
            padding=padding,
            smoothing=smoothing,
            conv=conv,
            precision=precision,
            rngs=nnx.Rngs(0),
        )
    )
    set_weights(network, decode(read_bundled(spec)))
    return network


def set_weights(
    network: Network | AlexNet, layers: dict[str, dict[str, np.ndarray]]
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
        name
        for name, x in vars(network).items()
        if isinstance(x, nnx.Conv | Convolution)
    ]
    expected = {(name, kind) for name in convolutions for kind in ("kernel", "bias")}
    given = {(name, kind) for name, arrays in layers.items() for kind in arrays}
    problems += [f"missing {'.'.join(key)}" for key in sorted(expected - given)]
    problems += [f"unexpected {'.'.join(key)}" for key in sorted(given - expected)]
    for name, kind in sorted(expected & given):
        shape = getattr(network, name).kernel_shape
        shape = shape if kind == "kernel" else shape[-1:]
        found = layers[name][kind].shape
        if shape != found:
            problems.append(f"{name}.{kind} has shape {found}, expected {shape}")
    if problems:
        is_judge = isinstance(network, AlexNet)
        name = "alexnet" if is_judge else network.architecture.name
        raise ValueError(f"the weights do not fit {name}: {'; '.join(problems)}.")
    for name, arrays in layers.items():
        layer = getattr(network, name)
        if isinstance(layer, Convolution):
            layer.set_weights(arrays["kernel"], arrays["bias"])
            continue
        for kind, array in arrays.items():
            setattr(layer, kind, nnx.Param(jnp.asarray(array, jnp.float32)))
