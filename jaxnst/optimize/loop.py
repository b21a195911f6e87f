"""The loop around the compiled step, for one picture size and a batch of pictures.

The loop is Python: on the CPU XLA runs a convolution several times slower inside a
compiled loop than outside (jax issue 12868), and progress, stopping and interruption
become ordinary code. Each picture of a batch is a member, which has a schedule and a
monitor of its own, see `jaxnst.optimize.member`. A member that is done takes steps of
length 0 until the others are done, and its picture is kept as it was.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnst._types import HostImage
from jaxnst.objective import Targets

from .batching import StepDropped, StepProgram
from .member import Member
from .optimizers import is_lbfgs
from .quasi_newton import Evaluation, minimize_lbfgs
from .stepping import (
    KeptInfos,
    PackedInfos,
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

# Calls whose ends were not awaited yet: their infos, their numbers of steps, and the
# indices of the members that will observe them.
Waiting = Sequence[tuple[StepInfo | PackedInfos | KeptInfos, int, set[int]]]
KeepFn = Callable[[TransferState, Waiting], None]
# ("step", "trimming" or "features", fraction of it that is done)
PartFn = Callable[[str, float], None]


def run_size(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    members: Sequence[Member],
    *,
    is_interrupted: Callable[[], bool] = lambda: False,
    part_fn: PartFn = lambda what, part: None,
    keep_fn: KeepFn | None = None,
    resumed: Waiting | None = None,
) -> TransferState:
    """Paint a batch of pictures at one size, and return the last state.

    If the steps of a member diverge, it goes back to its best picture and takes gentler
    steps. The buffers of `state` are donated, and `members` are updated.
    `is_interrupted` is called after each step; it returns True to stop all. It is also
    called within a step that lasts long, and `part_fn` with the part that is done.

    A single picture may be kept on disk while it is painted: `keep_fn` gets all that
    the next steps depend on, after each call that is followed by another one, and after
    the last. `resumed` are the calls that were waiting when it was kept.
    """
    if resumed is None:
        for index, member in enumerate(members):
            member.begin_size(program.member(state.image, index))
    if is_lbfgs(program.optimizer):
        (member,) = members
        image = _run_lbfgs(program, targets, state.image, member, is_interrupted)
        program = dataclasses.replace(program, optimizer=member.method.optimizer)
        state = program.init(image)
    if any(not member.is_done for member in members):
        state = _run_steps(
            state,
            targets,
            program,
            members,
            is_interrupted,
            part_fn,
            keep_fn,
            resumed or (),
        )
    if any(member.steering is not None for member in members):
        if members[0].budget.is_last:
            state = _trim(state, targets, program, members, is_interrupted, part_fn)
    elif state.average is not None:
        state = _take_averages(state, targets, program, members)
    for member in members:
        member.end_size()
    return state


def _run_steps(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    members: Sequence[Member],
    is_interrupted: Callable[[], bool],
    part_fn: PartFn,
    keep_fn: KeepFn | None,
    resumed: Waiting,
) -> TransferState:
    """Make the steps of all members, and return the last state."""
    # Calls that were not observed by all of their members: their infos on the device,
    # their numbers of steps, and the indices of those members.
    waiting = list(resumed)
    # States of members that are done, by their index.
    kept: dict[int, TransferState] = {}
    is_first = True

    def heed(part: float) -> bool:
        part_fn("step", part)
        return is_interrupted()

    def observe(
        info: StepInfo | PackedInfos | KeptInfos,
        count: int,
        indices: Collection[int],
        *,
        is_last: bool = False,
    ) -> None:
        """Wait for a call, and let members observe what it found."""
        found: Iterable[StepInfo] = (
            [info.infos] * len(indices)
            if isinstance(info, KeptInfos)
            else program.fetch(info, indices, count)
        )
        for index, own in zip(indices, found, strict=True):
            are_finite = np.asarray(own.is_finite)
            members[index].observe(own.terms, are_finite, is_last=is_last)

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
            if (image := members[index].end()) is not None:
                starts[index] = program.init(image)
        state = program.replace(state, starts)
        if not all(member.is_done for member in members):
            for index in ending:
                if members[index].is_done:
                    own = program.member(state, index)
                    kept[index] = jax.tree.map(jnp.copy, own)

    while left := {
        index: num_left
        for index, member in enumerate(members)
        if not member.is_done and (num_left := member.schedule.num_left())
    }:
        active = {index: members[index] for index in left}
        count = min(program.steps_per_call, *left.values())
        rates = np.zeros((len(members), count))
        for index, member in active.items():
            # Fewer if time has run out since the steps were counted.
            own = member.schedule.next_rates(count)
            rates[index, : len(own)] = own
        weights = [member.next_weights for member in members]
        try:
            state, info = program.call(state, targets, weights, rates, heed)
        except StepDropped:
            (member,) = members
            member.schedule.take_back(count)
            if keep_fn is not None:
                keep_fn(state, waiting)
            member.heed(is_interrupted)
            end([0])
            break
        waiting.append((info, count, set(active)))
        if is_first:  # it was compiled, if not before
            is_first = False
            if any(member.budget.is_limited for member in members):
                jax.block_until_ready(info)
            for member in active.values():
                member.budget.steps_done(member.schedule.done)
        while len(waiting) > _MAX_AHEAD:
            observe(*waiting.pop(0))
        for index, member in active.items():
            member.report.num_evaluations += count
            member.after_steps(
                functools.partial(program.member, state.image, index),
                functools.partial(program.last_terms, info, index, count),
            )
            if keep_fn is not None and member.is_sound:
                keep_fn(state, waiting)
            member.heed(is_interrupted)
        if ending := [index for index, member in active.items() if member.is_to_end]:
            end(ending)
    # Time may run out between two steps.
    if late := [index for index, member in enumerate(members) if not member.is_done]:
        end(late)
    for member in members:  # interrupted while the last steps were awaited
        member.heed(is_interrupted)
    return program.replace(state, kept)


def _run_lbfgs(
    program: StepProgram,
    targets: Targets,
    image: Any,
    member: Member,
    is_interrupted: Callable[[], bool],
) -> Any:
    """Make the steps of L-BFGS, and return the picture.

    If its line search fails twice, the rest of the steps is left to Adam.
    """
    average = init_average(image) if program.averaging else None
    here: Evaluation | None = None

    def evaluate_fn(picture: HostImage) -> Evaluation:
        nonlocal here
        measured = program.evaluate(picture, targets, member.next_weights)
        loss, terms, gradient = jax.device_get(measured)
        found = Evaluation(float(loss), terms, gradient)
        here = here or found
        member.report.num_evaluations += 1
        return found

    def step_fn(picture: HostImage, there: Evaluation) -> bool:
        nonlocal here, average
        assert here is not None
        before, here = here.terms, there
        member.schedule.next_rates()
        steps = jax.tree.map(lambda leaf: np.asarray(leaf)[None], before)
        member.observe(steps, np.isfinite(steps.total))
        if average is not None:
            decay = jnp.float32(program.averaging)
            average = update_average(average, jnp.asarray(picture), decay)
        member.after_steps(lambda: picture, lambda: before)
        member.heed(is_interrupted)
        return member.is_to_end

    while not member.is_done and is_lbfgs(member.method.optimizer):
        here = None
        found = minimize_lbfgs(
            np.asarray(image), evaluate_fn, member.schedule.num_left(), step_fn=step_fn
        )
        image = found.image
        if found.reason == "converged":
            member.schedule.converge()
        elif found.reason in ("line search stalled", "not finite"):
            member.monitor.best = image
            member.recover(found.reason)
            if average is not None:
                average = init_average(jnp.asarray(image))
            continue
        member.is_done = True
        member.schedule.num_left()
    member.average = average if member.is_done else None
    return image


def _trim(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    members: Sequence[Member],
    is_interrupted: Callable[[], bool],
    part_fn: PartFn,
) -> TransferState:
    """Bring the pictures to the strengths that were asked for."""
    is_measured = False

    def heed(part: float) -> bool:
        part_fn("trimming", part)
        return is_measured and is_interrupted()

    trimmers: dict[int, Trimmer] = {}
    starts = {}
    for index, member in enumerate(members):
        steering = member.steering
        if steering is not None and member.report.stopped is None:
            trimmers[index] = Trimmer(steering, member.weights)
            starts[index] = program.init(program.member(state.image, index))
    state = program.replace(state, starts)
    while active := {i: each for i, each in trimmers.items() if not each.is_done}:
        images = {i: program.member(state.image, i).copy() for i in active}
        weights = [member.weights for member in members]
        rates = np.zeros((len(members), 1))
        for index, trimmer in active.items():
            weights[index], rates[index] = trimmer.weights, trimmer.rate
        try:
            state, info = program.call(state, targets, weights, rates, heed)
        except StepDropped:
            break
        is_measured = True
        again = {}
        found = program.fetch(info, active, 1)
        for (index, trimmer), own in zip(active.items(), found, strict=True):
            gaps = np.asarray(own.terms.style_regions)[0]
            if trimmer.observe(gaps, images[index]):
                again[index] = program.init(images[index])
            if is_interrupted() or not members[index].budget.has_time():
                trimmer.is_done = True
        state = program.replace(state, again)
    ends = {}
    for index, trimmer in trimmers.items():
        members[index].report.trimmed = trimmer.trimmed
        ends[index] = program.init(trimmer.trimmed.image)
        members[index].heed(is_interrupted)
    return program.replace(state, ends)


def _take_averages(
    state: TransferState,
    targets: Targets,
    program: StepProgram,
    members: Sequence[Member],
) -> TransferState:
    """Replace each picture by the average of its steps' pictures, if that is better."""
    images = [program.member(state.image, i) for i in range(len(members))]
    averages: dict[int, Any] = {}
    for index, member in enumerate(members):
        average = member.average or program.member(state.average, index)
        if member.report.stopped is None and float(average.weight) > 0:
            averages[index] = averaged_image(average)
    if not averages:
        return state
    weights = [member.next_weights for member in members]
    means = [averages.get(index, image) for index, image in enumerate(images)]
    last = program.measure(images, targets, weights)
    mean = program.measure(means, targets, weights)
    better = {}
    for index, image in averages.items():
        if mean[index] < last[index]:
            members[index].report.is_averaged = True
            better[index] = program.member(state, index)._replace(image=image)
    return program.replace(state, better)
