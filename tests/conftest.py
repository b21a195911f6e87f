"""Settings of all tests, and the small things many of them use."""

import contextlib
import gc
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxnst.networks import (
    CAFFE,
    TORCHVISION,
    VGG,
    Architecture,
    GoogLeNetArchitecture,
    Inception,
    LPIPSNetwork,
    Network,
    ResNetArchitecture,
    VGGArchitecture,
)
from jaxnst.optimize import compiled_step
from jaxnst.pretrained import UsedWeights, Weights, build_network
from jaxnst.pretrained.loading import set_weights
from jaxnst.transfer import setup


# For the processes that run the tests, which begin after this one: LAPACK's threads
# wait for each other for seconds where several processes are busy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Tests run a program once or twice, so compiling them well takes longer than it saves.
# Of the processes that they start too, which add flags of their own.
# Later flags win: `XLA_FLAGS=--xla_backend_optimization_level=3 pytest` tests what
# users get.
_QUICK_FLAGS = (
    "--xla_backend_optimization_level=0"
    # Parts to be compiled side by side take longer in all, and no core is idle.
    " --xla_cpu_parallel_codegen_split_count=1"
)
if jax.__version_info__ < (0, 11):  # later ones end the process at this flag
    # The code that fusions became before takes a quarter of the time to compile.
    _QUICK_FLAGS += " --xla_cpu_use_fusion_emitters=false"
if _QUICK_FLAGS not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{_QUICK_FLAGS} {os.environ.get('XLA_FLAGS', '')}"
# What one run leaves on disk must not decide what the next one tests.
os.environ["JAXNST_CACHE"] = "0"
jax.config.update("jax_numpy_rank_promotion", "raise")

