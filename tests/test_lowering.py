"""The programs for GPUs and TPUs, from a machine that has neither.

What XLA is asked for is tested everywhere; what it makes of it, where its compilers are
installed, which need no device: `pip install "jax[tpu]"` or `pip install "jax[cuda13]"`
(several gigabytes), and `JAX_PLATFORMS=cpu`.
"""

import re
import warnings
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from conftest import picture
from jax.experimental import topologies

from jaxnst.config import STYLE_LOSSES
from jaxnst.networks import convolution
from jaxnst.optimize import programs
from jaxnst.transfer.plan import make_plan, size_programs
from jaxnst.transfer.setup import set_up, settle_config


DEVICES = {
    "cuda": SimpleNamespace(
        platform="gpu", device_kind="NVIDIA H100", compute_capability="9.0"
    ),
    "tpu": SimpleNamespace(platform="tpu", device_kind="TPU v5 lite"),
}
PLATFORMS = {"gpu": "cuda", "tpu": "tpu"}
T4 = SimpleNamespace(platform="gpu", device_kind="Tesla T4", compute_capability="7.5")
# Those of Cholesky decompositions, and of sorting.
CALLS = {"cusolver_potrf_ffi", "cu_topk"}

on_tiny_network = pytest.mark.usefixtures("tiny_vgg19")


@pytest.fixture(autouse=True)
def many_channels(monkeypatch):
    """Let the network be made with Winograd's convolutions, for the CPU at hand."""
    monkeypatch.setattr(convolution, "_MIN_WIDTH", 4)


def lowered(device, **settings) -> dict[str, str]:
    """Return the text of each program, as it is lowered for a device."""
    return {
        name: program.function.trace(*program.args, **program.static)
        .lower(lowering_platforms=(PLATFORMS[device.platform],))
        .as_text()
        for name, program in programs_for(device, **settings).items()
    }


def programs_for(
    device, shape=(40, 48), num_members=1, **settings
) -> dict[str, programs.Program]:
    """Return the programs of a device."""
    few: dict[str, Any] = {"size": 48, "min_size": 0, "steps_per_call": 3}
    settings = few | settings
    config = settle_config(**settings)
    pictures = picture(*shape, seed=1), picture(32, 48, seed=2)
    job = set_up(*pictures, config, settings, progress=False)
    network: Any = job.network
    assert network.conv4_1.is_winograd == (network.arithmetic == "float32")
    job = job._replace(network=network.fitted(device))
    level = "fast" if config.memory == "auto" else config.memory
    on_one = jax.devices()[:1] if num_members > 1 else None
    plan = make_plan(
        [job] * num_members, level, num_members=num_members, devices=on_one
    )
    step, targets, *_ = size_programs(plan, plan.sizes[0])
    return {"step": step, "targets": targets}


def lines_with(text, *operations):
    """Return the lines of some operations."""
    kinds = tuple(f" stablehlo.{operation}" for operation in operations)
    return [line for line in text.splitlines() if any(kind in line for kind in kinds)]


