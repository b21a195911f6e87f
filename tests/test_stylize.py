"""`stylize()` from end to end, on a network small enough for it."""

import dataclasses
import json
import os
import re
import signal
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import forget_programs, num_programs
from PIL import Image

import jaxnst
from jaxnst.config import make_config
from jaxnst.transfer import driver, plan, setup


# Few layers compile in half the time.
LAYERS = {"content_layers": ["relu2_2"], "style_layers": ["relu1_1", "relu2_1"]}
FEW = {"size": 96, "min_size": 48, "num_steps": 4, "coarse_steps": 3, "progress": False}


@pytest.fixture
def stylize(tiny_network):
    """`stylize` with the tiny network and few steps."""

    def run(content, style, **settings):
        given: dict[str, Any] = {"network": tiny_network} | FEW | LAYERS | settings
        return jaxnst.stylize(content, style, **given)

    return run


def test_result(stylize, content, style):
    result = stylize(content, style)
    assert result.image.shape == (80, 96, 3)
    assert result.image.dtype == np.float32
    assert 0 <= result.image.min() < result.image.max() <= 1
    assert result.alpha is None
    assert result.to_pil().size == (96, 80)
    assert result._repr_png_().startswith(b"\x89PNG")
    assert re.fullmatch(r"Result\(96 x 80 px, \d+ steps\)", repr(result))


def test_loss_falls(stylize, content, style):
    history = stylize(content, style, min_size=0, num_steps=20).history
    assert history["total"][-1] < 0.8 * history["total"][0]
    assert history["style"][-1] < 0.8 * history["style"][0]


def test_history_has_every_term_of_every_step(stylize, content, style):
    layers = {f"relu{block}_1": 1 for block in range(1, 6)}
    result = stylize(
        content, style, tv_weight=0.5, style_layers=layers, content_layers=["relu4_2"]
    )
    history = result.history
    assert list(history["step"]) == [*range(1, 8)]
    assert list(history["size"]) == [48] * 3 + [96] * 4
    assert set(history) == {
        "step", "size", "total", "content", "style", "tv", "content/relu4_2",
        *(f"style/relu{block}_1" for block in range(1, 6)),
    }  # fmt: skip
    assert all(column.shape == (7,) for column in history.values())
    np.testing.assert_allclose(
        history["total"],
        0.18 * history["content"] + history["style"] + 0.5 * history["tv"],
        rtol=1e-5,
    )
    layers = np.mean([history[f"style/relu{block}_1"] for block in range(1, 6)], axis=0)
    np.testing.assert_allclose(history["style"], layers, rtol=1e-5)


def test_record_says_how_it_was_made(content, style, tiny_vgg19):
    # Random weights ask for smaller steps than real ones.
    small: dict[str, Any] = FEW | {"learning_rate": 0.01}
    result = jaxnst.stylize(content, style, seed=3, style_weight=2, **small)
    record = json.loads(json.dumps(result.record))
    assert record["jaxnst"] == jaxnst.__version__
    assert record["settings"]["style_weight"] == 2
    assert record["settings"]["seed"] == 3
    assert record["settings"]["content_layers"] == {"relu4_2": 1}
    assert record["inputs"]["content"]["sha256"] == jaxnst.load_picture(content).sha256
    assert len(record["weights"]["sha256"]) == 64
    assert record["result"] == {
        "height": 80,
        "width": 96,
        "steps": 7,
        "stopped": None,
        "memory": "fast",
        "precision": "float32",
        "sizes": [
            {
                "size": size,
                "steps": num_steps,
                "evaluations": num_steps,
                "stopped": None,
                "is_averaged": False,
            }
            for size, num_steps in ((48, 3), (96, 4))
        ],
    }
    assert record["recoveries"] == []
    assert set(record["versions"]) >= {"python", "jax", "flax", "optax", "numpy"}
    assert record["device"]["platform"]
    assert set(record["seconds"]) == {"compile", "run", "total"}
    assert record["seconds"]["total"] > 0


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_same_inputs_give_the_same_file(stylize, content, style, tmp_path, name):
    result, again = (stylize(content, style, init="noise", seed=5) for _ in range(2))
    first = result.save(tmp_path / name).read_bytes()
    assert again.save(tmp_path / name).read_bytes() == first
    record = jaxnst.read_record(tmp_path / name)
    assert record.pop("trace")["step"][-1] == result.record["result"]["steps"]
    assert record == {
        key: value for key, value in result.record.items() if key != "seconds"
    }


