"""The function `explain` and what it returns."""

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnst._checks import check_count
from jaxnst._types import AnyHostImage, HostImage
from jaxnst.images import PictureSource
from jaxnst.images.load import MIN_SIDE
from jaxnst.metrics import Metrics
from jaxnst.pretrained import load_lpips_network
from jaxnst.transfer.driver import measure_result
from jaxnst.transfer.inputs import StyleSource
from jaxnst.transfer.result import Result
from jaxnst.transfer.terminal import Screen

from .ablations import Ablations, paint_ablations
from .advice import Convergence, give_advice, judge_convergence
from .attribution import Pull, measure_attribution, targets_of, terms_of
from .correspondence import Origins, correspondence_layers, find_origins
from .differences import Changes, measure_changes
from .inputs import Subject, subject_of


# A larger picture takes longer to explain, and its report shows no more.
MAX_SIZE = 1024
# Size and steps of the ablations. An explanation is to take no longer than its picture.
_ABLATION_SIZE = 128
_ABLATION_STEPS = 36


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a picture looks as it does.

    Attributes:
        image: picture that is explained, RGB, float32, [0, 1], HWC; smaller than its
            file if that is larger than `max_size`.
        content: content picture, of the same shape.
        styles: style pictures, at the size at which they were used for painting.
        record: record of the picture.
        history: every loss term by step, with "step" and "size"; None if unknown.
        gaps: {style layer: style loss}, relative to that of the content picture; 0:
            the painting's style is reached, 1: as far from it as at the start.
        losses: {content layer: content loss}, the squared error of its features over
            their mean square.
        pull: attribution of the picture to the loss terms.
        first_pull: the same for the content picture.
        ablations: the pair painted without each style layer, and with it alone; None
            if not requested, or with a single layer.
        changes: differences of content, colors and structure from the content picture.
        origins: correspondence of the picture's patches to the style pictures', at a
            finer and a coarser layer.
        metrics: quality of the picture, see `jaxnst.metrics`.
        seams: {"seam_x", "seam_y"} of a picture that repeats; 1: no seam can be seen.
        convergence: fall of the loss at the full size; None if unknown.
        advice: sentences on what to change, the most important first.
        seconds: duration of the explanation.
    """

    image: HostImage
    content: HostImage
    styles: tuple[AnyHostImage, ...]
    record: Mapping[str, Any]
    history: Mapping[str, np.ndarray] | None
    gaps: Mapping[str, float]
    losses: Mapping[str, float]
    pull: Pull
    first_pull: Pull
    ablations: Ablations | None
    changes: Changes
    origins: Sequence[Origins]
    metrics: Metrics
    seams: Mapping[str, float]
    convergence: Convergence | None
    advice: Sequence[str]
    seconds: float

    def save(self, path: str | os.PathLike[str], *, title: str = "") -> Path:
        """Write the report, one self-contained HTML file, and return where it is.

        Args:
            path: file name, .html or .htm; written as a whole or not at all.
            title: title of the report; by default the names of the inputs.

        Raises:
            ValueError: if the extension is another one.
            OSError: if the file cannot be written.
        """
        from .report import save_report

        return save_report(self, path, title=title)

    def save_sheets(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the report's figures as PNG files and return where they are.

        Args:
            folder: folder for the files, made if it is not there.

        Raises:
            OSError: if a file cannot be written.
        """
        from .figures import save_sheets

        return save_sheets(self, folder)


def explain(
    picture: Result | str | os.PathLike[str],
    content: PictureSource | None = None,
    style: StyleSource | None = None,
    *,
    masks: Sequence[PictureSource] | None = None,
    strength: PictureSource | None = None,
    init: PictureSource | None = None,
    network: Any = None,
    max_size: int = MAX_SIZE,
    ablations: bool = True,
    progress: bool = True,
) -> Explanation:
    """Return why a picture looks as it does, and which settings would change it.

    Args:
        picture: result of `stylize`; or picture file saved by jaxnst, together with
            the inputs that it was painted from.
        content: content picture of the file.
        style: style picture of the file, or all of them.
        masks: masks of the file, if it was painted with any.
        strength: map of strengths of the file, if it was painted with one.
        init: initial picture of the file, if it was painted from one.
        network: network of the file, if it is not one of jaxnst's: a network, or a
            file of weights.
        max_size: longest side, in pixels, to which larger pictures are shrunk.
        ablations: whether to paint the pair, small, without each style layer and with
            it alone, which takes most of the time.
        progress: whether to report progress on standard error.

    Raises:
        ValueError, TypeError, OSError: if an input is missing, unusable, or not what
            the picture was painted from.
        KeyboardInterrupt: on Ctrl-C.

    Examples:
        >>> result = stylize("photo.jpg", "painting.jpg")  # doctest: +SKIP
        >>> explain(result).save("why.html")  # doctest: +SKIP
        >>> explain("out.png", "photo.jpg", "painting.jpg").advice  # doctest: +SKIP
    """
    started = time.perf_counter()
    check_count("max_size", max_size, minimum=MIN_SIDE)
    subject = subject_of(
        picture,
        content,
        style,
        masks=masks,
        strength=strength,
        init=init,
        network=network,
        max_size=max_size,
        progress=progress,
    )
    return explain_subject(
        subject, ablations=ablations, progress=progress, started=started
    )


def explain_subject(
    subject: Subject, *, ablations: bool, progress: bool, started: float
) -> Explanation:
    """Return the explanation of a picture with known inputs.

    Args:
        subject: picture with its inputs, settings and network.
        ablations: whether to paint the pair with and without each style layer.
        progress: whether to report progress on standard error.
        started: time of the start, of `time.perf_counter`.
    """
    config, network = subject.job.config, subject.job.network
    screen = Screen(enabled=progress)
    judge = load_lpips_network()
    screen.print("measuring the attribution to each loss term ...")
    targets = targets_of(subject)
    terms = terms_of(subject, subject.image, targets)
    pull = measure_attribution(subject, subject.image, targets)
    first_pull = measure_attribution(subject, subject.content, targets)
    del targets  # large
    names = set(config.style_layers) | set(config.content_layers)
    in_order = [name for name in network.architecture.layer_names if name in names]
    changes = measure_changes(network, subject.image, subject.content, in_order)
    screen.print("searching for the most similar patches ...")
    styles = [name for name in in_order if name in config.style_layers]
    origins = find_origins(
        network, subject.image, subject.styles, correspondence_layers(styles)
    )
    measured = measure_result(subject.image, subject.job)
    metrics = Metrics(*(measured.pop(name) for name in Metrics._fields))
    painted = None
    if ablations:
        screen.print("painting small pictures with and without each layer ...")
        painted = paint_ablations(
            subject,
            judge,
            size=_ABLATION_SIZE,
            num_steps=_ABLATION_STEPS,
            progress=progress,
        )
    convergence = judge_convergence(subject.history)
    gaps = {name: float(terms.style_layers[name]) for name in styles}
    losses = {name: float(x) for name, x in terms.content_layers.items()}
    return Explanation(
        image=subject.image,
        content=subject.content,
        styles=subject.styles,
        record=subject.record,
        history=subject.history,
        gaps=gaps,
        losses=losses,
        pull=pull,
        first_pull=first_pull,
        ablations=painted,
        changes=changes,
        origins=origins,
        metrics=metrics,
        seams=measured,  # without the metrics
        convergence=convergence,
        advice=give_advice(
            config, gaps, metrics=metrics, convergence=convergence, pull=pull
        ),
        seconds=time.perf_counter() - started,
    )
