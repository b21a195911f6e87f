"""`stylize` and `estimate`: from two pictures to a result."""

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optax
import psutil

from jaxnst._checks import check_count, check_path, expand_home, shown
from jaxnst._types import HostImage
from jaxnst.coloring import AFTERWARDS, BEFOREHAND, is_gray, keep_luminance
from jaxnst.config import SETTINGS, LayerWeights
from jaxnst.finishing import finish_picture
from jaxnst.images import PictureSource, resize
from jaxnst.images.tiling import move, place_border
from jaxnst.metrics import Metrics, measure, seam_scores
from jaxnst.networks import Network
from jaxnst.optimize import StepCallback
from jaxnst.optimize.checkpoint import Checkpoint
from jaxnst.optimize.interrupt import deferred_interrupt
from jaxnst.optimize.optimizers import is_lbfgs
from jaxnst.pretrained import load_lpips_network

from .inputs import StyleSource
from .memory import (
    Estimate,
    OutOfMemory,
    choose_memory,
    clear_memory_errors,
    is_about_memory,
    level_below,
    make_estimate,
    memory_levels,
)
from .plan import blend_of, make_plan
from .progress import ProgressCallback
from .regions import keep_outside
from .result import Interrupted, Result, identity_of, make_history, make_record
from .run import Painted, is_pair_alike, is_unpainted, leave_unpainted, paint
from .setup import Job, set_up, settle_config


# Times by which a result is larger than the style pictures from which on that is said.
_SMALL_STYLE = 3


def run_job(
    job: Job,
    callback: ProgressCallback,
    *,
    started: float,
    notice_fn: Callable[[str], None] | None = None,
    metrics: bool = False,
    checkpoint: Checkpoint | None = None,
    keeps_part: bool = True,
) -> Result:
    """Return the result of a job, painted from the first step to the last.

    `started` is on the clock of `time.perf_counter`; `notice_fn` shows a message at
    Ctrl-C, by default `callback` does. `keeps_part` says that the picture so far is
    wanted then.
    """
    limit = job.config.max_seconds
    is_alike = is_pair_alike(job)
    if is_alike:
        warnings.warn(
            "content and style are the same picture, so there is nothing to paint.",
            stacklevel=2,
        )
    with deferred_interrupt(notice_fn or callback.notice) as is_interrupted:
        if is_alike or is_unpainted(job.config):
            painted = leave_unpainted(job)
        else:
            if checkpoint is not None:
                if is_lbfgs(job.optimizer):
                    raise ValueError(
                        "`checkpoint` cannot keep L-BFGS; use another `optimizer`."
                    )
                checkpoint.begin(identity_of(job))
            deadline = None if limit is None else started + limit
            with callback:
                painted = _paint_fitting(
                    job, callback, deadline, is_interrupted, checkpoint
                )
        seconds = time.perf_counter() - started
        if painted.stopped == "interrupted" and not keeps_part:
            raise KeyboardInterrupt
        result = finish(job, painted, seconds=seconds, metrics=metrics)
    if is_interrupted() or painted.stopped == "interrupted":
        raise Interrupted(result)
    return result


def _paint_fitting(
    job: Job,
    callback: ProgressCallback,
    deadline: float | None,
    is_interrupted: Callable[[], bool],
    checkpoint: Checkpoint | None,
) -> Painted:
    """Paint at the fastest level of memory that fits; at another if that runs out.

    Forecasts err, and compilers of some devices refuse what does not fit.
    """
    size = max(job.inputs.shape)
    if checkpoint is not None and checkpoint.saved is not None:
        memory = checkpoint.saved.memory
    else:
        with clear_memory_errors(job.config.memory, size):  # raised by the compiler
            memory = choose_memory(job)
    while True:
        if checkpoint is not None:
            checkpoint.memory = memory
        try:
            with clear_memory_errors(memory, size):
                (painted,) = paint(
                    [job],
                    make_plan([job], memory),
                    callbacks=[callback],
                    deadline=deadline,
                    is_interrupted=is_interrupted,
                    part_fn=callback.show_part,
                    checkpoint=checkpoint,
                )
            return painted
        except OutOfMemory as error:
            if is_interrupted():
                raise
            # Another one, as the traceback holds the arrays that are in the way.
            ran_out = OutOfMemory(str(error), error.advice)
        if (below := level_below(job, memory)) is None:
            raise ran_out
        memory = below


