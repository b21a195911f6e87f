"""`stylize` and `estimate`: from two pictures to a result."""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import optax

from jaxnst._types import HostImage
from jaxnst.coloring import AFTERWARDS, keep_luminance
from jaxnst.config import LayerWeights
from jaxnst.finishing import finish_picture
from jaxnst.images import PictureSource, resize
from jaxnst.images.tiling import move, place_border
from jaxnst.metrics import Metrics, measure, seam_scores
from jaxnst.networks import MEMORY_LEVELS, Network
from jaxnst.optimize import StepCallback, deferred_interrupt
from jaxnst.pretrained import load_lpips_network

from .inputs import StyleSource
from .memory import (
    Estimate,
    OutOfMemory,
    choose_memory,
    clear_memory_errors,
    make_estimate,
    process_memory,
)
from .plan import blend_of, make_plan
from .progress import ProgressCallback
from .result import Interrupted, Result, make_history, make_record
from .run import Painted, is_unpainted, leave_unpainted, paint
from .setup import Job, objects_of, set_up, settle_config


def run_job(
    job: Job,
    watcher: ProgressCallback,
    *,
    started: float,
    notice_fn: Callable[[str], None] | None = None,
    metrics: bool = False,
) -> Result:
    """Paint one picture.

    Args:
        job: the picture.
        watcher: shows progress.
        started: beginning, on the clock of `time.perf_counter`.
        notice_fn: told what happens on Ctrl-C; by default `watcher` shows it.
        metrics: whether the result is measured.

    Raises:
        OutOfMemory, Interrupted: as `stylize`.
    """
    size, limit = max(job.inputs.shape), job.config.max_seconds
    if is_unpainted(job.config):
        memory = "fast" if job.config.memory == "auto" else job.config.memory
        painted = leave_unpainted(job)
    else:
        with clear_memory_errors(job.config.memory, size):  # of the compiler
            memory = choose_memory(job)
        with (
            watcher,
            clear_memory_errors(
                memory, size, is_foreign=lambda error: error is watcher.error
            ),
            deferred_interrupt(notice_fn or watcher.notice) as is_interrupted,
        ):
            (painted,) = paint(
                [job],
                make_plan([job], memory),
                callbacks=[watcher],
                deadline=None if limit is None else started + limit,
                is_interrupted=is_interrupted,
            )
    result = finish(
        job,
        painted,
        memory=memory,
        seconds=time.perf_counter() - started,
        metrics=metrics,
    )
    if painted.stopped == "interrupted":
        raise Interrupted(result)
    return result


def finish(
    job: Job, painted: Painted, *, memory: str, seconds: float, metrics: bool = False
) -> Result:
    """Return the result at the size asked for, with its colors, filters and record.

    Args:
        job: what was asked for.
        painted: what was reached.
        memory: level of memory that was used.
        seconds: time it took in all.
        metrics: whether it is measured.
    """
    inputs, config = job.inputs, job.config
    image = painted.image
    if image.shape[:2] != inputs.shape:  # stopped at a smaller size
        image = resize(image, inputs.shape, wraps=inputs.wraps)
    if config.color in AFTERWARDS:
        image = keep_luminance(image, inputs.content_at(inputs.shape))
    image = finish_picture(image, config.finish, tile=config.tile)
    moved = place_border(image, inputs.faded)
    if any(moved):
        image = move(image, moved, inputs.shape)
        job = job._replace(inputs=inputs.moved(moved))
    record = make_record(job, painted, memory=memory, seconds=seconds, moved=moved)
    if metrics:
        record["metrics"] = measure_result(image, job)
    return Result(
        image=image,
        alpha=job.inputs.alpha,
        history=make_history(painted.reports),
        record=record,
        job=job,
    )


