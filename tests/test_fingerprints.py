"""Calls that are known need no tracing, and no other is taken for one of them."""

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import build
from PIL import Image

from jaxnst import fingerprints, trust
from jaxnst.compiling import KeptFunction
from jaxnst.fingerprints import fingerprint_of
from jaxnst.networks import TORCHVISION
from jaxnst.networks.devices import default_device
from jaxnst.optimize import make_optimizer


X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), {"b": np.float32(0.5)}


def scale(x, y, *, power=1):
    """As the module has it, so pickle finds it."""
    return {"scaled": jnp.sin(x) ** power + y["b"], "power": power * 1.0}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXNST_CACHE", "1")
    monkeypatch.setenv("JAXNST_CACHE_DIR", str(tmp_path / "programs"))
    return tmp_path / "programs"


@pytest.fixture
def trusted():
    """As in a process of the command."""
    trust.trust_code()
    yield
    trust._is_trusted.clear()


def new() -> KeptFunction:
    """Return a function of which nothing is in memory, as in a new process."""
    return KeptFunction(scale, static_argnames=("power",))


def forbid_tracing(monkeypatch):
    def trace_nothing(*_, **__):
        raise AssertionError("traced anew")

    monkeypatch.setattr(KeptFunction, "lower", trace_nothing)


def fingerprint(*args, function=scale, options=None, **static):
    leaves, structure = jax.tree.flatten(args)
    return fingerprint_of(
        function,
        leaves,
        structure,
        static,
        options=options or {},
        device=default_device(),
    )


def check(found, power=1):
    np.testing.assert_allclose(found["scaled"], np.sin(X) ** power + 0.5, rtol=1e-6)
    assert found["power"] == power


@pytest.mark.usefixtures("trusted")
def test_what_is_known_is_not_traced(folder, monkeypatch):
    check(new()(X, Y))
    check(new()(X, Y, power=2), power=2)
    kinds = sorted(path.suffix for path in folder.iterdir())
    assert kinds == [".known"] * 2 + [".program"] * 2
    forbid_tracing(monkeypatch)
    check(new()(X, Y))
    check(new()(X, Y, power=2), power=2)
    function = new()
    function.prepare(X, Y)
    check(function(X, Y))
    with pytest.raises(AssertionError, match="traced anew"):
        new()(X[:1], Y)


@pytest.mark.usefixtures("trusted", "folder")
def test_shapes_are_those_of_tracing():
    expected = jax.eval_shape(scale, X, Y)
    assert new().shapes_of(X, Y) == expected
    new()(X, Y)
    found = new().shapes_of(X, Y)
    assert found == expected
    # Of a Python number it says so, which is part of what the next program takes.
    assert found["power"].weak_type == expected["power"].weak_type


def test_in_a_process_of_the_user_s_own_all_is_traced(folder, monkeypatch):
    new()(X, Y)
    assert [path.suffix for path in folder.iterdir()] == [".program"]
    assert fingerprint(X, Y) is None
    forbid_tracing(monkeypatch)
    with pytest.raises(AssertionError, match="traced anew"):
        new()(X, Y)


@pytest.mark.usefixtures("trusted")
def test_functions_that_have_no_name_are_traced(folder):
    for factor in (3.0, 4.0):
        function = KeptFunction(lambda x, factor=factor: factor * x)
        np.testing.assert_allclose(function(X), factor * X)
    assert {path.suffix for path in folder.iterdir()} == {".program"}
    assert fingerprint(X, optimizer=optax.sgd(0.1)) is None


class Box:
    """A node of trees with something beside its leaves."""

    def __init__(self, value, label):
        self.value, self.label = value, label


jax.tree_util.register_pytree_node(
    Box, lambda box: ((box.value,), box.label), lambda label, x: Box(x[0], label)
)


@pytest.mark.usefixtures("trusted")
def test_other_calls_have_other_fingerprints(monkeypatch):
    adam, lbfgs = make_optimizer("adam"), make_optimizer("lbfgs")
    assert fingerprint(X, optimizer=adam) == fingerprint(X + 1, optimizer=adam)
    assert fingerprint(Box(X, "a")) == fingerprint(Box(2 * X, "a"))
    # Whether equal names are one object says nothing.
    names = "relu1_1", "".join(["relu", "1_1"])
    assert names[0] is not names[1]
    assert fingerprint(X, a=names) == fingerprint(X, a=(names[0],) * 2)
    config: Any = jax.config
    other_code = fingerprint(X, function=check)
    found = [
        fingerprint(X),
        other_code,
        fingerprint(X[0]),
        fingerprint(X.astype(np.float16)),
        fingerprint(1),
        fingerprint(1.0),
        fingerprint(np.float32(1)),
        fingerprint([X]),
        fingerprint({"a": X}),
        fingerprint(Box(X, "a")),
        fingerprint(Box(X, "b")),
        fingerprint(X, power=1),
        fingerprint(X, power=2),
        fingerprint(X, options={"donate_argnums": 0}),
        fingerprint(X, optimizer=adam),
        fingerprint(X, optimizer=lbfgs),
        fingerprint(jax.ShapeDtypeStruct(X.shape, X.dtype, weak_type=True)),
        fingerprint(jax.device_put(X, jax.devices()[0])),  # bound to its device
    ]
    before = config.jax_numpy_dtype_promotion
    config.update("jax_numpy_dtype_promotion", "strict")
    try:
        found.append(fingerprint(X))
    finally:
        config.update("jax_numpy_dtype_promotion", before)
    monkeypatch.setattr(fingerprints, "_digest_of_code", lambda: "edited")
    found.append(fingerprint(X))
    assert None not in found
    assert len(set(found)) == len(found)


@pytest.mark.usefixtures("trusted")
def test_networks_differ_by_their_settings_alone(tiny_network):
    other = build(tiny_network.architecture, preprocessing=TORCHVISION)
    assert fingerprint(tiny_network) == fingerprint(tiny_network)
    assert fingerprint(other) != fingerprint(tiny_network)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("suffix", [".known", ".program"])
@pytest.mark.parametrize("damage", ["gone", "short", "other"])
def test_damaged_files_are_mended(folder, monkeypatch, suffix, damage):
    new()(X, Y)
    (path,) = folder.glob(f"*{suffix}")
    good = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(good[:40] if damage == "short" else good[::-1])
    check(new()(X, Y))
    assert len(path.read_bytes()) == len(good)
    forbid_tracing(monkeypatch)
    check(new()(X, Y))


COMMAND = """
import sys
from jaxnst.cli.main import command
if sys.argv.pop(1) == "again":
    from jaxnst.compiling import KeptFunction
    def fail(self, *_, **__):
        raise AssertionError(f"{self.function} is traced")
    KeptFunction.lower = fail
sys.exit(command())
"""


def test_the_command_traces_nothing_twice(folder, tmp_path, files):
    """Loss and picture come out the same; small steps at two sizes."""
    pictures = []
    for when in ("first", "again"):
        output = tmp_path / f"{when}.png"
        arguments = ["stylize", *map(str, files), "-o", str(output), "--quiet"]
        few = ["--size", "64", "--min-size", "32", "--preset", "draft"]
        few += ["--num-steps", "2", "--coarse-steps", "2"]
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, when, *arguments, *few],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        pictures.append(np.asarray(Image.open(output)))
    np.testing.assert_array_equal(*pictures)
    assert list(folder.glob("*.known"))