def finish(
    job: Job, painted: Painted, *, seconds: float, metrics: bool = False
) -> Result:
    """Return the result at the size asked for, with its colors, filters and record."""
    inputs, config = job.inputs, job.config
    image = painted.image
    if image.shape[:2] != inputs.shape:  # stopped at a smaller size
        image = resize(image, inputs.shape, wraps=inputs.wraps)
    content = inputs.content_at(inputs.shape)
    if inputs.regions is not None:
        image = keep_outside(image, content, inputs.regions, wraps=inputs.wraps)
    # Steps make specks of color even where both pictures have none.
    painted_from = [] if config.color in BEFOREHAND else inputs.styles
    has_gray = all(is_gray(each.rgb) for each in (inputs.content, *painted_from))
    if config.color in AFTERWARDS or has_gray:
        with _dispensable("color"):
            image = keep_luminance(image, content)
    with _dispensable("finish"):
        image = finish_picture(image, config.finish, tile=config.tile)
    moved = 0, 0
    with _dispensable("tile"):
        moved = place_border(image, inputs.faded)
    if any(moved):
        image = move(image, moved, inputs.shape)
        job = job._replace(inputs=inputs.moved(moved))
    record = make_record(job, painted, seconds=seconds, moved=moved)
    if metrics:
        with _dispensable("metrics"):
            record["metrics"] = measure_result(image, job)
    return Result(
        image=image,
        alpha=job.inputs.alpha,
        history=make_history(painted.reports),
        record=record,
        job=job,
    )


@contextlib.contextmanager
def _dispensable(argument: str) -> Iterator[None]:
    """Warn where memory or a bad value stops what comes after the last step.

    Better a picture without it than none at all.
    """
    try:
        yield
    except ValueError as error:
        warnings.warn(
            f"what `{argument}` asks for is left out, as {error}", stacklevel=3
        )
    except Exception as error:
        if not is_about_memory(error):
            raise
        warnings.warn(
            f"memory ran out after the last step, for what `{argument}` asks for; the "
            "picture is as it was before.",
            stacklevel=3,
        )


def measure_result(image: HostImage, job: Job) -> dict[str, float]:
    """Return {metric: value} of a result, and seam scores if the result tiles.

    With several styles each value is their mean, weighted as the styles are blended, or
    by the part of the picture that each covers.
    """
    inputs = job.inputs
    content = inputs.content_at(image.shape[:2])
    judge = load_lpips_network()
    found = [measure(image, content, each.rgb, judge=judge) for each in inputs.styles]
    blend = blend_of(job.config, len(found), inputs.regions).mean(1)
    shares = np.average(blend, axis=0, weights=np.maximum(inputs.shares, 1e-6))
    means = Metrics(*(shares.astype(float) @ np.array(found)).tolist())
    scores = {name: round(mean, 5) for name, mean in means._asdict().items()}
    seams = seam_scores(image, job.config.tile or "")
    return scores | {name: round(score, 4) for name, score in seams.items()}


