"""Regions: a style for each, strengths that differ from place to place."""

import concurrent.futures
import io
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY, build
from PIL import Image

import jaxnst
from jaxnst.cli.main import main
from jaxnst.networks import CAFFE
from jaxnst.objective import compute_targets, make_loss_weights, perceptual_loss
from jaxnst.transfer.regions import (
    find_levels,
    guides_at,
    load_guiding,
    make_regions,
    split_strengths,
)
from jaxnst.transfer.result import settings_of


FEW: dict[str, Any] = {"size": 48, "min_size": 0, "num_steps": 25, "progress": False}
# Layers that see little, so that small pictures have more than one region.
NEAR: dict[str, Any] = {
    "content_layers": ["relu2_2"],
    "style_layers": ["relu1_1", "relu2_1"],
}


@pytest.fixture(scope="module")
def tiny_network():
    """Random like that of other tests, but it sees bright and dark in every layer."""
    return build(TINY, seed=2, preprocessing=CAFFE, padding="replicate")


@pytest.fixture
def dark(rng):
    return (0.2 * rng.random((40, 64, 3))).astype(np.float32)


@pytest.fixture
def bright(rng):
    return (0.8 + 0.2 * rng.random((40, 64, 3))).astype(np.float32)


@pytest.fixture
def left():
    """A mask of the left half of the content picture, 40 x 48."""
    mask = np.zeros((40, 48), np.float32)
    mask[:, :24] = 1
    return mask


def test_each_region_gets_its_style(tiny_network, content, dark, bright, left):
    settings: dict[str, Any] = (
        FEW | NEAR | {"network": tiny_network, "content_weight": 0.05}
    )
    settings["num_steps"] = 60
    result = jaxnst.stylize(content, [dark, bright], masks=[left, "rest"], **settings)
    means = result.image[:, :20].mean(), result.image[:, 28:].mean()
    assert means[0] < 0.35
    assert means[1] > 0.6
    assert list(result.record["inputs"]) == ["content", "style 1", "style 2", "mask 1"]
    assert result.record["result"]["regions"] == 2


def test_where_no_mask_is_the_content_stays(tiny_network, content, bright, left):
    settings: dict[str, Any] = FEW | NEAR | {"network": tiny_network}
    result = jaxnst.stylize(content, bright, masks=[left], **settings)
    full = jaxnst.images.resize(content, result.image.shape[:2])
    change = np.abs(result.image - full).mean((0, 2))
    assert change[:20].mean() > 0.02
    assert change[28:].max() < 1e-6  # beyond a soft edge


def test_a_region_of_everything_is_no_region(tiny_network, content, style):
    settings: dict[str, Any] = FEW | NEAR | {"network": tiny_network, "num_steps": 4}
    plain = jaxnst.stylize(content, style, **settings)
    whole = jaxnst.stylize(content, style, masks=[np.ones((40, 48), bool)], **settings)
    np.testing.assert_allclose(whole.image, plain.image, atol=2e-3)


def test_the_pull_on_a_pixel_is_that_without_regions(tiny_network, content, style):
    """Two regions of one style, statistics alike: the loss is that of the whole."""
    image, style = jnp.asarray(np.tile(content, (1, 2, 1))), jnp.asarray(style)
    layers: dict[str, Any] = {
        "content_layers": {"relu2_2": 1.0},
        "style_layers": {"relu1_1": 1.0},
    }
    names: dict[str, Any] = {key: list(value) for key, value in layers.items()}
    weights = make_loss_weights(content=0, style=1, tv=0, **layers)
    whole = compute_targets(tiny_network, image, style, **names)
    guides = np.zeros((2, *image.shape[:2]), np.float32)
    guides[0, :, :48] = guides[1, :, 48:] = 1
    parts = compute_targets(
        tiny_network,
        image,
        style,
        jnp.ones((2, 1, 1)),
        {"relu1_1": jnp.asarray(guides)},
        jnp.asarray([0.5, 0.5]),
        **names,
    )
    shown = 0.7 * image
    expected = perceptual_loss(shown, tiny_network, whole, weights)[0]
    found, terms = perceptual_loss(shown, tiny_network, parts, weights)
    assert float(found) == pytest.approx(float(expected), rel=0.03)
    assert terms.style_regions.shape == (2,)


