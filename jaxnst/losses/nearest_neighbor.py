"""How far every feature is from the nearest one of the painting."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnst._types import FeatureMap, Scalar


# Pixels of the picture times features of the painting: beyond, comparing them takes
# longer than the network. Shallow layers have more pixels, and less to tell apart.
_MAX_PAIRS = 2**26
_MAX_SAMPLES = 4096
_MIN_SAMPLES = 64
# So many similarities are held at a time.
_MAX_HELD = 2**22
_SEED = 0


class Samples(NamedTuple):
    """Features of a painting.

    Attributes:
        center: their mean.
        unit: what they are apart from it, of length 1.
    """

    center: Float[Array, " channels"]
    unit: Float[Array, "samples channels"]


def style_samples(features: FeatureMap) -> Float[Array, "samples channels"]:
    """Return features of a style picture, from random places that are always the same.

    Args:
        features: activations of one layer, of at least one pixel.

    Returns:
        At most 4096; fewer, but at least 64, where there are so many pixels that each
        could else not be compared with each.
    """
    flat = features.reshape(-1, features.shape[-1])
    flat = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
    num_pixels = flat.shape[0]
    count = max(_MIN_SAMPLES, min(_MAX_SAMPLES, _MAX_PAIRS // num_pixels))
    if count >= num_pixels:
        return flat
    generator = np.random.default_rng(_SEED)
    places = np.sort(generator.choice(num_pixels, count, replace=False))
    return flat[places.astype(np.int32)]


def center_samples(samples: Float[Array, "samples channels"]) -> Samples:
    """Return features as `neighbor_error` compares them."""
    center = jnp.mean(samples, axis=0)
    return Samples(center, unit_samples(samples - center[None]))


def neighbor_error(
    features: FeatureMap,
    target: Samples,
    guide: Float[Array, "rows columns"] | None = None,
) -> Scalar:
    r"""Mean cosine distance of every feature to the nearest one of the painting.

    .. math:: \frac{1}{N} \sum_i \min_j\,
        \Big(1 - \frac{\langle f_i - m, s_j - m\rangle}{|f_i - m|\,|s_j - m|}\Big)

    Every place takes on a feature that the painting has, whole, and nothing in
    between. Strokes are crisp and follow the photograph's shapes; how often a feature
    comes is left free, so the painting's composition and balance of colors are not.

    Args:
        features: activations of the picture, at one layer.
        target: of `center_samples`, at the same layer; m is its center.
        guide: what every pixel counts for, 0 or more, in place of 1; the mean is over
            all pixels nevertheless.

    Returns:
        Between 0 and 2.

    References:
        Kolkin, Kucera, Paris, Sykora, Shechtman, Sunkavalli, "Neural Neighbor Style
        Transfer", 2022, section 3; Zhang et al., "ARF: Artistic Radiance Fields", ECCV
        2022, eq. 2 (the same without centers). Differs from them: centered by the
        painting's mean for both.
    """
    flat = features.reshape(-1, features.shape[-1])
    flat = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
    own = unit_samples(flat - target.center[None])
    nearest = target.unit[nearest_samples(jax.lax.stop_gradient(own), target.unit)]
    distances = 1 - jnp.sum(own * nearest, axis=1)
    if guide is not None:
        distances = guide.reshape(-1) * distances
    return jnp.mean(distances)


def unit_samples(x: Float[Array, "points channels"]) -> Float[Array, "points channels"]:
    """Return features of length 1, those of length 0 aside."""
    # A feature at the center has no direction; it may have any, smoothly.
    squares = jnp.sum(jnp.square(x), axis=1, keepdims=True)
    return x * jax.lax.rsqrt(squares + 1e-6 * jnp.mean(squares) + 1e-30)


def nearest_samples(
    own: Float[Array, "points channels"], samples: Float[Array, "samples channels"]
) -> Int[Array, " points"]:
    """Return which sample is most similar to every point."""
    num_points = own.shape[0]
    held = max(1, min(num_points, _MAX_HELD // samples.shape[0]))
    num_parts = -(-num_points // held)
    padded = jnp.pad(own, ((0, num_parts * held - num_points), (0, 0)))

    def find(part: Float[Array, "held channels"]) -> Int[Array, " held"]:
        similar = jnp.matmul(part, samples.T, precision=jax.lax.Precision.HIGHEST)
        return jnp.argmax(similar, axis=1).astype(jnp.int32)

    found = jax.lax.map(find, padded.reshape(num_parts, held, -1))
    return found.reshape(-1)[:num_points]
