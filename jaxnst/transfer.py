"""`stylize`: the one driver, from two pictures to a result."""

import dataclasses
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ._checks import suggestion
from ._types import HostImage
from .config import INITS, LayerWeights, TransferConfig, make_config
from .images import (
    Picture,
    PictureSource,
    fitted_shape,
    load_picture,
    resize,
    resize_picture,
)
from .images.reading import MIN_SIDE
from .networks import VGG
from .objective import LossTerms, compute_targets, make_loss_weights
from .optimize import (
    Schedule,
    StepCallback,
    TransferState,
    init_state,
    learning_rate_at,
    make_optimizer,
    pyramid_sizes,
    resize_state,
    run_size,
)
from .pretrained import load_network
from .progress import ProgressCallback
from .record import make_record
from .result import Interrupted, Result, make_history


# Not `jax.jit(compute_targets, ...)` inside `stylize`: made once, it compiles once.
_compiled_targets = jax.jit(
    compute_targets, static_argnames=("content_layers", "style_layers", "normalization")
)


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
            does, whatever the pictures. Higher is more painterly.
        tv_weight: of total variation, which smooths; 0 or more.
        normalization: "pair" or "paper", see `jaxnst.objective`.
        num_steps: at the full size.
        coarse_steps: at each smaller size.
        optimizer: "adam", "adabelief", "sgd", or any optax transformation, which
            then brings its own learning rate.
        learning_rate: in units of pixel values per step; with an optimizer of your own
            a factor on its updates, by default 1.
        decay: part of the full size's steps over which the rate falls to zero.
        init: "content", "style", "noise", or a picture, stretched to the content's
            shape.
        seed: of the noise.
        network: name of pretrained weights, or a network of your own.
        pooling: "max" or "average".
        padding: "replicate", "zeros" or "circular", see `jaxnst.networks.VGG`.
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
        learning_rate=1.0 if is_custom and learning_rate is None else learning_rate,
        decay=0.0 if is_custom and decay is None else decay,
        init=init_name,
        seed=seed,
        network="custom" if isinstance(network, VGG) else network,
        pooling=network.pooling if isinstance(network, VGG) else pooling,
        padding=network.padding if isinstance(network, VGG) else padding,
    )
    if isinstance(network, VGG):
        config = config.with_layers_of(network.layer_names)
    if callback is not None and not callable(callback):
        raise TypeError(f"`callback` must be callable, got {callback!r}.")
    pictures = _load(content, style, init_source, config)
    if not isinstance(network, VGG):
        network = load_network(
            config.network, pooling=config.pooling, padding=config.padding
        )
    run = _Run(config, pictures, network, _optimizer(optimizer, config))
    with ProgressCallback(enabled=progress, inner=callback) as watcher:
        painted = run.paint(watcher)
    image = painted.image
    if image.shape[:2] != pictures.shape:  # stopped at a smaller size
        image = resize(image, pictures.shape)
    record = make_record(
        config,
        preset=preset,
        content=pictures.content,
        style=pictures.style,
        init=pictures.init,
        shape=pictures.shape,
        num_steps=len(painted.terms),
        stopped=painted.stopped,
        seconds={
            "compile": round(painted.compile_seconds, 3),
            "run": round(painted.run_seconds, 3),
            "total": round(time.perf_counter() - started, 3),
        },
    )
    result = Result(
        image=image,
        alpha=pictures.alpha,
        history=make_history(painted.terms),
        record=record,
    )
    if painted.stopped == "interrupted":
        raise Interrupted(result)
    return result


class _Pictures(NamedTuple):
    """The inputs, as read; `shape` and `alpha` are those of the result."""

    content: Picture
    style: Picture
    init: Picture | None
    shape: tuple[int, int]
    alpha: np.ndarray | None


