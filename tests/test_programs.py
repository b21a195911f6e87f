"""Programs: compiled ahead in the background, and kept by JAX from run to run."""

import json
import os
import signal
import subprocess
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import compiled_names

from jaxnst.optimize import programs
from jaxnst.optimize.programs import (
    Held,
    Program,
    cache_folder,
    compile_in_background,
    compile_quickly,
    use_program_cache,
)


WORKER = """
import json, os
import conftest
os.environ["JAXNST_CACHE"] = "1"  # which conftest turns off for the tests themselves
import jax, jaxnst
from jax import monitoring

counts = {"hits": 0, "misses": 0}

def note(event, **_):
    for name in counts:
        if event == f"/jax/compilation_cache/cache_{name}":
            counts[name] += 1

monitoring.register_event_listener(note)
network = conftest.build(conftest.TINY, preprocessing=conftest.CAFFE)
result = jaxnst.stylize(
    conftest.picture(seed=1), conftest.picture(36, 50, seed=2), network=network,
    size=48, min_size=0, num_steps=2, progress=False, content_layers=["relu2_1"],
    style_layers=["relu1_1", "relu2_1"],
)
folder = jax.config.jax_compilation_cache_dir
print(json.dumps({**counts, "folder": folder, "mean": float(result.image.mean())}))
"""


# JAX does not declare its options.
CONFIG: Any = jax.config


def paint(folder):
    """Paint in a process of its own; return what it counted and what it printed."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(paths), "JAXNST_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_second_run_compiles_nothing_and_damage_costs_one_compilation(tmp_path):
    first, said = paint(tmp_path)
    assert first["hits"] == 0
    assert first["misses"] > 0
    assert str(tmp_path) in first["folder"]
    assert os.name == "nt" or Path(first["folder"]).stat().st_mode & 0o777 == 0o700
    assert not said
    entries = sorted(Path(first["folder"]).glob("*-cache"))
    step = next(path for path in entries if path.name.startswith("jit_step"))
    step.write_bytes(step.read_bytes()[:100])
    unfinished = next(path for path in entries if path != step)
    name = unfinished.name.removesuffix("-cache")
    unfinished.with_name(f"{name}-atime").unlink()
    for misses in (2, 0):  # mended by the run that found it
        found, said = paint(tmp_path)
        assert found["misses"] == misses
        assert found["hits"] == first["misses"] - misses
        assert found["mean"] == first["mean"]
        assert not said


def test_programs_of_accelerators_do_not_depend_on_the_host(tmp_path, monkeypatch):
    """JAX's keys hold what they depend on, and a folder may go from host to host."""
    monkeypatch.setenv("JAXNST_CACHE", "1")
    monkeypatch.setenv("JAXNST_CACHE_DIR", str(tmp_path))
    found = []
    for platform, processor in (("cpu", "a"), ("cpu", "b"), ("gpu", "a"), ("gpu", "b")):
        monkeypatch.setattr(programs, "_processor", lambda name=processor: name)
        device = types.SimpleNamespace(platform=platform)
        monkeypatch.setattr(programs, "default_device", lambda device=device: device)
        found.append(cache_folder())
    assert found[0] != found[1]
    assert found[2] == found[3] == tmp_path / "programs-gpu"


@pytest.mark.parametrize("is_off", [True, False])
def test_the_user_s_own_choice_is_left(tmp_path, monkeypatch, is_off):
    """No cache at all, or one that the user has set up for JAX."""
    before = CONFIG.jax_compilation_cache_dir
    monkeypatch.setenv("JAXNST_CACHE_DIR", str(tmp_path / "jaxnst"))
    monkeypatch.setenv("JAXNST_CACHE", "0" if is_off else "1")
    try:
        if not is_off:
            CONFIG.update("jax_compilation_cache_dir", str(tmp_path / "own"))
        use_program_cache()
        expected = before if is_off else str(tmp_path / "own")
        assert CONFIG.jax_compilation_cache_dir == expected
        assert not (tmp_path / "jaxnst").exists()
    finally:
        CONFIG.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize(
    ("platform", "level", "expected"),
    [
        ("tpu", "UNKNOWN", "O1"),
        ("tpu", "O2", "O2"),
        ("gpu", "UNKNOWN", "UNKNOWN"),
        ("cpu", "UNKNOWN", "UNKNOWN"),
    ],
)
def test_programs_for_tpus_are_compiled_quickly(monkeypatch, platform, level, expected):
    device = types.SimpleNamespace(platform=platform)
    monkeypatch.setattr(programs, "default_device", lambda: device)
    before = CONFIG.jax_optimization_level
    try:
        CONFIG.update("jax_optimization_level", level)
        compile_quickly()
        assert CONFIG.jax_optimization_level == expected
    finally:
        CONFIG.update("jax_optimization_level", before)


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JAXNST_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setenv("JAXNST_CACHE", "1")
    before = CONFIG.jax_compilation_cache_dir
    use_program_cache()
    assert CONFIG.jax_compilation_cache_dir == before


