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
which take far more memory, are those of one window. The loop over the tiles is Python,
as XLA computes convolutions in a loop slowly on the CPU. Several devices compute as
many tiles at once.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxnst._types import AnyImage, FeatureMap, Features, Flag, Image, Scalar
from jaxnst.losses.registry import STYLE_LOSSES
from jaxnst.networks import Network
from jaxnst.networks.sharding import whole
from jaxnst.networks.tiles import Tile, Tiling, make_tiling, window_network
from jaxnst.objective import (
    Blend,
    LossTerms,
    LossWeights,
    Measured,
    PixelTerms,
    Regional,
    Targets,
    combine_descriptions,
    find_scales,
    measure_image,
    total_loss,
)

from .batching import (
    HeedFn,
    StepDropped,
    StepProgram,
    batched,
    by_member,
    make_mesh,
)
from .programs import Program
from .stepping import StepInfo, TransferState, gradient_factor, loss_scale, move


class _TileSum:
    """What is computed from each tile of a picture, added up over the tiles.

    On several devices each adds up tiles of its own, and these sums are added at last.

    Args:
        add_fn: (sum, tile, *arrays, *, tiling, *static) -> sum with the tile.
        static: names of its static arguments.
    """

    def __init__(self, add_fn: Callable[..., Any], static: tuple[str, ...]):
        self._add_fn, self._static = add_fn, static
        self._add = jax.jit(add_fn, static_argnames=static, donate_argnums=0)

    def adding(
        self, shapes: Any, *args: Any, mesh: Mesh | None, **static: Any
    ) -> Program:
        """Return the program that adds a tile to each device's sum, from shapes."""
        tiles = _rounds(static["tiling"], mesh)[0]
        shapes = _total_shapes(shapes, mesh)
        return self._adding(shapes, tiles, *args, mesh=mesh, **static)

    def over(
        self,
        shapes: Any,
        *args: Any,
        mesh: Mesh | None,
        heed_fn: HeedFn = lambda part: False,
        **static: Any,
    ) -> Any:
        """Return the sum over all tiles; it has these shapes."""
        total = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding),
            _total_shapes(shapes, mesh),
        )
        rounds = _rounds(static["tiling"], mesh)
        for number, tiles in enumerate(rounds, start=1):
            total = self._adding(total, tiles, *args, mesh=mesh, **static).run()
            _wait(total, number / len(rounds), heed_fn)
        return total if mesh is None else _add_up(total, mesh=mesh)

    def _adding(
        self, total: Any, tiles: Tile, *args: Any, mesh: Mesh | None, **static: Any
    ) -> Program:
        add = self._add
        if mesh is not None:
            axes = (0, 0, *[None] * len(args))
            add = batched(self._add_fn, mesh, axes, self._static, donated=(0,))
        return Program(add, (total, tiles, *args), static)


def _plus(tile_fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that adds to a sum what `tile_fn` returns for a tile."""

    def add(total: Any, *args: Any, **static: Any) -> Any:
        return jax.tree.map(jnp.add, total, tile_fn(*args, **static))

    add.__name__ = f"add{tile_fn.__name__}"  # the program's name, in profiles
    return add


def _rounds(tiling: Tiling, mesh: Mesh | None) -> list[Tile]:
    """Return all tiles; with a mesh, as arrays of one tile for each device."""
    if mesh is None:
        return list(tiling.tiles)
    # Devices without a tile in the last round get one of no pixels.
    spare = [Tile((0, 0), (0, 0), (0, 0))] * (-len(tiling.tiles) % mesh.size)
    tiles = [*tiling.tiles, *spare]
    return [
        jax.tree.map(lambda *each: np.array(each), *tiles[start : start + mesh.size])
        for start in range(0, len(tiles), mesh.size)
    ]


def _total_shapes(shapes: Any, mesh: Mesh | None) -> Any:
    """Return the shapes of the sums of all devices."""

    def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
        if mesh is None:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        shape = (mesh.size, *leaf.shape)
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=by_member(mesh))

    return jax.tree.map(shape_of, shapes)


@functools.partial(jax.jit, static_argnames=("mesh",))
def _add_up(totals: Any, *, mesh: Mesh) -> Any:
    """Return the sum of all devices' sums, on every device."""
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf.sum(0), whole(mesh)), totals
    )


def _wait(arrays: Any, part: float, heed_fn: HeedFn) -> None:
    """Wait for a tile, so that no other takes memory beside it."""
    jax.block_until_ready(arrays)
    if heed_fn(part):
        raise StepDropped


