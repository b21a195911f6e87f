"""Programs are found again in memory and on disk, whatever happened to the files."""

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnst import program_files
from jaxnst.compiling import KeptFunction
from jaxnst.program_files import cache_folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXNST_CACHE", "1")
    monkeypatch.setenv("JAXNST_CACHE_DIR", str(tmp_path / "programs"))
    return tmp_path / "programs"


def make_function(factor=3.0) -> KeptFunction:
    """Return a new function, of which nothing is in memory."""

    def scale(x, y, *, power=1):
        return jnp.sin(x) ** power * factor + y["b"]

    return KeptFunction(scale, static_argnames=("power",))


X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), {"b": np.float32(0.5)}


def expected(power=1, factor=3.0):
    return np.sin(X) ** power * factor + 0.5


def forbid_compiling(monkeypatch):
    def compile_nothing(*_, **__):
        raise AssertionError("compiled anew")

    monkeypatch.setattr(jax.stages.Lowered, "compile", compile_nothing)


def test_each_program_is_made_once_and_found_in_memory(folder, monkeypatch):
    function = make_function()
    np.testing.assert_allclose(function(X, Y), expected(), rtol=1e-6)
    np.testing.assert_allclose(function(X, Y, power=2), expected(2), rtol=1e-6)
    assert function.num_programs() == 2
    forbid_compiling(monkeypatch)
    np.testing.assert_allclose(function(X, Y), expected(), rtol=1e-6)
    shapes = jax.ShapeDtypeStruct(X.shape, X.dtype), {"b": jnp.float32(7)}
    assert function.get(*shapes) is function.get(X, Y)
    with pytest.raises(AssertionError, match="compiled anew"):
        function(X[:1], Y)


def test_another_process_s_program_is_found_on_disk(folder, monkeypatch):
    make_function()(X, Y)
    assert len(list(folder.iterdir())) == 1
    forbid_compiling(monkeypatch)
    np.testing.assert_allclose(make_function()(X, Y), expected(), rtol=1e-6)
    with pytest.raises(AssertionError, match="compiled anew"):
        make_function(factor=4.0)(X, Y)


@pytest.mark.parametrize("damage", [b"", b"no program", None])
def test_damaged_files_are_mended(folder, damage):
    make_function()(X, Y)
    (path,) = folder.iterdir()
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2] if damage is None else damage)
    np.testing.assert_allclose(make_function()(X, Y), expected(), rtol=1e-6)
    assert len(path.read_bytes()) == len(good)


def test_two_processes_at_once(folder):
    code = textwrap.dedent("""
        import jax, jax.numpy as jnp
        from jaxnst.compiling import KeptFunction
        function = KeptFunction(lambda x: jnp.tanh(x) @ x)
        print(float(function(jnp.eye(8)).sum()))
    """)
    both = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        printed, errors = process.communicate()
        # Not that nothing is said: XLA does when compiling takes long.
        assert process.returncode == 0, errors
        assert float(printed) == pytest.approx(8 * np.tanh(1), rel=1e-5)
    assert [path.suffix for path in folder.iterdir()] == [".program"]


def test_a_program_from_jax_s_own_cache_is_not_kept_twice(folder, tmp_path):
    """Of such a program only a part can be written; it would fail in the next run."""
    code = textwrap.dedent("""
        import jax, jax.numpy as jnp
        from jaxnst.compiling import KeptFunction
        print(float(KeptFunction(lambda x: jnp.tanh(x) @ x)(jnp.eye(8)).sum()))
    """)
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    for _ in range(3):  # compiles it; finds it there; would find what that one wrote
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) == pytest.approx(8 * np.tanh(1), rel=1e-5)
        assert not folder.exists()
    assert any((tmp_path / "jax").iterdir())


ON_TWO_DEVICES = """
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, jax.numpy as jnp
from jaxnst.compiling import KeptFunction
if sys.argv[1] == "again":
    jax.stages.Lowered.compile = None
for device in jax.devices():
    function = KeptFunction(lambda x: jnp.tanh(x) @ x)
    with jax.default_device(device):
        function.prepare(jax.ShapeDtypeStruct((8, 8), jnp.float32))
        found = function(jnp.eye(8))
    assert found.devices() == {device}, (found.devices(), device)
    print(float(found.sum()))
"""


