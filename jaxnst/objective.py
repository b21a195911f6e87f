"""The weighted sum that is minimized, with all its terms.

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

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

from ._types import FeatureMap, Image, Scalar
from .losses import content_loss, gram_loss, total_variation_loss
from .networks import Network, measure_features
from .networks.measuring import Part
from .targets import (
    FeatureFn as FeatureFn,
    Regional,
    Targets as Targets,
    compute_targets as compute_targets,
    key_of,
    style_distances,
    style_measures,
)


NORMALIZATIONS = ("pair", "paper")


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
