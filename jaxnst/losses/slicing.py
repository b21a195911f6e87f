"""Distance of two clouds of points, seen along many directions.

Along one direction the Wasserstein distance of two clouds is the mean difference of
their quantiles; averaged over directions it tells any two clouds apart (Rabin, Peyré,
Delon, Bernot, "Wasserstein Barycenter and its Application to Texture Mixing", 2011).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


# So many quantiles are compared, whatever the number of points: two pictures of one
# texture need not have one size.
NUM_QUANTILES = 256
# Of more points some are picked, since sorting is what takes the time.
MAX_POINTS = 2**15
_SEED = 0


def projection_directions(
    num_channels: int, num_directions: int
) -> Float[np.ndarray, "num_channels num_directions"]:
    """Return unit vectors in all directions, always the same.

    NumPy draws them, so that every device measures along the same ones.
    """
    generator = np.random.default_rng(_SEED)
    directions = generator.standard_normal((num_channels, num_directions))
    directions /= np.linalg.norm(directions, axis=0, keepdims=True)
    return directions.astype(np.float32)


def sliced_quantiles(
    points: Float[Array, "num_points num_channels"],
    directions: Float[Array | np.ndarray, "num_channels num_directions"],
) -> Float[Array, "num_directions quantiles"]:
    """Return the quantiles of a cloud along every direction.

    Args:
        points: at least one; of more than 32768 so many are used, evenly spread.
        directions: of length 1.

    Returns:
        256 quantiles, at (k + 1/2) / 256, linear between the points; for 256 points
        these are the sorted points themselves.
    """
    if points.shape[0] > MAX_POINTS:
        points = points[_picks(points.shape[0])]
    # HIGHEST: see `jaxnst.networks.vgg`.
    projected = jnp.matmul(
        jnp.asarray(directions).T, points.T, precision=jax.lax.Precision.HIGHEST
    )
    ordered = jnp.sort(projected, axis=-1)
    last = points.shape[0] - 1
    levels = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    places = np.clip(levels * (last + 1) - 0.5, 0, last)
    below = np.floor(places).astype(np.int32)
    part = jnp.asarray(places - below, jnp.float32)[None]
    above = np.minimum(below + 1, last)
    return ordered[:, below] * (1 - part) + ordered[:, above] * part


def _picks(num_points: int) -> np.ndarray:
    # One at a random place of each of equal stretches: spread over the whole picture,
    # and out of step with any pattern in it.
    jitter = np.random.default_rng(_SEED).random(MAX_POINTS)
    places = (np.arange(MAX_POINTS) + jitter) * (num_points / MAX_POINTS)
    return np.minimum(places.astype(np.int64), num_points - 1).astype(np.int32)
