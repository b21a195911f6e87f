"""A network as data: its layers, the convolutions they need, its preprocessing."""

import abc
import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import jax.numpy as jnp

from jaxnst._types import Image
from jaxnst.config import SMOOTHINGS


if TYPE_CHECKING:
    from .base import Network


class Layer(NamedTuple):
    """One layer, computed from the output of the one before it.

    Attributes:
        kind: what it does.
        name: what its output is called.
        block: the number of its block, from 1; a block may be computed again as a
            whole, see `jaxnst.networks.remat`.
        in_width: channels it reads; 0 where that is of no matter.
        out_width: channels it writes, likewise.
        stride: of its output, in pixels of its input.
        parts: names and widths of groups of its channels, in their order.
    """

    kind: str
    name: str
    block: int
    in_width: int = 0
    out_width: int = 0
    stride: int = 1
    parts: tuple[tuple[str, int], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its output and of its parts."""
        return self.name, *(name for name, _ in self.parts)


class ConvShape(NamedTuple):
    """One convolution that a network needs.

    Attributes:
        name: of its weights.
        size: height and width of its kernel.
        in_width: channels it reads.
        out_width: channels it writes.
        stride: in pixels of its input.
    """

    name: str
    size: int
    in_width: int
    out_width: int
    stride: int = 1

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """Shape of its kernel, HWIO."""
        return (self.size, self.size, self.in_width, self.out_width)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """From RGB in [0, 1] to what the network expects: `(scale * rgb - mean) / std`.

    Attributes:
        scale: 1, 2 or 255.
        mean: per channel, in RGB order, after scaling.
        std: per channel, in RGB order, after scaling.
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

# torchvision's and timm's, trained anew: other weights, other input.
TORCHVISION = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

# GoogLeNet's weights came from TensorFlow, which feeds values from -1 to 1; torchvision
# makes these from its own ("transform_input").
TENSORFLOW = Preprocessing(scale=2.0, mean=(1.0, 1.0, 1.0))

# That of LPIPS: its own mean (-0.030, -0.088, -0.188) is for values from -1 to 1.
LPIPS = Preprocessing(scale=2.0, mean=(0.970, 0.912, 0.812), std=(0.458, 0.448, 0.450))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture(abc.ABC):
    """A network as data.

    Attributes:
        name: the field's name of it.
        norm_epsilon: what its batch norms add to the variance; None: it has none.
        smoothings: which of `SMOOTHINGS` it can have.
        default_smoothing: with which it is painted, if nobody says otherwise.
        is_rescalable: whether its average pooling can be rescaled.
        recomputed: {level of memory: {block: in how many strips it is computed again}}.
    """

    name: str
    norm_epsilon: ClassVar[float | None] = None
    smoothings: ClassVar[tuple[str, ...]] = SMOOTHINGS
    default_smoothing: ClassVar[str] = "none"
    is_rescalable: ClassVar[bool] = False
    recomputed: ClassVar[Mapping[str, Mapping[int, int]]]

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Layer]:
        """Yield the layers in the order in which they are computed."""

    @property
    @abc.abstractmethod
    def convolutions(self) -> tuple[ConvShape, ...]:
        """The convolutions it needs, in the order in which they are computed."""

    @property
    @abc.abstractmethod
    def content_layers(self) -> Mapping[str, float]:
        """Layers that keep the content, and their weights, if nobody says otherwise."""

    @property
    @abc.abstractmethod
    def style_layers(self) -> Mapping[str, float]:
        """Layers that take on the style, likewise."""

    @property
    def bytes_per_pixel(self) -> int | None:
        """More bytes than any step needs for a pixel, at any size; None if unknown."""
        return None

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of all activations, in order."""
        return tuple(name for layer in self for name in layer.names)

    def up_to(self, wanted: Collection[str]) -> tuple[Layer, ...]:
        """Return the layers that are computed for some activations."""
        layers = tuple(self)
        needed = [i for i, layer in enumerate(layers) if {*wanted} & {*layer.names}]
        return layers[: 1 + max(needed, default=-1)]

    @abc.abstractmethod
    def build(self, **options: Any) -> "Network":
        """Return the network, with random weights.

        Args:
            options: of `Network`.
        """
