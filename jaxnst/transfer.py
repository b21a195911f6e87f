"""`stylize`: the one driver, from two pictures to a result."""

import time

import optax

from ._checks import check_layer_weights, suggestion
from .config import INITS, LayerWeights, TransferConfig, make_config
from .images import (
    PictureSource,
    fitted_shape,
    load_picture,
    resize,
)
from .images.reading import MIN_SIDE
from .networks import VGG
from .optimize import StepCallback, make_optimizer
from .painting import Inputs, paint
from .pretrained import load_network
from .progress import ProgressCallback
from .record import make_record
from .result import Interrupted, Result, make_history


# No device holds the activations of so many; it is a slip of the finger.
MAX_PIXELS = 200_000_000


def stylize(
    content: PictureSource,
    style: PictureSource,
    *,
    preset: str = "default",
    size: int | None = None,
    style_size: int | None = None,
    min_size: int | None = None,
    content_layers: LayerWeights | None = None,
    style_layers: LayerWeights | None = None,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float | None = None,
    normalization: str | None = None,
    num_steps: int | None = None,
    coarse_steps: int | None = None,
    optimizer: str | optax.GradientTransformation | None = None,
    learning_rate: float | None = None,
    decay: float | None = None,
    averaging: float | None = None,
    tolerance: float | None = None,
    max_seconds: float | None = None,
    steps_per_call: int | None = None,
    content_detail: float | None = None,
    init: str | PictureSource | None = None,
    seed: int | None = None,
    network: str | VGG | None = None,
    pooling: str | None = None,
    padding: str | None = None,
    callback: StepCallback | None = None,
    progress: bool = True,
) -> Result:
    """Paint `content` in the style of `style`.

    Every setting left at None is the preset's. The same inputs, settings, versions and
    device give the same picture, to the last bit.

    Args:
        content: what is to be seen: a path, a PIL image, or an array, see
            `jaxnst.images.load_picture`.
        style: how it is to be painted, likewise.
        preset: "default", or "gatys2016" for the paper's literal loss.
        size: longest side of the result, in pixels; at least 32.
        style_size: longest side at which the style picture is looked at, in pixels;
            smaller makes finer strokes. By default `size`, but never enlarged.
        min_size: longest side of the coarsest size painted first; 0 paints at the full
            size only.
        content_layers: layers that keep the content, as a list or {layer: weight}.
        style_layers: layers that take on the style, likewise.
        content_weight: of all content layers together, 0 or more.
        style_weight: of all style layers together; 1 pulls about as hard as content
            does, whatever the inputs. Higher is more painterly.
        tv_weight: of total variation, which smooths; 0 or more.
        normalization: "pair" or "paper", see `jaxnst.objective`.
        num_steps: at the full size.
        coarse_steps: at each smaller size.
        optimizer: "adam", "lbfgs" (with a line search, so a step may cost more than one
            evaluation), or any optax transformation, which then brings its own learning
            rate.
        learning_rate: in units of pixel values per step; with other optimizers than
            Adam a factor on their updates, by default 1.
        decay: part of the full size's steps over which the rate falls to zero; by
            default 0 with other optimizers than Adam.
        averaging: decay of an average of the pictures that the steps go through, 0
            (none) to below 1; the result is the average where that has the lower loss.
        tolerance: a size ends when ten steps lower the mean loss by less than this part
            of it; 0 never ends one. At the full size the learning rate then falls to
            zero at once.
        max_seconds: after about so many the result is there, at its full size; where
            there is no time for all steps, every size gets fewer.
        steps_per_call: how many steps one call of the device makes; by default one on
            the CPU and five elsewhere. The callback sees the last of them.
        content_detail: part of the content's fine detail that is laid over the picture
            each time it grows, 0 to 1.
        init: "content", "style", "noise", or a picture, stretched to the content's
            shape.
        seed: of the noise.
        network: name of pretrained weights, or a network of your own.
        pooling: "max" or "average".
        padding: "reflect", "replicate", "zeros" or "circular", see
            `jaxnst.networks.VGG`.
        callback: called after every step with a `jaxnst.optimize.StepView`; returning
            True stops.
        progress: show a bar on standard error (lines where there is no terminal).

    Returns:
        The picture, its history and its record.

    Raises:
        ValueError, TypeError, OSError: if an input is unusable, before anything is
            computed.
        Interrupted: on Ctrl-C, with the picture so far; a KeyboardInterrupt.

    References:
        Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural
        Networks", CVPR 2016. Departures: `jaxnst.objective`; the sizes are painted from
        coarse to fine.

    Examples:
        >>> result = stylize("photo.jpg", "painting.jpg", size=768)  # doctest: +SKIP
        >>> result.save("out.png")  # doctest: +SKIP
    """
    started = time.perf_counter()
    is_custom = optimizer is not None and not isinstance(optimizer, str)
    init_name, init_source = _split_init(init)
    if isinstance(network, VGG):
        for name, value in (("pooling", pooling), ("padding", padding)):
            own = getattr(network, name)
            if value not in (None, own):
                raise ValueError(
                    f"`{name}` is {value!r}, but the network given has {own!r}; set it "
                    "where the network is made."
                )
        known = network.layer_names
        if content_layers is not None:
            content_layers = check_layer_weights(
                "content_layers", content_layers, known
            )
        if style_layers is not None:
            style_layers = check_layer_weights("style_layers", style_layers, known)
    config = make_config(
        preset,
        size=size,
        style_size=style_size,
        min_size=min_size,
        content_layers=content_layers,
        style_layers=style_layers,
        content_weight=content_weight,
        style_weight=style_weight,
        tv_weight=tv_weight,
        normalization=normalization,
        num_steps=num_steps,
        coarse_steps=coarse_steps,
        optimizer="custom" if is_custom else optimizer,
        learning_rate=learning_rate,
        decay=decay,
        averaging=averaging,
        tolerance=tolerance,
        max_seconds=max_seconds,
        steps_per_call=steps_per_call,
        content_detail=content_detail,
        init=init_name,
        seed=seed,
        network="custom" if isinstance(network, VGG) else network,
        pooling=network.pooling if isinstance(network, VGG) else pooling,
        padding=network.padding if isinstance(network, VGG) else padding,
    )
    if callback is not None and not callable(callback):
        raise TypeError(f"`callback` must be callable, got {callback!r}.")
    transformation = _optimizer(optimizer, config)
    inputs = _load(content, style, init_source, config)
    if not isinstance(network, VGG):
        network = load_network(
            config.network, pooling=config.pooling, padding=config.padding
        )
    deadline = None if config.max_seconds is None else started + config.max_seconds
    with ProgressCallback(enabled=progress, inner=callback) as watcher:
        painted = paint(
            inputs,
            network,
            transformation,
            config,
            watcher,
            watcher.notice,
            deadline=deadline,
        )
    image = painted.image
    if image.shape[:2] != inputs.shape:  # stopped at a smaller size
        image = resize(image, inputs.shape)
    record = make_record(
        config,
        preset=preset,
        content=inputs.content,
        style=inputs.style,
        init=inputs.init,
        shape=inputs.shape,
        num_steps=len(painted.terms),
        stopped=painted.stopped,
        sizes=[size._asdict() for size in painted.sizes],
        recoveries=[recovery._asdict() for recovery in painted.recoveries],
        seconds={
            "compile": round(painted.compile_seconds, 3),
            "run": round(painted.run_seconds, 3),
            "total": round(time.perf_counter() - started, 3),
        },
    )
    result = Result(
        image=image,
        alpha=inputs.alpha,
        history=make_history(painted.terms),
        record=record,
    )
    if painted.stopped == "interrupted":
        raise Interrupted(result)
    return result


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
