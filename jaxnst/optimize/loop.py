"""The loop around the compiled step, for one picture size and a batch of pictures.

The loop is Python: on the CPU XLA runs a convolution several times slower inside a
compiled loop than outside (jax issue 12868), and progress, stopping and interruption
become ordinary code. Each picture of a batch is a member, which has a schedule and a
monitor of its own, see `jaxnst.optimize.member`. A member that is done takes steps of
length 0 until the others are done, and its picture is kept as it was.
"""

import functools
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnst._types import HostImage
from jaxnst.objective import LossTerms, Targets

from .batching import StepProgram
from .member import Member, MemberRun, Schedule, SizeReport
from .monitor import LossMonitor
from .optimizers import is_lbfgs
from .quasi_newton import Evaluation, minimize_lbfgs
from .stepping import (
    Average,
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
    num_steps: int,
    schedule: Schedule,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> tuple[TransferState, list[SizeReport]]:
    """Paint a batch of pictures at one size.

    If the steps of a member diverge, it goes back to its best picture and takes gentler
    steps.

    Args:
        state: state of all members; its buffers are donated.
        targets: targets of the picture, of the batch, or those that are shared.
        program: program of the step; its batch may have more rows than members.
        members: settings and progress of each picture, which are updated.
        num_steps: number of steps of each member, unless it stops early.
        schedule: place of this size among all sizes.
        is_interrupted: function called after each step; it returns True to stop all.

    Returns:
        The last state, and the report of each member.
    """
    runs = [
        MemberRun(
            member,
            program.member(state, index).image,
            num_steps=num_steps,
            schedule=schedule,
        )
        for index, member in enumerate(members)
    ]
    started = time.perf_counter()
    first_seconds = 0.0
    if is_lbfgs(program.optimizer):
        (run,) = runs
        image, first_seconds = _run_lbfgs(
            program, targets, state.image, run, is_interrupted
        )
        program = program.with_optimizer(run.member.method.optimizer)
        state = program.init(image)
    if any(not run.is_done for run in runs):
        state, first_seconds = _run_steps(state, targets, program, runs, is_interrupted)
    seconds = time.perf_counter() - started
    num_calls = max(run.pace.done for run in runs)
    later = (seconds - first_seconds) / max(1, num_calls - 1)
    compile_seconds = max(0.0, first_seconds - later)
    is_last = runs[0].is_last
    if any(member.steering is not None for member in members):
        for member in members:
            if member.steering is not None:
                member.steering.begin_size()
        if is_last:
            state = _trim(state, targets, program, runs, is_interrupted)
    elif state.average is not None:
        state = _take_averages(state, targets, program, runs)
    return state, [run.report(compile_seconds) for run in runs]


class _Call(NamedTuple):
    """A call of the program: its infos, and the monitors they belong to.

    Attributes:
        info: infos of all members, on the device.
        num_steps: number of steps.
        monitors: {index: monitor of the member at the call}; a recovery replaces it.
    """

    info: StepInfo
    num_steps: int
    monitors: dict[int, LossMonitor]


def _run_steps(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    runs: Sequence[MemberRun],
    is_interrupted: Callable[[], bool],
) -> tuple[TransferState, float]:
    """Make the steps of all members; return the state and the first call's seconds."""
    calls: list[_Call] = []
    # Calls whose losses were not observed yet, and by which members.
    waiting: list[tuple[_Call, set[int]]] = []
    # States of members that are done, by their index.
    kept: dict[int, TransferState] = {}
    num_idle = program.num_members - len(runs)
    started = time.perf_counter()
    first_seconds = 0.0

    def learn(call: _Call, indices: Iterable[int], *, is_last: bool = False) -> None:
        """Wait for a call, and let members observe its losses."""
        terms = call.info.terms
        numbers = terms.total, terms.style_regions, call.info.is_finite
        columns = program.fetch(numbers)
        for index in indices:
            if runs[index].monitor is call.monitors[index]:
                found = (x[index, : call.num_steps] for x in columns)
                runs[index].observe(*found, is_last=is_last)

    def end(ending: Collection[int]) -> None:
        """Let members end or recover, once all their losses are observed.

        The others observe theirs when they would if they were painted alone.
        """
        nonlocal state
        for call, indices in waiting:
            learn(call, indices.intersection(ending), is_last=True)
            indices.difference_update(ending)
        images = {index: runs[index].end() for index in ending}
        starts = {
            index: program.init(image)
            for index, image in images.items()
            if image is not None
        }
        state = program.replace(state, starts)
        if not all(run.is_done for run in runs):
            for index in ending:
                if runs[index].is_done:
                    own = program.member(state, index)
                    kept[index] = jax.tree.map(jnp.copy, own)

    while active := {
        index: run
        for index, run in enumerate(runs)
        if not run.is_done and run.pace.num_left()
    }:
        left = min(run.pace.num_left() for run in active.values())
        count = max(1, min(program.steps_per_call, left))
        rates = [
            (run.pace.next_rates(count) if index in active else [])
            for index, run in enumerate(runs)
        ]
        # Fewer if time has run out since the steps were counted.
        rates = [own + [0.0] * (count - len(own)) for own in rates]
        weights = [run.weights for run in runs]
        state, info = program.call(
            state,
            targets,
            weights + weights[:1] * num_idle,
            rates + [[0.0] * count] * num_idle,
        )
        monitors = {index: run.monitor for index, run in active.items()}
        calls.append(_Call(info, count, monitors))
        waiting.append((calls[-1], set(active)))
        if len(calls) == 1:
            jax.block_until_ready(info)
            first_seconds = time.perf_counter() - started
            for run in active.values():
                run.pace.observe([], run.pace.done)
        while len(waiting) > _MAX_AHEAD:
            learn(*waiting.pop(0))
        for index, run in active.items():
            run.num_evaluations += count
            run.after_steps(
                functools.partial(_image_of, program, state, index),
                functools.partial(_terms_of, program, info, index, count),
                is_interrupted,
            )
        if ending := [index for index, run in active.items() if run.is_to_end]:
            end(ending)
    # Time may run out between two steps.
    if late := [index for index, run in enumerate(runs) if not run.is_done]:
        end(late)
    for run in runs:  # interrupted while the last steps were awaited
        if run.stopped is None and is_interrupted():
            run.stopped = "interrupted"
    infos = program.fetch([call.info for call in calls])
    for call, info in zip(calls, infos, strict=True):
        for index in call.monitors:
            runs[index].terms += [
                jax.tree.map(lambda leaf, at=(index, step): leaf[at], info.terms)
                for step in range(call.num_steps)
                if info.is_finite[index, step]
            ]
    return program.replace(state, kept), first_seconds


def _image_of(program: StepProgram, state: TransferState, index: int) -> Any:
    return program.member(state.image, index)


def _terms_of(
    program: StepProgram, info: StepInfo, index: int, count: int
) -> LossTerms:
    return program.last_info(info, index, count).terms


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
    average: Average | None = None
    if program.averaging:
        average = init_average(image)
    here: Evaluation | None = None

    def evaluate_fn(picture: HostImage) -> Evaluation:
        nonlocal here, first_seconds
        function, args, static = program.prepare_loss(picture, targets, run.weights)
        loss, terms, gradient = jax.device_get(function(*args, **static))
        found = Evaluation(float(loss), terms, gradient)
        if here is None:
            here = found
            first_seconds = first_seconds or time.perf_counter() - started
        run.num_evaluations += 1
        return found

    def step_fn(picture: HostImage, there: Evaluation) -> bool:
        nonlocal here, average
        assert here is not None
        before, here = here, there
        run.pace.next_rates()
        run.terms.append(before.terms)
        run.observe_one(before.terms)
        if average is not None:
            decay = jnp.float32(program.averaging)
            average = update_average(average, jnp.asarray(picture), decay)
        run.after_steps(lambda: picture, lambda: before.terms, is_interrupted)
        return run.is_to_end

    while not run.is_done and is_lbfgs(run.member.method.optimizer):
        here = None
        found = minimize_lbfgs(
            np.asarray(image), evaluate_fn, run.pace.num_left(), step_fn=step_fn
        )
        image = found.image
        if found.reason == "converged":
            run.pace.converge()
        elif found.reason in ("line search stalled", "not finite"):
            run.monitor.best = image
            run.recover(found.reason)
            if average is not None:
                average = init_average(jnp.asarray(image))
            continue
        run.is_done = True
        run.pace.num_left()
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
    for index, run in enumerate(runs):
        steering = run.member.steering
        if steering is not None and run.is_painted_out:
            pace = run.pace
            trimmers[index] = Trimmer(
                steering,
                run.member.weights,
                lambda pace=pace: pace.has_time() and not is_interrupted(),
            )
    begun = {
        index: program.init(_image_of(program, state, index)) for index in trimmers
    }
    state = program.replace(state, begun)
    every = range(program.num_members)
    while active := {i: each for i, each in trimmers.items() if not each.is_done}:
        pictures = {i: _image_of(program, state, i).copy() for i in active}
        weights = [
            (active[i].weights if i in active else runs[0].member.weights)
            for i in every
        ]
        rates = [[active[i].rate if i in active else 0.0] for i in every]
        state, info = program.call(state, targets, weights, rates)
        gaps = program.fetch(info.terms.style_regions)
        again = {
            index: program.init(pictures[index])
            for index, trimmer in active.items()
            if trimmer.observe(gaps[index, 0], pictures[index])
        }
        state = program.replace(state, again)
    ends = {}
    for index, trimmer in trimmers.items():
        run = runs[index]
        run.trimmed = trimmer.trimmed
        ends[index] = program.init(trimmer.trimmed.image)
        if run.stopped is None and is_interrupted():
            run.stopped = "interrupted"
    return program.replace(state, ends)


def _take_averages(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    runs: Sequence[MemberRun],
) -> TransferState:
    """Replace each picture by the average of its steps' pictures, if that is better."""
    images = [_image_of(program, state, i) for i in range(program.num_members)]
    averages: dict[int, Any] = {}
    for index, run in enumerate(runs):
        average = run.average or program.member(state.average, index)
        if run.is_painted_out and float(average.weight) > 0:
            averages[index] = averaged_image(average)
    if not averages:
        return state
    weights = [run.weights for run in runs]
    weights += weights[:1] * (program.num_members - len(runs))
    # `measure_terms` copies the pictures, as its step donates their buffers.
    last = program.measure_terms(images, targets, weights)
    means = [averages.get(index, image) for index, image in enumerate(images)]
    mean = program.measure_terms(means, targets, weights)
    replaced = {}
    for index, image in averages.items():
        if mean[index].total < last[index].total:
            replaced[index] = program.member(state, index)._replace(image=image)
            runs[index].is_averaged = True
    return program.replace(state, replaced)
