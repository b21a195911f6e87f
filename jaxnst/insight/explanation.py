"""`explain`: why a picture looks as it does."""

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
from .advice import give_advice
from .attribution import Pull, measure_pull, targets_of, terms_of
from .convergence import Convergence, judge_convergence
from .correspondence import Origins, find_origins, origin_layers
from .differences import Changes, measure_changes
from .inputs import Subject, subject_of


# Beyond this a report shows no more, but takes long.
MAX_SIZE = 1024
# Of the small paintings, one for each layer and one without it. A report is to take no
# longer than its picture did.
_ABLATION_SIZE = 128
_ABLATION_STEPS = 36


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a picture looks as it does.

    Attributes:
        image: the picture, RGB, float32, [0, 1], HWC, as it was looked at.
        content: the content picture, of the same shape.
        styles: the style pictures, as large as the painting looked at them.
        record: of the picture.
        history: every loss term by step, with "step" and "size"; None if it is unknown.
        gaps: {style layer: its term}: what is left of the way from the content
            picture's style to the painting's; 0: reached, 1: as far as at the start.
        losses: {content layer: its term}: squared error of its features over their mean
            square.
        pull: how hard each loss term pulls where, at the end.
        first_pull: the same, of the content picture.
        ablations: the pair painted without each style layer, and with it alone; None
            if they were not wanted, or there is but one layer.
        changes: where content, colors and structure changed.
        origins: where in the painting every patch comes from, at a finer and a coarser
            scale.
        metrics: how good the picture is, see `jaxnst.metrics`.
        seams: of a picture that repeats, {"seam_x", "seam_y"}; 1: none to be seen.
        convergence: whether it was still moving; None if its history is unknown.
        advice: sentences on what to turn, the most important first.
        seconds: it took to find all this out.
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
        """Write the report, one HTML file that needs nothing else; return where it is.

        Args:
            path: .html; written beside its place and then renamed.
            title: of the report.

        Raises:
            ValueError: if the extension is another.
            OSError: if it cannot be written there.
        """
        from .report import save_report

        return save_report(self, path, title=title)

    def save_sheets(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the report's figures as PNG files, for papers; return where they are.

        Args:
            folder: made if it is not there.

        Raises:
            OSError: if they cannot be written there.
        """
        from .sheets import save_sheets

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
    """Find out why a picture looks as it does, and what to turn to change it.

    Args:
        picture: a result of `stylize`; or a picture file that jaxnst saved, together
            with what it was painted from.
        content: of a file, the content picture.
        style: of a file, the style picture, or all of them.
        masks: of a file, those that it was painted with.
        strength: of a file, the map of strengths that it was painted with.
        init: of a file, the picture that it started from.
        network: of a file, the network of one's own, or the file of weights.
        max_size: longest side at which a larger picture is looked at.
        ablations: paint the pair small without each style layer, and with it alone,
            which takes most of the time.
        progress: say on standard error how far it is.

    Raises:
        ValueError, TypeError, OSError: if something is missing, unusable, or not what
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
    """Find out all that an explanation holds.

    Args:
        subject: what is explained.
        ablations: whether the pair is painted again.
        progress: say what is done, and show a bar while it is painted.
        started: when, on the clock of `time.perf_counter`.
    """
    config, network = subject.job.config, subject.job.network
    screen = Screen(enabled=progress)
    judge = load_lpips_network()
    screen.print("measuring who pulls where ...")
    targets = targets_of(subject)
    terms = terms_of(subject, subject.image, targets)
    pull = measure_pull(subject, subject.image, targets)
    first_pull = measure_pull(subject, subject.content, targets)
    del targets  # large
    names = set(config.style_layers) | set(config.content_layers)
    in_order = [name for name in network.architecture.layer_names if name in names]
    changes = measure_changes(network, subject.image, subject.content, in_order)
    screen.print("looking where strokes come from ...")
    styles = [name for name in in_order if name in config.style_layers]
    origins = find_origins(
        network, subject.image, subject.styles, origin_layers(styles)
    )
    measured = measure_result(subject.image, subject.job)
    metrics = Metrics(*(measured.pop(name) for name in Metrics._fields))
    painted = None
    if ablations:
        screen.print("painting small, with each layer alone and without it ...")
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
        seams=measured,  # what is left
        convergence=convergence,
        advice=give_advice(
            config, gaps, metrics=metrics, convergence=convergence, pull=pull
        ),
        seconds=time.perf_counter() - started,
    )
