"""Array types: shapes and dtypes with the names of their axes.

Pictures are RGB, float32, [0, 1], height x width x channels, without a batch axis;
batches are made with `jax.vmap`.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Bool, Float, Int


Image = Float[Array, "height width 3"]
# The style picture has its own size.
StyleImage = Float[Array, "style_height style_width 3"]
# Several pictures differ in shape, so their axes have no common names.
AnyImage = Float[Array, "_ _ 3"]
# A feature map inside of a network, with its batch of one.
Activations = Float[Array, "1 _ _ _"]
FeatureMap = Float[Array, "rows columns channels"]
GramMatrix = Float[Array, "channels channels"]
Scalar = Float[Array, ""]
Scalars = Float[Array, " steps"]
Flag = Bool[Array, ""]
Count = Int[Array, ""]
# The layers of one picture differ in shape, so their axes have no common names.
Features = Mapping[str, Float[Array, "_ _ _"]]

HostImage = Float[np.ndarray, "height width 3"]
HostStyleImage = Float[np.ndarray, "style_height style_width 3"]
AnyHostImage = Float[np.ndarray, "_ _ 3"]
HostAlpha = Float[np.ndarray, "height width"]
HostNumbers = Float[np.ndarray, " numbers"]