def test_same_inputs_give_the_same_picture_on_the_real_network(content, style):
    """Many threads add up in one order here, or this fails."""
    few = {"size": 64, "num_steps": 3, "progress": False}
    first, second = (jaxnst.stylize(content, style, **few) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)


def test_sources_of_every_kind_give_the_same_picture(stylize, files):
    expected = stylize(*files).image
    content, style = (np.asarray(Image.open(path)) for path in files)
    for kind in (str, Image.open):
        np.testing.assert_array_equal(stylize(*map(kind, files)).image, expected)
    np.testing.assert_array_equal(stylize(content, style).image, expected)
    floats = jnp.asarray(content / np.float32(255)), style / np.float32(255)
    np.testing.assert_array_equal(stylize(*floats).image, expected)


def test_inits(stylize, content, style):
    one = {"num_steps": 1, "min_size": 0, "learning_rate": 1e-6}
    resized = jaxnst.images.resize(content, (80, 96))
    photo = stylize(content, style, init="content", **one).image
    np.testing.assert_allclose(photo, resized, atol=1e-5)
    recolored = stylize(content, style, **one).image
    np.testing.assert_allclose(recolored.mean((0, 1)), style.mean((0, 1)), atol=0.05)
    noise = stylize(content, style, init="noise", **one).image
    assert 0.27 < noise.std() < 0.31  # of the uniform distribution: 0.289
    again = stylize(content, style, init="noise", seed=1, **one).image
    assert np.abs(again - noise).mean() > 0.2
    started = stylize(content, style, init="style", **one).image
    expected = jaxnst.images.resize(style, (80, 96))
    assert np.abs(started - expected).mean() < 0.02
    given = stylize(content, style, init=content[:, ::-1], **one)
    np.testing.assert_allclose(given.image, resized[:, ::-1], atol=1e-5)
    assert given.record["settings"]["init"] == "image"
    assert "init" in given.record["inputs"]


def test_one_compilation_per_picture_size(stylize, content, style):
    forget_programs()
    stylize(content, style)
    assert num_programs() == 2  # 48 and 96 px
    stylize(content[:, ::-1], style[::-1], style_weight=9, learning_rate=0.01, seed=4)
    stylize(content, style, tv_weight=1, style_layers={"relu1_1": 3, "relu2_1": 1})
    assert num_programs() == 2


def test_callback_and_early_stop_at_a_small_size(stylize, content, style):
    seen = []

    def callback(view):
        seen.append((view.step, view.num_steps, view.shape, view.full_shape))
        return view.step == 2

    result = stylize(content, style, callback=callback)
    assert seen == [(1, 7, (40, 48), (80, 96)), (2, 7, (40, 48), (80, 96))]
    assert result.image.shape == (80, 96, 3)
    assert result.record["result"]["stopped"] == "callback"
    assert result.record["result"]["steps"] == 2
    assert len(result.history["total"]) == 2


def test_a_callback_may_return_a_loss(stylize, content, style):
    result = stylize(
        content, style, num_steps=3, callback=lambda view: view.terms.total
    )
    assert result.record["result"]["stopped"] is None


def test_several_steps_a_call_with_64_bits(stylize, content, style):
    with jax.enable_x64(True):
        result = stylize(content, style, num_steps=4, steps_per_call=2, min_size=0)
    assert result.record["result"]["steps"] == 4


@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_known_terms_are_of_an_earlier_step(stylize, content, style, steps_per_call):
    """Which the host has already: the progress bar does not wait for the device."""
    known = []

    def callback(view):
        known.append(view.known_terms.total)

    few = {"min_size": 0, "num_steps": 8, "steps_per_call": steps_per_call}
    result = stylize(content, style, callback=callback, **few)
    losses = [*result.history["total"]]
    for first, total in zip(range(0, 8, steps_per_call), known, strict=True):
        made = losses.index(total) - first  # since the steps of this call began
        assert -2 * steps_per_call <= made < steps_per_call
    assert isinstance(known[-1], np.floating)


def test_ctrl_c_keeps_the_picture(stylize, content, style, interruptible):
    def callback(view):
        if view.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(jaxnst.Interrupted) as caught:
        stylize(content, style, callback=callback)
    assert isinstance(caught.value, KeyboardInterrupt)
    result = caught.value.result
    assert result.image.shape == (80, 96, 3)
    assert result.record["result"]["stopped"] == "interrupted"
    assert result.record["result"]["steps"] == 5


