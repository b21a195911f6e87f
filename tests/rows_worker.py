"""A process with 8 devices for `test_rows.py`; `rows_worker.py FILE` writes JSON."""

import contextlib
import json
import math
import os
import re
import sys
from pathlib import Path
from unittest import mock


DEVICES = " --xla_force_host_platform_device_count=8"
SHORT = (("relu2_2",), ("relu1_1", "relu2_1"))
# (network, its options, its layers of content and style, height): heights that 8
# devices share evenly and others, every border, strips as well as whole blocks.
CASES = {
    "replicate": (
        "vgg",
        {"padding": "replicate", "pooling": "average"},
        (("relu3_2",), ("relu1_1", "relu3_1")),
        301,
    ),
    "circular": ("vgg", {"padding": "circular"}, SHORT, 256),
    "resnet": ("resnet", {}, (("layer1.0",), ("relu1", "layer2.0")), 270),
    "googlenet": (
        "googlenet",
        {"padding": "zeros"},
        (("inception3a",), ("conv3", "inception3b")),
        263,
    ),
}
WIDTH = 40


def main(place: str) -> None:
    """Compare one device with all, in a painting, losses and the program of a step."""
    import jax

    assert jax.device_count() == 8
    found: dict[str, dict] = {name: losses_of(*case) for name, case in CASES.items()}
    found["painting"] = paint("low")
    found["tiles"] = paint("tiles")
    found["apart"] = paint_apart()
    found["programs"] = {"one": step_program(None), "all": step_program("all")}
    Path(place).write_text(json.dumps(found))


def paint(memory: str) -> dict:
    """Paint with and without `devices`, beyond a mirrored border.

    In strips; or in 18 tiles, of which each device gets two, and two get another one.
    """
    import numpy as np
    from conftest import CAFFE, TINY, build, picture

    import jaxnst

    pictures = picture(277, WIDTH, seed=1), picture(60, 50, seed=2)
    settings = {
        "network": build(TINY, preprocessing=CAFFE, conv="xla"),
        "content_layers": ["relu2_2"],
        "style_layers": ["relu1_1", "relu2_1"],
        "memory": memory,
        "tile_size": 32,
        "size": 277,
        "min_size": 0,
        "num_steps": 2,
        "progress": False,
    }
    one = jaxnst.stylize(*pictures, **settings)
    all_ = jaxnst.stylize(*pictures, devices="all", **settings)
    assert one.record["result"]["memory"] == memory
    totals = all_.history["total"] / one.history["total"] - 1
    return {
        "loss": float(np.abs(totals).max()),
        "within_a_level": float((np.abs(all_.image - one.image) < 1 / 255).mean()),
        "moved": float(np.abs(all_.image - pictures[0]).mean()),
        "device": all_.record["device"],
        "settings": all_.record["settings"]["devices"],
    }


def paint_apart() -> dict:
    """Paint in tiles where one device computes what another one holds.

    As on an accelerator, whose part the default device takes, and the first the host's.
    """
    import jax
    import numpy as np
    from conftest import CAFFE, TINY, build, picture

    import jaxnst
    from jaxnst.optimize import tiles

    home, device = jax.devices()[:2]
    content = picture(130, 96, seed=1)
    style, other = picture(60, 50, seed=2), picture(40, 40)
    left = np.zeros((130, 96), np.float32)
    left[:, :48] = 1
    settings = {
        "content_layers": ["relu2_2"],
        "style_layers": ["relu1_1", "relu2_1"],
        "memory": "tiles",
        "tile_size": 48,
        "size": 130,
        "min_size": 32,
        "num_steps": 3,
        "coarse_steps": 2,
        "strength": 0.5,
        "averaging": 0.5,
        "masks": [left, "rest"],
        "color": "luminance",
        "progress": False,
    }

    def paint() -> jaxnst.Result:
        network = build(TINY, preprocessing=CAFFE, conv="xla")
        return jaxnst.stylize(content, [style, other], network=network, **settings)

    here = paint()
    places = tiles.Places(home, (device,))
    seen = []
    wait = tiles._wait

    def look(arrays, *args):
        seen.append({leaf.device.id for leaf in jax.tree.leaves(arrays)})
        wait(arrays, *args)

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(tiles, "_wait", look))
        for module in ("optimize.tiles", "transfer.plan", "transfer.run"):
            name = f"jaxnst.{module}.tile_places"
            stack.enter_context(mock.patch(name, return_value=places))
        stack.enter_context(jax.default_device(device))
        there = paint()
    return {
        "same": bool((there.image == here.image).all()),
        "moved": float(np.abs(here.image - content).mean()),
        "devices": sorted(set().union(*seen)),
    }


