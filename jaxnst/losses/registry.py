"""The style losses by name, in the one form in which the objective uses them.

The statistics of an image that a style loss looks at are computed layer by layer, and
in each region by themselves. The functions of one loss agree on two forms of data that
nothing else looks into: the description of a style picture, and the target, which is
made from the descriptions of one or several style pictures.

To add a style loss, add a `StyleLoss` to `STYLE_LOSSES`.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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
    sample_places,
    sliced_distance,
    sliced_error,
    style_quantiles,
    style_samples,
    wasserstein_distance,
)
from .numerics import widen


# The weight of every pixel of a feature map in one region.
Guide = Float[Array, "rows columns"]


class StyleLoss(NamedTuple):
    """A style loss.

    Attributes:
        describe_fn: (feature map of a style picture) -> its description.
        combine_fn: (descriptions, weight of each) -> target.
        statistics_fn: (feature map of the image, guide or None, target) -> statistics;
            pixels are weighted by the guide, but the mean is over all of them.
        distance_fn: (statistics, target, smoothing=) -> distance, 0 at the target, in
            the units of `size_fn`; smooth below `smoothing` times the size.
        size_fn: (target) -> size of the statistics themselves.
        descriptions_are_means: whether a description is a mean over pixels.
        statistics_are_means: whether the statistics are a mean over pixels. If not,
            `statistics_fn` needs all pixels at once, and divides by the guide itself.
        places_fn: (number of pixels) -> the pixels whose features are the description;
            None if it is made of all.
        takes_precision: whether `statistics_fn` takes `precision`, that of a product of
            activations. The products of other losses are in float32.
    """

    describe_fn: Callable[[FeatureMap], Any]
    combine_fn: Callable[[Sequence[Any], Scalars], Any]
    statistics_fn: Callable[[FeatureMap, Guide | None, Any], Any]
    distance_fn: Callable[..., Scalar]
    size_fn: Callable[[Any], Scalar]
    descriptions_are_means: bool = True
    statistics_are_means: bool = True
    places_fn: Callable[[int], np.ndarray] | None = None
    takes_precision: bool = False


def _mean(descriptions: Sequence[Any], weights: Scalars) -> Any:
    """Return the weighted mean of the descriptions, leaf by leaf."""

    def mix(*leaves: Array) -> Array:
        total = weights[0] * leaves[0]
        for weight, leaf in zip(weights[1:], leaves[1:], strict=True):
            total = total + weight * leaf
        return total

    return jax.tree.map(mix, *descriptions)


def _mean_moments(descriptions: Sequence[Moments], weights: Scalars) -> Moments:
    """Return the weighted mean of means and of standard deviations."""
    if len(descriptions) == 1:
        return descriptions[0]
    pairs = [
        (each.mean, jnp.sqrt(jnp.maximum(each.square - jnp.square(each.mean), 0)))
        for each in descriptions
    ]
    mean, spread = _mean(pairs, weights)
    return Moments(mean, jnp.square(mean) + jnp.square(spread))


def _pick_samples(descriptions: Sequence[Array], weights: Scalars) -> Any:
    """Return features of all styles, as many of each as its weight says."""
    if len(descriptions) == 1:
        return center_samples(descriptions[0])
    count = max(each.shape[0] for each in descriptions)
    ends = jnp.cumsum(weights) / jnp.sum(weights)
    slots = (jnp.arange(count) + 0.5) / count
    which = jnp.minimum(jnp.searchsorted(ends, slots), len(descriptions) - 1)
    starts = jnp.concatenate([jnp.zeros(1), ends[:-1]])
    inside = (slots - starts[which]) / jnp.maximum(ends - starts, 1e-9)[which]
    counts = jnp.asarray([each.shape[0] for each in descriptions], jnp.float32)
    places = jnp.floor(inside * counts[which]).astype(jnp.int32)
    places = jnp.clip(places, 0, counts[which].astype(jnp.int32) - 1)
    firsts = jnp.cumsum(counts.astype(jnp.int32)) - counts.astype(jnp.int32)
    return center_samples(jnp.concatenate(descriptions)[firsts[which] + places])


def _gram_statistics(
    features: FeatureMap,
    guide: Guide | None,
    _: Any,
    precision: Any = jax.lax.Precision.HIGHEST,
) -> Any:
    if guide is not None:  # the root, because the Gram matrix squares it
        features = features * jnp.sqrt(guide)[..., None].astype(features.dtype)
    return gram_matrix(features, precision=precision)


def _moments_statistics(features: FeatureMap, guide: Guide | None, _: Any) -> Any:
    if guide is None:
        return channel_moments(features)
    x = widen(features)
    weighted = guide[..., None] * x
    return Moments(jnp.mean(weighted, (0, 1)), jnp.mean(weighted * x, (0, 1)))


def _gaussian_statistics(features: FeatureMap, guide: Guide | None, target: Any) -> Any:
    if guide is None:
        return fit_gaussian(features)
    mean = _moments_statistics(features, guide, target).mean
    return Gaussian(mean, _gram_statistics(features, guide, target))


STYLE_LOSSES: Mapping[str, StyleLoss] = MappingProxyType(
    {
        "gram": StyleLoss(
            gram_matrix,
            _mean,
            _gram_statistics,
            gram_distance,
            lambda target: jnp.sqrt(jnp.sum(jnp.square(target))),
            takes_precision=True,
        ),
        "moments": StyleLoss(
            channel_moments,
            _mean_moments,
            _moments_statistics,
            moments_distance,
            lambda target: jnp.sqrt(jnp.sum(target.square)),
        ),
        "wasserstein": StyleLoss(
            fit_gaussian,
            lambda descriptions, weights: gaussian_target(_mean(descriptions, weights)),
            _gaussian_statistics,
            wasserstein_distance,
            lambda target: jnp.sqrt(target.size),
        ),
        "sliced_wasserstein": StyleLoss(
            style_quantiles,
            _mean,
            lambda features, guide, target: sliced_error(features, target, guide),
            sliced_distance,
            lambda target: jnp.sqrt(jnp.mean(jnp.square(target))),
            descriptions_are_means=False,
            statistics_are_means=False,
        ),
        "nearest_neighbor": StyleLoss(
            style_samples,
            _pick_samples,
            lambda features, guide, target: neighbor_error(features, target, guide),
            lambda error, target, smoothing: error,
            lambda target: jnp.ones(()),
            descriptions_are_means=False,
            places_fn=sample_places,
        ),
    }
)
# Losses that can be computed strip by strip; see `StyleLoss.statistics_are_means`.
PARTWISE = tuple(
    name for name, loss in STYLE_LOSSES.items() if loss.statistics_are_means
)


def region_distance(
    name: str,
    statistics: Any,
    guide: Float[Array, "_ _"] | None,
    target: Any,
    smoothing: float = 5e-3,
) -> Scalar:
    """Return the distance of a region from its target, 0 or more.

    `statistics` are averaged over all rows, and `guide` is that of the whole feature
    map. Below a fraction `smoothing` of the target's size, the distance is a parabola.
    """
    loss = STYLE_LOSSES[name]
    if guide is not None and loss.statistics_are_means:
        # From the mean over the whole picture to the mean over the region.
        part = jnp.maximum(jnp.mean(guide), jnp.finfo(guide.dtype).tiny)
        statistics = jax.tree.map(lambda leaf: leaf / part, statistics)
    return loss.distance_fn(statistics, target, smoothing=smoothing)
