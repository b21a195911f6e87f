"""The result of `stylize`, and the record from which it can be made again."""

import dataclasses
import importlib.metadata
import itertools
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image as PILImage

from jaxnst import __version__
from jaxnst._types import HostAlpha, HostImage
from jaxnst.config import INITS, STRENGTH_MAP, TransferConfig
from jaxnst.images import Picture, save_picture, to_pil
from jaxnst.networks.devices import default_device
from jaxnst.objective import LossTerms
from jaxnst.pretrained import UsedWeights, get_spec

from .setup import Prepared


T = TypeVar("T")

# So many steps of a run are kept in a picture's file, and so many digits of each loss.
_MAX_TRACE = 96
_DIGITS = 4
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")


def make_record(
    config: TransferConfig,
    *,
    preset: str,
    content: Picture,
    styles: Sequence[Picture],
    init: Picture | None,
    guiding: Sequence[tuple[str, Picture]] = (),
    weights: UsedWeights | None,
    shape: tuple[int, int],
    num_steps: int,
    stopped: str | None,
    memory: str,
    sizes: list[dict[str, Any]],
    recoveries: list[dict[str, Any]],
    seconds: Mapping[str, float],
    num_devices: int = 1,
    strength: Mapping[str, Any] | None = None,
    moved: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """Return the record of one run.

    Args:
        config: its settings, as they were asked for.
        preset: from which they started.
        content: the content picture.
        styles: the style pictures.
        init: the picture it started from, if it was given one.
        guiding: masks and maps, and what to call them.
        weights: of the network, unless it was one of the user's own.
        shape: height and width of the result.
        num_steps: how many steps were made, over all sizes.
        stopped: why it ended early, or None.
        memory: the level that was used. It is not among the settings, as another
            machine or size may want another.
        sizes: for each size {"size", "steps", "evaluations", "stopped", "is_averaged"}.
        recoveries: for each time that steps went wrong {"size", "step", "reason",
            "action"}.
        seconds: {"compile", "run", "total"}.
        num_devices: over which the picture was spread.
        strength: what `Painted` says of it, where one was asked for.
        moved: how many rows and columns a picture that repeats was moved.
    """
    inputs = {"content": content, **name_styles(styles)}
    if init is not None:
        inputs["init"] = init
    inputs |= dict(guiding)
    device = default_device()
    return {
        "jaxnst": __version__,
        "preset": preset,
        "settings": config.to_dict(),
        "inputs": {
            argument: {"name": picture.name, "sha256": picture.sha256}
            for argument, picture in inputs.items()
        },
        "weights": None if weights is None else weights._asdict(),
        "result": {
            "height": shape[0],
            "width": shape[1],
            "steps": num_steps,
            "stopped": stopped,
            "memory": memory,
            **({} if strength is None else {"strength": dict(strength)}),
            **({"moved": list(moved)} if any(moved) else {}),
            "sizes": sizes,
        },
        "recoveries": recoveries,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": num_devices,
        },
        "seconds": dict(seconds),
    }


def make_trace(history: Mapping[str, np.ndarray]) -> dict[str, list[float | None]]:
    """Return a history short enough for a picture's file; empty if it is.

    Args:
        history: of a `Result`.

    Returns:
        {names of the history: values at some of the steps}; of each size the first step
        and the last are among them.
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

    def short(values: np.ndarray) -> list[float | None]:
        numbers = map(float, values[kept])
        # JSON has no word for what is not finite.
        return [float(f"{x:.{_DIGITS}g}") if np.isfinite(x) else None for x in numbers]

    trace: dict[str, Any] = {}
    for name, values in history.items():
        values = np.asarray(values)
        is_count = name in ("step", "size")
        trace[name] = values[kept].tolist() if is_count else short(values)
    return trace


def read_trace(record: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Return what `make_trace` put into a record; None if nothing usable is there."""
    trace = record.get("trace")
    if not isinstance(trace, Mapping) or not {"step", "size", "total"} <= set(trace):
        return None
    try:
        columns = {name: np.asarray(trace[name], np.float64) for name in trace}
    except (TypeError, ValueError):
        return None
    shapes = {column.shape for column in columns.values()}
    if len(shapes) != 1 or not len(columns["step"]) or columns["step"].ndim != 1:
        return None
    return columns


def name_styles(styles: Sequence[T]) -> dict[str, T]:
    """Return {what a style picture is called in a record: the picture}."""
    if len(styles) == 1:
        return {"style": styles[0]}
    return {f"style {number}": style for number, style in enumerate(styles, start=1)}


