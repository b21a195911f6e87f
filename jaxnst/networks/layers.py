"""A network's layers and the convolutions they need, as data."""

from typing import NamedTuple


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
