"""Forecasts of memory and time, and what is said where memory does not suffice."""

import dataclasses
import math
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import compiled_names, picture

import jaxnst
from jaxnst._checks import check_memory_size
from jaxnst._memory import container_memory
from jaxnst.cli.main import main
from jaxnst.transfer import driver, memory, plan as plan_module
from jaxnst.transfer.memory import (
    available_memory,
    choose_memory,
    clear_memory_errors,
    needed_memory,
)
from jaxnst.transfer.plan import make_plan, size_programs
from jaxnst.transfer.run import Painted
from jaxnst.transfer.setup import set_up, settle_config


SHAPE = (96, 112)
FEW = {"size": 112, "min_size": 0, "num_steps": 2}
# Few layers compile in half the time.
LAYERS: dict[str, Any] = {
    "content_layers": ["relu2_2"],
    "style_layers": ["relu1_1", "relu2_1"],
}


def job(network, *, shape=SHAPE, **settings):
    arguments: dict[str, Any] = {**FEW, "network": network, **settings}
    config = settle_config(**arguments)
    pictures = np.full((*shape, 3), 0.5, np.float32), np.full((64, 64, 3), 0.5)
    return set_up(*pictures, config, arguments)


def test_sizes_are_read():
    assert check_memory_size("x", "6G") == 6 * 2**30
    assert check_memory_size("x", " 1.5 MiB ") == 1.5 * 2**20
    assert check_memory_size("x", "123") == 123
    assert check_memory_size("x", "9" * 400) > 2**60
    with pytest.raises(ValueError, match="`x` must be a size such as 6G"):
        check_memory_size("x", "plenty")


def test_available_memory_is_found(monkeypatch):
    monkeypatch.delenv("JAXNST_MEMORY_LIMIT", raising=False)
    assert 2**27 < (available_memory() or 0) < 2**50
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "3M")
    assert available_memory() == 3 * 2**20


def test_limits_of_containers(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    assert container_memory(tmp_path) == [450]
    (tmp_path / "memory.max").write_text("max\n")
    assert container_memory(tmp_path) == []


def test_forecast_is_what_xla_says_and_the_pictures(tiny_network):
    plan = make_plan([job(tiny_network)], "fast")
    (size,) = plan.sizes
    program = size_programs(plan, size)[0].compile()
    stats = program.memory_analysis()
    assert stats is not None
    network_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(tiny_network))
    xla = stats.temp_size_in_bytes + stats.argument_size_in_bytes - network_bytes
    pictures = 5 * 12 * 96 * 112 + 2 * 12 * 64 * 64
    expected = 1.5e8 + xla + pictures
    assert needed_memory(plan, size) == pytest.approx(expected, rel=0.005)


def test_painting_takes_the_programs_of_the_forecast(tiny_network, content, style):
    """Whoever estimated first does not compile again."""
    settings = {
        "network": tiny_network,
        "size": 96,
        "min_size": 48,
        "num_steps": 2,
        "coarse_steps": 1,
        **LAYERS,
    }
    jaxnst.estimate(content, style, **settings)
    with compiled_names() as names:
        jaxnst.stylize(content, style, progress=False, **settings)
    assert not {"jit(step)", "jit(compute_targets)"} & names


@pytest.fixture
def needs(monkeypatch):
    """Let the levels need 450, 350 and 250 MB, without compiling anything.

    150 MB of them at any size.
    """
    needed = {"fast": 300_000_000, "balanced": 200_000_000, "low": 100_000_000}

    def needed_memory(plan, size):
        part = math.prod(size.shape) / math.prod(SHAPE)
        return 150_000_000 + int(part * needed[plan.memory])

    monkeypatch.setattr(memory, "needed_memory", needed_memory)
    return needed


def test_the_first_level_that_fits_is_taken(tiny_network, monkeypatch, needs):
    for limit, level in (("1.2G", "fast"), ("480M", "fast"), ("400M", "balanced")):
        monkeypatch.setenv("JAXNST_MEMORY_LIMIT", limit)
        assert choose_memory(job(tiny_network)) == level
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "300M")
    assert choose_memory(job(tiny_network)) == "low"
    assert choose_memory(job(tiny_network, memory="low")) == "low"
    # 283 MB can be used: "balanced" would need 350.
    message = "use memory='low' or `size` 64, or close other programs"
    with pytest.raises(jaxnst.OutOfMemory, match=message):
        choose_memory(job(tiny_network, memory="fast"))


