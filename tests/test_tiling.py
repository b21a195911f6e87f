"""Pictures that repeat without a seam, and textures."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_tiny, picture

import jaxnst
from jaxnst.cli.main import main
from jaxnst.config import make_config
from jaxnst.images import resize
from jaxnst.images.tiling import (
    Fade,
    line_scores,
    make_tileable,
    move,
    place_border,
    plan_fade,
)
from jaxnst.insight.ablations import smaller
from jaxnst.insight.inputs import load_painted_picture
from jaxnst.losses import total_variation_loss
from jaxnst.metrics import seam_score
from jaxnst.transfer.inputs import result_shape
from jaxnst.transfer.result import settings_of


FEW: dict[str, Any] = {"size": 48, "min_size": 0, "num_steps": 12, "progress": False}
SHORT: dict[str, Any] = {
    "content_layers": ["relu2_2"],
    "style_layers": ["relu1_1", "relu3_1"],
}


def score(image, axis):
    return float(seam_score(jnp.asarray(image), axis))


def waves(height, width):
    """A picture that repeats."""
    y = np.arange(height)[:, None, None] * 2 * np.pi / height
    x = np.arange(width)[:, None] * 2 * np.pi / width
    phase = np.arange(3)
    return (0.5 + 0.2 * np.sin(3 * x + phase) + 0.2 * np.sin(2 * y + phase)).astype(
        "f4"
    )


def test_a_cut_shows_and_a_wave_does_not():
    image = waves(64, 80)
    for axis in (0, 1):
        assert score(image, axis) == pytest.approx(1, abs=0.35)
    assert score(image[:, :-30], 1) > 3
    assert score(image[:-17], 0) > 3
    # A line inside is what the border is of the picture rolled there.
    rolled = np.roll(image[:, :-30], -21, 1)
    scores = line_scores(jnp.asarray(image[:, :-30]), 1)
    assert float(scores[21]) == pytest.approx(score(rolled, 1), rel=1e-4)
    # The border is the step over it alone: noise has the same everywhere.
    noise = np.random.default_rng(0).random((64, 64, 3), np.float32)
    assert score(noise, 0) == pytest.approx(1, abs=0.2)


def test_borders_are_faded_only_where_they_do_not_fit():
    image = waves(64, 80)
    assert plan_fade(image, "xy") == Fade()
    cut = image[:, :-30]
    fade = plan_fade(cut, "xy")
    assert fade.down == 0
    assert 3 / 32 < fade.across <= 5 / 32 + 0.01
    assert plan_fade(cut, "y") == plan_fade(cut, None) == Fade()
    shared = round(50 * fade.across)
    found = make_tileable(cut, fade)
    assert found.shape == (64, 50 - shared, 3)
    assert score(cut, 1) > 3 > 1.2 > score(found, 1)
    np.testing.assert_array_equal(found[:, shared:], cut[:, shared : 50 - shared])
    np.testing.assert_array_equal(make_tileable(cut, Fade()), cut)


def test_a_step_that_nobody_sees_needs_no_fade():
    """As over the white border of a photo of a thing, of 254 here and of 255 there."""
    image = np.ones((64, 64, 3), np.float32)
    image[20:40, 20:40] = waves(20, 20)
    image[:, 0] = 254 / 255
    assert plan_fade(image, "x") == Fade()
    image[:, 0] = 0.95
    assert plan_fade(image, "x").across > 0


def test_the_border_is_laid_beside_an_outline_not_on_it():
    """The middle of where it may lie is an outline of the photograph."""
    image = waves(96, 128)[:, :-28]
    image[:, 88:] += 0.25  # after 7/8
    fade = plan_fade(image, "x")
    found = make_tileable(image, fade)
    assert found.shape[1] != 88
    assert score(found, 1) < 1.2
    assert score(make_tileable(image, Fade(across=1 / 8)), 1) > 2


def test_what_repeats_is_resized_over_its_border(rng):
    """Rolled and resized is resized and rolled."""
    image = rng.random((48, 64, 3), np.float32)
    for shape in ((24, 32), (72, 96)):
        shift = (shape[0] // 4, shape[1] // 8)
        rolled = np.roll(image, (12, 8), (0, 1))
        one, other = (resize(x, shape, wraps=(True, True)) for x in (image, rolled))
        np.testing.assert_allclose(np.roll(one, shift, (0, 1)), other, atol=2e-6)
        plain = resize(rolled, shape)
        assert np.abs(plain - other).max() > 0.05
        # Inside it is the same.
        inner = slice(6, -6)
        np.testing.assert_allclose(plain[inner, inner], other[inner, inner], atol=2e-6)
        across = resize(image, shape, wraps=(False, True))
        np.testing.assert_allclose(across[inner], one[inner], atol=2e-6)
        np.testing.assert_allclose(
            across[:, inner], resize(image, shape)[:, inner], atol=2e-6
        )


def test_the_border_is_laid_where_a_line_is_ordinary(rng):
    """The nearest one, and nowhere if it is ordinary already."""
    image = np.float32(0.3) + np.float32(0.4) * rng.random((64, 96, 3), np.float32)
    image[3:] += 0.3  # a line unlike others is at the border of the rolled one
    odd = np.roll(image, -3, 0)
    assert score(odd, 0) > 1.5
    down, across = place_border(odd, (True, False))
    assert 0 < abs(down) <= 8
    assert across == 0
    moved = move(odd, (down, across), (64, 96))
    np.testing.assert_array_equal(moved, np.roll(odd, down, 0))
    assert score(moved, 0) == pytest.approx(1, abs=0.05)
    assert (
        place_border(moved, (True, False)) == (0, 0) or abs(score(moved, 0) - 1) > 0.02
    )
    assert place_border(odd, (False, False)) == (0, 0)


def test_what_belongs_to_a_picture_is_moved_with_it(tiny_vgg19, tmp_path):
    """A report of the file sees the same content as one of the result."""
    content, style = picture(60, 72, seed=1), picture(36, 50, seed=2)
    opaque = np.concatenate([content, 0.5 + content[..., :1] / 2], axis=-1)
    settings: dict[str, Any] = FEW | SHORT | {"size": 64, "num_steps": 2, "strength": 0}
    result = jaxnst.stylize(opaque, style, tile=True, **settings)
    moved = result.record["result"].get("moved", [0, 0])
    assert any(moved), "the pictures of this test have to be others"
    assert result.job is not None
    inputs = result.job.inputs
    # At strength 0 the picture is the content, and its red tells its opacity here.
    found = inputs.content_at(inputs.shape)
    assert np.abs(found - result.image).mean() < 0.02
    assert result.alpha is not None
    np.testing.assert_allclose(result.alpha, 0.5 + result.image[..., 0] / 2, atol=0.01)
    for axis, scores in enumerate(map(score, [result.image] * 2, (0, 1))):
        assert scores == pytest.approx(1, abs=0.05), axis
    del settings["strength"]
    painted = jaxnst.stylize(content, style, tile=True, **settings)
    assert any(painted.record["result"]["moved"])
    path = painted.save(tmp_path / "tile.png")
    pictures = [
        load_painted_picture(painted, max_size=64, progress=False),
        load_painted_picture(path, content, style, max_size=64, progress=False),
    ]
    np.testing.assert_array_equal(pictures[0].content, pictures[1].content)
    # What is painted anew for it is not moved once more.
    assert smaller(pictures[0], 48, 2).inputs.faded == (False, False)


def test_a_pattern_that_repeats_already_stays_where_it_is(tiny_vgg19, style):
    """There may be other maps of it, of heights or of gloss."""
    result = jaxnst.stylize(waves(48, 64), style, tile=True, **FEW | SHORT)
    assert "moved" not in result.record["result"]
    assert result.job is not None
    assert result.job.inputs.faded == (False, False)


def test_what_belongs_to_a_picture_is_faded_with_it(tiny_network):
    """Opacity and masks of the photograph's own shape stay where they were in it."""
    cut = waves(64, 80)[:, :-30]
    opaque = np.concatenate([cut, cut[..., :1]], axis=-1)
    mask = cut[..., 0]
    settings = {"min_size": 0, "num_steps": 1, "size": 64, "progress": False}
    result = jaxnst.stylize(
        opaque,
        [cut, cut[::-1].copy()],
        network=tiny_network.changed(padding="circular"),
        masks=[mask, "rest"],
        tile=True,
        **settings | SHORT,
    )
    assert result.alpha is not None
    assert result.job is not None
    regions = result.job.inputs.regions
    assert regions is not None
    assert result.alpha.shape == result.image.shape[:2]
    # The gray of the mask, so of all channels alike, is that of the opacity.
    np.testing.assert_allclose(regions.maps[0], result.alpha, atol=0.02)
    steps = [np.abs(np.diff(regions.maps[0], axis=1)).max(), 0.0]
    steps[1] = float(np.abs(regions.maps[0][:, 0] - regions.maps[0][:, -1]).max())
    assert steps[1] < 2 * steps[0]


