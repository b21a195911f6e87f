"""Colors kept and colors taken, against what is known of them."""

import numpy as np
import pytest

import jaxnst
from jaxnst.coloring import (
    keep_luminance,
    match_colors,
    match_histogram,
    smooth_recoloring,
    take_palette,
)
from jaxnst.config import COLORS


LUMA = np.array([0.299, 0.587, 0.114])


@pytest.fixture
def painted(rng):
    """Colors well inside their range, so that none is clipped."""
    return (0.3 + 0.4 * rng.random((40, 48, 3))).astype(np.float32)


@pytest.fixture
def photo(rng):
    mixed = rng.random((40, 48, 3)) @ np.array(
        [[0.2, 0.1, 0.0], [0.0, 0.15, 0.1], [0.05, 0.0, 0.1]]
    )
    return (0.3 + mixed).astype(np.float32)


def moments(image):
    pixels = image.reshape(-1, 3).astype(np.float64)
    return pixels.mean(0), np.cov(pixels.T, bias=True)


@pytest.mark.parametrize("matching", ["symmetric", "pca", "cholesky"])
def test_moments_become_the_other_s(painted, photo, matching):
    moved = match_colors(painted, photo, matching=matching)
    for found, wanted in zip(moments(moved), moments(photo), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_colors_move_as_little_as_they_can(painted, photo):
    """Of the three maps; and none that are right already."""
    moves = {
        matching: np.square(match_colors(painted, photo, matching=matching) - painted)
        for matching in ("symmetric", "pca", "cholesky")
    }
    assert min(moves, key=lambda name: moves[name].mean()) == "symmetric"
    same = match_colors(painted, painted)
    np.testing.assert_allclose(same, painted, atol=1e-4)
    with pytest.raises(ValueError, match=r"`matching` is 'pcb'\. Did you mean 'pca'"):
        match_colors(painted, photo, matching="pcb")


def test_luminance_and_color_come_apart(painted, photo):
    mixed = keep_luminance(painted, photo)
    np.testing.assert_allclose(mixed @ LUMA, painted @ LUMA, atol=1e-5)
    # In the direction of the photograph's color, and all of it where there is room.
    chroma = photo - (photo @ LUMA)[..., None]
    found = mixed - (mixed @ LUMA)[..., None]
    part = (found * chroma).sum(-1) / np.square(chroma).sum(-1)
    np.testing.assert_allclose(found, part[..., None] * chroma, atol=1e-5)
    assert part.max() <= 1 + 1e-5
    assert np.mean(part > 0.999) > 0.9
    same = keep_luminance(photo, photo)
    np.testing.assert_allclose(same, photo, atol=1e-6)


def test_a_channel_as_light_as_the_whole_keeps_its_color():
    """Its color difference is 0, of either sign."""
    content = np.full((1, 1, 3), 0.5, np.float32)
    content[..., 0] += 0.1
    content[..., 2] -= 0.1 * LUMA[0] / LUMA[2]
    for shift in (0, 1e-8, -1e-8):
        gray = np.full_like(content, 0.5 + shift)
        assert np.abs(keep_luminance(gray, content) - content).max() < 1e-3


def test_colors_without_room_become_pale_and_keep_their_lightness():
    white = np.ones((2, 2, 3), np.float32)
    red = np.zeros((2, 2, 3), np.float32)
    red[..., 0] = 1
    np.testing.assert_allclose(keep_luminance(white, red), white, atol=1e-6)
    np.testing.assert_allclose(keep_luminance(0 * white, red), 0, atol=1e-6)
    gray = keep_luminance(red, white)
    np.testing.assert_allclose(gray, np.full((2, 2, 3), 0.299), atol=1e-6)


def test_histograms_become_the_other_s(painted, photo):
    """Along the main axes of its colors, so that no color comes from nowhere."""
    moved = match_histogram(painted, photo)
    _, axes = np.linalg.eigh(moments(photo)[1])
    for axis in axes.T:
        found, wanted = (np.sort((x @ axis).ravel()) for x in (moved, photo))
        np.testing.assert_allclose(found, wanted, atol=0.02)
    # Gray stays gray, whatever the histograms of its channels.
    grays = [
        np.repeat(x[..., :1] ** power, 3, -1) for x, power in ((painted, 1), (photo, 3))
    ]
    made = match_histogram(*grays)
    np.testing.assert_allclose(made, made[..., :1].repeat(3, -1), atol=0.02)


def test_a_palette_is_taken_as_a_whole(rng, painted):
    """Two colors that no channel alone tells apart: red with green, or blue alone."""
    centers = np.array([[0.8, 0.7, 0.1], [0.1, 0.2, 0.9]])
    two = np.where(rng.random((30, 30, 1)) < 0.5, *centers)
    two = (two + 0.02 * rng.standard_normal((30, 30, 3))).clip(0, 1).astype(np.float32)
    moved = take_palette(painted, two).reshape(-1, 3)
    away = np.linalg.norm(moved[:, None] - centers, axis=-1).min(1)
    assert np.quantile(away, 0.8) < 0.15
    nearest = np.linalg.norm(moved[:, None] - centers, axis=-1).argmin(1)
    assert 0.4 < nearest.mean() < 0.6


def test_recoloring_is_smooth_but_not_over_edges(rng):
    """A dark, noisy side whose noise a map has made loud, and an edge."""
    before = np.full((64, 64, 3), 0.05, np.float32)
    before[:, 32:] = 0.8
    before += 0.004 * rng.standard_normal(before.shape, np.float32)
    after = 1 - 0.9 * before
    after[:, :32] += 20 * (before[:, :32] - 0.05)
    found = smooth_recoloring(before, before, after)
    assert found[:, 4:24].std() < 0.2 * after[:, 4:24].std()
    np.testing.assert_allclose(found[:, :28].mean(), after[:, :28].mean(), atol=0.02)
    step = found[:, 33].mean() - found[:, 30].mean()
    assert step == pytest.approx(after[:, 33].mean() - after[:, 30].mean(), rel=0.15)


def test_recoloring_is_the_same_for_a_color_wherever_it_is(rng):
    """Nearly black, with a map that makes of it what its surroundings are."""
    before = np.full((48, 48, 3), 0.01, np.float32)
    before[:, 16:32] = [0.7, 0.3, 0.2]
    before += 0.002 * rng.random(before.shape, np.float32)
    after = before.copy()
    after[:, :16] += [0.3, 0, 0]
    after[:, 32:] += [0, 0.3, 0]
    found = smooth_recoloring(before, before, after)
    dark = np.concatenate([found[:, :16], found[:, 32:]], axis=1)
    wanted = np.broadcast_to([0.161, 0.161, 0.011], dark.shape)
    np.testing.assert_allclose(dark, wanted, atol=0.02)
    np.testing.assert_allclose(found[:, 16:32], before[:, 16:32], atol=0.01)


def test_recoloring_is_for_other_pictures_too(rng):
    before = (0.2 + 0.1 * rng.random((300, 1, 3))).astype(np.float32)
    image = np.array([[[0.25] * 3, [0.9] * 3]], np.float32)
    found = smooth_recoloring(image, before, before / 2)
    np.testing.assert_allclose(found[0, 0], 0.125, atol=0.01)
    # Nothing is known of what becomes of such a color.
    np.testing.assert_allclose(found[0, 1], 0.9, atol=1e-6)


def test_flat_and_gray_pictures_have_colors_too(painted):
    flat = np.full((40, 48, 3), 0.25, np.float32)
    for function in (match_colors, match_histogram, take_palette):
        for image, target in ((flat, painted), (painted, flat), (flat, flat)):
            made = function(image, target)
            assert np.isfinite(made).all()
            mean = moments(target)[0]
            np.testing.assert_allclose(moments(made)[0], mean, atol=0.02)


@pytest.mark.parametrize("color", COLORS)
def test_every_setting_paints(tiny_network, content, style, color):
    settings = {"size": 48, "min_size": 0, "num_steps": 4, "progress": False}
    result = jaxnst.stylize(
        content, style, color=color, network=tiny_network, **settings
    )
    plain = jaxnst.stylize(content, style, network=tiny_network, **settings)
    difference = np.abs(result.image - plain.image).mean()
    assert (difference == 0) == (color == "style")
    assert result.record["settings"]["color"] == color
    assert (result.record["result"]["steps"] == 0) == (color == "palette-only")
    if color in ("content", "luminance"):
        np.testing.assert_allclose(
            keep_luminance(result.image, content), result.image, atol=1e-3
        )
    if color == "palette-only":
        mean = moments(style)[0]
        np.testing.assert_allclose(moments(result.image)[0], mean, atol=0.03)


def test_a_palette_alone_is_blended_as_styles_are(tiny_network, content, style):
    other = np.full((40, 40, 3), (0.9, 0.1, 0.2), np.float32)

    def paint(styles, **settings):
        settings |= {"size": 48, "network": tiny_network, "progress": False}
        return jaxnst.stylize(content, styles, color="palette-only", **settings).image

    alone = paint(style)
    one_of_two = paint([style, other], style_blend=[1, 0])
    assert np.abs(one_of_two - alone).mean() < 0.02
    half = np.zeros(content.shape[:2], np.float32)
    half[:, : content.shape[1] // 2] = 1
    split = paint([style, other], masks=[half, "rest"])
    np.testing.assert_allclose(split[:, -8:].mean((0, 1)), other[0, 0], atol=0.05)
    assert np.abs(split[:, :16] - alone[:, :16]).mean() < 0.1


def test_a_palette_alone_goes_as_far_as_its_mask(tiny_network, content, style):
    settings = {"size": 48, "network": tiny_network, "progress": False}

    def change(**given):
        painted = jaxnst.stylize(
            content, style, color="palette-only", **settings, **given
        )
        return np.abs(painted.image - content).mean()

    half = np.full(content.shape[:2], 0.5, np.float32)
    assert change(masks=[half]) == pytest.approx(0.5 * change(), rel=0.1)


@pytest.mark.parametrize("color", ["match", "histogram"])
def test_a_gray_photograph_stays_gray(tiny_network, content, style, color):
    gray = content.mean(-1, keepdims=True).repeat(3, -1)
    settings = {"size": 48, "num_steps": 4, "min_size": 0, "progress": False}
    result = jaxnst.stylize(gray, style, color=color, network=tiny_network, **settings)
    assert np.ptp(result.image, axis=-1).max() < 1e-3


def test_noise_of_a_scan_becomes_no_colors(rng, painted):
    gray = rng.random((40, 48, 1), np.float32).repeat(3, -1) * 0.5 + 0.25
    noisy = gray + rng.uniform(-1, 1, gray.shape).astype(np.float32) / 255
    for function in (match_colors, match_histogram):
        clean, found = (function(image, painted) for image in (gray, noisy))
        assert np.abs(found - clean).mean() < 0.01


def test_unknown_colors_are_told(content, style):
    with pytest.raises(ValueError, match="`color` is 'colour'"):
        jaxnst.stylize(content, style, color="colour")
