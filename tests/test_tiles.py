"""A picture in tiles must be painted as the whole picture is, up to rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import build, picture

from jaxnst.networks import CAFFE, VGGArchitecture
from jaxnst.networks.tiles import make_tiling, window_network
from jaxnst.objective import compute_targets, make_loss_weights
from jaxnst.optimize.batching import StepProgram
from jaxnst.optimize.tiles import TiledStep, compute_tiled_targets


SMALL = VGGArchitecture(name="small", depths=(2, 1, 1, 1, 1), widths=(4, 4, 8, 8, 8))
LOSSES = ("gram", "moments", "wasserstein", "nearest_neighbor")
compiled_targets = jax.jit(
    compute_targets, static_argnames=("content_layers", "style_layers", "style_losses")
)


class Painting:
    """One picture, its targets and weights, as a whole and in tiles."""

    def __init__(self, network, shape, *, tile_size=32, regions=0, losses=LOSSES):
        architecture = network.architecture
        layers = {
            "content_layers": tuple(architecture.content_layers),
            "style_layers": tuple(architecture.style_layers),
        }
        self.image, content, *styles = (
            jnp.asarray(picture(*size, seed=seed))
            for seed, size in enumerate([shape, shape, (90, 70), (40, 40)])
        )
        guides = shares = None
        blend = jnp.full((max(1, regions), len(layers["style_layers"]), 2), 0.5)
        if regions:
            generator = np.random.default_rng(0)
            shapes = network.layer_shapes(shape, layers["style_layers"])
            guides = {
                layer: jnp.asarray(generator.random((regions, *own), np.float32))
                for layer, own in shapes.items()
            }
            shares = jnp.full(regions, 1 / regions)
        pictures = content, styles, blend, guides, shares
        options = {**layers, "style_losses": losses}
        self.whole_targets = compiled_targets(network, *pictures, **options)
        self.tiled_targets = compute_tiled_targets(
            network, *pictures, normalization="pair", tile_size=tile_size, **options
        )
        self.weights = make_loss_weights(
            content=0.5,
            style=1.0,
            tv=0.1,
            content_layers=dict.fromkeys(layers["content_layers"], 1.0),
            style_layers=dict.fromkeys(layers["style_layers"], 1.0),
            style_losses=dict.fromkeys(losses, 1.0),
        )
        self.tiling = make_tiling(
            network,
            shape,
            {*layers["content_layers"], *layers["style_layers"]},
            tile_size,
        )
        optimizer = optax.with_extra_args_support(optax.scale_by_adam())
        self.whole = StepProgram(network, optimizer)
        self.tiled = TiledStep(window_network(network), optimizer, tiling=self.tiling)

    def both(self):
        """Return (loss, terms, gradient) of the whole, and of the tiles."""
        found = (
            self.whole.evaluate(self.image, self.whole_targets, self.weights),
            self.tiled.evaluate(self.image, self.tiled_targets, self.weights),
        )
        return jax.tree.map(np.asarray, found)


def difference(found, expected):
    """Return the relative difference of two arrays, in the Euclidean norm."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(
    "padding", ["reflect", "replicate", "zeros", "circular", "circular_x"]
)
def test_tiles_have_the_gradient_of_the_whole(padding):
    network = build(SMALL, preprocessing=CAFFE, padding=padding)
    shape = (192, 128) if padding.startswith("circular") else (171, 150)
    painting = Painting(network, shape, regions=2 if padding == "reflect" else 0)
    assert len(painting.tiling.tiles) >= 4
    (loss, terms, gradient), (tiled_loss, tiled_terms, tiled_gradient) = painting.both()
    np.testing.assert_allclose(tiled_loss, loss, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), tiled_terms, terms
    )
    assert difference(tiled_gradient, gradient) < 1e-5