def test_total_variation_goes_over_the_border_that_is_none():
    ramp = jnp.broadcast_to(jnp.linspace(0, 1, 8)[None, :, None], (4, 8, 3))
    inside = (1 / 7) ** 2
    total_variation = jax.jit(total_variation_loss, static_argnames="wraps")
    np.testing.assert_allclose(total_variation(ramp), inside, rtol=1e-5)
    around = total_variation(ramp, wraps=(False, True))
    np.testing.assert_allclose(around, (7 * inside + 1) / 8, rtol=1e-5)


@pytest.mark.parametrize(
    ("tile", "shape"),
    [("xy", (48, 64)), ("x", (50, 64)), ("y", (48, 61)), (None, (50, 61))],
)
def test_sides_that_repeat_are_multiples_of_16(tile, shape):
    assert result_shape((500, 610), 61, tile=tile) == shape


@pytest.mark.parametrize("tile", [True, "x"])
def test_a_tile_painted_somewhere_else_in_the_pattern_is_the_same(tile):
    """So there is no border: what is at the edge is painted as what is inside."""
    content, style = waves(48, 64), picture(36, 50, seed=2)
    ways = "xy" if tile is True else tile
    shift = (16 if "y" in ways else 0), (32 if "x" in ways else 0)
    padding = {"xy": "circular", "x": "circular_x", "y": "circular_y"}[ways]
    network = load_tiny(padding=padding, conv="xla")
    settings: dict[str, Any] = (
        FEW | SHORT | {"network": network, "tile": tile, "size": 64}
    )
    settings |= {"num_steps": 4, "tv_weight": 0.1}
    one = jaxnst.stylize(content, style, **settings).image
    rolled = np.roll(content, shift, (0, 1))
    other = jaxnst.stylize(rolled, style, **settings).image
    assert np.abs(one - jaxnst.images.resize(content, one.shape[:2])).max() > 0.05
    np.testing.assert_allclose(np.roll(one, shift, (0, 1)), other, atol=2e-2)
    if tile is True:
        return
    # And with a border it is not.
    plain = settings | {"tile": None, "network": load_tiny(conv="xla")}
    one, other = (jaxnst.stylize(x, style, **plain).image for x in (content, rolled))
    assert np.abs(np.roll(one, shift, (0, 1)) - other).max() > 5e-2


