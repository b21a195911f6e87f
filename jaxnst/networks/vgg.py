"""VGG-16 and VGG-19 as feature extractors.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", ICLR 2015. Only the convolutions: the three dense layers at the end see
one picture size only, and style transfer has no use for them.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnst._checks import check_choice
from jaxnst._types import Features, Image

from .base import Architecture, ConvShape, Layer
from .convolution import Convolution, check_convolution
from .pooling import average_pool, max_pool
from .preprocessing import Preprocessing


POOLINGS = ("max", "average")
# From most memory and least time to the reverse, see `jaxnst.networks.measuring`.
MEMORY_LEVELS = ("fast", "balanced", "low")
PADDINGS = ("reflect", "replicate", "zeros", "circular")

# By how many pixels "reflect" continues the picture on every side. 4 are enough to keep
# rims of a pixel or two out of the result; 8 keep out the blotches behind them too.
REFLECT_MARGIN = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class VGGArchitecture(Architecture):
    """A VGG as data: blocks of 3 x 3 convolutions, each closed by a 2 x 2 pooling.

    Attributes:
        depths: number of convolutions in each block.
        widths: number of channels in each block.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)

    def __iter__(self) -> Iterator[Layer]:
        """Yield the layers in the order in which they are computed."""
        in_width = 3
        blocks = zip(self.depths, self.widths, strict=True)
        for block, (depth, width) in enumerate(blocks, start=1):
            for index in range(1, depth + 1):
                yield Layer("conv", f"conv{block}_{index}", block, in_width, width)
                yield Layer("relu", f"relu{block}_{index}", block)
                in_width = width
            yield Layer("pool", f"pool{block}", block)

    @property
    def convolutions(self) -> tuple[ConvShape, ...]:
        """The convolutions it needs, in the order in which they are computed."""
        return tuple(
            ConvShape(layer.name, 3, layer.in_width, layer.out_width)
            for layer in self
            if layer.kind == "conv"
        )

    @property
    def content_layers(self) -> Mapping[str, float]:
        """That of Gatys et al. 2016: relu4_2."""
        return {f"relu4_{min(2, self.depths[3])}": 1.0}

    @property
    def style_layers(self) -> Mapping[str, float]:
        """Those of Gatys et al. 2016: the first ReLU of every block."""
        return {f"relu{block}_1": 1.0 for block in range(1, len(self.depths) + 1)}


VGG16 = VGGArchitecture(name="vgg16", depths=(2, 2, 3, 3, 3))
VGG19 = VGGArchitecture(name="vgg19", depths=(2, 2, 4, 4, 4))