def test_programs_stay_on_their_devices(folder):
    """The second process finds both on disk, one for each device."""
    for when in ("first", "again"):
        done = subprocess.run(
            [sys.executable, "-c", ON_TWO_DEVICES, when], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        sums = [float(line) for line in done.stdout.splitlines()]
        assert sums == pytest.approx([8 * np.tanh(1)] * 2, rel=1e-5)
        assert len(list(folder.iterdir())) == 2


def test_programs_of_other_arguments_are_others(folder):
    """Their text would be the same, if what is not used were left out of it."""
    both = {"a": np.float32(3), "b": np.float32(5)}
    for name in both:
        function = KeptFunction(lambda numbers, name=name: 2 * numbers[name])
        assert function(both) == 2 * both[name]
    assert len(list(folder.iterdir())) == 2


def test_settings_of_the_compiler_make_other_programs(folder):
    config: Any = jax.config
    before = config.read("jax_disable_most_optimizations")
    function = make_function()
    function(X, Y)
    try:
        config.update("jax_disable_most_optimizations", not before)
        function(X, Y)
        assert function.num_programs() == 2
        assert len(list(folder.iterdir())) == 2
    finally:
        config.update("jax_disable_most_optimizations", before)


def test_a_folder_for_reading_only_is_used(folder, monkeypatch):
    make_function()(X, Y)

    def refuse(*_, **__):
        raise PermissionError("for reading only")

    monkeypatch.setattr(os, "utime", refuse)
    forbid_compiling(monkeypatch)
    np.testing.assert_allclose(make_function()(X, Y), expected(), rtol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems, other folders")
def test_a_user_without_a_home_paints_all_the_same(monkeypatch, tmp_path):
    def refuse():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", refuse)
    monkeypatch.setenv("JAXNST_CACHE", "1")
    monkeypatch.delenv("JAXNST_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() is None
    np.testing.assert_allclose(make_function()(X, Y), expected(), rtol=1e-6)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "jaxnst"


def test_a_folder_that_cannot_be_written_is_done_without(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("JAXNST_CACHE", "1")
    monkeypatch.setenv("JAXNST_CACHE_DIR", str(tmp_path / "file" / "programs"))
    np.testing.assert_allclose(make_function()(X, Y), expected(), rtol=1e-6)


def test_switched_off_nothing_is_written(folder, monkeypatch):
    monkeypatch.setenv("JAXNST_CACHE", "0")
    assert cache_folder() is None
    make_function()(X, Y)
    assert not folder.exists()


def test_the_oldest_go_when_there_is_too_much(folder, monkeypatch):
    make_function(1.0)(X, Y)
    (first,) = folder.iterdir()
    os.utime(first, (1, 1))
    limit = int(1.5 * first.stat().st_size)
    monkeypatch.setattr(program_files, "MAX_CACHE_BYTES", limit)
    make_function(2.0)(X, Y)
    (left,) = folder.iterdir()
    assert left != first


def test_programs_are_made_in_the_background(monkeypatch):
    function = make_function()
    function.prepare(X, Y)
    program = function.get(X, Y)
    forbid_compiling(monkeypatch)
    assert function.get(X, Y) is program
    np.testing.assert_allclose(function(X, Y), expected(), rtol=1e-6)


def test_what_goes_wrong_in_the_background_is_said_when_it_is_needed(monkeypatch):
    function = make_function()
    function.prepare(X, {"c": 1})  # does not trace
    with pytest.raises(KeyError, match="b"):
        function(X, {"c": 1})
    with monkeypatch.context() as patched:
        forbid_compiling(patched)
        function.prepare(X, Y)
        with pytest.raises(AssertionError, match="compiled anew"):
            function.get(X, Y)
    np.testing.assert_allclose(function(X, Y), expected(), rtol=1e-6)


def test_ctrl_c_while_tracing_leaves_nothing_behind():
    is_first = True

    def scale(x):
        nonlocal is_first
        if is_first:
            is_first = False
            raise KeyboardInterrupt
        return 2 * x

    function = KeptFunction(scale)
    with pytest.raises(KeyboardInterrupt):
        function(X)
    assert function.num_programs() == 0
    is_first = True
    # Settings that a thread would not have: it is traced here.
    with jax.default_matmul_precision("highest"):
        with pytest.raises(KeyboardInterrupt):
            function.prepare(X)
        assert function.num_programs() == 0
        np.testing.assert_array_equal(function(X), 2 * X)


def test_a_thread_traces_with_the_settings_of_the_caller():
    found = []

    def scale(x):
        here = jax.config.values["jax_default_matmul_precision"]
        found.append((threading.current_thread() is threading.main_thread(), here))
        return 2 * x

    function = KeptFunction(scale)
    function.prepare(X)
    np.testing.assert_array_equal(function(X), 2 * X)
    with jax.default_matmul_precision("highest"):
        function.prepare(X)
        np.testing.assert_array_equal(function(X), 2 * X)
    assert found == [(False, None), (True, "highest")]


LEAVING = """
import os, signal, threading, time
from jaxnst.background import start_thread
signal.signal(signal.SIGINT, signal.default_int_handler)
def interrupt():
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
start_thread(lambda: time.sleep(600))
print("leaving")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_ctrl_c_at_the_end_waits_no_longer():
    done = subprocess.run(
        [sys.executable, "-c", LEAVING], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "leaving\n", "")


def test_the_end_waits_for_what_runs_in_the_background():
    code = """
import time
from jaxnst.background import start_thread
start_thread(lambda: (time.sleep(0.5), print("done")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_under_other_transformations_it_is_the_plain_function():
    function = make_function()
    gradient = jax.grad(lambda x: function(x, Y).sum())(jnp.asarray(X))
    np.testing.assert_allclose(gradient, 3 * np.cos(X), rtol=1e-5)


def test_the_user_s_own_settings_are_left_alone(folder):
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_enable_compilation_cache",
    )
    before = [getattr(jax.config, name) for name in names]
    make_function()(X, Y)
    assert [getattr(jax.config, name) for name in names] == before