def measure_result(image: HostImage, job: Job) -> dict[str, float]:
    """Return the metrics; of several styles the mean, as they are blended.

    A picture that repeats is measured for a seam as well.

    Args:
        image: the result, at any size.
        job: what it was painted from.
    """
    inputs = job.inputs
    content = inputs.content_at(image.shape[:2])
    judge = load_lpips_network()
    found = [measure(image, content, each.rgb, judge=judge) for each in inputs.styles]
    shares = blend_of(job.config, len(found), inputs.regions).mean((0, 1))
    seams = seam_scores(image, job.config.tile or "")
    means = {
        name: round(
            sum(
                float(share) * getattr(each, name)
                for share, each in zip(shares, found, strict=True)
            ),
            5,
        )
        for name in Metrics._fields
    }
    return means | {name: round(score, 4) for name, score in seams.items()}


def stylize(
    content: PictureSource,
    style: StyleSource,
    *,
    preset: str = "default",
    size: int | None = None,
    style_size: int | None = None,
    style_scale: float | None = None,
    style_blend: Sequence[float] | Sequence[Sequence[float]] | None = None,
    min_size: int | None = None,
    content_layers: LayerWeights | None = None,
    style_layers: LayerWeights | None = None,
    style_loss: str | LayerWeights | None = None,
    detail: float | None = None,
    masks: Sequence[PictureSource] | None = None,
    strength: float | PictureSource | None = None,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float | None = None,
    color: str | None = None,
    finish: str | Iterable[str] | Mapping[str, float] | None = None,
    normalization: str | None = None,
    num_steps: int | None = None,
    coarse_steps: int | None = None,
    optimizer: str | optax.GradientTransformation | None = None,
    learning_rate: float | None = None,
    decay: float | None = None,
    averaging: float | None = None,
    tolerance: float | None = None,
    max_seconds: float | None = None,
    steps_per_call: int | None = None,
    content_detail: float | None = None,
    init: str | PictureSource | None = None,
    seed: int | None = None,
    network: str | os.PathLike[str] | Network | None = None,
    pooling: str | None = None,
    padding: str | None = None,
    tile: bool | str | None = None,
    smoothing: str | None = None,
    normalize_activations: bool | None = None,
    conv: str | None = None,
    precision: str | None = None,
    memory: str | None = None,
    devices: str | None = None,
    metrics: bool = False,
    callback: StepCallback | None = None,
    progress: bool = True,
) -> Result:
    """Paint `content` in the style of `style`.

    Every setting left at None is the preset's. The same inputs, settings, versions and
    device give the same picture, to the last bit.

    Args:
        content: what is to be seen: a path, a PIL image, or an array, see
            `jaxnst.images.load_picture`.
        style: how it is to be painted, likewise; or a list of pictures, to blend.
        preset: "default"; "draft", in a quarter of the time; "fine", in over three
            times as much; or "gatys2016" for the paper's literal loss.
        size: longest side of the result, in pixels; at least 32.
        style_size: longest side at which the style picture is looked at, in pixels;
            smaller makes finer strokes. By default `size`, but never enlarged.
        style_scale: a factor on that default: 0.5 makes strokes half as large, 2 twice
            as large (the style picture is enlarged where it has to be).
        style_blend: what each of several style pictures counts for, such as [3, 1]; by
            default all the same. What is aimed at is the mean of their Gram matrices.
            Several rows go from fine to coarse: with [[1, 0], [0, 1]] fine strokes are
            those of the first picture and coarse shapes those of the second.
        min_size: longest side of the coarsest size painted first; 0 paints at the full
            size only.
        content_layers: layers that keep the content, as a list or {layer: weight};
            those of the preset or, if the network has none such, of its architecture.
        style_layers: layers that take on the style, likewise.
        style_loss: "gram", "moments", "wasserstein", "sliced_wasserstein" or
            "nearest_neighbor", see `jaxnst.losses`; several are mixed, by a list or
            {loss: weight}; by default "gram" and "moments", one as much as the other
            (with `normalization` "paper" just "gram").
        detail: weighs the style layers: up to 1 for fine strokes, down to -1 for coarse
            shapes; 0 as they are.
        masks: where each style is painted: one gray picture for each style, white
            where it is, of the content's proportions; with "rest" for what the others
            leave, or "alpha" for the content's own opacity. Soft edges blend. Where no
            mask is, the content stays.
        strength: how much of the way from the photograph's style to the painting's to
            go, 0 to 1, with as much content as that leaves: 1 minus the style term,
            which is measured by `network`. Takes the place of the two weights, which
            are changed while it is painted. `record["result"]["strength"]` says what
            was reached; seldom more than 0.95 can be. Or a gray picture of the
            content's proportions, for strengths that differ from place to place: white
            is 1.
        content_weight: of all content layers together, 0 or more.
        style_weight: of all style layers together; 1 pulls about as hard as content
            does, whatever the inputs. Higher is more painterly.
        tv_weight: of total variation, which smooths; 0 or more.
        color: "style": the painting's, as they come; the photograph's are kept by
            "match" (the painting is looked at with their mean and covariance),
            "histogram" (with their histograms), "luminance" (the result
            gets the photograph's color differences), or "content" (match before,
            luminance after); "palette-only" takes nothing but the painting's colors,
            and paints nothing. See `jaxnst.coloring`.
        finish: filters that the result goes through, in this order: {filter: amount},
            or names, which get their usual amounts: "denoise", "sharpen", "contrast",
            "levels", "saturation", "grain", "vignette", "halftone". See
            `jaxnst.finishing`.
        normalization: "pair" or "paper", see `jaxnst.objective`.
        num_steps: at the full size.
        coarse_steps: at each smaller size.
        optimizer: "adam", "lbfgs" (with a line search, so a step may cost more than one
            evaluation), or any optax transformation, which then brings its own learning
            rate.
        learning_rate: in units of pixel values per step; with other optimizers than
            Adam a factor on their updates, by default 1.
        decay: part of the full size's steps over which the rate falls to zero; by
            default 0 with other optimizers than Adam.
        averaging: decay of an average of the pictures that the steps go through, 0
            (none) to below 1; the result is the average where that has the lower loss.
        tolerance: a size ends when ten steps lower the mean loss by less than this part
            of it; 0 never ends one. At the full size the learning rate then falls to
            zero at once.
        max_seconds: after about so many the result is there, at its full size; where
            there is no time for all steps, every size gets fewer.
        steps_per_call: how many steps one call of the device makes; by default one on
            the CPU and five elsewhere. The callback sees the last of them.
        content_detail: part of the content's fine detail that is laid over the picture
            each time it grows, 0 to 1.
        init: "content", "recolored" (the content picture in the style's colors; the
            preset "draft" has it), "style", "noise", or a picture, stretched to the
            content's shape.
        seed: of the noise.
        network: name of pretrained weights or the path of a file of them, see
            `jaxnst.load_network`; or a network of your own: a `VGG`, `ResNet` or
            `GoogLeNet` of `jaxnst.networks`.
        pooling: "max" or "average".
        padding: "reflect", "replicate", "zeros", "circular", "circular_x" or
            "circular_y", see `jaxnst.networks.Network`.
        tile: True for a result that repeats without a seam, "x" or "y" for one that
            does so only across or only down. Its sides become multiples of 16 pixels.
            Opposite borders that do not fit are cross-faded in the content picture
            first, over some eighth of the side; the result may then begin a few
            pixels, at most eight or a 32nd of the side, further along
            (`record["result"]["moved"]`: rows and columns), where a line is as its
            neighbors are. A pattern that repeats already stays where it is.
        smoothing: "none", or "log" or "softmax", which take the peaks off the
            activations of networks other than VGGs, see `jaxnst.networks.smooth`; by
            default "log" for ResNets.
        normalize_activations: rescale a VGG so that every filter's mean activation over
            the two pictures is 1 (Gatys et al. 2016); quiet filters then count as much
            as loud ones.
        conv: "xla", "winograd", or "auto", the faster on this device. The pictures
            differ by rounding.
        precision: "float32", or "bfloat16", of the network's activations: half the
            memory, and several times as fast on GPUs and TPUs (on most CPUs it is
            slower). Losses and picture stay float32; the result is another one of the
            same kind.
        memory: "fast", "balanced" (a fifth slower) or "low"; "auto" takes the first for
            which there is memory enough. The pictures differ by rounding.
        devices: "all" of this machine (GPUs, if it has any): each holds some rows of
            the picture's activations, so that a larger one fits. Small sizes all paint
            alike. By default one. The pictures differ by rounding.
        metrics: measure the result, see `jaxnst.metrics`; `record["metrics"]` has it.
        callback: called after every step with a `jaxnst.optimize.StepView`; returning
            True stops. The picture is then that of the last step; only where the loss
            has risen above where the size began is it the best one before, which the
            record's recoveries say. So it is after Ctrl-C.
        progress: show a bar on standard error (lines where there is no terminal).

    Returns:
        The picture, its history and its record.

    Raises:
        ValueError, TypeError, OSError: if an input is unusable, before anything is
            computed.
        OutOfMemory: if the picture does not fit, before it is painted where that can be
            foreseen; a MemoryError.
        Interrupted: on Ctrl-C, with the picture so far; a KeyboardInterrupt.

    References:
        Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural
        Networks", CVPR 2016. Departures: `jaxnst.objective`; the sizes are painted from
        coarse to fine.

    Examples:
        >>> result = stylize("photo.jpg", "painting.jpg", size=768)  # doctest: +SKIP
        >>> result.save("out.png")  # doctest: +SKIP
    """
    started = time.perf_counter()
    if callback is not None and not callable(callback):
        raise TypeError(f"`callback` must be callable, got {callback!r}.")
    config = settle_config(
        preset=preset,
        init=init,
        network=network,
        optimizer=optimizer,
        pooling=pooling,
        padding=padding,
        smoothing=smoothing,
        normalize_activations=normalize_activations,
        conv=conv,
        precision=precision,
        content_layers=content_layers,
        style_layers=style_layers,
        size=size,
        style_size=style_size,
        style_scale=style_scale,
        style_blend=style_blend,
        style_loss=style_loss,
        detail=detail,
        tile=tile,
        min_size=min_size,
        masks=masks,
        strength=strength,
        content_weight=content_weight,
        style_weight=style_weight,
        tv_weight=tv_weight,
        color=color,
        finish=finish,
        normalization=normalization,
        num_steps=num_steps,
        coarse_steps=coarse_steps,
        learning_rate=learning_rate,
        decay=decay,
        averaging=averaging,
        tolerance=tolerance,
        max_seconds=max_seconds,
        steps_per_call=steps_per_call,
        content_detail=content_detail,
        seed=seed,
        memory=memory,
        devices=devices,
    )
    job = set_up(
        content,
        style,
        config,
        preset=preset,
        init=init,
        network=network,
        optimizer=optimizer,
        masks=masks,
        strength=strength,
        progress=progress,
    )
    watcher = ProgressCallback(enabled=progress, inner=callback)
    return run_job(job, watcher, started=started, metrics=metrics)


