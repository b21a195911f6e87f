"""From the tensors of a file to the weights of our networks, and back to a file.

Tensors have names, shapes and orders of axes (layouts) of three kinds:

`"torchvision"`: `features.0.weight` (OIHW), `layer1.0.bn1.running_mean`, and so on;
also timm's, which differ in the head of VGGs.
`"flax"`: our own, `LAYER.kernel` (HWIO) and `LAYER.bias`, batch norm already folded in.
`"keras.applications"`: `block1_conv1/kernel` (HWIO) and `/bias`, as
`jaxnst.pretrained.formats` shortens the names in its files; VGGs only.
"""

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnst._checks import check_choice
from jaxnst.networks import (
    CAFFE,
    GOOGLENET,
    TENSORFLOW,
    TORCHVISION,
    Architecture,
    ConvShape,
    GoogLeNetArchitecture,
    Preprocessing,
    VGGArchitecture,
)

from .formats import Shapes, TensorFile, serialize, shorten
from .registry import SPECS


ARCHITECTURES = tuple(dict.fromkeys(spec.architecture for spec in SPECS.values()))
# Names by which a file states its preprocessing.
PREPROCESSINGS: Mapping[str, Preprocessing] = {
    "torchvision": TORCHVISION,
    "caffe": CAFFE,
    "tensorflow": TENSORFLOW,
}
# Beginnings of the names of tensors that are not used: classifiers, training's state.
_UNUSED = {
    "torchvision": ("classifier.", "fc.", "aux1.", "aux2.", "pre_logits.", "head."),
    "flax": (),
    "keras.applications": ("fc1/", "fc2/", "predictions/", "optimizer_weights/"),
}
LAYOUTS = tuple(_UNUSED)
_NORM = ("weight", "bias", "running_mean", "running_var")
# If fewer of the names and shapes are right, it is some other network.
_MIN_LIKENESS = 0.5
# Of each kind of problem, so many are named and the others counted.
_MAX_NAMED = 8


class Weights(NamedTuple):
    """The weights of a network, in our own names and order.

    Attributes:
        architecture: the network.
        preprocessing: the input that it was trained on.
        layers: {"conv1_1": {"kernel": HWIO, "bias": O}, ...}, float32.
    """

    architecture: Architecture
    preprocessing: Preprocessing
    layers: dict[str, dict[str, np.ndarray]]


class UsedWeights(NamedTuple):
    """Which weights were used, for the record.

    Attributes:
        name: name in the registry, or of the user's file.
        sha256: hash of the file they were read from, in hex.
    """

    name: str
    sha256: str