def losses_of(kind: str, options: dict, layers: tuple, height: int) -> dict:
    """Return how far loss and gradient of one case are apart."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from conftest import TINY, TINY_GOOGLENET, TINY_RESNET, build, picture

    from jaxnst.networks import device_mesh, spread_network
    from jaxnst.objective import compute_targets, make_loss_weights, perceptual_loss

    architectures = {"vgg": TINY, "resnet": TINY_RESNET, "googlenet": TINY_GOOGLENET}
    network = build(architectures[kind], conv="xla", **options)
    content_layers, style_layers = layers
    weights = make_loss_weights(
        content=1.0,
        style=1.0,
        tv=0.0,
        content_layers=dict.fromkeys(content_layers, 1.0),
        style_layers=dict.fromkeys(style_layers, 1.0),
    )

    @jax.jit
    def run(network, image, content, style):
        targets = compute_targets(
            network,
            content,
            style,
            content_layers=content_layers,
            style_layers=style_layers,
        )
        return jax.value_and_grad(
            lambda image: perceptual_loss(image, network, targets, weights)[0]
        )(image)

    pictures = [
        jnp.asarray(picture(height, WIDTH, seed=1)) * 0.8,
        jnp.asarray(picture(height, WIDTH, seed=1)),
        jnp.asarray(picture(60, 50, seed=2)),
    ]
    mesh = device_mesh("all")
    assert mesh is not None
    spread = spread_network(network, mesh, [*content_layers, *style_layers])
    total, gradient = run(network, *pictures)
    all_total, all_gradient = run(spread, *pictures)
    error = np.linalg.norm(np.asarray(all_gradient) - np.asarray(gradient))
    return {
        "loss": abs(float(all_total) / float(total) - 1),
        "gradient": float(error / np.linalg.norm(np.asarray(gradient))),
    }


def step_program(devices: str | None) -> dict:
    """Return what a gradient needs on each device, and what devices exchange."""
    import jax
    import jax.numpy as jnp
    from conftest import CAFFE, build

    from jaxnst.networks import VGGArchitecture, device_mesh, spread_network
    from jaxnst.networks.transforms import lay_by_rows, lay_whole
    from jaxnst.objective import compute_targets, make_loss_weights, perceptual_loss

    # As in real networks activations outweigh the picture and the weights.
    wide = VGGArchitecture(name="wide", depths=(1, 1, 1), widths=(32,) * 3)
    content_layers, style_layers = ("relu3_1",), ("relu1_1", "relu2_1", "relu3_1")
    network = build(wide, preprocessing=CAFFE, conv="xla", padding="zeros")
    mesh = device_mesh(devices)
    if mesh is not None:
        network = spread_network(network, mesh, style_layers)
    image = jax.ShapeDtypeStruct((512, 512, 3), jnp.float32)
    targets = jax.eval_shape(
        lambda network, image: compute_targets(
            network,
            image,
            image,
            content_layers=content_layers,
            style_layers=style_layers,
        ),
        network,
        image,
    )
    by_rows = lay_by_rows(network, image, targets.content)
    targets = lay_whole(network, targets)._replace(content=by_rows)
    weights = make_loss_weights(
        content=1.0,
        style=1.0,
        tv=1.0,
        content_layers=dict.fromkeys(content_layers, 1.0),
        style_layers=dict.fromkeys(style_layers, 1.0),
    )
    gradient_fn = jax.jit(jax.value_and_grad(perceptual_loss, has_aux=True))
    image = lay_whole(network, image)
    program = gradient_fn.lower(image, network, targets, weights).compile()
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
    return {"temporary": memory.temp_size_in_bytes, "exchanged": exchanged}


if __name__ == "__main__":
    os.environ["XLA_FLAGS"] += DEVICES  # before JAX is imported
    main(sys.argv[1])
