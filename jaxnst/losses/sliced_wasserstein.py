"""Sliced Wasserstein distance between two clouds of features.

Projected on one direction, the Wasserstein distance of two clouds is the mean
difference of their quantiles. Averaged over directions it tells any two clouds apart
(Rabin, Peyré, Delon, Bernot, "Wasserstein Barycenter and its Application to Texture
Mixing", 2011).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnst._types import FeatureMap, Scalar

from .numerics import points_of, smooth_root


# Fixed, so that pictures of different sizes can be compared.
NUM_QUANTILES = 256
# Of more points a subset is taken, because sorting takes most of the time.
MAX_POINTS = 2**15
_SEED = 0


def projection_directions(
    num_channels: int, num_directions: int
) -> Float[np.ndarray, "num_channels num_directions"]:
    """Return random unit vectors, the same for every call and on every device.

    Args:
        num_channels: length of the vectors.
        num_directions: number of vectors.
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
        points: one or more points; of more than 32768 that many, evenly spread, are
            used.
        directions: vectors of length 1.

    Returns:
        256 quantiles, at (k + 1/2) / 256, interpolated linearly; for 256 points they
        are the sorted points themselves.
    """
    if points.shape[0] > MAX_POINTS:
        points = points[_picks(points.shape[0])]
    # HIGHEST: see `jaxnst.networks.convolution`.
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
    # One random pixel out of every stretch of equal length: spread over the whole
    # picture, but not in step with any pattern in it.
    jitter = np.random.default_rng(_SEED).random(MAX_POINTS)
    places = (np.arange(MAX_POINTS) + jitter) * (num_points / MAX_POINTS)
    return np.minimum(places.astype(np.int64), num_points - 1).astype(np.int32)


# With more directions, sorting takes longer than the network.
_MAX_DIRECTIONS = 64

Quantiles = Float[Array, "directions quantiles"]


def style_quantiles(features: FeatureMap) -> Quantiles:
    """Return the quantiles of a style picture's features along fixed directions."""
    points = points_of(features)
    return sliced_quantiles(points, _directions(points.shape[1]))


def sliced_error(
    features: FeatureMap,
    target: Quantiles,
    guide: Float[Array, "rows columns"] | None = None,
) -> Scalar:
    r"""Return the squared sliced 2-Wasserstein distance to a style's quantiles.

    $$ \frac{1}{D} \sum_d \frac{1}{N} \sum_i (p_{di} - q_d(u_{di}))^2 $$

    where $p_{di}$ is pixel i projected on direction d, $u_{di}$ its rank,
    from 0 to 1, and $q_d$ the style's quantile at that rank. The whole
    distribution is compared, not only its first two moments, so rare features, such as
    small bright dots or single black lines, become as frequent as in the style.

    Args:
        features: activations of the image, at one layer, all of its pixels.
        target: result of `style_quantiles`, at the same layer.
        guide: weight of every pixel, 0 or more; by default 1.

    Returns:
        0 or more, in squared feature units.

    References:
        Heitz, Vanhoey, Chambon, Belcour, "A Sliced Wasserstein Loss for Neural Texture
        Synthesis", CVPR 2021, eq. 5. Differs from it: at most 64 directions, which stay
        the same; the paper draws as many as channels anew in every step.
    """
    points = points_of(features)
    directions = _directions(points.shape[1])
    projected = jnp.matmul(directions.T, points.T, precision=jax.lax.Precision.HIGHEST)
    shares = jnp.ones(points.shape[0]) if guide is None else guide.reshape(-1)
    shares = shares / jnp.maximum(jnp.sum(shares), jnp.finfo(shares.dtype).tiny)
    goals = _quantiles_at(jax.lax.stop_gradient(projected), target, shares)
    return jnp.mean(jnp.sum(shares[None] * jnp.square(projected - goals), axis=1))


def sliced_distance(
    error: Scalar, target: Quantiles, *, smoothing: float = 5e-3
) -> Scalar:
    """Return the root of `sliced_error`, smooth at zero.

    Args:
        error: result of `sliced_error`.
        target: quantiles that `error` was computed with.
        smoothing: fraction of the target's norm below which the distance is a parabola.
    """
    return smooth_root(error, jnp.mean(jnp.square(target)), smoothing)


def _directions(width: int) -> Array:
    return jnp.asarray(projection_directions(width, min(width, _MAX_DIRECTIONS)))


def _quantiles_at(
    projected: Float[Array, "directions points"],
    target: Quantiles,
    shares: Float[Array, " points"],
) -> Float[Array, "directions points"]:
    """Return the style's quantile at the rank of every point."""
    order = jnp.argsort(projected, axis=1)
    below = jnp.cumsum(shares[order], axis=1) - shares[order] / 2
    places = jnp.clip(below * NUM_QUANTILES - 0.5, 0, NUM_QUANTILES - 1)
    first = jnp.floor(places).astype(jnp.int32)
    part = places - first
    second = jnp.minimum(first + 1, NUM_QUANTILES - 1)
    low = jnp.take_along_axis(target, first, axis=1)
    high = jnp.take_along_axis(target, second, axis=1)
    ordered = low * (1 - part) + high * part
    # TPUs scatter value by value.
    return jax.lax.platform_dependent(
        order, ordered, tpu=_unsort_by_sorting, default=_unsort
    )


def _unsort(
    order: Int[Array, "directions points"], ordered: Float[Array, "directions points"]
) -> Float[Array, "directions points"]:
    """Return values, given from the lowest point on, in the order of the points."""
    places = jnp.arange(order.shape[0])[:, None]
    return jnp.zeros_like(ordered).at[places, order].set(ordered, unique_indices=True)


def _unsort_by_sorting(
    order: Int[Array, "directions points"], ordered: Float[Array, "directions points"]
) -> Float[Array, "directions points"]:
    return jax.lax.sort((order, ordered), dimension=1, num_keys=1)[1]
