"""Set up a job from the user's arguments: check the settings, load the inputs."""

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from jaxnst._checks import check_layer_weights, shown
from jaxnst.config import CUSTOM, INIT_IMAGE, INITS, TransferConfig, make_config
from jaxnst.finishing import check_packages
from jaxnst.images import Picture, PictureSource, fitted_shape, load_picture, resize
from jaxnst.networks import (
    Architecture,
    Network,
    cut_behind,
    device_mesh,
    normalize_activations,
    spread_network,
)
from jaxnst.networks.devices import check_platforms, default_device, warn_if_emulated
from jaxnst.networks.transforms import check_normalizable
from jaxnst.optimize import make_optimizer
from jaxnst.optimize.programs import compile_quickly, use_program_cache
from jaxnst.pretrained import (
    UsedWeights,
    build_network,
    find_network,
    get_spec,
    load_weights,
)
from jaxnst.pretrained.loading import architecture_of_file

from .inputs import Inputs, StyleSource, load_inputs
from .regions import check_masks_alone, split_strength


# Longest side at which a network is normalized, in pixels: all sizes share its weights,
# and the means hardly change beyond.
_MEASURED_SIZE = 512
# Settings whose defaults depend on the network.
_FITTED = ("content_layers", "style_layers", "smoothing")
# Settings that a network is built with.
_OF_NETWORKS = ("pooling", "padding", "smoothing", "conv", "precision")


class Job(NamedTuple):
    """One picture to be painted: checked and loaded, with nothing computed yet.

    Attributes:
        optimizer: any optax transformation, or that of `make_optimizer("lbfgs")`.
        weights: names of the network's weights; None for a network of the user's own.
        preset: name of the preset that the settings started from, for the record.
    """

    inputs: Inputs
    config: TransferConfig
    network: Network
    optimizer: optax.GradientTransformationExtraArgs
    weights: UsedWeights | None
    preset: str = "default"


def load_used_network(
    place: str, *, progress: bool = True, **options: Any
) -> tuple[Network, UsedWeights]:
    """Return a network, as `load_network` does, and the names of its weights."""
    loaded, weights = load_weights(place, progress=progress)
    return build_network(loaded, **options), weights


def settle_config(
    *,
    preset: str = "default",
    init: str | PictureSource | None = None,
    network: str | os.PathLike[str] | Network | None = None,
    optimizer: str | optax.GradientTransformation | None = None,
    masks: Sequence[PictureSource] | None = None,
    strength: float | PictureSource | None = None,
    **settings: Any,
) -> TransferConfig:
    """Return the checked settings of a transfer; no picture and no weights are read."""
    number, strength_map = split_strength(strength)
    check_masks_alone(
        masks,
        blend=settings.get("style_blend"),
        devices=settings.get("devices"),
        has_map=strength_map is not None,
    )
    is_custom = optimizer is not None and not isinstance(optimizer, str)
    if is_custom and not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            "`optimizer` must be a name or an optax transformation, got "
            f"{type(optimizer).__name__}."
        )
    if isinstance(network, Network):
        settings |= _network_settings(network, settings)
    architecture, source = _source(network)
    config = make_config(
        preset,
        optimizer=CUSTOM if is_custom else optimizer,
        init=_split_init(init)[0],
        network=source if architecture is None else CUSTOM,
        strength=number,
        **settings,
    )
    if masks is not None and config.normalization == "paper":
        raise ValueError(
            "`masks` need `normalization` 'pair': the paper's sums know no regions."
        )
    if architecture is None:
        architecture = get_spec(config.network).architecture
    given = [name for name in _FITTED if settings.get(name) is not None]
    return fit_config(config, architecture, given=given)