@functools.cache
def expected_shapes(architecture: Architecture, layout: str) -> Shapes:
    """Return {name: shape} of the tensors that are needed, in the network's order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for conv in architecture.convolutions:
        kernel_key, other_keys = _keys_of(architecture, layout, conv)
        shape = height, width, read, written = conv.kernel_shape
        is_oihw = layout == "torchvision"
        shapes[kernel_key] = (written, read, height, width) if is_oihw else shape
        shapes |= dict.fromkeys(other_keys, (written,))
    return shapes


def expected_bytes(architecture: Architecture) -> int:
    """Return how many bytes the weights of a network take in float32."""
    shapes = expected_shapes(architecture, "flax").values()
    return 4 * sum(math.prod(shape) for shape in shapes)


def _is_unused(name: str, layout: str) -> bool:
    is_count = layout == "torchvision" and name.endswith(".num_batches_tracked")
    return is_count or name.startswith(_UNUSED[layout])


def _keys_of(
    architecture: Architecture, layout: str, conv: ConvShape
) -> tuple[str, tuple[str, ...]]:
    """Return the names of a kernel, and of its bias or its batch norm."""
    name = conv.name
    if layout == "flax":
        return f"{name}.kernel", (f"{name}.bias",)
    if layout == "keras.applications":
        home = name.replace("conv", "block").replace("_", "_conv")
        return f"{home}/kernel", (f"{home}/bias",)
    if isinstance(architecture, VGGArchitecture):
        # Counted with the ReLUs and pools between them.
        home = f"features.{architecture.layer_names.index(name)}"
        return f"{home}.weight", (f"{home}.bias",)
    if isinstance(architecture, GoogLeNetArchitecture):
        # A branch's pooling, which has no weights, is its number 0.
        home = name.replace(".branch4", ".branch4.1")
        kernel, norm = f"{home}.conv", f"{home}.bn"
    elif name.endswith(".downsample"):
        kernel, norm = f"{name}.0", f"{name}.1"
    else:
        kernel, norm = name, name.replace("conv", "bn")
    return f"{kernel}.weight", tuple(f"{norm}.{kind}" for kind in _NORM)


def recognize(shapes: Shapes) -> tuple[Architecture, str]:
    """Return which network a file holds, and its layout, from {name: shape}.

    Most of the names and shapes have to fit; `convert` names those that do not.
    """
    likeness: dict[tuple[Architecture, str], float] = {}
    for layout in LAYOUTS:
        given = {
            (name, tuple(shape))
            for name, shape in shapes.items()
            if not _is_unused(name, layout)
        }
        for architecture in ARCHITECTURES:
            expected = expected_shapes(architecture, layout).items()
            shared, either = expected & given, expected | given
            likeness[architecture, layout] = len(shared) / len(either)
    best = max(likeness, key=likeness.__getitem__)
    if likeness[best] < _MIN_LIKENESS:
        came = [f"{name} {tuple(shape)}" for name, shape in shapes.items()]
        raise ValueError(
            "the tensors are not those of a known network; expected "
            f"{', '.join(known.name for known in ARCHITECTURES)} with names as in "
            "features.0.weight or layer1.0.conv1.weight (torchvision, timm), "
            "inception3a.branch1.conv.weight (torchvision), conv1_1.kernel (jaxnst) or "
            f"block1_conv1/kernel (keras.applications), got {len(came)} tensors"
            f"{' such as ' if came else ''}{', '.join(map(shorten, came[:3]))}"
        )
    return best


def take_weights(
    file: TensorFile,
    *,
    expected: Architecture | None = None,
    preprocessing: str | Preprocessing | None = None,
) -> Weights:
    """Return the weights in a file, reading only the tensors that are needed.

    A ValueError names all tensors that are missing, unexpected or not as they should.
    """
    architecture, layout = recognize(file.shapes)
    if expected is not None and architecture != expected:
        raise ValueError(
            f"it holds the weights of {architecture.name}, not of {expected.name}"
        )
    check_tensors(architecture, layout, file.shapes, {})  # before any of it is read
    resolved = resolve_preprocessing(
        architecture, file.metadata, preprocessing, layout=layout
    )
    tensors = file.read(tuple(expected_shapes(architecture, layout)))
    return Weights(architecture, resolved, convert(architecture, layout, tensors))


def convert(
    architecture: Architecture, layout: str, tensors: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Return {layer: {"kernel": HWIO, "bias": O}} with batch norm folded in."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    # Overflow and NaN are refused by name.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        shapes = {name: x.shape for name, x in tensors.items()}
        check_tensors(architecture, layout, shapes, tensors)
        for conv in architecture.convolutions:
            key, other_keys = _keys_of(architecture, layout, conv)
            kernel = tensors[key].astype(np.float64)
            if layout == "torchvision":
                kernel = kernel.transpose(2, 3, 1, 0)
            bias, *norm = (tensors[other].astype(np.float64) for other in other_keys)
            if norm:
                # Convolution and batch norm as one convolution.
                assert architecture.norm_epsilon is not None
                gamma, (beta, mean, variance) = bias, norm
                scale = gamma / np.sqrt(variance + architecture.norm_epsilon)
                kernel, bias = kernel * scale, beta - mean * scale
            layers[conv.name] = {
                "kernel": np.ascontiguousarray(kernel, np.float32),
                "bias": bias.astype(np.float32),
            }
    infinite = [name for name, x in flat(layers).items() if not np.isfinite(x).all()]
    _refuse(architecture, layout, {"not finite with batch norm folded in": infinite})
    return layers


def flat(layers: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return {"LAYER.kernel": HWIO, "LAYER.bias": O, ...}."""
    return {f"{name}.{kind}": x for name in layers for kind, x in layers[name].items()}