def settings_of(
    record: Mapping[str, Any],
    *,
    has_init: bool = False,
    has_network: bool = False,
    has_masks: bool = False,
    has_strength: bool = False,
) -> dict[str, Any]:
    """Return the settings in a record as arguments of `stylize`.

    Args:
        record: of `jaxnst.read_record`.
        has_init: whether a picture to start from will be given anew.
        has_network: whether a network will be given anew.
        has_masks: whether masks will be given anew.
        has_strength: whether a strength will be.

    Raises:
        ValueError: if the record is not complete, or if the picture was made with
            objects that no file can hold.
    """
    known = {field.name for field in dataclasses.fields(TransferConfig)}
    given = record.get("settings")
    if not isinstance(given, dict) or not given:
        raise ValueError("the record holds no settings.")
    if (kind := record.get("kind", "picture")) != "picture":
        raise ValueError(
            f"it is a {kind}, which `jaxnst {kind}` makes; `jaxnst show` prints its "
            "settings."
        )
    settings = dict(given)
    if unknown := sorted(settings.keys() - known):
        raise ValueError(
            f"the record has settings that jaxnst {__version__} does not know: "
            f"{', '.join(unknown)}; it was made by jaxnst {record.get('jaxnst')}."
        )
    if has_network:
        settings.pop("network", None)
    weights = record.get("weights")
    if settings.get("network") == "custom" and isinstance(weights, dict):
        raise ValueError(
            f"the picture was made with the weights in a file {weights.get('name')!r} "
            f"of sha256 {weights.get('sha256')!r}; give that file as `network`."
        )
    for name in ("network", "optimizer"):
        if settings.get(name) == "custom":
            raise ValueError(
                f"the picture was made with a `{name}` of the user's own, which the "
                "record cannot hold; repeat it from Python."
            )
    # Never a path: a picture from a stranger must not choose which files are read.
    try:
        get_spec(str(settings.get("network", "vgg19")))
    except ValueError:
        raise ValueError(
            f"the record's `network` is {settings['network']!r}, not a known one."
        ) from None
    if settings.get("init") == "image":
        if not has_init:
            raise ValueError(
                "the picture was started from another picture; give that as `init`."
            )
        del settings["init"]
    elif settings.get("init") not in (None, *INITS):
        # Never a path either.
        raise ValueError(
            f"the record's `init` is {settings['init']!r}, not a known one."
        )
    is_mapped = settings.get("strength") == STRENGTH_MAP
    if is_mapped and not has_strength:
        raise ValueError(
            "the picture was made with a map of strengths; give that as `strength`."
        )
    # A map makes regions, too.
    named = any(name.startswith("mask") for name in record.get("inputs", ()))
    if settings.pop("regions", 0) and not has_masks and (named or not is_mapped):
        raise ValueError("the picture was made with masks; give them as `masks`.")
    if has_strength:
        settings["strength"] = None
    if has_strength or settings.get("strength") is not None:  # they had no effect
        settings.pop("content_weight", None)
        settings.pop("style_weight", None)
    # Every setting is there, so the preset only names where they started.
    return {"preset": record.get("preset", "default"), **settings}


# What `record["result"]["stopped"]` says where the picture is all that was asked for.
FINISHED = (None, "out of time")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """A finished picture.

    Attributes:
        image: RGB, sRGB-encoded, float32, [0, 1], HWC.
        alpha: the content picture's opacity, resized with it; None if it had none.
        history: every loss term of every step, see `make_history`.
        record: settings, seed, versions, device, sha256 of inputs and weights, why it
            stopped, and seconds, as JSON can hold them.
        prepared: what it was painted from, for `jaxnst.explain`; None where the result
            came from another process.
    """

    image: HostImage
    alpha: HostAlpha | None
    history: Mapping[str, np.ndarray]
    record: Mapping[str, Any]
    prepared: Prepared | None = dataclasses.field(
        default=None, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: without the network, which weighs 80 MB."""
        return self.__dict__ | {"prepared": None}

    def to_pil(self) -> PILImage.Image:
        """Return an 8-bit PIL image, RGB or RGBA, tagged as sRGB."""
        return to_pil(self.image, self.alpha)

    def save(
        self, path: str | os.PathLike[str], *, bits: int = 8, quality: int = 95
    ) -> Path:
        """Write the picture, with the record inside, and return where it is.

        The record gets the losses of some of the steps as well. The seconds are left
        out of the file, so that equal runs write equal files.

        Args:
            path: PNG, JPEG, WebP or TIFF, by its extension. Written beside its place
                and then renamed, so that a file is never half there.
            bits: per channel, 8 or 16; 16 for PNG and TIFF.
            quality: of JPEG and WebP, 1 to 100.

        Raises:
            ValueError: if the extension is unknown or cannot hold `bits`.
            OSError: if it cannot be written there.
        """
        record = {key: self.record[key] for key in self.record if key != "seconds"}
        if trace := make_trace(self.history):
            record["trace"] = trace
        return save_picture(
            path, self.image, self.alpha, record=record, bits=bits, quality=quality
        )


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during `stylize`; nothing reached so far is lost.

    Attributes:
        result: the picture as it was, at the size asked for.
    """

    def __init__(self, result: Result):
        super().__init__("interrupted; the picture reached so far is in `.result`")
        self.result = result


def make_history(terms: Iterable[tuple[int, LossTerms]]) -> dict[str, np.ndarray]:
    """Turn (longest side, terms) of each step into columns.

    Returns:
        One array per term, each with one value per step: "step" (from 1), "size"
        (longest side in pixels), "total", "content", "style", "tv"; before any weight
        "content/LAYER" and "style/LAYER". Each is of the picture that the step started
        from.
    """
    rows = [
        {
            "step": step,
            "size": size,
            "total": term.total,
            "content": term.content,
            "style": term.style,
            "tv": term.tv,
            **{f"content/{name}": value for name, value in term.content_layers.items()},
            **{f"style/{name}": value for name, value in term.style_layers.items()},
        }
        for step, (size, term) in enumerate(terms, start=1)
    ]
    names = rows[0] if rows else ("step", "size", "total", "content", "style", "tv")
    return {name: np.asarray([row[name] for row in rows]) for name in names}