# Types of many parts are quoted, so that `help` shows their names.
def stylize(
    content: "PictureSource",
    style: "StyleSource",
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
    masks: "Sequence[PictureSource] | None" = None,
    strength: "float | PictureSource | None" = None,
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
    init: "str | PictureSource | None" = None,
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
    tile_size: int | None = None,
    devices: str | None = None,
    metrics: bool = False,
    callback: StepCallback | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    more_steps: int = 0,
    progress: bool = True,
) -> Result:
    """Return `content`, painted in the style of `style`.

    A setting left at None has the preset's value. On a CPU the same inputs, settings
    and versions give the same picture, to the last bit.

    Args:
        content: picture whose content is kept: a path, a PIL image, or an array, see
            `jaxnst.images.load_picture`.
        style: picture whose style is taken: a path, a PIL image, or an array; or a list
            of them, which are blended.
        preset: "default"; "draft", which takes a quarter of the time; "fine", which
            takes over three times as long; or "gatys2016", the paper's literal loss.
        size: longest side of the result, in pixels; 32 or more.
        style_size: longest side to which the style picture is resized, in pixels;
            smaller makes finer strokes. By default `size`; for a smaller style picture
            the root of `size` times its longest side, so it is enlarged halfway.
        style_scale: factor on the default of `style_size`, above 0: 0.5 makes strokes
            half as large, 2 twice as large (the style picture is enlarged if needed).
        style_blend: weight of each style picture, such as [3, 1]; by default equal. The
            target is the weighted mean of their Gram matrices. Several rows go from
            fine to coarse style layers: [[1, 0], [0, 1]] takes fine strokes from the
            first picture and coarse shapes from the second.
        min_size: longest side of the coarsest size, which is painted first, in pixels;
            0 paints at the full size only.
        content_layers: layers that keep the content, as a list or {layer: weight}; by
            default the preset's or, if the network lacks them, its architecture's.
        style_layers: layers that take on the style, as a list or {layer: weight}; by
            default the preset's or, if the network lacks them, its architecture's.
        style_loss: "gram", "moments", "wasserstein", "sliced_wasserstein" or
            "nearest_neighbor", see `jaxnst.losses`; or several, as a list or
            {loss: weight}. By default "gram" and "moments" with equal weights (with
            `normalization` "paper" only "gram").
        detail: balance of the style layers, -1 to 1: 1 favors fine strokes, -1 coarse
            shapes; 0 leaves their weights as they are.
        masks: gray pictures, one for each style picture, with the content's
            proportions: white where that style is painted. In place of a picture,
            "rest" is the part that the other masks leave, and "alpha" the content's own
            opacity. Soft edges blend. The content stays where all masks are black.
        strength: fraction of the way from the content's style to the painting's, 0 to
            1: 1 minus the style term, which is measured by `network`. As much content
            as possible is kept. Takes the place of `content_weight` and `style_weight`,
            which are adjusted during painting. `record["result"]["strength"]` has the
            strength that was reached, which is seldom above 0.95. Or a gray picture
            with the content's proportions, for strengths that differ from place to
            place: white is 1.
        content_weight: weight of all content layers together, 0 or more.
        style_weight: weight of all style layers together, 0 or more; 1 pulls about as
            hard as the content, whatever the inputs. Higher is more painterly.
        tv_weight: weight of total variation, which smooths; 0 or more.
        color: source of the colors, see `jaxnst.coloring`. "style": the style picture.
            The content's colors are kept by "match" (the style picture first gets their
            mean and covariance), "histogram" (it first gets their histograms),
            "luminance" (the result gets the content's color differences) or "content"
            ("match" before and "luminance" after). "palette-only" gives the content the
            style's colors and paints nothing.
        finish: filters that are applied to the result, in the order given, as
            {filter: amount} or as names, for their usual amounts: "denoise", "sharpen",
            "contrast", "levels", "saturation", "grain", "vignette", "halftone". See
            `jaxnst.finishing`.
        normalization: scaling of the loss terms, "pair" or "paper", see
            `jaxnst.objective`.
        num_steps: number of steps at the full size.
        coarse_steps: number of steps at each smaller size.
        optimizer: "adam", "lbfgs" (whose line search may need several evaluations per
            step), or any optax transformation, which has its own learning rate.
        learning_rate: step size of Adam, in pixel values (0 to 1) per step, of pixels
            with a usual gradient; others move by up to twice that. With other
            optimizers a factor on their updates, by default 1. With a `strength` below
            0.8 it is smaller in proportion.
        decay: fraction of the full size's steps, at their end, over which the learning
            rate falls to zero, 0 to 1; by default 0 with optimizers other than Adam.
        averaging: decay of a running average of the pictures after each step, from 0
            (no average) to below 1; the result is the average if its loss is lower.
        tolerance: relative decrease of the mean loss from ten steps to the next ten
            below which a size ends, from 0 (never) to below 1. At the full size the
            learning rate first falls to zero, within ten steps.
        max_seconds: approximate time limit, in seconds. The result has its full size in
            any case; if time is short, every size gets fewer steps.
        steps_per_call: number of steps in one call of the device, 1 or more; by default
            1 on the CPU and elsewhere up to 10, fewer the larger the picture. The
            callback sees the last of them.
        content_detail: fraction of the content's fine detail that is added to the
            picture each time it is enlarged, 0 to 1; in the style's colors if `init` is
            "recolored". Less of it where the style's file is enlarged, and none from
            twice its size on, as nothing in it is so fine.
        init: start of the painting: "content", "recolored" (the content in the style's
            colors; less far where weights or a strength ask for less style), "style",
            "noise", or a picture, which is stretched to the content's shape.
        seed: seed of the noise, 0 or more.
        network: name of pretrained weights, or path of a file of them, see
            `jaxnst.load_network`; or a network of your own: a `VGG`, `ResNet` or
            `GoogLeNet` of `jaxnst.networks`.
        pooling: "max" or "average".
        padding: "reflect", "replicate", "zeros", "circular", "circular_x" or
            "circular_y", see `jaxnst.networks.Network`.
        tile: True for a result that repeats without a seam; "x" or "y" for one that
            repeats only across or only down. Its sides become multiples of 16 pixels.
            Opposite borders of the content that do not match are first cross-faded,
            over about an eighth of the side. The result may then be shifted to the
            least visible border nearby, by at most eight pixels or a 32nd of the side;
            `record["result"]["moved"]` has the rows and columns. A content picture that
            repeats already is not shifted.
        smoothing: "none", or "log" or "softmax", which flatten the peaks in the
            activations of networks other than VGGs, see `jaxnst.networks.smooth`; by
            default "log" for ResNets.
        normalize_activations: whether to rescale a VGG so that the mean activation of
            every filter over the two pictures is 1 (Gatys et al. 2016); weak filters
            then count as much as strong ones.
        conv: algorithm of the convolutions: "xla", "winograd", or "auto", the faster on
            this device. The pictures differ by rounding.
        precision: arithmetic of the network: "float32"; "tf32", several times as fast
            on GPUs from Nvidia's Ampere on and on TPUs; "bfloat16", faster yet and in
            half the memory, but another picture of the same kind; "float16", for older
            GPUs; or "auto": "tf32" where there is such, "float16" on older GPUs of
            Nvidia, "float32" elsewhere. Losses and picture are float32 in any case.
            `record["result"]["precision"]` has what was used.
        memory: "fast", "balanced" (a fifth slower), "low", "tiles", or "auto", the
            first of them that fits into memory; if memory runs out all the same, the
            painting begins again with the next. The pictures differ by rounding.
            "tiles" is for huge pictures: the network sees one tile after the other, in
            about twice the time. Not for clips, nor with "sliced_wasserstein".
        tile_size: longest side of a tile, in pixels; smaller ones take less memory and
            more time, as they overlap.
        devices: "all" for all devices of this machine (its GPUs, if it has any): each
            holds some rows of the activations, so that larger pictures fit, or computes
            other tiles. Small sizes are painted by every device alike. By default one
            device. The pictures differ by rounding.
        metrics: whether to measure the result, see `jaxnst.metrics`;
            `record["metrics"]` has the values.
        callback: function called after every step with a `jaxnst.optimize.StepView`; it
            returns True to stop. The result is then the picture of the last step or, if
            the loss has risen above that at the start of the size, the best picture
            before, as the record's recoveries say. The same holds after Ctrl-C.
        checkpoint: folder in which the painting is kept every few minutes, and at
            Ctrl-C; made if it is not there. After a kill, the same call goes on from
            there, to the same picture. Not with L-BFGS. Its file is about six times as
            large as the picture in float32.
        more_steps: number of steps that a finished painting in `checkpoint` is to have
            beyond its own, at the full size; the learning rate falls again at their
            end. One that is not finished goes on first.
        progress: whether to show a bar on standard error (without a terminal, lines).

    Returns:
        The picture, its history and its record.

    Raises:
        ValueError, TypeError, OSError: if an input is unusable, before anything is
            computed.
        OutOfMemory: if the picture does not fit into memory, before it is painted where
            that can be foreseen; a MemoryError.
        Interrupted: on Ctrl-C, with the picture so far; a KeyboardInterrupt.

    References:
        Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural
        Networks", CVPR 2016. Departures: `jaxnst.objective`; the sizes are painted from
        coarse to fine.

    Examples:
        >>> result = stylize("photo.jpg", "painting.jpg", size=768)  # doctest: +SKIP
        >>> result.save("out.png")  # doctest: +SKIP
    """
    given = dict(locals())
    started = time.perf_counter()
    if callback is not None and not callable(callback):
        raise TypeError(f"`callback` must be callable, got {shown(callback)}.")
    given = {name: x for name, x in given.items() if name in (*SETTINGS, "masks")}
    with open_checkpoint(checkpoint, more_steps, given) as opened:
        config = settle_config(**given)
        job = set_up(content, style, config, given, progress=progress)
        bar = ProgressCallback(enabled=progress, inner=callback)
        if note := _note_of_strokes(job):
            bar.notice(note)
        return run_job(job, bar, started=started, metrics=metrics, checkpoint=opened)


