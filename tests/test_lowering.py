"""The programs for GPUs and TPUs, from a machine that has neither.

What XLA makes of them is not tested here; what it is asked for is.
"""

import re
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import picture

from jaxnst.config import STYLE_LOSSES
from jaxnst.networks import convolution
from jaxnst.transfer.plan import make_plan, size_programs
from jaxnst.transfer.setup import set_up, settle_config


DEVICES = {
    "cuda": SimpleNamespace(
        platform="gpu", device_kind="NVIDIA H100", compute_capability="9.0"
    ),
    "tpu": SimpleNamespace(platform="tpu", device_kind="TPU v5 lite"),
}
T4 = SimpleNamespace(platform="gpu", device_kind="Tesla T4", compute_capability="7.5")
# Those of Cholesky decompositions, and of sorting.
CALLS = {"cusolver_potrf_ffi", "cu_topk"}

pytestmark = pytest.mark.usefixtures("tiny_vgg19")


@pytest.fixture(autouse=True)
def many_channels(monkeypatch):
    """Let the network be made with Winograd's convolutions, for the CPU at hand."""
    monkeypatch.setattr(convolution, "_MIN_WIDTH", 4)


def lowered(device, **settings) -> dict[str, str]:
    """Return the text of each program, as it is lowered for a device."""
    few: dict[str, Any] = {"size": 48, "min_size": 0, "steps_per_call": 3}
    settings = few | settings
    config = settle_config(**settings)
    pictures = picture(40, 48, seed=1), picture(32, 48, seed=2)
    job = set_up(*pictures, config, settings, progress=False)
    network: Any = job.network
    assert network.conv4_1.is_winograd == (network.arithmetic == "float32")
    job = job._replace(network=network.fitted(device))
    level = "fast" if config.memory == "auto" else config.memory
    plan = make_plan([job], level)
    programs = size_programs(plan, plan.sizes[0])
    platform = "tpu" if device.platform == "tpu" else "cuda"
    texts = {}
    named = {"step": programs.step, "targets": programs.others[0]}
    for name, program in named.items():
        traced = program.function.trace(*program.args, **program.static)
        low = traced.lower(lowering_platforms=(platform,))
        texts[name] = low.as_text()
    return texts


def lines_with(text, *operations):
    """Return the lines of some operations."""
    kinds = tuple(f" stablehlo.{operation}" for operation in operations)
    return [line for line in text.splitlines() if any(kind in line for kind in kinds)]


@pytest.mark.parametrize("platform", DEVICES)
@pytest.mark.parametrize(
    "settings",
    [
        {"style_loss": dict.fromkeys(STYLE_LOSSES, 1.0)},
        {"memory": "low", "averaging": 0.5, "pooling": "average"},
        {"optimizer": "lbfgs", "tile": True},
        {"preset": "gatys2016", "normalize_activations": True},
        {"strength": np.tile(np.linspace(0, 1, 48, dtype=np.float32), (40, 1))},
    ],
    ids=["losses", "low", "lbfgs", "paper", "map"],
)
def test_all_programs_lower_for_accelerators(platform, settings):
    for text in lowered(DEVICES[platform], **settings).values():
        assert not re.search(r"[x<]f64|tensor<36x\d+x\d+xf|callback", text)
        assert set(re.findall(r"custom_call @(\w+)", text)) <= CALLS
        products = lines_with(text, "convolution", "dot_general")
        assert products
        for line in products:
            assert "HIGH" in line or "tf32" in line, line
        if platform == "tpu":
            assert not lines_with(text, "scatter")


@pytest.mark.parametrize(
    ("device", "precision", "convolutions", "grams", "dtype"),
    [
        (DEVICES["cuda"], "auto", "HIGH>", "tf32", "f32"),
        (DEVICES["tpu"], "auto", "HIGH>", "[HIGH,", "f32"),
        (T4, "auto", "HIGHEST>", "HIGHEST", "f16"),
        (DEVICES["cuda"], "bfloat16", "HIGHEST>", "HIGHEST", "bf16"),
        (DEVICES["tpu"], "float32", "HIGHEST>", "HIGHEST", "f32"),
        (T4, "tf32", "HIGHEST>", "HIGHEST", "f32"),
    ],
    ids=["H100", "v5e", "T4", "bfloat16", "float32", "no tf32"],
)
def test_products_ask_for_the_precision(device, precision, convolutions, grams, dtype):
    with warnings.catch_warnings():
        # Of the CPU, where it is set up.
        warnings.filterwarnings("ignore", "`precision`", UserWarning)
        text = lowered(device, precision=precision)["step"]
    found = lines_with(text, "convolution")
    assert len(found) == 18  # 9 to relu5_1, and back
    for line in found:
        assert line.count(f"#stablehlo<precision {convolutions}") == 2
        assert f"x{dtype}>) ->" in line
    found = lines_with(text, "dot_general")
    assert len(found) == 10
    for line in found:
        assert grams in line
    # ReLUs that cuDNN computes with their convolution.
    num_barriers = len(lines_with(text, "optimization_barrier"))
    assert num_barriers == (9 if device.platform == "gpu" else 0)


def test_a_step_writes_one_row():
    text = lowered(DEVICES["cuda"])["step"]
    assert len(lines_with(text, "dynamic_update_slice")) == 1
    assert not lines_with(text, "scatter")
