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
optimizer's state and the content's feature maps are whole. Where tiles are computed on
accelerators, these stay in the host's memory, and a device gets one window of them
after the other; the network's activations, which take far more memory, are those of
one window. The loop over the tiles is Python, as XLA computes convolutions in a loop
slowly on the CPU. Several devices compute as many tiles at once.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jax.tree_util import Partial
from jaxtyping import Array, Float

from jaxnst._types import AnyImage, FeatureMap, Features, Flag, Image, Scalar
from jaxnst.losses.registry import STYLE_LOSSES
from jaxnst.networks import Network, measure_features
from jaxnst.networks.devices import default_device
from jaxnst.networks.remat import Part, compute_maps
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

from .batching import HeedFn, StepDropped, StepProgram
from .programs import Held, Program
from .stepping import StepInfo, TransferState, gradient_factor, loss_scale, move


class Places(NamedTuple):
    """Where a picture in tiles is held, and where its tiles are computed.

    Attributes:
        home: device that holds the whole picture; None for JAX's default.
        devices: devices that compute tiles; (None,) for JAX's default.
    """

    home: Any = None
    devices: tuple[Any, ...] = (None,)

    @property
    def are_apart(self) -> bool:
        """Whether the whole picture is in other memory than its tiles."""
        return self.home is not None and self.home.platform != self.devices[0].platform


_HERE = Places()


def tile_places(network: Network) -> Places:
    """Return where a picture in tiles is held and computed.

    Its tiles are computed by all devices that the network shards its pictures over.
    Accelerators get windows only, as the host's memory is larger.
    """
    first, spread = default_device(), network.spread
    if spread is None and first.platform == "cpu":
        return _HERE
    devices = (first,) if spread is None else tuple(spread.mesh.devices.flat)
    try:
        home = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was told to do without the host
        home = devices[0]
    return Places(home, devices)


class _Seen(NamedTuple):
    """A picture and its maps: all of them, or what the window of a tile shows.

    Attributes:
        image: picture, as it is laid out.
        content: feature maps of the content picture.
        guides: {style layer: weight of every pixel in each region}; None for one
            region, the whole picture.
    """

    image: AnyImage
    content: Features
    guides: Mapping[str, Float[Array, "regions _ _"]] | None = None


@functools.partial(jax.jit, static_argnames=("tiling",))
def _cut(whole: _Seen, tile: Tile, *, tiling: Tiling) -> _Seen:
    """Return what the window of a tile shows."""
    content = {
        layer: tiling.cut_map(layer, x, tile) for layer, x in whole.content.items()
    }
    guides = whole.guides and {
        layer: jnp.stack([tiling.cut_map(layer, x, tile) for x in regions])
        for layer, regions in whole.guides.items()
    }
    return _Seen(tiling.cut(whole.image, tile), content, guides)


def _over_tiles(
    function: Callable[..., Any],
    whole: _Seen,
    rest: Any,
    places: Places,
    heed_fn: HeedFn = lambda part: False,
    *,
    tiling: Tiling,
    **static: Any,
) -> Iterator[tuple[Tile, Any]]:
    """Yield each tile, and what is computed from its window, at home.

    Args:
        function: jitted (window, tile, network, *rest, *, tiling, **static) -> a tree.
        whole: picture and its maps, at home.
        rest: network on each device, and further arguments.
        places: result of `tile_places`.
        heed_fn: see `StepProgram.call`.
        tiling: tiles of the picture.
        static: further static arguments.
    """
    networks, *others = rest
    rests = [
        (network, *jax.device_put(others, device))
        for network, device in zip(networks, places.devices, strict=True)
    ]
    count = len(places.devices)
    for start in range(0, len(tiling.tiles), count):
        tiles = tiling.tiles[start : start + count]
        made = []
        for tile, device, own in zip(tiles, places.devices, rests, strict=False):
            window = jax.device_put(_cut(whole, tile, tiling=tiling), device)
            made.append(function(window, tile, *own, tiling=tiling, **static))
        _wait(made, (start + len(tiles)) / len(tiling.tiles), heed_fn)
        yield from zip(tiles, jax.device_put(made, places.home), strict=True)


