"""Paint all sizes from coarse to fine, and hand the picture from size to size."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Thread
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnst._types import HostImage
from jaxnst.coloring import smooth_recoloring, take_palette
from jaxnst.config import TransferConfig
from jaxnst.images import resize
from jaxnst.networks.devices import default_device
from jaxnst.objective import Targets
from jaxnst.optimize import StepCallback, TransferState
from jaxnst.optimize.batching import HeedFn, StepDropped, StepProgram
from jaxnst.optimize.checkpoint import Checkpoint
from jaxnst.optimize.loop import PartFn, run_size
from jaxnst.optimize.member import Member, SizeReport
from jaxnst.optimize.programs import Program, compile_in_background
from jaxnst.optimize.recovery import Method
from jaxnst.optimize.schedule import Budget
from jaxnst.optimize.strength import Steering, rate_part
from jaxnst.optimize.tiles import compute_tiled_targets, tile_places

from .inputs import first_image, recolor
from .plan import (
    Plan,
    SizePlan,
    blend_of,
    compiled_targets,
    content_detail_at,
    size_programs,
    step_work,
    style_shapes_at,
)
from .regions import guides_at
from .setup import Job


# Upper bound of the learning rate after a recovery, in pixel values per step.
_MAX_RATE = 0.1


class Painted(NamedTuple):
    """The picture that painting reached, and what happened on the way.

    Attributes:
        image: RGB, [0, 1], at the size that was reached.
        stopped: reason why painting ended early: "callback", "interrupted",
            "not finite" or "out of time"; None if it did not.
        memory: level of memory.
        compile_seconds: seconds spent on compiling and on computing the targets.
        run_seconds: seconds spent on steps.
        strength: entry of the record about the strength; None if none was asked for.
    """

    image: HostImage
    reports: list[SizeReport]
    stopped: str | None
    memory: str
    compile_seconds: float = 0.0
    run_seconds: float = 0.0
    strength: Mapping[str, Any] | None = None


def paint(
    jobs: Sequence[Job],
    plan: Plan,
    *,
    callbacks: Sequence[StepCallback | None] = (None,),
    deadline: float | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
    part_fn: PartFn = lambda what, part: None,
    checkpoint: Checkpoint | None = None,
) -> list[Painted]:
    """Return one picture, or a batch of them, painted from coarse to fine.

    `deadline` is on the clock of `time.perf_counter`, and `is_interrupted` is called
    after each step; it returns True to stop all. Where a step or its targets last long,
    `part_fn` is called with the part that is done. A single picture may have a
    `checkpoint`, from which painting goes on.
    """
    started = time.perf_counter()
    members = [
        _make_member(plan, job, index, callback, deadline)
        for index, (job, callback) in enumerate(zip(jobs, callbacks, strict=True))
    ]
    # Pictures of members that have ended, by their index.
    ended: dict[int, HostImage] = {}
    is_cut = False
    step = plan.step
    state: TransferState | None = None
    saved = None if checkpoint is None else checkpoint.saved
    # Threads that compile the programs of a size. The cores beside an accelerator have
    # nothing else to do, so there all sizes are compiled at once.
    ahead: dict[SizePlan, list[Thread]] = {}
    is_cpu = default_device().platform == "cpu"
    if not is_cpu:
        ahead = {
            size: [compile_in_background([each]) for each in size_programs(plan, size)]
            for size in plan.sizes
        }

    def heed(part: float) -> bool:
        """Return whether to give up the targets: not before there is a picture."""
        part_fn("features", part)
        return state is not None and is_interrupted()

    for index, size in enumerate(plan.sizes):
        if state is not None and is_interrupted():
            is_cut = True
            break
        begun = [member.budget.begin_size(index) for member in members]
        if saved is not None and index < saved.size_index:
            continue
        if not all(begun):
            for member in members:
                report = SizeReport(size=max(size.shape), stopped="skipped")
                member.reports.append(report)
            continue
        if size in ahead:
            _join(ahead[size])
        else:
            ahead[size] = [compile_in_background([size_programs(plan, size)[0]])]
        contents = [job.inputs.content_at(size.shape) for job in jobs]
        try:
            measured = [
                measure_targets(job, plan, size, content, number, heed_fn=heed)
                for number, (job, content) in enumerate(
                    zip(jobs, contents, strict=True)
                )
                if number == 0 or not step.shares_targets
            ]
        except StepDropped:
            is_cut = True
            break
        targets = jax.block_until_ready(step.stack_targets(measured))
        optimizer = members[0].method.optimizer
        if optimizer is not plan.step.optimizer:
            own = dataclasses.replace(plan.step, optimizer=optimizer)
            plan = plan._replace(step=own)
        step = plan.step_at(size)
        resumed = None
        if saved is None:
            state = _state_at(size, jobs, plan, step, contents, state)
        else:
            members[0].restore(saved.member)
            state, resumed = saved.state_of(step.init(saved.image)), saved.calls
            saved = None
        _join(ahead[size])
        # On the CPU the next size is compiled while this one is painted.
        following = plan.sizes[index + 1 : index + 2]
        if is_cpu and following and not is_interrupted():
            later = compile_in_background(_next_programs(plan, following[0]))
            ahead[following[0]] = [later]
        keep_fn = None
        if checkpoint is not None:
            keep_fn = checkpoint.keeper(index, members[0], is_interrupted)
        state = run_size(
            state,
            targets,
            step,
            members,
            is_interrupted=is_interrupted,
            part_fn=part_fn,
            keep_fn=keep_fn,
            resumed=resumed,
        )
        for number, member in enumerate(members):
            if member.is_over and number not in ended:
                ended[number] = np.array(step.member(state, number).image)
        if len(ended) == len(jobs):
            break
    assert state is not None  # the first size is never skipped
    compile_seconds = max(sum(member.budget.overheads) for member in members)
    run_seconds = time.perf_counter() - started - compile_seconds
    painted = []
    for number, (job, member) in enumerate(zip(jobs, members, strict=True)):
        image = ended.get(number)
        if image is None:
            image = np.array(step.member(state, number).image)
        stopped = "interrupted" if is_cut else None
        if member.is_over:
            stopped = member.report.stopped
        elif {"out of time", "skipped"} & {each.stopped for each in member.reports}:
            stopped = stopped or "out of time"
        painted.append(
            Painted(
                image=image,
                reports=member.reports,
                stopped=stopped,
                memory=plan.memory,
                compile_seconds=compile_seconds,
                run_seconds=run_seconds,
                strength=_report_strength(job, member),
            )
        )
    return painted


def _state_at(
    size: SizePlan,
    jobs: Sequence[Job],
    plan: Plan,
    step: StepProgram,
    contents: Sequence[HostImage],
    state: TransferState | None,
) -> TransferState:
    """Return the state before the first step of a size, from that of the size before.

    `state` is None at the first size.
    """
    starts = contents
    # Recolored at every size: detail in the photograph's colors would stay visible.
    if state is None or jobs[0].config.init == "recolored":
        starts = [
            first_image(
                job.inputs, job.config, content, styles_at(job, size.shape), blend
            )
            for job, content, blend in zip(jobs, contents, plan.blends, strict=True)
        ]
    if state is None:
        return step.stack([step.init(image) for image in starts])
    details = [np.float32(content_detail_at(job, size.shape)) for job in jobs]
    return step.resize(state, starts, details, wraps=plan.network.wraps)


def _join(threads: Sequence[Thread]) -> None:
    for thread in threads:
        thread.join()


def _next_programs(plan: Plan, size: SizePlan) -> Iterator[Program]:
    yield from size_programs(plan, size)  # made in the thread that compiles them


def _make_member(
    plan: Plan,
    job: Job,
    index: int,
    callback: StepCallback | None,
    deadline: float | None,
) -> Member:
    """Return the settings of one picture of the batch, for `run_size`."""
    config = job.config
    max_rate = math.inf if config.optimizer == "custom" else _MAX_RATE
    work = [step_work(size.shape) for size in plan.sizes]
    steps = [size.num_steps for size in plan.sizes]
    strengths = job.inputs.strengths(config)
    rate = config.learning_rate * rate_part(strengths)
    return Member(
        method=Method(job.optimizer, rate, config.decay, max_rate),
        weights=plan.weights[index],
        budget=Budget(work, steps, deadline=deadline),
        full_shape=job.inputs.shape,
        tolerance=config.tolerance,
        steering=None if strengths is None else Steering(strengths, job.inputs.shares),
        callback=callback,
    )


def measure_targets(
    job: Job,
    plan: Plan,
    size: SizePlan,
    content: HostImage,
    number: int = 0,
    *,
    heed_fn: HeedFn = lambda part: False,
) -> Targets:
    """Return the targets of one picture, the one of that `number` in its batch.

    In tiles `heed_fn` is called with the part that is done; if it returns True,
    `StepDropped` is raised.
    """
    inputs = job.inputs
    guides = shares = None
    if inputs.regions is not None:
        layers = plan.targets_static["style_layers"]
        guides = guides_at(inputs.regions, plan.network, size.shape, layers)
        shares = inputs.regions.shares
    styles = styles_at(job, size.shape)
    pictures = (content, styles, plan.blends[number], guides, shares)
    network = job.network.with_memory(plan.network.memory)
    home = None if size.tiling is None else tile_places(network).home
    pictures = jax.device_put(pictures, home)
    if size.tiling is None:
        return compiled_targets(network, *pictures, **plan.targets_static)
    return compute_tiled_targets(
        network,
        *pictures,
        **plan.targets_static,
        tiling=size.tiling,
        tile_size=job.config.tile_size,
        heed_fn=heed_fn,
    )


def styles_at(job: Job, shape: tuple[int, int]) -> tuple[HostImage, ...]:
    """Return the style pictures as they are measured where `shape` is painted."""
    # The plan of a batch has the shapes of its first picture's styles.
    inputs = job.inputs
    shapes = style_shapes_at(job.config, inputs.style_shapes, shape, inputs.shape)
    return tuple(
        resize(style.rgb, shape)
        for style, shape in zip(inputs.styles, shapes, strict=True)
    )


def is_unpainted(config: TransferConfig) -> bool:
    """Return whether a picture needs no step, as at most its colors change."""
    return config.strength == 0 or config.color == "palette-only"


def is_pair_alike(job: Job) -> bool:
    """Return whether content and style are one picture, from which painting starts.

    Steps of a fixed length would only lead away from it.
    """
    content = job.inputs.content.rgb
    return job.config.init in ("content", "recolored") and all(
        np.array_equal(content, style.rgb) for style in job.inputs.styles
    )


def leave_unpainted(job: Job) -> Painted:
    """Return the content picture, in the style's colors if `color` asks for them."""
    inputs, config = job.inputs, job.config
    image = inputs.content_at(inputs.shape)
    memory = "fast" if config.memory == "auto" else config.memory
    strength = None
    if config.strength == 0:
        strength = {"asked": 0.0, "reached": 0.0, "ratio": 0.0, "trimming_steps": 0}
    elif config.color == "palette-only":
        styles = styles_at(job, inputs.shape)
        style, *others = styles
        if others or inputs.regions is not None:
            blend = blend_of(config, len(styles), inputs.regions)
            image = recolor(inputs, [1.0] * len(blend), image, styles, blend)
        else:
            taken = take_palette(image, style.reshape(1, -1, 3))
            image = smooth_recoloring(image, image, taken)
    return Painted(image, [], None, memory, strength=strength)


def _report_strength(job: Job, member: Member) -> dict[str, Any] | None:
    """Return the entry of a record about the strength; None if none was asked for.

    It has the strength asked for and the one reached, the ratio of the style weight to
    the content weight before trimming, and the number of trimming steps. With regions
    there is one value for each, and its fraction of the picture.
    """
    steering, trimmed = member.steering, member.report.trimmed
    if steering is None:
        return None
    entry: dict[str, Any] = {
        "asked": _rounded(1 - steering.gaps),
        "reached": None if trimmed is None else _rounded(1 - trimmed.gaps),
        "ratio": _rounded(np.exp(steering.log_ratios), 6),
    }
    if job.inputs.regions is None:
        entry = {name: each and each[0] for name, each in entry.items()}
        entry["asked"] = job.config.strength
    else:
        entry["shares"] = _rounded(steering.shares)
    return entry | {"trimming_steps": 0 if trimmed is None else trimmed.num_steps}


def _rounded(values: np.ndarray, digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]
