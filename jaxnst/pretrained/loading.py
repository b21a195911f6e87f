"""From a name or a file to a network that is ready to measure."""

import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx

from jaxnst._checks import shown
from jaxnst.images.files import file_sha256
from jaxnst.networks import (
    LPIPS,
    AlexNet,
    Architecture,
    LPIPSNetwork,
    Network,
    Preprocessing,
)
from jaxnst.networks.devices import check_platforms

from .formats import decode_codebook, naming, open_tensors
from .layouts import UsedWeights, Weights, check_tensors, flat, recognize, take_weights
from .registry import LPIPS_SPEC, BundledFile, at_revision, find_network, read_bundled


def load_weights(
    network: str | os.PathLike[str] = "vgg19",
    *,
    preprocessing: str | Preprocessing | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    progress: bool = True,
) -> tuple[Weights, UsedWeights]:
    """Return the weights of a network, and their name and hash for the record.

    Args:
        network: name of pretrained weights or the path of a file of them, see
            `load_network`.
        preprocessing: input that the weights in a file were trained on.
        revision: commit, branch or tag on the Hub.
        token: access token of the Hub.
        progress: show a bar on standard error while downloading.

    Raises:
        ValueError, OSError, ImportError: as `load_network`.
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
        layers = decode_codebook(read_bundled(spec))
        weights = Weights(spec.architecture, spec.preprocessing, layers)
        return weights, UsedWeights(spec.name, spec.source.sha256)
    # Here: its HTTP client takes a while to import, and most users do not need it.
    from .hub import load_kept

    return load_kept(spec, token=token, progress=progress)


def _refuse(argument: str, value: object, name: object) -> None:
    if value is not None:
        raise ValueError(
            f"`{argument}` is {shown(value)}, but {name} has none to choose."
        )


def architecture_of_file(path: Path) -> Architecture:
    """Return which network a file of weights holds, without reading its tensors."""
    with naming(path):
        return recognize(open_tensors(path).shapes)[0]


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
    precision: str = "auto",
) -> Network:
    """Return a pretrained network, downloading its weights if they are not on disk.

    Args:
        network: one of `jaxnst.pretrained.SPECS`, or the path of a file of weights:
            safetensors with the tensor names of torchvision, timm or jaxnst, PyTorch's
            .pth of torchvision or timm, or an .h5 of keras.applications.
            NAME@REVISION, here and wherever a network is named, is another revision of
            a file on the Hub: a commit, branch or tag. A branch is downloaded once and
            then kept as it was.
        preprocessing: input that the weights in a file were trained on: "torchvision",
            "caffe" (the original VGGs, keras.applications), "tensorflow" (GoogLeNet),
            or one of your own. None takes what the file says; if it says nothing, see
            `jaxnst.pretrained.layouts.resolve_preprocessing`.
        revision: commit, branch or tag on the Hub, instead of NAME@REVISION; None is
            the commit in the registry.
        token: access token of the Hub; None is the one that `huggingface_hub` knows
            (HF_TOKEN, or that of `hf auth login`), False none.
        progress: show a bar on standard error while downloading.
        pooling: "max" or "average", see `jaxnst.networks.Network`.
        rescale_pooling: scale pooled features to the variance they had, see
            `jaxnst.networks.Network`.
        padding: "reflect", "replicate", "zeros" or "circular".
        smoothing: "none", "log" or "softmax"; None is the architecture's own, "log"
            for ResNets.
        conv: algorithm of the convolutions, "auto", "xla" or "winograd".
        precision: "float32", "tf32", "bfloat16", "float16", or "auto": the fastest that
            paints as well, see `jaxnst.networks.Network`.

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
        weights: weights of `load_weights`.
        options: `pooling` and the options after it of `load_network`.

    Raises:
        ValueError: if an option is unknown.
    """
    check_platforms()
    network: Network = nnx.eval_shape(
        lambda: weights.architecture.build(
            preprocessing=weights.preprocessing,
            rngs=nnx.Rngs(0),
            **options,
        )
    )
    set_weights(network, weights.layers)
    return network


def load_lpips_network() -> LPIPSNetwork:
    """Return the bundled AlexNet and its LPIPS heads.

    Raises:
        ValueError: if its file is damaged.
        FileNotFoundError: if its file is missing.
    """
    check_platforms()
    tensors = safetensors.numpy.load(read_bundled(LPIPS_SPEC))
    network: AlexNet = nnx.eval_shape(
        lambda: AlexNet(preprocessing=LPIPS, rngs=nnx.Rngs(0))
    )
    heads = {
        name: jnp.asarray(tensors.pop(name.replace("relu", "head") + ".kernel"))
        for name in network.layer_names
    }
    for key, tensor in tensors.items():
        name, kind = key.split(".")
        parameter = nnx.Param(jnp.asarray(tensor, jnp.float32))
        setattr(getattr(network, name), kind, parameter)
    return LPIPSNetwork(network, heads)


def set_weights(network: Network, layers: dict[str, dict[str, np.ndarray]]) -> None:
    """Put {layer: {"kernel": HWIO, "bias": O}} into a network, in place.

    Its parameters may be shapes only. A ValueError names all that does not fit.
    """
    shapes = {name: x.shape for name, x in flat(layers).items()}
    check_tensors(network.architecture, "flax", shapes, {})
    for name, arrays in layers.items():
        getattr(network, name).set_weights(arrays["kernel"], arrays["bias"])
