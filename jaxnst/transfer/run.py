"""Paint all sizes from coarse to fine, and hand the picture from size to size."""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnst._types import HostImage
from jaxnst.calls import Call, Calls
from jaxnst.coloring import smooth_recoloring, take_palette
from jaxnst.config import TransferConfig
from jaxnst.images import resize
from jaxnst.networks import Network
from jaxnst.objective import LossTerms
from jaxnst.optimize import (
    Budget,
    Method,
    Pace,
    Problem,
    Recovery,
    Schedule,
    Steering,
    StepCallback,
    TransferState,
    Trimmed,
    init_state,
    paint_size,
)

from .inputs import Inputs, first_image
from .plan import (
    SizePlan,
    blend_of,
    compiled_resize,
    make_ready,
    plan_size,
    shapes_of,
    steps_per_call,
    style_shapes_at,
    weights_of,
)
from .regions import Regions, guides_at


def make_steering(config: TransferConfig, regions: Regions | None) -> Steering | None:
    """Return what steers a painting to the strengths asked for; None if none is.

    Args:
        config: the settings.
        regions: of the picture.
    """
    if regions is not None and regions.strengths is not None:
        return Steering(regions.strengths, regions.shares)
    if config.strength is None:
        return None
    assert not isinstance(config.strength, str)  # a map makes regions
    if regions is None:
        return Steering([config.strength])
    return Steering([config.strength] * len(regions.maps), regions.shares)


def report_strength(
    config: TransferConfig, steering: Steering | None, trimmed: Trimmed | None
) -> dict[str, Any] | None:
    """Return what a record says of strengths; None if none was asked for.

    Args:
        config: the settings.
        steering: at its end.
        trimmed: how the picture was brought to them; None if it was stopped before.
    """
    if steering is None:
        return None
    ratios = [round(float(ratio), 6) for ratio in np.exp(steering.log_ratios)]
    reached: list[float] | None = None
    if trimmed is not None:
        reached = [round(float(1 - gap), 4) for gap in trimmed.gaps]
    count = {"trimming_steps": 0 if trimmed is None else trimmed.num_steps}
    if not config.regions:
        first = None if reached is None else reached[0]
        return {
            "asked": config.strength,
            "reached": first,
            "ratio": ratios[0],
            **count,
        }
    return {
        "asked": [round(float(1 - gap), 4) for gap in steering.gaps],
        "reached": reached,
        "ratio": ratios,
        "shares": [round(float(share), 4) for share in steering.shares],
        **count,
    }


# Gentler learning rates are no higher, in units of pixel values.
_MAX_RATE = 0.1
# Why a size ended early, where all of the painting ends with it.
_ENDS_ALL = ("callback", "interrupted", "not finite")


class Painted(NamedTuple):
    """What painting gave.

    Attributes:
        image: at the size that was reached.
        terms: (longest side, loss terms) of every step.
        stopped: why it ended early: "callback", "interrupted", "not finite",
            "out of time"; or None.
        sizes: what was done at each size.
        recoveries: when steps went wrong, and what was done.
        compile_seconds: spent on compiling, measuring the targets included.
        run_seconds: spent on steps.
        strength: {"asked", "reached", "ratio", "trimming_steps"} if one was asked for:
            how much of the way to the painting's style, see `jaxnst.optimize.strength`,
            None where that is not known; the style weight over the content weight
            before trimming; and how many steps that made. With regions the first three
            are lists, and there is "shares".
    """

    image: HostImage
    terms: list[tuple[int, LossTerms]]
    stopped: str | None
    sizes: list["PaintedSize"]
    recoveries: list[Recovery]
    compile_seconds: float
    run_seconds: float
    strength: Mapping[str, Any] | None = None


class PaintedSize(NamedTuple):
    """What was done at one size.

    Attributes:
        size: longest side, in pixels.
        steps: how many were made.
        evaluations: how often loss and gradient were computed for them.
        stopped: why there were not as many as planned: what `Painted` has, "converged"
            or "skipped"; or None.
        is_averaged: whether the average of the pictures was better than the last.
    """

    size: int
    steps: int
    evaluations: int
    stopped: str | None
    is_averaged: bool


