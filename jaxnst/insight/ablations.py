"""The effect of each style layer: the picture without it, and with it alone."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnst._types import HostImage
from jaxnst.images import resize
from jaxnst.images.load import MIN_SIDE
from jaxnst.metrics import lpips
from jaxnst.networks import LPIPSNetwork
from jaxnst.sweeps.jobs import PictureJob
from jaxnst.sweeps.runner import paint_here
from jaxnst.transfer.inputs import result_shape
from jaxnst.transfer.setup import Job

from .inputs import PaintedPicture


# An explanation is to take no longer than its picture.
_SIZE, _NUM_STEPS = 128, 36
# A few steps get further at a higher rate; at twice the rate one deep layer alone
# paints noise.
_RATE = 1.5

_compiled_lpips = jax.jit(lpips)


class Ablations(NamedTuple):
    """Small pictures of the same pair that differ only in their style layers.

    Attributes:
        whole: picture with all style layers.
        without: {layer: picture without that layer}.
        alone: {layer: picture with only that layer}.
        effect: {layer: LPIPS from `whole` to `without`}, how much the layer matters.
        size: longest side of the pictures, in pixels.
        num_steps: number of steps of each picture.
    """

    whole: HostImage
    without: dict[str, HostImage]
    alone: dict[str, HostImage]
    effect: dict[str, float]
    size: int
    num_steps: int


def paint_ablations(
    painted: PaintedPicture, judge: LPIPSNetwork, *, progress: bool
) -> Ablations | None:
    """Return small pictures without each style layer, and with each alone.

    They are painted by one program. Steps of Adam are longer than those of the result,
    as there are few. None if there is only one style layer.
    """
    layers = {name: x for name, x in painted.job.config.style_layers.items() if x}
    if len(layers) < 2:
        return None
    job = smaller(painted, _SIZE, _NUM_STEPS)
    choices = {"whole": layers}
    choices |= {f"without {name}": {**layers, name: 0.0} for name in layers}
    choices |= {
        f"alone {name}": {other: float(other == name) for other in layers}
        for name in layers
    }
    shape = job.inputs.shape
    jobs = [
        PictureJob(
            number=number,
            place=name,
            arguments={"preset": ""},
            config=dataclasses.replace(job.config, style_layers=chosen),
            sources={},
            shape=shape,
            work=float(math.prod(shape) * job.config.num_steps),
        )
        for number, (name, chosen) in enumerate(choices.items())
    ]
    pictures: dict[str, HostImage] = {}
    for done in paint_here(
        jobs, lambda each: job._replace(config=each.config), progress=progress
    ):
        if done.error is not None:
            raise done.error
        pictures[done.job.place] = done.result.image
    whole = pictures["whole"]
    without = {name: pictures[f"without {name}"] for name in layers}
    return Ablations(
        whole=whole,
        without=without,
        alone={name: pictures[f"alone {name}"] for name in layers},
        effect={
            name: float(_compiled_lpips(judge, jnp.asarray(whole), jnp.asarray(other)))
            for name, other in without.items()
        },
        size=max(whole.shape),
        num_steps=_NUM_STEPS,
    )


def smaller(painted: PaintedPicture, size: int, num_steps: int) -> Job:
    """Return the same transfer at one small size, with constant weights.

    The longest side is `size` pixels, or more where the other would be too short.
    """
    inputs, config = painted.job.inputs, painted.job.config
    shape = inputs.shape
    if max(shape) > size:
        # A shorter side could not be painted.
        size = max(size, math.ceil(MIN_SIDE * max(shape) / min(shape)))
        shape = result_shape((*shape, 3), size, tile=config.tile)
    # The style pictures are as large beside this one as beside the other.
    part = max(shape) / max(inputs.shape)
    settings: dict[str, Any] = {}
    if config.style_size is None:
        settings["style_scale"] = part * config.style_scale
    else:  # below `MIN_SIDE` it is enlarged anyway
        settings["style_size"] = max(MIN_SIDE, round(part * config.style_size))
    if config.optimizer == "adam":
        settings["learning_rate"] = _RATE * config.learning_rate
    if (ratio := painted.ratio) is not None:
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
    # Without fading borders nothing is moved, so all pictures lie as the result does.
    inputs = inputs._replace(shape=shape, faded=(False, False))
    return painted.job._replace(inputs=inputs, config=config)
