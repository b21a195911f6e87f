"""Which layer pulls where: the gradient of every loss term, by itself."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import ndimage

from jaxnst._types import HostImage, Image, Scalar
from jaxnst.objective import FeatureFn, LossTerms, LossWeights, Targets, perceptual_loss
from jaxnst.transfer.plan import SizePlan, make_plan
from jaxnst.transfer.run import measure_targets

from .inputs import Subject


Map = Float[np.ndarray, "_ _"]

# Gradients change from pixel to pixel; what is told is of their neighborhood, of this
# part of the longest side.
_BLUR = 1 / 128


class Pull(NamedTuple):
    """How hard the loss terms pull at every pixel of a picture.

    Attributes:
        shares: {term: part of all pulls}; at every pixel they add up to 1. Terms are
            called "content/LAYER", "style/LAYER" and "tv".
        total: the sum of the pulls at every pixel, over its mean.
        overall: {term: part of all pulls over all pixels}, which add up to 1.
    """

    shares: dict[str, Map]
    total: Map
    overall: dict[str, float]


def measure_pull(subject: Subject, image: HostImage, targets: Targets) -> Pull:
    r"""Return which loss term pulls how hard at which pixel of a picture.

    .. math:: s_t(p) = \frac{w_t |\partial L_t / \partial x(p)|}
        {\sum_u w_u |\partial L_u / \partial x(p)|}

    Near the end of a painting its terms pull against each other, and their sum is
    almost nothing: so the shares are of what each one pulls, not of what comes of it.

    Args:
        subject: whose loss it is.
        image: the picture, of the same shape.
        targets: of `targets_of`.

    References:
        The gradients are those that paint, eq. 7 of Gatys, Ecker, Bethge, CVPR 2016,
        term by term; lengths are over the three colors, blurred.
    """
    sigma = _BLUR * max(subject.shape)
    config = subject.job.config
    network = subject.job.network
    lengths: dict[str, np.ndarray] = {}
    for term, weights in weights_of_terms(subject.weights).items():
        gradient = compiled_gradient(
            network,
            jnp.asarray(image),
            targets,
            weights,
            normalization=config.normalization,
        )
        length = np.sqrt(np.sum(np.square(np.asarray(gradient)), axis=-1))
        lengths[term] = ndimage.gaussian_filter(length, sigma, mode="nearest")
    return pull_of(lengths)


def pull_of(lengths: Mapping[str, Map]) -> Pull:
    """Return shares of how hard terms pull.

    Args:
        lengths: {term: 0 or more at every pixel}.
    """
    total = np.sum(list(lengths.values()), axis=0)
    floor = 1e-9 * float(total.mean()) + np.finfo(np.float32).tiny
    # Where nothing pulls, nobody does more than the others.
    shares = {
        term: (length + floor) / (total + len(lengths) * floor)
        for term, length in lengths.items()
    }
    whole = float(total.sum()) + float(np.finfo(np.float32).tiny)
    overall = {term: float(length.sum()) / whole for term, length in lengths.items()}
    return Pull(shares, total / (float(total.mean()) + floor), overall)


def weights_of_terms(weights: LossWeights) -> dict[str, LossWeights]:
    """Return {term: weights under which it is all of the loss}; the sum is the whole.

    Args:
        weights: of the whole; a term without weight is left out.
    """
    zero = jnp.float32(0)
    none = weights._replace(content=zero, style=jnp.zeros_like(weights.style), tv=zero)
    found: dict[str, LossWeights] = {}
    for kind in ("content", "style"):
        layers: dict[str, Scalar] = getattr(weights, f"{kind}_layers")
        whole = getattr(weights, kind)
        if not np.any(np.asarray(whole)):
            continue
        for layer, weight in layers.items():
            if float(weight):
                only = {other: weight if other == layer else zero for other in layers}
                found[f"{kind}/{layer}"] = none._replace(
                    **{kind: whole, f"{kind}_layers": only}
                )
    if float(weights.tv):
        found["tv"] = none._replace(tv=weights.tv)
    return found


def targets_of(subject: Subject) -> Targets:
    """Return the targets that the subject's picture is compared with, at its shape."""
    job = subject.job
    plan = make_plan([job], job.network.memory)
    style_shapes = tuple(style.shape[:2] for style in subject.styles)
    size = SizePlan(subject.shape, style_shapes, 1)
    return measure_targets(job, plan, size, subject.content)


def terms_of(subject: Subject, image: HostImage, targets: Targets) -> LossTerms:
    """Return what a picture costs, as `targets_of` has it; on the host."""
    terms = compiled_terms(
        subject.job.network,
        jnp.asarray(image),
        targets,
        subject.weights,
        normalization=subject.job.config.normalization,
    )
    return jax.device_get(terms)


def gradient(
    network: FeatureFn,
    image: Image,
    targets: Targets,
    weights: LossWeights,
    *,
    normalization: str = "pair",
) -> Image:
    """Return the gradient of the loss with respect to the picture."""

    def loss(image: Image) -> Scalar:
        return perceptual_loss(
            image, network, targets, weights, normalization=normalization
        )[0]

    return jax.grad(loss)(image)


def terms(
    network: FeatureFn,
    image: Image,
    targets: Targets,
    weights: LossWeights,
    *,
    normalization: str = "pair",
) -> LossTerms:
    """Return the loss terms of a picture."""
    return perceptual_loss(
        image, network, targets, weights, normalization=normalization
    )[1]


compiled_gradient = jax.jit(gradient, static_argnames=("normalization",))
compiled_terms = jax.jit(terms, static_argnames=("normalization",))