def test_a_tile_is_painted_from_a_content_that_is_none(tiny_vgg19, content, style):
    """Over two sizes; the record says how, and gives it back."""
    settings: dict[str, Any] = (
        FEW | SHORT | {"size": 64, "min_size": 32, "coarse_steps": 12}
    )
    tiled = jaxnst.stylize(content, style, tile=True, **settings)
    assert tiled.image.shape[0] % 16 == tiled.image.shape[1] % 16 == 0
    for axis in (0, 1):
        assert score(tiled.image, axis) < 2 < score(content, axis)
    assert tiled.record["settings"]["padding"] == "circular"
    again = settings_of(tiled.record)
    assert again["tile"] == "xy"
    assert make_config(**again).tile == "xy"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile": "z"}, "`tile` is 'z'"),
        ({"tile": True, "padding": "zeros"}, "`tile` 'xy' needs `padding` 'circular'"),
        ({"tile": True, "finish": "vignette"}, "`finish` vignette would show"),
    ],
)
def test_bad_tiles_are_told(tiny_vgg19, content, style, settings, message):
    with pytest.raises(ValueError, match=message):
        jaxnst.stylize(content, style, progress=False, **settings)


@pytest.mark.parametrize(
    ("size", "tile", "shape"),
    [((100, 50), "x", (50, 96)), ((50, 100), "x", (100, 48)), (100, False, (100, 100))],
)
def test_a_texture_has_its_size_where_it_need_not_repeat(
    tiny_vgg19, style, size, tile, shape
):
    few = {"num_steps": 1, "coarse_steps": 1, "progress": False}
    assert jaxnst.texture(style, size=size, tile=tile, **few).image.shape[:2] == shape