def _note_of_strokes(job: Job) -> str | None:
    """Return what to say where strokes will be small and soft; None elsewhere.

    That is where the files of the painting are much smaller than the result, and the
    user has not decided about it.
    """
    config, size = job.config, max(job.inputs.shape)
    longest = max(map(max, job.inputs.style_shapes))
    if config.style_size is not None or config.style_scale != 1:
        return None
    if size < _SMALL_STYLE * longest or is_unpainted(config):
        return None
    return (
        f"The style picture has {longest} px, so in {size} px its strokes will be "
        "small and soft; a larger file of it would paint better."
    )


@contextlib.contextmanager
def open_checkpoint(
    path: str | os.PathLike[str] | None, more_steps: int, settings: dict[str, Any]
) -> Iterator[Checkpoint | None]:
    """Yield the checkpoint in a folder; None without one.

    With `more_steps` the settings get a larger `num_steps`.

    Raises:
        ValueError, TypeError: if a value is unusable, or the checkpoint is.
    """
    check_count("more_steps", more_steps, minimum=0)
    if path is None:
        if more_steps:
            raise ValueError(
                "`more_steps` needs `checkpoint`, the folder to go on from."
            )
        yield None
        return
    folder = expand_home(check_path("checkpoint", path))
    with contextlib.closing(Checkpoint(folder)) as found:
        if more_steps:
            settings["num_steps"] = found.more(more_steps)
        yield found


def estimate(
    content: "PictureSource",
    style: "StyleSource",
    *,
    progress: bool = True,
    **settings: Any,
) -> Estimate:
    """Return how much memory and time `stylize` would take; nothing is painted.

    Compiles the programs, which `stylize` reuses, and times a few steps at small sizes.
    That takes some seconds, and less the second time.

    Args:
        content: content picture, as for `stylize`.
        style: style picture, or a list of them, as for `stylize`.
        progress: whether to show a bar if weights have to be downloaded.
        settings: settings of `stylize`, such as `preset`, `size` and `network`.

    Raises:
        ValueError, TypeError, OSError: if an input is unusable.

    Examples:
        >>> print(estimate("photo.jpg", "painting.jpg", size=1024))  # doctest: +SKIP
    """
    config = settle_config(**settings)
    job = set_up(content, style, config, settings, progress=progress)
    # Before compiling, which painting may not have to do.
    holds = psutil.Process().memory_info().rss
    memory = memory_levels(job)[-1]
    with contextlib.suppress(OutOfMemory):  # the estimate shows by how much
        memory = choose_memory(job)
    with clear_memory_errors(memory, max(job.inputs.shape)):
        return make_estimate(job, memory, holds=holds)
