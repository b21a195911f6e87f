"""The weighted sum that is minimized, its terms, and the targets they compare with.

Two normalizations:

`"pair"`: every term is divided by a scale taken from the two pictures. A content term
is the mean square error over the mean square of the target; a style term is the
distance of the Gram matrices over that between the *content* picture and the style,
so it is 1 where the content picture stands and 0 where the painting does. Layer weights
are divided by their sum. So a weight means the same for every pair, size, layer
set and network.

`"paper"`: the sums of Gatys, Ecker, Bethge, CVPR 2016, as printed; nothing is divided.

A picture may have regions, each with a style of its own: what is measured then counts
every pixel by a guide (Gatys, Ecker, Bethge, Hertzmann, Shechtman, "Controlling
Perceptual Factors in Neural Style Transfer", CVPR 2017, eq. 5), and a region's term
counts for as much as its part of the picture, so the pull on a pixel is what it would
be without regions.
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
from .losses import content_loss, gram_loss, total_variation_loss
from .losses.registry import STYLE_LOSSES, measure_region, region_distance
from .networks import Network, after, is_whole, measure_features
from .networks.remat import MeasureFn, Part, filling


# A gap below this part of the target's own size counts as if it were so large:
# pictures of nearly one style are not driven by what rounding leaves between them.
# Gaps of real pairs are 0.4 to 2 times the target.
_RELATIVE_FLOOR = 0.05

Regional = Float[Array, " regions"]
Guides = Float[Array, "regions rows columns"]
# What each style counts for, in each region and at each style layer.
Blend = Float[Array, "regions layers styles"]

FeatureFn = Callable[[Image, Collection[str]], Features]


class Targets(NamedTuple):
    """What a picture is measured against: one set per pair and size.

    Attributes:
        content: {layer: feature map of the content picture}.
        content_scale: {layer: what its loss is divided by}.
        style: {layer: {style loss: its target in each region}}, such as the Gram matrix
            of the style picture, or the mean of several.
        style_scale: {layer: {style loss: what it is divided by in each region}}.
        guides: {layer: what every pixel counts for in each region}; None: there is one
            region, all of the picture.
        shares: what part of the picture each region is.
    """

    content: dict[str, FeatureMap]
    content_scale: dict[str, Scalar]
    style: dict[str, dict[str, tuple[Any, ...]]]
    style_scale: dict[str, dict[str, Regional]]
    guides: dict[str, Guides] | None
    shares: Regional


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
    """Measure the pictures.

    Args:
        network: the feature extractor.
        content: RGB, [0, 1], at the size that is painted.
        style: RGB, [0, 1], of any size; or several such.
        blend: what each of several counts for; by default all the same. Of Gram
            matrices the target is the weighted mean.
        guides: {style layer: what every pixel counts for in each region}; by default
            there is one region, all of the picture.
        shares: what part of the picture each region is.
        content_layers: where content is compared.
        style_layers: where style is compared.
        style_losses: some of `jaxnst.losses.registry.STYLE_LOSSES`.
        normalization: "pair" or "paper", see the module.
    """
    styles = list(style) if isinstance(style, Sequence) else [style]
    style_layers, style_losses = tuple(style_layers), tuple(style_losses)
    if blend is None:
        even = jnp.full((1, 1, len(styles)), 1 / len(styles), jnp.float32)
        blend = jnp.broadcast_to(even, (1, len(style_layers), len(styles)))
    if shares is None:
        shares = jnp.ones(1)
    looking = network
    if isinstance(network, Network) and any(network.wraps):
        looking = network.changed(padding="reflect")  # a painting does not go around
    described: list[dict[str, dict[str, Any]]] = []
    # One picture after the other, or they need memory at the same time.
    before: Scalar | None = None
    for picture in styles:
        if before is not None:
            picture = after(picture, before)
        found = _describe(looking, picture, style_layers, style_losses)
        described.append(found)
        before = jnp.sum(jax.tree.leaves(found)[-1].ravel()[:1])
    content = content if before is None else after(content, before)
    aims: dict[str, dict[str, tuple[Any, ...]]] = {
        layer: {
            name: tuple(
                STYLE_LOSSES[name].combine_fn(
                    [found[layer][name] for found in described], blend[region, index]
                )
                for region in range(blend.shape[0])
            )
            for name in style_losses
        }
        for index, layer in enumerate(style_layers)
    }
    guides = None if guides is None else dict(guides)
    targets = Targets({}, {}, aims, {}, guides, shares)
    measures = style_measures(targets)
    maps: dict[str, Array] = {}
    if all(is_whole(network, layer) for layer in content_layers):
        for layer in content_layers:
            measures.setdefault(layer, {})["content"] = _WHOLE
    else:  # strips give no maps
        maps = dict(network(content, content_layers))
    found = measure_features(network, content, measures)
    for layer in content_layers:
        target = maps[layer] if layer in maps else found[layer]["content"]
        more = filling(network, content, target)  # than the picture has
        mean_square = more * content_loss(target, jnp.zeros_like(target))
        targets.content[layer] = target
        targets.content_scale[layer] = (
            mean_square + jnp.finfo(mean_square.dtype).tiny
            if normalization == "pair"
            else jnp.float32(2 * more / target.size)  # eq. 1 is half the sum
        )
    for layer in style_layers:
        if normalization == "pair":
            targets.style_scale[layer] = _style_gaps(found[layer], targets, layer)
        else:
            width = aims[layer]["gram"][0].shape[0]
            targets.style_scale[layer] = {"gram": jnp.full(1, 4.0 * width**2)}  # eq. 4
    return targets


def _describe(
    network: FeatureFn,
    picture: AnyImage,
    layers: Sequence[str],
    losses: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Return {layer: {style loss: description}} of a style picture."""
    means = [name for name in losses if STYLE_LOSSES[name].describes_means]
    described: dict[str, dict[str, Any]] = {layer: {} for layer in layers}
    if means:
        measures = {layer: {n: _DESCRIBE[n] for n in means} for layer in layers}
        described |= measure_features(network, picture, measures)
    if len(means) < len(losses):
        maps = network(picture, layers)
        for layer, name in itertools.product(layers, losses):
            if name not in means:
                describe_fn = STYLE_LOSSES[name].describe_fn
                described[layer][name] = describe_fn(maps[layer])
    return described


