"""A network as data: its layers, its convolutions and its preprocessing."""

import abc
import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import jax.numpy as jnp

from jaxnst._checks import check_choice
from jaxnst._types import Image
from jaxnst.config import SMOOTHINGS


if TYPE_CHECKING:
    from .base import Network


class ConvShape(NamedTuple):
    """The shape of one convolution of a network.

    Attributes:
        name: name of its weights.
        size: height and width of its kernel.
        in_width: number of input channels.
        out_width: number of output channels.
        stride: stride in pixels of its input.
    """

    name: str
    size: int
    in_width: int
    out_width: int
    stride: int = 1

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """The shape of its kernel, HWIO."""
        return (self.size, self.size, self.in_width, self.out_width)


class Layer(NamedTuple):
    """One layer, computed from the output of the one before it.

    Attributes:
        kind: operation of the layer, such as "conv", "relu" or "pool".
        name: name of its output.
        block: number of its block, from 1; a block may be computed again as a whole,
            see `jaxnst.networks.remat`.
        convolutions: its convolutions, in the order in which they are computed.
        parts: names and widths of groups of its output channels, in order.
    """

    kind: str
    name: str
    block: int
    convolutions: tuple[ConvShape, ...] = ()
    parts: tuple[tuple[str, int], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its output and of its parts."""
        return self.name, *(name for name, _ in self.parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The input of a network from RGB in [0, 1]: `(scale * rgb - mean) / std`.

    Attributes:
        scale: factor of the RGB values, such as 1, 2 or 255.
        mean: mean of each channel after scaling, in RGB order.
        std: standard deviation of each channel after scaling, in RGB order.
        channel_order: "RGB" or "BGR", the order of the network's input channels.
    """

    scale: float = 1.0
    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: Literal["RGB", "BGR"] = "RGB"

    def __call__(self, image: Image) -> Image:
        """Return the network's input for a picture in [0, 1]."""
        dtype = image.dtype
        # Shaped (1, 1, 3): rank promotion is an error in the tests.
        mean = jnp.asarray(self.mean, dtype).reshape(1, 1, 3)
        std = jnp.asarray(self.std, dtype).reshape(1, 1, 3)
        normalized = (image * jnp.asarray(self.scale, dtype) - mean) / std
        return normalized[..., ::-1] if self.channel_order == "BGR" else normalized


# Simonyan and Zisserman's own networks, trained in Caffe.
CAFFE = Preprocessing(scale=255.0, mean=(123.68, 116.779, 103.939), channel_order="BGR")

# Networks trained by torchvision and timm.
TORCHVISION = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

# GoogLeNet's weights came from TensorFlow, with input from -1 to 1; torchvision
# converts to it ("transform_input").
TENSORFLOW = Preprocessing(scale=2.0, mean=(1.0, 1.0, 1.0))

# LPIPS states its mean, (-0.030, -0.088, -0.188), for values from -1 to 1.
LPIPS = Preprocessing(scale=2.0, mean=(0.970, 0.912, 0.812), std=(0.458, 0.448, 0.450))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture(abc.ABC):
    """A network as data.

    Attributes:
        name: usual name of the network.
        norm_epsilon: constant that its batch norms add to the variance; None for a
            network without batch norm.
        smoothings: those of `SMOOTHINGS` that it supports.
        default_smoothing: smoothing that is used by default.
        is_rescalable: whether its average pooling can be rescaled.
        bytes_per_pixel: upper bound of the bytes that a step needs for each pixel with
            the networks of this kind in the registry; None if unknown.
        pool_overlap: pixels by which windows of its poolings overlap, at most.
        recomputed: {memory level: {block: number of strips in which it is computed
            again}}; by default blocks are computed again as a whole.
    """

    name: str
    norm_epsilon: ClassVar[float | None] = None
    smoothings: ClassVar[tuple[str, ...]] = SMOOTHINGS
    default_smoothing: ClassVar[str] = "none"
    is_rescalable: ClassVar[bool] = False
    bytes_per_pixel: ClassVar[int | None] = None
    pool_overlap: ClassVar[int] = 1
    recomputed: ClassVar[Mapping[str, Mapping[int, int]]] = {
        "fast": {},
        "balanced": {1: 1, 2: 1},
        "low": dict.fromkeys(range(1, 6), 1),
    }

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Layer]:
        """Yield the layers in the order in which they are computed."""

    @property
    @abc.abstractmethod
    def content_layers(self) -> Mapping[str, float]:
        """The default content layers and their weights."""

    @property
    @abc.abstractmethod
    def style_layers(self) -> Mapping[str, float]:
        """The default style layers and their weights."""

    @property
    def convolutions(self) -> tuple[ConvShape, ...]:
        """The convolutions of the network, in the order in which they are computed."""
        return tuple(shape for layer in self for shape in layer.convolutions)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of all activations, in order."""
        return tuple(name for layer in self for name in layer.names)

    def up_to(self, wanted: Collection[str]) -> tuple[Layer, ...]:
        """Return the layers needed to compute the activations with these names."""
        layers = tuple(self)
        needed = [i for i, layer in enumerate(layers) if {*wanted} & {*layer.names}]
        return layers[: 1 + max(needed, default=-1)]

    def check_smoothing(self, smoothing: str) -> str:
        """Return `smoothing`, one of `SMOOTHINGS`, if the network supports it.

        Raises:
            ValueError: if it is unknown, or the network does not support it.
        """
        check_choice("smoothing", smoothing, SMOOTHINGS)
        if smoothing not in self.smoothings:
            raise ValueError(
                f"`smoothing` is {smoothing!r}, which {self.name} cannot have; it can "
                f"have {', '.join(self.smoothings)}."
            )
        return smoothing

    @abc.abstractmethod
    def build(self, **options: Any) -> "Network":
        """Return the network, with random weights; options are those of `Network`."""