def test_ctrl_c_after_the_last_step_keeps_the_picture(
    stylize, content, style, interruptible, monkeypatch
):
    def measure(image, job):
        os.kill(os.getpid(), signal.SIGINT)
        return {"lpips": 0.5}

    monkeypatch.setattr(driver, "measure_result", measure)
    with pytest.raises(jaxnst.Interrupted) as caught:
        stylize(content, style, metrics=True)
    found = caught.value.result
    assert found.record["result"]["stopped"] is None
    assert found.record["metrics"] == {"lpips": 0.5}
    np.testing.assert_array_equal(found.image, stylize(content, style).image)


@pytest.mark.parametrize(
    ("name", "argument"), [("finish_picture", "finish"), ("measure_result", "metrics")]
)
def test_no_picture_is_lost_for_what_comes_after_it(
    stylize, content, style, monkeypatch, name, argument
):
    expected = stylize(content, style).image
    for error, words in (
        (MemoryError(), f"memory ran out .* `{argument}`"),
        (
            ValueError("it is long."),
            f"`{argument}` asks for is left out, as it is long",
        ),
    ):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(driver, name, fail)
        with pytest.warns(UserWarning, match=words):
            found = stylize(content, style, metrics=argument == "metrics")
        np.testing.assert_array_equal(found.image, expected)


def test_elsewhere_than_on_a_cpu_calls_make_several_steps(
    stylize, content, style, monkeypatch
):
    """The same picture; the callback sees the last step of every call."""
    few = {"min_size": 0, "num_steps": 7}
    expected = stylize(content, style, **few)
    seen = []
    with monkeypatch.context() as patched:
        device = SimpleNamespace(platform="gpu")
        patched.setattr(plan, "default_device", lambda: device)
        patched.setattr(plan, "_MOST_STEPS_PER_CALL", 5)
        found = stylize(
            content, style, callback=lambda view: seen.append(view.step), **few
        )
    assert seen == [5, 7]
    assert found.record["settings"]["steps_per_call"] is None
    np.testing.assert_allclose(
        found.history["total"], expected.history["total"], rtol=1e-3
    )
    np.testing.assert_allclose(found.image, expected.image, atol=1e-2)


def test_presets_are_the_recipe_with_fewer_or_more_steps():
    """A draft also compares nothing deeper than relu4_1, and counts content less."""
    draft, default, fine = (
        make_config(preset) for preset in ("draft", "default", "fine")
    )
    assert draft.num_steps < default.num_steps < fine.num_steps
    assert draft.coarse_steps < default.coarse_steps < fine.coarse_steps
    steps = {"num_steps": 1, "coarse_steps": 1, "learning_rate": 0.05}
    assert list(draft.style_layers) == list(default.style_layers)[:-1]
    assert list(draft.content_layers) == list(draft.style_layers)[-1:]
    assert draft.content_weight < default.content_weight
    same = {
        "style_layers": default.style_layers,
        "content_layers": default.content_layers,
        "content_weight": default.content_weight,
    }
    assert (
        dataclasses.replace(draft, **steps, **same)
        == dataclasses.replace(default, **steps)
        == dataclasses.replace(fine, **steps)
    )


def test_alpha_is_carried_untouched(stylize, content, style):
    alpha = np.linspace(0, 1, 40 * 48, dtype=np.float32).reshape(40, 48)
    rgba = np.dstack([content, alpha])
    result = stylize(rgba, np.dstack([style, style[..., 0]]), size=48)
    np.testing.assert_array_equal(result.alpha, alpha)
    assert result.to_pil().mode == "RGBA"
    larger = stylize(rgba, style)
    assert larger.alpha is not None
    assert larger.alpha.shape == (80, 96)


def test_own_optimizer(stylize, content, style):
    result = stylize(content, style, optimizer=optax.sgd(1e-4))
    assert result.record["settings"]["optimizer"] == "custom"
    assert result.record["settings"]["learning_rate"] == 1.0
    assert np.abs(result.image - jaxnst.images.resize(content, (80, 96))).mean() > 1e-4


def test_weights_do_what_they_say(stylize, content, style):
    """More style weight: less style left, less content kept. Over the same steps."""
    steps = {"num_steps": 25, "min_size": 0}
    light = stylize(content, style, style_weight=0.03, **steps).history
    strong = stylize(content, style, style_weight=30, **steps).history
    assert strong["style"][-1] < light["style"][-1]
    assert strong["content"][-1] > light["content"][-1]
    smooth = stylize(content, style, tv_weight=100, **steps).history
    assert smooth["tv"][-1] < 0.5 * light["tv"][-1]


