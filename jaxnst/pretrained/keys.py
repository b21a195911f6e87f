"""What others call the weights of our networks, and the shapes these have there.

`"torchvision"`: `features.0.weight` (OIHW), `layer1.0.bn1.running_mean`, and so on.
`"timm"`: the same, but for the head of its VGGs.
`"flax"`: our own, `LAYER.kernel` (HWIO) and `LAYER.bias`, batch norm already folded in.
`"flaxmodels"`: `conv1_1/weight` (HWIO), `conv1_1/bias`; VGGs only.
`"keras"`: `layers/conv2d_3/vars/0` (HWIO) and `/1`, in the network's order; VGGs only.
`"keras.applications"`: `block1_conv1/kernel` (HWIO) and `/bias`, as
`jaxnst.pretrained.foreign` shortens what is in its older files; VGGs only.
"""

import functools
import math
from collections.abc import Mapping
from types import MappingProxyType

from jaxnst._checks import check_choice
from jaxnst.networks import (
    Architecture,
    ConvShape,
    GoogLeNetArchitecture,
    VGGArchitecture,
)


# The classifiers behind the convolutions, and what only training needs.
_LEFTOVERS = {
    "torchvision": ("classifier.", "fc.", "aux1.", "aux2."),
    "timm": ("pre_logits.", "head."),
    "flax": (),
    "flaxmodels": ("fc",),
    "keras": ("layers/dense", "layers/flatten", "layers/global", "layers/dropout"),
    "keras.applications": ("fc1/", "fc2/", "predictions/", "optimizer_weights/"),
}
_BATCH_COUNT = ".num_batches_tracked"
_NORM = ("weight", "bias", "running_mean", "running_var")

LAYOUTS = tuple(_LEFTOVERS)


def expected_shapes(
    architecture: Architecture, layout: str
) -> dict[str, tuple[int, ...]]:
    """Return {name: shape} of the tensors that are needed, in the network's order.

    Raises:
        ValueError: if `layout` is unknown, or has no such network.
    """
    check_choice("layout", layout, LAYOUTS)
    if not is_known(architecture, layout):
        raise ValueError(
            f"no layout {layout!r} of {architecture.name} is known; use torchvision or "
            "flax."
        )
    return dict(_expected_shapes(architecture, layout))


@functools.cache
def _expected_shapes(
    architecture: Architecture, layout: str
) -> Mapping[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index, conv in enumerate(architecture.convolutions):
        kernel_key, other_keys = keys_of(architecture, layout, index, conv)
        height, width, read, written = conv.kernel_shape
        shapes[kernel_key] = (
            (written, read, height, width) if is_torch(layout) else conv.kernel_shape
        )
        shapes |= dict.fromkeys(other_keys, (written,))
    return MappingProxyType(shapes)


def wanted_keys(architecture: Architecture, layout: str) -> tuple[str, ...]:
    """Return the names of the tensors that are needed, in the network's order.

    Raises:
        ValueError: if `layout` is unknown, or has no such network.
    """
    return tuple(expected_shapes(architecture, layout))


def expected_bytes(architecture: Architecture) -> int:
    """Return how many bytes the weights of a network take in float32."""
    shapes = expected_shapes(architecture, "flax").values()
    return 4 * sum(math.prod(shape) for shape in shapes)


def is_known(architecture: Architecture, layout: str) -> bool:
    """Return whether a layout has a network."""
    is_vgg = isinstance(architecture, VGGArchitecture)
    return is_vgg or layout in ("torchvision", "timm", "flax")


def is_torch(layout: str) -> bool:
    """Return whether a layout has its kernels as PyTorch does, OIHW."""
    return layout in ("torchvision", "timm")


def is_leftover(key: str, layout: str) -> bool:
    """Return whether a tensor is one that painting has no use for."""
    if is_torch(layout):
        heads = _LEFTOVERS["torchvision"] + _LEFTOVERS["timm"]
        return key.startswith(heads) or key.endswith(_BATCH_COUNT)
    return key.startswith(_LEFTOVERS[layout])


def is_of_timm(key: str) -> bool:
    """Return whether a tensor has a name that only timm gives."""
    return key.startswith(_LEFTOVERS["timm"])


def keys_of(
    architecture: Architecture, layout: str, index: int, conv: ConvShape
) -> tuple[str, tuple[str, ...]]:
    """Return the names of a kernel, and of its bias or its batch norm.

    Args:
        architecture: of the network.
        layout: one of `LAYOUTS`.
        index: of the convolution among those of the network.
        conv: the convolution.
    """
    name = conv.name
    if layout == "flax":
        return f"{name}.kernel", (f"{name}.bias",)
    if layout == "flaxmodels":
        return f"{name}/weight", (f"{name}/bias",)
    if layout == "keras":
        home = f"layers/conv2d_{index}/vars" if index else "layers/conv2d/vars"
        return f"{home}/0", (f"{home}/1",)
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
