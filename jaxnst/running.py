"""One painting, from what was prepared to a result."""

import time
from collections.abc import Callable
from typing import Any

from ._types import HostImage
from .ahead import blend_of
from .calls import Call, run_calls
from .coloring import AFTERWARDS, keep_luminance
from .finishing import finish_picture
from .fitting import clear_memory_errors
from .images import resize
from .metrics import Metrics, measure, seam_scores
from .optimize import deferred_interrupt
from .painting import Painted, paint
from .preparation import Prepared, settle_memory
from .pretrained import load_lpips_network
from .progress import ProgressCallback
from .record import make_record
from .result import Interrupted, Result, make_history
from .tiling import move, place_border


def stylize_prepared(
    prepared: Prepared,
    watcher: ProgressCallback,
    *,
    preset: str,
    started: float,
    notice_fn: Callable[[str], None] | None = None,
    make_fn: Callable[[Call], Any] = Call.make,
    metrics: bool = False,
) -> Result:
    """Paint what was prepared.

    Args:
        prepared: the pictures, the settings, the network.
        watcher: shows how far it is.
        preset: from which the settings started, for the record.
        started: when, on the clock of `time.perf_counter`.
        notice_fn: told what happens on Ctrl-C; by default `watcher` shows it.
        make_fn: makes the calls of compiled programs.
        metrics: whether the result is measured.

    Raises:
        OutOfMemory, Interrupted: as `stylize`.
    """
    inputs, config, network, transformation, _ = prepared
    with clear_memory_errors(config, max(inputs.shape)):  # of the compiler
        settled = settle_memory(inputs, config, network, transformation)
    network = network.with_memory(settled.memory)
    deadline = None if config.max_seconds is None else started + config.max_seconds
    with (
        watcher,
        clear_memory_errors(
            settled, max(inputs.shape), is_foreign=lambda error: error is watcher.error
        ),
        deferred_interrupt(notice_fn or watcher.notice) as is_interrupted,
    ):
        painted = run_calls(
            paint(
                inputs,
                network,
                transformation,
                settled,
                watcher,
                deadline=deadline,
                is_interrupted=is_interrupted,
            ),
            make_fn,
        )
    result = make_result(
        painted,
        prepared,
        preset=preset,
        memory=settled.memory,
        seconds=time.perf_counter() - started,
        metrics=metrics,
    )
    if painted.stopped == "interrupted":
        raise Interrupted(result)
    return result


def make_result(
    painted: Painted,
    prepared: Prepared,
    *,
    preset: str,
    memory: str,
    seconds: float,
    metrics: bool = False,
) -> Result:
    """Return what was painted, at the size asked for and with its record.

    Args:
        painted: picture, history and what happened.
        prepared: what it was painted from, with the settings as they were asked for.
        preset: from which they started.
        memory: the level that was used.
        seconds: it took in all.
        metrics: whether it is measured.
    """
    inputs = prepared.inputs
    image = painted.image
    if image.shape[:2] != inputs.shape:  # stopped at a smaller size
        image = resize(image, inputs.shape, wraps=inputs.wraps)
    if prepared.config.color in AFTERWARDS:
        image = keep_luminance(image, inputs.content_at(inputs.shape))
    image = finish_picture(image, prepared.config.finish, tile=prepared.config.tile)
    moved = place_border(image, inputs.faded)
    if any(moved):
        image, inputs = move(image, moved, inputs.shape), inputs.moved(moved)
        prepared = prepared._replace(inputs=inputs)
    record = make_record(
        prepared.config,
        preset=preset,
        content=inputs.content,
        styles=inputs.styles,
        init=inputs.init,
        guiding=inputs.guiding,
        weights=prepared.weights,
        shape=inputs.shape,
        num_steps=len(painted.terms),
        stopped=painted.stopped,
        memory=memory,
        sizes=[size._asdict() for size in painted.sizes],
        recoveries=[recovery._asdict() for recovery in painted.recoveries],
        seconds={
            "compile": round(painted.compile_seconds, 3),
            "run": round(painted.run_seconds, 3),
            "total": round(seconds, 3),
        },
        strength=painted.strength,
        num_devices=prepared.network.num_devices,
        moved=moved,
    )
    if metrics:
        record["metrics"] = measure_painting(image, prepared)
    return Result(
        image=image,
        alpha=inputs.alpha,
        history=make_history(painted.terms),
        record=record,
        prepared=prepared,
    )


def measure_painting(image: HostImage, prepared: Prepared) -> dict[str, float]:
    """Return the metrics; of several styles the mean, as they are blended.

    Of a picture that repeats also how much of a seam it has.

    Args:
        image: what was painted, at any size.
        prepared: what it was painted from.
    """
    inputs = prepared.inputs
    content = inputs.content_at(image.shape[:2])
    judge = load_lpips_network()
    found = [measure(image, content, each.rgb, judge=judge) for each in inputs.styles]
    shares = blend_of(prepared.config, len(found), inputs.regions).mean((0, 1))
    seams = seam_scores(image, prepared.config.tile or "")
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