def test_what_is_said_to_fit_fits(tiny_network, monkeypatch, needs):
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "240M")
    with pytest.raises(jaxnst.OutOfMemory, match="use `size` 80, or") as caught:
        choose_memory(job(tiny_network))
    assert "memory='balanced'" not in str(caught.value)
    assert caught.value.advice == {"size": 80}
    found = choose_memory(job(tiny_network, size=80))
    assert found == "low"
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "170M")
    with pytest.raises(jaxnst.OutOfMemory, match="no size fits; close other"):
        choose_memory(job(tiny_network))


def refuse_fast(plan):
    if plan.memory == "fast":
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM: 30.00G exceeds 15.75G."
        )


def test_a_level_that_the_compiler_refuses_is_passed_over(tiny_network, monkeypatch):
    """As that of TPUs does, which tells no number."""
    plans = []

    def size_programs(plan, size):
        plans.append(plan)
        return []

    def most_of(programs):
        refuse_fast(plans[-1])
        return 0

    monkeypatch.setattr(memory, "size_programs", size_programs)
    monkeypatch.setattr(memory, "_most_of", most_of)
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "500M")
    assert choose_memory(job(tiny_network)) == "balanced"
    with pytest.raises(jaxnst.OutOfMemory, match="needs more than there is with"):
        choose_memory(job(tiny_network, memory="fast"))


@pytest.mark.parametrize(
    "message",
    [
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.",
        "INTERNAL: CUDNN_STATUS_ALLOC_FAILED in external/xla",
        "INTERNAL: CUDNN_STATUS_INTERNAL_ERROR in external/xla",
        "INTERNAL: cusolverDnCreate(&handle) failed",
        "INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
    ],
)
def test_auto_goes_on_where_the_device_runs_out(
    tiny_network, content, style, monkeypatch, needs, message
):
    tried = []

    def paint(jobs, plan, **_):
        tried.append(plan.memory)
        if plan.memory != "low":
            raise jax.errors.JaxRuntimeError(message)
        return [Painted(np.zeros((40, 48, 3), np.float32), [], None, plan.memory)]

    monkeypatch.setattr(driver, "paint", paint)
    settings = {"network": tiny_network, "size": 48, "progress": False}
    result = jaxnst.stylize(content, style, **settings)
    assert result.record["result"]["memory"] == "low"
    assert tried == ["fast", "balanced", "low"]
    with pytest.raises(jaxnst.OutOfMemory, match="memory ran out"):
        jaxnst.stylize(content, style, memory="fast", **settings)


def test_auto_passes_over_what_needs_no_less(
    tiny_network, content, style, monkeypatch, needs
):
    """As "low" may on a GPU."""
    tried = []

    def paint(jobs, plan, **_):
        tried.append(plan.memory)
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(driver, "paint", paint)
    monkeypatch.setitem(needs, "low", needs["balanced"])
    with pytest.raises(jaxnst.OutOfMemory, match="memory ran out"):
        jaxnst.stylize(content, style, size=48, network=tiny_network, progress=False)
    assert tried == ["fast", "balanced"]


def test_other_errors_of_the_device_are_not_about_memory(
    tiny_network, content, style, monkeypatch
):
    def paint(*_, **__):
        raise jax.errors.JaxRuntimeError("INTERNAL: an illegal instruction")

    monkeypatch.setattr(driver, "paint", paint)
    with pytest.raises(jax.errors.JaxRuntimeError, match="illegal"):
        jaxnst.stylize(content, style, size=48, network=tiny_network, progress=False)


def test_calls_on_accelerators_have_fewer_steps_the_larger_the_picture(
    tiny_network, monkeypatch
):
    gpu = types.SimpleNamespace(platform="gpu")
    monkeypatch.setattr(plan_module, "default_device", lambda: gpu)

    def steps_of(num_members=1, **settings):
        large = job(tiny_network, shape=(2048, 2048), size=2048, min_size=128)
        config = dataclasses.replace(large.config, **settings)
        plan = make_plan([large._replace(config=config)], "fast")
        return [size.steps_per_call for size in plan.sizes]

    assert steps_of() == [10, 10, 8, 2, 1]
    assert steps_of(strength=0.5) == [5, 5, 5, 2, 1]
    assert steps_of(steps_per_call=3) == [3] * 5
    monkeypatch.undo()
    assert steps_of() == [1] * 5