def style_measures(targets: Targets) -> dict[str, dict[str, MeasureFn]]:
    """Return {layer: what measures every style loss in every region}.

    Args:
        targets: without scales, if there are none yet.
    """
    measures: dict[str, dict[str, MeasureFn]] = {}
    for layer, losses in targets.style.items():
        for name, aims in losses.items():
            for region, aim in enumerate(aims):
                measure = Partial(_MEASURE[name], _guide(targets, layer, region), aim)
                measures.setdefault(layer, {})[key_of(name, region)] = measure
    return measures


def style_distances(
    found: Mapping[str, Any], targets: Targets, layer: str, name: str, **options: float
) -> Regional:
    """Return how far each region is from its target.

    Args:
        found: what the layer's `style_measures` found.
        targets: that they are of.
        layer: its name.
        name: of the style loss.
        options: of `jaxnst.losses.registry.region_distance`.
    """
    return jnp.stack(
        [
            region_distance(
                name,
                found[key_of(name, region)],
                _guide(targets, layer, region),
                aim,
                **options,
            )
            for region, aim in enumerate(targets.style[layer][name])
        ]
    )


def _style_gaps(
    found: Mapping[str, Any], targets: Targets, layer: str
) -> dict[str, Regional]:
    """How far the content picture is from the style; never zero."""
    gaps = {}
    for name, aims in targets.style[layer].items():
        distances = style_distances(found, targets, layer, name, smoothing=0.0)
        sizes = jnp.stack([STYLE_LOSSES[name].size_fn(aim) for aim in aims])
        floors = jnp.square(_RELATIVE_FLOOR * sizes) + jnp.finfo(sizes.dtype).tiny
        gaps[name] = jnp.sqrt(jnp.square(distances) + floors)
    return gaps


def _guide(targets: Targets, layer: str, region: int) -> Float[Array, "_ _"] | None:
    return None if targets.guides is None else targets.guides[layer][region]


def key_of(name: str, region: int) -> str:
    """Return under which name `style_measures` measures a style loss in a region."""
    return f"{name} {region}"


def _whole(features: FeatureMap, rows: Part) -> FeatureMap:
    del rows
    return features


