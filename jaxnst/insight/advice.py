"""What to turn: from what was measured to a sentence that helps."""

from collections.abc import Mapping

import numpy as np

from jaxnst.config import TransferConfig
from jaxnst.metrics import Metrics

from .attribution import Pull
from .convergence import Convergence
from .words import listing


# A style layer below the first has reached its style, as far as eyes tell; one above
# the second is behind; with a mean above the third the whole has hardly begun.
_REACHED, _BEHIND, _FAR = 0.2, 0.3, 0.55
# Means of the layers at one end that differ by more show a side.
_TILT = 0.15
# LPIPS above which the photograph is hard to recognize.
_LOST = 0.7
_PALETTE_FAR = 0.45
# Fine detail over the painting's.
_NOISY, _BLURRED = 1.6, 0.5


def give_advice(
    config: TransferConfig,
    gaps: Mapping[str, float],
    *,
    metrics: Metrics,
    convergence: Convergence | None,
    pull: Pull,
) -> list[str]:
    """Return sentences on what to turn, the most important first; at least one.

    Args:
        config: the settings of the picture.
        gaps: {style layer: what is left of the way}, from fine to coarse.
        metrics: of the picture.
        convergence: whether it was still moving.
        pull: of the loss terms, at the end.
    """
    found = [
        *_of_scales(config, gaps),
        *_of_balance(config, gaps, metrics),
        *_of_time(config, convergence),
        *_of_surface(config, metrics),
        *_of_layers(pull),
    ]
    urgent = [text for _, text in sorted(found, key=lambda each: -each[0])]
    if urgent:
        return urgent
    return [
        "Nothing stands out: style is reached at every layer and the content is "
        "still there; for more of the painting raise style_weight, for more of the "
        "photograph lower it."
    ]


Advice = tuple[float, str]


def _of_scales(config: TransferConfig, gaps: Mapping[str, float]) -> list[Advice]:
    """Fine or coarse layers that stay behind."""
    names, values = list(gaps), np.asarray(list(gaps.values()))
    if len(names) < 3:
        return []
    half = len(names) // 2
    fine, coarse = float(values[:half].mean()), float(values[-half:].mean())
    side = names[-half:] if coarse > fine else names[:half]
    reached = [name for name, value in gaps.items() if value <= _REACHED]
    behind = [name for name in side if gaps[name] > _BEHIND]
    if abs(coarse - fine) < _TILT or not behind:
        return []
    so_far = (
        f"Style is reached at {listing(reached)}" if reached else "Style comes near"
    )
    if coarse > fine:
        remedy = (
            f"style_scale={1.5 * config.style_scale:g}"
            if config.style_size is None
            else f"style_size={round(1.5 * config.style_size)}"
        )
        also = " or detail=-0.5" if config.detail > -0.5 else ""
        return [
            (
                coarse - fine,
                f"{so_far} but not at {listing(behind)}: the large shapes are still "
                f"the photograph's; try {remedy}{also}.",
            )
        ]
    also = "detail=0.5" if config.detail < 0.5 else "more num_steps"
    return [
        (
            fine - coarse,
            f"{so_far} but not at {listing(behind)}: the shapes are the painting's, "
            f"the brushwork is not yet; try {also}.",
        )
    ]


def _of_balance(
    config: TransferConfig, gaps: Mapping[str, float], metrics: Metrics
) -> list[Advice]:
    """Content against style as a whole."""
    left = float(np.mean(list(gaps.values())))
    knob = "style_weight"
    more, less = 3 * config.style_weight, config.style_weight / 3
    if config.strength is not None:
        if not isinstance(config.strength, float):
            return []
        knob = "strength"
        more, less = min(0.95, config.strength + 0.15), max(0.1, config.strength - 0.15)
    if left > _FAR and metrics.lpips < _LOST:
        return [
            (
                left,
                f"{left:.0%} of the way to the painting's style is still to go; try "
                f"{knob}={more:.2g}.",
            )
        ]
    if metrics.lpips > _LOST:
        return [
            (
                float(metrics.lpips) - _LOST + 0.3,
                "The photograph is hard to recognize (LPIPS "
                f"{float(metrics.lpips):.2f}); try {knob}={less:.2g}.",
            )
        ]
    return []


def _of_time(config: TransferConfig, convergence: Convergence | None) -> list[Advice]:
    if convergence is None or not convergence.is_known or convergence.is_done:
        return []
    return [
        (
            1.5 * convergence.gain,
            "It was still moving when it stopped: twice as many steps "
            f"(num_steps={2 * config.num_steps}) would lower the loss by about "
            f"{convergence.gain:.0%} more.",
        )
    ]


def _of_surface(config: TransferConfig, metrics: Metrics) -> list[Advice]:
    found = []
    if config.color == "style" and metrics.palette_gap > _PALETTE_FAR:
        found.append(
            (
                0.6 * float(metrics.palette_gap),
                f"The colors are {float(metrics.palette_gap):.0%} of the way off the "
                "painting's; the finest layers set them: try detail=0.5 or a higher "
                "style_weight.",
            )
        )
    detail = float(metrics.style_detail)
    if detail > _NOISY:
        found.append(
            (
                0.3 * (detail - 1),
                f"There is {detail:.1f} times as much fine detail as in the painting, "
                'which looks noisy; try tv_weight=1 or finish="denoise".',
            )
        )
    elif detail < _BLURRED:
        found.append(
            (
                0.5 * (1 - detail),
                f"There is only {detail:.1f} times as much fine detail as in the "
                "painting; try detail=0.5, or a larger size.",
            )
        )
    return found


def _of_layers(pull: Pull) -> list[Advice]:
    styles = {k: v for k, v in pull.overall.items() if k.startswith("style/")}
    if len(styles) < 3:
        return []
    name, share = max(styles.items(), key=lambda item: item[1])
    share /= max(sum(styles.values()), 1e-9)
    if share < 0.6:
        return []
    layer = name.partition("/")[2]
    return [
        (
            0.3 * share,
            f"{layer} does {share:.0%} of the style's pulling; lower its weight in "
            "style_layers to hear the others.",
        )
    ]
