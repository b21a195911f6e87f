"""VGG-16 and VGG-19 as feature extractors.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", ICLR 2015. They have only the convolutions: the three dense layers at the
end need one fixed picture size, and style transfer does not use them.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from jaxnst._types import Activations
from jaxnst.config import STYLE_LAYERS

from .architecture import Architecture, ConvShape, Layer
from .base import Network
from .layers import Window


@dataclasses.dataclass(frozen=True, kw_only=True)
class VGGArchitecture(Architecture):
    """A VGG as data: blocks of 3 x 3 convolutions, each closed by a 2 x 2 pooling.

    Attributes:
        depths: number of convolutions in each block.
        widths: number of channels in each block.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    # Smoothing needs whole feature maps, and these networks may be computed in strips.
    smoothings: ClassVar[tuple[str, ...]] = ("none",)
    is_rescalable: ClassVar[bool] = True
    bytes_per_pixel: ClassVar[int | None] = 6000
    pool_overlap: ClassVar[int] = 0
    # The first three blocks hold nine tenths of all activations, including the arrays
    # of Winograd's algorithm.
    recomputed: ClassVar[Mapping[str, Mapping[int, int]]] = {
        "fast": {},
        "balanced": {1: 4, 2: 2, 3: 2},
        "low": {1: 8, 2: 4, 3: 2, 4: 1, 5: 1},
    }

    def __iter__(self) -> Iterator[Layer]:
        in_width = 3
        blocks = zip(self.depths, self.widths, strict=True)
        for block, (depth, width) in enumerate(blocks, start=1):
            for index in range(1, depth + 1):
                shape = ConvShape(f"conv{block}_{index}", 3, in_width, width)
                yield Layer("conv", shape.name, block, (shape,))
                yield Layer("relu", f"relu{block}_{index}", block)
                in_width = width
            yield Layer("pool", f"pool{block}", block)

    @property
    def content_layers(self) -> Mapping[str, float]:
        """The content layer of Gatys et al. 2016: relu4_2."""
        block = min(4, len(self.depths))
        return {f"relu{block}_{min(2, self.depths[block - 1])}": 1.0}

    @property
    def style_layers(self) -> Mapping[str, float]:
        """The style layers of Gatys et al. 2016: the first ReLU of every block."""
        layers = [f"relu{block}_1" for block in range(1, len(self.depths) + 1)]
        return {layer: STYLE_LAYERS.get(layer, 1.0) for layer in layers}

    def build(self, **options: Any) -> "VGG":
        """Return a `VGG` with random weights."""
        return VGG(self, **options)


VGG16 = VGGArchitecture(name="vgg16", depths=(2, 2, 3, 3, 3))
VGG19 = VGGArchitecture(name="vgg19", depths=(2, 2, 4, 4, 4))


class VGG(Network):
    """A VGG, with activations "conv1_1" (before its ReLU), "relu1_1", ..., "pool5".

    For everything else see `Network`.
    """

    def apply_layer(self, layer: Layer, x: Activations) -> Activations:  # noqa: D102
        if layer.kind == "conv":
            return self.convolve(layer.name, x)
        if layer.kind == "relu":
            return self.rectify(x)
        pooled = self.pool(layer, x, Window(2, 2))
        is_rescaled = self.rescale_pooling and self.pooling == "average"
        return pooled * 2 if is_rescaled else pooled
