"""From what a user gives to what painting needs: checked, loaded, settled."""

import dataclasses
from typing import Any, NamedTuple

import optax

from ._checks import check_layer_weights, suggestion
from .config import INITS, TransferConfig, make_config
from .fitting import choose_memory
from .images import PictureSource, fitted_shape, load_picture, resize
from .images.reading import MIN_SIDE
from .networks import Network
from .optimize import make_optimizer
from .painting import Inputs
from .pretrained import load_network


# No device holds the activations of so many; it is a slip of the finger.
MAX_PIXELS = 200_000_000


class Prepared(NamedTuple):
    """What painting needs.

    Attributes:
        inputs: the pictures.
        config: the settings.
        network: with its weights.
        optimizer: any optax transformation.
    """

    inputs: Inputs
    config: TransferConfig
    network: Network
    optimizer: optax.GradientTransformationExtraArgs


def prepare(
    content: PictureSource,
    style: PictureSource,
    *,
    preset: str,
    init: str | PictureSource | None,
    network: str | Network | None,
    optimizer: str | optax.GradientTransformation | None,
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
        settings: all others; None leaves one at the preset's.

    Raises:
        ValueError, TypeError, OSError: if something is unusable.
    """
    is_custom = optimizer is not None and not isinstance(optimizer, str)
    init_name, init_source = _split_init(init)
    if isinstance(network, Network):
        for name in ("pooling", "padding", "conv", "precision"):
            own, value = getattr(network, name), settings.get(name)
            if value not in (None, own):
                raise ValueError(
                    f"`{name}` is {value!r}, but the network given has {own!r}; set it "
                    "where the network is made."
                )
            settings[name] = own
        if network.memory != "fast" and settings.get("memory") is None:
            settings["memory"] = network.memory
        for name in ("content_layers", "style_layers"):
            if settings.get(name) is not None:
                settings[name] = check_layer_weights(
                    name, settings[name], network.layer_names
                )
    config = make_config(
        preset,
        optimizer="custom" if is_custom else optimizer,
        init=init_name,
        network="custom" if isinstance(network, Network) else network,
        **settings,
    )
    transformation = _optimizer(optimizer, config)
    inputs = _load(content, style, init_source, config)
    if not isinstance(network, Network):
        network = load_network(
            config.network,
            pooling=config.pooling,
            padding=config.padding,
            conv=config.conv,
            precision=config.precision,
        )
    return Prepared(inputs, config, network, transformation)


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
