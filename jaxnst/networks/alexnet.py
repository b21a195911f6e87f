"""AlexNet as a feature extractor for metrics.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014
(the variant with one column that torchvision trained). It has only the five
convolutions.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxnst._types import Features, Image

from .architecture import Preprocessing


# Input and output channels, height and width of the kernel, stride, padding.
_CONVOLUTIONS = (
    (3, 64, 11, 4, 2),
    (64, 192, 5, 1, 2),
    (192, 384, 3, 1, 1),
    (384, 256, 3, 1, 1),
    (256, 256, 3, 1, 1),
)
# So many of them are followed by a 3 x 3 max pooling of stride 2.
_NUM_POOLED = 2
# The smallest side that leaves a pixel at relu5: 31, 7, 3, 1 pixels.
_MIN_SIDE = 31


class AlexNet(nnx.Module):
    """The convolutions of AlexNet; its call returns relu1 to relu5.

    It is a pytree: pass it to `jax.jit` and `jax.vmap` as an argument.

    Args:
        preprocessing: preprocessing that its weights were trained with.
        rngs: random number generators of the initial weights.
    """

    def __init__(self, *, preprocessing: Preprocessing, rngs: nnx.Rngs):
        self.preprocessing = preprocessing
        for name, (read, written, size, stride, padding) in zip(
            self.layer_names, _CONVOLUTIONS, strict=True
        ):
            conv = nnx.Conv(
                read,
                written,
                kernel_size=(size, size),
                strides=(stride, stride),
                padding=padding,
                # As in `VGG`: the same numbers on every device.
                precision=jax.lax.Precision.HIGHEST,
                rngs=rngs,
            )
            setattr(self, name.replace("relu", "conv"), conv)

    def __repr__(self) -> str:
        return "AlexNet()"

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of all activations, in order."""
        return tuple(f"relu{k}" for k in range(1, len(_CONVOLUTIONS) + 1))

    def __call__(self, image: Image) -> Features:
        """Return the activations of one picture after every ReLU.

        Args:
            image: RGB, [0, 1].

        Returns:
            relu1 to relu5, with 64, 192, 384, 256 and 256 channels; relu1 has a quarter
            of the picture's height and width, relu3 to relu5 a sixteenth.

        Raises:
            ValueError: if a side is shorter than 31 pixels.
        """
        height, width = image.shape[:2]
        if min(height, width) < _MIN_SIDE:
            raise ValueError(
                f"a picture of {width} x {height} px is too small for AlexNet, which "
                f"needs {_MIN_SIDE} px in both directions."
            )
        features: dict[str, Array] = {}
        x = self.preprocessing(image)[None]
        for name in self.layer_names:
            x = jax.nn.relu(getattr(self, name.replace("relu", "conv"))(x))
            features[name] = x[0]
            if len(features) <= _NUM_POOLED:
                x = nnx.max_pool(x, (3, 3), strides=(2, 2))
        return features


class LPIPSNetwork(NamedTuple):
    """AlexNet and the weights of LPIPS.

    Attributes:
        network: feature extractor.
        heads: {layer: weight of each channel in LPIPS, 0 or more}.
    """

    network: AlexNet
    heads: Mapping[str, Float[Array, " _"]]
