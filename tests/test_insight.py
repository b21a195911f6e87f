"""What an explanation says, against truths that are known another way."""

import dataclasses
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture, run

import jaxnst
from jaxnst.config import STYLE_LAYERS, TransferConfig
from jaxnst.images import PictureSource, save_picture
from jaxnst.insight.ablations import smaller
from jaxnst.insight.advice import give_advice, judge_convergence
from jaxnst.insight.attribution import (
    attribution_of,
    targets_of,
    weights_of_terms,
)
from jaxnst.insight.correspondence import (
    correspondence_layers,
    find_correspondences,
    pick_matches,
    position_colors,
    position_map,
    rebuild,
)
from jaxnst.insight.differences import (
    color_difference,
    measure_differences,
    structure_difference,
)
from jaxnst.insight.inputs import load_painted_picture
from jaxnst.metrics import Metrics
from jaxnst.optimize import compiled_loss_and_gradient
from jaxnst.transfer import setup
from jaxnst.transfer.plan import make_plan
from jaxnst.transfer.result import make_trace, read_trace
from jaxnst.transfer.run import styles_at


QUICK = {"min_size": 0, "num_steps": 6, "size": 48, "progress": False}


@pytest.fixture(scope="module")
def tiny_vgg19_for_all():
    from conftest import load_tiny_weights, use_small_judge

    with pytest.MonkeyPatch.context() as patch:
        use_small_judge(patch)
        patch.setattr(setup, "load_weights", load_tiny_weights)
        yield


@pytest.fixture(scope="module")
def result(tiny_vgg19_for_all):
    return jaxnst.stylize(
        picture(seed=1), picture(36, 50, seed=2), tv_weight=0.1, **QUICK
    )


@pytest.fixture(scope="module")
def found(result):
    return jaxnst.explain(result, progress=False)


# Which layer did what


def test_attributions_are_parts_of_the_whole(found):
    assert set(found.attribution.shares) == {
        "content/relu4_2",
        *(f"style/{name}" for name in found.gaps),
        "tv",
    }
    np.testing.assert_allclose(sum(found.attribution.shares.values()), 1, rtol=1e-4)
    assert sum(found.attribution.overall.values()) == pytest.approx(1, rel=1e-4)
    # The content picture is its own content.
    assert found.first_attribution.overall["content/relu4_2"] < 1e-6
    assert found.attribution.overall["content/relu4_2"] > 0.01


def test_the_terms_gradients_add_up_to_the_whole_gradient(result):
    painted = load_painted_picture(result, max_size=64)
    targets = targets_of(painted)

    def gradient(weights):
        image = jnp.asarray(painted.image)
        return np.asarray(
            compiled_loss_and_gradient(image, painted.job.network, targets, weights)[-1]
        )

    parts = [gradient(each) for each in weights_of_terms(painted.weights).values()]
    whole = gradient(painted.weights)
    assert len(parts) == 7
    np.testing.assert_allclose(sum(parts), whole, atol=1e-4 * np.abs(whole).max())


def test_terms_without_weight_get_no_attribution(result):
    weights = load_painted_picture(result, max_size=64).weights
    layers = weights.style_layers | {"relu1_1": jnp.float32(0)}
    terms = weights_of_terms(weights._replace(style_layers=layers, tv=jnp.float32(0)))
    assert "tv" not in terms
    assert "style/relu1_1" not in terms
    assert "style/relu2_1" in terms


def test_attribution_to_known_gradients():
    one, three = np.ones((4, 4), np.float32), np.full((4, 4), 3, np.float32)
    attribution = attribution_of({"a": one, "b": three})
    np.testing.assert_allclose(attribution.shares["b"], 0.75, rtol=1e-6)
    np.testing.assert_allclose(attribution.total, 1, rtol=1e-6)
    still = attribution_of({"a": 0 * one, "b": 0 * one})
    np.testing.assert_allclose(still.shares["a"], 0.5)


# Where it changed


