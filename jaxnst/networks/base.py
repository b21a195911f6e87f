"""What all networks that paint have in common: described as data, computed by modules.

An `Architecture` says which layers there are and which convolutions they need; its
`build` makes the `Network` that computes them.
"""

import abc
import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnst._checks import check_choice
from jaxnst._types import FeatureMap, Features, Image

from .convolution import Border, Convolution, check_convolution
from .layers import ConvShape, Layer
from .pooling import Window, pool_windows
from .preprocessing import Preprocessing
from .rows import Rows, Spread, go_around, rows_of
from .smoothing import SMOOTHINGS, check_smoothing, smooth


POOLINGS = ("max", "average")
# From most memory and least time to the reverse, see `jaxnst.networks.measuring`.
MEMORY_LEVELS = ("fast", "balanced", "low")
PADDINGS = ("reflect", "replicate", "zeros", "circular")

# By how many pixels "reflect" continues the picture on every side. 4 are enough to keep
# rims of a pixel or two out of the result; 8 keep out the blotches behind them too.
REFLECT_MARGIN = 8

Activations = Float[Array, "1 _ _ _"]


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


class Network(nnx.Module, abc.ABC):
    """A network whose call returns the activations asked for.

    A plain pytree: hand it to `jax.jit`, `jax.grad` and `jax.vmap` as an argument, so
    that its weights are not baked into the compiled program.

    Args:
        architecture: which network.
        preprocessing: what its weights were trained on.
        pooling: "max", as trained, or "average", which Gatys et al. 2016 prefer for
            its smoother gradient.
        rescale_pooling: multiply the average by 2, about the ratio of the two kinds of
            pooling on real activations, which keeps deep layers at the size they were
            trained at (Crowson; Gatys et al. do not do it). VGGs only.
        padding: how the network sees beyond the border. "reflect": the picture is
            continued by its mirror image for 8 pixels on every side; the activations
            are those of the larger picture, so larger too. "replicate": the first
            convolution sees the border pixels repeated, the others zeros (Crowson).
            "zeros": as trained; the border is a frame to the network. The last two
            leave a rim of wrong colors on some results. "circular": every convolution
            and pooling sees the opposite border, as in a tiled plane.
        memory: what losses keep for their gradient: "fast" keeps all activations,
            "balanced" and "low" compute some or most of them again, see
            `jaxnst.networks.measuring`.
        conv: "xla", "winograd", or "auto": Winograd's way on a CPU for the layers where
            it is faster, see `jaxnst.networks.convolution`.
        precision: "float32", or "bfloat16", in which weights and activations take half
            the memory, and accelerators multiply several times as fast. Three digits
            are left: losses are summed in float32, but the picture takes another way.
        smoothing: of the activations that are returned; what is computed from them
            inside stays as it is. "log" and "softmax" take their peaks off, see
            `jaxnst.networks.smooth`. Not for VGGs.
        rngs: randomness of the weights before any are loaded.

    Raises:
        ValueError: if an option is unknown, the network does not have it, or `conv` is
            "winograd" in bfloat16.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        preprocessing: Preprocessing,
        pooling: str = "max",
        rescale_pooling: bool = False,
        padding: str = "reflect",
        memory: str = "fast",
        conv: str = "auto",
        precision: str = "float32",
        smoothing: str = "none",
        rngs: nnx.Rngs,
    ):
        self.architecture = architecture
        self.preprocessing = preprocessing
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        if rescale_pooling and not architecture.is_rescalable:
            raise ValueError(
                f"`rescale_pooling` is for VGGs, and this is {architecture.name}; "
                "leave it out."
            )
        self.rescale_pooling = rescale_pooling
        self.padding = check_choice("padding", padding, PADDINGS)
        self.memory = check_choice("memory", memory, MEMORY_LEVELS)
        check_convolution(conv, precision)
        self.conv = conv
        self.precision = precision
        self.smoothing = check_smoothing(
            smoothing, architecture.smoothings, architecture.name
        )
        # Set by `jaxnst.networks.spread_network`, and for each picture by `over`.
        self.spread: Spread | None = None
        self.rows: Rows | None = None
        for shape in architecture.convolutions:
            convolution = Convolution(
                shape.in_width,
                shape.out_width,
                size=shape.size,
                stride=shape.stride,
                border=self._border(shape.name),
                method=conv,
                precision=precision,
                rngs=rngs,
            )
            setattr(self, shape.name, convolution)

    def _border(self, name: str) -> Border:
        if self.padding == "circular":
            return "circular"
        if self._is_replicated(name):
            return "none"  # the border is added in `convolve`
        return "zeros"

    def _is_replicated(self, name: str) -> bool:
        first = self.architecture.convolutions[0].name
        return self.padding == "replicate" and name == first

    def __repr__(self) -> str:
        smoothing = f", smoothing={self.smoothing!r}"
        return (
            f"{type(self).__name__}({self.architecture.name}, "
            f"pooling={self.pooling!r}, padding={self.padding!r}, conv={self.conv!r}, "
            f"precision={self.precision!r}"
            f"{'' if self.smoothing == 'none' else smoothing})"
        )

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of all activations, in order."""
        return self.architecture.layer_names

    @property
    def num_devices(self) -> int:
        """How many devices it is spread over."""
        return 1 if self.spread is None else self.spread.mesh.size

    def with_memory(self, memory: str) -> "Network":
        """Return the same network, weights shared, with another level of memory.

        Raises:
            ValueError: if `memory` is unknown.
        """
        return self.changed(memory=check_choice("memory", memory, MEMORY_LEVELS))

    def changed(self, **attributes: Any) -> "Network":
        """Return the same network, weights shared, with other attributes."""
        leaves, structure = jax.tree.flatten(self)
        network: Network = jax.tree.unflatten(structure, leaves)
        for name, value in attributes.items():
            setattr(network, name, value)
        return network

    def over(self, image: Image) -> "Network":
        """Return the network as it sees one picture.

        Over the devices it was spread over, if the picture has rows enough for them.
        """
        spread = self.spread
        if spread is None or not spread.suits(image.shape[0]):
            return self
        plain = self.changed(spread=None, rows=None)
        x = jax.eval_shape(plain.prepare, image)
        counts = [x.shape[1]]
        for layer in self.architecture.up_to([spread.deepest]):
            x = jax.eval_shape(functools.partial(plain.apply_layer, layer), x)
            counts.append(x.shape[1])
        return self.changed(rows=rows_of(spread.mesh, counts))

    def __call__(self, image: Image, layers: Collection[str] | None = None) -> Features:
        """Return the named activations of one picture.

        Args:
            image: RGB, [0, 1].
            layers: some of `layer_names`; all by default. Nothing behind the deepest is
                computed.

        Returns:
            The activations in the network's order, in the units of its weights, of the
            dtype that `precision` names. Of a network that is spread over
            devices, rows of zeros may follow those of the picture.

        Raises:
            ValueError: if a layer is unknown, or the picture is too small for it.
        """
        wanted = self.layer_names if layers is None else layers
        for name in wanted:
            check_choice("layers", name, self.layer_names)
        features: dict[str, Array] = {}
        network = self.over(image)
        x = network.prepare(image)
        for layer in self.architecture.up_to(wanted):
            x = network.apply_layer(layer, x)
            features |= network.read(layer, x, wanted)
        return features

    def prepare(self, image: Image) -> Activations:
        """Return what the first layer sees of a picture, RGB, [0, 1]."""
        x = self.preprocessing(image)[None]
        if self.padding == "reflect":
            margin = (REFLECT_MARGIN, REFLECT_MARGIN)
            x = jnp.pad(x, ((0, 0), margin, margin, (0, 0)), mode="reflect")
        # Only here, where the mean is off: bfloat16 is finest around zero.
        x = x if self.precision == "float32" else x.astype(self.precision)
        if self.rows is None:
            return x
        return self.rows.lay_out(x, use_edge=self.padding == "replicate")

    @abc.abstractmethod
    def apply_layer(self, layer: Layer, x: Activations) -> Activations:
        """Return what one layer makes of the output of the one before it.

        Raises:
            ValueError: if nothing is left to pool.
        """

    def read(
        self, layer: Layer, x: Activations, wanted: Collection[str]
    ) -> dict[str, FeatureMap]:
        """Return those activations wanted that a layer's output holds."""
        found = {layer.name: x[0]}
        start = 0
        for name, width in layer.parts:
            found[name] = x[0, :, :, start : start + width]
            start += width
        return {
            name: smooth(features, self.smoothing)
            for name, features in found.items()
            if name in wanted
        }

    def convolve(self, name: str, x: Activations) -> Activations:
        """Return what the convolution called `name` makes of its input."""
        convolution: Convolution = getattr(self, name)
        if self.rows is not None and self.padding == "circular":
            own = self.rows.own[x.shape[1]]
            return self.settle(go_around(convolution, x, own))
        if self._is_replicated(name):
            margin = convolution.kernel_shape[0] // 2
            around = (margin, margin)
            x = jnp.pad(x, ((0, 0), around, around, (0, 0)), mode="edge")
        return self.settle(convolution(x))

    def settle(self, x: Activations) -> Activations:
        """Return what a layer made, once it lies where it is to lie."""
        return x if self.rows is None else self.rows.settle(x)

    def pool(self, layer: Layer, x: Activations, window: Window) -> Activations:
        """Return what a pooling makes of its input.

        Raises:
            ValueError: if nothing is left to pool.
        """
        if not all(window.count(length) for length in x.shape[1:3]):
            raise ValueError(
                f"the picture is too small for {layer.name}: only {x.shape[2]} x "
                f"{x.shape[1]} values are left to pool."
            )
        is_circular = self.padding == "circular"
        num_rows = None if self.rows is None else self.rows.own[x.shape[1]]
        pooled = pool_windows(
            x, window, self.pooling, is_circular=is_circular, num_rows=num_rows
        )
        return self.settle(pooled)
