"""A picture with its inputs, settings and network, as `explain` needs it."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnst._types import AnyHostImage, HostImage
from jaxnst.images import PictureSource, fitted_shape, load_picture, read_record, resize
from jaxnst.images.load import MIN_SIDE
from jaxnst.networks import NETWORK_MEMORY_LEVELS
from jaxnst.networks.devices import default_device
from jaxnst.objective import LossWeights
from jaxnst.optimize.strength import weigh
from jaxnst.transfer.inputs import StyleSource
from jaxnst.transfer.plan import weights_of
from jaxnst.transfer.result import Result, named_pictures, read_trace, settings_of
from jaxnst.transfer.run import styles_at
from jaxnst.transfer.setup import Job, set_up, settle_config


class PaintedPicture(NamedTuple):
    """A picture with its inputs, settings and network, see `Explanation`."""

    image: HostImage
    content: HostImage
    styles: tuple[AnyHostImage, ...]
    job: Job
    record: Mapping[str, Any]
    history: Mapping[str, np.ndarray] | None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def weights(self) -> LossWeights:
        """Weights of the loss terms, as they were at the end."""
        weights = weights_of(self.job.config, self.job.inputs.regions)
        ratio = self.ratio
        if ratio is None:
            return weights
        ratios = np.atleast_1d(np.asarray(ratio, float))
        log_ratios = np.log(np.maximum(ratios, 1e-9))
        return weigh(weights, log_ratios, self.job.inputs.shares)

    @property
    def ratio(self) -> float | Sequence[float] | None:
        """Style weight over content weight, if `strength` controlled it."""
        return (self.record["result"].get("strength") or {}).get("ratio")


def load_painted_picture(
    picture: Result | str | os.PathLike[str],
    content: PictureSource | None = None,
    style: StyleSource | None = None,
    *,
    max_size: int,
    progress: bool = True,
    **given: Any,
) -> PaintedPicture:
    """Return a picture with its inputs, settings and network, see `explain`.

    What is `given` besides is masks, strength, init and network, or None.

    Raises:
        ValueError, TypeError, OSError: if an input is missing, unusable, or not what
            the picture was painted from.
    """
    if isinstance(picture, Result):
        image, record = picture.image, picture.record
        job, history = picture.job, None
        if len(picture.history["total"]):
            history = dict(picture.history)
    else:
        record = read_record(picture)
        image = load_picture(picture, argument="picture").rgb
        job, history = None, read_trace(record)
    _check_kind(record)
    if job is None:
        if content is None or style is None:
            name = "content" if content is None else "style"
            raise ValueError(
                f"`{name}` is missing: give the {name} picture that the file was "
                "painted from, as the file holds only its sha256."
            )
        given = {name: value for name, value in given.items() if value is not None}
        arguments = settings_of(record, given) | given
        config = settle_config(**arguments)
        job = set_up(content, style, config, arguments, progress=progress)
        _check_inputs(job, record)
        if "network" in given:
            _check_network(job, record)
        if moved := record["result"].get("moved"):
            job = job._replace(inputs=job.inputs.moved(tuple(moved)))
    inputs = job.inputs
    shape = inputs.shape
    if image.shape[:2] != shape:
        raise ValueError(
            f"the picture is {image.shape[1]} x {image.shape[0]} px, but it was saved "
            f"with {shape[1]} x {shape[0]} px; give the file that jaxnst saved."
        )
    # Smaller pictures leave nothing for the deepest layers.
    max_size = max(max_size, math.ceil(MIN_SIDE * max(shape) / min(shape)))
    if max(shape) > max_size:
        shape = fitted_shape((*shape, 3), max_size)
    return PaintedPicture(
        image=resize(image, shape, wraps=inputs.wraps),
        content=inputs.content_at(shape),
        styles=styles_at(job, shape),
        job=_on_one_device(job, record),
        record=record,
        history=history,
    )


def _on_one_device(job: Job, record: Mapping[str, Any]) -> Job:
    """Return the job on one device, with the memory level it was painted with."""
    network, config = job.network, job.config
    if network.spread is not None:  # one device is enough at the size of a report
        plain = network.changed(spread=None, rows=None)
        network = jax.device_put(plain, default_device())
        config = dataclasses.replace(config, devices=None)
    level = record["result"].get("memory")
    if level == "tiles":  # a report is of the size of a few tiles at most
        level = NETWORK_MEMORY_LEVELS[-1]
    if level in NETWORK_MEMORY_LEVELS:
        network = network.with_memory(level)
    return job._replace(network=network, config=config)


def _check_kind(record: Mapping[str, Any]) -> None:
    settings = record.get("settings")
    if (kind := record.get("kind", "picture")) != "picture":
        raise ValueError(
            f"it is a {kind}, which has no content picture; only pictures of `stylize` "
            "can be explained."
        )
    if not isinstance(settings, Mapping) or not isinstance(
        record.get("result"), Mapping
    ):
        raise ValueError("the record holds no settings and no result.")
    if settings.get("color") == "palette-only" or settings.get("strength") == 0:
        raise ValueError(
            "nothing was painted, as color='palette-only' and strength=0 do not paint; "
            "there is nothing to explain."
        )


def _check_inputs(job: Job, record: Mapping[str, Any]) -> None:
    """Raise ValueError if the job has other inputs than the record."""
    known, given = record.get("inputs", {}), named_pictures(job)
    for name, picture in given.items():
        was = known.get(name)
        if not isinstance(was, Mapping) or "sha256" not in was:
            raise ValueError(
                f"the picture was painted from {', '.join(known) or 'unknown inputs'}, "
                f"but {name} ({picture.name}) was given as well; leave it out."
            )
        if was["sha256"] != picture.sha256:
            raise ValueError(
                f"{name}: {picture.name} is not the picture that it was painted from, "
                f"which was named {was.get('name')!r}; expected the sha256 "
                f"{str(was['sha256'])[:12]}..., got {picture.sha256[:12]}..."
            )
    if missing := [name for name in known if name not in given]:
        raise ValueError(
            f"the picture was painted from {missing[0]}, too; give that as well."
        )


def _check_network(job: Job, record: Mapping[str, Any]) -> None:
    """Raise ValueError if the job's network has other weights than the record."""
    was, used = record.get("weights"), job.weights
    if was is not None and used is not None and was["sha256"] != used.sha256:
        raise ValueError(
            f"`network`: {used.name} has not the weights that it was painted with, "
            f"which were named {was['name']!r}; expected the sha256 "
            f"{was['sha256'][:12]}..., got {used.sha256[:12]}..."
        )