def test_a_texture_has_the_style_and_repeats(tiny_vgg19, style):
    settings: dict[str, Any] = {
        "min_size": 0,
        "num_steps": 30,
        "progress": False,
        "style_layers": ["relu1_1", "relu2_1"],
    }
    made = jaxnst.texture(style, size=(64, 44), **settings)
    assert made.image.shape == (48, 64, 3)
    assert made.alpha is None
    assert made.history["style"][-1] < 0.5 * made.history["style"][0]
    for axis in (0, 1):
        assert score(made.image, axis) == pytest.approx(1, abs=0.05)
    assert list(made.record["inputs"]) == ["style"]
    assert made.record["kind"] == "texture"
    same = jaxnst.texture(style, size=(64, 44), **settings)
    np.testing.assert_array_equal(made.image, same.image)
    other = jaxnst.texture(style, size=(64, 44), seed=1, tile=False, **settings)
    assert other.image.shape == (44, 64, 3)
    assert np.abs(other.image.mean((0, 1)) - style.mean((0, 1))).max() < 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"content_weight": 1}, "no content picture; leave `content_weight` out"),
        ({"strength": 0.5}, "leave `strength` out"),
        ({"size": 8}, "`size` must be at least 32, got 8"),
        ({"size": (64, 64, 64)}, r"`size` must be a number or \(width, height\)"),
        ({"size": (32, 640)}, "no side may be more than 10 times"),
        ({"style_blend": [1, 2]}, "`style_blend` has 2 numbers for 1 style"),
        ({"tile": "diagonal"}, "`tile` is 'diagonal'"),
    ],
)
def test_bad_textures_are_told(tiny_vgg19, style, settings, message, as_installed):
    with pytest.raises(ValueError, match=message):
        jaxnst.texture(style, progress=False, **settings)


def test_the_command(files, tmp_path, tiny_vgg19, capsys):
    output = tmp_path / "tile.png"
    few = ["--num-steps", "2", "--min-size", "0", "--style-layers", "relu1_1"]
    arguments = ["texture", str(files[1]), "-o", str(output), *few]
    assert main([*arguments, "--size", "64x48"]) == 0
    assert "(64 x 48, 2 steps" in capsys.readouterr().out
    assert jaxnst.load_picture(output).rgb.shape == (48, 64, 3)
    paint = ["stylize", *map(str, files), "-o", str(tmp_path / "x.png")]
    assert main([*paint, "--like", str(output)]) == 2
    assert "it is a texture" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--size", "large"])
    assert "'large' is neither 512 nor 768x512" in capsys.readouterr().err
