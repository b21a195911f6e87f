"""One step: differentiate the loss with respect to the picture, update, clip.

A step can also update an exponential moving average of the pictures. Steps of constant
length circle around the optimum; their average is nearer to it.

`step` is pure and not compiled; `compiled_step` is its program for one picture.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxnst._types import Count, Flag, Image, Scalar, Scalars
from jaxnst.networks import Network
from jaxnst.networks.devices import LOSS_SCALE
from jaxnst.objective import FeatureFn, LossTerms, LossWeights, Targets, perceptual_loss


class Average(NamedTuple):
    """A running average, as a weighted sum and the sum of its weights.

    Attributes:
        total: weighted sum of the pictures so far.
        weight: sum of the weights, 1 - decay ** pictures; 0 before the first picture.
    """

    total: Image
    weight: Scalar


def init_average(image: Image) -> Average:
    """Return an average of no pictures, with the shape of `image`."""
    return Average(jnp.zeros_like(image), jnp.float32(0))


def update_average(average: Average, image: Image, decay: Scalar) -> Average:
    """Return the average with one more picture; `decay` is 0 to below 1."""
    total = decay * average.total + (1 - decay) * image
    return Average(total, decay * average.weight + (1 - decay))


def averaged_image(average: Average) -> Image:
    """Return the average as a picture, RGB, [0, 1], without a bias towards black.

    References:
        Kingma, Ba, "Adam", 2015, section 3: the bias correction.
    """
    # Rounding may leave a white pixel just above 1.
    return jnp.clip(average.total / average.weight, 0.0, 1.0)


class TransferState(NamedTuple):
    """The state that is carried from step to step.

    Attributes:
        image: picture, RGB, [0, 1].
        opt_state: state of the optimizer.
        average: average of the pictures at this size; None: no average.
    """

    image: Image
    opt_state: optax.OptState
    average: Average | None = None


class StepInfo(NamedTuple):
    """The report of a step.

    Attributes:
        terms: loss terms of the picture before the step.
        is_finite: whether loss and update were finite; if not, the state is unchanged.
    """

    terms: LossTerms
    is_finite: Flag


class KeptInfos(NamedTuple):
    """The reports of a call that was kept on disk, on the host.

    Attributes:
        infos: reports; arrays have a first axis of steps, whatever device made them.
    """

    infos: StepInfo


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["rows"], meta_fields=["layout"]
)
@dataclasses.dataclass(frozen=True)
class PackedInfos:
    """The reports of several steps as one array: one kernel writes it, not one a term.

    Attributes:
        rows: numbers of each step, along the last axis.
        layout: structure of a `StepInfo`; where in a row each of its numbers is, or
            its vectors start and stop, and of what dtype it is.
    """

    rows: Any
    layout: Any

    def unpack(self) -> StepInfo:
        """Return the reports on the host. Arrays have the first axes of `rows`."""
        rows = np.asarray(self.rows)
        structure, places = self.layout
        leaves = [
            rows[..., start if stop is None else slice(start, stop)].astype(
                dtype, copy=False
            )
            for start, stop, dtype in places
        ]
        return jax.tree.unflatten(structure, leaves)


def _pack(info: StepInfo) -> PackedInfos:
    leaves, structure = jax.tree.flatten(info)
    vectors = [jnp.atleast_1d(leaf).astype(jnp.float32) for leaf in leaves]
    places, start = [], 0
    for leaf in leaves:
        stop = start + leaf.size
        places.append((start, stop if leaf.ndim else None, leaf.dtype))
        start = stop
    return PackedInfos(jnp.concatenate(vectors), (structure, tuple(places)))


def init_state(
    image: Image,
    optimizer: optax.GradientTransformation,
    *,
    use_average: bool = False,
) -> TransferState:
    """Return the state before the first step.

    Args:
        image: first picture, RGB, [0, 1].
        optimizer: any optax transformation.
        use_average: whether to average the pictures.
    """
    average = init_average(image) if use_average else None
    state = TransferState(image, optimizer.init(image), average)
    # Copies, because the first step donates every buffer, and some optimizers start
    # with one buffer in two places.
    return jax.tree.map(jnp.copy, state)


def loss_and_gradient(
    image: Image,
    network: FeatureFn,
    targets: Targets,
    weights: LossWeights,
    *,
    normalization: str = "pair",
) -> tuple[Scalar, LossTerms, Image]:
    """Return the total loss, its terms, and its gradient with respect to the picture.

    Args:
        image: picture, RGB, [0, 1].
        network: the frozen feature extractor; no gradient reaches its weights.
        targets: targets of `jaxnst.objective.compute_targets`.
        weights: weights of the loss terms.
        normalization: "pair" or "paper".
    """
    factor = gradient_factor(network, weights)
    (loss, terms), gradient = jax.value_and_grad(_scaled_loss, has_aux=True)(
        image, network, targets, weights, normalization, 1 if factor is None else factor
    )
    if factor is not None:
        loss, gradient = loss / factor, gradient / factor
    return loss, terms, gradient


def gradient_factor(network: FeatureFn, weights: LossWeights) -> Scalar | None:
    """Return what the loss is multiplied by while its gradient is in float16.

    None in any other arithmetic.
    """
    if isinstance(network, Network) and network.arithmetic == "float16":
        return LOSS_SCALE / _largest(weights)
    return None


def loss_scale(shape: tuple[int, ...], normalization: str) -> int:
    """Return what the loss of a picture is multiplied by.

    The gradient of a mean over pixels shrinks as the picture grows. With sums over
    pixels it does not, so an optimizer's state remains valid at the next size.
    """
    return 1 if normalization == "paper" else shape[0] * shape[1]


def _scaled_loss(
    image: Image,
    network: FeatureFn,
    targets: Targets,
    weights: LossWeights,
    normalization: str,
    factor: float | Scalar = 1,
) -> tuple[Scalar, LossTerms]:
    scale = factor * loss_scale(image.shape, normalization)
    total, terms = perceptual_loss(
        image, network, targets, weights, normalization=normalization
    )
    return scale * total, terms


def _largest(weights: LossWeights) -> Scalar:
    """Return the largest of the weights of what the network measures."""
    largest = jnp.maximum(weights.content, jnp.max(jnp.asarray(weights.style)))
    return jnp.maximum(largest, jnp.finfo(jnp.float32).eps)


def step(
    state: TransferState,
    network: FeatureFn,
    targets: Targets,
    weights: LossWeights,
    learning_rate: Scalar,
    averaging: Scalar | None = None,
    *,
    optimizer: optax.GradientTransformationExtraArgs,
    normalization: str = "pair",
) -> tuple[TransferState, StepInfo]:
    """Make one step.

    Args:
        state: picture and optimizer state.
        network: the frozen feature extractor; no gradient reaches its weights.
        targets: targets of `jaxnst.objective.compute_targets`.
        weights: weights of the loss terms.
        learning_rate: factor on the optimizer's update.
        averaging: decay of the average, 0 to below 1; None if the state has none.
        optimizer: any optax transformation.
        normalization: "pair" or "paper".

    Returns:
        The next state, its picture clipped to [0, 1], and the loss before the step. If
        the loss or the update is not finite, the state is returned unchanged.
    """
    loss, terms, gradient = loss_and_gradient(
        state.image, network, targets, weights, normalization=normalization
    )
    moved, is_finite = move(
        state,
        loss,
        gradient,
        learning_rate,
        averaging,
        rates=None if targets.temporal is None else targets.temporal.rates,
        optimizer=optimizer,
        value_fn=lambda image: _scaled_loss(
            image, network, targets, weights, normalization
        )[0],
    )
    kept = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), moved, state)
    return kept, StepInfo(terms, is_finite)


def move(
    state: TransferState,
    loss: Scalar,
    gradient: Image,
    learning_rate: Scalar,
    averaging: Scalar | None,
    *,
    rates: Float[Array, "height width 1"] | None = None,
    optimizer: optax.GradientTransformationExtraArgs,
    **search: Any,
) -> tuple[TransferState, Flag]:
    """Return the next state, and whether loss and update are finite.

    Args:
        state: picture and optimizer state.
        loss: total loss of the picture, times `loss_scale`.
        gradient: gradient of `loss` with respect to the picture.
        learning_rate: factor on the optimizer's update.
        averaging: decay of the average; None if the state has none.
        rates: factor on the update of each pixel; None for 1.
        optimizer: any optax transformation.
        search: arguments of line searches, such as `value_fn`.
    """
    # The keyword arguments are for line searches; other optimizers ignore them, and XLA
    # does not compute unused values.
    update, opt_state = optimizer.update(
        gradient, state.opt_state, state.image, value=loss, grad=gradient, **search
    )
    assert isinstance(update, jax.Array)
    if rates is not None:
        update = rates * update
    image = jnp.clip(state.image + learning_rate * update, 0.0, 1.0)
    average = state.average
    if average is not None and averaging is not None:
        average = update_average(average, image, averaging)
    is_finite = jnp.isfinite(loss) & jnp.all(jnp.isfinite(update))
    return TransferState(image, opt_state, average), is_finite


def steps(
    state: TransferState,
    network: FeatureFn,
    targets: Targets,
    weights: LossWeights,
    learning_rates: Scalars,
    num_steps: Count,
    averaging: Scalar | None = None,
    *,
    optimizer: optax.GradientTransformationExtraArgs,
    normalization: str = "pair",
) -> tuple[TransferState, PackedInfos]:
    """Make several steps in one call, for devices on which a call outlasts a step.

    Not for the CPU, where XLA computes convolutions inside a loop slowly.

    Args:
        state: picture and optimizer state.
        network: the frozen feature extractor; no gradient reaches its weights.
        targets: targets of `jaxnst.objective.compute_targets`.
        weights: weights of the loss terms.
        learning_rates: learning rate of each step that a call can make.
        num_steps: number of steps to make now.
        averaging: decay of the average, 0 to below 1; None if the state has none.
        optimizer: any optax transformation.
        normalization: "pair" or "paper".

    Returns:
        The last state, and the infos of all steps; those beyond `num_steps` are
        meaningless.
    """
    problem = network, targets, weights
    static: dict[str, Any] = {"optimizer": optimizer, "normalization": normalization}

    def one(state: TransferState, rate: Scalar) -> tuple[TransferState, PackedInfos]:
        state, info = step(state, *problem, rate, averaging, **static)
        return state, _pack(info)

    def body(
        index: jax.Array, carry: tuple[TransferState, PackedInfos]
    ) -> tuple[TransferState, PackedInfos]:
        state, infos = carry
        state, info = one(state, learning_rates[index])
        rows = jax.lax.dynamic_update_index_in_dim(infos.rows, info.rows, index, 0)
        return state, dataclasses.replace(infos, rows=rows)

    _, shape = jax.eval_shape(one, state, learning_rates[0])
    rows = jnp.zeros((learning_rates.size, *shape.rows.shape), shape.rows.dtype)
    empty = dataclasses.replace(shape, rows=rows)
    return jax.lax.fori_loop(0, num_steps, body, (state, empty))


_STATIC = ("optimizer", "normalization")
compiled_step = jax.jit(step, static_argnames=_STATIC, donate_argnames=("state",))
compiled_steps = jax.jit(steps, static_argnames=_STATIC, donate_argnames=("state",))
compiled_loss_and_gradient = jax.jit(
    loss_and_gradient, static_argnames=("normalization",)
)
