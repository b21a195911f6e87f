"""What `stylize` returns: the picture, what it cost, and how it was made."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from ._types import HostAlpha, HostImage
from .images import save_picture, to_pil
from .objective import LossTerms
from .preparation import Prepared
from .record import make_trace


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
