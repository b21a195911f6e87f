"""Strength: as much style as was asked for, with as much content as that leaves."""

import functools
import json
import math
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnst
from jaxnst.cli.main import main
from jaxnst.objective import compute_targets, make_loss_weights, perceptual_loss
from jaxnst.optimize.strength import Steering, Trimmer, weigh
from jaxnst.transfer.result import settings_of


IMAGES = Path(__file__).parent.parent / "examples" / "images"
# Pictures of noise, which random weights see, ask for smaller steps than real ones.
FEW = {
    "size": 48,
    "min_size": 0,
    "num_steps": 60,
    "learning_rate": 0.02,
    "progress": False,
}


@pytest.fixture(scope="module")
def tiny_network(flax_network):
    """What these tests expect of a painting depends on the weights."""
    return flax_network


@functools.partial(jax.jit, static_argnames="layers")
def measured(network, image, content, style, *, layers):
    """Return the loss terms of a picture, at weights of 1."""
    layers = json.loads(layers)
    targets = compute_targets(network, content, style, **layers)
    weights = make_loss_weights(content=1, style=1, tv=0, **layers)
    _, terms = perceptual_loss(image, network, targets, weights)
    return terms


@pytest.fixture
def stylize(tiny_network, content, style):
    """Paint with a strength; return the result and the gap, measured anew."""

    def run(strength, **settings):
        result = jaxnst.stylize(
            content,
            style,
            strength=strength,
            network=tiny_network,
            **(FEW | settings),
        )
        config = result.record["settings"]
        layers = {
            "content_layers": config["content_layers"],
            "style_layers": config["style_layers"],
            "style_losses": config["style_loss"],
        }
        full = jaxnst.images.resize(content, result.image.shape[:2])
        longest = min(config["size"], max(style.shape))
        shape = jaxnst.images.fitted_shape(style.shape, longest)
        seen = jaxnst.images.resize(style, shape)
        pictures = map(jnp.asarray, (result.image, full, seen))
        return result, measured(tiny_network, *pictures, layers=json.dumps(layers))

    return run


def test_what_was_asked_for_is_reached(stylize, content):
    """Measured apart from the painting; more style changes more of the content."""
    changes = []
    for strength in (0.4, 0.8):
        result, terms = stylize(strength)
        reached = result.record["result"]["strength"]
        assert reached["asked"] == strength
        assert reached["reached"] == pytest.approx(strength, abs=0.03)
        assert float(terms.style) == pytest.approx(1 - reached["reached"], abs=2e-3)
        start = jaxnst.images.resize(content, result.image.shape[:2])
        changes.append(np.mean(np.square(result.image - start)))
    assert changes[0] < 0.5 * changes[1]


def test_a_hint_of_a_style_is_no_more(vgg19):
    """Contrasts cost no content: long steps made more style than was asked for."""
    cat, lines = (
        IMAGES / f"{name}.jpg" for name in ("chelsea_cat", "kandinsky_composition_viii")
    )
    result = jaxnst.stylize(
        cat, lines, network=vgg19, strength=0.1, size=64, progress=False
    )
    reached = result.record["result"]["strength"]["reached"]
    assert reached == pytest.approx(0.1, abs=0.03)


def test_no_strength_is_the_content_picture(stylize, content):
    result, _ = stylize(0, size=64)
    np.testing.assert_array_equal(result.image, jaxnst.images.resize(content, (53, 64)))
    made = result.record["result"]
    assert made["strength"]["reached"] == made["steps"] == 0
    assert result.to_pil().size == (64, 53)


def test_what_cannot_be_reached_is_told(stylize):
    result, terms = stylize(1.0, num_steps=12)
    reached = result.record["result"]["strength"]["reached"]
    assert 0.2 < reached < 0.99
    assert float(terms.style) == pytest.approx(1 - reached, abs=2e-3)


def test_contrast_alone_is_no_style(stylize, content):
    """It costs no content where that is compared in direction, and goes a long way."""
    result, _ = stylize(0.5)
    assert result.job.config.objective == "squared"
    spread = [np.std(x, axis=(0, 1)).mean() for x in (result.image, content)]
    assert spread[0] < 1.3 * spread[1]


def test_averages_and_noise_do_not_disturb_it(stylize):
    several = {"size": 96, "min_size": 48, "coarse_steps": 40}
    for settings in ({"averaging": 0.9} | several, {"init": "noise", "seed": 3}):
        result, _ = stylize(0.5, **settings)
        reached = result.record["result"]["strength"]["reached"]
        assert reached == pytest.approx(0.5, abs=0.03)
        assert not result.record["recoveries"]


def test_trimming_ends_with_the_time_there_is(stylize):
    """The picture is measured all the same, and the record says by how many steps."""
    result, terms = stylize(0.15, num_steps=300, max_seconds=0.01)
    made = result.record["result"]
    assert made["stopped"] == "out of time"
    assert made["strength"]["trimming_steps"] == 0
    reached = made["strength"]["reached"]
    assert float(terms.style) == pytest.approx(1 - reached, abs=2e-3)
    result, _ = stylize(0.15)
    assert 0 < result.record["result"]["strength"]["trimming_steps"] <= 30