def test_style_size_is_obeyed(stylize, content, style):
    """A painting looked at smaller is one whose file has that size."""
    few = {"num_steps": 4, "min_size": 0, "style_size": 46}
    small = stylize(content, style, **few).image
    resized = jaxnst.images.resize(style, jaxnst.images.fitted_shape(style.shape, 46))
    same = stylize(content, resized, **few).image
    np.testing.assert_allclose(small, same, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_pictures(level, stylize):
    """Nothing to keep and nothing to take: no division by zero, finite everywhere."""
    flat = np.full((96, 96, 3), level, np.float32)
    # Of another shape, as what is the same picture is not painted at all.
    result = stylize(flat, flat[:80], tv_weight=1, num_steps=12, coarse_steps=12)
    assert np.all(np.isfinite(result.image))
    assert all(np.all(np.isfinite(column)) for column in result.history.values())
    assert result.record["result"]["stopped"] is None
    np.testing.assert_allclose(result.image, level, atol=1e-5)


def test_a_picture_in_its_own_style_is_left_alone(tiny_network, content):
    """There is nothing to do, and steps of a fixed length would only do harm."""
    settings: dict[str, Any] = {"size": 48, "num_steps": 15, "progress": False}
    settings |= LAYERS | {"network": tiny_network}
    nearly = np.clip(content + np.float32(1e-4), 0, 1)
    result = jaxnst.stylize(content, nearly, **settings)
    np.testing.assert_allclose(result.image, content, atol=1e-3)
    # Where rounding leaves no gradient at all, there is nothing to recover from.
    for entry in result.record["recoveries"]:
        assert entry["reason"] == "the loss rose"
    assert result.record["result"]["stopped"] is None
    with pytest.warns(UserWarning, match="same picture, so there is nothing to paint"):
        result = jaxnst.stylize(content, content, strength=0.5, **settings)
    np.testing.assert_array_equal(result.image, content)


def test_gray_pictures_give_a_gray_picture(tiny_network, content, style):
    grays = [each.mean(-1, keepdims=True).repeat(3, -1) for each in (content, style)]
    settings: dict[str, Any] = FEW | LAYERS
    settings = settings | {"network": tiny_network, "style_loss": "wasserstein"}
    result = jaxnst.stylize(*grays, **settings)
    assert np.ptp(result.image, axis=-1).max() < 1 / 255
    shown = jaxnst.images.resize(grays[0], result.image.shape[:2])
    assert np.abs(result.image - shown).mean() > 0.01


def test_transparent_parts_of_a_style_count_for_nothing(tiny_network, content, style):
    settings: dict[str, Any] = FEW | LAYERS
    settings = settings | {"network": tiny_network, "style_size": 32}
    sticker = np.ones((80, 90, 4), np.float32)
    sticker[..., 3] = 0
    sticker[20:56, 30:80, :3], sticker[20:56, 30:80, 3] = style, 1
    found = jaxnst.stylize(content, sticker, **settings)
    alone = jaxnst.stylize(content, style, **settings)
    np.testing.assert_array_equal(found.image, alone.image)


@pytest.mark.parametrize("rate", [1e3, 3.0, 1.2])
def test_a_rate_far_too_high_is_lowered_and_told(rate, stylize, content, style):
    """No black, white or gray picture, and one that is painted all the same."""
    result = stylize(
        content, style, learning_rate=rate, size=48, min_size=0, num_steps=60
    )
    recoveries = result.record["recoveries"]
    assert {(each["size"], each["reason"]) for each in recoveries} == {
        (48, "the loss rose")
    }
    rates = [f"learning rate {min(0.1, rate / 10):g}", "learning rate 0.01"]
    assert [each["action"] for each in recoveries] == rates
    assert result.history["total"][-1] < 0.7 * result.history["total"][0]
    assert result.image.std() > 0.5 * content.std()
    assert result.record["result"]["stopped"] is None
    json.dumps(result.record)


def test_lbfgs_paints(stylize, content, style):
    steps = {"coarse_steps": 15, "num_steps": 15}
    result = stylize(content, style, optimizer="lbfgs", **steps)
    settings = result.record["settings"]
    assert (settings["learning_rate"], settings["decay"]) == (1.0, 0.0)
    assert result.record["recoveries"] == []
    totals = result.history["total"].reshape(2, 15)
    assert np.all(np.diff(totals, axis=1) <= 1e-6)
    assert np.all(totals[:, -1] < 0.8 * totals[:, 0])
    for size in result.record["result"]["sizes"]:
        assert 15 <= size["evaluations"] <= 30


def test_a_tolerance_ends_sizes(stylize, content, style):
    steps = {"coarse_steps": 60, "num_steps": 60, "decay": 0.5}
    result = stylize(content, style, tolerance=0.5, **steps)
    made = result.record["result"]
    assert [size["stopped"] for size in made["sizes"]] == ["converged"] * 2
    assert all(size["steps"] < 60 for size in made["sizes"])
    assert made["stopped"] is None
    assert made["steps"] == sum(size["steps"] for size in made["sizes"])
    assert stylize(content, style).record["result"]["steps"] == 7


def test_without_time_the_picture_is_whole(stylize, content, style):
    """The least is painted: the full size gets its five steps, whatever the clock."""
    steps = {"coarse_steps": 40, "num_steps": 400}
    result = stylize(content, style, max_seconds=1e-3, **steps)
    made = result.record["result"]
    assert result.image.shape == (80, 96, 3)
    assert made["stopped"] == "out of time"
    assert made["sizes"][-1]["size"] == 96
    assert 5 <= made["sizes"][-1]["steps"] < 20
    assert made["sizes"][0]["steps"] < 40
    assert result.history["total"][-1] < result.history["total"][0]


def test_the_average_is_recorded(stylize, content, style):
    """And not taken where the pictures lie on one straight way."""
    few = {"min_size": 0, "num_steps": 4, "learning_rate": 1e-4, "decay": 0}
    result = stylize(content, style, averaging=0.9, **few)
    assert not result.record["result"]["sizes"][-1]["is_averaged"]
    assert result.record["settings"]["averaging"] == 0.9
    np.testing.assert_array_equal(result.image, stylize(content, style, **few).image)


def test_a_loss_that_is_not_finite_keeps_the_picture(stylize, content, style):
    bad = optax.stateless(
        lambda updates, _: jax.tree.map(lambda x: x * jnp.nan, updates)
    )
    result = stylize(content, style, init="content", optimizer=bad, size=48)
    np.testing.assert_array_equal(result.image, content)
    assert result.record["result"]["stopped"] == "not finite"


def test_optimizers_that_keep_no_pictures(stylize, content, style):
    result = stylize(content, style, optimizer=optax.flatten(optax.adam(0.05)))
    assert len(set(result.history["size"])) == 2
    assert result.record["result"]["stopped"] is None


BAD = {
    "size": ({"size": 0}, ValueError, "`size` must be at least 32, got 0"),
    "size kind": ({"size": 64.5}, TypeError, "`size` must be a whole number"),
    "style size": ({"style_size": 3}, ValueError, "`style_size` must be at least 32"),
    "steps": ({"num_steps": 0}, ValueError, "`num_steps` must be at least 1, got 0"),
    "coarse": ({"coarse_steps": -1}, ValueError, "`coarse_steps` must be at least 1"),
    "rate": ({"learning_rate": 0}, ValueError, "`learning_rate`.*greater than 0"),
    "decay": ({"decay": 1.5}, ValueError, "`decay` must be between 0 and 1"),
    "average": ({"averaging": 1}, ValueError, "`averaging` must be 0 or more and bel"),
    "tolerance": ({"tolerance": -1}, ValueError, "`tolerance` must be finite and 0 or"),
    "no time": ({"max_seconds": 0}, ValueError, "`max_seconds`.*greater than 0"),
    "call": ({"steps_per_call": 0}, ValueError, "`steps_per_call` must be at least 1"),
    "detail": ({"content_detail": 2}, ValueError, "`content_detail` must be between"),
    "negative": ({"style_weight": -1}, ValueError, "`style_weight`.*0 or more, got -1"),
    "nan": ({"content_weight": np.nan}, ValueError, "`content_weight` must be finite"),
    "huge": ({"style_weight": 1e39}, ValueError, "must be at most 1e[+]20"),
    "text": ({"tv_weight": "1"}, TypeError, "`tv_weight` must be a number"),
    "zero": ({"content_weight": 0, "style_weight": 0}, ValueError, "are all 0"),
    "network": ({"network": "vgg91"}, ValueError, "Did you mean 'vgg19'"),
    "preset": ({"preset": "gatys"}, ValueError, "Did you mean 'gatys2016'"),
    "optimizer": ({"optimizer": "adma"}, ValueError, "Did you mean 'adam'"),
    "optimizer kind": ({"optimizer": 3}, TypeError, "an optax transformation, got int"),
    "pooling": ({"pooling": "mean"}, ValueError, "`pooling`.*Known: max, average"),
    "padding": ({"padding": "same"}, ValueError, "`padding`.*Known: reflect"),
    "conv": ({"conv": "winogard"}, ValueError, "`conv`.*Did you mean 'winograd'"),
    "precision": ({"precision": "half"}, ValueError, "`precision`.*auto, float32"),
    "both": (
        {"conv": "winograd", "precision": "bfloat16"},
        ValueError,
        "use `conv` 'auto'",
    ),
    "loss": ({"normalization": "none"}, ValueError, "`normalization`.*pair, paper"),
    "seed": ({"seed": -1}, ValueError, "`seed` must be at least 0"),
    "layer": ({"style_layers": ["relu1_11"]}, ValueError, "Did you mean 'relu1_1'"),
    "twice": ({"style_layers": ["relu1_1"] * 2}, ValueError, "names a layer twice"),
    "no layer": ({"content_layers": []}, ValueError, "it is empty"),
    "no weight": ({"content_layers": {"relu4_2": 0}}, ValueError, "weights are 0"),
    "layer nan": ({"style_layers": {"relu1_1": np.nan}}, ValueError, "must be finite"),
    "init": ({"init": "nois"}, FileNotFoundError, "no such file.*mean 'noise'"),
    "init array": ({"init": np.zeros((9, 9, 3))}, ValueError, "`init` is 9 x 9 px"),
    "callback": ({"callback": 3}, TypeError, "`callback` must be callable, got 3"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_settings_are_named_before_anything_is_computed(
    kind, content, style, monkeypatch, as_installed
):
    def refuse(*_, **__):
        raise AssertionError("computed something")

    monkeypatch.setattr(setup, "load_weights", refuse)
    settings, error, message = BAD[kind]
    with pytest.raises(error, match=message) as caught:
        jaxnst.stylize(content, style, **settings)
    assert "\n" not in str(caught.value)


def test_bad_pictures_are_named_before_anything_is_computed(
    content, style, tmp_path, monkeypatch
):
    monkeypatch.setattr(setup, "load_weights", None)
    with pytest.raises(FileNotFoundError, match="`content`: no such file"):
        jaxnst.stylize(tmp_path / "none.png", style)
    with pytest.raises(ValueError, match=r"`style` must have floats within \[0, 1\]"):
        jaxnst.stylize(content, style * 255)
    with pytest.raises(ValueError, match=r"more than 1000 megapixels"):
        jaxnst.stylize(content, style, size=60_000)
    narrow = np.zeros((40, 320, 3), np.float32)
    with pytest.raises(ValueError, match=r"96 x 12 px; no side.*so use 252 or more"):
        jaxnst.stylize(narrow, style, size=96)


@pytest.mark.parametrize("shape", [(763, 995), (40, 399), (333, 100)])
def test_the_advised_size_is_the_smallest_that_works(shape, style, monkeypatch):
    monkeypatch.setattr(setup, "load_weights", None)
    picture = np.zeros((*shape, 3), np.float32)
    with pytest.raises(ValueError, match="so use") as caught:
        jaxnst.stylize(picture, style, size=32)
    advised = int(str(caught.value).split()[-3])
    assert min(jaxnst.images.fitted_shape(shape, advised)) >= 32
    assert min(jaxnst.images.fitted_shape(shape, advised - 1)) < 32


def test_options_of_an_own_network_are_its_own(stylize, content, style):
    result = stylize(content, style, pooling="max", padding="replicate")
    assert result.record["settings"]["padding"] == "replicate"
    with pytest.raises(ValueError, match=r"`pooling` is 'average', but the network"):
        stylize(content, style, pooling="average")


def test_layers_of_an_own_network_are_checked(stylize, content, style):
    with pytest.raises(ValueError, match="'relu6_1'"):
        stylize(content, style, content_layers=["relu6_1"])


def test_a_setting_unknown_to_the_config_is_named():
    with pytest.raises(TypeError, match="vigor"):
        make_config(vigor=1)