def estimate(
    content: PictureSource,
    style: StyleSource,
    *,
    preset: str = "default",
    init: str | PictureSource | None = None,
    network: str | os.PathLike[str] | Network | None = None,
    optimizer: str | optax.GradientTransformation | None = None,
    **settings: Any,
) -> Estimate:
    """Return how much memory and time `stylize` would take; nothing is painted.

    Programs are compiled, and kept for `stylize`; then some steps are made at small
    sizes. That takes seconds, the second time fewer.

    Args:
        content: as for `stylize`, like everything here.
        style: likewise.
        preset: likewise.
        init: likewise.
        network: likewise.
        optimizer: likewise.
        settings: likewise.

    Raises:
        ValueError, TypeError, OSError: if an input is unusable.

    Examples:
        >>> print(estimate("photo.jpg", "painting.jpg", size=1024))  # doctest: +SKIP
    """
    arguments = {
        "preset": preset,
        "init": init,
        "network": network,
        "optimizer": optimizer,
        **settings,
    }
    progress = arguments.pop("progress", True)
    objects = objects_of(arguments)
    config = settle_config(**arguments)
    job = set_up(content, style, config, progress=progress, **objects)
    holds = process_memory()  # before the compiler takes some, which painting may not
    memory = MEMORY_LEVELS[-1] if config.memory == "auto" else config.memory
    with contextlib.suppress(OutOfMemory):  # the table will show by how much
        memory = choose_memory(job)
    with clear_memory_errors(memory, max(job.inputs.shape)):
        return make_estimate(job, memory, holds=holds)
