"""Painting: all sizes from coarse to fine, and what one size hands to the next."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ._types import HostAlpha, HostImage, HostStyleImage
from .config import TransferConfig
from .images import Picture, fitted_shape, resize
from .images.reading import MIN_SIDE
from .networks import VGG
from .objective import LossTerms, compute_targets, make_loss_weights
from .optimize import (
    Schedule,
    StepCallback,
    TransferState,
    deferred_interrupt,
    init_state,
    learning_rate_at,
    pyramid_sizes,
    resize_state,
    run_size,
)


# Not `jax.jit(compute_targets, ...)` inside `stylize`: made once, it compiles once.
_compiled_targets = jax.jit(
    compute_targets, static_argnames=("content_layers", "style_layers", "normalization")
)


# Before so many steps a loss may well be above where it began: Adam starts with leaps.
_MIN_STEPS_TO_JUDGE = 10


class Inputs(NamedTuple):
    """The pictures of one transfer.

    Attributes:
        content: as read.
        style: as read.
        init: the picture to start from, if one was given.
        shape: height and width of the result.
        alpha: opacity of the result.
    """

    content: Picture
    style: Picture
    init: Picture | None
    shape: tuple[int, int]
    alpha: HostAlpha | None


class Painted(NamedTuple):
    """What painting gave.

    Attributes:
        image: at the size that was reached.
        terms: (longest side, loss terms) of every step.
        stopped: why it ended early, or None; see `jaxnst.optimize.SizeRun`.
        reverted_sizes: longest sides of the sizes whose steps only made it worse.
        compile_seconds: spent on compiling, measuring the targets included.
        run_seconds: spent on steps.
    """

    image: HostImage
    terms: list[tuple[int, LossTerms]]
    stopped: str | None
    reverted_sizes: list[int]
    compile_seconds: float
    run_seconds: float


def paint(
    inputs: Inputs,
    network: VGG,
    optimizer: optax.GradientTransformationExtraArgs,
    config: TransferConfig,
    callback: StepCallback | None = None,
    notice_fn: Callable[[str], None] = lambda _: None,
) -> Painted:
    """Paint from the smallest size to the full one.

    Args:
        inputs: the pictures.
        network: the frozen feature extractor.
        optimizer: any optax transformation; its state goes from size to size.
        config: the settings.
        callback: called after every step; returning True stops.
        notice_fn: told what happens on Ctrl-C.
    """
    shapes = pyramid_sizes(inputs.shape, min_size=config.min_size, min_side=MIN_SIDE)
    rates = [_learning_rates(config, is_last=shape == shapes[-1]) for shape in shapes]
    total_steps = sum(map(len, rates))
    work = [h * w * len(r) for (h, w), r in zip(shapes, rates, strict=True)]
    weights = make_loss_weights(
        content=config.content_weight,
        style=config.style_weight,
        tv=config.tv_weight,
        content_layers=config.content_layers,
        style_layers=config.style_layers,
        normalization=config.normalization,
    )
    started = time.perf_counter()
    terms: list[tuple[int, LossTerms]] = []
    state: TransferState | None = None
    stopped: str | None = None
    reverted_sizes: list[int] = []
    compile_seconds = 0.0
    with deferred_interrupt(notice_fn) as is_interrupted:
        for index, shape in enumerate(shapes):
            if state is not None and is_interrupted():
                stopped = "interrupted"
                break
            content = resize(inputs.content.rgb, shape)
            style = _style_at(inputs, config, shape)
            before = time.perf_counter()
            targets = _compiled_targets(
                network,
                jnp.asarray(content),
                jnp.asarray(style),
                content_layers=tuple(config.content_layers),
                style_layers=tuple(config.style_layers),
                normalization=config.normalization,
            )
            jax.block_until_ready(targets)
            compile_seconds += time.perf_counter() - before
            if state is None:
                first = _first_image(inputs, config, content, style)
                state = init_state(jnp.asarray(first), optimizer)
            else:
                state = resize_state(
                    state,
                    jnp.asarray(content),
                    optimizer,
                    content_detail=config.content_detail,
                )
            start = np.array(state.image)
            run = run_size(
                state,
                network,
                targets,
                weights,
                optimizer=optimizer,
                learning_rates=rates[index],
                normalization=config.normalization,
                schedule=Schedule(
                    first_step=len(terms),
                    total_steps=total_steps,
                    first_work=sum(work[:index]),
                    total_work=sum(work),
                    full_shape=inputs.shape,
                ),
                callback=callback,
                is_interrupted=is_interrupted,
            )
            state, stopped = run.state, run.stopped
            compile_seconds += run.compile_seconds
            terms += [(max(shape), step_terms) for step_terms in run.terms]
            if len(run.terms) >= _MIN_STEPS_TO_JUDGE and (
                run.terms[-1].total > run.terms[0].total
            ):
                # Adam's steps have one length, so from a picture that is already right
                # (content and style alike, say) they only lead away.
                state = init_state(jnp.asarray(start), optimizer)
                reverted_sizes.append(max(shape))
            if stopped is not None:
                break
    assert state is not None  # there is always one size
    image = np.array(state.image)
    run_seconds = time.perf_counter() - started - compile_seconds
    return Painted(
        image=image,
        terms=terms,
        stopped=stopped,
        reverted_sizes=reverted_sizes,
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
    )


def _learning_rates(config: TransferConfig, *, is_last: bool) -> list[float]:
    num_steps = config.num_steps if is_last else config.coarse_steps
    decay = config.decay if is_last else 0.0
    return [
        learning_rate_at(config.learning_rate, step, num_steps, decay)
        for step in range(num_steps)
    ]


def _style_at(
    inputs: Inputs, config: TransferConfig, shape: tuple[int, int]
) -> HostStyleImage:
    """Return the style picture, as large to this size as it is to the full one."""
    rgb = inputs.style.rgb
    full = config.style_size or min(config.size, max(rgb.shape))
    longest = full * max(shape) / max(inputs.shape)
    # Never so small that the deepest layers see nothing.
    longest = max(longest, MIN_SIDE * max(rgb.shape[:2]) / min(rgb.shape[:2]))
    return resize(rgb, fitted_shape(rgb.shape, round(longest)))


def _first_image(
    inputs: Inputs, config: TransferConfig, content: HostImage, style: HostStyleImage
) -> HostImage:
    shape = (content.shape[0], content.shape[1])
    if config.init == "noise":
        # NumPy's generator: the same noise on every device.
        generator = np.random.default_rng(config.seed)
        return generator.random((*shape, 3), np.float32)
    if config.init == "style":
        return resize(style, shape)
    if inputs.init is not None:
        return resize(inputs.init.rgb, shape)
    return content
