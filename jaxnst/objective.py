"""The weighted sum that is minimized, its terms, and the targets they compare with.

A content term compares the feature map F of the image with P of the content picture; a
style term compares the statistics of the image, such as its Gram matrix G, with the
target A of the style. There are three normalizations:

`"pair"`: every term is divided by a scale taken from the two pictures. A content term
is the mean of 2 |P|^2 (1 - cos(F, P)) over the mean of |P|^2: shapes are kept, but not
how strong their contrasts are, so fog may be painted as boldly as any picture. A style
term is |G - A| over the same distance of the *content* picture, so it is 1 for the
content picture and 0 for the style picture. Layer weights are divided by their sum. A
weight therefore means the same for every pair, size, layer set and network.

`"squared"`: as "pair", but a content term is the mean of |F - P|^2 over that of |P|^2.
Where a part of the style's distance is asked for, stronger contrasts alone would go it,
and cost no content in "pair".

`"paper"`: the sums of Gatys, Ecker, Bethge, CVPR 2016, as printed, without any scale.

A picture may have regions, each with a style of its own. The statistics of a region
weight every pixel by a guide (Gatys, Ecker, Bethge, Hertzmann, Shechtman, "Controlling
Perceptual Factors in Neural Style Transfer", CVPR 2017, eq. 5). The term of a region is
weighted by the region's share of the picture, so each pixel is pulled as strongly as it
would be without regions.
"""

import functools
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

from ._types import AnyImage, FeatureMap, Features, Image, Scalar, StyleImage
from .losses import (
    content_loss,
    cosine_content_loss,
    gram_loss,
    total_variation_loss,
)
from .losses.registry import STYLE_LOSSES, region_distance
from .networks import Network, measure_features
from .networks.remat import WHOLE_MAP, MeasureFn, Part, after, filling, is_whole


# Smaller gaps, relative to the size of the style's own statistics, count as this one:
# two pictures of nearly one style are not driven by rounding errors. Real pairs have
# gaps of 0.4 to 2.
_RELATIVE_FLOOR = 0.05


Regional = Float[Array, " regions"]
Guides = Float[Array, "regions rows columns"]
# The weight of each style, in each region and at each style layer.
Blend = Float[Array, "regions layers styles"]
# Style loss to the target of each region.
RegionTargets = dict[str, tuple[Any, ...]]

# {layer: {style loss: statistics of each region, "content": error}}, all of them means
# over pixels.
Measured = Mapping[str, Mapping[str, Any]]

FeatureFn = Callable[[Image, Collection[str]], Features]


class Temporal(NamedTuple):
    """What holds a frame of a clip to the frames before it.

    The pictures are compared at half the resolution, by means of 2 x 2 pixels: shapes
    and colors are held, and the finest strokes are left to the style.

    Attributes:
        image: frames before, carried along the motion; RGB, [0, 1].
        certainty: certainty that a pixel of the half-sized picture is the one before,
            [0, 1], with an axis of one channel.
        scale: variance of a painted frame, the divisor of the temporal term: 1 means as
            far off as the frame is from its own mean.
        rates: factor on the update of each pixel, with an axis of one channel; 0 leaves
            a pixel as it is.
    """

    image: Image
    certainty: Float[Array, "_ _ 1"]
    scale: Scalar
    rates: Float[Array, "height width 1"]


class Targets(NamedTuple):
    """What an image is compared with: one set per pair of pictures and size.

    Attributes:
        content: {layer: feature map of the content picture}.
        content_scale: {layer: divisor of the content term}.
        style: {layer: {style loss: target of each region}}; the target of "gram" is the
            Gram matrix of the style picture, or the weighted mean of several.
        style_scale: {layer: {style loss: divisor of the style term of each region}}.
        guides: {layer: weight of every pixel in each region}; None for one region that
            is the whole picture.
        shares: fraction of the picture that each region covers.
        temporal: frames before, of a clip; None for a picture by itself.
    """

    content: dict[str, FeatureMap]
    content_scale: dict[str, Scalar]
    style: dict[str, RegionTargets]
    style_scale: dict[str, dict[str, Regional]]
    guides: dict[str, Guides] | None
    shares: Regional
    temporal: Temporal | None = None