class VGG(nnx.Module):
    """A VGG whose call returns the activations asked for.

    A plain pytree: hand it to `jax.jit`, `jax.grad` and `jax.vmap` as an argument, so
    that its weights are not baked into the compiled program.

    Args:
        architecture: which VGG.
        preprocessing: what its weights were trained on.
        pooling: "max", as trained, or "average", which Gatys et al. 2016 prefer for
            its smoother gradient.
        rescale_pooling: multiply the average by 2, about the ratio of the two kinds of
            pooling on real activations, which keeps deep layers at the size they were
            trained at (Crowson; Gatys et al. do not do it).
        padding: how the network sees beyond the border. "reflect": the picture is
            continued by its mirror image for 8 pixels on every side; the activations
            are those of the larger picture, so larger too. "replicate": the first
            convolution sees the border pixels repeated, the others zeros (Crowson).
            "zeros": as trained; the border is a frame to the network. The last two
            leave a rim of wrong colors on some results. "circular": every convolution
            sees the opposite border, as in a tiled plane.
        memory: what losses keep for their gradient: "fast" keeps all activations,
            "balanced" and "low" compute some or most of them again, see
            `jaxnst.networks.measuring`.
        conv: "xla", "winograd", or "auto": Winograd's way on a CPU for the layers where
            it is faster, see `jaxnst.networks.convolution`.
        precision: "float32", or "bfloat16", in which weights and activations take half
            the memory, and accelerators multiply several times as fast. Three digits
            are left: losses are summed in float32, but the picture takes another way.
        rngs: randomness of the weights before any are loaded.

    Raises:
        ValueError: if `pooling`, `padding`, `memory`, `conv` or `precision` is unknown,
            or `conv` is "winograd" in bfloat16.
    """

    def __init__(
        self,
        architecture: VGGArchitecture,
        *,
        preprocessing: Preprocessing,
        pooling: str = "max",
        rescale_pooling: bool = False,
        padding: str = "reflect",
        memory: str = "fast",
        conv: str = "auto",
        precision: str = "float32",
        rngs: nnx.Rngs,
    ):
        self.architecture = architecture
        self.preprocessing = preprocessing
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.rescale_pooling = rescale_pooling
        self.padding = check_choice("padding", padding, PADDINGS)
        self.memory = check_choice("memory", memory, MEMORY_LEVELS)
        check_convolution(conv, precision)
        self.conv = conv
        self.precision = precision
        for layer in architecture:
            if layer.kind != "conv":
                continue
            convolution = Convolution(
                layer.in_width,
                layer.out_width,
                border=self._border(layer.name),
                method=conv,
                precision=precision,
                rngs=rngs,
            )
            setattr(self, layer.name, convolution)

    def _border(self, name: str) -> Literal["zeros", "circular", "none"]:
        if self.padding == "circular":
            return "circular"
        if self.padding == "replicate" and name == "conv1_1":
            return "none"  # the border is added in `apply_layer`
        return "zeros"

    def __repr__(self) -> str:
        return (
            f"VGG({self.architecture.name}, pooling={self.pooling!r}, "
            f"padding={self.padding!r}, conv={self.conv!r}, "
            f"precision={self.precision!r})"
        )

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of all activations, in order."""
        return self.architecture.layer_names

    def with_memory(self, memory: str) -> "VGG":
        """Return the same network, weights shared, with another level of memory.

        Raises:
            ValueError: if `memory` is unknown.
        """
        leaves, structure = jax.tree.flatten(self)
        network: VGG = jax.tree.unflatten(structure, leaves)
        network.memory = check_choice("memory", memory, MEMORY_LEVELS)
        return network

    def __call__(self, image: Image, layers: Collection[str] | None = None) -> Features:
        """Return the named activations of one picture.

        Args:
            image: RGB, [0, 1].
            layers: names such as "relu4_2", "conv1_1" (before its ReLU) or "pool3"; all
                by default. Nothing behind the deepest is computed.

        Returns:
            The activations in the network's order, in the units of its weights, of the
            dtype that `precision` names.

        Raises:
            ValueError: if a layer is unknown, or the picture is too small for it.
        """
        wanted = set(self.layer_names if layers is None else layers)
        for name in wanted:
            check_choice("layers", name, self.layer_names)
        features: dict[str, Array] = {}
        x = self.prepare(image)
        for layer in self.architecture:
            if len(features) == len(wanted):
                break
            x = self.apply_layer(layer, x)
            if layer.name in wanted:
                features[layer.name] = x[0]
        return features

    def prepare(self, image: Image) -> Float[Array, "1 rows columns 3"]:
        """Return what the first layer sees of a picture, RGB, [0, 1]."""
        x = self.preprocessing(image)[None]
        if self.padding == "reflect":
            margin = (REFLECT_MARGIN, REFLECT_MARGIN)
            x = jnp.pad(x, ((0, 0), margin, margin, (0, 0)), mode="reflect")
        # Only here, where the mean is off: bfloat16 is finest around zero.
        return x if self.precision == "float32" else x.astype(self.precision)

    def apply_layer(
        self, layer: Layer, x: Float[Array, "1 _ _ _"]
    ) -> Float[Array, "1 _ _ _"]:
        """Return what one layer makes of the output of the one before it.

        Raises:
            ValueError: if nothing is left to pool.
        """
        if layer.kind == "conv":
            if layer.name == "conv1_1" and self.padding == "replicate":
                x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
            return getattr(self, layer.name)(x)
        if layer.kind == "relu":
            return jax.nn.relu(x)
        if min(x.shape[1:3]) < 2:
            raise ValueError(
                f"the picture is too small for {layer.name}: only {x.shape[2]} x "
                f"{x.shape[1]} values are left to pool."
            )
        return self._pool(x)

    def _pool(self, x: Float[Array, "1 h w c"]) -> Float[Array, "1 h2 w2 c"]:
        if self.pooling == "max":
            return max_pool(x)
        pooled = average_pool(x)
        return pooled * 2 if self.rescale_pooling else pooled
