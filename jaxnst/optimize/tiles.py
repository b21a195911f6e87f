r"""The step of a picture in tiles: its memory does not grow with the picture.

The loss sees a picture only through means over places, such as Gram matrices, and these
are sums over tiles. So a step goes over all tiles twice:

1. The means of every tile add up to those of the picture, $S = \sum_k S_k(x)$.
2. The loss $L(S)$ is computed, and its gradient with respect to $S$.
3. Every tile is computed again, and that gradient pulled back through it, so that
   $\sum_k (\partial S_k / \partial x)^\top \partial L / \partial S$ adds up.
4. The optimizer moves the picture.

Since no tile depends on anything beyond its window, this is the gradient of the whole
picture, up to rounding: there are no seams to hide. The picture, its gradient, the
optimizer's state and the content's feature maps are whole; the network's activations,
which take far more memory, are those of one window.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnst._types import AnyImage, FeatureMap, Features, Image, Scalar
from jaxnst.losses.registry import STYLE_LOSSES
from jaxnst.networks import Network
from jaxnst.networks.tiles import Tile, Tiling, make_tiling, window_network
from jaxnst.objective import (
    Blend,
    LossTerms,
    LossWeights,
    Measured,
    PixelTerms,
    Regional,
    Targets,
    Temporal,
    combine_descriptions,
    find_scales,
    measure_image,
    measure_pixels,
    total_loss,
)

from .batching import StepDropped, StepProgram
from .programs import Program
from .stepping import StepInfo, TransferState, gradient_factor, loss_scale, move


class _TileSum:
    """A function of a tile, added up over the tiles of a picture.

    Args:
        tile_fn: (tile, *arrays, *, tiling, *static) -> arrays.
        static: names of its static arguments.
    """

    def __init__(self, tile_fn: Callable[..., Any], static: tuple[str, ...]):
        self._one = jax.jit(tile_fn, static_argnames=static)

        def add(total: Any, *args: Any, **static: Any) -> Any:
            return jax.tree.map(jnp.add, total, tile_fn(*args, **static))

        add.__name__ = f"add{tile_fn.__name__}"  # the program's name, in profiles
        self._add = jax.jit(add, static_argnames=static, donate_argnums=0)

    def shapes(self, *args: Any, **static: Any) -> Any:
        """Return the shapes of the sum."""
        return self._one.eval_shape(*args, **static)

    def adding(self, total: Any, *args: Any, **static: Any) -> Program:
        """Return the program that adds a tile."""
        return Program(self._add, (total, *args), static)

    def over(
        self,
        *args: Any,
        tiling: Tiling,
        is_dropped: Callable[[], bool] = lambda: False,
        **static: Any,
    ) -> Any:
        """Return the sum over all tiles."""
        static = {"tiling": tiling, **static}
        shapes = self.shapes(tiling.tiles[0], *args, **static)
        total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        for tile in tiling.tiles:
            total = self.adding(total, tile, *args, **static).run()
            _wait(total, is_dropped)
        return total


def _wait(arrays: Any, is_dropped: Callable[[], bool]) -> None:
    """Wait for a tile, so that no other takes memory beside it."""
    jax.block_until_ready(arrays)
    if is_dropped():
        raise StepDropped


@dataclasses.dataclass(eq=False)
class TiledStep(StepProgram):
    """The step of one picture, in tiles; its network is that of `window_network`.

    Attributes:
        tiling: tiles of the picture.
    """

    tiling: Any = None

    def call(  # noqa: D102
        self,
        state: TransferState,
        targets: Targets,
        weights: Sequence[LossWeights],
        rates: Any,
        is_dropped: Callable[[], bool] = lambda: False,
    ) -> tuple[TransferState, StepInfo]:
        found = self._differentiate(state.image, targets, weights[0], is_dropped)
        return self._finishing(state, *found, targets, weights[0], rates).run()

    def evaluate(  # noqa: D102
        self, image: Any, targets: Targets, weights: LossWeights
    ) -> tuple[Scalar, LossTerms, Image]:
        image = jnp.asarray(image)
        found = self._differentiate(image, targets, weights)
        loss, terms, gradient, to_pixels = found
        factor = gradient_factor(self.network, weights)
        args = (image, gradient, to_pixels, targets.temporal, factor)
        return loss, terms, _compiled_fold(*args, tiling=self.tiling)

    def measure(  # noqa: D102
        self, images: Sequence[Any], targets: Targets, weights: Sequence[LossWeights]
    ) -> np.ndarray:
        laid, pixels = self._laying(jnp.asarray(images[0]), targets).run()
        means = _MEANS.over(laid, self._held, _seen(targets), tiling=self.tiling)
        _, terms, _ = self._losing(means, pixels, targets, weights[0]).run()
        return np.asarray(terms.total)[None]

    def programs(
        self, state: Any, targets: Any, weights: LossWeights
    ) -> tuple[Program, ...]:
        """Return the programs of a step, from the shapes of state and targets.

        The first takes the most memory and time.
        """
        tile, tiling = self.tiling.tiles[0], {"tiling": self.tiling}
        laying = self._laying(state.image, targets)
        laid, pixels = laying.shapes()
        seen = laid, self._held, _seen(targets)
        means = _MEANS.shapes(tile, *seen, **tiling)
        losing = self._losing(means, pixels, targets, weights)
        loss, terms, (to_means, to_pixels) = losing.shapes()
        return (
            self._pulling(laid, tile, laid, targets, to_means),
            _MEANS.adding(means, tile, *seen, **tiling),
            self._finishing(
                state, loss, terms, laid, to_pixels, targets, weights, [[0.0]]
            ),
            laying,
            losing,
        )

    def _differentiate(
        self,
        image: Image,
        targets: Targets,
        weights: LossWeights,
        is_dropped: Callable[[], bool] = lambda: False,
    ) -> tuple[Scalar, LossTerms, AnyImage, PixelTerms]:
        """Return the loss, its terms, and two parts of its gradient.

        They are that with respect to the picture as it is laid out, and that with
        respect to the terms that need no network.
        """
        laid, pixels = self._laying(image, targets).run()
        seen = laid, self._held, _seen(targets)
        means = _MEANS.over(*seen, tiling=self.tiling, is_dropped=is_dropped)
        losing = self._losing(means, pixels, targets, weights)
        loss, terms, (to_means, to_pixels) = losing.run()
        gradient = jnp.zeros_like(laid)
        for tile in self.tiling.tiles:
            pulling = self._pulling(gradient, tile, laid, targets, to_means)
            gradient = pulling.run()
            _wait(gradient, is_dropped)
        return loss, terms, gradient, to_pixels

    def _laying(self, image: Any, targets: Targets) -> Program:
        return Program(_lay, (image, targets.temporal), {"tiling": self.tiling})

    def _losing(
        self, means: Any, pixels: Any, targets: Targets, weights: LossWeights
    ) -> Program:
        scale = np.float32(loss_scale(self.tiling.shape, self.normalization))
        known = targets._replace(content={}, temporal=None)
        factor = gradient_factor(self.network, weights)
        args = (means, pixels, known, weights, scale, factor)
        return Program(_lose, args, {"normalization": self.normalization})

    def _pulling(
        self, gradient: Any, tile: Tile, laid: Any, targets: Targets, to_means: Any
    ) -> Program:
        args = (gradient, tile, laid, self._held, _seen(targets), to_means)
        return Program(_pull, args, {"tiling": self.tiling})

    def _finishing(
        self,
        state: Any,
        loss: Any,
        terms: Any,
        gradient: Any,
        to_pixels: Any,
        targets: Targets,
        weights: LossWeights,
        rates: Any,
    ) -> Program:
        args = (
            state,
            loss,
            terms,
            gradient,
            to_pixels,
            targets.temporal,
            gradient_factor(self.network, weights),
            np.float32(rates[0][0]),
            np.float32(self.averaging) if self.averaging else None,
        )
        static = {"tiling": self.tiling, "optimizer": self.optimizer}
        return Program(_finish, args, static)


def _seen(targets: Targets) -> Targets:
    """Return what a tile is compared with, of all targets."""
    return targets._replace(content_scale={}, style_scale={}, temporal=None)


def _means(
    tile: Tile, laid: AnyImage, network: Network, targets: Targets, *, tiling: Tiling
) -> Measured:
    """Return what a tile adds to the means of the picture."""
    window = tiling.cut(laid, tile)
    return _means_of_window(window, tile, network, targets, tiling=tiling)


_MEANS = _TileSum(_means, ("tiling",))


def _means_of_window(
    window: AnyImage, tile: Tile, network: Network, targets: Targets, *, tiling: Tiling
) -> Measured:
    own = _own_weights(tile, network, [*targets.content, *targets.style], tiling)
    content = {
        layer: tiling.cut_map(layer, x, tile, own[layer].shape)
        for layer, x in targets.content.items()
    }
    guides = targets.guides and {
        layer: jnp.stack(
            [tiling.cut_map(layer, x, tile, own[layer].shape) for x in regions]
        )
        for layer, regions in targets.guides.items()
    }
    seen = targets._replace(content=content, guides=guides)
    found = measure_image(window, network, seen, own)
    return {
        layer: _scaled(tiling.share(layer, own[layer].shape), means)
        for layer, means in found.items()
    }


def _own_weights(
    tile: Tile, network: Network, layers: Collection[str], tiling: Tiling
) -> dict[str, Float[Array, "_ _"]]:
    shapes = network.layer_shapes(tiling.window, layers)
    return {layer: tiling.own(layer, tile, shapes[layer]) for layer in shapes}


def _scaled(factor: float, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: factor * leaf, tree)


@functools.partial(jax.jit, static_argnames=("tiling",))
def _lay(
    image: Image, temporal: Temporal | None, *, tiling: Tiling
) -> tuple[AnyImage, PixelTerms]:
    """Return a picture as it is laid out, and its terms that need no network."""
    pixels = measure_pixels(image, temporal, wraps=tiling.wraps)
    return tiling.lay(image), pixels


@functools.partial(jax.jit, static_argnames=("normalization",))
def _lose(
    means: Measured,
    pixels: PixelTerms,
    targets: Targets,
    weights: LossWeights,
    scale: Scalar,
    factor: Scalar | None,
    *,
    normalization: str,
) -> tuple[Scalar, LossTerms, tuple[Measured, PixelTerms]]:
    """Return the loss, its terms, and its gradient with respect to what was measured.

    The gradient is multiplied by the `factor`, the loss is not.
    """

    def loss_fn(means: Measured, pixels: PixelTerms) -> tuple[Scalar, LossTerms]:
        total, terms = total_loss(
            means, pixels, targets, weights, normalization=normalization
        )
        return (scale if factor is None else factor * scale) * total, terms

    gradient_fn = jax.value_and_grad(loss_fn, argnums=(0, 1), has_aux=True)
    (loss, terms), pulls = gradient_fn(means, pixels)
    return loss if factor is None else loss / factor, terms, pulls


@functools.partial(jax.jit, static_argnames=("tiling",), donate_argnames=("gradient",))
def _pull(
    gradient: AnyImage,
    tile: Tile,
    laid: AnyImage,
    network: Network,
    targets: Targets,
    to_means: Measured,
    *,
    tiling: Tiling,
) -> AnyImage:
    """Return the gradient, laid out, with that of a tile added."""
    measure_fn = functools.partial(
        _means_of_window, tile=tile, network=network, targets=targets, tiling=tiling
    )
    _, pull = jax.vjp(measure_fn, tiling.cut(laid, tile))
    (part,) = pull(to_means)
    part = part + tiling.cut(gradient, tile)
    return jax.lax.dynamic_update_slice(gradient, part, (*tile.start, 0))


def _fold(
    image: Image,
    gradient: AnyImage,
    to_pixels: PixelTerms,
    temporal: Temporal | None,
    factor: Scalar | None,
    *,
    tiling: Tiling,
) -> Image:
    """Return the gradient of a picture from its two parts."""
    _, pull = jax.vjp(lambda image: _lay(image, temporal, tiling=tiling), image)
    (folded,) = pull((gradient, to_pixels))
    return folded if factor is None else folded / factor


_compiled_fold = jax.jit(_fold, static_argnames=("tiling",))


@functools.partial(
    jax.jit,
    static_argnames=("tiling", "optimizer"),
    donate_argnames=("state",),
)
def _finish(
    state: TransferState,
    loss: Scalar,
    terms: LossTerms,
    gradient: AnyImage,
    to_pixels: PixelTerms,
    temporal: Temporal | None,
    factor: Scalar | None,
    learning_rate: Scalar,
    averaging: Scalar | None,
    *,
    tiling: Tiling,
    optimizer: Any,
) -> tuple[TransferState, StepInfo]:
    """Move a picture along its gradient."""
    folded = _fold(state.image, gradient, to_pixels, temporal, factor, tiling=tiling)
    rates = None if temporal is None else temporal.rates
    return move(
        state,
        loss,
        terms,
        folded,
        learning_rate,
        averaging,
        rates=rates,
        optimizer=optimizer,
    )


def compute_tiled_targets(
    network: Network,
    content: Image,
    styles: Sequence[AnyImage],
    blend: Blend,
    guides: Mapping[str, Float[Array, "regions _ _"]] | None,
    shares: Regional | None,
    *,
    content_layers: tuple[str, ...],
    style_layers: tuple[str, ...],
    style_losses: tuple[str, ...],
    normalization: str,
    tile_size: int,
) -> Targets:
    """Return what `jaxnst.objective.compute_targets` returns, computed in tiles.

    Args:
        network: feature extractor.
        content: content picture, RGB, [0, 1], at the size of the image.
        styles: style pictures, RGB, [0, 1], of any size.
        blend: weight of each style picture.
        guides: {style layer: weight of every pixel in each region}; None for one
            region, the whole picture.
        shares: fraction of the picture that each region covers.
        content_layers: layers where content is compared.
        style_layers: layers where style is compared.
        style_losses: style losses that are means over pixels.
        normalization: "pair" or "paper".
        tile_size: longest side of a tile, in pixels.
    """
    # Only the image wraps around, the style pictures do not.
    for_styles = network.changed(padding="reflect") if any(network.wraps) else network
    guides = None if guides is None else dict(guides)
    scaled_layers = content_layers if normalization == "pair" else ()
    layers = {*style_layers, *scaled_layers}
    descriptions, squares = [], []
    for picture in styles:
        tiling = _tiling_of(picture, for_styles, layers, tile_size)
        laid, _ = _lay(picture, None, tiling=tiling)
        description, square = _DESCRIPTIONS.over(
            laid,
            window_network(for_styles),
            tiling=tiling,
            style_layers=style_layers,
            style_losses=style_losses,
            scaled_layers=scaled_layers,
        )
        descriptions.append(description)
        squares.append(square)
    layers = {*style_layers, *content_layers}
    tiling = _tiling_of(content, network, layers, tile_size)
    laid, _ = _lay(content, None, tiling=tiling)
    windows = window_network(network)
    style = _combine(descriptions, blend)
    bare = Targets({}, {}, style, {}, guides, jnp.ones(1))
    means = _MEANS.over(laid, windows, bare, tiling=tiling)
    maps = _maps(laid, windows, tiling, content_layers)
    content_scale, style_scale = _scales(
        maps, squares, means, style, guides, normalization=normalization
    )
    return Targets(
        content=maps,
        content_scale=content_scale,
        style=style,
        style_scale=style_scale,
        guides=guides,
        shares=jnp.ones(1) if shares is None else shares,
    )


def _tiling_of(
    picture: AnyImage, network: Network, layers: Collection[str], tile_size: int
) -> Tiling:
    height, width, _ = picture.shape
    return make_tiling(network, (height, width), layers, tile_size)


def _describe(
    tile: Tile,
    laid: AnyImage,
    network: Network,
    *,
    tiling: Tiling,
    style_layers: tuple[str, ...],
    style_losses: tuple[str, ...],
    scaled_layers: tuple[str, ...],
) -> tuple[dict[str, dict[str, Any]], dict[str, Scalar]]:
    """Return what a tile of a style picture adds to two things.

    They are {style layer: {style loss: description}}, and {content layer: mean square}.
    """
    layers = {*style_layers, *scaled_layers}
    maps = network(tiling.cut(laid, tile), layers)
    own = _own_weights(tile, network, layers, tiling)
    share = {layer: tiling.share(layer, own[layer].shape) for layer in layers}
    described: dict[str, dict[str, Any]] = {layer: {} for layer in style_layers}
    for layer in style_layers:
        for name in style_losses:
            loss = STYLE_LOSSES[name]
            if loss.places_fn is None:  # a description is the statistics of all pixels
                found = loss.statistics_fn(maps[layer], own[layer], None)
                found = _scaled(share[layer], found)
            else:
                places = loss.places_fn(tiling.num_features(layer))
                found = tiling.pick(layer, maps[layer], places, tile)
            described[layer][name] = found
    squares = {
        layer: share[layer] * _mean_square(own[layer][..., None] * maps[layer])
        for layer in scaled_layers
    }
    return described, squares


_DESCRIPTIONS = _TileSum(
    _describe, ("tiling", "style_layers", "style_losses", "scaled_layers")
)


def _mean_square(features: FeatureMap) -> Scalar:
    return jnp.mean(jnp.square(features.astype(jnp.float32)))


def _maps(
    laid: AnyImage, network: Network, tiling: Tiling, layers: tuple[str, ...]
) -> dict[str, FeatureMap]:
    """Return feature maps of the whole picture."""
    shapes = jax.eval_shape(
        lambda window: network(window, layers), tiling.cut(laid, tiling.tiles[0])
    )
    maps = {
        layer: jnp.zeros((*tiling.shape_of(layer), x.shape[2]), x.dtype)
        for layer, x in shapes.items()
    }
    for tile in tiling.tiles:
        maps = jax.block_until_ready(
            _put_maps(maps, tile, laid, network, tiling=tiling)
        )
    return maps


@functools.partial(jax.jit, static_argnames=("tiling",), donate_argnames=("maps",))
def _put_maps(
    maps: Features, tile: Tile, laid: AnyImage, network: Network, *, tiling: Tiling
) -> Features:
    found = network(tiling.cut(laid, tile), [*maps])
    return {
        layer: tiling.put_map(layer, maps[layer], found[layer], tile) for layer in maps
    }


_combine = jax.jit(combine_descriptions)


@functools.partial(jax.jit, static_argnames=("normalization",))
def _scales(
    maps: Features,
    style_squares: Sequence[Mapping[str, Scalar]],
    means: Measured,
    style: Any,
    guides: Mapping[str, Float[Array, "regions _ _"]] | None,
    *,
    normalization: str,
) -> Any:
    squares = {layer: _mean_square(x) for layer, x in maps.items()}
    sizes = {layer: x.size for layer, x in maps.items()}
    return find_scales(
        squares,
        style_squares,
        sizes,
        means,
        style,
        guides,
        normalization=normalization,
    )