def test_the_content_map_is_the_content_term_place_by_place(tiny_network):
    image, content = picture(seed=1), picture(seed=2)
    layers = ["relu1_1"]
    x, y = (run(tiny_network, each, layers)["relu1_1"] for each in (image, content))
    lengths = [np.linalg.norm(each, axis=-1, keepdims=True) for each in (x, y)]
    as_long = x * lengths[1] / np.maximum(lengths[0], 0.1 * lengths[1])
    for normalization, seen in (("pair", as_long), ("paper", x)):
        found, _, _ = measure_differences(
            tiny_network, image, content, layers, normalization=normalization
        )
        expected = np.mean(np.square(seen - y), axis=-1) / np.mean(y * y)
        np.testing.assert_allclose(found["relu1_1"], expected, rtol=1e-4, atol=1e-5)


def test_a_change_is_drawn_where_it_is(tiny_network):
    """The margins by which a network extends a picture are no part of its map."""
    network = tiny_network.changed(padding="reflect")
    assert network.margins == (8, 8)
    image = np.full((64, 96, 3), 0.5, np.float32)
    changed = image.copy()
    changed[4:12, 76:84] = (1, 0, 0)
    content, _, _ = measure_differences(
        network, changed, image, ["relu1_1", "relu3_1"], normalization="paper"
    )
    for found in content.values():
        assert found.shape == (64, 96)
        rows, columns = np.nonzero(found > 0.5 * found.max())
        assert rows.mean() == pytest.approx(7.5, abs=2)
        assert columns.mean() == pytest.approx(79.5, abs=2)


def test_what_did_not_change(tiny_network):
    same = picture(seed=1)
    differences = measure_differences(tiny_network, same, same, ["relu1_1", "relu4_2"])
    assert differences.content["relu4_2"].max() < 1e-9
    assert differences.color.max() < 1e-6
    assert differences.structure.max() < 1e-5


def test_colors_and_structure_are_told_apart(rng):
    gray = np.repeat(rng.random((48, 48, 1), np.float32), 3, axis=-1) * 0.6 + 0.2
    lighter = np.clip(gray + 0.1, 0, 1)
    assert color_difference(lighter, gray).max() < 1e-3
    assert structure_difference(lighter, gray).mean() < 0.05
    assert structure_difference(1 - gray, gray).mean() > 0.9
    other = np.repeat(rng.random((48, 48, 1), np.float32), 3, axis=-1) * 0.6 + 0.2
    assert structure_difference(other, gray).mean() == pytest.approx(0.5, abs=0.1)
    red = np.full((48, 48, 3), (0.8, 0.2, 0.2), np.float32)
    green = np.full((48, 48, 3), (0.2, 0.6, 0.2), np.float32)
    assert color_difference(red, green).min() > 0.2
    assert structure_difference(red, green).max() < 0.02


# Where strokes come from


def test_a_picture_comes_from_itself(tiny_network):
    image = picture(64, 72, seed=3) * 0.5
    image += 0.5 * np.random.default_rng(0).random(image.shape, np.float32)
    for nearest in find_correspondences(
        tiny_network, image, [image], ["relu2_1", "relu3_1"]
    ):
        np.testing.assert_array_equal(nearest.sources, nearest.centers)
        np.testing.assert_allclose(nearest.similarity, 1, atol=2e-3)
        rebuilt = rebuild(nearest, image.shape[:2], [image])
        np.testing.assert_array_equal(rebuilt, image)


def test_a_moved_picture_comes_from_where_it_was(tiny_network):
    style = np.random.default_rng(0).random((96, 96, 3), np.float32)
    image = style[8:72, 16:80]
    (nearest,) = find_correspondences(tiny_network, image, [style], ["relu3_1"])
    inner = nearest.sources[6:-6, 6:-6] - nearest.centers[6:-6, 6:-6]
    np.testing.assert_array_equal(inner.reshape(-1, 2), [[8, 16]] * inner[..., 0].size)
    assert nearest.stride == 4
    assert nearest.patch == 24


def test_the_most_similar_of_several_styles_as_numpy_finds_it(tiny_network):
    image, styles = picture(40, 48), [picture(36, 50, seed=2), picture(44, 40, seed=3)]
    network = tiny_network.changed(padding="zeros")  # no places beyond the border
    (nearest,) = find_correspondences(network, image, styles, ["relu3_1"])
    own, *others = (
        np.asarray(run(network, each, ["relu3_1"])["relu3_1"], np.float64)
        for each in (image, *styles)
    )
    samples = np.concatenate([each.reshape(-1, each.shape[-1]) for each in others])
    center = samples.mean(0)

    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    similar = unit(own.reshape(-1, own.shape[-1]) - center) @ unit(samples - center).T
    np.testing.assert_allclose(nearest.similarity.ravel(), similar.max(1), atol=1e-3)
    best = np.sort(similar, axis=1)
    is_clear = best[:, -1] - best[:, -2] > 1e-4
    is_first = similar.argmax(1) < others[0][..., 0].size
    np.testing.assert_array_equal(
        (nearest.styles.ravel() == 0)[is_clear], is_first[is_clear]
    )
    assert set(nearest.styles.ravel()) == {0, 1}


