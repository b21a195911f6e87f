"""The function `explain` and what it returns."""

import dataclasses
import functools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnst._checks import check_count
from jaxnst._types import AnyHostImage, HostImage
from jaxnst.images import PictureSource
from jaxnst.images.files import atomic_write
from jaxnst.images.load import MIN_SIDE
from jaxnst.metrics import Metrics
from jaxnst.pretrained import load_lpips_network
from jaxnst.transfer.driver import measure_result
from jaxnst.transfer.inputs import StyleSource
from jaxnst.transfer.result import Result
from jaxnst.transfer.terminal import Screen
from jaxnst.videos.driver import VideoResult
from jaxnst.videos.source import is_film

from .ablations import Ablations, paint_ablations
from .advice import Convergence, give_advice, judge_convergence
from .attribution import Attribution, measure_attribution, measure_terms, targets_of
from .clips import explain_clip
from .correspondence import Correspondence, correspondence_layers, find_correspondences
from .differences import Differences, measure_differences
from .inputs import load_painted_picture


# Where regions cover more than this, measures of the whole picture are theirs.
_NEARLY_ALL = 0.95


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
        losses: {content layer: content loss}, over the mean square of the content
            picture's features.
        attribution: attribution of the picture to the loss terms.
        first_attribution: attribution of the content picture to the loss terms.
        ablations: the pair painted without each style layer, and with it alone; None
            if not requested, or with a single layer.
        differences: differences of content, colors and structure from the content
            picture.
        correspondences: correspondence of the picture's patches to those of the style
            pictures, at a finer and a coarser layer.
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
    attribution: Attribution
    first_attribution: Attribution
    ablations: Ablations | None
    differences: Differences
    correspondences: Sequence[Correspondence]
    metrics: Metrics
    seams: Mapping[str, float]
    convergence: Convergence | None
    advice: Sequence[str]
    seconds: float

    def __repr__(self) -> str:
        return f"Explanation(advice={[*self.advice]})"

    def save(self, path: str | os.PathLike[str], *, title: str = "") -> Path:
        """Write the report, one self-contained HTML file, and return where it is.

        Args:
            path: file name, .html or .htm; written as a whole or not at all.
            title: title of the report; by default the names of the inputs.

        Raises:
            ValueError: if the extension is another one.
            OSError: if the file cannot be written.
        """
        from .report import make_report, write_report

        text_fn = functools.partial(make_report, self, title=title)
        return write_report(path, text_fn, hint="; `save_sheets` writes PNG")

    def save_sheets(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the report's figures as PNG files and return where they are.

        Args:
            folder: folder for the files, made if it is not there.

        Raises:
            OSError: if a file cannot be written.
        """
        from .report import make_sheets

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        written = []
        for name, sheet in make_sheets(self).items():
            written.append(target / f"{name}.png")
            with atomic_write(written[-1]) as beside:
                sheet.save(beside, "PNG", optimize=True)
        return written


def explain(
    picture: Result | VideoResult | str | os.PathLike[str],
    content: Any = None,
    style: "StyleSource | None" = None,
    *,
    masks: "Sequence[PictureSource] | None" = None,
    strength: "PictureSource | None" = None,
    init: "PictureSource | None" = None,
    network: Any = None,
    max_size: int = 1024,
    ablations: bool = True,
    progress: bool = True,
) -> Any:
    """Return why a picture looks as it does, and which settings would change it.

    Of a clip that jaxnst painted it returns how steady it is, and where least.

    Args:
        picture: result of `stylize`, or of `video`; or picture, film or folder of
            frames saved by jaxnst, together with the inputs it was painted from.
        content: content picture of the file; the clip of a film.
        style: style picture of the file, or all of them.
        masks: masks of the file, if it was painted with any.
        strength: map of strengths of the file, if it was painted with one.
        init: initial picture of the file, if it was painted from one.
        network: network of the file, if it is not one of jaxnst's: a network, or a
            file of weights.
        max_size: longest side, in pixels, to which larger pictures are shrunk; a report
            shows no more.
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
    if isinstance(picture, VideoResult):
        return explain_clip(picture, progress=progress)
    is_path = isinstance(picture, str | os.PathLike)
    if is_path and (is_film(picture) or Path(picture).is_dir()):
        return explain_clip(picture, content, progress=progress)
    check_count("max_size", max_size, minimum=MIN_SIDE)
    painted = load_painted_picture(
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
    job, image = painted.job, painted.image
    screen = Screen(enabled=progress)
    judge = load_lpips_network()
    names = {*job.config.style_layers, *job.config.content_layers}
    in_order = [name for name in job.network.architecture.layer_names if name in names]
    with screen.working("measuring the attribution to each loss term"):
        targets = targets_of(painted)
        terms, _ = measure_terms(painted, image, targets, painted.weights)
        first, _ = measure_terms(painted, painted.content, targets, painted.weights)
        attribution = measure_attribution(painted, image, targets)
        first_attribution = measure_attribution(painted, painted.content, targets)
        del targets  # large
        differences = measure_differences(
            job.network,
            image,
            painted.content,
            in_order,
            normalization=job.config.objective,
        )
    styles = [name for name in in_order if name in job.config.style_layers]
    with screen.working("searching for the most similar patches"):
        correspondences = find_correspondences(
            job.network, image, painted.styles, correspondence_layers(styles)
        )
        measured = measure_result(image, job)
    metrics = Metrics(*(measured.pop(name) for name in Metrics._fields))
    pictures = None
    if ablations:
        screen.print("painting small pictures with and without each layer ...")
        pictures = paint_ablations(painted, judge, progress=progress)
    convergence = judge_convergence(painted.history)
    # Of the paper's sums and of masks, which are a part of the picture, those of the
    # photograph are not 1.
    gaps = {
        name: float(terms.style_layers[name] / (first.style_layers[name] or 1.0))
        for name in styles
    }
    shown = painted._asdict()
    del shown["job"]
    return Explanation(
        **shown,
        gaps=gaps,
        losses={name: float(x) for name, x in terms.content_layers.items()},
        attribution=attribution,
        first_attribution=first_attribution,
        ablations=pictures,
        differences=differences,
        correspondences=correspondences,
        metrics=metrics,
        seams=measured,  # without the metrics
        convergence=convergence,
        advice=give_advice(
            job.config,
            gaps,
            metrics=metrics,
            convergence=convergence,
            attribution=attribution,
            is_whole=bool(job.inputs.shares.sum() > _NEARLY_ALL),
        ),
        seconds=time.perf_counter() - started,
    )