def _wait(arrays: Any, part: float, heed_fn: HeedFn) -> None:
    """Wait for tiles, so that no others take memory beside them."""
    jax.block_until_ready(arrays)
    if heed_fn(part):
        raise StepDropped


def _sum(found: Iterator[tuple[Tile, Any]]) -> Any:
    """Return the sum of what was computed from all tiles."""
    return functools.reduce(_plus, (made for _, made in found))


@functools.partial(jax.jit, donate_argnums=0)
def _plus(total: Any, more: Any) -> Any:
    return jax.tree.map(jnp.add, total, more)


@dataclasses.dataclass(eq=False)
class TiledStep(StepProgram):
    """The step of one picture, in tiles; its network is that of `window_network`.

    Attributes:
        tiling: tiles of the picture.
        places: result of `tile_places`.
    """

    tiling: Any = None
    places: Places = _HERE

    def __post_init__(self):
        super().__post_init__()
        self._networks = _on_each(self.network, self.places)

    def init(self, image: Image | np.ndarray) -> TransferState:  # noqa: D102
        return super().init(jax.device_put(image, self.places.home))

    def call(  # noqa: D102
        self,
        state: TransferState,
        targets: Targets,
        weights: Sequence[LossWeights],
        rates: Any,
        heed_fn: HeedFn = lambda part: False,
    ) -> tuple[TransferState, StepInfo]:
        state = jax.device_put(state, self.places.home)
        found = self._differentiate(state.image, targets, weights[0], heed_fn)
        loss, terms, gradient = found
        is_finite = _is_finite(loss, gradient)
        if is_finite:
            state = self._moving(state, loss, gradient, rates).run()
        return state, StepInfo(terms, is_finite)

    def evaluate(  # noqa: D102
        self, image: Any, targets: Targets, weights: LossWeights
    ) -> tuple[Scalar, LossTerms, Image]:
        return self._differentiate(image, targets, weights)

    def measure(  # noqa: D102
        self, images: Sequence[Any], targets: Targets, weights: Sequence[LossWeights]
    ) -> np.ndarray:
        means = self._measure(self._lay(images[0], targets), targets)
        _, terms, _ = self._losing(means, targets, weights[0]).run()
        return np.asarray(terms.total)[None]

    def stack_targets(self, targets: Sequence[Targets]) -> Targets:  # noqa: D102
        return jax.device_put(targets[0], self.places.home)

    def programs(
        self, state: Any, targets: Any, weights: LossWeights
    ) -> tuple[Program, ...]:
        """Return the programs of a step, from the shapes of state and targets.

        The first takes the most memory and time. If the whole picture is in the host's
        memory, the programs of the host are left out.
        """
        home, (first, *_) = self.places
        state, targets = _shapes_on(home, (state, targets))
        laid = _shapes_on(home, jax.eval_shape(self.tiling.lay, state.image))
        whole = _Seen(laid, targets.content, targets.guides)
        tile = self.tiling.tiles[0]
        window = _cut.eval_shape(whole, tile, tiling=self.tiling)
        window, common = _shapes_on(first, (window, _common(targets)))
        args = (window, tile, self._networks[0], common)
        means = Program(_compiled_means, args, self._static)
        found = _shapes_on(home, means.shapes())
        losing = self._losing(found, targets, weights)
        loss, _, to_means = losing.shapes()
        args = (*args, _shapes_on(first, to_means))
        gradient = Program(_compiled_gradient, args, self._static)
        if self.places.are_apart:
            return gradient, means
        # The gradient is as large as what it is taken of, which is the state's picture
        # itself unless that wraps around.
        pictures = (laid, laid) if any(self.tiling.wraps) else laid
        beside = state, targets.content, targets.guides, pictures
        loss, image = _shapes_on(home, (loss, state.image))
        moving = self._moving(state, loss, image, [[0.0]])
        return (
            gradient._replace(beside=beside),
            means._replace(beside=beside),
            losing,
            moving._replace(beside=targets.content),
        )

    @property
    def _static(self) -> dict[str, Any]:
        return {"tiling": self.tiling, "normalization": self.normalization}

    def _lay(self, image: Any, targets: Targets) -> _Seen:
        laid = _lay(jax.device_put(image, self.places.home), self.tiling)
        return _Seen(laid, targets.content, targets.guides)

    def _measure(
        self, whole: _Seen, targets: Targets, heed_fn: HeedFn = lambda part: False
    ) -> "_Means":
        rest = self._networks, _common(targets)
        return _sum(
            _over_tiles(
                _compiled_means, whole, rest, self.places, heed_fn, **self._static
            )
        )

    def _differentiate(
        self,
        image: Any,
        targets: Targets,
        weights: LossWeights,
        heed_fn: HeedFn = lambda part: False,
    ) -> tuple[Scalar, LossTerms, Image]:
        """Return the loss, its terms, and its gradient."""
        first = 1 / 3  # a gradient takes twice the time
        whole = self._lay(image, targets)
        means = self._measure(whole, targets, lambda part: heed_fn(first * part))
        loss, terms, to_means = self._losing(means, targets, weights).run()
        gradient = jnp.zeros_like(whole.image)
        for tile, part in _over_tiles(
            _compiled_gradient,
            whole,
            (self._networks, _common(targets), to_means),
            self.places,
            lambda part: heed_fn(first + (1 - first) * part),
            **self._static,
        ):
            gradient = _add(gradient, part, tile, tiling=self.tiling)
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


