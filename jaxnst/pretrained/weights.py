"""From a file of tensors to the weights of one of our networks, and back to a file."""

import json
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxnst._checks import check_choice
from jaxnst.networks import (
    CAFFE,
    GOOGLENET,
    TENSORFLOW,
    TORCHVISION,
    Architecture,
    Preprocessing,
)

from .header import serialize
from .keys import wanted_keys
from .layouts import check_shapes, convert, recognize
from .tensors import TensorFile


# What a file of ours says about its input.
PREPROCESSINGS: Mapping[str, Preprocessing] = {
    "torchvision": TORCHVISION,
    "caffe": CAFFE,
    "tensorflow": TENSORFLOW,
}
# In the metadata of the files that are written here.
_FORMAT = "jaxnst"


class Weights(NamedTuple):
    """The weights of a network, in our own names and order.

    Attributes:
        architecture: the network.
        preprocessing: what it is to be fed.
        layers: {"conv1_1": {"kernel": HWIO, "bias": O}, ...}, float32.
    """

    architecture: Architecture
    preprocessing: Preprocessing
    layers: dict[str, dict[str, np.ndarray]]


class UsedWeights(NamedTuple):
    """Which weights were used, for the record.

    Attributes:
        name: of the registry, or of the user's file.
        sha256: of the file they were read from.
    """

    name: str
    sha256: str


def take_weights(
    file: TensorFile,
    *,
    expected: Architecture | None = None,
    preprocessing: str | Preprocessing | None = None,
) -> Weights:
    """Return the weights in a file; only what is needed of it is read.

    Args:
        file: of any layout that `jaxnst.pretrained.layouts` knows.
        expected: the network that it has to be; by default any.
        preprocessing: as for `resolve_preprocessing`.

    Raises:
        ValueError: if the tensors are those of no network, or of another one, or if
            some are missing, unexpected, mis-shaped or not finite; all named together.
    """
    architecture, layout = recognize(file.shapes)
    if expected is not None and architecture != expected:
        raise ValueError(
            f"it holds the weights of {architecture.name}, not of {expected.name}"
        )
    check_shapes(architecture, layout, file.shapes)
    fed = resolve_preprocessing(
        architecture, file.metadata, preprocessing, layout=layout
    )
    tensors = file.read(wanted_keys(architecture, layout))
    return Weights(architecture, fed, convert(architecture, layout, tensors))


def resolve_preprocessing(
    architecture: Architecture,
    metadata: Mapping[str, str],
    given: str | Preprocessing | None,
    *,
    layout: str,
) -> Preprocessing:
    """Return what a network is to be fed.

    Args:
        architecture: of the network.
        metadata: of its file.
        given: one of `PREPROCESSINGS` or of your own; by default what the file says. A
            file that says nothing is taken for torchvision's weights, or some made from
            them, as timm's, flaxmodels' and Keras Hub's are: "torchvision", but
            "tensorflow" for GoogLeNet. Those of keras.applications came from Oxford:
            "caffe". (But a .weights.h5 of theirs looks as Keras Hub's does: say it.)
        layout: of its file.

    Raises:
        ValueError: if it is unknown.
    """
    if isinstance(given, Preprocessing):
        return given
    if given is not None:
        return PREPROCESSINGS[check_choice("preprocessing", given, PREPROCESSINGS)]
    if "preprocessing" not in metadata:
        if layout == "keras.applications":
            return CAFFE
        return TENSORFLOW if architecture.name == GOOGLENET.name else TORCHVISION
    text = metadata["preprocessing"]
    if text in PREPROCESSINGS:
        return PREPROCESSINGS[text]
    return _parse_preprocessing(text)


def _parse_preprocessing(text: str) -> Preprocessing:
    try:
        fields = json.loads(text)
        scale, mean, std = fields["scale"], fields["mean"], fields["std"]
        order = fields["channel_order"]
        numbers = [float(x) for x in (scale, *mean, *std)]
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        numbers, order = [], None
    is_sensible = all(math.isfinite(x) and abs(x) < 1e6 for x in numbers)
    if len(numbers) != 7 or not is_sensible or order not in ("RGB", "BGR"):
        raise ValueError(f"it says that its preprocessing is {text[:60]!r}")
    if min(numbers[4:]) <= 0:
        raise ValueError("it says that its preprocessing divides by 0")
    return Preprocessing(
        scale=numbers[0],
        mean=(numbers[1], numbers[2], numbers[3]),
        std=(numbers[4], numbers[5], numbers[6]),
        channel_order=order,
    )


def describe_preprocessing(preprocessing: Preprocessing) -> str:
    """Return what `resolve_preprocessing` reads: a name, or JSON."""
    for name, known in PREPROCESSINGS.items():
        if preprocessing == known:
            return name
    return json.dumps(
        {
            "scale": preprocessing.scale,
            "mean": preprocessing.mean,
            "std": preprocessing.std,
            "channel_order": preprocessing.channel_order,
        }
    )


def save_weights(weights: Weights, **metadata: str) -> bytes:
    """Return weights as a safetensors file: `LAYER.kernel` (HWIO) and `LAYER.bias`.

    The same weights and metadata make the same bytes.

    Args:
        weights: to be saved.
        metadata: more that the file should say about itself.
    """
    tensors = {
        f"{name}.{kind}": array
        for name, arrays in weights.layers.items()
        for kind, array in arrays.items()
    }
    described = {
        "format": _FORMAT,
        "architecture": weights.architecture.name,
        "preprocessing": describe_preprocessing(weights.preprocessing),
        **metadata,
    }
    return serialize(tensors, described)