def test_ctrl_c_while_trimming_keeps_the_picture(stylize, monkeypatch, interruptible):
    observe = Trimmer.observe

    def interrupt(*arguments):
        signal.raise_signal(signal.SIGINT)
        return observe(*arguments)

    monkeypatch.setattr(Trimmer, "observe", interrupt)
    with pytest.raises(jaxnst.Interrupted) as caught:
        stylize(0.15)
    made = caught.value.result.record["result"]
    assert made["stopped"] == "interrupted"
    assert made["strength"]["trimming_steps"] == 0


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("hardness", [0.05, 0.2, 2.0])
def test_the_ratio_is_found_where_it_is_known(strength, hardness):
    """A made-up pair whose gap follows the ratio by a known law, with some delay.

    In the end the gap is 1 / (1 + (ratio / hardness) ** 0.6).
    """
    steering = Steering([strength], np.ones(1))
    gap, seen = 1.0, []
    for _ in range(190):
        rest = 1 / (1 + (math.exp(steering.log_ratios[0]) / hardness) ** 0.6)
        gap += (rest - gap) / 12
        seen.append(gap)
        if len(seen) > 2:
            steering.observe([np.array([seen[-3]])])  # as the device is two steps ahead
    assert gap == pytest.approx(1 - strength, abs=0.02)
    expected = hardness * (strength / (1 - strength)) ** (1 / 0.6)
    assert steering.log_ratios[0] == pytest.approx(math.log(expected), abs=0.4)


def test_weights_add_up_and_keep_their_ratio():
    layers = {"relu1_1": 1.0}
    weights = make_loss_weights(
        content=7, style=5, tv=0.5, content_layers=layers, style_layers=layers
    )
    for log_ratio in (-8.0, 0.0, 3.0):
        found = weigh(weights, np.array([log_ratio]), np.ones(1))
        assert found.content + found.style == pytest.approx(1)
        ratio = float(found.style) / float(found.content)
        assert math.log(ratio) == pytest.approx(log_ratio, abs=1e-3)
        assert found.tv == weights.tv
        assert found.style_layers is weights.style_layers


def test_strengths_are_swept(tiny_network, content, style):
    """Side by side as well, each with a ratio of its own."""
    found = jaxnst.sweep(
        content,
        style,
        strength=[0, 0.4, 0.6],
        network=tiny_network,
        batch_size=2,
        **FEW,
    )
    assert not found.errors
    for row in found.rows:
        made = found.results[row.index].record["result"]["strength"]
        asked = row.settings["strength"]
        assert made["reached"] == pytest.approx(asked, abs=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": -0.1}, "`strength` must be between 0 and 1, got -0.1"),
        ({"strength": 1.5}, "`strength` must be between 0 and 1, got 1.5"),
        ({"strength": 0.5, "style_weight": 3}, "leave `style_weight` out, or `stren"),
        ({"strength": 0.5, "content_weight": 3}, "leave `content_weight` out"),
        ({"strength": 0.5, "preset": "gatys2016"}, "needs `normalization` 'pair'"),
        ({"strength": 0.5, "optimizer": "lbfgs"}, "which L-BFGS does not support; use"),
    ],
)
def test_bad_strengths_are_told(tiny_network, content, style, settings, message):
    with pytest.raises(ValueError, match=message):
        jaxnst.stylize(content, style, network=tiny_network, **settings)


def test_a_command_warns_of_what_was_not_reached(files, tmp_path, tiny_vgg19, capsys):
    arguments = ["stylize", *map(str, files), "-o", str(tmp_path / "out.png")]
    few = ["--size", "48", "--num-steps", "5", "--quiet"]
    assert main([*arguments, "--strength", "1", *few]) == 0
    assert "warning: strength 1 was asked for, 0." in capsys.readouterr().err
    assert main([*arguments, "--strength", "0", *few]) == 0
    assert not capsys.readouterr().err


def test_a_command_has_a_strength_and_its_record_gives_it_back(
    files, tmp_path, tiny_vgg19
):
    output, again = tmp_path / "out.png", tmp_path / "again.png"
    arguments = ["stylize", *map(str, files), "--quiet", "-o"]
    few = ["--size", "48", "--num-steps", "20"]
    assert main([*arguments, str(output), "--strength", "0.3", *few]) == 0
    record = jaxnst.read_record(output)
    assert record["result"]["strength"]["reached"] == pytest.approx(0.3, abs=0.05)
    settings = settings_of(record)
    assert settings["strength"] == 0.3
    assert "style_weight" not in settings
    assert main([*arguments, str(again), "--like", str(output)]) == 0
    assert again.read_bytes() == output.read_bytes()