def _on_each(network: Any, places: Places) -> list[Held]:
    """Return the network on each device that computes tiles."""
    return [Held(jax.device_put(network, device)) for device in places.devices]


def _shapes_on(device: Any, shapes: Any) -> Any:
    """Return the shapes of arrays on a device; None for JAX's default."""
    if device is None:
        return shapes
    placement = SingleDeviceSharding(device)
    return jax.tree.map(lambda leaf: leaf.update(sharding=placement), shapes)


def _common(targets: Targets) -> Targets:
    """Return what all tiles are compared with, of all targets."""
    return targets._replace(content={}, content_scale={}, style_scale={}, guides=None)


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


# What the loss is made of, as far as means over pixels are concerned.
_Means = tuple[Measured, PixelTerms]


def _means(
    window: _Seen,
    tile: Tile,
    network: Network,
    targets: Targets,
    *,
    tiling: Tiling,
    normalization: str = "pair",
) -> _Means:
    """Return what a tile adds to the means of the picture."""
    layers = *window.content, *targets.style
    own = {layer: tiling.own(layer, tile) for layer in layers}
    seen = targets._replace(content=window.content, guides=window.guides)
    image = tiling.extend(window.image, tile)
    found = measure_image(image, network, seen, own, normalization=normalization)
    measured = {
        layer: _scaled(tiling.share(layer), means) for layer, means in found.items()
    }
    return measured, PixelTerms(tiling.roughness(window.image, tile), None)


_STATIC = ("tiling", "normalization")
_compiled_means = jax.jit(_means, static_argnames=_STATIC)


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
        total, terms = total_loss(*means, targets, weights, normalization=normalization)
        return (scale if factor is None else factor * scale) * total, terms

    (loss, terms), to_means = jax.value_and_grad(loss_fn, has_aux=True)(means)
    return loss if factor is None else loss / factor, terms, to_means


@functools.partial(jax.jit, static_argnames=_STATIC)
def _compiled_gradient(
    window: _Seen,
    tile: Tile,
    network: Network,
    targets: Targets,
    to_means: _Means,
    *,
    tiling: Tiling,
    normalization: str,
) -> AnyImage:
    """Return what a tile adds to the gradient, within its window."""

    def means_fn(image: AnyImage) -> _Means:
        return _means(
            window._replace(image=image),
            tile,
            network,
            targets,
            tiling=tiling,
            normalization=normalization,
        )

    _, pull = jax.vjp(means_fn, window.image)
    (part,) = pull(to_means)
    return part


@functools.partial(jax.jit, static_argnames=("tiling",), donate_argnums=0)
def _add(gradient: AnyImage, part: AnyImage, tile: Tile, *, tiling: Tiling) -> AnyImage:
    return tiling.add(gradient, part, tile)


