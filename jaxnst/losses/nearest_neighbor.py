"""Distance of every feature from the nearest feature of the style picture."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnst._types import FeatureMap, Scalar

from .numerics import points_of


# At most so many pixels of a layer times samples: comparing more takes longer than the
# network. Shallow layers, which have most pixels, need the fewest samples.
_MAX_PAIRS = 2**26
_MAX_SAMPLES = 4096
_MIN_SAMPLES = 64
# Number of similarities held at a time: as many as a CPU has room for in its caches,
# and enough for an accelerator to be busy.
_MAX_HELD = 2**22
_MAX_HELD_ELSEWHERE = 2**26


class Samples(NamedTuple):
    """Features of a style picture.

    Attributes:
        center: mean of the features.
        unit: differences of the features from the mean, scaled to length 1.
    """

    center: Float[Array, " channels"]
    unit: Float[Array, "samples channels"]


def style_samples(features: FeatureMap) -> Float[Array, "samples channels"]:
    """Return features of a style picture at random pixels, the same for every call.

    Args:
        features: activations of one layer, at least one pixel.

    Returns:
        Up to 4096 features. Of large feature maps fewer, but at least 64, so that all
        pixels can be compared with all samples.
    """
    flat = points_of(features)
    places = sample_places(flat.shape[0])
    return flat if len(places) == len(flat) else flat[places]


def sample_places(num_pixels: int) -> Int[np.ndarray, " samples"]:
    """Return the pixels that `style_samples` takes, counted row by row.

    Args:
        num_pixels: number of pixels of the feature map, 1 or more.
    """
    count = max(_MIN_SAMPLES, min(_MAX_SAMPLES, _MAX_PAIRS // num_pixels))
    if count >= num_pixels:
        return np.arange(num_pixels, dtype=np.int32)
    generator = np.random.default_rng(0)
    places = np.sort(generator.choice(num_pixels, count, replace=False))
    return places.astype(np.int32)


def center_samples(samples: Float[Array, "samples channels"]) -> Samples:
    """Return the target of `neighbor_error` from features such as `style_samples`."""
    center = jnp.mean(samples, axis=0)
    return Samples(center, unit_samples(samples - center[None]))


def neighbor_error(
    features: FeatureMap,
    target: Samples,
    guide: Float[Array, "rows columns"] | None = None,
) -> Scalar:
    r"""Return the mean cosine distance of features to the nearest of the style.

    $$
    \frac{1}{N} \sum_i \min_j\,
    \Big(1 - \frac{\langle f_i - m, s_j - m\rangle}{|f_i - m|\,|s_j - m|}\Big)
    $$

    Every pixel is drawn to one feature of the style picture, never to a mixture.
    Strokes are crisp and follow the content's shapes. How often each feature occurs is
    left free, so the style's composition and balance of colors are not transferred.

    Args:
        features: activations of the image, at one layer.
        target: result of `center_samples`, at the same layer; m is its center.
        guide: weight of every pixel, 0 or more; by default 1. The weighted distances
            are still divided by the number of all pixels.

    Returns:
        Between 0 and 2.

    References:
        Kolkin, Kucera, Paris, Sykora, Shechtman, Sunkavalli, "Neural Neighbor Style
        Transfer", 2022, section 3; Zhang et al., "ARF: Artistic Radiance Fields", ECCV
        2022, eq. 2 (the same without centers). Differs from them: both features
        are centered by the mean of the style.
    """
    flat = points_of(features)
    own = unit_samples(flat - target.center[None])
    nearest = target.unit[nearest_samples(jax.lax.stop_gradient(own), target.unit)]
    distances = 1 - jnp.sum(own * nearest, axis=1)
    if guide is not None:
        distances = guide.reshape(-1) * distances
    return jnp.mean(distances)


def unit_samples(x: Float[Array, "points channels"]) -> Float[Array, "points channels"]:
    """Return features scaled to length 1; those of length 0 stay 0."""
    # The small terms keep this smooth at length 0, which has no direction.
    squares = jnp.sum(jnp.square(x), axis=1, keepdims=True)
    return x * jax.lax.rsqrt(squares + 1e-6 * jnp.mean(squares) + 1e-30)


def nearest_samples(
    own: Float[Array, "points channels"], samples: Float[Array, "samples channels"]
) -> Int[Array, " points"]:
    """Return the index of the sample most similar to each feature, all of length 1."""
    return jax.lax.platform_dependent(
        own,
        samples,
        cpu=functools.partial(_nearest, max_held=_MAX_HELD),
        default=functools.partial(_nearest, max_held=_MAX_HELD_ELSEWHERE),
    )


def _nearest(
    own: Float[Array, "points channels"],
    samples: Float[Array, "samples channels"],
    max_held: int,
) -> Int[Array, " points"]:
    def find(point: Float[Array, " channels"]) -> Int[Array, ""]:
        similar = jnp.matmul(samples, point, precision=jax.lax.Precision.HIGHEST)
        return jnp.argmax(similar).astype(jnp.int32)

    held = max(1, max_held // samples.shape[0])
    return jax.lax.map(find, own, batch_size=min(held, own.shape[0]))
