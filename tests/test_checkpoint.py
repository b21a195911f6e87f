"""A painting that is interrupted goes on from its checkpoint, to the same picture."""

import functools
import os
import signal
import types
from typing import Any

import jax
import numpy as np
import optax
import pytest
import safetensors.numpy

import jaxnst
from jaxnst.cli.main import main
from jaxnst.optimize import checkpoint as module
from jaxnst.transfer import plan


QUICK: dict[str, Any] = {"size": 96, "min_size": 48, "progress": False}
QUICK |= {"coarse_steps": 12, "num_steps": 14}


@pytest.fixture
def stylize(tiny_network, content, style):
    def stylize(**settings):
        given = QUICK | {"network": tiny_network} | settings
        return jaxnst.stylize(content, style, **given)

    return stylize


def stopping_at(number):
    def callback(view):
        if view.step == number:
            os.kill(os.getpid(), signal.SIGINT)

    return callback


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strength": 0.6},
        {"averaging": 0.8, "tolerance": 0.02},
        {"steps_per_call": 5},
        {"learning_rate": 3.0},  # diverges, and recovers
    ],
    ids=str,
)
def test_any_interruption_leads_to_the_same_picture(
    stylize, tmp_path, settings, interruptible
):
    whole = stylize(**settings)
    folder = tmp_path / "run"
    for number in (1, 5, 12, 13, 20, 24, 25):
        try:
            stylize(checkpoint=folder, callback=stopping_at(number), **settings)
        except jaxnst.Interrupted:
            assert (folder / module.FILE).exists()
    found = stylize(checkpoint=folder, **settings)
    np.testing.assert_array_equal(found.image, whole.image)
    same = ("settings", "inputs", "recoveries")
    assert [found.record[x] for x in same] == [whole.record[x] for x in same]
    assert found.record["result"] == whole.record["result"]
    for name, values in whole.history.items():
        np.testing.assert_array_equal(found.history[name], values)
    again = stylize(checkpoint=folder, **settings)
    np.testing.assert_array_equal(again.image, whole.image)