@pytest.mark.skipif(os.name == "nt", reason="folders of Windows have no such modes")
def test_a_folder_that_others_can_write_to_is_not_used(tmp_path, monkeypatch):
    """Programs are code; who can write to the folder could have it run."""
    monkeypatch.setenv("JAXNST_CACHE", "1")
    before = CONFIG.jax_compilation_cache_dir
    for number, (mode, above) in enumerate(
        ((0o770, 0o755), (0o702, 0o755), (0o700, 0o777))
    ):
        monkeypatch.setenv("JAXNST_CACHE_DIR", str(tmp_path / str(number)))
        folder = cache_folder()
        assert folder is not None
        folder.mkdir(parents=True)
        folder.chmod(mode)
        folder.parent.chmod(above)
        with pytest.warns(UserWarning, match="can be written to by other") as warned:
            use_program_cache()
        with warnings.catch_warnings(action="error"):  # told once
            use_program_cache()
        assert "\n" not in str(warned[0].message)
        assert CONFIG.jax_compilation_cache_dir == before


ENDING = """
import signal, time
import jax
from jaxnst.optimize.programs import cache_folder, Program, compile_in_background

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job may ignore it

def compiled_for_long(x):
    while signal.getsignal(signal.SIGINT) != signal.SIG_DFL:
        time.sleep(0.01)
    print("at the end", flush=True)
    time.sleep(60)

compile_in_background([Program(jax.jit(compiled_for_long), (1.0,), {})])
print("saved")
"""


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent in another way")
def test_ctrl_c_ends_a_process_that_waits_for_its_compiler():
    """Without a traceback, and without losing what was printed."""
    with subprocess.Popen(
        [sys.executable, "-c", ENDING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saved\n"
        assert process.stdout.readline() == "at the end\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert not said


def test_what_is_held_is_taken_apart_once():
    taken = []

    class Tree:
        def __init__(self, x):
            self.x = x

    def take_apart(tree):
        taken.append(tree)
        return [tree.x], None

    jax.tree_util.register_pytree_node(
        Tree, take_apart, lambda _, leaves: Tree(*leaves)
    )
    held = Held(Tree(jnp.ones(3)))
    double_fn = jax.jit(lambda tree: 2 * tree.x)
    for _ in range(3):
        np.testing.assert_array_equal(double_fn(held), 2 * np.ones(3))
    assert len(taken) == 1


@pytest.fixture
def scale():
    def scale_once(x, *, power):
        return x**power

    return jax.jit(scale_once, static_argnames="power")


def test_what_was_compiled_ahead_is_not_compiled_again(scale):
    shape = jax.ShapeDtypeStruct((5, 7), jnp.float32)
    program = Program(scale, (shape,), {"power": 3})
    compile_in_background(iter([program])).join()
    x = jnp.full((5, 7), 2.0, jnp.float32)
    with compiled_names() as names:
        np.testing.assert_array_equal(scale(x, power=3), 8 * jnp.ones((5, 7)))
    assert "jit(scale_once)" not in names


def test_a_program_that_does_not_compile_raises_where_it_is_called(scale):
    program = Program(scale, ("no array",), {"power": 3})
    compile_in_background([program]).join()
    with pytest.raises(TypeError):
        scale("no array", power=3)


def test_the_device_of_the_caller_is_that_of_the_worker(scale):
    """Set for this thread alone, as by `with jax.default_device(...)`."""
    shape = jax.ShapeDtypeStruct((5, 8), jnp.float32)
    with jax.default_device(jax.devices("cpu")[0]):
        compile_in_background([Program(scale, (shape,), {"power": 2})]).join()
        x = jnp.ones((5, 8))
        with compiled_names() as names:
            scale(x, power=2)
    assert "jit(scale_once)" not in names
