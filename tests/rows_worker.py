"""A process with 8 devices for `test_rows.py`; `rows_worker.py FILE` writes JSON."""

import json
import math
import os
import re
import sys
from pathlib import Path


DEVICES = " --xla_force_host_platform_device_count=8"
SHORT = {"content_layers": ["relu2_2"], "style_layers": ["relu1_1", "relu2_1"]}
LAYERS = {"content_layers": ["relu3_2"], "style_layers": ["relu1_1", "relu3_1"]}
# (network, its options, height, width, settings): heights that 8 devices share evenly
# and others, every border, strips as well as whole blocks.
CASES = {
    "reflect": ("vgg", {"padding": "reflect"}, 277, 40, {"memory": "low"}),
    "replicate": ("vgg", {"padding": "replicate"}, 301, 40, {"pooling": "average"}),
    "circular": ("vgg", {"padding": "circular"}, 256, 40, SHORT),
    "resnet": ("resnet", {"padding": "reflect"}, 270, 40, {}),
    "googlenet": ("googlenet", {"padding": "zeros"}, 263, 40, {}),
}
FEW = {"min_size": 0, "num_steps": 2, "progress": False}


def main(place: str) -> None:
    """Paint every case on one device and on all; measure the program of a step."""
    import jax
    import numpy as np
    from conftest import (
        CAFFE,
        TINY,
        TINY_GOOGLENET,
        TINY_RESNET,
        TORCHVISION,
        build,
        picture,
    )

    import jaxnst

    assert jax.device_count() == 8
    architectures = {"vgg": TINY, "resnet": TINY_RESNET, "googlenet": TINY_GOOGLENET}
    found = {}
    for name, (kind, options, height, width, settings) in CASES.items():
        preprocessing = CAFFE if kind == "vgg" else TORCHVISION
        options = {"preprocessing": preprocessing, "conv": "xla"} | options
        if kind == "vgg":
            settings = LAYERS | settings
        options |= {k: v for k, v in settings.items() if k == "pooling"}
        network = build(architectures[kind], **options)
        pictures = picture(height, width, seed=1), picture(60, 50, seed=2)
        settings = {"network": network, "size": height} | settings | FEW
        one = jaxnst.stylize(*pictures, **settings)
        all_ = jaxnst.stylize(*pictures, devices="all", **settings)
        difference = np.abs(all_.image - one.image)
        totals = all_.history["total"] / one.history["total"] - 1
        found[name] = {
            "loss": float(np.abs(totals).max()),
            "within_a_level": float((difference < 1 / 255).mean()),
            "moved": float(np.abs(all_.image - pictures[0]).mean()),
            "device": all_.record["device"],
            "settings": all_.record["settings"]["devices"],
        }
    found["programs"] = [step_program(None), step_program("all")]
    Path(place).write_text(json.dumps(found))


def step_program(devices: str | None) -> dict:
    """Return what a step needs on each device, and what devices exchange."""
    import numpy as np
    from conftest import CAFFE, build

    from jaxnst.networks import VGGArchitecture
    from jaxnst.transfer.plan import plan_size
    from jaxnst.transfer.setup import prepare

    # As in real networks activations outweigh the picture and the weights.
    wide = VGGArchitecture(name="wide", depths=(1, 1, 1, 2, 1), widths=(32,) * 5)
    shape = (512, 512)
    generator = np.random.default_rng(0)
    pictures = [generator.random((*shape, 3)).astype(np.float32) for _ in range(2)]
    inputs, config, network, optimizer, _ = prepare(
        *pictures,
        preset="default",
        init=None,
        optimizer=None,
        network=build(wide, preprocessing=CAFFE, conv="xla", padding="zeros"),
        size=512,
        devices=devices,
    )
    plan = plan_size(
        config, network, optimizer, shape=inputs.shape, style_shapes=[inputs.shape]
    )
    (step,) = plan.steps
    program = step.function.get(*step.args, **step.static)
    exchanged: dict[str, int] = {}
    text, memory = program.as_text(), program.memory_analysis()
    assert text is not None
    assert memory is not None
    for line in text.splitlines():
        operation = re.search(
            r"= (.*?) (all-gather|all-to-all|all-reduce|collective-permute)"
            r"(?:-start)?\(",
            line,
        )
        if operation:
            shapes = re.findall(r"f32\[([\d,]*)\]", operation[1])
            sizes = [math.prod(map(int, s.split(","))) if s else 1 for s in shapes]
            kind = operation[2]
            exchanged[kind] = max(exchanged.get(kind, 0), *sizes)
    return {
        "temporary": memory.temp_size_in_bytes,
        "exchanged": exchanged,
    }


if __name__ == "__main__":
    os.environ["XLA_FLAGS"] += DEVICES  # before JAX is imported
    main(sys.argv[1])