@dataclasses.dataclass(eq=False)
class TiledStep(StepProgram):
    """The step of one picture, in tiles; its network is that of `window_network`.

    Attributes:
        tiling: tiles of the picture.
        mesh: result of `tile_mesh`; every device holds the whole picture.
    """

    tiling: Any = None
    mesh: Mesh | None = None

    def call(  # noqa: D102
        self,
        state: TransferState,
        targets: Targets,
        weights: Sequence[LossWeights],
        rates: Any,
        heed_fn: HeedFn = lambda part: False,
    ) -> tuple[TransferState, StepInfo]:
        state = _put(state, self.mesh)
        found = self._differentiate(state.image, targets, weights[0], heed_fn)
        loss, terms, gradient = found
        is_finite = _is_finite(loss, gradient)
        if is_finite:
            state = self._moving(state, loss, gradient, rates).run()
        return state, StepInfo(terms, is_finite)

    def evaluate(  # noqa: D102
        self, image: Any, targets: Targets, weights: LossWeights
    ) -> tuple[Scalar, LossTerms, Image]:
        return self._differentiate(jnp.asarray(image), targets, weights)

    def measure(  # noqa: D102
        self, images: Sequence[Any], targets: Targets, weights: Sequence[LossWeights]
    ) -> np.ndarray:
        laid = self._lay(images[0])
        means = self._measure(laid, targets)
        _, terms, _ = self._losing(means, targets, weights[0]).run()
        return np.asarray(terms.total)[None]

    def stack_targets(self, targets: Sequence[Targets]) -> Targets:  # noqa: D102
        return _put(targets[0], self.mesh)

    def programs(
        self, state: Any, targets: Any, weights: LossWeights
    ) -> tuple[Program, ...]:
        """Return the programs of a step, from the shapes of state and targets.

        The first takes the most memory and time.
        """
        laid = jax.eval_shape(self.tiling.lay, state.image)
        laid = laid.update(sharding=state.image.sharding)
        seen = laid, self._held, _seen(targets)
        means = _shapes_of_means(*seen, self.tiling)
        losing = self._losing(means, targets, weights)
        loss, _, to_means = losing.shapes()
        return (
            _GRADIENT.adding(laid, *seen, to_means, **self._static),
            _MEANS.adding(means, *seen, **self._static),
            self._moving(state, loss, state.image, [[0.0]]),
            losing,
        )

    @property
    def _static(self) -> dict[str, Any]:
        return {
            "tiling": self.tiling,
            "normalization": self.normalization,
            "mesh": self.mesh,
        }

    def _lay(self, image: Any) -> AnyImage:
        return _lay(_put(jnp.asarray(image), self.mesh), self.tiling)

    def _measure(
        self, laid: AnyImage, targets: Targets, heed_fn: HeedFn = lambda part: False
    ) -> "_Means":
        seen = laid, self._held, _seen(targets)
        means = _shapes_of_means(*seen, self.tiling)
        return _MEANS.over(means, *seen, **self._static, heed_fn=heed_fn)

    def _differentiate(
        self,
        image: Image,
        targets: Targets,
        weights: LossWeights,
        heed_fn: HeedFn = lambda part: False,
    ) -> tuple[Scalar, LossTerms, Image]:
        """Return the loss, its terms, and its gradient."""
        first = 1 / 3  # a gradient takes twice the time
        laid = self._lay(image)
        means = self._measure(laid, targets, lambda part: heed_fn(first * part))
        loss, terms, to_means = self._losing(means, targets, weights).run()
        gradient = _GRADIENT.over(
            laid,
            laid,
            self._held,
            _seen(targets),
            to_means,
            **self._static,
            heed_fn=lambda part: heed_fn(first + (1 - first) * part),
        )
        return loss, terms, _fold(gradient, self._factor(weights), self.tiling)

    def _factor(self, weights: LossWeights) -> Scalar | None:
        return gradient_factor(self.network, weights)

    def _losing(self, means: Any, targets: Targets, weights: LossWeights) -> Program:
        scale = np.float32(loss_scale(self.tiling.shape, self.normalization))
        known = targets._replace(content={})
        args = (means, known, weights, scale, self._factor(weights))
        return Program(_lose, args, {"normalization": self.normalization})

    def _moving(self, state: Any, loss: Any, gradient: Any, rates: Any) -> Program:
        average = np.float32(self.averaging) if self.averaging else None
        args = (state, loss, gradient, np.float32(rates[0][0]), average)
        return Program(_move, args, {"optimizer": self.optimizer})


def tile_mesh(network: Network) -> Mesh | None:
    """Return the mesh of devices that compute tiles; None for a single device.

    They are those that the network shards its pictures over.
    """
    spread = network.spread
    return None if spread is None else make_mesh(spread.mesh.devices.tolist())


def _put(tree: Any, mesh: Mesh | None) -> Any:
    """Return arrays that every device of a mesh holds all of."""
    return tree if mesh is None else jax.device_put(tree, whole(mesh))


def _seen(targets: Targets) -> Targets:
    """Return what a tile is compared with, of all targets."""
    return targets._replace(content_scale={}, style_scale={})


