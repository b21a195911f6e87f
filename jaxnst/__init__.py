"""Neural style transfer by optimization, in JAX.

`jaxnst.stylize(content, style)` paints one picture in the style of another.
"""

import importlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from . import (
        images as images,
        insight as insight,
        losses as losses,
        metrics as metrics,
        networks as networks,
        objective as objective,
        optimize as optimize,
        pretrained as pretrained,
    )
    from ._version import __version__ as __version__
    from .config import TransferConfig as TransferConfig
    from .fitting import OutOfMemory as OutOfMemory
    from .forecast import Estimate as Estimate
    from .images import load_picture as load_picture, read_record as read_record
    from .insight.explaining import Explanation as Explanation, explain as explain
    from .presets import PRESETS as PRESETS
    from .pretrained import load_network as load_network
    from .result import Interrupted as Interrupted, Result as Result
    from .sweeping.driver import SweepInterrupted as SweepInterrupted, sweep as sweep
    from .sweeping.jobs_plan import BadJobs as BadJobs
    from .sweeping.jobs_run import Outcome as Outcome, batch as batch
    from .sweeping.results import SweepResult as SweepResult
    from .synthesis import texture as texture
    from .transfer import estimate as estimate, stylize as stylize

__all__ = [
    "PRESETS",
    "BadJobs",
    "Estimate",
    "Explanation",
    "Interrupted",
    "OutOfMemory",
    "Outcome",
    "Result",
    "SweepInterrupted",
    "SweepResult",
    "TransferConfig",
    "__version__",
    "batch",
    "estimate",
    "explain",
    "load_network",
    "load_picture",
    "read_record",
    "stylize",
    "sweep",
    "texture",
]

# Imported when first used (PEP 562): JAX takes a second or two, and `jaxnst --help` has
# no use for it.
_HOMES = {
    "PRESETS": "presets",
    "BadJobs": "sweeping.jobs_plan",
    "Estimate": "forecast",
    "Explanation": "insight.explaining",
    "Interrupted": "result",
    "OutOfMemory": "fitting",
    "Outcome": "sweeping.jobs_run",
    "Result": "result",
    "SweepInterrupted": "sweeping.driver",
    "SweepResult": "sweeping.results",
    "TransferConfig": "config",
    "__version__": "_version",
    "batch": "sweeping.jobs_run",
    "estimate": "transfer",
    "explain": "insight.explaining",
    "load_network": "pretrained",
    "load_picture": "images",
    "read_record": "images",
    "stylize": "transfer",
    "sweep": "sweeping.driver",
    "texture": "synthesis",
}
_SUBMODULES = {
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
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
