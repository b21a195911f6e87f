"""Attribution of pixels to loss terms, by the gradient of each term."""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import ndimage

from jaxnst._types import HostImage, Scalar
from jaxnst.objective import LossTerms, LossWeights, Targets
from jaxnst.optimize import compiled_loss_and_gradient
from jaxnst.transfer.plan import SizePlan, make_plan
from jaxnst.transfer.run import measure_targets

from .inputs import PaintedPicture


Map = Float[np.ndarray, "_ _"]

# Gradients vary from pixel to pixel, so they are blurred. This is the deviation of the
# blur, relative to the longest side.
_BLUR = 1 / 128


class Attribution(NamedTuple):
    """Attribution of a picture's pixels to the loss terms.

    Attributes:
        shares: {term: share in the gradients at each pixel}; the shares of a pixel add
            up to 1. Terms are named "content/LAYER", "style/LAYER" and "tv".
        total: sum of the gradients' lengths at each pixel, relative to its mean.
        overall: {term: share in the gradients of all pixels}, which add up to 1.
    """

    shares: dict[str, Map]
    total: Map
    overall: dict[str, float]


def measure_attribution(
    painted: PaintedPicture, image: HostImage, targets: Targets
) -> Attribution:
    r"""Return the attribution of an image's pixels to the loss terms of a picture.

    $$
    s_t(p) = \frac{w_t |\partial L_t / \partial x(p)|}
    {\sum_u w_u |\partial L_u / \partial x(p)|}
    $$

    Near the end of an optimization the terms' gradients cancel each other. Therefore
    the shares are of the gradients' lengths, not of their sum.

    References:
        The gradients are those of the optimization, eq. 7 of Gatys, Ecker, Bethge,
        CVPR 2016, term by term; lengths are over the three colors, blurred.
    """
    sigma = _BLUR * max(painted.shape)
    lengths: dict[str, np.ndarray] = {}
    for term, weights in weights_of_terms(painted.weights).items():
        _, gradient = measure_terms(painted, image, targets, weights)
        length = np.sqrt(np.sum(np.square(np.asarray(gradient)), axis=-1))
        lengths[term] = ndimage.gaussian_filter(length, sigma, mode="nearest")
    return attribution_of(lengths)


def attribution_of(lengths: Mapping[str, Map]) -> Attribution:
    """Return the attribution to {term: length of its gradient at each pixel}."""
    total = np.sum(list(lengths.values()), axis=0)
    floor = 1e-9 * float(total.mean()) + np.finfo(np.float32).tiny
    # Where all gradients are 0, all shares are equal.
    shares = {
        term: (length + floor) / (total + len(lengths) * floor)
        for term, length in lengths.items()
    }
    whole = float(total.sum()) + float(np.finfo(np.float32).tiny)
    overall = {term: float(length.sum()) / whole for term, length in lengths.items()}
    return Attribution(shares, total / (float(total.mean()) + floor), overall)


def weights_of_terms(weights: LossWeights) -> dict[str, LossWeights]:
    """Return {term: weights of the loss of that term alone}, if not 0."""
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


def targets_of(painted: PaintedPicture) -> Targets:
    """Return the targets of the loss at the picture's shape."""
    job = painted.job
    plan = make_plan([job], job.network.memory)
    size = SizePlan(painted.shape, style_shapes=(), num_steps=0)
    return measure_targets(job, plan, size, painted.content)


def measure_terms(
    painted: PaintedPicture, image: HostImage, targets: Targets, weights: LossWeights
) -> tuple[LossTerms, Array]:
    """Return the loss terms of an image and the gradient of their weighted sum."""
    _, terms, gradient = compiled_loss_and_gradient(
        jnp.asarray(image),
        painted.job.network,
        targets,
        weights,
        normalization=painted.job.config.objective,
    )
    return terms, gradient
