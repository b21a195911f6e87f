"""Strengths: asked for in the settings, steered to by painting, told in the record."""

from typing import Any

import numpy as np

from .config import TransferConfig
from .optimize import Steering, Trimmed
from .regions import Regions


def make_steering(config: TransferConfig, regions: Regions | None) -> Steering | None:
    """Return what steers a painting to the strengths asked for; None if none is.

    Args:
        config: the settings.
        regions: of the picture.
    """
    if regions is not None and regions.strengths is not None:
        return Steering(regions.strengths, regions.shares)
    if config.strength is None:
        return None
    assert not isinstance(config.strength, str)  # a map makes regions
    if regions is None:
        return Steering([config.strength])
    return Steering([config.strength] * len(regions.maps), regions.shares)


def report_strength(
    config: TransferConfig, steering: Steering | None, trimmed: Trimmed | None
) -> dict[str, Any] | None:
    """Return what a record says of strengths; None if none was asked for.

    Args:
        config: the settings.
        steering: at its end.
        trimmed: how the picture was brought to them; None if it was stopped before.
    """
    if steering is None:
        return None
    ratios = [round(float(ratio), 6) for ratio in np.exp(steering.log_ratios)]
    reached: list[float] | None = None
    if trimmed is not None:
        reached = [round(float(1 - gap), 4) for gap in trimmed.gaps]
    count = {"trimming_steps": 0 if trimmed is None else trimmed.num_steps}
    if not config.regions:
        first = None if reached is None else reached[0]
        return {
            "asked": config.strength,
            "reached": first,
            "ratio": ratios[0],
            **count,
        }
    return {
        "asked": [round(float(1 - gap), 4) for gap in steering.gaps],
        "reached": reached,
        "ratio": ratios,
        "shares": [round(float(share), 4) for share in steering.shares],
        **count,
    }
