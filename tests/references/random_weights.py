"""Random weights that torch and the tests make alike, from names and shapes alone."""

import zlib
from collections.abc import Mapping

import numpy as np


def random_tensor(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the tensor that a state dict has at `key`, float32.

    Kernels as He et al. have them; batch norms whose every number matters, and that
    keep activations at about the size of their input.
    """
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    noise = generator.standard_normal(shape, np.float32)
    kind = key.rsplit(".", 1)[-1]
    if len(shape) == 4:  # OIHW
        return noise * np.float32((2 / np.prod(shape[1:])) ** 0.5)
    if kind == "running_var":
        return 1 + np.float32(0.5) * np.tanh(noise)
    if key.endswith("bn3.weight"):
        # What the sixteen blocks of a ResNet add up would else grow a thousandfold.
        return np.float32(0.3) * (1 + np.float32(0.2) * noise)
    if kind == "weight":
        return 1 + np.float32(0.2) * noise
    return np.float32(0.1) * noise


def random_tensors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return {key: tensor} for {key: shape}."""
    return {key: random_tensor(key, shape) for key, shape in shapes.items()}
