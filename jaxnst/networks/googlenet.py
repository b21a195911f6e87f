"""GoogLeNet as a feature extractor.

Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, as torchvision has it: with
batch norm (frozen, and folded into the convolution before it), without local response
normalization, and with a 3 x 3 convolution in the third branch instead of the paper's
5 x 5.

Its default layers have the names of those in the notebook on style transfer of lucid
(Olah, Mordvintsev and others), which uses another copy of this network. It was tested
with random weights only, never with pretrained ones.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from jaxnst._types import Activations

from .architecture import Architecture, ConvShape, Layer
from .base import Network
from .layers import Window


class Inception(NamedTuple):
    """The numbers of channels of one inception module.

    Attributes:
        name: name of the module.
        branch1: output of the 1 x 1 convolution of branch 1.
        reduced2: output of the 1 x 1 convolution of branch 2.
        branch2: output of the 3 x 3 convolution of branch 2.
        reduced3: output of the 1 x 1 convolution of branch 3.
        branch3: output of the 3 x 3 convolution of branch 3.
        branch4: output of the 1 x 1 convolution after the pooling of branch 4.
    """

    name: str
    branch1: int
    reduced2: int
    branch2: int
    reduced3: int
    branch3: int
    branch4: int

    @property
    def branches(self) -> tuple[int, int, int, int]:
        """The numbers of output channels of the branches."""
        return self.branch1, self.branch2, self.branch3, self.branch4


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoogLeNetArchitecture(Architecture):
    """A GoogLeNet as data: a stem of three convolutions, then inception modules.

    Attributes:
        stem: output channels of the three convolutions.
        modules: inception modules 3a, 3b, 4a and so on.
    """

    stem: tuple[int, int, int]
    modules: tuple[Inception, ...]
    norm_epsilon: ClassVar[float | None] = 1e-3
    bytes_per_pixel: ClassVar[int | None] = 2000

    def __iter__(self) -> Iterator[Layer]:
        first, second, width = self.stem
        yield Layer("conv", "conv1", 1, (ConvShape("conv1", 7, 3, first, 2),))
        yield Layer("pool", "pool1", 1)
        yield Layer("conv", "conv2", 2, (ConvShape("conv2", 1, first, second),))
        yield Layer("conv", "conv3", 2, (ConvShape("conv3", 3, second, width),))
        yield Layer("pool", "pool2", 2)
        group = "3"
        for module in self.modules:
            if module.name[0] != group:
                yield Layer("pool", f"pool{group}", int(group))
                group = module.name[0]
            name = f"inception{module.name}"
            shapes = (
                ConvShape(f"{name}.branch1", 1, width, module.branch1),
                ConvShape(f"{name}.branch2.0", 1, width, module.reduced2),
                ConvShape(f"{name}.branch2.1", 3, module.reduced2, module.branch2),
                ConvShape(f"{name}.branch3.0", 1, width, module.reduced3),
                ConvShape(f"{name}.branch3.1", 3, module.reduced3, module.branch3),
                ConvShape(f"{name}.branch4", 1, width, module.branch4),
            )
            widths = enumerate(module.branches, start=1)
            parts = tuple((f"{name}.branch{k}", n) for k, n in widths)
            yield Layer("inception", name, int(group), shapes, parts)
            width = sum(module.branches)

    @property
    def content_layers(self) -> Mapping[str, float]:
        """The content layer of lucid: inception3b."""
        return self._layers("inception3b")

    @property
    def style_layers(self) -> Mapping[str, float]:
        """The style layers of lucid: conv3, inception3a, 4a, 4b and 4c."""
        deeper = [f"inception{name}" for name in ("3a", "4a", "4b", "4c")]
        return self._layers("conv3", *deeper)

    def _layers(self, *names: str) -> Mapping[str, float]:
        """Return those of the layers that exist; a smaller network may lack some."""
        known = [name for name in names if name in self.layer_names]
        return dict.fromkeys(known or ["conv3"], 1.0)

    def build(self, **options: Any) -> "GoogLeNet":
        """Return a `GoogLeNet` with random weights."""
        return GoogLeNet(self, **options)


GOOGLENET = GoogLeNetArchitecture(
    name="googlenet",
    stem=(64, 64, 192),
    modules=(
        Inception("3a", 64, 96, 128, 16, 32, 32),
        Inception("3b", 128, 128, 192, 32, 96, 64),
        Inception("4a", 192, 96, 208, 16, 48, 64),
        Inception("4b", 160, 112, 224, 24, 64, 64),
        Inception("4c", 128, 128, 256, 24, 64, 64),
        Inception("4d", 112, 144, 288, 32, 64, 64),
        Inception("4e", 256, 160, 320, 32, 128, 128),
        Inception("5a", 256, 160, 320, 32, 128, 128),
        Inception("5b", 384, 192, 384, 48, 128, 128),
    ),
)


class GoogLeNet(Network):
    """A GoogLeNet, with activations "conv1", "pool1", ..., "inception5b".

    All are after their ReLU. A module is named as a whole, and by its branches,
    "inception3a.branch1" to "inception3a.branch4". For everything else see `Network`.
    """

    def apply_layer(self, layer: Layer, x: Activations) -> Activations:  # noqa: D102
        if layer.kind == "conv":
            return self._rectified(layer.name, x)
        if layer.kind == "pool":
            size = 2 if layer.name == "pool4" else 3
            # The last window may be incomplete: "ceil mode" in torch.
            return self.pool(layer, x, Window(size, 2, is_ceil=True))
        name = f"{layer.name}.branch"
        branches = [
            self._rectified(f"{name}1", x),
            self._rectified(f"{name}2.1", self._rectified(f"{name}2.0", x)),
            self._rectified(f"{name}3.1", self._rectified(f"{name}3.0", x)),
            self._rectified(f"{name}4", self.pool(layer, x, Window(3, 1, margin=1))),
        ]
        return jnp.concatenate(branches, axis=-1)

    def _rectified(self, name: str, x: Activations) -> Activations:
        return self.rectify(self.convolve(name, x))