def _network_settings(network: Network, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a network of the user's own was built with."""
    own = {name: getattr(network, name) for name in _OF_NETWORKS}
    for name, value in own.items():
        if settings.get(name) not in (None, value):
            raise ValueError(
                f"`{name}` is {shown(settings[name])}, but the network given has "
                f"{value!r}; set it where the network is made."
            )
    if network.memory != "fast" and settings.get("memory") is None:
        own["memory"] = network.memory
    return own


def fit_config(
    config: TransferConfig,
    architecture: Architecture,
    *,
    given: Collection[str] = _FITTED,
) -> TransferConfig:
    """Return settings that fit a network, with the layers in the network's order.

    Of `content_layers`, `style_layers` and `smoothing`, those that the caller has not
    `given` become the architecture's own: the layers if the network lacks some of them,
    the smoothing always.
    """
    known = architecture.layer_names
    fitted: dict[str, Any] = {}
    for name in ("content_layers", "style_layers"):
        layers = getattr(config, name)
        if name not in given and not {*known}.issuperset(layers):
            layers = getattr(architecture, name)
        weights = check_layer_weights(name, layers, known)
        # From fine to coarse, which `detail` and `style_blend` rely on.
        fitted[name] = {layer: weights[layer] for layer in known if layer in weights}
    smoothing = config.smoothing
    if "smoothing" not in given:
        smoothing = architecture.default_smoothing
    fitted["smoothing"] = architecture.check_smoothing(smoothing)
    if config.normalize_activations:
        check_normalizable(architecture)
    return dataclasses.replace(config, **fitted)


def set_up(
    content: PictureSource,
    style: StyleSource,
    config: TransferConfig,
    arguments: Mapping[str, Any],
    *,
    progress: bool = True,
    is_frame: bool = False,
    picture_fn: Callable[..., Picture] = load_picture,
    network_fn: Callable[..., tuple[Network, UsedWeights]] = load_used_network,
) -> Job:
    """Return a job, with its pictures and its network loaded and checked.

    The `arguments` are those of `jaxnst.stylize`; some are objects that a config cannot
    hold, such as a network or masks. `config` is that of `settle_config` for them.
    `progress` shows a bar if weights have to be downloaded. `is_frame` says that the
    content is a frame of a clip whose masks change. The functions load pictures
    and networks; a sweep or batch caches what its own return.
    """
    check_platforms()
    check_packages(config.finish)
    use_program_cache()
    compile_quickly()
    mesh = device_mesh(config.devices)
    conv = config.conv
    if mesh is not None:
        if conv == "winograd":
            raise ValueError(
                "`devices` needs `conv` 'auto' or 'xla', got 'winograd'; leave one of "
                "them out."
            )
        conv = "xla"
    inputs = load_inputs(
        content,
        style,
        _split_init(arguments.get("init"))[1],
        config,
        picture_fn,
        masks=arguments.get("masks"),
        strength=split_strength(arguments.get("strength"))[1],
        is_frame=is_frame,
    )
    network, weights = arguments.get("network"), None
    if not isinstance(network, Network):
        options = {name: getattr(config, name) for name in _OF_NETWORKS}
        place = _source(network)[1] or config.network
        network, weights = network_fn(
            place, progress=progress, **options | {"conv": conv}
        )
    if config.normalize_activations:
        network = _normalized(network, inputs, config)
    layers = [*config.content_layers, *config.style_layers]
    network = _fitted(cut_behind(network, layers), config)
    if mesh is not None:
        network = spread_network(network, mesh, layers)
    optimizer = arguments.get("optimizer")
    if isinstance(optimizer, optax.GradientTransformation):
        optimizer = optax.with_extra_args_support(optimizer)
    else:
        optimizer = make_optimizer(config.optimizer)
    preset = arguments.get("preset") or "default"
    return Job(inputs, config, network, optimizer, weights, preset)


def _fitted(network: Network, config: TransferConfig) -> Network:
    """Return the network as the device that paints computes it best."""
    device = default_device()
    warn_if_emulated(network.precision, device)
    # The sums of the paper are too large for float16.
    return network.fitted(device, allows_float16=config.normalization == "pair")


def _normalized(network: Network, inputs: Inputs, config: TransferConfig) -> Network:
    """Return the network with weights normalized on the pictures."""
    images = []
    for picture in (inputs.content, *inputs.styles):
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
    """Return the setting `init`, and the picture to start from if it is one."""
    if init is None or (isinstance(init, str) and init in INITS):
        return init, None
    return INIT_IMAGE, init