@jax.jit
def _is_finite(loss: Scalar, gradient: Image) -> Flag:
    return jnp.isfinite(loss) & jnp.all(jnp.isfinite(gradient))


@functools.partial(jax.jit, static_argnames=("optimizer",), donate_argnums=0)
def _move(*args: Any, optimizer: Any) -> TransferState:
    # Without a choice between the old and the new state, which would take both.
    return move(*args, optimizer=optimizer, value_fn=_refuse_to_measure)[0]


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

    All arrays are at the home of `tile_places`.

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
    places = tile_places(network)
    networks = _on_each(window_network(for_styles), places)
    descriptions = []
    for picture in styles:
        height, width, _ = picture.shape
        found = _over_tiles(
            _compiled_description,
            _Seen(picture, {}),
            (networks,),
            places,
            tiling=make_tiling(for_styles, (height, width), {*style_layers}, tile_size),
            style_layers=style_layers,
            style_losses=style_losses,
        )
        descriptions.append(_sum(found))
    style = _combine(descriptions, blend)
    networks = _on_each(window_network(network), places)
    whole = _Seen(_lay(content, tiling), {}, guides)
    common = Targets({}, {}, style, {}, None, jnp.ones(1))
    means, maps = None, {}
    for tile, (more, parts) in _over_tiles(
        _compiled_content,
        whole,
        (networks, common),
        places,
        heed_fn,
        tiling=tiling,
        layers=content_layers,
    ):
        means = more if means is None else _plus(means, more)
        maps = maps or {
            layer: jnp.zeros_like(x, shape=(*tiling.shape_of(layer), x.shape[2]))
            for layer, x in parts.items()
        }
        maps = _put_maps(maps, parts, tile, tiling=tiling)
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


@functools.partial(jax.jit, static_argnames=("tiling", "style_layers", "style_losses"))
def _compiled_description(
    window: _Seen,
    tile: Tile,
    network: Network,
    *,
    tiling: Tiling,
    style_layers: tuple[str, ...],
    style_losses: tuple[str, ...],
) -> dict[str, dict[str, Any]]:
    """Return what a tile adds to {style layer: {style loss: description}}."""
    image = tiling.extend(window.image, tile)
    # Descriptions are the statistics of all pixels, or the features at some.
    places = {name: STYLE_LOSSES[name].places_fn for name in style_losses}
    measures = {
        layer: {
            name: Partial(_STATISTICS[name], tiling.own(layer, tile))
            for name, places_fn in places.items()
            if places_fn is None
        }
        for layer in style_layers
    }
    found = measure_features(network, image, measures)
    described = {layer: _scaled(tiling.share(layer), found[layer]) for layer in found}
    for name, places_fn in places.items():
        if places_fn is not None:
            for layer, x in network(image, style_layers).items():
                picked = places_fn(tiling.num_features(layer))
                described[layer][name] = tiling.pick(layer, x, picked, tile)
    return described


def _statistics(
    name: str, own: Float[Array, "_ _"], features: FeatureMap, rows: Part
) -> Any:
    return STYLE_LOSSES[name].statistics_fn(features, own[rows], None)


# Made once, as `Partial`s compare whatever is no array by identity.
_STATISTICS = {name: functools.partial(_statistics, name) for name in STYLE_LOSSES}


@functools.partial(jax.jit, static_argnames=("tiling", "layers"))
def _compiled_content(
    window: _Seen,
    tile: Tile,
    network: Network,
    targets: Targets,
    *,
    tiling: Tiling,
    layers: tuple[str, ...],
) -> tuple[Measured, Features]:
    """Return what a tile adds to the means of the content picture, and its features."""
    measured, _ = _means(window, tile, network, targets, tiling=tiling)
    image = tiling.extend(window.image, tile)
    return measured, compute_maps(network, image, layers)


@functools.partial(jax.jit, static_argnames=("tiling",), donate_argnums=0)
def _put_maps(
    maps: Features, parts: Features, tile: Tile, *, tiling: Tiling
) -> Features:
    return {
        layer: tiling.put_map(layer, x, parts[layer], tile) for layer, x in maps.items()
    }


_combine = jax.jit(combine_descriptions)


_scales = jax.jit(find_scales, static_argnames=("normalization",))
