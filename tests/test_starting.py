"""The picture that painting starts from, against what its colors should be."""

from typing import Any

import numpy as np
import pytest

import jaxnst
from jaxnst.coloring import smooth_recoloring, take_palette
from jaxnst.config import make_config
from jaxnst.images import load_picture
from jaxnst.transfer.inputs import first_image, load_inputs
from jaxnst.transfer.plan import blend_of


def start(content, style, **settings):
    """Return the picture to start from."""
    sources = {
        name: settings.pop(name) for name in ("masks", "strength") if name in settings
    }
    strength = sources.get("strength")
    is_map = isinstance(strength, np.ndarray)
    config = make_config(
        "default", size=64, strength="map" if is_map else strength, **settings
    )
    inputs = load_inputs(
        content,
        style,
        None,
        config,
        load_picture,
        masks=sources.get("masks"),
        strength=strength if is_map else None,
    )
    assert config.init == "recolored"
    pictures = inputs.content_at(inputs.shape), tuple(x.rgb for x in inputs.styles)
    blend = blend_of(config, len(inputs.styles), inputs.regions)
    return first_image(inputs, config, *pictures, blend)


@pytest.fixture
def photo(rng):
    """A picture of many colors, all of them well inside their range."""
    mixed = rng.random((64, 64, 3)) @ np.array(
        [[0.2, 0.1, 0.0], [0.0, 0.15, 0.1], [0.05, 0.0, 0.1]]
    )
    return (0.3 + mixed).astype(np.float32)


def painting(rng, color):
    """Return a picture of colors near to one."""
    colors = np.array(color) + 0.1 * rng.standard_normal((64, 64, 3))
    return np.clip(colors, 0, 1).astype(np.float32)


@pytest.fixture
def red(rng):
    return painting(rng, (0.7, 0.2, 0.2))


@pytest.fixture
def blue(rng):
    return painting(rng, (0.2, 0.3, 0.7))


def recolored(content, style):
    return smooth_recoloring(content, content, take_palette(content, style))


def test_the_start_has_the_painting_s_colors(photo, red):
    found = start(photo, red)
    np.testing.assert_allclose(found.mean((0, 1)), red.mean((0, 1)), atol=0.02)
    np.testing.assert_allclose(found.std((0, 1)), red.std((0, 1)), atol=0.05)
    # And nothing else of it: near colors of the photograph are near in the start.
    np.testing.assert_allclose(found, recolored(photo, red), atol=1e-5)


def test_a_strength_goes_as_far(photo, red):
    for strength in (0.25, 1.0):
        found = start(photo, red, strength=strength)
        expected = photo + strength**2 * (recolored(photo, red) - photo)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_weights_of_less_style_go_less_far(photo, red):
    """The photograph stays with no style at all; more than usual goes no further."""
    whole = recolored(photo, red)
    for weights, part in (
        ({"style_weight": 0.25}, 0.5),
        ({"content_weight": 4 * 0.18}, 0.5),
        ({"style_weight": 9.0}, 1.0),
        ({"content_weight": 0.0}, 1.0),
        ({"style_weight": 1e-12}, 0.0),
    ):
        expected = photo + part * (whole - photo)
        np.testing.assert_allclose(start(photo, red, **weights), expected, atol=1e-4)


def test_several_paintings_mix_as_they_are_blended(photo, red, blue):
    ends = [recolored(photo, each) for each in (red, blue)]
    found = start(photo, [red, blue], style_blend=[1, 3])
    np.testing.assert_allclose(found, 0.25 * ends[0] + 0.75 * ends[1], atol=1e-5)
    np.testing.assert_allclose(
        start(photo, [red, blue], style_blend=[0, 1]), ends[1], atol=1e-5
    )


def test_each_region_has_its_own_colors(photo, red, blue):
    left = np.zeros((64, 64), np.float32)
    left[:, :32] = 1
    found = start(photo, [red, blue], masks=[left, "rest"])
    for side, style in ((found[:, :32], red), (found[:, 32:], blue)):
        np.testing.assert_allclose(side.mean((0, 1)), style.mean((0, 1)), atol=0.02)
    # Where no region is the photograph stays.
    found = start(photo, red, masks=[left])
    np.testing.assert_allclose(found[:, 32:], photo[:, 32:], atol=1e-5)


