"""The weighted sum that is minimized, with all its terms.

Two normalizations:

`"pair"`: every term is divided by a scale taken from the two pictures. A content term
is the mean square error over the mean square of the target; a style term is the
distance of the Gram matrices over that between the *content* picture and the style,
so it is 1 where the content picture stands and 0 where the painting does. Layer weights
are divided by their sum. So a weight means the same for every pair, size, layer
set and network.

`"paper"`: the sums of Gatys, Ecker, Bethge, CVPR 2016, as printed; nothing is divided.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

from ._types import (
    AnyImage,
    FeatureMap,
    Features,
    GramMatrix,
    Image,
    Scalar,
    StyleImage,
)
from .losses import (
    content_loss,
    gram_distance,
    gram_loss,
    gram_matrix,
    total_variation_loss,
)
from .networks import after, is_whole, measure_features
from .networks.measuring import MeasureFn, Part, filling


NORMALIZATIONS = ("pair", "paper")

# A gap below this part of the target's own size counts as if it were so large:
# pictures of nearly one style are not driven by what rounding leaves between them.
# Gaps of real pairs are 0.4 to 2 times the target.
_RELATIVE_FLOOR = 0.05

FeatureFn = Callable[[Image, Collection[str]], Features]


class LossWeights(NamedTuple):
    """How much each term counts. A pytree of scalars, so a change recompiles nothing.

    Attributes:
        content: of the content terms together.
        style: of the style terms together.
        tv: of the total variation.
        content_layers: of each content layer among themselves.
        style_layers: of each style layer among themselves.
    """

    content: Scalar
    style: Scalar
    tv: Scalar
    content_layers: dict[str, Scalar]
    style_layers: dict[str, Scalar]


class Targets(NamedTuple):
    """What a picture is measured against: one set per pair and size.

    Attributes:
        content: {layer: feature map of the content picture}.
        content_scale: {layer: what its loss is divided by}.
        style: {layer: Gram matrix of the style picture, or the mean of several}.
        style_scale: {layer: what its loss is divided by}.
    """

    content: dict[str, FeatureMap]
    content_scale: dict[str, Scalar]
    style: dict[str, GramMatrix]
    style_scale: dict[str, Scalar]


class LossTerms(NamedTuple):
    """What a picture costs.

    Attributes:
        total: the weighted sum of the next three.
        content: weighted mean over layers ("pair") or weighted sum ("paper").
        style: likewise.
        tv: total variation.
        content_layers: {layer: its term before any weight}.
        style_layers: likewise.
    """

    total: Scalar
    content: Scalar
    style: Scalar
    tv: Scalar
    content_layers: dict[str, Scalar]
    style_layers: dict[str, Scalar]


def make_loss_weights(
    *,
    content: float,
    style: float,
    tv: float,
    content_layers: Mapping[str, float],
    style_layers: Mapping[str, float],
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
    )


def compute_targets(
    network: FeatureFn,
    content: Image,
    style: StyleImage | Sequence[AnyImage],
    blend: Float[Array, " styles"] | None = None,
    *,
    content_layers: Collection[str],
    style_layers: Collection[str],
    normalization: str = "pair",
) -> Targets:
    """Measure the pictures.

    Args:
        network: the feature extractor.
        content: RGB, [0, 1], at the size that is painted.
        style: RGB, [0, 1], of any size; or several such.
        blend: what each of several counts for; by default all the same. The target is
            the weighted mean of their Gram matrices.
        content_layers: where content is compared.
        style_layers: where style is compared.
        normalization: "pair" or "paper", see the module.
    """
    styles = list(style) if isinstance(style, Sequence) else [style]
    if blend is None:
        blend = jnp.full(len(styles), 1 / len(styles), jnp.float32)
    style_grams: dict[str, GramMatrix] = {}
    measures = {layer: {"style": _GRAM} for layer in style_layers}
    # One picture after the other, or they need memory at the same time.
    before: GramMatrix | None = None
    for picture, share in zip(styles, blend, strict=True):
        if before is not None:
            picture = after(picture, before[0, 0])
        for layer, found in measure_features(network, picture, measures).items():
            gram = share * found["style"]
            if layer in style_grams:
                gram = style_grams[layer] + gram
            style_grams[layer] = before = gram
    if before is not None:
        content = after(content, before[0, 0])
    maps, grams = _measure_content(network, content, content_layers, style_layers)
    targets = Targets({}, {}, {}, {})
    for layer in content_layers:
        target = maps[layer]
        more = filling(network, content, target)  # than the picture has
        mean_square = more * content_loss(target, jnp.zeros_like(target))
        targets.content[layer] = target
        targets.content_scale[layer] = (
            mean_square + jnp.finfo(mean_square.dtype).tiny
            if normalization == "pair"
            else jnp.float32(2 * more / target.size)  # eq. 1 is half the sum
        )
    for layer in style_layers:
        target = style_grams[layer]
        start = grams[layer]
        targets.style[layer] = target
        targets.style_scale[layer] = (
            _style_gap(start, target)
            if normalization == "pair"
            else jnp.float32(4 * target.shape[0] ** 2)  # eq. 4
        )
    return targets


def _measure_content(
    network: FeatureFn,
    content: Image,
    content_layers: Collection[str],
    style_layers: Collection[str],
) -> tuple[Features, dict[str, Float[Array, "_ _"]]]:
    """Return feature maps and Gram matrices of the content picture."""
    maps: dict[str, Array] = {}
    measures: dict[str, dict[str, MeasureFn]] = {}
    for layer in style_layers:
        measures[layer] = {"style": _GRAM}
    if all(is_whole(network, layer) for layer in content_layers):
        for layer in content_layers:
            measures.setdefault(layer, {})["content"] = _WHOLE
    else:  # strips give no maps
        maps = dict(network(content, content_layers))
    found = measure_features(network, content, measures)
    for layer in content_layers:
        if layer not in maps:
            maps[layer] = found[layer]["content"]
    return maps, {layer: found[layer]["style"] for layer in style_layers}


def _style_gap(start: GramMatrix, target: GramMatrix) -> Scalar:
    """How far the content picture is from the style; never zero."""
    floor = jnp.sum(jnp.square(target)) * _RELATIVE_FLOOR**2
    floor = floor + jnp.finfo(target.dtype).tiny
    return jnp.sqrt(gram_loss(start, target) + floor)


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
    measures: dict[str, dict[str, MeasureFn]] = {}
    for layer, target in targets.content.items():
        measures[layer] = {"content": Partial(_content_error, target)}
    for layer in targets.style:
        measures.setdefault(layer, {})["style"] = _GRAM
    found = measure_features(network, image, measures)
    distance = gram_distance if normalization == "pair" else gram_loss
    content_layers = {
        layer: found[layer]["content"] / targets.content_scale[layer]
        for layer in targets.content
    }
    style_layers = {
        layer: distance(found[layer]["style"], target) / targets.style_scale[layer]
        for layer, target in targets.style.items()
    }
    content = _weighted_sum(content_layers, weights.content_layers)
    style = _weighted_sum(style_layers, weights.style_layers)
    tv = total_variation_loss(image)
    total = weights.content * content + weights.style * style + weights.tv * tv
    return total, LossTerms(total, content, style, tv, content_layers, style_layers)


def _content_error(
    target: Float[Array, "_ _ channels"], features: FeatureMap, rows: Part
) -> Scalar:
    return content_loss(features, target[rows])


def _gram(features: FeatureMap, rows: Part) -> GramMatrix:
    del rows
    return gram_matrix(features)


def _whole(features: FeatureMap, rows: Part) -> FeatureMap:
    del rows
    return features


# `Partial`s, as JAX takes no plain function as an argument.
_GRAM, _WHOLE = Partial(_gram), Partial(_whole)


def _weighted_sum(terms: dict[str, Scalar], weights: dict[str, Scalar]) -> Scalar:
    return jnp.sum(jnp.stack([weights[layer] * term for layer, term in terms.items()]))