def test_matches_lie_apart_and_inside(found):
    nearest = found.correspondences[0]
    matches = pick_matches(nearest, found.image.mean(-1), 4)
    assert matches
    for match in matches:
        for axis in (0, 1):
            half = nearest.patch // 2
            assert half <= match.center[axis] <= found.image.shape[axis] - half
    centers = np.asarray([match.center for match in matches])
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    reach = 0.8 * math.sqrt(found.image[..., 0].size / 4)
    assert (apart[~np.eye(len(matches), dtype=bool)] >= reach).all()


def test_colors_of_places():
    corners = position_colors(np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 0, 1]))
    distances = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
    assert (distances[~np.eye(4, dtype=bool)] > 0.4).all()
    middle = position_colors(np.array(0.5), np.array(0.5))
    np.testing.assert_allclose(middle, corners.mean(0), rtol=1e-6)


def test_a_map_has_the_color_of_its_place(found):
    nearest = found.correspondences[-1]
    colors = position_map(nearest, [style.shape[:2] for style in found.styles])
    assert colors.shape == (*nearest.styles.shape, 3)
    place = nearest.sources[:1, :1] / found.styles[0].shape[:2]
    np.testing.assert_allclose(
        colors[:1, :1], position_colors(place[..., 0], place[..., 1]), rtol=1e-5
    )


def test_two_scales_of_any_layers():
    assert correspondence_layers(["a", "b", "c", "d", "e"]) == ["c", "d"]
    assert correspondence_layers(["a", "b", "c", "d"]) == ["b", "c"]
    assert correspondence_layers(["a", "b", "c"]) == ["b", "c"]
    assert correspondence_layers(["a", "b"]) == ["a", "b"]
    assert correspondence_layers(["a"]) == ["a"]


# What each layer does


def test_ablations_are_what_stylize_paints(found, tiny_vgg19_for_all):
    ablations = found.ablations
    settings = QUICK | {
        "num_steps": ablations.num_steps,
        "learning_rate": 0.06,
        "tv_weight": 0.1,
    }
    pair = picture(seed=1), picture(36, 50, seed=2)
    np.testing.assert_array_equal(
        ablations.whole, jaxnst.stylize(*pair, **settings).image
    )
    layers = dict(STYLE_LAYERS)
    assert layers.keys() == found.gaps.keys()
    others = {**layers, "relu3_1": 0.0}
    without = jaxnst.stylize(*pair, style_layers=others, **settings)
    np.testing.assert_array_equal(ablations.without["relu3_1"], without.image)
    only = {name: float(name == "relu1_1") for name in layers}
    alone = jaxnst.stylize(*pair, style_layers=only, **settings)
    np.testing.assert_array_equal(ablations.alone["relu1_1"], alone.image)
    assert set(ablations.effect) == set(layers)
    assert all(effect > 0 for effect in ablations.effect.values())


# Whether it was still moving


def judge(history):
    found = judge_convergence(history)
    assert found is not None
    return found


def _history(losses, size=64):
    sizes = np.full(len(losses), size)
    steps = np.arange(1, 1 + len(losses))
    return {"step": steps, "size": sizes, "total": np.asarray(losses)}


def test_a_loss_at_rest_gains_nothing():
    rest = judge(_history(np.full(50, 0.3)))
    assert rest.is_done
    assert rest.gain == pytest.approx(0)
    falling = judge(_history(1 / (1 + 0.2 * np.arange(50))))
    assert not falling.is_done
    assert falling.gain > 0.05
    assert (falling.num_steps, falling.size) == (50, 64)


def test_only_the_last_size_counts():
    history = {
        "step": np.arange(1, 61),
        "size": np.repeat([32, 64], 30),
        "total": np.concatenate([np.linspace(9, 1, 30), np.full(30, 0.5)]),
    }
    found = judge(history)
    assert (found.first, found.last, found.num_steps) == (0.5, 0.5, 30)
    assert found.is_done


