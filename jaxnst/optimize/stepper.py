"""The two kinds of steps behind one face: optax's updates, and searched lengths."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnst._types import Image, Scalar
from jaxnst.objective import FeatureFn, LossTerms, LossWeights, Targets

from .averaging import update_average
from .lbfgs import (
    Direction,
    LineSearched,
    Trial,
    compiled_direction,
    compiled_try,
)
from .linesearch import Probe, search_length
from .step import StepInfo, TransferState, compiled_step, compiled_steps, init_state


# What a slope promises below this part of the loss is rounding.
_FLAT = 1e-7


class Problem(NamedTuple):
    """What is minimized at one size.

    Attributes:
        network: the frozen feature extractor.
        targets: at this size.
        weights: of the loss terms.
        normalization: that of the targets.
    """

    network: FeatureFn
    targets: Targets
    weights: LossWeights
    normalization: str = "pair"


class Taken(NamedTuple):
    """What a call of a stepper did besides changing the state.

    Attributes:
        info: on the device, of one step; or of several along a first axis.
        num_steps: how many.
        num_evaluations: how often loss and gradient were computed.
        trouble: why it cannot go on: "line search stalled"; or None.
        is_flat: whether there is nothing to gain from here.
    """

    info: StepInfo
    num_steps: int = 1
    num_evaluations: int = 1
    trouble: str | None = None
    is_flat: bool = False


class OptaxStepper:
    """Steps of any optax transformation."""

    def __init__(
        self,
        problem: Problem,
        optimizer: optax.GradientTransformationExtraArgs,
        averaging: float,
        steps_per_call: int,
    ):
        self.steps_per_call = steps_per_call
        self._problem = problem
        self._optimizer = optimizer
        self._averaging = jnp.float32(averaging) if averaging else None

    def __call__(
        self, state: TransferState, rates: Sequence[float]
    ) -> tuple[TransferState, Taken]:
        """Make a step for every rate; the state given is given up."""
        network, targets, weights, normalization = self._problem
        if self.steps_per_call == 1:
            (rate,) = rates
            state, info = compiled_step(
                state,
                network,
                targets,
                weights,
                jnp.float32(rate),
                self._averaging,
                optimizer=self._optimizer,
                normalization=normalization,
            )
            return state, Taken(info)
        padded = np.zeros(self.steps_per_call, np.float32)
        padded[: len(rates)] = rates
        state, info = compiled_steps(
            state,
            network,
            targets,
            weights,
            jnp.asarray(padded),
            jnp.int32(len(rates)),
            self._averaging,
            optimizer=self._optimizer,
            normalization=normalization,
        )
        return state, Taken(info, len(rates), len(rates))

    def measure_terms(self, image: Image) -> LossTerms:
        """Measure a picture by making a step from it that nobody keeps."""
        use_average = self._averaging is not None
        state = init_state(image, self._optimizer, use_average=use_average)
        _, taken = self(state, [0.0])
        return jax.tree.map(lambda leaf: jnp.ravel(leaf)[0], taken.info.terms)


class SearchStepper:
    """Steps along given directions, of lengths searched for.

    The length that is tried first is multiplied with the rate.
    """

    steps_per_call = 1

    def __init__(self, problem: Problem, optimizer: LineSearched, averaging: float):
        self._problem = problem
        self._optimizer = optimizer
        self._averaging = averaging
        # What was measured last, at the picture of the present state.
        self._here: Trial | None = None

    def __call__(
        self, state: TransferState, rates: Sequence[float]
    ) -> tuple[TransferState, Taken]:
        """Make one step; the state given is given up.

        Where no better picture is found the same one comes back.
        """
        (rate,) = rates
        num_evaluations = 0
        here = self._here
        if here is None:
            here = self._try(state.image, jnp.zeros_like(state.image), 0.0)
            num_evaluations += 1
        direction, opt_state = compiled_direction(
            state.opt_state, state.image, here.gradient, optimizer=self._optimizer
        )
        state = state._replace(opt_state=opt_state)
        is_finite = direction.is_finite & jnp.isfinite(here.loss)
        info = StepInfo(here.terms, is_finite)
        loss, slope = float(here.loss), float(direction.slope)
        length = float(direction.length)
        if not is_finite:
            return state, Taken(info, 1, num_evaluations)
        if -slope * length <= _FLAT * abs(loss):
            self._here = here
            return state, Taken(info, 1, num_evaluations, is_flat=True)
        found = search_length(
            lambda length: self._probe(state.image, direction, length, here.gradient),
            loss,
            rate * length,
        )
        num_evaluations += found.num_evaluations
        if found.probe is None:
            trouble = "line search stalled"
            return state, Taken(info, 1, num_evaluations, trouble)
        self._here = found.probe.payload
        image: Image = found.probe.payload.image
        average = state.average
        if average is not None:
            average = update_average(average, image, jnp.float32(self._averaging))
        state = TransferState(image, state.opt_state, average)
        return state, Taken(info, 1, num_evaluations)

    def measure_terms(self, image: Image) -> LossTerms:
        """Measure a picture."""
        return self._try(image, jnp.zeros_like(image), 0.0).terms

    def _try(
        self, image: Image, vector: Image, length: float, gradient: Image | None = None
    ) -> Trial:
        network, targets, weights, normalization = self._problem
        return compiled_try(
            image,
            vector,
            jnp.float32(length),
            vector if gradient is None else gradient,
            network,
            targets,
            weights,
            normalization=normalization,
        )

    def _probe(
        self, image: Image, direction: Direction, length: float, gradient: Image
    ) -> Probe:
        trial = self._try(image, direction.vector, length, gradient)
        numbers: tuple[Scalar, ...] = (trial.loss, trial.before, trial.after)
        loss, before, after = (float(number) for number in jax.device_get(numbers))
        return Probe(loss, before, after, trial)


# What either makes of a state and rates is a state and what was `Taken`.
Stepper = OptaxStepper | SearchStepper


def make_stepper(
    problem: Problem,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    averaging: float = 0.0,
    steps_per_call: int = 1,
) -> Stepper:
    """Return what makes the steps of one size.

    Args:
        problem: what is minimized.
        optimizer: any optax transformation, or a line-searched one.
        averaging: decay of the average of pictures; 0: none.
        steps_per_call: how many steps one call of the device makes; a line search
            makes one.
    """
    if isinstance(optimizer, LineSearched):
        return SearchStepper(problem, optimizer, averaging)
    return OptaxStepper(problem, optimizer, averaging, steps_per_call)
