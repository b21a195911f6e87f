"""A picture in tiles must be painted as the whole picture is, up to rounding."""

import itertools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import TINY_GOOGLENET, TINY_RESNET, build, picture
from hypothesis import given, settings, strategies as st

import jaxnst
from jaxnst.networks import CAFFE, VGGArchitecture, tiles
from jaxnst.networks.tiles import make_tiling, window_network
from jaxnst.objective import compute_targets, make_loss_weights
from jaxnst.optimize import tiles as steps_in_tiles
from jaxnst.optimize.batching import StepDropped, StepProgram
from jaxnst.optimize.tiles import TiledStep, compute_tiled_targets
from jaxnst.transfer import progress
from jaxnst.transfer.memory import choose_memory
from jaxnst.transfer.setup import set_up, settle_config


SMALL = VGGArchitecture(name="small", depths=(2, 1, 1, 1, 1), widths=(4, 4, 8, 8, 8))
LOSSES = ("gram", "moments")
compiled_targets = jax.jit(
    compute_targets, static_argnames=("content_layers", "style_layers", "style_losses")
)


class Painting:
    """One picture, its targets and weights, as a whole and in tiles."""

    def __init__(self, network, shape, *, tile_size=32, regions=0, losses=LOSSES):
        architecture = network.architecture
        layers = {
            "content_layers": tuple(architecture.content_layers),
            "style_layers": tuple(architecture.style_layers),
        }
        self.image, content, *styles = (
            jnp.asarray(picture(*size, seed=seed))
            for seed, size in enumerate([shape, shape, (90, 70), (40, 40)])
        )
        guides = shares = None
        blend = jnp.full((max(1, regions), len(layers["style_layers"]), 2), 0.5)
        if regions:
            generator = np.random.default_rng(0)
            shapes = network.layer_shapes(shape, layers["style_layers"])
            guides = {
                layer: jnp.asarray(generator.random((regions, *own), np.float32))
                for layer, own in shapes.items()
            }
            shares = jnp.full(regions, 1 / regions)
        pictures = content, styles, blend, guides, shares
        options = {**layers, "style_losses": losses}
        self.whole_targets = compiled_targets(network, *pictures, **options)
        self.tiling = make_tiling(
            network,
            shape,
            {*layers["content_layers"], *layers["style_layers"]},
            tile_size,
        )
        tiled = network.with_memory("balanced")
        self.tiled_targets = compute_tiled_targets(
            tiled,
            *pictures,
            normalization="pair",
            tiling=self.tiling,
            tile_size=tile_size,
            **options,
        )
        self.weights = make_loss_weights(
            content=0.5,
            style=1.0,
            tv=0.1,
            content_layers=dict.fromkeys(layers["content_layers"], 1.0),
            style_layers=dict.fromkeys(layers["style_layers"], 1.0),
            style_losses=dict.fromkeys(losses, 1.0),
        )
        optimizer = optax.with_extra_args_support(optax.scale_by_adam())
        self.whole = StepProgram(network, optimizer)
        self.tiled = TiledStep(window_network(tiled), optimizer, tiling=self.tiling)

    def both(self):
        """Return (loss, terms, gradient) of the whole, and of the tiles."""
        found = (
            self.whole.evaluate(self.image, self.whole_targets, self.weights),
            self.tiled.evaluate(self.image, self.tiled_targets, self.weights),
        )
        return jax.tree.map(np.asarray, found)


