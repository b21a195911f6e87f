"""Fine and coarse: the tilt of layers, the scale of a style, blends by layers."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnst
from jaxnst.objective import compute_targets
from jaxnst.transfer.plan import blend_of, style_shapes_at, tilt, weights_of
from jaxnst.transfer.setup import settle_config


FEW: dict[str, Any] = {"size": 48, "min_size": 0, "num_steps": 20, "progress": False}
FIVE = {f"relu{block}_1": 1.0 for block in range(1, 6)}


def test_detail_weighs_fine_against_coarse():
    found = tilt(FIVE, 1.0)
    np.testing.assert_allclose(list(found.values()), [4, 2, 1, 0.5, 0.25])
    assert tilt(FIVE, 0.0) == FIVE
    mirrored = tilt(FIVE, -1.0)
    np.testing.assert_allclose(list(mirrored.values()), [0.25, 0.5, 1, 2, 4])
    assert tilt({"relu1_1": 2.0}, 1.0) == {"relu1_1": 2.0}


def test_layers_are_tilted_in_the_network_s_order():
    config = settle_config(style_layers=["relu5_1", "relu1_1"], detail=1)
    weights = weights_of(config).style_layers
    np.testing.assert_allclose(weights["relu1_1"] / weights["relu5_1"], 16, rtol=1e-5)


def test_detail_reaches_fine_layers_first(tiny_network, content, style):
    """What a detail of 1 gains at the finest layer, one of -1 gains at the coarsest."""
    gaps = {}
    for detail in (-1, 1):
        result = jaxnst.stylize(
            content, style, detail=detail, network=tiny_network, **FEW
        )
        gaps[detail] = {
            layer: result.history[f"style/{layer}"][-1]
            for layer in ("relu1_1", "relu5_1")
        }
    assert gaps[1]["relu1_1"] < gaps[-1]["relu1_1"]
    assert gaps[1]["relu5_1"] > gaps[-1]["relu5_1"]


def test_a_scale_is_a_factor_on_how_large_the_style_is_looked_at():
    full = (384, 512)

    def longest(file=(1000, 800), **settings):
        config = settle_config(size=512, **settings)
        return max(style_shapes_at(config, [file], full, full)[0])

    assert longest() == 512
    assert longest(style_scale=0.5) == 256
    assert longest(style_scale=2) == 1024
    # A small file is enlarged by the root of the factor, and further if that is asked
    # for; without content, as for a texture, it keeps its own scale.
    assert longest((128, 100)) == 256
    assert longest((128, 100), style_scale=4) == 1024
    assert longest((128, 100), content_weight=0) == 128
    assert longest((128, 100), style_size=100) == 100


def test_blends_go_from_fine_to_coarse():
    config = settle_config(style_blend=[[1, 0], [0, 1]])
    found = blend_of(config, 2)
    assert found.shape == (1, 5, 2)
    np.testing.assert_allclose(found[0, :, 0], [1, 0.75, 0.5, 0.25, 0], atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)
    # Rows are parts of 1 each, whatever they add up to.
    config = settle_config(style_blend=[[2, 2], [0, 5], [9, 0]])
    np.testing.assert_allclose(
        blend_of(config, 2)[0, :, 0], [0.5, 0.25, 0, 0.5, 1], atol=1e-6
    )


def test_fine_of_one_style_and_coarse_of_another(tiny_network, content, style, rng):
    other = rng.random((40, 64, 3)).astype(np.float32)
    measure = functools.partial(
        jax.jit(compute_targets, static_argnames=("content_layers", "style_layers")),
        tiny_network,
        content_layers=("relu2_2",),
        style_layers=("relu1_1", "relu3_1"),
    )
    pictures = jnp.asarray(content), (jnp.asarray(style), jnp.asarray(other))
    blend = jnp.asarray([[[1, 0], [0, 1]]], jnp.float32)
    mixed = measure(*pictures, blend).style
    alone = [measure(pictures[0], each).style for each in pictures[1]]
    for layer, own in (("relu1_1", alone[0]), ("relu3_1", alone[1])):
        np.testing.assert_allclose(
            mixed[layer]["gram"][0], own[layer]["gram"][0], rtol=1e-5
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detail": 1.5}, "`detail` must be between -1 and 1, got 1.5"),
        ({"detail": "fine"}, "`detail` must be a number"),
        ({"style_scale": 0}, "`style_scale` must be finite and greater than 0"),
        ({"style_scale": 2, "style_size": 300}, "give one of them"),
        ({"style_blend": [[1, 0], [1]]}, "`style_blend` has rows of different length"),
        ({"style_blend": [[1, 0], [0, 0]]}, r"`style_blend\[1\]` needs a number"),
        ({"style_blend": [[1], [2]]}, "`style_blend` has 1 numbers in a row for 2"),
    ],
)
def test_bad_settings_are_told(
    tiny_network, content, style, settings, message, as_installed
):
    with pytest.raises((ValueError, TypeError), match=message):
        jaxnst.stylize(content, [style, style], network=tiny_network, **settings)
