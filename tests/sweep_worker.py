"""A process of its own for tests of sweeps; `python sweep_worker.py WHAT FOLDER [...]`.

Paints the sweep of `test_sweep.SETTINGS` with the tiny network, on whatever devices
`XLA_FLAGS` makes.
"""

import os
import sys
from pathlib import Path
from typing import Any


os.environ.setdefault("JAXNST_CACHE", "0")

# A few members of every kind: plain, ended early, gone astray, averaged, failed.
# Few layers: what is swept is the same, and compiles in half the time.
LAYERS: dict[str, Any] = {
    "content_layers": ["relu2_2"],
    "style_layers": ["relu1_1", "relu2_1"],
}
SIZES: dict[str, Any] = {"size": 96, "min_size": 48, "progress": False, **LAYERS}
SETTINGS = {
    "style_weight": [0.5, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 5.0],
    "learning_rate": [0.03, 0.03, 0.05, 1000.0, 0.03, 0.03, 0.03, 0.03, 0.03, 0.03],
    "tolerance": [0.0, 0.0, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    "num_steps": [12, 14, 12, 25, 12, 12, 12, 12, 12, 12],
    "coarse_steps": [6, 5, 25, 6, 6, 6, 6, 6, 6, 6],
    "seed": [*range(10)],
    "init": ["noise"] * 10,
    "averaging": [0.8, 0.5, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8],
    "tv_weight": [0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
}


def make_network() -> Any:
    """Return a network, the same in every process; nothing is compiled for it."""
    from conftest import CAFFE, TINY, build

    return build(TINY, preprocessing=CAFFE, padding="replicate")


def pictures() -> tuple:
    from conftest import picture

    return picture(seed=1), picture(36, 50, seed=2)


def sweep_all(folder: Path) -> None:
    """Paint all members on all devices, side by side; keep them in `found.npz`."""
    import jax
    import numpy as np

    import jaxnst

    assert jax.device_count() == 8, jax.devices()
    found = jaxnst.sweep(
        *pictures(),
        mode="zip",
        network=make_network(),
        **SETTINGS,
        **SIZES,
    )
    assert not found.errors, found.errors
    np.savez(
        folder / "found.npz",
        allow_pickle=False,
        **{str(index): result.image for index, result in found.results.items()},
        steps=[row.steps for row in found.rows],
    )


def share(folder: Path, process: str, address: str) -> None:
    """Be one of two processes of a sweep."""
    import jax

    import jaxnst

    jax.distributed.initialize(address, 2, int(process))
    jaxnst.sweep(
        *pictures(),
        style_weight=[0.3, 1.0, 3.0, 10.0, 30.0],
        size=48,
        num_steps=3,
        network=make_network(),
        output=folder / "out",
        progress=False,
        **LAYERS,
    )


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    {"all": sweep_all, "share": share}[what](Path(folder), *rest)