def difference(found, expected):
    """Return the relative difference of two arrays, in the Euclidean norm."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(
    "padding", ["reflect", "replicate", "zeros", "circular", "circular_x"]
)
def test_tiles_have_the_gradient_of_the_whole(padding):
    network = build(SMALL, preprocessing=CAFFE, padding=padding)
    shape = (128, 112) if padding.startswith("circular") else (139, 117)
    painting = Painting(network, shape, regions=2 if padding == "reflect" else 0)
    assert len(painting.tiling.tiles) >= 4
    assert_same(*painting.both())


def test_a_picture_that_wraps_around_may_be_shown_twice():
    """A window is larger than the picture, across."""
    network = build(SMALL, preprocessing=CAFFE, padding="circular")
    painting = Painting(network, (96, 48), tile_size=48)
    assert painting.tiling.window == (112, 112)
    assert len(painting.tiling.tiles) == 2
    assert_same(*painting.both())


def assert_same(whole, tiled, *, tolerance=1e-5):
    loss, terms, gradient = whole
    np.testing.assert_allclose(tiled[0], loss, rtol=tolerance)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance), tiled[1], terms
    )
    assert difference(tiled[2], gradient) < tolerance


@pytest.mark.parametrize("architecture", [TINY_RESNET, TINY_GOOGLENET])
def test_the_other_networks_in_tiles(architecture):
    """Their strides are 32, their poolings overlap, and one smooths activations."""
    network = build(architecture, smoothing=architecture.default_smoothing)
    assert_same(*Painting(network, (203, 190), tile_size=64).both())


def test_the_other_losses_in_tiles():
    """Rounding decides which sample is nearest, and is divided by a variance."""
    network = build(SMALL, preprocessing=CAFFE)
    losses = ("wasserstein", "nearest_neighbor")
    painting = Painting(network, (110, 64), losses=losses)
    assert len(painting.tiling.tiles) == 2
    assert_same(*painting.both(), tolerance=5e-3)


def test_with_a_smaller_halo_there_are_seams(monkeypatch):
    """So the halo is as small as can be, and the tests above would see it."""
    network = build(SMALL, preprocessing=CAFFE)
    reach = tiles.reach_of(network, ["relu5_1"])
    assert reach == 32
    monkeypatch.setattr(tiles, "reach_of", lambda *_: reach - 16)
    (_, _, gradient), (_, _, tiled) = Painting(network, (139, 117)).both()
    assert difference(tiled, gradient) > 1e-2


def test_the_programs_of_tiles_do_not_grow_with_the_picture():
    """Both pictures are divided into tiles of 32 px without a rest."""
    network = build(SMALL, preprocessing=CAFFE)
    needed = []
    for size in (112, 176):
        painting = Painting(network, (size, size))
        assert painting.tiling.window == (96, 96)
        state = painting.tiled.init(painting.image)
        # Arrays do as shapes of them.
        gradient, *_ = painting.tiled.programs(
            state, painting.tiled_targets, painting.weights
        )
        found = gradient.compile().memory_analysis()
        assert found is not None
        needed.append((found.temp_size_in_bytes, found.argument_size_in_bytes))
    assert needed[0] == needed[1]


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(16, 900),
    tile_size=st.integers(16, 300),
    halo=st.sampled_from([0, 16, 48]),
    is_circular=st.booleans(),
)
def test_every_place_is_in_one_tile(length, tile_size, halo, is_circular):
    stride = 16
    if is_circular:
        length = length // stride * stride + 2 * halo
    window, found = tiles._divide(
        length, tile_size, halo, stride, is_circular=is_circular
    )
    edge = halo if is_circular else 0
    assert found[0][1] == edge
    assert found[-1][2] == length - edge
    for (_, _, end), (_, own, _) in itertools.pairwise(found):
        assert own == end
    assert window <= max(tile_size, stride) + 2 * halo + stride or len(found) == 1
    for start, own, end in found:
        assert start % stride == 0
        assert 0 <= start <= length - window
        assert own < end
        assert start <= max(own - halo, 0)
        assert start + window >= min(end + halo, length)


@pytest.fixture(scope="module")
def pictures():
    return picture(150, 180, seed=1), picture(70, 90, seed=2)


FEW = {
    "size": 180,
    "min_size": 0,
    "num_steps": 4,
    "progress": False,
    "tile_size": 64,
}


@pytest.mark.parametrize(
    "own",
    [
        {"strength": 0.6, "color": "luminance", "averaging": 0.5},
        {"masks": True, "finish": {"sharpen": 0.5}, "tile": True},
    ],
    ids=["strength", "masks"],
)
def test_a_picture_in_tiles_is_painted_as_the_whole(pictures, own):
    content, style = pictures
    network = build(
        SMALL, preprocessing=CAFFE, padding="circular" if "tile" in own else "reflect"
    )
    if "masks" in own:
        mask = np.zeros(content.shape[:2], np.float32)
        mask[:, :90] = 1
        own = own | {"masks": [mask, "rest"]}
        style = [style, picture(64, 64, seed=3)]
    options = FEW | own | {"network": network}
    whole = jaxnst.stylize(content, style, memory="fast", **options)
    tiled = jaxnst.stylize(content, style, memory="tiles", **options)
    assert tiled.record["result"]["memory"] == "tiles"
    np.testing.assert_allclose(
        whole.history["total"], tiled.history["total"], rtol=1e-5
    )
    # Trimming to a strength begins Adam anew, whose first steps are as long where the
    # gradient is nothing but rounding; "low" differs as much.
    assert np.abs(whole.image - tiled.image).mean() < 0.5 / 255


def test_ctrl_c_drops_the_step_and_a_checkpoint_goes_on(
    pictures, tmp_path, monkeypatch, interruptible
):
    network = build(SMALL, preprocessing=CAFFE)
    options = FEW | {"network": network, "memory": "tiles"}
    expected = jaxnst.stylize(*pictures, **options)
    wait = steps_in_tiles._wait
    count = 0

    def wait_and_interrupt(*args):
        nonlocal count
        count += 1
        if count == 35:
            os.kill(os.getpid(), signal.SIGINT)
        wait(*args)

    monkeypatch.setattr(steps_in_tiles, "_wait", wait_and_interrupt)
    options["checkpoint"] = tmp_path / "run"
    with pytest.raises(jaxnst.Interrupted) as caught:
        jaxnst.stylize(*pictures, **options)
    assert count == 35
    done = len(caught.value.result.history["total"])
    assert 0 < done < 4
    found = jaxnst.stylize(*pictures, **options)
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.history["total"], expected.history["total"])


def test_a_dropped_step_leaves_the_picture():
    painting = Painting(build(SMALL, preprocessing=CAFFE), (139, 117))
    state = painting.tiled.init(painting.image)
    arguments = state, painting.tiled_targets, [painting.weights], [[0.1]]
    with pytest.raises(StepDropped):
        painting.tiled.call(*arguments, lambda part: True)
    np.testing.assert_array_equal(state.image, painting.image)
    state, info = painting.tiled.call(*arguments)
    assert info.is_finite
    assert not np.array_equal(state.image, painting.image)


def test_a_loss_that_is_not_finite_leaves_the_picture():
    painting = Painting(build(SMALL, preprocessing=CAFFE), (139, 117))
    state = painting.tiled.init(painting.image.at[70, 60].set(jnp.nan))
    state, info = painting.tiled.call(
        state, painting.tiled_targets, [painting.weights], [[0.1]]
    )
    assert not info.is_finite
    assert np.isnan(state.image).sum() == 3


def job(network, pictures, **options):
    options = FEW | {"network": network} | options
    del options["progress"]
    content, style = pictures
    return set_up(content, style, settle_config(**options), options, progress=False)


def test_auto_paints_in_tiles_where_nothing_else_fits(pictures, monkeypatch):
    needed = {"fast": 900, "balanced": 800, "low": 700, "tiles": 300}
    monkeypatch.setattr(
        "jaxnst.transfer.memory.needed_memory",
        lambda plan, size: 1e6 * needed[plan.memory],
    )
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "400M")
    network = build(SMALL, preprocessing=CAFFE)
    assert choose_memory(job(network, pictures)) == "tiles"
    with pytest.raises(jaxnst.OutOfMemory, match="use memory='tiles'"):
        choose_memory(job(network, pictures, memory="low"))
    # One tile is the whole picture, which is no help.
    with pytest.raises(jaxnst.OutOfMemory, match="no size fits"):
        choose_memory(job(network, pictures, tile_size=512))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"style_loss": "sliced_wasserstein"}, "sorts all pixels of a layer at once"),
        ({"smoothing": "softmax"}, "'softmax' is over all values of a layer"),
        ({"padding": "circular", "size": 181}, "needs sides that are multiples of 16"),
        (
            FEW | {"optimizer": optax.lbfgs(), "network": build(SMALL)},
            "has a line search, which measures whole pictures",
        ),
    ],
)
def test_what_cannot_be_in_tiles_says_so(pictures, own, message):
    with pytest.raises(ValueError, match=message):
        jaxnst.stylize(*pictures, memory="tiles", **own)


def test_long_steps_show_how_far_they_are(pictures, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_LINE_INTERVAL", 0.0)
    options = FEW | {"progress": True, "network": build(SMALL, preprocessing=CAFFE)}
    jaxnst.stylize(*pictures, memory="tiles", strength=0.6, **options)
    shown = capsys.readouterr().err
    assert "50% of the features" in shown
    for step in (1, 2, 3, 4):
        assert f"100% of step {step}\n" in shown
    assert "100% of a trimming step\n" in shown


def test_ctrl_c_drops_a_trimming_step(pictures, monkeypatch, interruptible):
    shown = []

    def show(bar, what, part):
        if what == "trimming" and part < 1:
            shown.append(part)
            if shown.count(shown[0]) == 2:  # of the second step
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(progress.ProgressCallback, "show_part", show)
    options = FEW | {"network": build(SMALL, preprocessing=CAFFE), "strength": 0.6}
    with pytest.raises(jaxnst.Interrupted) as caught:
        jaxnst.stylize(*pictures, memory="tiles", **options)
    assert shown.count(shown[0]) == 2
    assert shown[-1] == shown[0]
    made = caught.value.result.record["result"]["strength"]
    assert made["trimming_steps"] == 0


def test_ctrl_c_drops_the_targets_of_a_larger_size(
    pictures, tmp_path, monkeypatch, interruptible
):
    shown = []

    def show(bar, what, part):
        if what == "features":
            shown.append(part)  # of the second size; the first is one tile
            os.kill(os.getpid(), signal.SIGINT)

    options = FEW | {"network": build(SMALL, preprocessing=CAFFE), "min_size": 90}
    options |= {"memory": "tiles", "coarse_steps": 2}
    expected = jaxnst.stylize(*pictures, **options)
    options["checkpoint"] = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(progress.ProgressCallback, "show_part", show)
        with pytest.raises(jaxnst.Interrupted) as caught:
            jaxnst.stylize(*pictures, **options)
    assert len(shown) == 1
    assert len(caught.value.result.history["total"]) == 2
    assert caught.value.result.image.shape == (150, 180, 3)
    found = jaxnst.stylize(*pictures, **options)
    np.testing.assert_array_equal(found.image, expected.image)
