"""The base class of all networks that a picture can be optimized on."""

import abc
import functools
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jaxnst._checks import check_choice
from jaxnst._types import Activations, FeatureMap, Features, Image
from jaxnst.config import NETWORK_MEMORY_LEVELS, PADDINGS, POOLINGS

from .architecture import Architecture, Layer, Preprocessing
from .convolution import Border, Convolution
from .devices import arithmetic_of, default_device, product_precision
from .layers import Window, pool_windows, rectify_fused, smooth
from .sharding import Rows, Spread, go_around, rows_of


# By how many pixels "reflect" continues the picture on every side. 4 are enough to keep
# rims of a pixel or two out of the result; 8 keep out the blotches behind them too.
_REFLECT_MARGIN = 8


class Network(nnx.Module, abc.ABC):
    """A frozen network whose call returns named activations.

    It is a pytree: pass it to `jax.jit`, `jax.grad` and `jax.vmap` as an argument, so
    that its weights are not baked into the compiled program.

    Args:
        architecture: layers of the network.
        preprocessing: preprocessing that its weights were trained with.
        pooling: "max", as trained, or "average", which Gatys et al. 2016 prefer for
            its smoother gradient.
        rescale_pooling: whether to multiply the average by 2, about the ratio of max to
            average pooling on real activations, which keeps deep layers at the scale
            they were trained at (Crowson; not in Gatys et al.). VGGs only.
        padding: values beyond the border. "reflect": the picture is extended by its
            mirror image by 8 pixels on every side, and the activations are those of the
            larger picture. "replicate": the first convolution sees the border pixels
            repeated, the others zeros (Crowson). "zeros": zeros, as trained, which the
            network sees as a frame. The last two leave a rim of wrong colors on some
            results. "circular": every convolution and pooling wraps around, as in a
            tiled plane. "circular_x" and "circular_y" wrap around horizontally or
            vertically, and use "reflect" in the other direction.
        memory: activations kept for the gradient: "fast" keeps all, "balanced" and
            "low" compute some or most of them again, see `jaxnst.networks.remat`.
        conv: "xla", "winograd", or "auto", which is Winograd's algorithm on a CPU for
            the layers where it is faster, see `jaxnst.networks.convolution`.
        precision: "float32"; "tf32", several times as fast on accelerators, with three
            digits in the factors of products; "bfloat16" and "float16", which halve the
            memory of weights and activations, and keep two or three digits; or "auto",
            the fastest of them that paints as well as float32, see
            `jaxnst.networks.devices`. Losses are always summed in float32.
        smoothing: "none", "log" or "softmax", applied to the activations that are
            returned, not inside the network, to reduce their peaks; see
            `jaxnst.networks.smooth`. Not for VGGs.
        rngs: random number generators of the initial weights.

    Raises:
        ValueError: if an option is unknown, the network does not support it, or `conv`
            is "winograd" and `precision` neither "auto" nor "float32".

    Attributes:
        platform: platform of the device that it was made or fitted for.
        arithmetic: `precision` on that device, never "auto"; see `fitted`.
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
        precision: str = "auto",
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
        self.memory = check_choice("memory", memory, NETWORK_MEMORY_LEVELS)
        self.conv = conv
        self.precision = precision
        self._decide(default_device(), allows_float16=False)
        self.smoothing = architecture.check_smoothing(smoothing)
        # Set by `jaxnst.networks.spread_network`, and for each picture by `over`.
        self.spread: Spread | None = None
        self.rows: Rows | None = None
        for shape in architecture.convolutions:
            convolution = Convolution(
                shape.in_width,
                shape.out_width,
                size=shape.size,
                stride=shape.stride,
                method=conv,
                precision=precision,
                rngs=rngs,
            )
            setattr(self, shape.name, convolution)

    def _decide(self, device: Any, *, allows_float16: bool) -> None:
        self.platform = device.platform
        self.arithmetic = arithmetic_of(
            self.precision, device, method=self.conv, allows_float16=allows_float16
        )

    def fitted(self, device: Any, *, allows_float16: bool = True) -> "Network":
        """Return the same network with "auto" decided for the device that paints.

        Only now "auto" may be float16: steps have the factor on the loss that it needs,
        which a network by itself lacks.

        Args:
            device: device of JAX that will run it.
            allows_float16: whether "auto" may be float16.
        """
        network = self.changed()
        # Pooled features that are scaled up would leave its range.
        allows_float16 = allows_float16 and not self.rescale_pooling
        network._decide(device, allows_float16=allows_float16)
        for shape in self.architecture.convolutions:
            if hasattr(network, shape.name):  # not cut off
                convolution: Convolution = getattr(network, shape.name)
                convolution.fit(device, self.precision, allows_float16=allows_float16)
        return network

    @property
    def product_precision(self) -> Any:
        """The precision of products of its activations, in XLA's terms."""
        return product_precision(self.arithmetic, self.platform)

    @property
    def wraps(self) -> tuple[bool, bool]:
        """Whether a picture wraps around, vertically and horizontally."""
        return (
            self.padding in ("circular", "circular_y"),
            self.padding in ("circular", "circular_x"),
        )

    def __repr__(self) -> str:
        names = ["pooling", "padding", "conv", "precision"]
        names += ["smoothing"] if self.smoothing != "none" else []
        options = [f"{name}={getattr(self, name)!r}" for name in names]
        return f"{type(self).__name__}({', '.join([self.architecture.name, *options])})"

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of all activations, in order."""
        return self.architecture.layer_names

    @property
    def num_devices(self) -> int:
        """The number of devices that it is sharded over."""
        return 1 if self.spread is None else self.spread.mesh.size

    def with_memory(self, memory: str) -> "Network":
        """Return the same network, weights shared, at another level of memory."""
        memory = check_choice("memory", memory, NETWORK_MEMORY_LEVELS)
        return self.changed(memory=memory)

    def changed(self, **attributes: Any) -> "Network":
        """Return the same network, weights shared, with other attributes."""
        leaves, structure = jax.tree.flatten(self)
        network: Network = jax.tree.unflatten(structure, leaves)
        for name, value in attributes.items():
            setattr(network, name, value)
        return network

    def over(self, image: Image) -> "Network":
        """Return the network with the layout of one picture on its devices.

        The network itself, if it is not sharded or the picture has too few rows.
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
            layers: some of `layer_names`; all by default. Layers after the deepest of
                them are not computed.

        Returns:
            {layer: activations} in the network's order, in 16 bits where `arithmetic`
            is. Rows of zeros may follow those of the picture if the network is sharded.

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

    def layer_shapes(
        self, shape: tuple[int, int], layers: Collection[str]
    ) -> dict[str, tuple[int, int]]:
        """Return {layer: height and width of its feature map}; nothing is computed.

        Args:
            shape: height and width of a picture.
            layers: some of `layer_names`.
        """
        image = jax.ShapeDtypeStruct((*shape, 3), jnp.float32)
        found = jax.eval_shape(lambda image: self(image, tuple(layers)), image)
        return {layer: found[layer].shape[:2] for layer in layers}

    @property
    def margins(self) -> tuple[int, int]:
        """The pixels that extend a picture, above and below, left and right."""
        if self.padding not in ("reflect", "circular_x", "circular_y"):
            return 0, 0
        down, across = self.wraps
        return 0 if down else _REFLECT_MARGIN, 0 if across else _REFLECT_MARGIN

    def prepare(self, image: Image) -> Activations:
        """Return the input of the first layer for a picture in RGB, [0, 1]."""
        x = self.preprocessing(image)[None]
        down, across = self.margins
        if down or across:
            around = ((0, 0), (down, down), (across, across), (0, 0))
            x = jnp.pad(x, around, mode="reflect")
        if self.arithmetic in ("bfloat16", "float16"):
            # Only after the mean is subtracted: they are finest around zero.
            x = x.astype(self.arithmetic)
        if self.rows is None:
            return x
        return self.rows.lay_out(x, use_edge=self.padding == "replicate")

    @abc.abstractmethod
    def apply_layer(self, layer: Layer, x: Activations) -> Activations:
        """Return the output of one layer.

        Args:
            layer: layer to compute.
            x: output of the layer before it.

        Raises:
            ValueError: if the picture is too small to be pooled.
        """

    def read(
        self, layer: Layer, x: Activations, wanted: Collection[str]
    ) -> dict[str, FeatureMap]:
        """Return the wanted activations among the output of a layer and its parts.

        Args:
            layer: computed layer.
            x: output of the layer.
            wanted: names of activations.
        """
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
        """Return the output of one convolution.

        Args:
            name: name of the convolution.
            x: input of the convolution.
        """
        convolution: Convolution = getattr(self, name)
        down, across = self.wraps
        vertical: Border = "circular" if down else "zeros"
        horizontal: Border = "circular" if across else "zeros"
        first = self.architecture.convolutions[0].name
        if self.padding == "replicate" and name == first:
            margin = convolution.kernel_shape[0] // 2
            around = (margin, margin)
            x = jnp.pad(x, ((0, 0), around, around, (0, 0)), mode="edge")
            vertical = horizontal = "none"
        if self.rows is not None and vertical == "circular":
            own = self.rows.own[x.shape[1]]
            return self.settle(go_around(convolution, x, own, horizontal))
        return self.settle(convolution(x, vertical=vertical, horizontal=horizontal))

    def rectify(self, x: Activations) -> Activations:
        """Return the output of a ReLU.

        Args:
            x: input of the ReLU.
        """
        return rectify_fused(x) if self.platform == "gpu" else jax.nn.relu(x)

    def settle(self, x: Activations) -> Activations:
        """Return the output of a layer, sharded if the network is."""
        return x if self.rows is None else self.rows.settle(x)

    def pool(self, layer: Layer, x: Activations, window: Window) -> Activations:
        """Return the output of a pooling.

        Args:
            layer: layer that pools, for messages.
            x: input of the pooling.
            window: size and stride of the pooling.

        Raises:
            ValueError: if the picture is too small to be pooled.
        """
        if not all(window.count(length) for length in x.shape[1:3]):
            raise ValueError(
                f"the picture is too small for {layer.name}: only {x.shape[2]} x "
                f"{x.shape[1]} values are left to pool."
            )
        num_rows = None if self.rows is None else self.rows.own[x.shape[1]]
        pooled = pool_windows(
            x, window, self.pooling, wraps=self.wraps, num_rows=num_rows
        )
        return self.settle(pooled)
