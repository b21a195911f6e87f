"""What a network was fed in training, so that it is fed the same here."""

import dataclasses
from typing import Literal

import jax.numpy as jnp

from jaxnst._types import Image


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
