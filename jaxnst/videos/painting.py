"""The frames of one shot: the first painted whole, the others from those before.

A frame after the first goes the way of any picture: the same loop of one size around
the same compiled step, with a temporal term among its targets. Its losses are not
watched. It starts near its optimum, from where the first steps of a new optimizer lead
up before they lead down; going back to the best picture would then give up what little
such a frame is painted, and leave it as blurred as it was carried.
"""

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnst._types import HostImage
from jaxnst.config import CUSTOM, SETTINGS, ClipConfig, TransferConfig
from jaxnst.metrics.artifacts import high_frequency_energy
from jaxnst.objective import LossWeights, Targets, Temporal, halved
from jaxnst.optimize import StepView, make_optimizer
from jaxnst.optimize.loop import run_size
from jaxnst.optimize.member import Member
from jaxnst.optimize.recovery import Method
from jaxnst.optimize.schedule import Budget
from jaxnst.optimize.strength import Steering, rate_part, weigh
from jaxnst.transfer.inputs import recolor, recolored_parts
from jaxnst.transfer.memory import clear_memory_errors
from jaxnst.transfer.plan import Plan, make_plan, weights_of
from jaxnst.transfer.regions import guides_at
from jaxnst.transfer.run import (
    Painted,
    is_pair_alike,
    is_unpainted,
    leave_unpainted,
    measure_targets,
    paint,
)
from jaxnst.transfer.setup import Job

from .folder import Row, from_levels, to_levels
from .jobs import ClipJob
from .motion import NEW_RATE, Held


# Weight of the temporal term and learning rate at these steadinesses; in between their
# logarithms are linear. Chosen on four clips, see docs/video.md.
_STEADINESS = (0.0, 0.5, 1.0)
_WEIGHTS = (2.0, 10.0, 50.0)
_RATES = (0.048, 0.012, 0.0015)
# For so many frames after a change of the settings what stands still is painted, too.
_SETTLING = 8
# Change of a mask from which a place belongs to another region.
_OTHER_REGION = 0.1
# The rate of stylize, to which that of an optimizer of the user's own is relative.
_USUAL_RATE = SETTINGS["learning_rate"].default


def temporal_weight(own: ClipConfig) -> float:
    """Return the weight of the temporal term."""
    if own.temporal_weight is not None:
        return own.temporal_weight
    return _interpolate(own.steadiness, _WEIGHTS)


def frame_rate(own: ClipConfig, config: TransferConfig) -> float:
    """Return the learning rate of a frame after the first."""
    rate = own.frame_learning_rate
    if rate is None:
        rate = _interpolate(own.steadiness, _RATES)
    return rate / _USUAL_RATE if config.optimizer == CUSTOM else rate


def _interpolate(steadiness: float, values: tuple[float, ...]) -> float:
    return float(np.exp(np.interp(steadiness, _STEADINESS, np.log(values))))


def paint_alone(job: Job, memory: str, **options: Any) -> Painted:
    """Return a frame painted by itself, or left as it is; options are of `paint`."""
    if is_unpainted(job.config) or is_pair_alike(job):
        return leave_unpainted(job)
    with clear_memory_errors(memory, max(job.inputs.shape)):
        (painted,) = paint([job], make_plan([job], memory), **options)
    return painted


class Stopped(KeyboardInterrupt):
    """Ctrl-C within a frame, which is dropped."""


