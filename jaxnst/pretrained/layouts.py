"""From tensors that others named and ordered to the weights of our networks.

Names and shapes in, arrays in our own names and order out. Nothing here reads a file.
Which names and orders there are: `jaxnst.pretrained.keys`.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from jaxnst.networks import GOOGLENET, RESNET50, VGG16, VGG19, Architecture

from .keys import (
    LAYOUTS,
    expected_shapes,
    is_known,
    is_leftover,
    is_of_timm,
    is_torch,
    keys_of,
)


ARCHITECTURES = (VGG19, VGG16, RESNET50, GOOGLENET)

# Fewer of the names and shapes right, and it is some other network.
_MIN_LIKENESS = 0.5
# Of each kind of problem, so many are named and the others counted.
_MAX_NAMED = 8


class Recognized(NamedTuple):
    """What a file holds.

    Attributes:
        architecture: of the network.
        layout: one of `LAYOUTS`.
    """

    architecture: Architecture
    layout: str


def recognize(shapes: Mapping[str, tuple[int, ...]]) -> Recognized:
    """Return which network a file holds, by the names and shapes of its tensors.

    What is missing or too much is no matter here, as long as most of it fits; `convert`
    will name it.

    Args:
        shapes: of all tensors, heads included.

    Raises:
        ValueError: if it is none of the networks and layouts that are known.
    """
    best, likeness = None, 0.0
    for architecture in ARCHITECTURES:
        for layout in LAYOUTS:
            if not is_known(architecture, layout):
                continue
            expected = expected_shapes(architecture, layout)
            given = {
                key: tuple(shape)
                for key, shape in shapes.items()
                if not is_leftover(key, layout)
            }
            shared = len(expected.items() & given.items())
            found = shared / (len(expected) + len(given) - shared)
            if found > likeness:
                best, likeness = Recognized(architecture, layout), found
    if best is None or likeness < _MIN_LIKENESS:
        came = [f"{key} {tuple(shape)}" for key, shape in shapes.items()]
        raise ValueError(
            "the tensors are not those of a known network; expected "
            f"{', '.join(known.name for known in ARCHITECTURES)} with names as in "
            "features.0.weight or layer1.0.conv1.weight (torchvision, timm), "
            "inception3a.branch1.conv.weight (torchvision), conv1_1.kernel (jaxnst), "
            "conv1_1/weight (flaxmodels), layers/conv2d/vars/0 (Keras) or "
            f"block1_conv1/kernel (keras.applications), got {len(came)} tensors"
            f"{' such as ' if came else ''}{', '.join(came[:3])}"
        )
    if best.layout == "torchvision" and any(map(is_of_timm, shapes)):
        return best._replace(layout="timm")
    return best


def check_shapes(
    architecture: Architecture, layout: str, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Check that a file holds all that is needed, before any of it is read.

    Args:
        architecture: which network it should be.
        layout: one of `LAYOUTS`.
        shapes: of all its tensors.

    Raises:
        ValueError: naming all that is missing, unexpected or of a wrong shape. Heads
            are not unexpected.
    """
    expected = expected_shapes(architecture, layout)
    given = {key: x for key, x in shapes.items() if not is_leftover(key, layout)}
    if problems := _shape_problems(expected, given):
        raise _misfit(architecture, layout, problems)


def convert(
    architecture: Architecture, layout: str, tensors: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Return {layer: {"kernel": HWIO, "bias": O}}, float32.

    Frozen batch norm is folded into kernel and bias.

    Args:
        architecture: which network it should be.
        layout: one of `LAYOUTS`.
        tensors: all of a file, or only those wanted; of any floating type.

    Raises:
        ValueError: naming all that is missing, unexpected, of a wrong shape or type, or
            not finite. Heads are not unexpected.
    """
    expected = expected_shapes(architecture, layout)
    given = {k: x for k, x in tensors.items() if not is_leftover(k, layout)}
    layers: dict[str, dict[str, np.ndarray]] = {}
    # What overflows, or is no number, is named below.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        problems = _problems(expected, given)
        if not problems:
            for index, conv in enumerate(architecture.convolutions):
                kernel_key, other_keys = keys_of(architecture, layout, index, conv)
                others = [given[key] for key in other_keys]
                layers[conv.name] = _layer(
                    given[kernel_key],
                    others,
                    is_oihw=is_torch(layout),
                    epsilon=architecture.norm_epsilon,
                )
            names = [
                f"{name}.{kind}"
                for name, arrays in layers.items()
                for kind, array in arrays.items()
                if not np.isfinite(array).all()
            ]
            problems = list(_some("not finite with batch norm folded in", names))
    if problems:
        raise _misfit(architecture, layout, problems)
    return layers


def _misfit(architecture: Architecture, layout: str, problems: list[str]) -> ValueError:
    return ValueError(
        f"the weights do not fit {architecture.name} in the layout of {layout}: "
        f"{'; '.join(problems)}."
    )


def _shape_problems(
    expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]
) -> list[str]:
    return [
        *_some("missing", [key for key in expected if key not in given]),
        *_some("unexpected", [key for key in given if key not in expected]),
        *_some(
            "wrong shape",
            [
                f"{key} {given[key]}, expected {shape}"
                for key, shape in expected.items()
                if given.get(key, shape) != shape
            ],
        ),
    ]


def _problems(
    expected: Mapping[str, tuple[int, ...]], given: Mapping[str, np.ndarray]
) -> list[str]:
    shared = [key for key in expected if key in given]
    return [
        *_shape_problems(expected, {key: x.shape for key, x in given.items()}),
        *_some(
            "wrong type",
            [
                f"{key} {given[key].dtype}, expected floats"
                for key in shared
                if not _is_floating(given[key])
            ],
        ),
        *_some(
            "not finite",
            [
                key
                for key in shared
                if _is_floating(given[key])
                and not np.isfinite(given[key].astype(np.float32)).all()
            ],
        ),
    ]


def _is_floating(array: np.ndarray) -> bool:
    # bfloat16, of ml_dtypes, is none of NumPy's own kinds.
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _some(problem: str, names: list[str]) -> Iterable[str]:
    """Name the first of them, and count the others."""
    if not names:
        return
    rest = len(names) - _MAX_NAMED
    more = f" and {rest} more" if rest > 0 else ""
    yield f"{problem} {', '.join(names[:_MAX_NAMED])}{more}"


def _layer(
    kernel: np.ndarray,
    others: list[np.ndarray],
    *,
    is_oihw: bool,
    epsilon: float | None,
) -> dict[str, np.ndarray]:
    """Return kernel and bias of one convolution in our own order."""
    kernel = kernel.astype(np.float64)
    if is_oihw:
        kernel = kernel.transpose(2, 3, 1, 0)
    bias = others[0].astype(np.float64)
    if epsilon is not None and len(others) > 1:
        # What convolution and batch norm do one after the other, at once.
        gamma, beta, mean, variance = (x.astype(np.float64) for x in others)
        scale = gamma / np.sqrt(variance + epsilon)
        kernel, bias = kernel * scale, beta - mean * scale
    return {
        "kernel": np.ascontiguousarray(kernel, np.float32),
        "bias": bias.astype(np.float32),
    }