def test_guides_keep_off_the_border_of_their_region(tiny_network, left):
    regions = make_regions([left, 1 - left])
    np.testing.assert_allclose(regions.shares, 0.5)
    found = guides_at(regions, tiny_network, (80, 96), ["relu1_1", "relu3_1"])
    first, second = found["relu1_1"]
    assert first.shape == (80, 96)
    assert first[:, :44].min() == pytest.approx(1, abs=0.05)
    assert first[:, 47:].max() == pytest.approx(0, abs=0.05)
    assert second[:, :49].max() == pytest.approx(0, abs=0.05)
    assert 0 <= min(first.min(), second.min()) <= max(first.max(), second.max()) <= 1
    assert found["relu3_1"].shape == (2, 20, 24)
    # So little of a small region would be left that it keeps more.
    small = np.zeros((40, 48), np.float32)
    small[18:22, 20:24] = 1
    kept = guides_at(make_regions([small]), tiny_network, (40, 48), ["relu3_1"])
    assert kept["relu3_1"].sum() > 0.3


@pytest.mark.parametrize("masks", [["alpha", "rest"]])
def test_the_content_s_alpha_is_a_mask(
    tiny_network, content, dark, bright, left, masks
):
    cut_out = np.dstack([content, left])
    styles = [dark, bright][: len(masks)]
    settings: dict[str, Any] = FEW | NEAR | {"network": tiny_network, "num_steps": 4}
    found = jaxnst.stylize(cut_out, styles, masks=masks, **settings)
    given = [left, 1 - left][: len(masks)]
    expected = jaxnst.stylize(cut_out, styles, masks=given, **settings)
    np.testing.assert_allclose(found.image, expected.image, atol=1e-4)


def test_a_map_of_strengths_is_a_few_of_them():
    ramp = np.tile(np.linspace(0, 1, 101, dtype=np.float32), (8, 1))
    levels = find_levels(ramp)
    parts = split_strengths(ramp, levels)
    assert len(levels) == len(parts) <= 4
    # Where a pixel asks for as much as the least, levels make up what it asks for.
    asked = np.tensordot(levels, parts, 1)
    inside = (ramp >= levels[0]) & (ramp <= levels[-1])
    np.testing.assert_allclose(asked[inside], ramp[inside], atol=1e-3)
    np.testing.assert_allclose(parts.sum(0)[inside], 1, atol=1e-5)
    assert parts[:, :, 0].max() == 0  # none is asked for there
    two = np.where(ramp > 0.5, np.float32(0.8), np.float32(0.3))
    assert find_levels(two) == (0.3, 0.8)
    parts = split_strengths(two, (0.3, 0.8))
    np.testing.assert_allclose(parts[1], two > 0.5, atol=1e-2)
    two[:, 50] = 0.6  # a soft edge is no strength of its own
    assert find_levels(two) == (0.3, 0.8)


def guiding(content, masks, strength=None, shape=(40, 48)):
    """Return the regions of masks or of a map."""
    regions, _ = load_guiding(
        masks,
        strength,
        content=jaxnst.load_picture(content),
        num_styles=1,
        fit_fn=lambda values: jaxnst.images.resize(values, shape, is_mask=True),
        picture_fn=jaxnst.load_picture,
    )
    return regions


def test_a_map_of_one_strength_stays_one_at_every_size(content, left):
    for shape in ((32, 38), (40, 48), (70, 84)):
        regions = guiding(content, None, (204 * left).astype(np.uint8), shape)
        assert regions.strengths == (0.8,)
        assert regions.shares == pytest.approx([0.5], abs=0.01)
        assert 0 <= regions.maps.min() <= regions.maps.max() <= 1


def colored(mask, outside, inside):
    """Return a mask of two colors."""
    where = mask[..., None] > 0
    return np.where(where, inside, outside).astype(np.uint8)


