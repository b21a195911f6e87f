"""The vocabulary of shapes.

Pictures are RGB, float32, [0, 1], height x width x channels, without a batch axis;
batches are made with `jax.vmap`.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Bool, Float, Shaped


Image = Float[Array, "height width 3"]
FeatureMap = Float[Array, "height width channels"]
GramMatrix = Float[Array, "channels channels"]
Scalar = Float[Array, ""]
Flag = Bool[Array, ""]
Features = Mapping[str, FeatureMap]

HostImage = Float[np.ndarray, "height width 3"]
HostAlpha = Float[np.ndarray, "height width"]
AnyArray = Shaped[np.ndarray | Array, "..."]
