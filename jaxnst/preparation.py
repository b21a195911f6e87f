"""From what a user gives to what painting needs: checked, loaded, settled."""

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from ._checks import suggestion
from .config import INITS, TransferConfig, make_config
from .fitting import choose_memory
from .images import PictureSource, fitted_shape, load_picture, resize
from .images.reading import MIN_SIDE
from .networks import (
    Architecture,
    Network,
    cut_behind,
    device_mesh,
    normalize_activations,
    spread_network,
)
from .optimize import make_optimizer
from .painting import Inputs
from .pretrained import (
    UsedWeights,
    architecture_of_file,
    find_network,
    load_network,
    used_weights,
)


# No device holds the activations of so many; it is a slip of the finger.
MAX_PIXELS = 200_000_000
# Longest side at which a network is normalized: one set of weights is for all sizes,
# and means hardly change beyond.
_MEASURED_SIZE = 512


class Prepared(NamedTuple):
    """What painting needs.

    Attributes:
        inputs: the pictures.
        config: the settings.
        network: with its weights.
        optimizer: any optax transformation.
        weights: which weights the network has; None for one of the user's own.
    """

    inputs: Inputs
    config: TransferConfig
    network: Network
    optimizer: optax.GradientTransformationExtraArgs
    weights: UsedWeights | None


def prepare(
    content: PictureSource,
    style: PictureSource,
    *,
    preset: str,
    init: str | PictureSource | None,
    network: str | os.PathLike[str] | Network | None,
    optimizer: str | optax.GradientTransformation | None,
    progress: bool = True,
    **settings: Any,
) -> Prepared:
    """Check the settings, then load pictures and network.

    Args:
        content: as for `jaxnst.stylize`, like everything here.
        style: likewise.
        preset: likewise.
        init: likewise.
        network: likewise.
        optimizer: likewise.
        progress: show a bar if weights have to be downloaded.
        settings: all others; None leaves one at the preset's.

    Raises:
        ValueError, TypeError, OSError: if something is unusable.
    """
    is_custom = optimizer is not None and not isinstance(optimizer, str)
    init_name, init_source = _split_init(init)
    if isinstance(network, Network):
        for name in ("pooling", "padding", "smoothing", "conv", "precision"):
            own, value = getattr(network, name), settings.get(name)
            if value not in (None, own):
                raise ValueError(
                    f"`{name}` is {value!r}, but the network given has {own!r}; set it "
                    "where the network is made."
                )
            settings[name] = own
        if network.memory != "fast" and settings.get("memory") is None:
            settings["memory"] = network.memory
    architecture, source = _source(network)
    config = make_config(
        preset,
        architecture=architecture,
        optimizer="custom" if is_custom else optimizer,
        init=init_name,
        network=source if architecture is None else "custom",
        **settings,
    )
    transformation = _optimizer(optimizer, config)
    mesh = device_mesh(config.devices)
    conv = config.conv
    if mesh is not None:
        if conv == "winograd":
            raise ValueError(
                "`devices` needs convolutions in XLA's way, and `conv` is 'winograd'; "
                "leave one of them out."
            )
        conv = "xla"
    inputs = _load(content, style, init_source, config)
    weights: UsedWeights | None = None
    if not isinstance(network, Network):
        place = source or config.network
        network = load_network(
            place,
            progress=progress,
            pooling=config.pooling,
            padding=config.padding,
            smoothing=config.smoothing,
            conv=conv,
            precision=config.precision,
        )
        weights = used_weights(place)
    if config.normalize_activations:
        network = _normalized(network, inputs, config)
    layers = [*config.content_layers, *config.style_layers]
    network = cut_behind(network, layers)
    if mesh is not None:
        network = spread_network(network, mesh, layers)
    return Prepared(inputs, config, network, transformation, weights)


def settle_memory(
    inputs: Inputs,
    config: TransferConfig,
    network: Network,
    optimizer: optax.GradientTransformationExtraArgs,
) -> TransferConfig:
    """Return the settings with the level of memory that will be used.

    Args:
        inputs: the pictures.
        config: the settings.
        network: with its weights.
        optimizer: any optax transformation.

    Raises:
        OutOfMemory: if none fits.
    """
    level = choose_memory(
        config,
        network,
        optimizer,
        shape=inputs.shape,
        style_shape=inputs.style.rgb.shape,
    )
    return dataclasses.replace(config, memory=level)


def _normalized(network: Network, inputs: Inputs, config: TransferConfig) -> Network:
    """Return the network, rescaled to both pictures."""
    images = []
    for picture in (inputs.content, inputs.style):
        shape = picture.rgb.shape
        size = min(config.size, _MEASURED_SIZE, max(shape))
        images.append(jnp.asarray(resize(picture.rgb, fitted_shape(shape, size))))
    return normalize_activations(network, images)


def _source(
    network: str | os.PathLike[str] | Network | None,
) -> tuple[Architecture | None, str | None]:
    """Return the architecture of a network of the user's own, and its name or path."""
    if network is None or isinstance(network, Network):
        return (None if network is None else network.architecture), None
    found = find_network(network)
    if isinstance(found, Path):
        return architecture_of_file(found), str(found)
    return None, found.name


def _split_init(
    init: str | PictureSource | None,
) -> tuple[str | None, PictureSource | None]:
    """Tell a named start from a picture to start from."""
    if init is None or (isinstance(init, str) and init in INITS):
        return init, None
    return "image", init


def _load(
    content: PictureSource,
    style: PictureSource,
    init: PictureSource | None,
    config: TransferConfig,
) -> Inputs:
    content_picture = load_picture(content, argument="content")
    style_picture = load_picture(style, argument="style")
    init_picture = None
    if init is not None:
        try:
            init_picture = load_picture(init, argument="init")
        except FileNotFoundError as error:
            hint = suggestion(init, INITS)
            raise FileNotFoundError(
                f"{error}.{hint} Known besides pictures: {', '.join(INITS)}."
            ) from None
    picture_shape = content_picture.rgb.shape
    shape = fitted_shape(picture_shape, config.size)
    if min(shape) < MIN_SIDE:
        needed = config.size
        while min(fitted_shape(picture_shape, needed)) < MIN_SIDE:
            needed += 1
        raise ValueError(
            f"`size` {config.size} would make the result {shape[1]} x {shape[0]} px; "
            f"no side may be below {MIN_SIDE} px, so use {needed} or more."
        )
    if shape[0] * shape[1] > MAX_PIXELS:
        raise ValueError(
            f"`size` {config.size} would make the result {shape[1]} x {shape[0]} px, "
            f"more than {MAX_PIXELS // 1_000_000} megapixels; use less."
        )
    alpha = content_picture.alpha
    if alpha is not None:
        alpha = resize(alpha, shape)
    return Inputs(content_picture, style_picture, init_picture, shape, alpha)


def _optimizer(
    optimizer: str | optax.GradientTransformation | None, config: TransferConfig
) -> optax.GradientTransformationExtraArgs:
    if optimizer is None or isinstance(optimizer, str):
        return make_optimizer(config.optimizer)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            "`optimizer` must be a name or an optax transformation, got "
            f"{type(optimizer).__name__}."
        )
    return optax.with_extra_args_support(optimizer)