def test_a_map_of_strengths_goes_as_far_at_every_place(photo, red):
    strength = np.full((64, 64), 0.8, np.float32)
    strength[:, :32] = 0.3
    found = start(photo, red, strength=strength)
    for side, part in ((slice(0, 32), 0.3), (slice(32, 64), 0.8)):
        own = photo[:, side]
        expected = own + part**2 * (recolored(own, red) - own)
        np.testing.assert_allclose(found[:, side], expected, atol=5e-3)


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_flat_and_gray_pictures_start_too(level, rng, red):
    flat = np.full((64, 64, 3), level, np.float32)
    found = start(flat, red)
    assert np.ptp(found, axis=(0, 1)).max() < 1e-3
    np.testing.assert_allclose(found[0, 0], red.mean((0, 1)), atol=0.1)
    gray = np.repeat(rng.random((64, 64, 1), np.float32), 3, axis=2)
    np.testing.assert_allclose(
        start(gray, red).mean((0, 1)), red.mean((0, 1)), atol=0.02
    )
    np.testing.assert_allclose(start(red, flat), level, atol=0.06)


def test_the_painting_s_own_colors_stay(photo):
    np.testing.assert_allclose(start(photo, photo), photo, atol=0.01)
    # With the content's colors kept, the painting has them already.
    near = start(photo, 0.5 * photo + 0.2, color="match")
    np.testing.assert_allclose(near, photo, atol=0.01)


def test_drafts_start_so_and_grow_in_the_same_colors(tiny_network, photo, red):
    """Steps too small to change anything show what is there without them."""
    few = {"num_steps": 1, "coarse_steps": 1, "learning_rate": 1e-6}
    settings = few | {"size": 64, "network": tiny_network, "progress": False}
    wanted = recolored(photo, red)
    at_once = jaxnst.stylize(photo, red, preset="draft", min_size=0, **settings)
    np.testing.assert_allclose(at_once.image, wanted, atol=1e-5)
    assert at_once.record["settings"]["init"] == "recolored"
    grown = jaxnst.stylize(photo, red, preset="draft", min_size=32, **settings)
    assert len(grown.record["result"]["sizes"]) == 2
    # Noise is all detail, and detail is what was added.
    assert np.abs(grown.image - wanted).mean() < 0.1 * np.abs(photo - wanted).mean()


@pytest.mark.parametrize(("enlarged", "part"), [(1, 1.0), (2**0.5, 0.5), (2, 0.0)])
def test_no_detail_finer_than_an_enlarged_file(
    tiny_network, photo, red, enlarged, part
):
    few = {
        "num_steps": 1,
        "coarse_steps": 1,
        "learning_rate": 1e-6,
        "min_size": 32,
        "init": "content",
    }
    settings = few | {"size": 64, "network": tiny_network, "progress": False}

    def grown(factor, **given):
        size = round(64 * factor)
        return jaxnst.stylize(photo, red, style_size=size, **given, **settings).image

    least, most = grown(1, content_detail=0), grown(1)
    assert np.abs(most - least).mean() > 0.02
    expected = least + part * (most - least)
    assert np.abs(grown(enlarged) - expected).mean() < 0.001


def test_large_pictures_are_known_by_some_of_their_pixels(rng, photo, red):
    large = np.clip(np.tile(photo, (5, 5, 1)), 0, 1)
    large += 0.01 * rng.random(large.shape, np.float32)
    config = make_config("draft", size=320)
    inputs = load_inputs(large, red, None, config, load_picture)
    blend = blend_of(config, 1, None)
    found = first_image(inputs, config, large, (red,), blend)
    np.testing.assert_allclose(found, recolored(large, red), atol=0.02)


def test_a_texture_has_no_photograph(tiny_vgg19, red):
    few: dict[str, Any] = {
        "size": 48,
        "num_steps": 1,
        "min_size": 0,
        "progress": False,
    }
    settings = jaxnst.texture(red, preset="draft", **few).record["settings"]
    assert settings.get("init", "content") == "content"
    # Nor one that would hold large shapes.
    assert settings["style_layers"] == dict.fromkeys(make_config().style_layers, 1)
    assert settings["style_loss"] == {"wasserstein": 1}
    given = jaxnst.texture(red, style_loss="gram", style_layers=["relu1_1"], **few)
    assert given.record["settings"]["style_loss"] == {"gram": 1}
    assert given.record["settings"]["style_layers"] == {"relu1_1": 1}
    paper = jaxnst.texture(red, preset="gatys2016", **few).record["settings"]
    assert paper.get("style_loss", {"gram": 1}) == {"gram": 1}
