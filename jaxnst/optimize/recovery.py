"""What is done when the steps go wrong: back to the last good picture, then gentler.

Never a black or a gray picture for it: in the end the best one seen is what remains.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import optax

from jaxnst.calls import Call, Calls
from jaxnst.objective import LossTerms

from .lbfgs import LineSearched
from .loop import Schedule, SizeRun, StepCallback, run_size
from .optimizers import make_optimizer
from .schedule import Pace
from .stepper import OptaxStepper, Problem, make_stepper
from .stepping import TransferState, compiled_average, init_state
from .strength import Steering, Trimmed, trim


# How often a size is taken up again.
_MAX_RECOVERIES = 3
# What the learning rate is multiplied with each time.
_GENTLER = 0.1
# The learning rate of Adam in place of a line search that failed twice.
_ADAM_RATE = 0.02
_ADAM_DECAY = 0.7
# Why a size ended, where nobody stopped it.
_PAINTED_OUT = (None, "converged", "out of time")


class Method(NamedTuple):
    """How steps are made; gentler after a recovery, and so for all sizes to come.

    Attributes:
        optimizer: any optax transformation, or a line-searched one.
        learning_rate: what its updates are multiplied with at first.
        decay: part of the last size's steps over which that falls.
        max_rate: a gentler learning rate is no higher, in units of pixel values; with
            an optimizer of the user's own it has no unit, so infinite.
    """

    optimizer: optax.GradientTransformationExtraArgs
    learning_rate: float
    decay: float = 0.0
    max_rate: float = math.inf


class Recovery(NamedTuple):
    """One time that the steps went wrong.

    Attributes:
        size: longest side that was painted, in pixels.
        step: number of steps made by then, over all sizes.
        reason: "not finite", "the loss rose", "line search stalled".
        action: what was done.
    """

    size: int
    step: int
    reason: str
    action: str


class SizeResult(NamedTuple):
    """What one size gave, recoveries and all.

    Attributes:
        run: all goes at it as one.
        method: as it is now.
        recoveries: in their order.
        is_averaged: whether the picture is the average of the steps' pictures.
        trimmed: how the picture was brought to a strength, if one was asked for.
    """

    run: SizeRun
    method: Method
    recoveries: list[Recovery]
    is_averaged: bool
    trimmed: Trimmed | None = None


def paint_size(
    state: TransferState,
    problem: Problem,
    method: Method,
    pace: Pace,
    *,
    schedule: Schedule,
    averaging: float = 0.0,
    steps_per_call: int = 1,
    steering: Steering | None = None,
    callback: StepCallback | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> Calls[SizeResult]:
    """Paint at one size; where steps go wrong, go back and take gentler ones.

    Args:
        state: where to start; its buffers are given up.
        problem: what is minimized.
        method: how steps are made.
        pace: how many steps there are, and how long they are.
        schedule: what came before and what comes after.
        averaging: decay of the average of pictures; 0: none.
        steps_per_call: see `make_stepper`.
        steering: changes the weights from step to step, and at the full size trims the
            picture to what was asked for.
        callback: called after each step; returning True stops.
        is_interrupted: asked after each step whether to stop.
    """
    size = max(state.image.shape)
    is_last = state.image.shape[:2] == schedule.full_shape
    recoveries: list[Recovery] = []
    runs: list[SizeRun] = []
    while True:
        stepper = make_stepper(
            problem,
            method.optimizer,
            averaging=averaging,
            steps_per_call=steps_per_call,
        )
        run, trouble, kept = yield from run_size(
            state,
            stepper,
            pace,
            schedule=schedule,
            steering=steering,
            callback=callback,
            is_interrupted=is_interrupted,
        )
        runs.append(run)
        state = run.state
        if trouble is None:
            break
        is_over = run.stopped is not None or pace.done >= pace.num_steps
        if is_over or len(recoveries) == _MAX_RECOVERIES:
            action = "kept the best picture"
        else:
            is_first = trouble not in {recovery.reason for recovery in recoveries}
            method, action = _gentler(method, is_first=is_first)
            pace.soften(method.learning_rate, decay=method.decay if is_last else 0.0)
        recoveries.append(
            Recovery(size, schedule.first_step + pace.done, trouble, action)
        )
        state = init_state(kept, method.optimizer, use_average=bool(averaging))
        if action != "kept the best picture":
            continue
        is_hopeless = not is_over or not _terms(runs)
        if trouble == "not finite" and is_hopeless:
            runs[-1] = dataclasses.replace(run, stopped="not finite")
        break
    is_averaged = False
    trimmed: Trimmed | None = None
    if steering is not None:
        steering.begin_size()
        if is_last and runs[-1].stopped in _PAINTED_OUT:
            assert isinstance(stepper, OptaxStepper)
            trimmed = yield from trim(
                state,
                stepper,
                steering,
                lambda: pace.has_time() and not is_interrupted(),
            )
            state = trimmed.state
            if is_interrupted():
                runs[-1] = dataclasses.replace(runs[-1], stopped="interrupted")
    elif (
        state.average is not None
        and float(state.average.weight) > 0
        and runs[-1].stopped in _PAINTED_OUT
    ):
        average = yield Call(compiled_average, (state.average,), {})
        last = yield from stepper.measure_terms(state.image.copy())
        mean = yield from stepper.measure_terms(average.copy())
        if mean.total < last.total:
            state = state._replace(image=average)
            is_averaged = True
    return SizeResult(_joined(runs, state), method, recoveries, is_averaged, trimmed)


def _gentler(method: Method, *, is_first: bool) -> tuple[Method, str]:
    if isinstance(method.optimizer, LineSearched):
        if is_first:
            return method, "cleared the memory"
        adam = Method(make_optimizer("adam"), _ADAM_RATE, _ADAM_DECAY)
        return adam, f"took Adam, learning rate {_ADAM_RATE:g}"
    rate = min(method.learning_rate * _GENTLER, method.max_rate)
    return method._replace(learning_rate=rate), f"learning rate {rate:g}"


def _terms(runs: list[SizeRun]) -> list[LossTerms]:
    return [terms for run in runs for terms in run.terms]


def _joined(runs: list[SizeRun], state: TransferState) -> SizeRun:
    return SizeRun(
        state=state,
        terms=_terms(runs),
        num_evaluations=sum(run.num_evaluations for run in runs),
        compile_seconds=sum(run.compile_seconds for run in runs),
        stopped=runs[-1].stopped,
    )
