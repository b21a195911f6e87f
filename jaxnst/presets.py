"""The presets, and settings that start from one."""

import dataclasses
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ._checks import check_choice, check_layer_weights, check_shares
from .config import DEFAULT_STYLE_LOSS, TILINGS, TransferConfig, architecture_of
from .finishing import check_filters
from .losses.registry import STYLE_LOSSES
from .networks import Architecture


PRESETS: Mapping[str, TransferConfig] = MappingProxyType(
    {
        # Chosen by `jaxnst.metrics` and by eye, see the README.
        "default": TransferConfig(),
        # Large shapes and colors, strokes not settled yet. So few steps would not reach
        # the painting's colors, so they start from them; and without the deepest layer,
        # a quarter of every step, there are more of them.
        "draft": TransferConfig(
            num_steps=4,
            coarse_steps=12,
            learning_rate=0.08,
            init="recolored",
            style_layers={f"relu{block}_1": 1.0 for block in range(1, 5)},
        ),
        "fine": TransferConfig(num_steps=200, coarse_steps=200),
        # Gatys, Ecker, Bethge, CVPR 2016: the literal sums (eq. 1, 4, 7), their layers
        # and weights (w_l = 1/5, alpha/beta = 1e-3), average pooling, one size. Adam
        # takes the place of their L-BFGS, the content picture that of their noise, and
        # their network was rescaled to a mean activation of one.
        "gatys2016": TransferConfig(
            min_size=0,
            pooling="average",
            padding="zeros",
            style_layers={f"relu{block}_1": 0.2 for block in range(1, 6)},
            content_weight=1.0,
            style_weight=1000.0,
            normalization="paper",
            num_steps=200,
            learning_rate=0.05,
            decay=0.0,
        ),
    }
)


def make_config(
    preset: str | os.PathLike[str] = "default",
    *,
    architecture: Architecture | None = None,
    **settings: Any,
) -> TransferConfig:
    """Return a preset with some settings changed; None leaves one as it is.

    With another optimizer than the preset's, learning rate and decay are those of that
    optimizer. Where the size is so small that none is painted before it, it gets as
    many steps as a smaller one would. With a network that does not have the preset's
    layers, layers are those that its architecture comes with.

    Args:
        preset: one of `PRESETS`.
        architecture: of a network of the user's own.
        settings: what is changed.

    Raises:
        ValueError: if the preset or a value is unknown or out of range.
        TypeError: if a setting is unknown.
    """
    base = PRESETS[check_choice("preset", preset, PRESETS)]
    changed: dict[str, Any] = {
        name: value for name, value in settings.items() if value is not None
    }
    if changed.get("optimizer", base.optimizer) != base.optimizer:
        own: dict[str, Any] = {"learning_rate": 1.0, "decay": 0.0}
        if changed["optimizer"] == "adam":
            own = {name: getattr(TransferConfig, name) for name in own}
        changed = own | changed
    if "strength" in changed:
        for name in ("content_weight", "style_weight"):
            if name in changed:
                raise ValueError(
                    f"`strength` finds the weights itself; leave `{name}` out, or "
                    "`strength`."
                )
    if isinstance(changed.get("tile"), bool):
        changed["tile"] = "xy" if changed["tile"] else None
    if tile := changed.get("tile"):
        padding = TILINGS[check_choice("tile", tile, TILINGS)]
        if changed.setdefault("padding", padding) != padding:
            raise ValueError(
                f"`tile` {tile!r} needs `padding` {padding!r}, got "
                f"{changed['padding']!r}; leave `padding` out, or give a network that "
                "has it."
            )
    if "style_loss" in changed:
        losses = check_shares("style_loss", changed["style_loss"], STYLE_LOSSES)
        changed["style_loss"] = losses
    elif changed.get("normalization") == "paper":
        # The default's mix does not go with it.
        changed["style_loss"] = dict(DEFAULT_STYLE_LOSS["paper"])
    if "finish" in changed:
        changed["finish"] = check_filters("finish", changed["finish"], tile=tile)
    if architecture is None:
        architecture = architecture_of(changed.get("network", base.network))
    known = set(architecture.layer_names)
    for name in ("content_layers", "style_layers"):
        if name in changed:
            changed[name] = check_layer_weights(
                name, changed[name], architecture.layer_names
            )
        elif not known.issuperset(getattr(base, name)):
            changed[name] = dict(getattr(architecture, name))
    if architecture != architecture_of(base.network):
        changed.setdefault("smoothing", architecture.default_smoothing)
    config = dataclasses.replace(base, **changed)
    # So small that there is no smaller size (see `jaxnst.optimize.pyramid_sizes`) which
    # would have done most of the work.
    is_alone = 0 < config.size / 2 < config.min_size / 2**0.5
    if is_alone and "num_steps" not in changed:
        num_steps = max(config.num_steps, config.coarse_steps)
        config = dataclasses.replace(config, num_steps=num_steps)
    config.fit(architecture)
    return config
