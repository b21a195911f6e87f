"""What each style layer does: the picture without it, and with it alone."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnst._types import HostImage
from jaxnst.config import TransferConfig
from jaxnst.images import resize
from jaxnst.images.load import MIN_SIDE
from jaxnst.metrics import lpips
from jaxnst.networks import LPIPSNetwork
from jaxnst.sweeps.brief import Assignment
from jaxnst.sweeps.local import paint_here
from jaxnst.sweeps.members import Member
from jaxnst.sweeps.studio import Studio, Task
from jaxnst.transfer.inputs import result_shape
from jaxnst.transfer.setup import Prepared

from .inputs import Subject


# So few steps come nearer to their end with a higher rate; twice as high is noise where
# one deep layer paints alone.
_RATE = 1.5

_compiled_lpips = jax.jit(lpips)


class Ablations(NamedTuple):
    """Small paintings of the same pair, which differ in their style layers alone.

    Attributes:
        whole: with all style layers.
        without: {layer: the same without it}; empty if there is only one.
        alone: {layer: the same with none but it}.
        effect: {layer: LPIPS of `whole` to `without`}: how much of the picture hangs
            on it.
        size: longest side of them.
        num_steps: that each was painted with.
    """

    whole: HostImage
    without: dict[str, HostImage]
    alone: dict[str, HostImage]
    effect: dict[str, float]
    size: int
    num_steps: int


def paint_ablations(
    subject: Subject,
    judge: LPIPSNetwork,
    *,
    size: int,
    num_steps: int,
    progress: bool = True,
) -> Ablations | None:
    """Paint the pair again and again, as one sweep: one program, one set of targets.

    Steps of Adam are longer than the painting's, as there are few.

    Args:
        subject: what is explained.
        judge: tells how different they are.
        size: longest side of the pictures, where the result's is not less.
        num_steps: for each.
        progress: show a bar.

    Returns:
        None where there is no style layer to leave out.
    """
    layers = {
        layer: weight
        for layer, weight in subject.prepared.config.style_layers.items()
        if weight
    }
    if len(layers) < 2:
        return None
    prepared = smaller(subject, size, num_steps)
    choices = {"whole": layers}
    choices |= {f"without {name}": {**layers, name: 0.0} for name in layers}
    choices |= {
        f"alone {name}": {other: float(other == name) for other in layers}
        for name in layers
    }
    painted = _sweep(prepared, choices, progress=progress)
    whole = painted["whole"]
    without = {name: painted[f"without {name}"] for name in layers}
    return Ablations(
        whole=whole,
        without=without,
        alone={name: painted[f"alone {name}"] for name in layers},
        effect={
            name: float(_compiled_lpips(judge, jnp.asarray(whole), jnp.asarray(other)))
            for name, other in without.items()
        },
        size=max(whole.shape),
        num_steps=num_steps,
    )


def smaller(subject: Subject, size: int, num_steps: int) -> Prepared:
    """Return the same painting at one small size, with weights that stay.

    Args:
        subject: what is explained.
        size: longest side; larger where a side would be too short to be painted.
        num_steps: of it.
    """
    inputs, config = subject.prepared.inputs, subject.prepared.config
    shape = inputs.shape
    if max(shape) > size:
        # Never so small that a side is shorter than can be painted.
        size = max(size, math.ceil(MIN_SIDE * max(shape) / min(shape)))
        shape = result_shape((*shape, 3), size, tile=config.tile)
    settings: dict[str, Any] = {}
    if config.optimizer == "adam":
        settings["learning_rate"] = _RATE * config.learning_rate
    if (ratio := subject.ratio) is not None:
        ratio = float(np.mean(ratio))
        settings |= {
            "strength": None,
            "content_weight": 1 / (1 + ratio),
            "style_weight": ratio / (1 + ratio),
        }
    config = dataclasses.replace(
        config,
        min_size=0,
        num_steps=num_steps,
        max_seconds=None,
        tolerance=0.0,
        finish={},
        **settings,
    )
    if inputs.regions is not None:
        regions = dataclasses.replace(inputs.regions, strengths=None)
        inputs = inputs._replace(regions=regions)
    if inputs.alpha is not None:
        inputs = inputs._replace(alpha=resize(inputs.alpha, shape, wraps=inputs.wraps))
    # Not moved, so that all lie as the picture does.
    inputs = inputs._replace(shape=shape, faded=(False, False))
    return subject.prepared._replace(inputs=inputs, config=config)


def _sweep(
    prepared: Prepared, choices: Mapping[str, Mapping[str, float]], *, progress: bool
) -> dict[str, HostImage]:
    studio = _PreparedStudio(prepared)
    shape = prepared.inputs.shape
    work = float(math.prod(shape) * prepared.config.num_steps)
    assignments = [
        Assignment(
            member=Member(index=index, labels={"style_layers": name}, settings={}),
            task=studio.task(dataclasses.replace(prepared.config, style_layers=layers)),
            shape=shape,
            work=work,
        )
        for index, (name, layers) in enumerate(choices.items())
    ]
    painted = {}
    for done in paint_here(assignments, studio, progress=progress):
        if done.error is not None:
            raise done.error
        painted[done.assignment.member.labels["style_layers"]] = done.result.image
    return painted


class _PreparedStudio(Studio):
    """A studio for tasks that differ in their settings alone, and are prepared.

    Args:
        prepared: all of them, but for the settings.
    """

    def __init__(self, prepared: Prepared):
        super().__init__(progress=False)
        self._shared = prepared

    def task(self, config: TransferConfig) -> Task:
        """Return a task with these settings."""
        names = ("preset", "network", "optimizer", "init", "masks", "strength")
        return Task(None, None, dict.fromkeys(names, None) | {"preset": ""}, config)

    def prepare(self, task: Task) -> Prepared:
        """Return what a task needs."""
        return self._shared._replace(config=task.config)