def test_few_steps_say_nothing():
    assert not judge(_history([1.0, 0.5])).is_known
    assert judge_convergence(None) is None


# What to turn


GOOD = Metrics(0.5, 0.3, 0.3, 0.2, 0.2, 1.0, 1.5)
LAYERS: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def advise(values, config=None, metrics=GOOD, attribution=None):
    gaps = dict(zip(LAYERS, values, strict=True))
    even = attribution_of(
        {f"style/{name}": np.ones((2, 2), np.float32) for name in LAYERS}
    )
    return give_advice(
        config or TransferConfig(),
        gaps,
        metrics=metrics,
        convergence=None,
        attribution=attribution or even,
    )


def test_what_a_strength_leaves_is_no_fault():
    gaps = [0.1, 0.1, 0.2, 0.5, 0.7]
    assert "style_scale" in advise(gaps)[0]
    assert "style_scale" not in advise(gaps, TransferConfig(strength=0.7))[0]


def test_shapes_that_are_too_small():
    first = advise([0.1, 0.1, 0.2, 0.5, 0.7])[0]
    assert "relu1_1, relu2_1 and relu3_1" in first
    assert "not at relu4_1 and relu5_1" in first
    assert "style_scale=1.5" in first
    sized = advise([0.1, 0.1, 0.2, 0.5, 0.7], TransferConfig(style_size=200))[0]
    assert "style_size=300" in sized


@pytest.mark.parametrize(
    ("values", "metrics", "word"),
    [
        ([0.6, 0.6, 0.2, 0.1, 0.1], GOOD, "detail=0.5"),
        ([0.8, 0.8, 0.8, 0.8, 0.8], GOOD._replace(lpips=0.2), "style_weight=3"),
        ([0.1, 0.1, 0.1, 0.1, 0.1], GOOD._replace(lpips=0.8), "style_weight=0.33"),
        ([0.1, 0.1, 0.1, 0.1, 0.1], GOOD._replace(style_detail=2.5), "tv_weight"),
        ([0.1, 0.1, 0.1, 0.1, 0.1], GOOD._replace(style_detail=0.3), "larger size"),
        ([0.1, 0.1, 0.1, 0.1, 0.1], GOOD._replace(palette_gap=0.9), "colors"),
        ([0.1, 0.1, 0.1, 0.1, 0.1], GOOD, "Nothing stands out"),
    ],
)
def test_each_complaint_has_its_remedy(values, metrics, word):
    assert word in advise(values, metrics=metrics)[0]


def test_a_strength_is_turned_where_one_was_set():
    config = TransferConfig(strength=0.5)
    first = advise([0.6] * 5, config, GOOD._replace(lpips=0.2))[0]
    assert "strength=0.65" in first
    assert "style_weight" not in first


def test_colors_that_were_to_stay_are_no_complaint():
    config = TransferConfig(color="luminance")
    assert "colors" not in advise([0.1] * 5, config, GOOD._replace(palette_gap=0.9))[0]


def test_no_advice_to_do_what_was_done():
    config = TransferConfig(tv_weight=5.0, finish={"denoise": 0.5})
    noisy = advise([0.1] * 5, config, GOOD._replace(style_detail=2.5))[0]
    assert "try tv_weight=15." in noisy
    early = judge(_history(np.geomspace(1.0, 0.1, 12)))
    even = attribution_of({"style/relu1_1": np.ones((2, 2), np.float32)})
    for num_steps, is_named in ((12, True), (25, False)):
        (first, *_) = give_advice(
            TransferConfig(num_steps=num_steps),
            dict.fromkeys(LAYERS, 0.1),
            metrics=GOOD,
            convergence=early,
            attribution=even,
        )
        assert "twice as many steps" in first
        assert ("num_steps=24" in first) == is_named


def test_a_layer_that_drowns_the_others():
    maps = {f"style/{name}": np.ones((2, 2), np.float32) for name in LAYERS}
    maps["style/relu1_1"] *= 20
    assert "relu1_1 has 83%" in advise([0.1] * 5, attribution=attribution_of(maps))[0]


# From a file