# Files that take longest are begun first, or one process waits for another in the end.
SLOW = ("test_sweep.py", "test_rows.py", "test_stylize.py", "test_remat.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in SLOW)


# VGG-19 at a sixteenth of its width and half of its depth, with all layers of the
# defaults: every driver test runs in moments.
TINY = VGGArchitecture(name="tiny", depths=(2, 2, 2, 2, 1), widths=(4, 8, 16, 32, 32))
# The other two, at a fraction of their width and depth.
TINY_RESNET = ResNetArchitecture(
    name="tiny_resnet", depths=(1, 1, 2, 1), widths=(4, 4, 4, 4)
)
TINY_GOOGLENET = GoogLeNetArchitecture(
    name="tiny_googlenet",
    stem=(4, 4, 6),
    modules=tuple(
        Inception(name, 2, 2, 3, 2, 4, 3) for name in ("3a", "3b", "4a", "5a")
    ),
)


def build(architecture: Architecture, *, seed=0, **options) -> Network:
    """Return a network with random weights.

    Of NumPy's: JAX compiles a program for each shape, which took half a minute.
    """
    options = {"preprocessing": TORCHVISION} | options
    network = nnx.eval_shape(lambda: architecture.build(rngs=nnx.Rngs(0), **options))
    generator = np.random.default_rng(seed)
    weights = {}
    for conv in architecture.convolutions:
        kernel = generator.standard_normal(conv.kernel_shape, np.float32)
        kernel *= np.float32((2 / np.prod(conv.kernel_shape[:3])) ** 0.5)
        bias = np.float32(0.1) * generator.standard_normal(conv.out_width, np.float32)
        weights[conv.name] = {"kernel": kernel, "bias": bias}
    set_weights(network, weights)
    return network


# Made once, so that pictures of one size share a program.
_run = jax.jit(
    lambda network, image, layers: network(image, layers), static_argnames="layers"
)


def run(network, image, layers=None) -> dict[str, np.ndarray]:
    """Return the activations of a picture, in float32."""
    layers = None if layers is None else tuple(layers)
    features = _run(network, jnp.asarray(image, jnp.float32), layers)
    return {name: np.asarray(x, np.float32) for name, x in features.items()}


@pytest.fixture(scope="session")
def tiny_network() -> Network:
    # Of seeds 0 to 4, one whose few channels tell strengths apart.
    return build(TINY, seed=1, preprocessing=CAFFE, padding="replicate")


@pytest.fixture(scope="session")
def flax_network() -> VGG:
    """Return a tiny network as Flax makes it, which takes half a minute to compile."""
    return VGG(TINY, preprocessing=CAFFE, padding="replicate", rngs=nnx.Rngs(0))


def tiny_weights() -> Weights:
    """Return random weights of the tiny network.

    Of NumPy's: JAX would compile a program for each shape.
    """
    generator = np.random.default_rng(0)
    layers = {}
    for conv in TINY.convolutions:
        kernel = generator.standard_normal(conv.kernel_shape, np.float32)
        kernel *= np.float32((2 / np.prod(conv.kernel_shape[:3])) ** 0.5)
        bias = np.zeros(conv.out_width, np.float32)
        layers[conv.name] = {"kernel": kernel, "bias": bias}
    return Weights(TINY, CAFFE, layers)


def load_tiny(name: str = "vgg19", **options) -> Network:
    """Return the tiny network in the place of VGG-19, with the options asked for."""
    assert name == "vgg19"
    return build_network(tiny_weights(), **options)


def load_tiny_weights(
    name: str = "vgg19", *, progress: bool = True
) -> tuple[Weights, UsedWeights]:
    """Return the tiny network's weights in the place of VGG-19's."""
    assert name == "vgg19"
    del progress  # there is nothing to download
    return tiny_weights(), UsedWeights(name, "0" * 64)


@pytest.fixture
def tiny_vgg19(monkeypatch):
    """Let "vgg19" be the tiny network."""
    monkeypatch.setattr(setup, "load_weights", load_tiny_weights)


@pytest.fixture(scope="session")
def vgg19() -> Network:
    from jaxnst.pretrained import load_network

    return load_network("vgg19")


@pytest.fixture(scope="session")
def judge() -> LPIPSNetwork:
    from jaxnst.pretrained import load_lpips_network

    return load_lpips_network()


# Made once, so that pictures of one size share a program.
_two_layers: Any = jax.tree_util.Partial(
    lambda image: {"relu1": image[::2, ::2], "relu2": image[::3, 1::3] ** 2}
)


def load_small_judge() -> LPIPSNetwork:
    """Return two layers of three channels in place of AlexNet, which takes seconds."""
    heads = {"relu1": jnp.ones(3), "relu2": jnp.arange(3.0)}
    return LPIPSNetwork(_two_layers, heads)


def use_small_judge(patch: pytest.MonkeyPatch) -> None:
    """Let whatever measures pictures do so on the small network."""
    from jaxnst.insight import explanation
    from jaxnst.metrics import evaluation
    from jaxnst.transfer import driver

    for module in (driver, evaluation, explanation):
        patch.setattr(module, "load_lpips_network", load_small_judge)


@pytest.fixture
def small_judge(monkeypatch) -> LPIPSNetwork:
    """Measure pictures on the small network, and return it."""
    use_small_judge(monkeypatch)
    return load_small_judge()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def as_installed():
    """Run without the type checks that only the tests switch on."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def interruptible():
    """Let Ctrl-C through, also where the tests run in the background.

    Shells start background jobs with SIGINT ignored, and children inherit that.
    """
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def forgotten(*holders: dict) -> Iterator[None]:
    """At the end forget what is held, and collect what Gradio leaves open, in silence.

    Later it would be an error of another test.
    """
    yield
    for each in holders:
        each.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


# Names, and the thread that has to compile them; None for any.
_listeners: list[tuple[set[str], int | None]] = []


def _note_compiled(event: str, duration_secs: float, **details: str | int) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        for names, thread in _listeners:
            if thread in (None, threading.get_ident()):
                names.add(str(details.get("fun_name")))


jax.monitoring.register_event_duration_secs_listener(_note_compiled)


@contextlib.contextmanager
def compiled_names(*, is_here: bool = False) -> Iterator[set[str]]:
    """Yield the names of all functions that are compiled within the block.

    `is_here`: only those that this thread compiles.
    """
    names: set[str] = set()
    listener = names, threading.get_ident() if is_here else None
    _listeners.append(listener)
    try:
        yield names
    finally:
        _listeners.remove(listener)


# JAX does not declare what a jitted function can tell of its programs.
_step: Any = compiled_step


def forget_programs() -> None:
    """Forget the compiled steps of earlier tests."""
    _step.clear_cache()


def num_programs() -> int:
    """Return how many steps were compiled since."""
    return _step._cache_size()


def picture(height=40, width=48, seed=0) -> np.ndarray:
    """Return a smooth random picture, float32."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((5, 6, 3), np.float32)
    resized = [
        np.asarray(
            Image.fromarray(coarse[..., i]).resize(
                (width, height), Image.Resampling.BICUBIC
            )
        )
        for i in range(3)
    ]
    return np.clip(np.stack(resized, axis=-1), 0, 1)


@pytest.fixture
def content() -> np.ndarray:
    return picture(seed=1)


@pytest.fixture
def style() -> np.ndarray:
    return picture(36, 50, seed=2)


@pytest.fixture
def files(tmp_path, content, style):
    """Return the paths of a content and a style picture."""
    paths = tmp_path / "content.png", tmp_path / "style.png"
    for path, array in zip(paths, (content, style), strict=True):
        Image.fromarray(np.round(array * 255).astype(np.uint8)).save(path)
    return paths
