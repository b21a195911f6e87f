"""What all networks that paint have in common: described as data, measured as modules.

An `Architecture` says which layers there are and which convolutions they need; its
`build` makes the `Network` that computes them.
"""

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple


class Layer(NamedTuple):
    """One layer, computed from the output of the one before it.

    Attributes:
        kind: what it does.
        name: what its output is called.
        block: the number of its block, from 1; a block may be computed again as a
            whole, see `jaxnst.networks.measuring`.
        in_width: channels it reads; 0 where that is of no matter.
        out_width: channels it writes, likewise.
        stride: of its output, in pixels of its input.
    """

    kind: str
    name: str
    block: int
    in_width: int = 0
    out_width: int = 0
    stride: int = 1


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
class Architecture(abc.ABC):
    """A network as data.

    Attributes:
        name: the field's name of it.
        norm_epsilon: what its batch norms add to the variance; None: it has none.
    """

    name: str
    norm_epsilon: ClassVar[float | None] = None

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
    def layer_names(self) -> tuple[str, ...]:
        """Names of all activations, in order."""
        return tuple(layer.name for layer in self)