def test_a_file_is_explained_as_its_result_is(found, result, tmp_path):
    path = result.save(tmp_path / "out.png")
    again = jaxnst.explain(
        path, picture(seed=1), picture(36, 50, seed=2), ablations=False, progress=False
    )
    assert again.history is not None
    assert again.ablations is None
    for name, gap in found.gaps.items():
        assert again.gaps[name] == pytest.approx(gap, abs=0.03)  # 8 bits
    assert again.metrics.lpips == pytest.approx(found.metrics.lpips, abs=0.01)
    assert len(again.advice) == len(found.advice)
    np.testing.assert_allclose(
        again.history["total"], result.history["total"], rtol=1e-3
    )


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".tif"])
def test_a_file_holds_the_losses(result, tmp_path, extension):
    path = result.save(tmp_path / f"out{extension}")
    trace = read_trace(jaxnst.read_record(path))
    assert trace is not None
    np.testing.assert_array_equal(trace["step"], np.arange(1, 7))
    np.testing.assert_allclose(
        trace["style/relu3_1"], result.history["style/relu3_1"], rtol=1e-3
    )


def test_a_long_history_becomes_short():
    sizes = np.repeat([128, 256, 512], [70, 700, 50])
    history = {
        "step": np.arange(1, 821),
        "size": sizes,
        "total": np.linspace(3, 1, 820),
    }
    trace = make_trace(history)
    steps = np.asarray(trace["step"])
    assert len(steps) <= 100
    assert {1, 70, 71, 770, 771, 820} <= set(steps.tolist())
    np.testing.assert_array_equal(trace["size"], sizes[steps - 1])
    assert make_trace({name: np.zeros(0) for name in history}) == {}


@pytest.mark.parametrize(
    "trace",
    [
        {},
        {"step": [1], "size": [2]},
        {"step": [], "size": [], "total": []},
        {"step": [1, 2], "size": [3], "total": [4]},
    ],
)
def test_a_damaged_trace_is_none(trace):
    assert read_trace({"trace": trace}) is None


def test_a_pickled_result_leaves_the_network_behind(result):
    assert result.job is not None
    copy = pickle.loads(pickle.dumps(result))
    assert copy.job is None
    np.testing.assert_array_equal(copy.image, result.image)


# Other kinds of paintings


def test_regions_and_strengths_are_explained(tiny_vgg19, small_judge):
    mask = np.zeros((40, 48), np.float32)
    mask[:, :24] = 1
    styles: list[PictureSource] = [picture(36, 50, seed=2), picture(44, 40, seed=3)]
    regional = jaxnst.stylize(
        picture(seed=1),
        styles,
        masks=[mask, "rest"],
        strength=0.5,
        metrics=True,
        style_layers=["relu1_1", "relu3_1"],
        **QUICK,
    )
    found = jaxnst.explain(regional, ablations=False, progress=False)
    assert found.metrics._asdict() == regional.record["metrics"]
    assert len(found.styles) == 2
    np.testing.assert_allclose(sum(found.attribution.shares.values()), 1, rtol=1e-4)
    # Painted small, the weights stay where steering had brought them.
    small = smaller(load_painted_picture(regional, max_size=64), 36, 5)
    ratio = np.mean(regional.record["result"]["strength"]["ratio"])
    assert small.config.strength is None
    weights = small.config.style_weight, small.config.content_weight
    assert weights[0] / weights[1] == pytest.approx(ratio)
    assert small.inputs.shape == (32, 39)


@pytest.mark.parametrize("settings", [{"preset": "gatys2016"}, {"masks": True}])
def test_nothing_painted_leaves_all_of_the_style(tiny_vgg19, small_judge, settings):
    """Of masks, and of the paper's sums, which have no unit."""
    mask = np.zeros((40, 48), np.float32)
    mask[:, :20] = 1
    settings = settings | ({"masks": [mask]} if "masks" in settings else {})
    pair = picture(seed=1), picture(36, 50, seed=2)
    few = QUICK | {"num_steps": 1, "learning_rate": 1e-6, "init": "content"}
    kept = jaxnst.stylize(*pair, **few, **settings)
    found = jaxnst.explain(kept, ablations=False, progress=False)
    assert [*found.gaps.values()] == pytest.approx([1.0] * len(found.gaps), abs=0.01)
    assert "100% of the way to the painting's style remains" in " ".join(found.advice)
    if "masks" in settings:  # most of the picture is to stay the photograph's
        assert "colors" not in " ".join(found.advice)


