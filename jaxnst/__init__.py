"""Neural style transfer by optimization, in JAX.

`jaxnst.stylize(content, style)` paints one picture in the style of another.
"""

import importlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    __version__: str
    from . import (
        app as app,
        images as images,
        insight as insight,
        losses as losses,
        metrics as metrics,
        networks as networks,
        objective as objective,
        optimize as optimize,
        pretrained as pretrained,
    )
    from .config import PRESETS as PRESETS, TransferConfig as TransferConfig
    from .images import load_picture as load_picture, read_record as read_record
    from .insight.explanation import Explanation as Explanation, explain as explain
    from .pretrained import load_network as load_network
    from .sweeps.driver import (
        Outcome as Outcome,
        SweepInterrupted as SweepInterrupted,
        batch as batch,
        sweep as sweep,
    )
    from .sweeps.results import SweepResult as SweepResult
    from .sweeps.table import BadJobs as BadJobs
    from .transfer.driver import estimate as estimate, stylize as stylize
    from .transfer.memory import Estimate as Estimate, OutOfMemory as OutOfMemory
    from .transfer.result import Interrupted as Interrupted, Result as Result
    from .transfer.texture_synthesis import texture as texture
    from .videos.driver import (
        VideoInterrupted as VideoInterrupted,
        VideoResult as VideoResult,
        video as video,
    )

# Imported when first used (PEP 562): JAX takes a second or two, and `jaxnst --help` has
# no use for it.
_PUBLIC = {
    "config": ("PRESETS", "TransferConfig"),
    "images": ("load_picture", "read_record"),
    "insight.explanation": ("Explanation", "explain"),
    "pretrained": ("load_network",),
    "sweeps.driver": ("Outcome", "SweepInterrupted", "batch", "sweep"),
    "sweeps.results": ("SweepResult",),
    "sweeps.table": ("BadJobs",),
    "transfer.driver": ("estimate", "stylize"),
    "transfer.memory": ("Estimate", "OutOfMemory"),
    "transfer.result": ("Interrupted", "Result"),
    "transfer.texture_synthesis": ("texture",),
    "videos.driver": ("VideoInterrupted", "VideoResult", "video"),
}
_HOMES = {name: home for home, names in _PUBLIC.items() for name in names}
__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]
_SUBMODULES = {
    "app",
    "images",
    "insight",
    "losses",
    "metrics",
    "networks",
    "objective",
    "optimize",
    "pretrained",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "__version__":
        from importlib.metadata import version

        value = version(__name__)
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