def _lay(image: Image, tiling: Tiling) -> AnyImage:
    """Return a picture as tiles are cut from it."""
    return _compiled_lay(image, tiling=tiling) if any(tiling.wraps) else image


_compiled_lay = jax.jit(
    lambda image, tiling: tiling.lay(image), static_argnames=("tiling",)
)


def _fold(gradient: AnyImage, factor: Scalar | None, tiling: Tiling) -> Image:
    """Return the gradient of a picture from that of the picture as it is laid out."""
    if not any(tiling.wraps) and factor is None:
        return gradient
    return _compiled_fold(gradient, factor, tiling=tiling)


@functools.partial(jax.jit, static_argnames=("tiling",))
def _compiled_fold(
    gradient: AnyImage, factor: Scalar | None, *, tiling: Tiling
) -> Image:
    shape = jax.ShapeDtypeStruct((*tiling.shape, 3), gradient.dtype)
    (folded,) = jax.linear_transpose(tiling.lay, shape)(gradient)
    return folded if factor is None else folded / factor


class _Means(NamedTuple):
    """What the loss is made of, as far as means over pixels are concerned.

    Attributes:
        measured: means of what the network sees.
        tv: total variation.
    """

    measured: Measured
    tv: Scalar


def _means(
    tile: Tile,
    laid: AnyImage,
    network: Network,
    targets: Targets,
    *,
    tiling: Tiling,
    normalization: str = "pair",
) -> _Means:
    """Return what a tile adds to the means of the picture."""
    part = tiling.cut(laid, tile)
    return _means_of_part(part, tile, laid, network, targets, tiling, normalization)


_MEANS = _TileSum(_plus(_means), ("tiling", "normalization"))
# JAX keeps the shapes that a jitted function returns.
_jitted_means = jax.jit(_means, static_argnames=("tiling",))


def _shapes_of_means(laid: Any, network: Any, targets: Targets, tiling: Tiling) -> Any:
    seen = tiling.tiles[0], laid, network, targets
    return _jitted_means.eval_shape(*seen, tiling=tiling)


def _means_of_part(
    part: AnyImage,
    tile: Tile,
    laid: AnyImage,
    network: Network,
    targets: Targets,
    tiling: Tiling,
    normalization: str,
) -> _Means:
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
    window = tiling.extend(laid, part, tile)
    found = measure_image(window, network, seen, own, normalization=normalization)
    measured = {
        layer: _scaled(tiling.share(layer, own[layer].shape), means)
        for layer, means in found.items()
    }
    return _Means(measured, tiling.roughness(laid, part, tile))


def _own_weights(
    tile: Tile, network: Network, layers: Collection[str], tiling: Tiling
) -> dict[str, Float[Array, "_ _"]]:
    shapes = network.layer_shapes(tiling.window, layers)
    return {layer: tiling.own(layer, tile, shapes[layer]) for layer in shapes}


def _scaled(factor: float, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: factor * leaf, tree)


@functools.partial(jax.jit, static_argnames=("normalization",))
def _lose(
    means: _Means,
    targets: Targets,
    weights: LossWeights,
    scale: Scalar,
    factor: Scalar | None,
    *,
    normalization: str,
) -> tuple[Scalar, LossTerms, _Means]:
    """Return the loss, its terms, and its gradient with respect to the means.

    The gradient is multiplied by the `factor`, the loss is not.
    """

    def loss_fn(means: _Means) -> tuple[Scalar, LossTerms]:
        total, terms = total_loss(
            means.measured,
            PixelTerms(means.tv, None),
            targets,
            weights,
            normalization=normalization,
        )
        return (scale if factor is None else factor * scale) * total, terms

    (loss, terms), to_means = jax.value_and_grad(loss_fn, has_aux=True)(means)
    return loss if factor is None else loss / factor, terms, to_means


def _add_gradient(
    gradient: AnyImage,
    tile: Tile,
    laid: AnyImage,
    network: Network,
    targets: Targets,
    to_means: _Means,
    *,
    tiling: Tiling,
    normalization: str,
) -> AnyImage:
    def means_fn(part: AnyImage) -> _Means:
        return _means_of_part(part, tile, laid, network, targets, tiling, normalization)

    _, pull = jax.vjp(means_fn, tiling.cut(laid, tile))
    (part,) = pull(to_means)
    return tiling.add(gradient, part, tile)


_GRADIENT = _TileSum(_add_gradient, ("tiling", "normalization"))


@jax.jit
def _is_finite(loss: Scalar, gradient: Image) -> Flag:
    return jnp.isfinite(loss) & jnp.all(jnp.isfinite(gradient))


