"""From a name or a file to a network that is ready to measure."""

import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxnst.networks import AlexNet, Architecture, Convolution, Network, Preprocessing

from .bundled import read_bundled
from .codebook import decode
from .layouts import recognize
from .specs import BundledFile, at_revision, find_network
from .tensors import file_sha256, naming, open_tensors
from .weights import UsedWeights, Weights, take_weights


def load_weights(
    network: str | os.PathLike[str] = "vgg19",
    *,
    preprocessing: str | Preprocessing | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    progress: bool = True,
) -> tuple[Weights, UsedWeights]:
    """Return the weights of a network, and which they are, for the record.

    Arguments and errors are those of `load_network`.
    """
    found = find_network(network)
    if isinstance(found, Path):
        _refuse("revision", revision, found)
        with naming(found):
            file = open_tensors(found)
            digest = file_sha256(found)
            weights = take_weights(file, preprocessing=preprocessing)
        return weights, UsedWeights(found.name, digest)
    spec = found if revision is None else at_revision(found, revision)
    _refuse("preprocessing", preprocessing, spec.name)
    if isinstance(spec.source, BundledFile):
        layers = decode(read_bundled(spec))
        weights = Weights(spec.architecture, spec.preprocessing, layers)
        return weights, UsedWeights(spec.name, spec.source.sha256)
    # Here: its HTTP client takes a while to import, and most have no use for it.
    from .hub import load_kept

    return load_kept(spec, token=token, progress=progress)


def _refuse(argument: str, value: object, name: object) -> None:
    if value is not None:
        raise ValueError(f"`{argument}` is {value!r}, but {name} has none to choose.")


def architecture_of_file(path: Path) -> Architecture:
    """Return which network a file holds; its tensors are not read.

    Raises:
        ValueError: if the file is damaged, or holds none that is known.
        OSError: if it cannot be read.
        ImportError: if a package that reads it is not installed.
    """
    with naming(path):
        return recognize(open_tensors(path).shapes).architecture


def load_network(
    network: str | os.PathLike[str] = "vgg19",
    *,
    preprocessing: str | Preprocessing | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    progress: bool = True,
    pooling: str = "max",
    rescale_pooling: bool = False,
    padding: str = "reflect",
    smoothing: str | None = None,
    conv: str = "auto",
    precision: str = "float32",
) -> Network:
    """Return a pretrained network, downloading its weights if they are not on disk.

    Args:
        network: one of `jaxnst.pretrained.SPECS`, or the path of a file of weights:
            safetensors, .npz, Keras' .h5 or PyTorch's .pth, with the tensor names of
            torchvision, timm, flaxmodels, Keras or jaxnst. NAME@REVISION, here and
            wherever a network is named, is another revision of what is on the Hub: a
            commit, branch or tag. What a branch had when it was downloaded is kept.
        preprocessing: what the weights in a file were trained on: "torchvision",
            "caffe" (of the original VGGs, of keras.applications), or one of your own.
            By default what the file says; if it says nothing, see
            `jaxnst.pretrained.weights.resolve_preprocessing`.
        revision: may be given here instead; by default the commit in the registry.
        token: for the Hub, as for `huggingface_hub`; by default the one it knows
            (HF_TOKEN, or that of `hf auth login`).
        progress: show a bar on standard error while downloading.
        pooling: "max" or "average", see `jaxnst.networks.Network`.
        rescale_pooling: see there.
        padding: "reflect", "replicate", "zeros" or "circular", see there.
        smoothing: "none", "log" or "softmax", see there; by default what its
            architecture is painted with, "log" for ResNets.
        conv: "auto", "xla" or "winograd", see there.
        precision: "float32" or "bfloat16", see there.

    Raises:
        ValueError: if the name or an option is unknown, or the file is damaged or holds
            another network.
        OSError: if the file is missing, cannot be had from the Hub or cannot be kept.
        ImportError: if a package that reads the file is not installed.

    Examples:
        >>> network = load_network("vgg19")
        >>> network(jnp.zeros((64, 64, 3)), ["relu4_2"])["relu4_2"].shape
        (10, 10, 512)
    """
    weights, _ = load_weights(
        network,
        preprocessing=preprocessing,
        revision=revision,
        token=token,
        progress=progress,
    )
    return build_network(
        weights,
        pooling=pooling,
        rescale_pooling=rescale_pooling,
        padding=padding,
        smoothing=smoothing or weights.architecture.default_smoothing,
        conv=conv,
        precision=precision,
    )


def build_network(weights: Weights, **options: Any) -> Network:
    """Return a network with these weights.

    Args:
        weights: of `load_weights`.
        options: as for `load_network`: pooling and so on.

    Raises:
        ValueError: if an option is unknown.
    """
    network: Network = nnx.eval_shape(
        lambda: weights.architecture.build(
            preprocessing=weights.preprocessing,
            rngs=nnx.Rngs(0),
            **options,
        )
    )
    set_weights(network, weights.layers)
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
