"""The style losses by name, in the one form in which the objective uses them.

What a style loss is told of a picture, its statistics, is measured layer by layer, for
each region of the picture by itself. All functions of one loss agree on two forms of
data that nobody else looks into: what a style picture is described by, and what its
target, of one or several style pictures, looks like.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnst._types import FeatureMap, Scalar, Scalars

from . import (
    Gaussian,
    Moments,
    center_samples,
    channel_moments,
    fit_gaussian,
    gaussian_target,
    gram_distance,
    gram_matrix,
    moments_distance,
    neighbor_error,
    sliced_distance,
    sliced_error,
    style_quantiles,
    style_samples,
    wasserstein_distance,
)


# What every pixel of a feature map counts for, in one region.
Guide = Float[Array, "rows columns"]


class StyleLoss(NamedTuple):
    """A style loss.

    Attributes:
        describe_fn: (feature map of a style picture) -> its description.
        combine_fn: (descriptions, what each counts for) -> target.
        measure_fn: (feature map of the picture, guide or None, target) -> statistics;
            weighted by the guide, but a mean over all pixels.
        distance_fn: (statistics, target, smoothing) -> how far it is, 0 at the target;
            in the units of `size_fn`, and smooth below that part of it.
        size_fn: (target) -> of the style itself.
        describes_means: whether a description is a mean over pixels.
        measures_means: whether statistics are. If not, `measure_fn` needs all pixels of
            a picture at once, and divides by the guide itself.
    """

    describe_fn: Callable[[FeatureMap], Any]
    combine_fn: Callable[[Sequence[Any], Scalars], Any]
    measure_fn: Callable[[FeatureMap, Guide | None, Any], Any]
    distance_fn: Callable[[Any, Any, float], Scalar]
    size_fn: Callable[[Any], Scalar]
    describes_means: bool = True
    measures_means: bool = True


def _mean(descriptions: Sequence[Any], shares: Scalars) -> Any:
    """Return the weighted mean, leaf by leaf."""

    def mix(*leaves: Array) -> Array:
        total = shares[0] * leaves[0]
        for share, leaf in zip(shares[1:], leaves[1:], strict=True):
            total = total + share * leaf
        return total

    return jax.tree.map(mix, *descriptions)


def _mean_moments(descriptions: Sequence[Moments], shares: Scalars) -> Moments:
    """Return means and standard deviations between those of the styles."""
    if len(descriptions) == 1:
        return descriptions[0]
    pairs = [
        (each.mean, jnp.sqrt(jnp.maximum(each.square - jnp.square(each.mean), 0)))
        for each in descriptions
    ]
    mean, spread = _mean(pairs, shares)
    return Moments(mean, jnp.square(mean) + jnp.square(spread))


def _pick_samples(descriptions: Sequence[Array], shares: Scalars) -> Any:
    """Return features of all styles, of each as many as it counts for."""
    if len(descriptions) == 1:
        return center_samples(descriptions[0])
    count = max(each.shape[0] for each in descriptions)
    ends = jnp.cumsum(shares) / jnp.sum(shares)
    slots = (jnp.arange(count) + 0.5) / count
    which = jnp.minimum(jnp.searchsorted(ends, slots), len(descriptions) - 1)
    starts = jnp.concatenate([jnp.zeros(1), ends[:-1]])
    inside = (slots - starts[which]) / jnp.maximum(ends - starts, 1e-9)[which]
    counts = jnp.asarray([each.shape[0] for each in descriptions], jnp.float32)
    places = jnp.floor(inside * counts[which]).astype(jnp.int32)
    places = jnp.clip(places, 0, counts[which].astype(jnp.int32) - 1)
    firsts = jnp.cumsum(counts.astype(jnp.int32)) - counts.astype(jnp.int32)
    return center_samples(jnp.concatenate(descriptions)[firsts[which] + places])


def _measure_gram(features: FeatureMap, guide: Guide | None, target: Any) -> Any:
    del target
    if guide is not None:  # the root, as it is multiplied with itself
        features = features * jnp.sqrt(guide)[..., None].astype(features.dtype)
    return gram_matrix(features)


def _measure_moments(features: FeatureMap, guide: Guide | None, target: Any) -> Any:
    del target
    if guide is None:
        return channel_moments(features)
    x = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    weighted = guide[..., None] * x
    return Moments(jnp.mean(weighted, (0, 1)), jnp.mean(weighted * x, (0, 1)))


def _measure_gaussian(features: FeatureMap, guide: Guide | None, target: Any) -> Any:
    if guide is None:
        return fit_gaussian(features)
    mean = _measure_moments(features, guide, target).mean
    return Gaussian(mean, _measure_gram(features, guide, target))


def _smoothed(
    distance_fn: Callable[..., Scalar],
) -> Callable[[Any, Any, float], Scalar]:
    def distance(found: Any, target: Any, smoothing: float) -> Scalar:
        return distance_fn(found, target, smoothing=smoothing)

    return distance


STYLE_LOSSES: Mapping[str, StyleLoss] = MappingProxyType(
    {
        "gram": StyleLoss(
            gram_matrix,
            _mean,
            _measure_gram,
            _smoothed(gram_distance),
            lambda target: jnp.sqrt(jnp.sum(jnp.square(target))),
        ),
        "moments": StyleLoss(
            channel_moments,
            _mean_moments,
            _measure_moments,
            _smoothed(moments_distance),
            lambda target: jnp.sqrt(jnp.sum(target.square)),
        ),
        "wasserstein": StyleLoss(
            fit_gaussian,
            lambda descriptions, shares: gaussian_target(_mean(descriptions, shares)),
            _measure_gaussian,
            _smoothed(wasserstein_distance),
            lambda target: jnp.sqrt(target.size),
        ),
        "sliced_wasserstein": StyleLoss(
            style_quantiles,
            _mean,
            lambda features, guide, target: sliced_error(features, target, guide),
            _smoothed(sliced_distance),
            lambda target: jnp.sqrt(jnp.mean(jnp.square(target))),
            describes_means=False,
            measures_means=False,
        ),
        "nearest_neighbor": StyleLoss(
            style_samples,
            _pick_samples,
            lambda features, guide, target: neighbor_error(features, target, guide),
            lambda error, target, smoothing: error,
            lambda target: jnp.ones(()),
            describes_means=False,
        ),
    }
)
# Those that measure parts of a picture as well as all of it; see `StyleLoss`.
PARTWISE = tuple(name for name, loss in STYLE_LOSSES.items() if loss.measures_means)
# Below this part of the target's size a distance is a parabola.
SMOOTHING = 5e-3


def measure_region(
    name: str,
    guide: Float[Array, "_ _"] | None,
    target: Any,
    features: FeatureMap,
    rows: slice | tuple[slice, slice],
) -> Any:
    """Return the statistics of one region of some rows of a picture.

    Args:
        name: of the style loss.
        guide: what every pixel of the whole picture counts for; None: all the same.
        target: of the region.
        features: of the rows.
        rows: which they are.
    """
    own = None if guide is None else guide[rows]
    return STYLE_LOSSES[name].measure_fn(features, own, target)


def region_distance(
    name: str,
    statistics: Any,
    guide: Float[Array, "_ _"] | None,
    target: Any,
    smoothing: float = SMOOTHING,
) -> Scalar:
    """Return how far a region is from its target.

    Args:
        name: of the style loss.
        statistics: of `measure_region`, of all rows.
        guide: as there.
        target: likewise.
        smoothing: see `StyleLoss`.
    """
    loss = STYLE_LOSSES[name]
    if guide is not None and loss.measures_means:
        # The mean over the region, from that over the whole picture.
        part = jnp.maximum(jnp.mean(guide), jnp.finfo(guide.dtype).tiny)
        statistics = jax.tree.map(lambda leaf: leaf / part, statistics)
    return loss.distance_fn(statistics, target, smoothing)
