"""Sweeps: every member is the picture that `stylize` paints, wherever it is painted."""

import concurrent.futures
import math
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from conftest import (
    CAFFE,
    TINY,
    build,
    compiled_names,
    forget_programs,
    num_programs,
)
from PIL import Image
from sweep_worker import LAYERS, SETTINGS, SIZES, make_network, pictures

import jaxnst
from jaxnst.images import load, load_picture
from jaxnst.optimize import programs as programs_module
from jaxnst.optimize.batching import StepProgram
from jaxnst.sweeps import runner
from jaxnst.sweeps.executor import pack_job, paint_packed
from jaxnst.sweeps.jobs import JobLoader, plan_sweep
from jaxnst.transfer import driver, run


HERE = Path(__file__).parent
FEW: dict[str, Any] = {
    "size": 48,
    "min_size": 0,
    "num_steps": 3,
    "progress": False,
    **LAYERS,
}
FIGURES = ("manifest.json", "manifest.csv", "index.html")


def with_tests_on_path(**variables):
    """The environment of a process that imports from this folder, too."""
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | variables


def start(*arguments, **variables):
    """Start `sweep_worker.py`."""
    return subprocess.Popen(
        [sys.executable, HERE / "sweep_worker.py", *map(str, arguments)],
        env=with_tests_on_path(**variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def members_of(settings):
    """The settings of each member of a zipped sweep."""
    columns = settings.values()
    return [dict(zip(settings, row, strict=True)) for row in zip(*columns, strict=True)]


def files_of(folder):
    """What lies in a sweep's folder, but for the figures with seconds in them."""
    return {
        path.name: path.read_bytes()
        for path in Path(folder).iterdir()
        if path.is_file() and path.name not in FIGURES
    }


# What is painted.


def test_one_program_for_each_size(tiny_network, content, style):
    """Weights, rates and counts are numbers in it: 8 members, 2 sizes, 2 programs."""
    forget_programs()
    sizes = {"size": 96, "min_size": 48, "coarse_steps": 2, "progress": False}
    sizes |= LAYERS
    found = jaxnst.sweep(
        content,
        style,
        network=tiny_network,
        style_weight=[0.3, 1],
        content_weight=[0.1, 1],
        tv_weight=[0, 0.5],
        num_steps=3,
        **sizes,
    )
    assert len(found) == len(found.results) == 8
    assert num_programs() == 2
    layers = [{"relu1_1": 1}, {"relu1_1": 1, "relu3_1": 0.5}, ["relu3_1"]]
    axes = {"style_layers": layers, "learning_rate": [0.01, 0.05]}
    jaxnst.sweep(content, style, network=tiny_network, **(FEW | axes))
    assert num_programs() == 3  # other layers, but the same for all of them


def test_members_are_what_stylize_paints(tiny_network, content, style):
    """One after the other, to the last bit."""
    settings = {"style_weight": [0.3, 3.0], "seed": [1, 2]}
    found = jaxnst.sweep(
        content, style, network=tiny_network, init="noise", **settings, **FEW
    )
    for row in found.rows:
        own = {name: row.settings[name] for name in settings}
        alone = jaxnst.stylize(
            content, style, network=tiny_network, init="noise", **own, **FEW
        )
        np.testing.assert_array_equal(found.results[row.index].image, alone.image)
        assert row.losses["total"] == alone.history["total"][-1]
        assert (row.height, row.width, row.steps) == (40, 48, 3)
        mine, others = (dict(x.record) for x in (found.results[row.index], alone))
        assert mine.pop("seconds") != others.pop("seconds")
        assert mine == others


def test_pictures_and_blends_are_axes(tiny_network, content, style, rng):
    other = rng.random((40, 40, 3)).astype(np.float32)
    found = jaxnst.sweep([content, other], [style, other], network=tiny_network, **FEW)
    assert [list(row.labels.values()) for row in found.rows] == [
        ["content 1", "style 1"],
        ["content 1", "style 2"],
        ["content 2", "style 1"],
        ["content 2", "style 2"],
    ]
    alone = jaxnst.stylize(other, style, network=tiny_network, **FEW)
    np.testing.assert_array_equal(found.results[2].image, alone.image)
    blends = jaxnst.sweep(
        content,
        [style, other],
        style_blend=[[1, 0], [1, 1]],
        network=tiny_network,
        **FEW,
    )
    assert len(blends) == 2
    alone = jaxnst.stylize(content, [style, other], network=tiny_network, **FEW)
    np.testing.assert_array_equal(blends.results[1].image, alone.image)


def test_a_small_style_without_content_in_one_batch_with_others(
    tiny_network, content, rng
):
    """It keeps its own scale, where the others enlarge it."""
    small = rng.random((32, 32, 3)).astype(np.float32)
    settings = {"network": tiny_network} | FEW
    weights = [0.15, 0.0]
    found = jaxnst.sweep(
        content, small, content_weight=weights, batch_size=2, **settings
    )
    for row, weight in zip(found.rows, weights, strict=True):
        alone = jaxnst.stylize(content, small, content_weight=weight, **settings)
        total = alone.history["total"][-1]
        assert row.losses["total"] == pytest.approx(total, rel=1e-3)


@pytest.fixture(scope="module")
def alone():
    """Steps and pictures of `sweep_worker`'s members, one by one."""
    network = make_network()
    return [
        jaxnst.stylize(*pictures(), network=network, **own, **SIZES)
        for own in members_of(SETTINGS)
    ]


def test_the_members_are_of_all_kinds(alone):
    sizes = [result.record["result"]["sizes"] for result in alone]
    assert alone[3].record["recoveries"]
    assert sizes[2][0]["stopped"] == "converged"
    assert sizes[2][0]["steps"] < 25
    assert any(size["is_averaged"] for each in sizes for size in each)


def test_on_eight_devices(alone, tmp_path):
    """Ten members: eight and two of them, over a mesh; nothing is configured."""
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8"
    with start("all", tmp_path, XLA_FLAGS=flags) as process:
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    with np.load(tmp_path / "found.npz") as found:
        for index, result in enumerate(alone):
            difference = np.abs(found[str(index)] - result.image)
            if result.record["recoveries"]:  # rates that large make much of rounding
                assert difference.mean() < 2 / 255
            else:  # to a level of 255, but for few values where rounding grew
                assert (difference > 1 / 255).mean() < 5e-3
                assert difference.max() < 4 / 255
            assert found["steps"][index] == result.record["result"]["steps"]


def test_side_by_side_on_one_device(alone):
    """As on an accelerator: `vmap`, idle rows, each at a pace of its own."""
    found = jaxnst.sweep(
        *pictures(),
        mode="zip",
        network=make_network(),
        batch_size=5,  # two batches of one program
        **SETTINGS,
        **SIZES,
    )
    # `vmap` rounds differently, and steps that begin with noise enlarge that.
    for index, result in enumerate(alone):
        other = found.results[index]
        assert other.record["recoveries"] == result.record["recoveries"]
        if not result.record["recoveries"]:
            assert np.abs(other.image - result.image).mean() < 5 / 255
            for name, column in result.history.items():
                np.testing.assert_allclose(other.history[name], column, rtol=0.1)


def test_searched_steps_and_several_pictures_side_by_side(tiny_network, content, style):
    """L-BFGS has calls of its own, and each content its own targets."""
    settings = {"optimizer": "lbfgs", "network": tiny_network} | FEW
    contents, weights = [content, content[::-1].copy()], [0.5, 2.0]
    found = jaxnst.sweep(
        contents, style, style_weight=weights, batch_size=3, **settings
    )
    for index, row in enumerate(found.rows):
        one = jaxnst.stylize(
            contents[index // 2], style, style_weight=weights[index % 2], **settings
        )
        image = found.results[index].image
        np.testing.assert_allclose(image, one.image, atol=1.01 / 255)
        assert row.losses["total"] == pytest.approx(one.history["total"][-1], rel=1e-4)


def test_styles_of_any_shape_side_by_side(tiny_network, content, style):
    """Each style keeps its proportions, and a map may make any number of regions."""
    settings = {"network": tiny_network, "optimizer": optax.sgd(0.01)} | FEW
    styles = [style, style[:, :34], np.tile(style, (2, 1, 1))]
    found = jaxnst.sweep(content, styles, batch_size=3, **settings)
    for index, each in enumerate(styles):
        one = jaxnst.stylize(content, each, **settings)
        image = found.results[index].image
        np.testing.assert_allclose(image, one.image, atol=1.01 / 255)


def test_networks_normalized_to_their_pictures(tiny_network, content, style):
    settings = {"normalize_activations": True, "network": tiny_network} | FEW
    contents = [content, 0.5 * content]
    found = jaxnst.sweep(contents, style, batch_size=2, **settings)
    for index, each in enumerate(contents):
        one = jaxnst.stylize(each, style, **settings)
        image = found.results[index].image
        np.testing.assert_allclose(image, one.image, atol=1.01 / 255)


# What goes wrong.


def broken(updates, state, params=None):
    raise ArithmeticError("it broke")


@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_member_that_fails_does_not_disturb_others(
    tiny_network, content, style, batch_size
):
    bad = optax.GradientTransformation(lambda params: optax.EmptyState(), broken)
    rows = []
    found = jaxnst.sweep(
        content,
        style,
        network=tiny_network,
        optimizer=["adam", bad],
        style_weight=[1, 2],
        batch_size=batch_size,
        callback=rows.append,
        **FEW,
    )
    assert len(rows) == 4
    assert sorted(found.results) == [0, 1]
    assert [row.error for row in found.rows[2:]] == ["ArithmeticError: it broke"] * 2
    assert len(found.errors) == 2
    with pytest.raises(ValueError, match="member 2 has no picture: ArithmeticError"):
        found.picture(2)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_programs_of_batches_are_compiled_before_they_are_needed(
    tiny_network, content, style, monkeypatch, platform
):
    """On an accelerator all at the start; and those of one picture, too."""
    device = types.SimpleNamespace(platform=platform)
    monkeypatch.setattr(run, "default_device", lambda: device)
    jax.clear_caches()
    prepared = []

    def compile_in_background(programs):
        prepared.append(1)
        return programs_module.compile_in_background(programs)

    monkeypatch.setattr(run, "compile_in_background", compile_in_background)
    settings = {
        "network": tiny_network,
        "size": 96,
        "min_size": 48,
        "num_steps": 2,
        "coarse_steps": 1,
        "steps_per_call": 2,
        "progress": False,
        **LAYERS,
    }
    needed = {"jit(step)", "jit(steps)"}
    if platform == "gpu":  # on a CPU the first targets are compiled where they are used
        needed |= {"jit(compute_targets)"}

    def heed(view):
        seen.append(len(prepared))

    for batch_size in (None, 2):
        seen = []
        prepared.clear()
        with compiled_names(is_here=True) as names:
            if batch_size is None:
                jaxnst.stylize(content, style, callback=heed, **settings)
                assert seen[0] == (4 if platform == "gpu" else 2)
            else:
                jaxnst.sweep(
                    content,
                    style,
                    style_weight=[1, 2],
                    batch_size=batch_size,
                    **settings,
                )
        assert not needed & names


@pytest.mark.parametrize(
    ("needed_fn", "asked", "count"),
    [
        (lambda count: 160_000 * count, [8, 5], 5),  # of 800,000 bytes
        (lambda count: math.inf if count > 2 else 1, [8, 4, 2], 2),  # it is refused
        (lambda count: 1e9, [8], 1),
    ],
)
def test_as_many_are_painted_at_once_as_were_measured_to_fit(
    needed_fn, asked, count, tiny_network, content, style, monkeypatch
):
    gpu = types.SimpleNamespace(platform="gpu")
    found = []

    def make_plan(jobs, level, *, num_members, **_):
        return types.SimpleNamespace(num_members=num_members, sizes=[None])

    def needed_memory(plan, size):
        found.append(plan.num_members)
        return needed_fn(plan.num_members)

    monkeypatch.setattr(runner, "default_device", lambda: gpu)
    monkeypatch.setattr(runner, "available_memory", lambda: 1e6)
    monkeypatch.setattr(runner, "make_plan", make_plan)
    monkeypatch.setattr(runner, "needed_memory", needed_memory)
    settings = {"style_weight": [*range(1, 9)], "network": tiny_network, "size": 48}
    loader = JobLoader(progress=False)
    jobs = plan_sweep(content, style, settings, mode="product", loader=loader).jobs
    assert runner._at_once(jobs, loader.load, [None]) == count
    assert found == asked


def test_too_many_at_once_become_fewer(tiny_network, content, style, monkeypatch):
    """Out of memory is tried again with half as many."""
    tried = []
    call = StepProgram.call

    def limited(self, *arguments):
        if self.num_members > 1:
            tried.append(self.num_members)
            raise MemoryError("RESOURCE_EXHAUSTED")
        return call(self, *arguments)

    monkeypatch.setattr(StepProgram, "call", limited)
    settings = {"network": tiny_network, "style_weight": [1, 2, 3, 4]} | FEW
    found = jaxnst.sweep(content, style, batch_size=4, **settings)
    assert not found.errors
    assert sorted(found.results) == [0, 1, 2, 3]
    assert sorted(set(tried), reverse=True) == [4, 2]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({}, ValueError, "nothing is swept; give a list"),
        ({"style_weight": []}, ValueError, "`style_weight` is an empty list"),
        ({"seed": range(10**12)}, ValueError, "`seed` has 1000000000000 values"),
        ({"style_weight": [1, 1]}, ValueError, "`style_weight` has 1 twice"),
        ({"style_weight": [10**400, 1]}, ValueError, "`style_weight`"),
        ({"style_weight": [1, -1]}, ValueError, r"got -1.*\(in member 1: style_weight"),
        ({"styleweight": [1]}, TypeError, "Did you mean 'style_weight'"),
        ({"seed": [1, 2], "size": 8}, ValueError, "`size` must be at least"),
        ({"seed": [1, 2], "mode": "grid"}, ValueError, "`mode` is 'grid'"),
        (
            {"seed": [1, 2], "size": [48, 64, 96], "mode": "zip"},
            ValueError,
            "of one length, got size 3, seed 2",
        ),
        ({"init": ["content", "nois"]}, FileNotFoundError, "Did you mean 'noise'"),
        ({"seed": [1, 2]}, ValueError, "use `init` 'noise'"),
        ({"seed": [1], "batch_size": 0}, ValueError, "`batch_size` must be"),
        ({"seed": [1], "extension": ".gif"}, ValueError, "unknown extension '.gif'"),
        ({"style_blend": [[1, 0], [0, 1]]}, ValueError, "for 1 style picture"),
    ],
)
def test_bad_sweeps_are_told_before_anything_is_painted(
    tiny_network, content, style, settings, error, message
):
    settings = FEW | {"network": tiny_network} | settings
    with pytest.raises(error, match=message):
        jaxnst.sweep(content, style, **settings)


# What comes out.


def test_results_are_found_and_shown(tiny_network, content, style, tmp_path):
    settings: dict[str, Any] = {"network": tiny_network, "init": "noise"} | FEW
    found = jaxnst.sweep(content, style, style_weight=[1, 3], seed=[0, 1], **settings)
    (row,) = found.find(style_weight=3.0, seed="1")
    assert row.index == 3
    assert len(found.find(seed=0)) == 2
    with pytest.raises(ValueError, match="`seed` is never 7; it is 0, 1"):
        found.find(seed=7)
    with pytest.raises(ValueError, match=r"`axis` is 'sead'\. Did you mean 'seed'"):
        found.find(sead=7)
    assert found.picture(3).size == (48, 40)
    sheet = found.sheet()
    assert found._repr_png_().startswith(b"\x89PNG")
    assert len(repr(found)) < 200
    folder = found.save(tmp_path / "grid")
    assert {"sheet.png", *FIGURES} < {path.name for path in folder.iterdir()}
    assert (
        jaxnst.read_record(folder / "3_style_weight-3_seed-1.png")["settings"][
            "style_weight"
        ]
        == 3
    )
    again = jaxnst.sweep(
        content,
        style,
        style_weight=[1, 3],
        seed=[0, 1],
        output=tmp_path / "grid",
        callback=lambda row: pytest.fail("nothing is missing"),
        **settings,
    )
    np.testing.assert_array_equal(again.picture(3), found.picture(3))
    assert again.results == {}
    assert again.sheet().size == sheet.size
    copied = again.save(tmp_path / "copy")
    assert files_of(copied) == files_of(folder)


def test_a_changed_sweep_is_refused(tiny_network, content, style, tmp_path):
    settings = {"network": tiny_network, "style_weight": [1, 3]} | FEW
    settings["output"] = tmp_path / "grid"
    jaxnst.sweep(content, style, **settings)
    changes = {
        r"0_style_weight-1\.png: its `num_steps` is 3, not 4": {"num_steps": 4},
        r"1_style_weight-3\.png: its `style_weight` is 3\.0, not 4\.0": {
            "style_weight": [1, 4]
        },
        r"0_style_weight-1\.png is none of its pictures": {"detail": [0, 1]},
        "`bits` was 8, is 16": {"bits": 16},
        "`weights` was": {"network": other_network()},
    }
    for message, change in changes.items():
        with pytest.raises(ValueError, match=f"holds another sweep: {message}"):
            jaxnst.sweep(content, style, **settings | change)
    with pytest.raises(ValueError, match="it was made from another content picture"):
        jaxnst.sweep(0.9 * content, style, **settings)
    # More values behind the others are the same sweep, continued.
    painted = []
    more: dict[str, Any] = settings | {"style_weight": [1, 3, 10]}
    jaxnst.sweep(content, style, callback=painted.append, **more)
    assert [row.index for row in painted] == [2]


def other_network():
    return build(TINY, seed=7, preprocessing=CAFFE, padding="replicate")


@pytest.mark.parametrize("kind", [".jpg", ".webp", ".tif", "init", "masks"])
def test_a_finished_sweep_is_not_painted_again(
    tiny_network, content, style, tmp_path, kind
):
    """The record says so in every format, whatever it was painted from."""
    settings = {"network": tiny_network, "style_weight": [1, 3]} | FEW
    settings["output"] = tmp_path / "grid"
    styles: Any = style
    if kind == "init":
        settings["init"] = content
    elif kind == "masks":
        mask = np.zeros((40, 48), np.float32)
        mask[:, :24] = 1
        settings["masks"], styles = [mask, "rest"], [style, style[::-1].copy()]
    else:
        settings["extension"] = kind
    first = jaxnst.sweep(content, styles, **settings)
    painted = []
    again = jaxnst.sweep(content, styles, callback=painted.append, **settings)
    assert painted == []
    assert again.rows == first.rows
    assert not first.errors


@pytest.mark.parametrize("batch_size", [None, 2])
def test_ctrl_c_keeps_what_is_finished(
    tiny_network, content, style, tmp_path, interruptible, batch_size
):
    settings = {"network": tiny_network, "style_weight": [1, 2, 3, 4, 5]} | FEW
    settings["batch_size"] = batch_size
    whole = jaxnst.sweep(content, style, output=tmp_path / "whole", **settings)

    def interrupt(row):
        if row.index == 1:
            # As the next picture is under way.
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        jaxnst.sweep(
            content, style, output=tmp_path / "cut", callback=interrupt, **settings
        )
    assert isinstance(caught.value, jaxnst.SweepInterrupted)
    assert [row.index for row in caught.value.result.rows] == [0, 1]
    painted = []
    jaxnst.sweep(
        content, style, output=tmp_path / "cut", callback=painted.append, **settings
    )
    assert [row.index for row in painted] == [2, 3, 4]
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")
    assert len(whole) == 5
    rows = []

    def give_up(view):
        assert np.shape(view.image) == (*view.shape, 3)
        if len(rows) == 2:
            raise KeyboardInterrupt

    with pytest.raises(jaxnst.SweepInterrupted) as caught:
        jaxnst.sweep(
            content, style, callback=rows.append, step_callback=give_up, **settings
        )
    assert [row.index for row in caught.value.result.rows] == [0, 1]


# Elsewhere.


def test_two_processes_share_a_sweep(content, style, tmp_path):
    """With JAX's own runtime, `jax.distributed`: the files of one process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [start("share", tmp_path, number, address) for number in (0, 1)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    jaxnst.sweep(
        content,
        style,
        style_weight=[0.3, 1.0, 3.0, 10.0, 30.0],
        size=48,
        num_steps=3,
        network=make_network(),
        output=tmp_path / "alone",
        progress=False,
        **LAYERS,
    )
    assert files_of(tmp_path / "out") == files_of(tmp_path / "alone")
    rows = [(tmp_path / name / "manifest.csv").read_text() for name in ("out", "alone")]
    assert len(rows[0].splitlines()) == len(rows[1].splitlines()) == 6


class Workers(concurrent.futures.ProcessPoolExecutor):
    """A pool whose third job and all after it wait for a file that never comes."""

    def __init__(self, gate):
        context = multiprocessing.get_context("spawn")
        super().__init__(2, mp_context=context)
        self.gate = gate
        self.num_jobs = 0

    def submit(self, function, /, *arguments, **named):
        self.num_jobs += 1
        if self.num_jobs > 2:
            return super().submit(wait_for, self.gate, function, *arguments, **named)
        return super().submit(function, *arguments, **named)


def wait_for(gate, function, *arguments):
    deadline = time.monotonic() + 60
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return function(*arguments)


def test_workers_paint_the_same_pictures(tiny_network, files, style, tmp_path):
    """And when one is killed, what is missing is painted by the next sweep."""
    settings = {"network": tiny_network, "style_weight": [1, 2, 3, 4]} | FEW
    content, _ = files
    jaxnst.sweep(content, style, output=tmp_path / "here", **settings)
    killed = []
    with Workers(tmp_path / "gate") as executor:

        def kill(row):
            del row
            if not killed:
                killed.append(next(iter(executor._processes)))
                os.kill(killed[0], signal.SIGKILL)

        found = jaxnst.sweep(
            content,
            style,
            executor=executor,
            output=tmp_path / "there",
            callback=kill,
            **settings,
        )
    errors = list(found.errors.values())
    assert 2 <= len(errors) < 4
    assert all("a worker died" in error for error in errors)
    assert len([row for row in found.rows if row.error is None]) == 4 - len(errors)
    found = jaxnst.sweep(content, style, output=tmp_path / "there", **settings)
    assert not found.errors
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


@pytest.mark.parametrize("batch_size", [None, 2])
def test_ctrl_c_after_the_last_step_keeps_what_is_finished(
    tiny_network, content, style, interruptible, monkeypatch, batch_size
):
    came = []

    def measure(image, job):
        if not came:
            came.append(signal.raise_signal(signal.SIGINT))
        return {"lpips": 0.5}

    monkeypatch.setattr(driver, "measure_result", measure)
    settings = {"network": tiny_network, "style_weight": [1, 2, 3, 4]} | FEW
    with pytest.raises(jaxnst.SweepInterrupted) as caught:
        jaxnst.sweep(content, style, batch_size=batch_size, metrics=True, **settings)
    assert sorted(caught.value.result.results) == [0, 1][: batch_size or 1]


def test_one_picture_s_fault_after_its_steps_is_its_own(
    tiny_network, content, style, monkeypatch
):
    finish = runner.finish

    def fail(job, *arguments, **options):
        if job.config.seed == 1:
            raise RuntimeError("no filter today")
        return finish(job, *arguments, **options)

    monkeypatch.setattr(runner, "finish", fail)
    settings = {"network": tiny_network, "seed": [0, 1, 2], "init": "noise"} | FEW
    found = jaxnst.sweep(content, style, batch_size=3, **settings)
    assert sorted(found.results) == [0, 2]
    assert ["no filter today" in error for error in found.errors.values()] == [True]


def test_filters_of_members_keep_their_order(tiny_network, content, style):
    finishes = [["sharpen"], ["grain", "sharpen"], ["sharpen", "grain"]]
    settings = {"network": tiny_network, "finish": finishes} | FEW
    found = jaxnst.sweep(content, style, **settings)
    for index, finish in enumerate(finishes):
        result = found.results[index]
        assert [*result.record["settings"]["finish"]] == finish
        alone = jaxnst.stylize(
            content, style, **FEW, network=tiny_network, finish=finish
        )
        np.testing.assert_array_equal(result.image, alone.image)


def _refuse(view):
    pytest.fail("it was painted")


def test_a_filter_without_its_package_is_told_before_painting(
    tiny_network, content, style, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    settings = {"network": tiny_network, "finish": [["sharpen"], ["denoise"]]} | FEW
    with pytest.raises(ImportError, match=r"jaxnst\[finish\]'.*in member 1"):
        jaxnst.sweep(content, style, step_callback=_refuse, **settings)


def test_equal_pictures_are_left_as_they_are_in_batches_too(tiny_network, content):
    settings = {"network": tiny_network, "style_weight": [1, 2]} | FEW
    with pytest.warns(UserWarning, match="are the same picture"):
        found = jaxnst.sweep(content, content, batch_size=2, **settings)
    with pytest.warns(UserWarning, match="are the same picture"):
        alone = jaxnst.stylize(content, content, network=tiny_network, **FEW)
    for result in found.results.values():
        np.testing.assert_array_equal(result.image, alone.image)


def test_large_files_are_named_for_workers_too(tiny_network, files, monkeypatch):
    content, style = files
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(load, "_USUAL_PIXELS", 1000)
    settings = {"network": tiny_network, "seed": [0]} | FEW
    del settings["progress"]
    plan = plan_sweep(content, style, settings, mode="product", loader=JobLoader())
    sent = pickle.loads(pickle.dumps(pack_job(plan.jobs[0])["content"]))
    expected = load_picture(content).rgb
    np.testing.assert_array_equal(load_picture(sent).rgb, expected)
    with pytest.raises(ValueError, match="megapixels"):
        load_picture(sent, is_named=False)


def test_jobs_hold_all_they_need(tiny_network, files, style, tmp_path):
    content, _ = files
    settings = {"network": tiny_network, "init": [content, "noise"]} | FEW
    del settings["progress"]
    plan = plan_sweep(content, style, settings, mode="product", loader=JobLoader())
    job = pack_job(plan.jobs[0])
    with Path(content).open("rb") as opened:
        plan = plan_sweep(opened, style, settings, mode="zip", loader=JobLoader())
        files_sent = [pack_job(plan.jobs[0])["content"], job["content"]]
        assert files_sent[0].getvalue() == files_sent[1].getvalue()
        assert files_sent[0].name == files_sent[1].name
    here = jaxnst.stylize(content, style, init=content, network=tiny_network, **FEW)
    Path(content).unlink()
    result, seconds = paint_packed(job)
    assert seconds > 0
    assert isinstance(result, jaxnst.Result)
    np.testing.assert_array_equal(result.image, here.image)
    assert result.record["inputs"] == here.record["inputs"]


def test_executors_that_fork_are_refused(tiny_network, content, style):
    context = multiprocessing.get_context("fork")
    with (
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor,
        pytest.raises(ValueError, match="`executor` forks its processes"),
    ):
        jaxnst.sweep(content, style, seed=[1, 2], executor=executor, **FEW)


def test_a_cluster_that_loses_a_worker(tiny_network, content, style):
    """Dask gives the work of a worker that was killed to another."""
    distributed = pytest.importorskip(
        "distributed", reason="needs dask; pip install 'jaxnst[dask]'"
    )
    settings = {"network": tiny_network, "style_weight": [1, 2, 3, 4]} | FEW
    killed = []
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):

        def kill(row):
            if not killed:
                pid = cluster.workers[0].pid
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

        found = jaxnst.sweep(
            content, style, executor=client.get_executor(), callback=kill, **settings
        )
    assert killed
    assert not found.errors
    here = jaxnst.sweep(content, style, **settings)
    for index in range(4):
        np.testing.assert_array_equal(
            found.results[index].image, here.results[index].image
        )


def test_several_processes_need_a_folder(tiny_network, content, style, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="JAX runs in 2 processes; give `output`"):
        jaxnst.sweep(content, style, seed=[1, 2], network=tiny_network, **FEW)
