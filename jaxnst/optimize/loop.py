"""The loop around the compiled step, for one picture size and a batch of pictures.

The loop is Python: on the CPU XLA runs a convolution several times slower inside a
compiled loop than outside (jax issue 12868), and progress, stopping and interruption
become ordinary code. Each picture of a batch is a member, which has a schedule and a
monitor of its own, see `jaxnst.optimize.member`. A member that is done takes steps of
length 0 until the others are done, and its picture is kept as it was.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnst._types import HostImage
from jaxnst.objective import Targets

from .batching import StepProgram
from .member import Member, MemberRun, SizeReport
from .optimizers import is_lbfgs
from .quasi_newton import Evaluation, minimize_lbfgs
from .stepping import (
    StepInfo,
    TransferState,
    averaged_image,
    init_average,
    update_average,
)
from .strength import Trimmer


# Number of calls on the device before the loop waits for the oldest. Its loss is then
# fetched, so that divergence is noticed while the device works on the later calls.
_MAX_AHEAD = 2


def run_size(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    members: Sequence[Member],
    *,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> tuple[TransferState, list[SizeReport]]:
    """Paint a batch of pictures at one size; return the last state, and reports.

    If the steps of a member diverge, it goes back to its best picture and takes gentler
    steps.

    Args:
        state: state of all members; its buffers are donated.
        targets: targets of `StepProgram.stack_targets`.
        program: program of the step; its batch may have more rows than members.
        members: settings and progress of each picture, which are updated.
        is_interrupted: function called after each step; it returns True to stop all.
    """
    runs = [
        MemberRun(member, program.member(state.image, index))
        for index, member in enumerate(members)
    ]
    started = time.perf_counter()
    first_seconds = 0.0
    if is_lbfgs(program.optimizer):
        (run,) = runs
        image, first_seconds = _run_lbfgs(
            program, targets, state.image, run, is_interrupted
        )
        program = dataclasses.replace(program, optimizer=run.member.method.optimizer)
        state = program.init(image)
    if any(not run.is_done for run in runs):
        state, first_seconds = _run_steps(state, targets, program, runs, is_interrupted)
    seconds = time.perf_counter() - started
    num_calls = max(run.schedule.done for run in runs)
    later = (seconds - first_seconds) / max(1, num_calls - 1)
    compile_seconds = max(0.0, first_seconds - later)
    if steerings := [each.steering for each in members if each.steering is not None]:
        for steering in steerings:
            steering.begin_size()
        if members[0].budget.is_last:
            state = _trim(state, targets, program, runs, is_interrupted)
    elif state.average is not None:
        state = _take_averages(state, targets, program, runs)
    return state, [run.finish(compile_seconds) for run in runs]


def _run_steps(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    runs: Sequence[MemberRun],
    is_interrupted: Callable[[], bool],
) -> tuple[TransferState, float]:
    """Make the steps of all members; return the state and the first call's seconds."""
    # Calls that were not observed by all of their members: their infos on the device,
    # their numbers of steps, and the indices of those members.
    waiting: list[tuple[StepInfo, int, set[int]]] = []
    # States of members that are done, by their index.
    kept: dict[int, TransferState] = {}
    started = time.perf_counter()
    first_seconds: float | None = None

    def observe(
        info: StepInfo, count: int, indices: Collection[int], *, is_last: bool = False
    ) -> None:
        """Wait for a call, and let members observe what it found."""
        info = program.fetch(info)
        for index in indices:
            own = jax.tree.map(lambda leaf, at=index: leaf[at, :count], info)
            runs[index].observe(own.terms, own.is_finite, is_last=is_last)

    def end(ending: Collection[int]) -> None:
        """Let members end or recover, once they have observed all their calls.

        The others observe theirs when they would if they were painted alone.
        """
        nonlocal state
        for info, count, indices in waiting:
            observe(info, count, indices.intersection(ending), is_last=True)
            indices.difference_update(ending)
        starts = {}
        for index in ending:
            if (image := runs[index].end()) is not None:
                starts[index] = program.init(image)
        state = program.replace(state, starts)
        if not all(run.is_done for run in runs):
            for index in ending:
                if runs[index].is_done:
                    own = program.member(state, index)
                    kept[index] = jax.tree.map(jnp.copy, own)

    while active := {
        index: run
        for index, run in enumerate(runs)
        if not run.is_done and run.schedule.num_left()
    }:
        left = min(run.schedule.num_left() for run in active.values())
        count = max(1, min(program.steps_per_call, left))
        rates = np.zeros((len(runs), count))
        for index, run in active.items():
            # Fewer if time has run out since the steps were counted.
            own = run.schedule.next_rates(count)
            rates[index, : len(own)] = own
        weights = [run.weights for run in runs]
        state, info = program.call(state, targets, weights, rates)
        waiting.append((info, count, set(active)))
        if first_seconds is None:
            jax.block_until_ready(info)
            first_seconds = time.perf_counter() - started
            for run in active.values():
                run.schedule.observe([], run.schedule.done)
        while len(waiting) > _MAX_AHEAD:
            observe(*waiting.pop(0))
        for index, run in active.items():
            run.report.num_evaluations += count
            run.after_steps(
                functools.partial(program.member, state.image, index),
                functools.partial(program.last_terms, info, index, count),
                is_interrupted,
            )
        if ending := [index for index, run in active.items() if run.is_to_end]:
            end(ending)
    # Time may run out between two steps.
    if late := [index for index, run in enumerate(runs) if not run.is_done]:
        end(late)
    for run in runs:  # interrupted while the last steps were awaited
        run.heed(is_interrupted)
    return program.replace(state, kept), first_seconds or 0.0


