"""One picture over several devices: the same picture, in a part of the memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from rows_worker import CASES

import jaxnst
from jaxnst.networks.sharding import rows_of


HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What `rows_worker.py` found with 8 devices."""
    place = tmp_path_factory.mktemp("rows") / "found.json"
    done = subprocess.run(
        [sys.executable, HERE / "rows_worker.py", place],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(place.read_text())


@pytest.mark.parametrize("name", ["painting", "tiles"])
def test_all_devices_paint_what_one_paints(found, name):
    """To rounding; Adam makes more of it where the gradient is next to nothing."""
    case = found[name]
    assert case["loss"] < 1e-3
    assert case["within_a_level"] > 0.995
    assert case["moved"] > 0.001
    assert case["device"]["count"] == 8
    assert case["settings"] == "all"


def test_tiles_are_painted_alike_where_another_device_holds_the_picture(found):
    """All tiles are computed by the second device, which never has the whole."""
    case = found["apart"]
    assert case["same"]
    assert case["moved"] > 0.001
    assert case["devices"] == [1]


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_are_those_of_one_device(found, name):
    assert found[name]["loss"] < 1e-4
    assert found[name]["gradient"] < 1e-3


def test_each_device_holds_its_part(found):
    """Near an eighth; nothing but rims, Gram matrices and the picture is exchanged."""
    one, all_ = found["programs"]["one"], found["programs"]["all"]
    assert one["exchanged"] == {}
    assert all_["temporary"] < 0.3 * one["temporary"]
    exchanged = all_["exchanged"]
    assert set(exchanged) == {"all-gather", "all-reduce", "collective-permute"}
    # The gradient of the picture; a row of activations; a Gram matrix.
    assert exchanged["all-gather"] <= 3 * 512 * 512
    assert exchanged["collective-permute"] <= 32 * 512
    assert exchanged["all-reduce"] <= 32 * 32


def test_rows_are_even_at_every_depth():
    """By hand: 277 rows, halved four times; 8 devices share multiples of 128."""
    if jax.device_count() != 1:
        pytest.skip("made for one device")
    mesh = jax.sharding.Mesh(jax.devices(), ("rows",))
    rows = rows_of(mesh, [277, 277, 138, 69, 69, 34, 17])
    # One device here, so multiples of 2 ** 4.
    assert rows.counts == ((288, 277), (144, 138), (72, 69), (36, 34), (18, 17))
    assert rows.filling(144) == 144 / 138


def test_one_device_paints_as_usual(tiny_network, content, style):
    settings = {"network": tiny_network, "size": 48, "min_size": 0, "num_steps": 2}
    plain = jaxnst.stylize(content, style, progress=False, **settings)
    all_ = jaxnst.stylize(content, style, devices="all", progress=False, **settings)
    assert (all_.image == plain.image).all()
    assert all_.record["device"]["count"] == 1
    assert "devices" in all_.record["settings"]


def test_unknown_devices_are_told(tiny_network, content, style):
    with pytest.raises(ValueError, match="`devices` is 'al'"):
        jaxnst.stylize(content, style, devices="al", network=tiny_network)