MASKS = {
    "labels": (lambda mask: mask.astype(np.uint8), "values 0 and 1 of 255; 1 is"),
    "16-bit labels": (
        lambda mask: 1 + mask.astype(np.uint16),
        "values 0.00389 and 0.00778 of 255",
    ),
    "black on transparency": (
        lambda mask: colored(mask, (0, 0, 0, 0), (0, 0, 0, 255)),
        "one color on transparency; its opacity",
    ),
    "red on black": (lambda mask: colored(mask, (0, 0, 0), (255, 0, 0)), "two colors"),
    "white on blue": (
        lambda mask: colored(mask, (0, 0, 255), (255, 255, 255)),
        "two colors; the brighter",
    ),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_other_tools_are_understood_and_told(content, left, kind):
    make, told = MASKS[kind]
    with pytest.warns(UserWarning, match=f"`masks`: mask 1 .*(?:{told})"):
        found = guiding(content, [make(left)])
    np.testing.assert_allclose(found.maps[0], left, atol=1e-6)


def test_masks_that_need_no_word(content, left, recwarn):
    soft = np.clip(np.cumsum(left, 1) / 24, 0, 0.5)
    white = colored(left, (0, 0, 0, 0), (255, 255, 255, 255))
    for mask in (255 * left.astype(np.uint8), white, left, 0.5 * left, soft):
        guiding(content, [mask])
    assert not recwarn.list


def test_masks_that_may_mean_anything_are_told(content, left):
    classes = (left + np.arange(40)[:, None] // 20).astype(np.uint8)
    with pytest.raises(ValueError, match="3 values from 0 to 2 of 255, which look"):
        guiding(content, [classes])
    with pytest.raises(ValueError, match="has 2 colors, and which of them is inside"):
        guiding(content, [colored(left, (0, 0, 255), (255, 0, 0))])
    with pytest.warns(UserWarning, match="mask 1 is a picture in color; its bright"):
        found = guiding(content, [colored(left, (0, 0, 255), (0, 0, 255))])
    np.testing.assert_allclose(found.maps[0], 1 / 3, atol=1e-6)
    few = np.zeros((40, 48), np.uint8)
    few[0, :3] = 255
    with pytest.warns(UserWarning, match=r"mask 1 covers only 0\.16% of the picture"):
        guiding(content, [few])


def test_strengths_differ_from_place_to_place(tiny_network, content, bright, left):
    settings: dict[str, Any] = FEW | NEAR | {"network": tiny_network, "num_steps": 60}
    wanted = 0.2 + 0.6 * left
    result = jaxnst.stylize(content, bright, strength=wanted, **settings)
    found = result.record["result"]["strength"]
    assert found["asked"] == pytest.approx([0.2, 0.8], abs=0.01)
    assert found["reached"] == pytest.approx([0.2, 0.8], abs=0.05)
    assert found["shares"] == pytest.approx([0.5, 0.5])
    full = jaxnst.images.resize(content, result.image.shape[:2])
    change = np.abs(result.image - full).mean((0, 2))
    assert change[:20].mean() > 2 * change[28:].mean()
    assert result.record["settings"]["strength"] == "map"


def test_a_strength_holds_in_every_region(tiny_network, content, dark, bright, left):
    settings: dict[str, Any] = FEW | NEAR | {"network": tiny_network, "num_steps": 60}
    result = jaxnst.stylize(
        content, [dark, bright], masks=[left, 1 - left], strength=0.5, **settings
    )
    found = result.record["result"]["strength"]
    assert found["reached"] == pytest.approx([0.5, 0.5], abs=0.05)


def test_regions_at_every_level_of_memory(tiny_network, content, dark, bright, left):
    settings: dict[str, Any] = FEW | NEAR | {"network": tiny_network, "num_steps": 3}
    masks: dict[str, Any] = {"masks": [left, "rest"]}
    images = [
        jaxnst.stylize(
            content, [dark, bright], memory=memory, **masks, **settings
        ).image
        for memory in ("fast", "low")
    ]
    np.testing.assert_allclose(images[0], images[1], atol=2e-3)


def test_sweeps_have_masks(tiny_network, content, dark, bright, left):
    settings: dict[str, Any] = FEW | NEAR | {"network": tiny_network, "num_steps": 3}
    found = jaxnst.sweep(
        content,
        [dark, bright],
        masks=[left, "rest"],
        style_weight=[0.5, 2],
        batch_size=2,
        **settings,
    )
    assert not found.errors
    assert len(found.rows) == 2
    alone = jaxnst.stylize(
        content, [dark, bright], masks=[left, "rest"], style_weight=2, **settings
    )
    image = found.results[found.find(style_weight=2)[0].index].image
    np.testing.assert_allclose(image, alone.image, atol=2e-2)


def test_executors_get_masks(tiny_vgg19, files, tmp_path, dark, bright, left):
    """As files, which are there where the worker is."""
    mask = tmp_path / "mask.png"
    Image.fromarray((255 * left).astype(np.uint8)).save(mask)
    settings: dict[str, Any] = FEW | NEAR | {"num_steps": 2}
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        found = jaxnst.sweep(
            files[0],
            [dark, bright],
            masks=[mask, "rest"],
            style_weight=[1, 2],
            executor=executor,
            **settings,
        )
    assert not found.errors
    alone = jaxnst.stylize(
        files[0], [dark, bright], masks=[mask, "rest"], style_weight=2, **settings
    )
    np.testing.assert_allclose(found.results[1].image, alone.image, atol=1e-5)
    assert found.results[1].record["inputs"]["mask 1"]["name"] == "mask.png"


def bad(mask=None, **settings):
    return settings | ({} if mask is None else {"masks": [mask]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            bad(np.ones((40, 40))),
            "mask 1 is 40 x 40 px and the content picture 48 x 40",
        ),
        (bad(np.ones((2, 40, 48))), r"`masks` must have shape \(height, width\)"),
        (bad(np.zeros((40, 48))), "mask 1 is empty"),
        (bad(2 * np.ones((40, 48))), "`masks` must have floats within"),
        (bad("alpha"), "the content picture has no transparency"),
        (bad("aplha"), "no such file: aplha. Did you mean 'alpha'"),
        (bad("nowhere.png"), "no such file: nowhere.png. Give a picture, or one of"),
        ({"masks": np.ones((40, 48))}, "`masks` must be a list"),
        ({"masks": []}, "`masks` is an empty list"),
        ({"masks": ["rest"]}, "'rest' only"),
        ({"masks": [np.ones((40, 48))] * 2}, "`masks` has 2 for 1 style picture;"),
        (bad(np.ones((40, 48)), style_blend=[1]), "`style_blend`; leave one"),
        (
            bad(np.ones((40, 48)), preset="gatys2016"),
            "`masks` need `normalization` 'pair'",
        ),
        (bad(np.ones((40, 48)), devices="all"), "`masks` and `devices` do not go"),
        ({"strength": np.zeros((40, 48))}, "`strength` is a map that is 0 everywhere"),
        ({"strength": np.ones((48, 40))}, "`strength` is 40 x 48 px and the content"),
        ({"strength": io.BytesIO(b"?")}, "`strength` is not a picture that can be"),
        ({"strength": "nowhere.png"}, "A strength is a number from 0 to 1, or"),
        (
            {"strength": np.ones((40, 48)), "style_weight": 1},
            "leave `style_weight` out",
        ),
    ],
)
def test_bad_regions_are_told(
    tiny_network, content, style, settings, message, as_installed
):
    with pytest.raises((ValueError, TypeError, OSError), match=message):
        jaxnst.stylize(content, style, network=tiny_network, progress=False, **settings)


def test_masks_that_overlap_are_told(left):
    with pytest.raises(ValueError, match=r"overlap: in row 0, column 0 .* to 2\.00"):
        make_regions([left, left])
    soft = 0.5 * np.ones((4, 4))
    make_regions([soft, soft])
    with pytest.raises(ValueError, match="mask 2 is empty"):
        make_regions([left, 0 * left])


def test_lists_of_maps_are_told(tiny_network, content, style, left):
    with pytest.raises(TypeError, match="`strength` may be a list of numbers, or one"):
        jaxnst.sweep(content, style, strength=[left, 0.5], network=tiny_network)


def test_the_command_has_masks_and_maps(files, tmp_path, tiny_vgg19, left, capsys):
    mask, output, again = (tmp_path / name for name in ("m.png", "a.png", "b.png"))
    Image.fromarray((255 * left).astype(np.uint8)).save(mask)
    few = ["--size", "48", "--min-size", "0", "--num-steps", "3", "--quiet"]
    paint = ["stylize", *map(str, files), "-o"]
    masks = ["--mask", str(mask)]
    assert main([*paint, str(output), *masks, *few]) == 0
    record = jaxnst.read_record(output)
    assert record["inputs"]["mask 1"]["name"] == "m.png"
    with pytest.raises(ValueError, match=r"`masks` was a picture, 'm.png'; give it"):
        settings_of(record)
    assert main([*paint, str(again), *masks, "--like", str(output), "-q"]) == 0
    assert again.read_bytes() == output.read_bytes()
    mapped = tmp_path / "c.png"
    assert main([*paint, str(mapped), "--strength", str(mask), *few]) == 0
    record = jaxnst.read_record(mapped)
    assert record["inputs"]["strength"]["name"] == "m.png"
    assert main([*paint, str(again), "--like", str(mapped), "-q"]) == 2
    told = "record's `strength` was a picture, 'm.png'; give it with --strength"
    assert told in capsys.readouterr().err
    found = settings_of(record, ["strength"])
    assert found["strength"] is None
    assert not {"style_weight", "regions"} & set(found)
