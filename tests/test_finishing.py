"""Filters that finish a picture."""

import argparse
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from conftest import picture
from PIL import Image

import jaxnst
from jaxnst.cli.main import build_parser, main
from jaxnst.finishing import FILTERS, check_filters, finish_picture


LUMA = np.array([0.299, 0.587, 0.114])


def apply(image, **filters):
    return finish_picture(image, check_filters("finish", filters))


@pytest.fixture
def image():
    """A smooth picture with an edge and a little noise, away from black and white."""
    generator = np.random.default_rng(3)
    smooth = 0.3 + 0.4 * picture(60, 80, seed=5)
    smooth[:, 40:] *= 0.6
    noise = 0.02 * generator.standard_normal(smooth.shape, np.float32)
    return np.clip(smooth + noise, 0, 1).astype(np.float32)


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_keeps_shape_and_range_and_0_is_nothing(image, name):
    for amount in {FILTERS[name].most, FILTERS[name].usual}:
        found = apply(image, **{name: amount})
        assert found.shape == image.shape
        assert found.dtype == np.float32
        assert found.min() >= 0
        assert found.max() <= 1
        assert np.abs(found - image).max() > 0.01
    np.testing.assert_array_equal(apply(image, **{name: 0}), image)
    half, whole = (apply(image, **{name: FILTERS[name].most * x}) for x in (0.5, 1))
    assert np.abs(half - image).mean() < np.abs(whole - image).mean()


def test_denoising_takes_noise_and_leaves_edges(image):
    found = apply(image, denoise=0.5)
    assert found[:, :38].std(axis=1).mean() < image[:, :38].std(axis=1).mean()
    noise = [np.abs(np.diff(x[:, 5:35], axis=1)).mean() for x in (found, image)]
    assert noise[0] < 0.5 * noise[1]
    edge = [np.abs(x[:, 41] - x[:, 38]).mean() for x in (found, image)]
    assert edge[0] > 0.8 * edge[1]