@pytest.mark.parametrize("style_size", [None, 60, 34])
def test_what_is_painted_small_has_strokes_as_large_beside_it(result, style_size):
    painted = load_painted_picture(result, max_size=64)
    config = dataclasses.replace(painted.job.config, style_size=style_size)
    painted = painted._replace(job=painted.job._replace(config=config))
    small = smaller(painted, 40, 5)
    shape = small.inputs.shape
    assert max(shape) < max(painted.shape)
    (found,) = make_plan([small], "fast").sizes[-1].style_shapes
    (wanted,) = (style.shape[:2] for style in styles_at(painted.job, shape))
    assert found == wanted


def test_memory_is_no_more_than_it_was_painted_with(result):
    record = {**result.record, "result": {**result.record["result"], "memory": "low"}}
    low = load_painted_picture(dataclasses.replace(result, record=record), max_size=64)
    assert low.job.network.memory == "low"
    assert load_painted_picture(result, max_size=64).job.network.memory == "fast"


def test_a_large_picture_is_looked_at_smaller(result):
    painted = load_painted_picture(result, max_size=44)
    assert painted.image.shape == painted.content.shape == (37, 44, 3)
    assert max(painted.styles[0].shape) == 44
    # The short side is never below 32 px.
    assert load_painted_picture(result, max_size=36).shape == (32, 39)


# Bad input


@pytest.fixture
def saved(result, tmp_path):
    return result.save(tmp_path / "out.png")


def test_another_content_picture_is_refused(saved):
    with pytest.raises(ValueError, match=r"content: content is not the picture"):
        jaxnst.explain(saved, picture(seed=9), picture(36, 50, seed=2), progress=False)


def test_another_network_is_refused(result, saved, tmp_path, tiny_vgg19):
    record = result.record | {"weights": {"name": "own", "sha256": "1" * 64}}
    path = save_picture(tmp_path / "other.png", result.image, record=record)
    pair = picture(seed=1), picture(36, 50, seed=2)
    with pytest.raises(ValueError, match=r"weights .* which were named 'own'"):
        jaxnst.explain(path, *pair, network="vgg19", progress=False)


def test_another_start_is_refused(result, tmp_path, tiny_vgg19):
    pair, start = (picture(seed=1), picture(36, 50, seed=2)), picture(seed=3)
    path = jaxnst.stylize(*pair, init=start, **QUICK).save(tmp_path / "out.png")
    with pytest.raises(ValueError, match="init: init is not the picture"):
        jaxnst.explain(path, *pair, init=picture(seed=4), progress=False)


def test_what_is_missing_is_named(saved):
    with pytest.raises(ValueError, match=r"`content` is missing"):
        jaxnst.explain(saved)
    with pytest.raises(ValueError, match=r"`style` is missing"):
        jaxnst.explain(saved, picture(seed=1))


def test_what_cannot_be_explained_is_told(result, saved, tmp_path, tiny_vgg19):
    pair = picture(seed=1), picture(36, 50, seed=2)
    plain = tmp_path / "plain.png"
    save_picture(plain, picture(seed=1), None)
    with pytest.raises(ValueError, match="holds no jaxnst record"):
        jaxnst.explain(plain, *pair)
    unpainted = jaxnst.stylize(*pair, strength=0, **QUICK)
    with pytest.raises(ValueError, match="nothing was painted"):
        jaxnst.explain(unpainted)
    texture = dataclasses.replace(result, record={**result.record, "kind": "texture"})
    with pytest.raises(ValueError, match="it is a texture"):
        jaxnst.explain(texture)
    smaller = tmp_path / "smaller.png"
    record = jaxnst.read_record(saved)
    save_picture(smaller, picture(32, 38), None, record=record)
    with pytest.raises(ValueError, match=r"38 x 32 px, but it was saved with 48 x 40"):
        jaxnst.explain(smaller, *pair)
    with pytest.raises(ValueError, match="`max_size` must be at least 32"):
        jaxnst.explain(result, max_size=8)


def test_jax_is_not_asked_twice(found):
    assert not any(
        isinstance(x, jax.Array) for x in jax.tree.leaves(found.attribution.shares)
    )
