"""The result of `stylize`, and the record from which it can be made again."""

import dataclasses
import hashlib
import importlib.metadata
import io
import itertools
import os
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from jaxnst import __version__
from jaxnst._checks import shown
from jaxnst._types import HostAlpha, HostImage
from jaxnst.config import (
    CUSTOM,
    INIT_IMAGE,
    INITS,
    PRESETS,
    SETTINGS,
    STRENGTH_MAP,
    usual_steps,
)
from jaxnst.images import save_picture, to_pil
from jaxnst.networks.devices import default_device
from jaxnst.optimize.member import SizeReport
from jaxnst.pretrained import get_spec

from .run import Painted
from .setup import Job


# Number of steps whose losses a picture's file keeps.
_MAX_TRACE = 96
# Longest message of a check that is passed on.
_MAX_MESSAGE = 300
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")


def make_record(
    job: Job, painted: Painted, *, seconds: float, moved: tuple[int, int]
) -> dict[str, Any]:
    """Return the record of one picture, from which it can be made again."""
    inputs = job.inputs
    pictures = named_pictures(job)
    device = default_device()
    result: dict[str, Any] = {
        "height": inputs.shape[0],
        "width": inputs.shape[1],
        "steps": sum(len(report.terms) for report in painted.reports),
        "stopped": painted.stopped,
        "memory": painted.memory,
        "precision": job.network.arithmetic,
    }
    if painted.strength is not None:
        result["strength"] = dict(painted.strength)
    if inputs.regions is not None:
        result["regions"] = len(inputs.regions.maps)
    if any(moved):
        result["moved"] = list(moved)
    result["sizes"] = [
        {
            "size": report.size,
            "steps": report.num_steps,
            "evaluations": report.num_evaluations,
            "stopped": report.stopped,
            "is_averaged": report.is_averaged,
        }
        for report in painted.reports
    ]
    return {
        "jaxnst": __version__,
        "preset": job.preset,
        "settings": job.config.to_dict(),
        "inputs": {
            argument: {"name": picture.name, "sha256": picture.sha256}
            for argument, picture in pictures.items()
        },
        "weights": None if job.weights is None else job.weights._asdict(),
        "result": result,
        "recoveries": [
            recovery._asdict()
            for report in painted.reports
            for recovery in report.recoveries
        ],
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": job.network.num_devices,
        },
        "seconds": {
            "compile": round(painted.compile_seconds, 3),
            "run": round(painted.run_seconds, 3),
            "total": round(seconds, 3),
        },
    }


def named_pictures(job: Job) -> dict[str, Any]:
    """Return {name in a record: picture} of all inputs."""
    inputs = job.inputs
    pictures = {"content": inputs.content, **name_styles(inputs.styles)}
    if inputs.init is not None:
        pictures["init"] = inputs.init
    return pictures | dict(inputs.guiding)


def identity_of(job: Job) -> dict[str, Any]:
    """Return what decides a picture: its settings, and the hashes of its inputs."""
    hashes = {name: picture.sha256 for name, picture in named_pictures(job).items()}
    settings = job.config.to_dict()
    settings.pop("max_seconds", None)
    weights = None if job.weights is None else job.weights._asdict()
    if (regions := job.inputs.regions) is not None:  # "rest" and "alpha" are no files
        maps = hashlib.sha256(np.ascontiguousarray(regions.maps).data).hexdigest()
        hashes["masks"] = f"{maps} {regions.styles}"
    # A strength or a start that is a picture has its hash in place of the word for it.
    return settings | hashes | {"weights": weights}


