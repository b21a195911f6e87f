"""A network as data: which layers there are, and which convolutions they need.

Its `build` makes the `jaxnst.networks.Network` that computes them.
"""

import abc
import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from .layers import ConvShape, Layer
from .smoothing import SMOOTHINGS


if TYPE_CHECKING:
    from .base import Network


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