def compute_targets(
    network: FeatureFn,
    content: Image,
    style: StyleImage | Sequence[AnyImage],
    blend: Blend | None = None,
    guides: Mapping[str, Float[Array, "regions _ _"]] | None = None,
    shares: Regional | None = None,
    *,
    content_layers: Collection[str],
    style_layers: Collection[str],
    style_losses: Collection[str] = ("gram",),
    normalization: str = "pair",
) -> Targets:
    """Return the targets and the scales of all loss terms.

    Args:
        network: feature extractor.
        content: content picture, RGB, [0, 1], at the size of the image.
        style: one or several style pictures, RGB, [0, 1], of any size.
        blend: weight of each style picture; by default all weigh the same. The target
            of "gram" is the weighted mean of their Gram matrices.
        guides: {style layer: weight of every pixel in each region}; by default there is
            one region, the whole picture.
        shares: fraction of the picture that each region covers.
        content_layers: layers where content is compared.
        style_layers: layers where style is compared.
        style_losses: names from `jaxnst.losses.registry.STYLE_LOSSES`.
        normalization: "pair", "squared" or "paper", see `jaxnst.objective`.
    """
    styles = list(style) if isinstance(style, Sequence) else [style]
    style_layers, style_losses = tuple(style_layers), tuple(style_losses)
    if shares is None:
        shares = jnp.ones(1)
    guides = None if guides is None else dict(guides)
    style_network = network
    if isinstance(network, Network) and any(network.wraps):
        # Only the image wraps around, the style pictures do not.
        style_network = network.changed(padding="reflect")
    descriptions = []
    # One picture after the other, so that only one at a time needs memory.
    before: Scalar | None = None
    for picture in styles:
        if before is not None:
            picture = after(picture, before)
        description = _describe(style_network, picture, style_layers, style_losses)
        descriptions.append(description)
        before = jnp.sum(jax.tree.leaves(description)[-1].ravel()[:1])
    assert before is not None
    content = after(content, before)
    style_targets = combine_descriptions(descriptions, blend)
    if all(is_whole(network, layer) for layer in content_layers):
        content_fns = dict.fromkeys(content_layers, WHOLE_MAP)
        found = _measure(network, content, style_targets, guides, content_fns)
        maps = {layer: found[layer]["content"] for layer in content_layers}
    else:  # strips give no maps
        maps = dict(network(content, content_layers))
        found = _measure(network, content, style_targets, guides, {})
    maps = {layer: maps[layer] for layer in content_layers}
    fillings = {layer: filling(network, content, x) for layer, x in maps.items()}
    content_scale, style_scale = find_scales(
        maps, found, style_targets, guides, fillings, normalization=normalization
    )
    return Targets(
        content=maps,
        content_scale=content_scale,
        style=style_targets,
        style_scale=style_scale,
        guides=guides,
        shares=shares,
    )


def combine_descriptions(
    descriptions: Sequence[Mapping[str, Mapping[str, Any]]], blend: Blend | None = None
) -> dict[str, RegionTargets]:
    """Return {layer: {style loss: target of each region}}.

    Args:
        descriptions: {layer: {style loss: description}} of each style picture.
        blend: weight of each style picture; by default all weigh the same.
    """
    layers = list(descriptions[0])
    if blend is None:
        even = jnp.full((1, 1, len(descriptions)), 1 / len(descriptions), jnp.float32)
        blend = jnp.broadcast_to(even, (1, len(layers), len(descriptions)))
    return {
        layer: {
            name: tuple(
                STYLE_LOSSES[name].combine_fn(
                    [each[layer][name] for each in descriptions], blend[region, index]
                )
                for region in range(blend.shape[0])
            )
            for name in descriptions[0][layer]
        }
        for index, layer in enumerate(layers)
    }


def find_scales(
    content: Features,
    measured: Measured,
    style: Mapping[str, RegionTargets],
    guides: Mapping[str, Guides] | None,
    fillings: Mapping[str, float] | None = None,
    *,
    normalization: str = "pair",
) -> tuple[dict[str, Scalar], dict[str, dict[str, Regional]]]:
    """Return the divisors of content terms and of style terms.

    Args:
        content: {content layer: feature map of the content picture}.
        measured: result of `measure_image` for the content picture.
        style: targets of the style losses.
        guides: those of `Targets`.
        fillings: {content layer: result of `filling`}; by default 1.
        normalization: "pair", "squared" or "paper", see `jaxnst.objective`.
    """
    fillings = fillings or dict.fromkeys(content, 1.0)
    if normalization == "paper":
        content_scale = {  # eq. 1 is half the sum
            layer: jnp.float32(2 / (x.size / fillings[layer]))
            for layer, x in content.items()
        }
        return content_scale, {  # eq. 4
            layer: {"gram": jnp.full(1, 4.0 * targets["gram"][0].shape[0] ** 2)}
            for layer, targets in style.items()
        }
    tiny = jnp.finfo(jnp.float32).tiny
    content_scale = {
        layer: fillings[layer] * _mean_square(x) + tiny for layer, x in content.items()
    }
    return content_scale, {
        layer: _style_gaps(measured[layer], targets, guides, layer)
        for layer, targets in style.items()
    }


