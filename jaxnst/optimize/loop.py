"""The loop around the compiled step, for one picture size.

The loop is Python: XLA runs a convolution inside a compiled loop on the CPU several
times slower than outside (jax issue 12868), and progress, stopping and interruption
become ordinary code.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnst._types import HostImage
from jaxnst.objective import FeatureFn, LossTerms, LossWeights, Targets

from .step import StepInfo, TransferState, compiled_step


# How many steps may be under way on the device before the loop waits for the oldest.
_MAX_AHEAD = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepView:
    """What a callback sees after each step, valid until it returns.

    Nothing is fetched from the device until it is read.

    Attributes:
        step: number of this step over all sizes, from 1.
        num_steps: number of steps over all sizes, if none stops early.
        shape: height and width that are being painted.
        full_shape: height and width of the result.
        work_done: part of all the work that is done, 0 to 1; a step counts as many
            times as it has pixels.
        terms: loss terms of the picture before this step, on the device.
    """

    step: int
    num_steps: int
    shape: tuple[int, int]
    full_shape: tuple[int, int]
    work_done: float
    terms: LossTerms
    _state: TransferState

    @property
    def image(self) -> HostImage:
        """The picture after this step: RGB, float32, [0, 1], at the present size."""
        return np.asarray(self._state.image)

    @property
    def loss(self) -> float:
        """The total loss before this step."""
        return float(self.terms.total)


StepCallback = Callable[[StepView], object]


class Schedule(NamedTuple):
    """Where one size stands among all of them.

    Attributes:
        first_step: steps at sizes before this one.
        total_steps: steps at all sizes.
        first_work: pixels times steps before this one.
        total_work: pixels times steps at all sizes.
        full_shape: height and width of the result.
    """

    first_step: int
    total_steps: int
    first_work: int
    total_work: int
    full_shape: tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeRun:
    """What painting one size gave.

    Attributes:
        state: the last good one.
        terms: of each step, on the host.
        compile_seconds: of the first step, less the time a later one takes.
        stopped: why it ended early: "callback", "interrupted", "not finite"; or None.
    """

    state: TransferState
    terms: list[LossTerms]
    compile_seconds: float
    stopped: str | None


def learning_rate_at(rate: float, step: int, num_steps: int, decay: float) -> float:
    """Return the rate of a step: constant, then along a cosine towards zero.

    Args:
        rate: at the start.
        step: number of the step, from 0.
        num_steps: how many there are.
        decay: part of them over which the rate falls.
    """
    start = num_steps * (1 - decay)
    if step < start:
        return rate
    return (
        rate
        * 0.5
        * (1 + math.cos(math.pi * (step - start + 1) / (num_steps * decay + 1)))
    )


def run_size(
    state: TransferState,
    network: FeatureFn,
    targets: Targets,
    weights: LossWeights,
    *,
    optimizer: optax.GradientTransformationExtraArgs,
    learning_rates: list[float],
    normalization: str,
    schedule: Schedule,
    callback: StepCallback | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> SizeRun:
    """Paint at one size.

    Args:
        state: where to start; its buffers are given up.
        network: the frozen feature extractor.
        targets: at this size.
        weights: of the loss terms.
        optimizer: as for `step`.
        learning_rates: one for every step.
        normalization: that of the targets.
        schedule: what came before and what comes after.
        callback: called after each step; returning True stops.
        is_interrupted: asked after each step whether to stop.
    """
    height, width = state.image.shape[:2]
    infos: list[StepInfo] = []
    stopped = None
    started = time.perf_counter()
    first_seconds = 0.0
    for index, rate in enumerate(learning_rates):
        state, info = compiled_step(
            state,
            network,
            targets,
            weights,
            jnp.float32(rate),
            optimizer=optimizer,
            normalization=normalization,
        )
        infos.append(info)
        if index == 0:
            jax.block_until_ready(info)
            first_seconds = time.perf_counter() - started
        if index >= _MAX_AHEAD and not infos[index - _MAX_AHEAD].is_finite:
            stopped = "not finite"
            break
        view = StepView(
            step=schedule.first_step + index + 1,
            num_steps=schedule.total_steps,
            shape=(height, width),
            full_shape=schedule.full_shape,
            work_done=(schedule.first_work + (index + 1) * height * width)
            / schedule.total_work,
            terms=info.terms,
            _state=state,
        )
        if callback is not None and _is_true(callback(view)):
            stopped = "callback"
            break
        if is_interrupted():
            stopped = "interrupted"
            break
    finite = [info for info in jax.device_get(infos) if info.is_finite]
    if len(finite) < len(infos):
        stopped = "not finite"
    elif stopped is None and is_interrupted():  # while the last steps were awaited
        stopped = "interrupted"
    seconds = time.perf_counter() - started
    later = (seconds - first_seconds) / max(1, len(infos) - 1)
    return SizeRun(
        state=state,
        terms=[info.terms for info in finite],
        compile_seconds=max(0.0, first_seconds - later),
        stopped=stopped,
    )


def _is_true(answer: object) -> bool:
    """Whether a callback said True: Python's, NumPy's or JAX's, but nothing else."""
    return isinstance(answer, bool | np.bool_ | jax.Array) and bool(answer)
