"""One step: measure, differentiate with respect to the picture, update, clip.

`step` is pure and not compiled; `compiled_step` is what the loop calls.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnst._types import Flag, Image, Scalar
from jaxnst.objective import FeatureFn, LossTerms, LossWeights, Targets, perceptual_loss


class TransferState(NamedTuple):
    """What is carried from step to step.

    Attributes:
        image: the picture, RGB, [0, 1].
        opt_state: the optimizer's.
    """

    image: Image
    opt_state: optax.OptState


class StepInfo(NamedTuple):
    """What a step reports.

    Attributes:
        terms: the loss of the picture the step started from.
        is_finite: whether loss and update were finite; if not, nothing was changed.
    """

    terms: LossTerms
    is_finite: Flag


def init_state(image: Image, optimizer: optax.GradientTransformation) -> TransferState:
    """Return the state from which the first step starts."""
    # Copies, because the first step gives every buffer up, and some optimizers (L-BFGS)
    # start with one buffer in two places.
    return jax.tree.map(jnp.copy, TransferState(image, optimizer.init(image)))


def step(
    state: TransferState,
    network: FeatureFn,
    targets: Targets,
    weights: LossWeights,
    learning_rate: Scalar,
    *,
    optimizer: optax.GradientTransformationExtraArgs,
    normalization: str = "pair",
) -> tuple[TransferState, StepInfo]:
    """Paint one step.

    Args:
        state: picture and optimizer state.
        network: the frozen feature extractor; no gradient reaches its weights.
        targets: of `jaxnst.objective.compute_targets`.
        weights: of the loss terms.
        learning_rate: what the optimizer's update is multiplied by.
        optimizer: any optax transformation.
        normalization: "pair" or "paper".

    Returns:
        The next state, its picture clipped to [0, 1], and the loss before the step. If
        the loss or the update is not finite the state comes back as it was.
    """
    # Means over pixels give gradients that shrink as pictures grow. Per pixel instead,
    # an optimizer's memory of them stays true from one size to the next.
    height, width, _ = state.image.shape
    scale = height * width if normalization == "pair" else 1

    def loss_fn(image: Image) -> tuple[Scalar, LossTerms]:
        total, terms = perceptual_loss(
            image, network, targets, weights, normalization=normalization
        )
        return scale * total, terms

    (loss, terms), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state.image)
    # The keyword arguments are for line searches; other optimizers drop them, and what
    # is not read is not computed.
    update, opt_state = optimizer.update(
        gradient,
        state.opt_state,
        state.image,
        value=loss,
        grad=gradient,
        value_fn=lambda image: loss_fn(image)[0],
    )
    assert isinstance(update, jax.Array)
    image = jnp.clip(state.image + learning_rate * update, 0.0, 1.0)
    is_finite = jnp.isfinite(loss) & jnp.all(jnp.isfinite(update))
    moved = TransferState(image, opt_state)
    kept = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), moved, state)
    return kept, StepInfo(terms, is_finite)


compiled_step = functools.partial(
    jax.jit,
    static_argnames=("optimizer", "normalization"),
    donate_argnames=("state",),
)(step)