def _describe_rows(name: str, features: FeatureMap, rows: Part) -> Any:
    del rows
    return STYLE_LOSSES[name].describe_fn(features)


# `Partial`s, as JAX takes no plain function as an argument; made once, as what is not
# an array in them is compared by identity.
_WHOLE = Partial(_whole)
_DESCRIBE = {
    name: Partial(functools.partial(_describe_rows, name)) for name in STYLE_LOSSES
}
_MEASURE = {name: functools.partial(measure_region, name) for name in STYLE_LOSSES}


class LossWeights(NamedTuple):
    """How much each term counts. A pytree of scalars, so a change recompiles nothing.

    Attributes:
        content: of the content terms together.
        style: of the style terms together; or one number for each region.
        tv: of the total variation.
        content_layers: of each content layer among themselves.
        style_layers: of each style layer among themselves.
        style_losses: of each style loss among themselves.
    """

    content: Scalar
    style: Scalar | Regional
    tv: Scalar
    content_layers: dict[str, Scalar]
    style_layers: dict[str, Scalar]
    style_losses: dict[str, Scalar]


class LossTerms(NamedTuple):
    """What a picture costs.

    Attributes:
        total: the weighted sum of the next three.
        content: weighted mean over layers ("pair") or weighted sum ("paper").
        style: likewise.
        tv: total variation.
        content_layers: {layer: its term before any weight}.
        style_layers: likewise.
        style_regions: the style term of each region, by itself.
    """

    total: Scalar
    content: Scalar
    style: Scalar
    tv: Scalar
    content_layers: dict[str, Scalar]
    style_layers: dict[str, Scalar]
    style_regions: Regional


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
    """Return the weights as float32 scalars; "pair" makes layer weights sum to 1."""

    def scalars(layers: Mapping[str, float]) -> dict[str, Scalar]:
        total = sum(layers.values()) if normalization == "pair" else 1.0
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
    """What a picture costs, and its terms. Differentiate with `has_aux=True`.

    Args:
        image: RGB, [0, 1].
        network: the feature extractor `targets` was measured with.
        targets: of `compute_targets`.
        weights: of `make_loss_weights`, for the same layers.
        normalization: that of `targets`.

    References:
        Gatys, Ecker, Bethge, CVPR 2016, eq. 7, with total variation added.
    """
    measures = style_measures(targets)
    for layer, target in targets.content.items():
        measures.setdefault(layer, {})["content"] = Partial(_content_error, target)
    found = measure_features(network, image, measures)
    content_layers = {
        layer: found[layer]["content"] / targets.content_scale[layer]
        for layer in targets.content
    }
    regions: dict[str, Regional] = {}
    for layer, losses in targets.style.items():
        terms: dict[str, Regional] = {}
        for name, aims in losses.items():
            if normalization == "pair":
                distances = style_distances(found[layer], targets, layer, name)
            else:
                distances = gram_loss(found[layer][key_of(name, 0)], aims[0])[None]
            terms[name] = distances / targets.style_scale[layer][name]
        regions[layer] = _weighted_sum(terms, weights.style_losses)
    style_regions = _weighted_sum(regions, weights.style_layers)
    style_layers = {
        layer: jnp.sum(targets.shares * terms) for layer, terms in regions.items()
    }
    content = _weighted_sum(content_layers, weights.content_layers)
    style = jnp.sum(targets.shares * style_regions)
    # One weight, or one for each region.
    weighted = jnp.sum(weights.style * (targets.shares * style_regions))
    wraps = network.wraps if isinstance(network, Network) else (False, False)
    tv = total_variation_loss(image, wraps=wraps)
    total = weights.content * content + weighted + weights.tv * tv
    return total, LossTerms(
        total, content, style, tv, content_layers, style_layers, style_regions
    )


def _content_error(
    target: Float[Array, "_ _ channels"], features: FeatureMap, rows: Part
) -> Scalar:
    return content_loss(features, target[rows])


def _weighted_sum(
    terms: Mapping[str, Float[Array, "*shape"]], weights: Mapping[str, Scalar]
) -> Float[Array, "*shape"]:
    parts = [weights[layer] * term for layer, term in terms.items()]
    return jnp.sum(jnp.stack(parts), axis=0)