class _Painted(NamedTuple):
    image: HostImage
    terms: list[tuple[int, LossTerms]]
    stopped: str | None
    compile_seconds: float
    run_seconds: float


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
) -> _Pictures:
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
    shape = fitted_shape(content_picture.rgb.shape, config.size)
    if min(shape) < MIN_SIDE:
        needed = -(-MIN_SIDE * max(shape) // min(shape))
        raise ValueError(
            f"`size` {config.size} would make the result {shape[1]} x {shape[0]} px; "
            f"no side may be below {MIN_SIDE} px, so use {needed} or more."
        )
    alpha = resize_picture(content_picture, config.size).alpha
    return _Pictures(content_picture, style_picture, init_picture, shape, alpha)


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


@dataclasses.dataclass(frozen=True)
class _Run:
    """One transfer, all sizes."""

    config: TransferConfig
    pictures: _Pictures
    network: VGG
    optimizer: optax.GradientTransformationExtraArgs

    def paint(self, callback: StepCallback) -> _Painted:
        config, pictures = self.config, self.pictures
        shapes = pyramid_sizes(
            pictures.shape, min_size=config.min_size, min_side=MIN_SIDE
        )
        rates = [list(self._learning_rates(shape)) for shape in shapes]
        weights = make_loss_weights(
            content=config.content_weight,
            style=config.style_weight,
            tv=config.tv_weight,
            content_layers=dict(config.content_layers),  # type: ignore[arg-type]
            style_layers=dict(config.style_layers),  # type: ignore[arg-type]
            normalization=config.normalization,
        )
        started = time.perf_counter()
        state: TransferState | None = None
        terms: list[tuple[int, LossTerms]] = []
        compile_seconds, stopped = 0.0, None
        for shape, size_rates in zip(shapes, rates, strict=True):
            content = resize(pictures.content.rgb, shape)
            style = self._style(shape)
            before = time.perf_counter()
            targets = _compiled_targets(
                self.network,
                jnp.asarray(content),
                jnp.asarray(style),
                content_layers=tuple(config.content_layers),
                style_layers=tuple(config.style_layers),
                normalization=config.normalization,
            )
            jax.block_until_ready(targets)
            compile_seconds += time.perf_counter() - before
            if state is None:
                # A copy: the state's buffers are given up to the first step.
                image = jnp.array(self._first_image(content, style), copy=True)
                state = init_state(image, self.optimizer)
            else:
                state = resize_state(state, shape)
            run = run_size(
                state,
                self.network,
                targets,
                weights,
                optimizer=self.optimizer,
                learning_rates=size_rates,
                normalization=config.normalization,
                schedule=self._schedule(shapes, rates, shape),
                callback=callback,
            )
            state, stopped = run.state, run.stopped
            compile_seconds += run.compile_seconds
            terms += [(max(shape), step_terms) for step_terms in run.terms]
            if stopped is not None:
                break
        assert state is not None  # there is always one size
        seconds = time.perf_counter() - started
        return _Painted(
            np.array(state.image),
            terms,
            stopped,
            compile_seconds,
            seconds - compile_seconds,
        )

    def _schedule(self, shapes, rates, shape: tuple[int, int]) -> Schedule:
        steps = [len(size_rates) for size_rates in rates]
        work = [h * w * n for (h, w), n in zip(shapes, steps, strict=True)]
        index = shapes.index(shape)
        return Schedule(
            first_step=sum(steps[:index]),
            total_steps=sum(steps),
            first_work=sum(work[:index]),
            total_work=sum(work),
            full_shape=self.pictures.shape,
        )

    def _learning_rates(self, shape: tuple[int, int]) -> Iterator[float]:
        config = self.config
        is_last = shape == self.pictures.shape
        num_steps = config.num_steps if is_last else config.coarse_steps
        for step in range(num_steps):
            yield learning_rate_at(
                config.learning_rate, step, num_steps, config.decay if is_last else 0.0
            )

    def _style(self, shape: tuple[int, int]) -> HostImage:
        """The style picture in the proportion it has to the content at full size."""
        rgb = self.pictures.style.rgb
        full = self.config.style_size or min(self.config.size, max(rgb.shape))
        longest = full * max(shape) / max(self.pictures.shape)
        # Never so small that the deepest layers see nothing.
        longest = max(longest, MIN_SIDE * max(rgb.shape[:2]) / min(rgb.shape[:2]))
        return resize(rgb, fitted_shape(rgb.shape, round(longest)))

    def _first_image(self, content: HostImage, style: HostImage) -> HostImage:
        shape = (content.shape[0], content.shape[1])
        if self.config.init == "noise":
            # NumPy's generator: the same noise on every device.
            generator = np.random.default_rng(self.config.seed)
            return generator.random((*shape, 3), np.float32)
        if self.config.init == "style":
            return resize(style, shape)
        if self.pictures.init is not None:
            return resize(self.pictures.init.rgb, shape)
        return content