def _run_lbfgs(
    program: StepProgram,
    targets: Targets,
    image: Any,
    run: MemberRun,
    is_interrupted: Callable[[], bool],
) -> tuple[Any, float]:
    """Make the steps of L-BFGS; return the picture and the first step's seconds.

    If its line search fails twice, the rest of the steps is left to Adam.
    """
    started = time.perf_counter()
    first_seconds = 0.0
    average = init_average(image) if program.averaging else None
    here: Evaluation | None = None

    def evaluate_fn(picture: HostImage) -> Evaluation:
        nonlocal here, first_seconds
        function, args, static = program.prepare_loss(picture, targets, run.weights)
        loss, terms, gradient = jax.device_get(function(*args, **static))
        found = Evaluation(float(loss), terms, gradient)
        if here is None:
            here = found
            first_seconds = first_seconds or time.perf_counter() - started
        run.report.num_evaluations += 1
        return found

    def step_fn(picture: HostImage, there: Evaluation) -> bool:
        nonlocal here, average
        assert here is not None
        before, here = here.terms, there
        run.schedule.next_rates()
        steps = jax.tree.map(lambda leaf: np.asarray(leaf)[None], before)
        run.observe(steps, np.isfinite(steps.total))
        if average is not None:
            decay = jnp.float32(program.averaging)
            average = update_average(average, jnp.asarray(picture), decay)
        run.after_steps(lambda: picture, lambda: before, is_interrupted)
        return run.is_to_end

    while not run.is_done and is_lbfgs(run.member.method.optimizer):
        here = None
        found = minimize_lbfgs(
            np.asarray(image), evaluate_fn, run.schedule.num_left(), step_fn=step_fn
        )
        image = found.image
        if found.reason == "converged":
            run.schedule.converge()
        elif found.reason in ("line search stalled", "not finite"):
            run.monitor.best = image
            run.recover(found.reason)
            if average is not None:
                average = init_average(jnp.asarray(image))
            continue
        run.is_done = True
        run.schedule.num_left()
    run.average = average if run.is_done else None
    return image, first_seconds


def _trim(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    runs: Sequence[MemberRun],
    is_interrupted: Callable[[], bool],
) -> TransferState:
    """Bring the pictures to the strengths that were asked for."""
    trimmers: dict[int, Trimmer] = {}
    starts = {}
    for index, run in enumerate(runs):
        steering = run.member.steering
        if steering is not None and run.is_painted_out:
            trimmers[index] = Trimmer(steering, run.member.weights)
            starts[index] = program.init(program.member(state.image, index))
    state = program.replace(state, starts)
    while active := {i: each for i, each in trimmers.items() if not each.is_done}:
        images = {i: program.member(state.image, i).copy() for i in active}
        weights = [run.member.weights for run in runs]
        rates = np.zeros((len(runs), 1))
        for index, trimmer in active.items():
            weights[index], rates[index] = trimmer.weights, trimmer.rate
        state, info = program.call(state, targets, weights, rates)
        gaps = np.asarray(program.fetch(info).terms.style_regions)[:, 0]
        again = {}
        for index, trimmer in active.items():
            if trimmer.observe(gaps[index], images[index]):
                again[index] = program.init(images[index])
            if is_interrupted() or not runs[index].member.budget.has_time():
                trimmer.is_done = True
        state = program.replace(state, again)
    ends = {}
    for index, trimmer in trimmers.items():
        runs[index].report.trimmed = trimmer.trimmed
        ends[index] = program.init(trimmer.trimmed.image)
        runs[index].heed(is_interrupted)
    return program.replace(state, ends)


def _take_averages(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    runs: Sequence[MemberRun],
) -> TransferState:
    """Replace each picture by the average of its steps' pictures, if that is better."""
    images = [program.member(state.image, i) for i in range(len(runs))]
    averages: dict[int, Any] = {}
    for index, run in enumerate(runs):
        average = run.average or program.member(state.average, index)
        if run.is_painted_out and float(average.weight) > 0:
            averages[index] = averaged_image(average)
    if not averages:
        return state
    weights = [run.weights for run in runs]
    means = [averages.get(index, image) for index, image in enumerate(images)]
    last = program.measure(images, targets, weights)
    mean = program.measure(means, targets, weights)
    better = {}
    for index, image in averages.items():
        if mean[index] < last[index]:
            runs[index].report.is_averaged = True
            better[index] = program.member(state, index)._replace(image=image)
    return program.replace(state, better)
