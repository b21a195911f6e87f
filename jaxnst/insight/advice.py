"""Advice on which settings to change, and whether more steps would have helped."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxnst.config import TransferConfig
from jaxnst.metrics import Metrics

from .attribution import Attribution


# Remaining style of a layer: up to the first it looks reached, above the second it is
# behind. With a mean above the third the whole picture has hardly begun.
_REACHED, _BEHIND, _FAR = 0.2, 0.3, 0.55
# Fine and coarse layers differ if their means differ by this.
_TILT = 0.15
# LPIPS above which the photograph is hard to recognize.
_LOST = 0.7
_PALETTE_FAR = 0.45
# Fine detail, relative to the style picture's.
_NOISY, _BLURRED = 1.6, 0.5
# Share of one layer in the style's influence that leaves too little to the others.
_LOUD = 0.6
_MIN_STEPS = 8
# Twice as many steps gain this part of what the second half of the steps gained: 0.37
# to 0.69, for two pairs and 25 to 100 steps (benchmarks/README.md).
_AGAIN = 0.43
# A smaller part of the loss cannot be seen. The default recipe gains 13 to 15 % more.
_INVISIBLE = 0.03

# An urgency, by which advice is sorted, and a sentence.
Advice = tuple[float, str]


class Convergence(NamedTuple):
    """How a loss fell at the full size.

    Attributes:
        size: longest side, in pixels.
        num_steps: number of steps at that size.
        first: loss at the first of these steps.
        last: loss at the last of these steps.
        gain: part of the loss that twice as many steps would take off, estimated.
        is_known: whether there were enough steps for an estimate.
        is_done: whether the gain would be too small to be seen.
    """

    size: int
    num_steps: int
    first: float
    last: float
    gain: float
    is_known: bool
    is_done: bool


def judge_convergence(
    history: Mapping[str, np.ndarray] | None,
) -> Convergence | None:
    """Return how the loss fell at the full size; None without a history."""
    if history is None or not len(history["total"]):
        return None
    sizes, total = np.asarray(history["size"]), np.asarray(history["total"], float)
    others = np.flatnonzero(sizes != sizes[-1])
    start = int(others[-1]) + 1 if len(others) else 0
    losses, steps = total[start:], np.asarray(history["step"])[start:]
    num_steps = int(steps[-1] - steps[0]) + 1
    middle = float(np.interp((steps[0] + steps[-1]) / 2, steps, losses))
    last = float(losses[-1])
    gain = _AGAIN * max(0.0, middle - last) / max(last, 1e-12)
    is_known = num_steps >= _MIN_STEPS and bool(np.isfinite(losses).all())
    return Convergence(
        size=int(sizes[-1]),
        num_steps=num_steps,
        first=float(losses[0]),
        last=last,
        gain=gain,
        is_known=is_known,
        is_done=is_known and gain < _INVISIBLE,
    )


def give_advice(
    config: TransferConfig,
    gaps: Mapping[str, float],
    *,
    metrics: Metrics,
    convergence: Convergence | None,
    attribution: Attribution,
    is_whole: bool = True,
) -> list[str]:
    """Return sentences on what to change, the most important first; at least one.

    `is_whole` says that the whole picture was painted, and not some regions of it.
    """
    found = [
        *_judge_scales(config, gaps),
        *_judge_balance(config, gaps, metrics),
        *_judge_steps(config, convergence),
        *(_judge_colors(config, metrics) if is_whole else ()),
        *_judge_layers(attribution),
    ]
    urgent = [text for _, text in sorted(found, key=lambda each: -each[0])]
    return urgent or [
        "Nothing stands out: the style is reached at every layer and the content is "
        "still there. For more of the painting raise style_weight, for more of the "
        "photograph lower it."
    ]


def _judge_scales(
    config: TransferConfig, gaps: Mapping[str, float]
) -> Iterator[Advice]:
    """Fine or coarse layers that stay behind."""
    names, values = list(gaps), list(gaps.values())
    if len(names) < 3 or config.strength is not None:  # which leaves a part of each
        return
    half = len(names) // 2
    fine, coarse = float(np.mean(values[:half])), float(np.mean(values[-half:]))
    side = names[-half:] if coarse > fine else names[:half]
    reached = [name for name, value in gaps.items() if value <= _REACHED]
    behind = [name for name in side if gaps[name] > _BEHIND]
    if abs(coarse - fine) < _TILT or not behind:
        return
    start = f"Style is reached at {_join(reached)}" if reached else "Style comes near"
    start += f" but not at {_join(behind)}:"
    if coarse > fine:
        remedy = f"style_scale={1.5 * config.style_scale:g}"
        if config.style_size is not None:
            remedy = f"style_size={round(1.5 * config.style_size)}"
        if config.detail > -0.5:
            remedy += " or detail=-0.5"
        text = "the large shapes are still the photograph's"
    else:
        remedy = "detail=0.5" if config.detail < 0.5 else "more num_steps"
        text = "the shapes are the painting's, the brushwork is not yet"
    yield abs(coarse - fine), f"{start} {text}; try {remedy}."


def _judge_balance(
    config: TransferConfig, gaps: Mapping[str, float], metrics: Metrics
) -> Iterator[Advice]:
    """Content against style as a whole."""
    left, lpips = float(np.mean(list(gaps.values()))), float(metrics.lpips)
    if config.strength is None:
        name, now = "style_weight", config.style_weight
        more, less = 3 * now, now / 3
    elif isinstance(config.strength, float):
        name, now = "strength", config.strength
        more, less = min(0.95, now + 0.15), max(0.1, now - 0.15)
    else:
        return
    if lpips > _LOST and less < now:
        yield (
            lpips - _LOST + 0.3,
            f"The photograph is hard to recognize (LPIPS {lpips:.2f}); try "
            f"{name}={less:.2g}.",
        )
    elif lpips <= _LOST and left > _FAR and more > now:
        yield (
            left,
            f"{left:.0%} of the way to the painting's style remains; try "
            f"{name}={more:.2g}.",
        )


def _judge_steps(
    config: TransferConfig, convergence: Convergence | None
) -> Iterator[Advice]:
    """A loss that was still falling."""
    if convergence is not None and convergence.is_known and not convergence.is_done:
        twice = 2 * convergence.num_steps
        # It may have ended early.
        way = f" (num_steps={twice})" if twice > config.num_steps else ""
        yield (
            1.5 * convergence.gain,
            f"The loss was still falling at the end: twice as many steps{way} would "
            f"lower it by about {convergence.gain:.0%} more.",
        )


def _judge_colors(config: TransferConfig, metrics: Metrics) -> Iterator[Advice]:
    """Colors and fine detail."""
    palette, detail = float(metrics.palette_gap), float(metrics.style_detail)
    is_free = config.color == "style" and config.strength is None
    if is_free and palette > _PALETTE_FAR:
        yield (
            0.6 * palette,
            f"{palette:.0%} of the way to the painting's colors remains; the finest "
            "layers set the colors: try detail=0.5 or a higher style_weight.",
        )
    if detail > _NOISY:
        ways = [f"tv_weight={max(1.0, 3 * config.tv_weight):g}"]
        ways += [] if config.finish.get("denoise") else ['finish="denoise"']
        yield (
            0.3 * (detail - 1),
            f"There is {detail:.1f} times as much fine detail as in the painting, "
            f"which looks noisy; try {' or '.join(ways)}.",
        )
    elif detail < _BLURRED:
        yield (
            0.5 * (1 - detail),
            f"There is only {detail:.1f} times as much fine detail as in the painting; "
            "try detail=0.5, or a larger size.",
        )


def _judge_layers(attribution: Attribution) -> Iterator[Advice]:
    """A layer with far more influence than others."""
    styles = {k: v for k, v in attribution.overall.items() if k.startswith("style/")}
    name, share = max(styles.items(), key=lambda item: item[1], default=("", 0.0))
    share /= max(sum(styles.values()), 1e-9)
    if len(styles) > 2 and share >= _LOUD:
        yield (
            0.3 * share,
            f"{name.partition('/')[2]} has {share:.0%} of the style's influence; lower "
            "its weight in style_layers to give more to the other layers.",
        )


def _join(names: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
