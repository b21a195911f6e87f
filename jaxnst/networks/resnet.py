"""ResNet-50 as a feature extractor.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, as
torchvision has it ("v1.5": the 3 x 3 convolution of a block carries its stride). Batch
norm is frozen, and folded into the convolution before it.

ResNets are known to transfer style worse than VGGs. Against that, the default layers
are those of Wang, Li, Vasconcelos, CVPR 2021 (SWAG), and activations are smoothed, see
`jaxnst.networks.smooth`. It was tested with random weights only, never with pretrained
ones.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from jaxnst._types import Activations

from .architecture import Architecture, ConvShape, Layer
from .base import Network
from .layers import Window


# Output channels of a block per channel of its 3 x 3 convolution.
_EXPANSION = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNetArchitecture(Architecture):
    """A ResNet of bottleneck blocks as data: a stem, then stages of blocks.

    Attributes:
        depths: number of blocks in each stage.
        widths: number of channels of the 3 x 3 convolutions in each stage; the stem
            has as many as the first.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    norm_epsilon: ClassVar[float | None] = 1e-5
    default_smoothing: ClassVar[str] = "log"
    bytes_per_pixel: ClassVar[int | None] = 3000

    def __iter__(self) -> Iterator[Layer]:
        width = self.widths[0]
        yield Layer("stem", "relu1", 1, (ConvShape("conv1", 7, 3, width, 2),))
        yield Layer("pool", "pool1", 1)
        stages = zip(self.depths, self.widths, strict=True)
        for stage, (depth, inner) in enumerate(stages, start=1):
            for index in range(depth):
                stride = 2 if stage > 1 and index == 0 else 1
                name, written = f"layer{stage}.{index}", _EXPANSION * inner
                shapes = [
                    ConvShape(f"{name}.conv1", 1, width, inner),
                    ConvShape(f"{name}.conv2", 3, inner, inner, stride),
                    ConvShape(f"{name}.conv3", 1, inner, written),
                ]
                if stride > 1 or width != written:
                    shapes.append(
                        ConvShape(f"{name}.downsample", 1, width, written, stride)
                    )
                yield Layer("residual", name, stage + 1, tuple(shapes))
                width = written

    @property
    def content_layers(self) -> Mapping[str, float]:
        """The last block of the stage before the last (SWAG)."""
        return {f"layer3.{self.depths[2] - 1}": 1.0}

    @property
    def style_layers(self) -> Mapping[str, float]:
        """The stem and the last block of every stage (SWAG)."""
        last = [f"layer{k}.{depth - 1}" for k, depth in enumerate(self.depths, start=1)]
        return dict.fromkeys(["relu1", *last], 1.0)

    def build(self, **options: Any) -> "ResNet":
        """Return a `ResNet` with random weights."""
        return ResNet(self, **options)


RESNET50 = ResNetArchitecture(name="resnet50", depths=(3, 4, 6, 3))


class ResNet(Network):
    """A ResNet, with activations "relu1", "pool1", "layer1.0", "layer1.1" and so on.

    The activations of a block are its output, after the last ReLU. For everything else
    see `Network`.
    """

    def apply_layer(self, layer: Layer, x: Activations) -> Activations:  # noqa: D102
        if layer.kind == "stem":
            return self.rectify(self.convolve("conv1", x))
        if layer.kind == "pool":
            return self.pool(layer, x, Window(3, 2, margin=1))
        first, second, third, *downsample = (each.name for each in layer.convolutions)
        y = self.rectify(self.convolve(first, x))
        y = self.rectify(self.convolve(second, y))
        y = self.convolve(third, y)
        for name in downsample:  # where the output has another shape than the input
            x = self.convolve(name, x)
        return self.rectify(x + y)