def _describe(
    network: FeatureFn,
    picture: AnyImage,
    layers: Sequence[str],
    losses: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Return {style layer: {style loss: description}} of a style picture."""
    means = [name for name in losses if STYLE_LOSSES[name].descriptions_are_means]
    measures: dict[str, dict[str, MeasureFn]] = {
        layer: {name: _DESCRIBE[name] for name in means} for layer in layers
    }
    described = measure_features(network, picture, measures)
    if len(means) < len(losses):
        maps = network(picture, layers)
        for layer, name in itertools.product(layers, losses):
            if name not in means:
                describe_fn = STYLE_LOSSES[name].describe_fn
                described[layer][name] = describe_fn(maps[layer])
    return {layer: described[layer] for layer in layers}


def _measure(
    network: FeatureFn,
    image: Image,
    style: Mapping[str, RegionTargets],
    guides: Mapping[str, Guides] | None,
    content_fns: Mapping[str, MeasureFn],
) -> dict[str, dict[str, Any]]:
    """Return {layer: {style loss: statistics of each region, "content": ...}}.

    They are measured in one pass, and strip by strip where the network says so, which
    is why they are given as functions of a part of the feature map. `content_fns` give
    what is called "content".
    """
    precision = network.product_precision if isinstance(network, Network) else None
    measures: dict[str, dict[str, MeasureFn]] = {
        layer: {
            name: Partial(
                _statistics_fn(name, precision), _by_region(guides, layer, targets)
            )
            for name, targets in losses.items()
        }
        for layer, losses in style.items()
    }
    for layer, content_fn in content_fns.items():
        measures.setdefault(layer, {})["content"] = content_fn
    return measure_features(network, image, measures)


def _style_distances(
    name: str,
    statistics: Sequence[Any],
    targets: Sequence[Any],
    guides: Mapping[str, Guides] | None,
    layer: str,
    **options: float,
) -> Regional:
    """Return |G - A| of each region, for "gram", smooth at zero."""
    regions = _by_region(guides, layer, targets)
    distances = [
        region_distance(name, found, guide, target, **options)
        for found, (guide, target) in zip(statistics, regions, strict=True)
    ]
    return jnp.stack(distances)


def _style_gaps(
    statistics: Mapping[str, Any],
    targets: RegionTargets,
    guides: Mapping[str, Guides] | None,
    layer: str,
) -> dict[str, Regional]:
    """Return the distance of the content picture from the style; never zero."""
    gaps = {}
    for name, region_targets in targets.items():
        distances = _style_distances(
            name, statistics[name], region_targets, guides, layer, smoothing=0.0
        )
        sizes = jnp.stack([STYLE_LOSSES[name].size_fn(each) for each in region_targets])
        floors = jnp.square(_RELATIVE_FLOOR * sizes) + jnp.finfo(sizes.dtype).tiny
        gaps[name] = jnp.sqrt(jnp.square(distances) + floors)
    return gaps


def _by_region(
    guides: Mapping[str, Guides] | None, layer: str, targets: Sequence[Any]
) -> list[tuple[Float[Array, "_ _"] | None, Any]]:
    """Return the guide and the target of each region."""
    if guides is None:
        return [(None, target) for target in targets]
    return [(guides[layer][region], target) for region, target in enumerate(targets)]


def _mean_square(features: FeatureMap) -> Scalar:
    return content_loss(features, jnp.zeros_like(features))


def _statistics(
    name: str,
    precision: Any,
    regions: Sequence[tuple[Any, Any]],
    features: FeatureMap,
    rows: Part,
) -> tuple[Any, ...]:
    statistics_fn: Any = STYLE_LOSSES[name].statistics_fn
    if STYLE_LOSSES[name].takes_precision and precision is not None:
        statistics_fn = functools.partial(statistics_fn, precision=precision)
    return tuple(
        statistics_fn(features, None if guide is None else guide[rows], target)
        for guide, target in regions
    )


def _content_error(
    loss_fn: Callable[[FeatureMap, FeatureMap], Scalar],
    aim: tuple[Float[Array, "_ _ channels"], Float[Array, "_ _"] | None],
    features: FeatureMap,
    rows: Part,
) -> Scalar:
    target, own = aim[0][rows], aim[1]
    if own is not None:
        weight = own[rows][..., None].astype(features.dtype)
        features, target = weight * features, weight * target
    return loss_fn(features, target)


# `Partial`s, because JAX takes no plain function as an argument. Made once, because
# whatever in them is no array is compared by identity.
_DESCRIBE = {
    name: Partial(lambda features, rows, loss=loss: loss.describe_fn(features))
    for name, loss in STYLE_LOSSES.items()
}
# {normalization: content loss of a part of a feature map}.
_CONTENT_FNS = {
    "pair": functools.partial(_content_error, cosine_content_loss),
    "squared": functools.partial(_content_error, content_loss),
    "paper": functools.partial(_content_error, content_loss),
}


@functools.cache
def _statistics_fn(name: str, precision: Any) -> Callable[..., tuple[Any, ...]]:
    return functools.partial(_statistics, name, precision)


class LossWeights(NamedTuple):
    """The weight of each term. A pytree of scalars: a change recompiles nothing.

    Attributes:
        content: weight of the content term.
        style: weight of the style term, or one weight per region.
        tv: weight of the total variation.
        content_layers: {content layer: its weight among the content layers}.
        style_layers: {style layer: its weight among the style layers}.
        style_losses: {style loss: its weight among the style losses}.
        temporal: weight of the temporal term; None if the targets have none.
    """

    content: Scalar
    style: Scalar | Regional
    tv: Scalar
    content_layers: dict[str, Scalar]
    style_layers: dict[str, Scalar]
    style_losses: dict[str, Scalar]
    temporal: Scalar | None = None


class LossTerms(NamedTuple):
    """The loss of an image and the terms it is the sum of.

    Attributes:
        total: weighted sum of the content term, the style term, total variation and the
            temporal term.
        content: content term, the weighted mean over layers ("pair") or the weighted
            sum ("paper").
        style: style term, the weighted mean over layers ("pair") or the weighted sum
            ("paper").
        tv: total variation.
        content_layers: {content layer: its term, unweighted}.
        style_layers: {style layer: its term, unweighted}.
        style_regions: style term of each region by itself.
        temporal: temporal term; None for a picture by itself.
    """

    total: Scalar
    content: Scalar
    style: Scalar
    tv: Scalar
    content_layers: dict[str, Scalar]
    style_layers: dict[str, Scalar]
    style_regions: Regional
    temporal: Scalar | None = None


def make_loss_weights(
    *,
    content: float,
    style: float,
    tv: float,
    content_layers: Mapping[str, float],
    style_layers: Mapping[str, float],
    style_losses: Mapping[str, float] = MappingProxyType({"gram": 1.0}),
    normalization: str = "pair",
) -> LossWeights:
    """Return the weights as float32 scalars.

    Args:
        content: weight of the content term.
        style: weight of the style term.
        tv: weight of the total variation.
        content_layers: {content layer: its weight among the content layers}.
        style_layers: {style layer: its weight among the style layers}.
        style_losses: {style loss: its weight among the style losses}.
        normalization: "pair" divides the weights of layers and of style losses by their
            sum; "paper" takes them as they are.
    """

    def scalars(layers: Mapping[str, float]) -> dict[str, Scalar]:
        total = 1.0 if normalization == "paper" else sum(layers.values())
        return {name: jnp.float32(weight / total) for name, weight in layers.items()}

    return LossWeights(
        jnp.float32(content),
        jnp.float32(style),
        jnp.float32(tv),
        scalars(content_layers),
        scalars(style_layers),
        scalars(style_losses),
    )


def perceptual_loss(
    image: Image,
    network: FeatureFn,
    targets: Targets,
    weights: LossWeights,
    *,
    normalization: str = "pair",
) -> tuple[Scalar, LossTerms]:
    """Return the loss of an image, and its terms.

    Differentiate it with `jax.value_and_grad(perceptual_loss, has_aux=True)`.

    Args:
        image: RGB, [0, 1].
        network: feature extractor that `targets` were computed with.
        targets: result of `compute_targets`.
        weights: result of `make_loss_weights`, for the same layers.
        normalization: that of `targets`.

    References:
        Gatys, Ecker, Bethge, CVPR 2016, eq. 7, with total variation added.
    """
    measured = measure_image(image, network, targets, normalization=normalization)
    wraps = network.wraps if isinstance(network, Network) else (False, False)
    return total_loss(
        measured,
        measure_pixels(image, targets.temporal, wraps=wraps),
        targets,
        weights,
        normalization=normalization,
    )


class PixelTerms(NamedTuple):
    """The terms of a loss that need no network.

    Attributes:
        tv: total variation.
        temporal: temporal term; None for a picture by itself.
    """

    tv: Scalar
    temporal: Scalar | None


def measure_image(
    image: Image,
    network: FeatureFn,
    targets: Targets,
    own: Mapping[str, Float[Array, "_ _"]] | None = None,
    *,
    normalization: str = "pair",
) -> Measured:
    """Return what the network sees of an image that the loss is made of.

    All of it are means over pixels. So means over the parts of an image, each weighted
    by its share of the pixels, add up to those of the image.

    Args:
        image: RGB, [0, 1].
        network: feature extractor.
        targets: the targets, of which the scales are not looked at.
        own: {layer: weight of every pixel}, 0 or 1: pixels of weight 0 do not count,
            but the mean is over all; by default all count.
        normalization: that of `targets`.
    """
    guides = targets.guides
    if own is not None:
        guides = {
            layer: own[layer][None] * (1 if guides is None else guides[layer])
            for layer in targets.style
        }
    error_fn = _CONTENT_FNS[normalization]
    content_fns = {
        layer: Partial(error_fn, (target, None if own is None else own[layer]))
        for layer, target in targets.content.items()
    }
    return _measure(network, image, targets.style, guides, content_fns)


def measure_pixels(
    image: Image, temporal: Temporal | None = None, *, wraps: tuple[bool, bool]
) -> PixelTerms:
    """Return the terms of an image that need no network.

    Args:
        image: RGB, [0, 1].
        temporal: that of the targets.
        wraps: whether the image wraps around, vertically and horizontally.
    """
    held = None if temporal is None else _temporal_term(image, temporal)
    return PixelTerms(total_variation_loss(image, wraps=wraps), held)


def total_loss(
    measured: Measured,
    pixels: PixelTerms,
    targets: Targets,
    weights: LossWeights,
    *,
    normalization: str = "pair",
) -> tuple[Scalar, LossTerms]:
    """Return the loss of an image, and its terms, from what was measured of it.

    Args:
        measured: result of `measure_image`.
        pixels: result of `measure_pixels`.
        targets: the targets, of which the content is not looked at.
        weights: weights of the loss terms.
        normalization: that of `targets`.
    """

    def distances(layer: str, name: str) -> Regional:
        statistics, aims = measured[layer][name], targets.style[layer][name]
        if normalization == "paper":
            return gram_loss(statistics[0], aims[0])[None]
        return _style_distances(name, statistics, aims, targets.guides, layer)

    content_layers = {  # the content loss over its scale
        layer: measured[layer]["content"] / scale
        for layer, scale in targets.content_scale.items()
    }
    regions = {  # |G - A| of each region, over its scale, summed over the style losses
        layer: _weighted_sum(
            {name: distances(layer, name) / scale for name, scale in scales.items()},
            weights.style_losses,
        )
        for layer, scales in targets.style_scale.items()
    }
    style_regions = _weighted_sum(regions, weights.style_layers)
    style_layers = {
        layer: jnp.sum(targets.shares * terms) for layer, terms in regions.items()
    }
    content = _weighted_sum(content_layers, weights.content_layers)
    style = jnp.sum(targets.shares * style_regions)
    # `weights.style` is one weight, or one for each region.
    weighted = jnp.sum(weights.style * (targets.shares * style_regions))
    tv, temporal = pixels
    total = weights.content * content + weighted + weights.tv * tv
    if temporal is not None and weights.temporal is not None:
        total = total + weights.temporal * temporal
    return total, LossTerms(
        total, content, style, tv, content_layers, style_layers, style_regions, temporal
    )


def _temporal_term(image: Image, held: Temporal) -> Scalar:
    """Return the mean squared distance from what is held, over its scale."""
    return (
        jnp.mean(held.certainty * jnp.square(halved(image - held.image))) / held.scale
    )


def halved(image: Float[Array, "_ _ _"]) -> Float[Array, "_ _ _"]:
    """Return the means of 2 x 2 pixels; an odd side's last row counts twice.

    Args:
        image: picture, or the difference of two.
    """
    height, width, channels = image.shape
    image = jnp.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return image.reshape(height, 2, width, 2, channels).mean((1, 3))


def _weighted_sum(
    terms: Mapping[str, Float[Array, "*shape"]], weights: Mapping[str, Scalar]
) -> Float[Array, "*shape"]:
    parts = [weights[name] * term for name, term in terms.items()]
    return jnp.sum(jnp.stack(parts), axis=0)