@on_tiny_network
@pytest.mark.parametrize("platform", DEVICES)
@pytest.mark.parametrize(
    "settings",
    [
        {"style_loss": dict.fromkeys(STYLE_LOSSES, 1.0)},
        {"memory": "low", "averaging": 0.5, "pooling": "average"},
        {"optimizer": "lbfgs", "tile": True},
        {"preset": "gatys2016", "normalize_activations": True},
        {"strength": np.tile(np.linspace(0, 1, 48, dtype=np.float32), (40, 1))},
        # A size at which no strip of a window has 36 rows, as Winograd's arrays have.
        {"memory": "tiles", "tile_size": 64, "size": 192, "padding": "replicate"},
        {"num_members": 2, "preset": "draft", "padding": "zeros"},
    ],
    ids=["losses", "low", "lbfgs", "paper", "map", "tiles", "batch"],
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


@on_tiny_network
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


@on_tiny_network
def test_a_step_writes_one_row():
    text = lowered(DEVICES["cuda"])["step"]
    assert len(lines_with(text, "dynamic_update_slice")) == 1
    assert not lines_with(text, "scatter")


def compiled(device, options=None, **settings) -> Any:
    """Return the step as XLA compiles it for a device that is only described."""
    program = programs_for(device, **settings)["step"]
    sharding = jax.sharding.SingleDeviceSharding(device)

    def there(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding)

    traced = program.function.trace(
        *jax.tree.map(there, program.args), **program.static
    )
    platforms = (PLATFORMS[device.platform],)
    return traced.lower(lowering_platforms=platforms).compile(options)


# From data sheets: capability, cores, bytes a second, bytes of the cache and of memory,
# clock in GHz.
GPUS = {
    "H100": (9.0, 132, 3352 * 10**9, 52428800, 84942979072, 1.98),
    "T4": (7.5, 40, 320 * 10**9, 4194304, 15843721216, 1.59),
}
# Of a core: its bytes, those that a block may have, its units and its threads.
CORES = {"H100": (233472, 232448, 128, 2048), "T4": (65536, 65536, 64, 1024)}


def described(platform, name="", **options) -> Any:
    """Return a device that is not there, if XLA's compiler for it is."""
    try:
        found = topologies.get_topology_desc(name, platform=platform, **options)
    except RuntimeError as error:
        if isinstance(error, NotImplementedError) or "not installed" in str(error):
            pytest.skip(f"XLA's compiler for {platform} is not installed: {error}")
        raise
    return found.devices[0]


def gpu(name) -> Any:
    """Return a description of a GPU that XLA compiles for."""
    capability, cores, speed, cache, memory, clock = GPUS[name]
    per_core, per_block, units, threads = CORES[name]
    major, minor = str(capability).split(".")
    config = f"""
        gpu_device_info {{
          threads_per_block_limit: 1024 threads_per_warp: 32
          shared_memory_per_block: 49152 shared_memory_per_core: {per_core}
          shared_memory_per_block_optin: {per_block} threads_per_core_limit: {threads}
          core_count: {cores} fpus_per_core: {units} block_dim_limit_x: 2147483647
          block_dim_limit_y: 65535 block_dim_limit_z: 65535 l2_cache_size: {cache}
          memory_bandwidth: {speed} clock_rate_ghz: {clock}
          device_memory_size: {memory} registers_per_core_limit: 65536
          registers_per_block_limit: 65536
          cuda_compute_capability {{ major: {major} minor: {minor} }}
        }}
        platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 8 }}
        runtime_version {{ major: 13 }} device_description_str: "NVIDIA {name}"
    """
    return described("cuda", target_config=config, topology="1x1x1")


@pytest.mark.real_network
@pytest.mark.parametrize(
    ("name", "precision", "megabytes"),
    [("H100", "auto", 395), ("H100", "bfloat16", 205), ("T4", "auto", 205)],
)
@pytest.mark.filterwarnings("ignore:.precision.:UserWarning")  # of the CPU
def test_gpus_compute_convolution_and_relu_at_once(name, precision, megabytes):
    # Autotuning needs a device.
    options = {"xla_gpu_autotune_level": "0"}
    settings = {"shape": (512, 512), "size": 512, "steps_per_call": 5}
    step = compiled(gpu(name), options, precision=precision, **settings)
    assert step.as_text().count('"kRelu"') == 13
    assert step.memory_analysis().temp_size_in_bytes <= megabytes * 10**6


@on_tiny_network
@pytest.mark.parametrize("loss", ["gram", "wasserstein"])
def test_a_step_has_no_sums_in_any_order_that_xla_would_have_to_replace(loss):
    texts = {
        compiled(
            gpu("H100"),
            {"xla_gpu_autotune_level": "0", "xla_gpu_deterministic_ops": is_strict},
            style_loss=loss,
        ).as_text()
        for is_strict in (False, True)
    }
    assert len(texts) == 1


@on_tiny_network
def test_tpus_multiply_in_three_passes(monkeypatch):
    # Otherwise it asks the network what machine it is on.
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5litepod-1")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost")
    one: dict[str, Any] = {"chips_per_host_bounds": (1, 1, 1), "num_slices": 1}
    device = described("tpu", "v5e:1x1", **one)
    monkeypatch.setattr(programs, "default_device", lambda: device)
    before = jax.config.values["jax_optimization_level"]
    try:
        programs.compile_quickly()
        text = compiled(device).as_text()
    finally:
        jax.config.update("jax_optimization_level", before)
    products = re.findall(r" convolution\(.*", text)
    assert len(products) == 18 + 10  # as above
    assert all("operand_precision={high,high}" in line for line in products)