@dataclasses.dataclass
class ShotPainter:
    """What the frames of one shot share.

    Attributes:
        first: the first frame, as a picture by itself.
        number: number of the shot.
        memory: level of memory.
        step_fn: called with the number of a frame and each step of it, if it is
            painted by itself.
    """

    job: ClipJob
    first: Job
    number: int
    memory: str
    is_interrupted: Callable[[], bool]
    step_fn: Callable[[int, StepView], object] | None

    def __post_init__(self):
        self._targets: Targets | None = None
        self._scale = 1.0
        self._first_loss = 1.0
        self._recolor_terms: np.ndarray | None = None
        self.start = self.job.shots.spans[self.number][0]
        job_fn = functools.partial(self.job.following, self.first)
        self._job_at = functools.lru_cache(2)(job_fn)
        # What the frames after the first share.
        self._base = self._job_at(self.start)
        is_custom = self.first.config.optimizer == CUSTOM
        optimizer = self.first.optimizer if is_custom else make_optimizer("adam")
        plan = make_plan([self._base], self.memory)
        step = plan.step_at(plan.sizes[-1])
        self._plan: Plan = plan._replace(
            step=dataclasses.replace(step, optimizer=optimizer, averaging=0.0)
        )

    def paint_whole(self, index: int, job: Job | None = None) -> tuple[HostImage, Row]:
        """Return a frame painted by itself, exactly as `stylize` does, and its row."""
        started = time.perf_counter()
        job = job or self.first
        painted = paint_alone(
            job,
            self.memory,
            callbacks=[self.step_fn and functools.partial(self.step_fn, index)],
            is_interrupted=self.is_interrupted,
        )
        if painted.stopped == "interrupted":
            raise Stopped
        if painted.stopped is not None:
            warnings.warn(
                f"frame {self.job.source_numbers[index]} ended early "
                f"({painted.stopped}).",
                stacklevel=2,
            )
        image = rounded(painted.image)
        terms = [term for report in painted.reports for term in report.terms]
        ratios = np.atleast_1d((painted.strength or {}).get("ratio", []))
        row = self._row(
            index,
            image,
            started,
            steps=len(terms),
            ratios=_numbers(np.log(np.maximum(ratios, 1e-9))),
            **_terms(terms[-1:]),
        )
        return image, row

    def begin(self, row: Mapping[str, Any]) -> None:
        """Take the scales of the shot from the row of its first painted frame."""
        self._scale = max(row["contrast"] ** 2, 1e-4)
        self._first_loss = row["total"] or 1.0
        self._fit_recoloring()
        if is_pair_alike(self.first):
            warnings.warn(
                f"frame {self.start} and the style are the same picture, so its shot "
                "is not painted.",
                stacklevel=2,
            )

    def _fit_recoloring(self) -> None:
        """Fit the recoloring of the first frame by a polynomial of the colors.

        So all frames of a shot are recolored alike, and in no time.
        """
        inputs = self._base.inputs
        # The strength, which may change over time, is heeded afterwards.
        config = dataclasses.replace(self._base.config, strength=None)
        content = inputs.content_at(inputs.shape)
        if config.color == "palette-only":
            colored = leave_unpainted(self._base._replace(config=config)).image
        else:
            styles = tuple(style.rgb for style in inputs.styles)
            parts = [1.0] * len(inputs.shares)
            colored = recolor(inputs, parts, content, styles, self._plan.blends[0])
        terms = _color_terms(content.reshape(-1, 3))
        found, *_ = np.linalg.lstsq(terms, colored.reshape(-1, 3), rcond=1e-4)
        self._recolor_terms = found.astype(np.float32)

    def recolored(self, index: int, frame: HostImage) -> HostImage:
        """Return a frame in the colors of the painting."""
        config = self.job.config_at(index)
        if self._is_left(config):
            return frame
        return frame + self._parts(index, config) * self._recoloring(frame)

    def recoloring_since(
        self, before: int, index: int, frame: HostImage
    ) -> HostImage | None:
        """Return how settings changed a frame's colors since an earlier frame."""
        now, old = (self.job.config_at(each) for each in (index, before))
        if now == old or now.color == "palette-only":
            return None
        part = self._parts(index, now) - self._parts(index, old)
        return part * self._recoloring(frame)

    def _recoloring(self, frame: HostImage) -> HostImage:
        """Return what a frame lacks of the painting's colors."""
        assert self._recolor_terms is not None
        found = _color_terms(frame.reshape(-1, 3)) @ self._recolor_terms
        return np.clip(found.reshape(frame.shape), 0, 1) - frame

    def _parts(self, index: int, config: TransferConfig) -> np.ndarray:
        """Return how far the pixels of a frame are recolored, (height, width, 1)."""
        if config.color == "palette-only":
            return np.ones((1, 1, 1), np.float32)
        inputs = self._job_at(index).inputs
        is_styled = self._plan.blends[0].sum(2).mean(1)
        parts = (is_styled * recolored_parts(inputs, config)).astype(np.float32)
        maps = np.ones((1, 1, 1), np.float32)
        if inputs.regions is not None:
            maps = inputs.regions.maps
        return np.tensordot(parts, maps, 1)[..., None]

    def _is_left(self, config: TransferConfig) -> bool:
        """Return whether a frame stays as it is in the clip."""
        return config.strength == 0 or is_pair_alike(self.first)

    def paint_held(
        self,
        index: int,
        frame: HostImage,
        held: Held,
        last: Mapping[str, Any],
        number: int,
    ) -> tuple[HostImage, Row]:
        """Return a frame painted from those before, and its row.

        `last` is the row of the frame painted last, for the strength; `number` that of
        the pass.
        """
        started = time.perf_counter()
        config, job = self.job.config_at(index), self._job_at(index)
        held = self._freed(held, frame, index, last["frame"])
        image, terms, steps = held.first, {}, 0
        ratios = np.array([float(x) for x in last["ratios"].split()])
        if self._is_left(config):
            image = frame
        elif config.color == "palette-only":
            is_still = held.rates[..., None] == 0
            image = np.where(is_still, held.first, self.recolored(index, frame))
        elif held.rates.any():
            targets = self._targets_at(index, job, frame, held)
            weights = weights_of(config, job.inputs.regions)
            strengths = job.inputs.strengths(config)
            if strengths is not None:
                shares = job.inputs.shares
                ratios = self._steered(ratios, last, strengths, shares)
                weights = weigh(weights, ratios, shares)
            rate = frame_rate(self.job.own, config) * rate_part(strengths)
            image, terms, steps = self._run(held, targets, weights, rate)
        image = rounded(image)
        row = self._row(
            index,
            image,
            started,
            steps=steps,
            number=number,
            certainty=float(held.certainty.mean()),
            still=float((held.rates == 0).mean()),
            ratios=_numbers(ratios),
            **(terms or {"gaps": last["gaps"]}),
        )
        return image, row

    def _freed(self, held: Held, frame: HostImage, index: int, before: int) -> Held:
        """Return what the frames before say, less what new settings or masks change.

        It is painted though it stands still. In another region it starts in the colors
        of that.
        """
        config = self.job.config_at(index)
        since = range(max(self.start, index - _SETTLING), index)
        if any(self.job.config_at(each) != config for each in (before, *since)):
            return held._replace(rates=np.maximum(held.rates, 1))
        now, old = (self._job_at(x).inputs.regions for x in (index, before))
        if now is old or now is None or old is None:
            return held
        change = np.abs(now.maps - old.maps).max(0)
        is_new = (change > _OTHER_REGION) & (held.rates == 0)
        part = self._parts(index, config) - self._parts(before, config)
        first = held.first + is_new[..., None] * part * self._recoloring(frame)
        return held._replace(
            first=np.clip(first, 0, 1),
            certainty=np.where(is_new, np.float32(0), held.certainty),
            rates=np.where(is_new, np.float32(NEW_RATE), held.rates),
        )

    def _steered(
        self,
        ratios: np.ndarray,
        last: Mapping[str, Any],
        strengths: Sequence[float],
        shares: np.ndarray,
    ) -> np.ndarray:
        """Return the log ratios of a frame's weights, from those of the frame before.

        They change at once with the strengths, and then as the gaps that are left ask.
        """
        if last["frame"] == self.start and last["pass"] == 1:
            known = self.first.inputs.strengths(self.first.config)
        else:
            known = self._base.inputs.strengths(self.job.config_at(last["frame"]))
        usual = Steering(strengths, shares).log_ratios
        if known is None or 0 in known or len(known) != len(ratios):
            return usual
        before = Steering(known, np.ones(len(known)))
        away = before.log_ratios
        before.log_ratios = ratios
        gaps = np.array([float(x) for x in last["gaps"].split()], np.float32)
        if gaps.size == ratios.size and last["temporal"] is not None:
            before.observe([gaps])
        if [*known] == [*strengths]:
            return before.log_ratios
        moved = before.log_ratios - away
        return usual + (moved if moved.size == usual.size else moved.mean())

    def _targets_at(
        self, index: int, job: Job, frame: HostImage, held: Held
    ) -> Targets:
        base = self._base
        if self._targets is None:
            size = self._plan.sizes[-1]
            content = base.inputs.content_at(size.shape)
            self._targets = measure_targets(base, self._plan, size, content)
        targets = self._targets
        network = job.network.with_memory(self.memory)
        layers = tuple(base.config.content_layers)
        changes: dict[str, Any] = {
            "content": _features(network, jnp.asarray(frame), layers),
            "temporal": Temporal(
                image=jnp.asarray(held.image),
                certainty=_halved(held.certainty[..., None]),
                scale=jnp.float32(self._scale),
                rates=jnp.asarray(held.rates[..., None]),
            ),
        }
        regions = job.inputs.regions
        if regions is not None and regions is not base.inputs.regions:
            size, static = self._plan.sizes[-1], self._plan.targets_static
            layers = static["style_layers"]
            found = guides_at(regions, self._plan.network, size.shape, layers)
            changes |= {"guides": found, "shares": regions.shares}
        if job.config.style_blend != base.config.style_blend:
            plan = make_plan([job], self.memory)
            blended = measure_targets(job, plan, self._plan.sizes[-1], frame)
            changes["style"] = blended.style
        return targets._replace(**changes)

    def _run(
        self, held: Held, targets: Targets, weights: LossWeights, rate: float
    ) -> tuple[HostImage, dict[str, Any], int]:
        config, own = self._base.config, self.job.own
        weight = temporal_weight(own)
        if config.normalization == "paper":  # whose losses have no unit
            weight *= self._first_loss
        budget = Budget([1], [self.job.steps_per_pass])
        budget.begin_size(0)
        member = Member(
            method=Method(self._plan.step.optimizer, rate, 1.0),
            weights=weights._replace(temporal=np.float32(weight)),
            budget=budget,
            full_shape=self.first.inputs.shape,
            is_watched=False,
        )
        step = self._plan.step
        state = run_size(
            step.init(held.first),
            targets,
            step,
            [member],
            is_interrupted=self.is_interrupted,
        )
        report = member.report
        if report.stopped == "interrupted":
            raise Stopped
        image = np.array(state.image)
        return image, _terms(report.terms[-1:]), report.num_steps

    def _row(
        self,
        index: int,
        image: HostImage,
        started: float,
        *,
        steps: int,
        number: int = 1,
        certainty: float = 0.0,
        still: float = 0.0,
        **terms: Any,
    ) -> Row:
        return {
            "frame": index,
            "pass": number,
            "shot": self.number,
            "time": round(self.job.seconds(index), 6),
            "steps": steps,
            "total": None,
            "content": None,
            "style": None,
            "temporal": None,
            "certainty": round(certainty, 5),
            "still": round(still, 5),
            "mean": round(float(image.mean()), 6),
            "contrast": round(float(image.std()), 6),
            "detail": float(_detail(image)),
            "memory": self.memory,
            "gaps": "",
            **terms,
            "seconds": round(time.perf_counter() - started, 3),
            "sha256": "",
        }


def _terms(last: Sequence[Any]) -> dict[str, Any]:
    """Return the columns of the last step's loss terms; {} if there was no step."""
    if not last:
        return {}
    terms = last[0]
    return {
        "total": float(terms.total),
        "content": float(terms.content),
        "style": float(terms.style),
        "temporal": None if terms.temporal is None else float(terms.temporal),
        "gaps": _numbers(np.atleast_1d(terms.style_regions)),
    }


def _numbers(values: Any) -> str:
    return " ".join(repr(float(value)) for value in np.atleast_1d(values))


def rounded(image: HostImage) -> HostImage:
    """Return a picture as its file of 16 bits has it; the next one starts from that."""
    return from_levels(to_levels(image))


def _color_terms(colors: np.ndarray) -> np.ndarray:
    """Return 1, the colors, their squares and products."""
    red, green, blue = colors.T
    others = (np.ones_like(red), red * green, green * blue, blue * red)
    return np.column_stack([*others, colors, np.square(colors)])


_detail = jax.jit(high_frequency_energy)
_halved = jax.jit(halved)
_features = jax.jit(
    lambda network, image, layers: dict(network(image, layers)), static_argnums=2
)