def test_denoising_without_scikit_image_says_how_to_install_it(image, monkeypatch):
    """Before anything is painted, too."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    message = r"pip install 'jaxnst\[finish\]'"
    with pytest.raises(ImportError, match=message):
        apply(image, denoise=0.5)
    with pytest.raises(ImportError, match=message):
        jaxnst.stylize(
            image, image, finish="denoise", callback=lambda _: pytest.fail("painted")
        )


def test_sharpening_is_an_unsharp_mask_of_luminance():
    step = np.full((40, 60, 3), 0.4, np.float32)
    step[:, 30:] = 0.6
    found = apply(step, sharpen=1)
    assert found[:, 29].max() < 0.4 - 0.03
    assert found[:, 30].min() > 0.6 + 0.03
    np.testing.assert_allclose(found[:, :25], 0.4, atol=1e-5)
    np.testing.assert_allclose(found[..., 0], found[..., 2], atol=1e-6)


def test_contrast_keeps_the_mean_and_stretches_the_rest(image):
    found = apply(image, contrast=0.2)
    assert (found @ LUMA).mean() == pytest.approx((image @ LUMA).mean(), abs=2e-3)
    assert found.std() == pytest.approx(1.2 * image.std(), rel=0.02)
    flat = apply(image, contrast=-1)
    assert flat.std() < 1e-5


def test_levels_go_from_black_to_white(image):
    low = 0.2 + 0.3 * image
    found = apply(low, levels=1) @ LUMA
    assert np.quantile(found, 0.02) < 0.1
    assert np.quantile(found, 0.98) > 0.9
    flat = np.full((40, 40, 3), 0.5, np.float32)
    np.testing.assert_array_equal(apply(flat, levels=1), flat)


def test_saturation_keeps_luminance(image):
    gray = apply(image, saturation=-1)
    np.testing.assert_allclose(gray[..., 0], image @ LUMA, atol=1e-5)
    np.testing.assert_allclose(gray.std(-1), 0, atol=1e-6)
    strong = apply(image, saturation=0.3)
    np.testing.assert_allclose(strong @ LUMA, image @ LUMA, atol=1e-5)
    assert strong.std(-1).mean() == pytest.approx(1.3 * image.std(-1).mean(), rel=1e-3)


def test_grain_is_gray_and_always_the_same():
    flat = np.full((64, 64, 3), 0.5, np.float32)
    found = apply(flat, grain=0.5)
    np.testing.assert_allclose(found.std(-1), 0, atol=1e-6)
    assert found.std() == pytest.approx(0.06, rel=0.05)
    np.testing.assert_array_equal(found, apply(flat, grain=0.5))
    black = apply(np.zeros_like(flat), grain=0.5)
    assert black.mean() < 0.02


def test_a_vignette_darkens_corners_and_leaves_the_middle():
    flat = np.full((65, 65, 3), 0.8, np.float32)
    found = apply(flat, vignette=1)
    assert found[32, 32, 0] == pytest.approx(0.8, abs=1e-3)
    assert found[0, 0, 0] == pytest.approx(0.8 * 0.15, abs=1e-3)
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-6)


@pytest.mark.parametrize("color", [(0.5, 0.5, 0.5), (0.8, 0.3, 0.2), (0.1, 0.4, 0.9)])
def test_a_halftone_seen_from_afar_is_the_picture(color):
    """Dots cover as much paper as there is ink (inks that overlap are darker)."""
    flat = np.tile(np.float32(color), (240, 240, 1))
    found = apply(flat, halftone=1)
    assert found.std() > 0.15
    np.testing.assert_allclose(found.mean((0, 1)), color, atol=0.06)


def test_white_stays_white_and_black_black_in_print():
    for value in (0.0, 1.0):
        flat = np.full((64, 64, 3), value, np.float32)
        np.testing.assert_allclose(apply(flat, halftone=1), flat, atol=1e-6)


def test_filters_go_in_the_order_given(image):
    one = apply(image, saturation=-1, contrast=0.5)
    other = apply(image, contrast=0.5, saturation=-1)
    grain = apply(image, grain=1, contrast=-1), apply(image, contrast=-1, grain=1)
    np.testing.assert_allclose(one, other, atol=0.05)
    assert grain[0].std() < 1e-5 < grain[1].std()


def test_filters_of_a_tile_see_its_other_end(image):
    moved = np.roll(image, (20, 30), (0, 1))
    for name, tolerance in (("sharpen", 1e-5), ("denoise", 1e-2)):
        filters = check_filters("finish", [name], tile="xy")

        def difference(tile, filters=filters):
            one, other = (finish_picture(x, filters, tile=tile) for x in (image, moved))
            return np.abs(np.roll(one, (20, 30), (0, 1)) - other).max()

        assert difference("xy") < tolerance < difference(None)


def test_a_large_tile_is_sharpened_over_its_border(rng):
    strip = rng.random((40, 6000, 3), np.float32)
    filters = check_filters("finish", {"sharpen": 3}, tile="x")
    one, other = (
        finish_picture(x, filters, tile="x") for x in (strip, np.roll(strip, 99, 1))
    )
    assert np.abs(np.roll(one, 99, 1) - other).max() < 1 / 255


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"sharpn": 1}, "`finish` is 'sharpn'. Did you mean 'sharpen'?"),
        ({"sharpen": 4}, r"`finish\['sharpen'\]` must be between 0 and 3, got 4"),
        ({"denoise": -0.1}, "must be between 0 and 1, got -0.1"),
        ({"grain": "much"}, "must be a number, got 'much'"),
        (["grain", "grain"], "`finish` names a filter twice"),
        (3, "`finish` must be names or {name: number}"),
    ],
)
def test_bad_filters_are_told(filters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check_filters("finish", filters)


def test_names_get_their_usual_amounts():
    assert check_filters("finish", ["grain"]) == {"grain": FILTERS["grain"].usual}
    assert check_filters("finish", "levels") == {"levels": 1.0}
    assert check_filters("finish", {"grain": None, "levels": 0.5}) == {
        "grain": FILTERS["grain"].usual,
        "levels": 0.5,
    }


def test_a_painting_is_finished(tiny_network, content, style):
    few: dict[str, Any] = {"size": 48, "min_size": 0, "num_steps": 2}
    few["progress"] = False
    few["network"] = tiny_network
    filters = {"contrast": 0.3, "vignette": 0.5}
    plain = jaxnst.stylize(content, style, **few)
    done = jaxnst.stylize(content, style, finish=filters, **few)
    np.testing.assert_allclose(done.image, finish_picture(plain.image, filters))
    assert done.record["settings"]["finish"] == filters
    swept = jaxnst.sweep(content, style, finish=["grain", {"contrast": 0.3}], **few)
    labels = [row.labels["finish"] for row in swept.rows]
    assert labels == ["grain", "contrast 0.3"]
    image = swept.results[1].image
    np.testing.assert_allclose(image, finish_picture(plain.image, {"contrast": 0.3}))


def test_the_command_finishes_any_picture(tmp_path, image, capsys):
    place, output = tmp_path / "in.png", tmp_path / "out.tif"
    alpha = np.linspace(0, 1, image.size // 3).reshape(image.shape[:2])
    rgba = np.dstack([image, alpha])
    Image.fromarray(np.round(rgba * 255).astype(np.uint8)).save(place)
    arguments = ["finish", str(place), "-o", str(output)]
    assert main([*arguments, "--grain", "--contrast", "-0.2", "--bits", "16"]) == 0
    assert "(80 x 60)" in capsys.readouterr().out
    found, before = jaxnst.load_picture(output), jaxnst.load_picture(place)
    assert found.alpha is not None
    assert before.alpha is not None
    np.testing.assert_allclose(found.alpha, before.alpha, atol=1e-2)
    filters = {"grain": FILTERS["grain"].usual, "contrast": -0.2}
    expected = finish_picture(before.rgb, filters)
    seen = before.alpha > 0
    np.testing.assert_allclose(found.rgb[seen], expected[seen], atol=5e-3)
    assert main(["finish", str(place), "-o", str(place), "--grain"]) == 2
    assert "is the picture itself; choose another" in capsys.readouterr().err
    assert jaxnst.read_record(output)["finish"] == filters
    assert main(arguments) == 2
    assert "no filter was given" in capsys.readouterr().err
    assert main([*arguments, "--grain", "7"]) == 2
    assert "between 0 and 1, got 7" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["stylize", "sweep", "batch", "texture", "video"])
def test_help_is_short_and_all_of_it_is_there(command, capsys):
    parser = build_parser()
    shown = {}
    for flag in ("--help", "--help-all"):
        with pytest.raises(SystemExit):
            build_parser().parse_args([command, flag])
        text = capsys.readouterr().out
        # From here on examples follow.
        shown[flag] = text.split("examples:")[0]
    num_lines = {flag: text.count("  --") for flag, text in shown.items()}
    assert num_lines["--help"] <= 10 < 25 < num_lines["--help-all"]
    assert "the network" in shown["--help-all"]
    assert "the network" not in shown["--help"]
    assert isinstance(parser, argparse.ArgumentParser)


def test_pictures_go_through_pipes(tmp_path, image):
    """`-` is standard input and output; the record goes along."""
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    jaxnst.images.save_picture(source, image, record={"kind": "picture"})
    command = [sys.executable, "-m", "jaxnst", "finish", "-", "-o"]

    def run(*rest, given):
        done = subprocess.run([*command, *rest], input=given, capture_output=True)
        return done.returncode, done.stdout, done.stderr.decode()

    code, data, said = run("-", "--contrast", "0.2", given=source.read_bytes())
    assert (code, said) == (0, "")
    code, printed, said = run(str(target), "--grain", "0.1", given=data)
    assert (code, said) == (0, "")
    assert b"out.png" in printed
    record = jaxnst.read_record(target)
    assert record == {"kind": "picture", "finish": {"contrast": 0.2, "grain": 0.1}}
    code, _, said = run("-", "--grain", given=b"")
    assert code == 2
    assert said.startswith("jaxnst: error: standard input is empty")
    assert said.count("\n") == 1