def check_tensors(
    architecture: Architecture,
    layout: str,
    shapes: Shapes,
    tensors: Mapping[str, np.ndarray],
) -> None:
    """Check all shapes, and the types and values of the tensors that were read."""
    expected = expected_shapes(architecture, layout)
    given = {name: x for name, x in shapes.items() if not _is_unused(name, layout)}
    read = {name: x for name, x in tensors.items() if name in expected}
    # JAX knows bfloat16, which is none of NumPy's own kinds.
    floating = {
        name: x for name, x in read.items() if jnp.issubdtype(x.dtype, jnp.floating)
    }
    problems = {
        "missing": [name for name in expected if name not in given],
        "unexpected": [name for name in given if name not in expected],
        "wrong shape": [
            f"{name} {given[name]}, expected {shape}"
            for name, shape in expected.items()
            if given.get(name, shape) != shape
        ],
        "wrong type": [
            f"{name} {x.dtype}, expected floats"
            for name, x in read.items()
            if name not in floating
        ],
        "not finite": [
            name
            for name, x in floating.items()
            if not np.isfinite(x.astype(np.float32)).all()
        ],
    }
    _refuse(architecture, layout, problems)


def _refuse(
    architecture: Architecture, layout: str, problems: Mapping[str, list[str]]
) -> None:
    """Raise an error that names all problems, if there are any."""
    texts = []
    for problem, names in problems.items():
        rest = len(names) - _MAX_NAMED
        more = f" and {rest} more" if rest > 0 else ""
        if names:
            named = ", ".join(map(shorten, names[:_MAX_NAMED]))
            texts.append(f"{problem} {named}{more}")
    if texts:
        raise ValueError(
            f"the weights do not fit {architecture.name} in the layout of {layout}: "
            f"{'; '.join(texts)}."
        )


def resolve_preprocessing(
    architecture: Architecture,
    metadata: Mapping[str, str],
    given: str | Preprocessing | None,
    *,
    layout: str,
) -> Preprocessing:
    """Return the input that a network was trained on: as given, or as its file says.

    A file that says nothing is taken for torchvision's weights, or made from them as
    timm's are: "torchvision", but "tensorflow" for GoogLeNet. Those of
    keras.applications came from Oxford: "caffe".
    """
    if isinstance(given, Preprocessing):
        return given
    if given is not None:
        return PREPROCESSINGS[check_choice("preprocessing", given, PREPROCESSINGS)]
    said = metadata.get("preprocessing")
    if said is None:
        if layout == "keras.applications":
            return CAFFE
        return TENSORFLOW if architecture.name == GOOGLENET.name else TORCHVISION
    if said not in PREPROCESSINGS:
        raise ValueError(
            f"it says that its preprocessing is {said[:60]!r}, not one of "
            f"{', '.join(PREPROCESSINGS)}; say which it is with `preprocessing`"
        )
    return PREPROCESSINGS[said]


def save_weights(weights: Weights, **metadata: str) -> bytes:
    """Return weights as a safetensors file: `LAYER.kernel` (HWIO) and `LAYER.bias`.

    The same weights and metadata make the same bytes.
    """
    names = {known: name for name, known in PREPROCESSINGS.items()}
    described = {
        "format": "jaxnst",
        "architecture": weights.architecture.name,
        "preprocessing": names[weights.preprocessing],
        **metadata,
    }
    return serialize(flat(weights.layers), dict(sorted(described.items())))