def paint(
    inputs: Inputs,
    network: Network,
    optimizer: optax.GradientTransformationExtraArgs,
    config: TransferConfig,
    callback: StepCallback | None = None,
    *,
    deadline: float | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
    ready_fn: Callable[[Sequence[Call], Sequence[Call]], None] = make_ready,
) -> Calls[Painted]:
    """Paint from the smallest size to the full one.

    Args:
        inputs: the pictures.
        network: the frozen feature extractor.
        optimizer: any optax transformation; its state goes from size to size.
        config: the settings.
        callback: called after every step; returning True stops.
        deadline: by when to be done, on the clock of `time.perf_counter`.
        is_interrupted: asked after each step whether to stop.
        ready_fn: told which calls come next at a size, and which at the one after it.
    """
    if config.strength == 0 or config.color == "palette-only":
        return _unpainted(inputs, config)
    steering = make_steering(config, inputs.regions)
    trimmed: Trimmed | None = None
    shapes = shapes_of(config, inputs.shape)
    num_steps = [config.coarse_steps] * (len(shapes) - 1) + [config.num_steps]
    pixels = [height * width for height, width in shapes]
    work = [size * count for size, count in zip(pixels, num_steps, strict=True)]
    weights = weights_of(config)
    max_rate = math.inf if config.optimizer == "custom" else _MAX_RATE
    method = Method(optimizer, config.learning_rate, config.decay, max_rate)
    budget = Budget(pixels, num_steps, deadline=deadline)
    blend = blend_of(config, len(inputs.styles), inputs.regions)
    style_shapes = [
        style_shapes_at(config, inputs.style_shapes, shape, inputs.shape)
        for shape in shapes
    ]

    # Each is asked for twice; going wrong may change the optimizer.
    @functools.cache
    def plan_for(
        index: int, optimizer: optax.GradientTransformationExtraArgs
    ) -> SizePlan:
        return plan_size(
            config,
            network,
            optimizer,
            shape=shapes[index],
            style_shapes=style_shapes[index],
        )

    started = time.perf_counter()
    terms: list[tuple[int, LossTerms]] = []
    sizes: list[PaintedSize] = []
    recoveries: list[Recovery] = []
    state: TransferState | None = None
    stopped: str | None = None
    compile_seconds = 0.0
    for index, shape in enumerate(shapes):
        if state is not None and is_interrupted():
            stopped = "interrupted"
            break
        if not budget.begin_size(index):
            sizes.append(PaintedSize(max(shape), 0, 0, "skipped", False))
            continue
        content = inputs.content_at(shape)
        styles = tuple(
            resize(style.rgb, style_shape)
            for style, style_shape in zip(
                inputs.styles, style_shapes[index], strict=True
            )
        )
        before = time.perf_counter()
        plan = plan_for(index, method.optimizer)
        ready_fn(plan.programs, ())
        guides = None, None
        if inputs.regions is not None:
            guides = guides_at(inputs.regions, network, shape, config.style_layers)
        pictures = jax.tree.map(jnp.asarray, (content, styles, blend, *guides))
        targets = yield plan.targets._replace(args=(network, *pictures))
        jax.block_until_ready(targets)
        compile_seconds += time.perf_counter() - before
        if state is None:
            first = first_image(inputs, config, content, styles, blend)
            state = init_state(
                jnp.asarray(first),
                method.optimizer,
                use_average=config.averaging > 0,
            )
        else:
            resizing = {
                "optimizer": method.optimizer,
                "content_detail": config.content_detail,
                "wraps": network.wraps,
            }
            args = (state, jnp.asarray(content))
            state = yield Call(compiled_resize, args, resizing)
        pace = Pace(
            method.learning_rate,
            num_steps[index],
            decay=method.decay if shape == shapes[-1] else 0.0,
            tolerance=config.tolerance,
            budget=budget,
        )
        # Compiled while this size is painted.
        if index + 1 < len(shapes) and not is_interrupted():
            ready_fn((), plan_for(index + 1, method.optimizer).programs)
        assert state is not None
        done = yield from paint_size(
            state,
            Problem(network, targets, weights, config.normalization),
            method,
            pace,
            schedule=Schedule(
                first_step=sum(size.steps for size in sizes),
                total_steps=sum(num_steps),
                first_work=sum(work[:index]),
                total_work=sum(work),
                full_shape=inputs.shape,
            ),
            averaging=config.averaging,
            steps_per_call=steps_per_call(config),
            steering=steering,
            callback=callback,
            is_interrupted=is_interrupted,
        )
        run, method, trimmed = done.run, done.method, done.trimmed
        state = run.state
        compile_seconds += run.compile_seconds
        terms += [(max(shape), step_terms) for step_terms in run.terms]
        recoveries += done.recoveries
        sizes.append(
            PaintedSize(
                size=max(shape),
                steps=pace.done,
                evaluations=run.num_evaluations,
                stopped=run.stopped,
                is_averaged=done.is_averaged,
            )
        )
        if run.stopped in _ENDS_ALL:
            stopped = run.stopped
            break
    assert state is not None  # the first size is never skipped
    image = np.array(state.image)
    run_seconds = time.perf_counter() - started - compile_seconds
    if stopped is None and any(
        size.stopped in ("out of time", "skipped") for size in sizes
    ):
        stopped = "out of time"
    return Painted(
        image=image,
        terms=terms,
        stopped=stopped,
        sizes=sizes,
        recoveries=recoveries,
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
        strength=None
        if steering is None
        else report_strength(config, steering, trimmed),
    )


def _unpainted(inputs: Inputs, config: TransferConfig) -> Painted:
    """Return the content picture, which has nothing of the style but perhaps colors."""
    image = inputs.content_at(inputs.shape)
    strength = None
    if config.strength == 0:
        strength = {"asked": 0.0, "reached": 0.0, "ratio": 0.0, "trimming_steps": 0}
    else:
        shapes = style_shapes_at(
            config, inputs.style_shapes, inputs.shape, inputs.shape
        )
        colors = [
            resize(style.rgb, shape).reshape(1, -1, 3)
            for style, shape in zip(inputs.styles, shapes, strict=True)
        ]
        taken = take_palette(image, np.concatenate(colors, axis=1))
        image = smooth_recoloring(image, taken)
    return Painted(image, [], None, [], [], 0.0, 0.0, strength)