@functools.partial(jax.jit, static_argnames=("optimizer",), donate_argnames=("state",))
def _move(
    state: TransferState,
    loss: Scalar,
    gradient: Image,
    learning_rate: Scalar,
    averaging: Scalar | None,
    *,
    optimizer: Any,
) -> TransferState:
    # Without a choice between the old and the new state, which would take both.
    moved, _ = move(
        state,
        loss,
        gradient,
        learning_rate,
        averaging,
        optimizer=optimizer,
        value_fn=_refuse_to_measure,
    )
    return moved


def _refuse_to_measure(image: Image) -> Scalar:
    raise ValueError(
        "`optimizer` has a line search, which measures whole pictures, so it does not "
        "go with `memory` 'tiles'; use 'lbfgs' or 'adam', or another `memory`."
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
    tiling: Tiling,
    tile_size: int,
    heed_fn: HeedFn = lambda part: False,
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
        tiling: tiles of the content picture.
        tile_size: longest side of a tile of the style pictures, in pixels.
        heed_fn: function that is called with the fraction that is done of the content
            picture; if it returns True, `StepDropped` is raised.
    """
    # Only the image wraps around, the style pictures do not.
    for_styles = network.changed(padding="reflect") if any(network.wraps) else network
    guides = None if guides is None else dict(guides)
    mesh = tile_mesh(network)
    content, styles = _put((content, styles), mesh)
    descriptions = []
    for picture in styles:
        height, width, _ = picture.shape
        own = make_tiling(for_styles, (height, width), {*style_layers}, tile_size)
        seen = picture, window_network(for_styles)
        static = {
            "tiling": own,
            "style_layers": style_layers,
            "style_losses": style_losses,
        }
        shapes = jax.eval_shape(
            functools.partial(_describe, **static), own.tiles[0], *seen
        )
        description = _DESCRIPTIONS.over(shapes, *seen, mesh=mesh, **static)
        descriptions.append(description)
    laid = _lay(content, tiling)
    windows = window_network(network)
    style = _combine(descriptions, blend)
    bare = Targets({}, {}, style, {}, guides, jnp.ones(1))
    seen = laid, windows, bare
    shapes = (
        _shapes_of_means(*seen, tiling).measured,
        _shapes_of_maps(laid, windows, content_layers, tiling),
    )
    means, maps = _CONTENT.over(
        shapes, *seen, tiling=tiling, mesh=mesh, heed_fn=heed_fn
    )
    content_scale, style_scale = _scales(
        maps, means, style, guides, normalization=normalization
    )
    return Targets(
        content=maps,
        content_scale=content_scale,
        style=style,
        style_scale=style_scale,
        guides=guides,
        shares=jnp.ones(1) if shares is None else shares,
    )


def _describe(
    tile: Tile,
    laid: AnyImage,
    network: Network,
    *,
    tiling: Tiling,
    style_layers: tuple[str, ...],
    style_losses: tuple[str, ...],
) -> dict[str, dict[str, Any]]:
    """Return what a tile adds to {style layer: {style loss: description}}."""
    maps = network(tiling.extend(laid, tiling.cut(laid, tile), tile), style_layers)
    own = _own_weights(tile, network, style_layers, tiling)
    share = {layer: tiling.share(layer, own[layer].shape) for layer in style_layers}
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
    return described


_DESCRIPTIONS = _TileSum(_plus(_describe), ("tiling", "style_layers", "style_losses"))


def _mean_square(features: FeatureMap) -> Scalar:
    return jnp.mean(jnp.square(features.astype(jnp.float32)))


def _shapes_of_maps(
    laid: Any, network: Network, layers: tuple[str, ...], tiling: Tiling
) -> Any:
    """Return the shapes of the whole picture's feature maps."""
    window = jax.ShapeDtypeStruct((*tiling.window, 3), laid.dtype)
    shapes = jax.eval_shape(lambda window: network(window, layers), window)
    return {
        layer: x.update(shape=(*tiling.shape_of(layer), x.shape[2]))
        for layer, x in shapes.items()
    }


def _add_content(
    total: tuple[Measured, Features],
    tile: Tile,
    laid: AnyImage,
    network: Network,
    targets: Targets,
    *,
    tiling: Tiling,
) -> tuple[Measured, Features]:
    """Return what the network sees of the content picture, and its feature maps."""
    means, maps = total
    # XLA sees that both take the same features, and computes them once.
    added = _means(tile, laid, network, targets, tiling=tiling).measured
    found = network(tiling.extend(laid, tiling.cut(laid, tile), tile), [*maps])
    return jax.tree.map(jnp.add, means, added), {
        layer: tiling.put_map(layer, maps[layer], found[layer], tile) for layer in maps
    }


_CONTENT = _TileSum(_add_content, ("tiling",))
_combine = jax.jit(combine_descriptions)


@functools.partial(jax.jit, static_argnames=("normalization",))
def _scales(
    maps: Features,
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
        sizes,
        means,
        style,
        guides,
        normalization=normalization,
    )