def test_it_is_kept_every_few_minutes(stylize, tmp_path, monkeypatch):
    """As SIGKILL leaves it: the next run starts from the last one that was kept."""
    monkeypatch.setattr(module, "_INTERVAL", 0.0)
    monkeypatch.setattr(module, "_SHARE", 0)
    kept = []
    real = module.Checkpoint.save

    def save(self, *args):
        real(self, *args)
        if len(kept) == 16:
            raise RuntimeError("killed")
        kept.append((self.path / module.FILE).read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(module.Checkpoint, "save", save)
        with pytest.raises(RuntimeError, match="killed"):
            stylize(checkpoint=tmp_path / "run")
    assert len({*kept}) == 16
    steps = []
    found = stylize(
        checkpoint=tmp_path / "run", callback=lambda view: steps.append(view.step)
    )
    assert steps[0] == 18
    np.testing.assert_array_equal(found.image, stylize().image)


@pytest.mark.parametrize("is_there", [True, False], ids=["to a CPU", "from a CPU"])
def test_another_device_goes_on(
    stylize, tmp_path, monkeypatch, interruptible, is_there
):
    """A GPU makes several steps a call, and a CPU one."""
    whole, folder = stylize(), tmp_path / "run"
    device = types.SimpleNamespace(platform="gpu")

    def on_gpu(patch):
        patch.setattr(plan, "default_device", lambda: device)
        patch.setattr(plan, "_MOST_STEPS_PER_CALL", 5)

    with monkeypatch.context() as patch:
        if is_there:
            on_gpu(patch)
        with pytest.raises(jaxnst.Interrupted):
            stylize(checkpoint=folder, callback=stopping_at(17))
    with monkeypatch.context() as patch:
        if not is_there:
            on_gpu(patch)
        found = stylize(checkpoint=folder)
    np.testing.assert_allclose(found.image, whole.image, atol=2e-3)
    assert len(found.history["total"]) == len(whole.history["total"])


def test_a_full_disk_does_not_end_the_painting(stylize, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.numpy.save_file", fail)
        with pytest.warns(UserWarning, match="cannot be written: .*No space left"):
            found = stylize(checkpoint=tmp_path / "run")
    assert not (tmp_path / "run" / module.FILE).exists()
    np.testing.assert_array_equal(found.image, stylize().image)


def test_a_finished_painting_gets_more_steps(stylize, tmp_path):
    folder, steps = tmp_path / "run", []
    first = stylize(checkpoint=folder)

    def callback(view):
        steps.append(view.step)
        if view.step == 29:
            raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        stylize(checkpoint=folder, more_steps=6, callback=callback)
    assert steps == [27, 28, 29]
    more = stylize(checkpoint=folder, more_steps=6)
    assert more.record["result"]["steps"] == 32
    assert more.record["settings"]["num_steps"] == 20
    assert more.history["total"][-1] < first.history["total"][-1]
    same = stylize(checkpoint=folder, num_steps=20)
    np.testing.assert_array_equal(same.image, more.image)
    with pytest.raises(ValueError, match="Give 20, and `more_steps` to go on"):
        stylize(checkpoint=folder)
    with pytest.raises(ValueError, match="`seed` differs"):
        stylize(checkpoint=folder, seed=3)


def test_another_order_of_masks_is_another_painting(
    tiny_network, content, style, tmp_path
):
    half = np.zeros((40, 48), np.float32)
    half[:, :24] = 1
    settings = QUICK | {"network": tiny_network, "checkpoint": tmp_path / "run"}
    stylize = functools.partial(
        jaxnst.stylize, content, [style, style[::-1]], **settings
    )
    stylize(masks=[half, "rest"])
    with pytest.raises(ValueError, match="`masks` differs"):
        stylize(masks=["rest", half])
    (tmp_path / "run" / ".DS_Store").touch()  # of a Mac
    stylize(masks=[half, "rest"])


def test_what_cannot_go_on_is_said(stylize, tmp_path):
    folder = tmp_path / "run"
    stylize(checkpoint=folder)
    for settings, message in (
        ({"seed": 3}, r"another painting: `seed` differs \(0 and 3\)"),
        ({"strength": 0.5}, "`strength` differs"),
        ({"optimizer": "lbfgs"}, "cannot keep L-BFGS"),
        ({"more_steps": -1}, "`more_steps` must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            stylize(checkpoint=folder, **settings)
    with pytest.raises(ValueError, match="needs `checkpoint`"):
        stylize(more_steps=3)
    with pytest.raises(ValueError, match="no painting to go on with"):
        stylize(checkpoint=tmp_path / "new", more_steps=3)
    file = folder / module.FILE
    whole = file.read_bytes()
    for damaged in (
        b"",
        whole[:-9],
        b"\xff" * 100,
        whole.replace(b"jaxnst", b"jaxnsT"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"cannot be used.*Remove it"):
            stylize(checkpoint=folder)
    file.unlink()
    (folder / "photo.png").touch()
    with pytest.raises(FileExistsError, match=r"full of other things \(there is photo"):
        stylize(checkpoint=folder)
    with pytest.raises(OSError, match="cannot be made"):
        stylize(checkpoint=folder / "photo.png")
    opened = module.Checkpoint(tmp_path / "new")
    with pytest.raises(BlockingIOError, match="another run is writing there"):
        stylize(checkpoint=tmp_path / "new")
    opened.close()


def test_what_cannot_be_written_is_told_before_painting(stylize, tmp_path):
    (tmp_path / module.FILE).mkdir()
    with pytest.raises(OSError, match="is a folder"):
        stylize(checkpoint=tmp_path, callback=lambda _: pytest.fail("painted"))


def test_a_picture_of_no_numbers_is_refused(stylize, tmp_path):
    stylize(checkpoint=tmp_path, size=48, num_steps=2)
    place = tmp_path / module.FILE
    arrays = safetensors.numpy.load_file(place)
    with safetensors.safe_open(place, "numpy") as file:
        metadata = file.metadata()
    broken = {name: x * np.float32(np.nan) for name, x in arrays.items()}
    safetensors.numpy.save_file(broken, place, metadata)
    with pytest.raises(ValueError, match=r"cannot be used: .* Remove it"):
        stylize(checkpoint=tmp_path, size=48, num_steps=2)


def test_an_optimizer_that_cannot_be_kept_is_warned_of(stylize, tmp_path):
    optimizer = optax.chain(
        optax.add_noise(0.01, 0.5, key=jax.random.key(0)), optax.sgd(1e-3)
    )
    with pytest.warns(UserWarning, match="checkpoint .* cannot be written"):
        stylize(checkpoint=tmp_path / "run", optimizer=optimizer)


def test_the_command_goes_on(tiny_vgg19, files, tmp_path, interruptible, capsys):
    arguments = [*map(str, files), "-o", str(tmp_path / "out.png"), "--size", "48"]
    arguments += ["--checkpoint", str(tmp_path / "run"), "--quiet"]
    assert main(["stylize", *arguments]) == 0
    before = jaxnst.read_record(tmp_path / "out.png")["settings"]["num_steps"]
    assert main(["stylize", *arguments, "--more-steps", "2"]) == 0
    after = jaxnst.read_record(tmp_path / "out.png")["settings"]["num_steps"]
    assert after == before + 2
    assert main(["stylize", *arguments]) == 2
    assert f"`num_steps` differs ({after} and {before})" in capsys.readouterr().err