def make_trace(history: Mapping[str, np.ndarray]) -> dict[str, list[float | None]]:
    """Return a history short enough for a picture's file; {} if no step was made.

    The first and the last step of each size are among those that it keeps.
    """
    sizes = np.asarray(history["size"])
    if not len(sizes):
        return {}
    starts = [0, *(np.flatnonzero(np.diff(sizes)) + 1), len(sizes)]
    count = max(2, _MAX_TRACE // (len(starts) - 1))
    kept = np.concatenate(
        [
            np.unique(np.linspace(start, stop - 1, min(count, stop - start)).round())
            for start, stop in itertools.pairwise(starts)
        ]
    ).astype(int)

    trace: dict[str, Any] = {}
    for name, values in history.items():
        numbers = np.asarray(values)[kept].tolist()
        if name not in ("step", "size"):
            # JSON has no infinity and no NaN.
            numbers = [float(f"{x:.4g}") if np.isfinite(x) else None for x in numbers]
        trace[name] = numbers
    return trace


def read_trace(record: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Return the trace in a record as arrays; None if it has none that is complete."""
    trace = record.get("trace", {})
    lengths = {len(column) for column in trace.values()}
    if len(lengths) != 1 or 0 in lengths or not {"step", "size", "total"} <= set(trace):
        return None
    return {name: np.asarray(trace[name], np.float64) for name in trace}


def name_styles(styles: Sequence[Any]) -> dict[str, Any]:
    """Return {name in a record: style picture}."""
    if len(styles) == 1:
        return {"style": styles[0]}
    return {f"style {number}": style for number, style in enumerate(styles, start=1)}


# {setting: those of a record that another value of it takes the place of}.
_REPLACED = {
    "tile": ("padding",),
    "style_size": ("style_scale",),
    "style_scale": ("style_size",),
    "content_weight": ("strength",),
    "style_weight": ("strength",),
    "optimizer": ("learning_rate", "decay"),
    "normalization": ("style_loss", "content_weight", "style_weight", "strength"),
}


def settings_of(
    record: Mapping[str, Any], given: Collection[str] = ()
) -> dict[str, Any]:
    """Return the settings in a record as arguments of `stylize`.

    The caller gives the arguments named `given`, which may be objects that a record
    cannot hold, such as "init", "masks", "network" and "strength".

    Raises:
        ValueError: if the record is not complete, or the picture was made with objects
            that a record cannot hold and the caller does not give.
    """
    settings = dict(record.get("settings", {}))
    if not settings:
        raise ValueError("the record holds no settings.")
    if (kind := record.get("kind", "picture")) != "picture":
        raise ValueError(
            f"it is a {kind}, which `jaxnst {kind}` makes; `jaxnst show` prints its "
            "settings."
        )
    # Records of jaxnst 0.1.0 have the number of regions among the settings.
    regions = settings.pop("regions", 0)
    if unknown := sorted(settings.keys() - (SETTINGS.keys() - {"preset"})):
        raise ValueError(
            f"the record has settings that jaxnst {__version__} does not know: "
            f"{', '.join(repr(name)[1:-1] for name in unknown[:5])}; it was made by "
            f"jaxnst {shown(record.get('jaxnst'))[1:-1]}."
        )
    is_mapped = isinstance(settings.get("strength"), str)
    for name, others in _REPLACED.items():
        is_same = isinstance(given, Mapping) and given.get(name) == settings.get(name)
        if name in given and not is_same:
            for other in {*others}.difference(given):
                settings.pop(other, None)
    needs_map = is_mapped and "strength" in settings
    for name in {"network", "optimizer"}.intersection(given):
        settings.pop(name, None)
    weights = record.get("weights") or {}
    if settings.get("network") == CUSTOM and {"name", "sha256"} <= {*weights}:
        raise ValueError(
            f"the picture was made with the weights in a file {shown(weights['name'])} "
            f"of sha256 {shown(weights['sha256'])}; give that file as `network`."
        )
    for name in ("network", "optimizer"):
        if settings.get(name) == CUSTOM:
            raise ValueError(
                f"the picture was made with a `{name}` of the user's own, which the "
                "record cannot hold; repeat it from Python."
            )
    # A picture from a stranger must not choose which files are read or downloaded.
    inputs = record.get("inputs", {})
    network, init = settings.get("network", "vgg19"), settings.get("init")
    try:
        spec = get_spec(str(network))
    except ValueError:
        raise ValueError(
            f"the record's `network` is {shown(network)}, not a known one."
        ) from None
    if "@" in spec.name:
        raise ValueError(
            f"the record's `network` is {shown(network)}, not the revision that jaxnst "
            "knows; if you trust it, give it with --network (`network` in Python)."
        )
    if init not in (None, INIT_IMAGE, *INITS):
        raise ValueError(f"the record's `init` is {shown(init)}, not a known one.")
    masks = [name for name in inputs if name.startswith("mask")]
    # A map makes regions, too.
    has_regions = regions or record.get("result", {}).get("regions")
    if has_regions and not masks and not is_mapped:
        masks = ["mask 1"]
    for argument, flag, names in (
        ("init", "--init", ["init"] * (init == INIT_IMAGE)),
        ("strength", "--strength", ["strength"] * needs_map),
        ("masks", "--mask", masks),
    ):
        if names and argument not in given:
            known = [inputs.get(name, {}).get("name", "unknown name") for name in names]
            pictures = ", ".join(map(shown, known))
            raise ValueError(
                f"the record's `{argument}` was a picture, {pictures}; give it with "
                f"{flag} (`{argument}` in Python)."
            )
    for argument in {"init", "strength"}.intersection(given):
        settings[argument] = None
    if "strength" in given or settings.get("strength") is not None:
        settings.pop("content_weight", None)  # these have no effect
        settings.pop("style_weight", None)
    # The record has every setting, so the preset only says where they started.
    settings = {"preset": record.get("preset", "default"), **settings}
    for name, value in settings.items():
        if value is not None:
            settings[name] = _checked(name, value)
    # Steps that were the usual ones for its size are those for another, too.
    names = "size", "min_size", "coarse_steps", "num_steps"
    if "size" in given and "num_steps" not in given and settings.keys() >= {*names}:
        size, min_size, coarse_steps, num_steps = (settings[name] for name in names)
        preset = dataclasses.replace(
            PRESETS[settings["preset"]],
            size=size,
            min_size=min_size,
            coarse_steps=coarse_steps,
        )
        if num_steps == usual_steps(preset):
            del settings["num_steps"]
    return settings


def _checked(name: str, value: Any) -> Any:
    """Return the value of a setting in a record, if it may have it."""
    # What stands for an object was replaced by the object, or refused.
    if value in (CUSTOM, INIT_IMAGE, STRENGTH_MAP):
        raise ValueError(f"the record's `{name}` is {shown(value)}, not a known one.")
    try:
        return SETTINGS[name].check_fn(name, value)
    except (ValueError, TypeError) as error:
        if str(error).startswith("`") and len(str(error)) <= _MAX_MESSAGE:
            raise ValueError(f"the record's {error}") from None
        raise ValueError(
            f"the record's `{name}` is {shown(value)}, which it cannot be."
        ) from None


# Values of `record["result"]["stopped"]` of pictures that are complete.
FINISHED = (None, "out of time")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """A finished picture.

    Attributes:
        image: RGB, sRGB-encoded, float32, [0, 1], HWC.
        alpha: opacity of the content picture, at the size of `image`; None if it has
            none.
        history: every loss term of every step, see `make_history`.
        record: settings, seed, versions, device, sha256 of inputs and weights, why
            painting stopped, and seconds, in a form that JSON can hold.
        job: settings and input pictures, for `jaxnst.explain`; None if the result came
            from another process.
    """

    image: HostImage
    alpha: HostAlpha | None
    history: Mapping[str, np.ndarray]
    record: Mapping[str, Any]
    job: Job | None = dataclasses.field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, without the network, which takes 80 MB."""
        return self.__dict__ | {"job": None}

    def __repr__(self) -> str:
        height, width, _ = self.image.shape
        return f"Result({width} x {height} px, {len(self.history['step'])} steps)"

    def _repr_png_(self) -> bytes:
        """Show the picture where this is the value of a notebook's cell."""
        stream = io.BytesIO()
        self.to_pil().save(stream, "PNG")
        return stream.getvalue()

    def to_pil(self) -> PILImage.Image:
        """Return an 8-bit PIL image, RGB or RGBA, tagged as sRGB."""
        return to_pil(self.image, self.alpha)

    def save(
        self, path: str | os.PathLike[str], *, bits: int = 8, quality: int = 95
    ) -> Path:
        """Write the picture, with the record inside, and return its path.

        The file also holds the losses of some steps, but not the seconds, so that equal
        runs write equal files. It is written as a whole or not at all.

        Args:
            path: file name; its extension gives the format: PNG, JPEG, WebP or TIFF.
            bits: bits per channel, 8 or, for PNG and TIFF, 16.
            quality: quality of JPEG and WebP, 1 to 100.

        Raises:
            ValueError: if the extension is unknown or its format cannot hold `bits`.
            OSError: if the file cannot be written.
        """
        record = {key: self.record[key] for key in self.record if key != "seconds"}
        if trace := make_trace(self.history):
            record["trace"] = trace
        return save_picture(
            path, self.image, self.alpha, record=record, bits=bits, quality=quality
        )


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during `stylize`; the picture so far is in `result`.

    Attributes:
        result: result with the picture so far, at its full size.
    """

    def __init__(self, result: Result):
        super().__init__("interrupted; the picture reached so far is in `.result`")
        self.result = result


def make_history(reports: Iterable[SizeReport]) -> dict[str, np.ndarray]:
    """Return the loss terms of every step, as columns.

    Returns:
        {name: one value per step}: "step" (from 1), "size" (longest side in pixels),
        "total", "content", "style", "tv", and without weights "content/LAYER" and
        "style/LAYER". The losses are those of the picture before the step.
    """
    terms = [term for report in reports for term in report.terms]
    sizes = [report.size for report in reports for _ in report.terms]
    history: dict[str, np.ndarray] = {
        "step": np.arange(1, len(terms) + 1),
        "size": np.asarray(sizes),
    }
    for name in ("total", "content", "style", "tv"):
        history[name] = np.asarray([getattr(term, name) for term in terms])
    for kind in ("content", "style"):
        layers = [getattr(term, f"{kind}_layers") for term in terms]
        for name in layers[0] if layers else ():
            history[f"{kind}/{name}"] = np.asarray([each[name] for each in layers])
    return history