def test_past_steps_of_lbfgs_are_counted(tiny_network):
    plans = [
        make_plan([job(tiny_network, optimizer=name)], "fast")
        for name in ("adam", "lbfgs")
    ]
    adam, lbfgs = (needed_memory(plan, plan.sizes[0]) for plan in plans)
    image = 12 * math.prod(SHAPE)
    assert lbfgs > adam + 30 * image


def test_too_little_for_any_level_is_said_before_painting(
    tiny_network, content, style, monkeypatch, needs
):
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "90M")
    message = "needs [0-9]+ MB with memory='low', but only 85 MB can be used; no "
    with pytest.raises(MemoryError, match=message):
        jaxnst.stylize(content, style, size=48, network=tiny_network, progress=False)


def test_too_little_for_tiles_that_wrap_around_is_said_too(tiny_network, monkeypatch):
    """Smaller sizes that are looked at tile, too."""
    monkeypatch.setenv("JAXNST_MEMORY_LIMIT", "90M")
    network = tiny_network.changed(padding="circular")
    settings = {"size": 400, "tile": True, "memory": "tiles", "tile_size": 64}
    with pytest.raises(jaxnst.OutOfMemory, match="can be used; no size fits"):
        jaxnst.stylize(
            picture(272, 400, seed=1),
            picture(64, 64, seed=2),
            network=network,
            progress=False,
            **settings,
            **LAYERS,
        )


def test_running_out_is_one_clear_error():
    with (
        pytest.raises(jaxnst.OutOfMemory, match=r"`size` 112 with memory='fast'; try"),
        clear_memory_errors("fast", 112),
    ):
        jnp.zeros(2**45, jnp.float32).block_until_ready()
    with pytest.raises(ZeroDivisionError), clear_memory_errors("fast", 112):
        raise ZeroDivisionError


def test_a_callback_s_own_error_passes_as_it_is(tiny_network, content, style):
    own = MemoryError("of the callback's own")

    def callback(view):
        raise own

    with pytest.raises(MemoryError) as caught:
        jaxnst.stylize(
            content,
            style,
            size=48,
            network=tiny_network,
            callback=callback,
            progress=False,
            **LAYERS,
        )
    assert caught.value is own


def test_estimate_and_the_picture_agree_on_what_is_done(tiny_network, content, style):
    found = jaxnst.estimate(
        content,
        style,
        network=tiny_network,
        size=96,
        min_size=48,
        num_steps=2,
        coarse_steps=3,
        **LAYERS,
    )
    assert [(size.width, size.height) for size in found.sizes] == [(48, 40), (96, 80)]
    assert [size.num_steps for size in found.sizes] == [3, 2]
    assert found.memory > found.sizes[1].memory > found.sizes[0].memory > 0
    assert found.seconds == pytest.approx(sum(size.seconds for size in found.sizes))
    assert found.sizes[1].step_seconds > found.sizes[0].step_seconds > 0
    assert "96 x 80" in str(found)
    assert "memory=fast" in str(found)


def test_the_record_says_which_level_was_used(tiny_network, content, style):
    settings = {"size": 48, "min_size": 0, "num_steps": 1, "progress": False} | LAYERS
    for asked, used in (("auto", "fast"), ("balanced", "balanced")):
        result = jaxnst.stylize(
            content, style, network=tiny_network, memory=asked, **settings
        )
        assert result.record["settings"]["memory"] == asked
        assert result.record["result"]["memory"] == used


def test_the_command_forecasts_and_paints_nothing(files, tmp_path, tiny_vgg19, capsys):
    output = tmp_path / "out.png"
    paths = [str(path) for path in files]
    code = main(["stylize", *paths, "-o", str(output), "--size", "64", "--estimate"])
    assert code == 0
    assert "64 x 53" in capsys.readouterr().out
    assert not output.exists()
