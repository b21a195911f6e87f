"""The two kinds of steps behind one face: optax's updates, and searched lengths."""

import math
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnst._types import Image
from jaxnst.calls import Call, Calls
from jaxnst.objective import FeatureFn, LossTerms, LossWeights, Targets

from .lbfgs import (
    Direction,
    Found,
    LineSearched,
    Probe,
    Trial,
    compiled_direction,
    compiled_try,
    search_length,
)
from .stepping import (
    StepInfo,
    TransferState,
    compiled_step,
    compiled_steps,
    compiled_update,
    init_state,
)


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
    """What a stepper did besides changing the state.

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
    """Steps of any optax transformation.

    Attributes:
        steps_per_call: how many at most.
        optimizer: the transformation.
        is_averaging: whether there is an average of the pictures.
        weights: of the loss terms; may be changed between calls.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: optax.GradientTransformationExtraArgs,
        averaging: float,
        steps_per_call: int,
    ):
        self.steps_per_call = steps_per_call
        self.optimizer = optimizer
        self.is_averaging = averaging > 0
        self.weights = problem.weights
        self._problem = problem
        self._averaging = np.float32(averaging) if averaging else None

    def __call__(
        self, state: TransferState, rates: Sequence[float]
    ) -> Calls[tuple[TransferState, Taken]]:
        """Make a step for every rate; the state given is given up."""
        network, targets, _, normalization = self._problem
        static = {"optimizer": self.optimizer, "normalization": normalization}
        common = (state, network, targets, self.weights)
        if self.steps_per_call == 1:
            (rate,) = rates
            args = (*common, np.float32(rate), self._averaging)
            state, info = yield Call(compiled_step, args, static)
            return state, Taken(info)
        padded = np.zeros(self.steps_per_call, np.float32)
        padded[: len(rates)] = rates
        args = (*common, padded, np.int32(len(rates)), self._averaging)
        state, info = yield Call(compiled_steps, args, static)
        return state, Taken(info, len(rates), len(rates))

    def measure_terms(self, image: Image) -> Calls[LossTerms]:
        """Measure a picture by making a step from it that nobody keeps."""
        state = init_state(image, self.optimizer, use_average=self.is_averaging)
        _, taken = yield from self(state, [0.0])
        terms = jax.device_get(taken.info.terms)
        is_one = np.ndim(terms.total) == 0
        return terms if is_one else jax.tree.map(lambda leaf: leaf[0], terms)


class SearchStepper:
    """Steps along given directions, of lengths searched for.

    The length that is tried first is multiplied with the rate.
    """

    steps_per_call = 1

    def __init__(self, problem: Problem, optimizer: LineSearched, averaging: float):
        self.weights = problem.weights
        self._problem = problem
        self._optimizer = optimizer
        self._averaging = averaging
        # What was measured last, at the picture of the present state.
        self._here: Trial | None = None

    def __call__(
        self, state: TransferState, rates: Sequence[float]
    ) -> Calls[tuple[TransferState, Taken]]:
        """Make one step; the state given is given up.

        Where no better picture is found the same one comes back.
        """
        (rate,) = rates
        num_evaluations = 0
        here = self._here
        if here is None:
            here = yield self._measure(state.image)
            num_evaluations += 1
        direction, opt_state = yield Call(
            compiled_direction,
            (state.opt_state, state.image, here.gradient),
            {"optimizer": self._optimizer},
        )
        state = state._replace(opt_state=opt_state)
        numbers = (here.loss, direction.slope, direction.length, direction.is_finite)
        loss, slope, length, is_finite = (x.item() for x in jax.device_get(numbers))
        is_finite = is_finite and math.isfinite(loss)
        info = StepInfo(here.terms, jnp.bool_(is_finite))
        if not is_finite:
            return state, Taken(info, 1, num_evaluations)
        if -slope * length <= _FLAT * abs(loss):
            self._here = here
            return state, Taken(info, 1, num_evaluations, is_flat=True)
        search = search_length(loss, rate * length)
        found = yield from self._search(search, state.image, direction, here.gradient)
        num_evaluations += found.num_evaluations
        if found.probe is None:
            trouble = "line search stalled"
            return state, Taken(info, 1, num_evaluations, trouble)
        self._here = found.probe.payload
        image: Image = found.probe.payload.image
        average = state.average
        if average is not None:
            args = (average, image, np.float32(self._averaging))
            average = yield Call(compiled_update, args, {})
        state = TransferState(image, state.opt_state, average)
        return state, Taken(info, 1, num_evaluations)

    def measure_terms(self, image: Image) -> Calls[LossTerms]:
        """Measure a picture."""
        found = yield self._measure(image)
        return jax.device_get(found.terms)

    def _search(
        self,
        search: Generator[float, Probe, Found],
        image: Any,
        direction: Direction,
        gradient: Any,
    ) -> Calls[Found]:
        """Measure every length that a search wants to know of."""
        try:
            length = next(search)
            while True:
                call = self._try(image, direction.vector, length, gradient)
                trial: Trial = yield call
                numbers = (trial.loss, trial.before, trial.after)
                loss, before, after = map(float, jax.device_get(numbers))
                length = search.send(Probe(loss, before, after, trial))
        except StopIteration as end:
            return end.value

    def _measure(self, image: Any) -> Call:
        still = np.zeros(image.shape, np.float32)
        return self._try(image, still, 0.0, still)

    def _try(self, image: Any, vector: Any, length: float, gradient: Any) -> Call:
        network, targets, _, normalization = self._problem
        where = (image, vector, np.float32(length), gradient)
        args = (*where, network, targets, self.weights)
        return Call(compiled_try, args, {"normalization": normalization})


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
