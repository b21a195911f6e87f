"""The devices that JAX computes on, and the arithmetic of networks on each.

"float32"; "tf32", products of float32 numbers whose factors are rounded to three
digits, which Nvidia's GPUs have from compute capability 8.0 on (on TPUs it is float32
in three passes of bfloat16); "bfloat16" and "float16", in which activations are kept in
16 bits. "auto" is the fastest of them on a device, of those whose gradient has a cosine
of .999 or more with that in float32 (benchmarks/README.md).
"""

import warnings
from typing import Any

import jax
import jax.extend


# Factor on the loss in float16, in which small gradients would else become zero, where
# the larger of the weights of content and style is 1.
LOSS_SCALE = 4096.0


def check_platforms() -> None:
    """Raise ValueError if JAX is asked for a platform that it does not have here."""
    wanted = getattr(jax.config, "jax_platforms", None)
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        if not wanted:
            raise
        jax.config.update("jax_platforms", None)
        present = ", ".join(jax.extend.backend.backends())
        # As it was: what is called next is told the same.
        jax.config.update("jax_platforms", wanted)
        jax.extend.backend.clear_backends()
        raise ValueError(
            f"JAX_PLATFORMS is {wanted!r}, which JAX does not have here; it has "
            f"{present}; unset JAX_PLATFORMS, or name one of these"
        ) from error


def default_device() -> Any:
    """Return the device on which JAX puts arrays by default."""
    device = getattr(jax.config, "jax_default_device", None)
    if isinstance(device, str):
        return jax.local_devices(backend=device)[0]
    return device or jax.local_devices()[0]


def local_devices() -> list[Any]:
    """Return all local devices of the same platform as the default device."""
    return jax.local_devices(backend=default_device().platform)


def usable_devices() -> list[Any]:
    """Return the device that the user chose, or else all local ones."""
    is_chosen = getattr(jax.config, "jax_default_device", None) is not None
    return [default_device()] if is_chosen else local_devices()


def arithmetic_of(
    precision: str,
    device: Any,
    *,
    method: str = "auto",
    allows_float16: bool = True,
) -> str:
    """Return the arithmetic in which a device computes a network.

    Args:
        precision: one of `jaxnst.config.PRECISIONS`.
        device: device of JAX that runs the network.
        method: one of `jaxnst.config.CONVOLUTIONS`.
        allows_float16: whether "auto" may be float16, whose gradients need a factor on
            the loss.
    """
    capability = _compute_capability(device)
    has_tf32 = device.platform == "tpu" or capability >= 8
    if precision == "tf32" and not has_tf32:
        return "float32"
    if precision != "auto":
        return precision
    if method == "winograd":
        return "float32"
    if has_tf32:
        return "tf32"
    return "float16" if allows_float16 and capability >= 7 else "float32"


def warn_if_emulated(precision: str, device: Any) -> None:
    """Warn if a device does not have the arithmetic of a precision that was named."""
    capability = _compute_capability(device)
    if precision == "tf32":
        is_missing = arithmetic_of(precision, device) != "tf32"
        says = "does not have; float32 is used"
    else:
        is_missing = {
            "bfloat16": device.platform == "cpu" or 0 < capability < 8,
            "float16": device.platform in ("cpu", "tpu") or 0 < capability < 7,
        }.get(precision, False)
        says = "emulates, no faster than float32; use 'auto'"
    if is_missing:
        warnings.warn(
            f"`precision` is {precision!r}, which this device ({device.device_kind}) "
            f"{says}.",
            stacklevel=3,
        )


def convolution_precision(arithmetic: str) -> jax.lax.Precision:
    """Return the precision that XLA is asked for in convolutions."""
    # Without HIGHEST, accelerators multiply float32 in bfloat16 or TF32. It changes
    # nothing for 16 bits, whose products are summed in float32 everywhere.
    is_tf32 = arithmetic == "tf32"
    return jax.lax.Precision.HIGH if is_tf32 else jax.lax.Precision.HIGHEST


def product_precision(arithmetic: str, platform: str) -> Any:
    """Return the precision that XLA is asked for in products of activations."""
    if arithmetic == "tf32" and platform != "tpu":
        # With HIGH, only one of the two ways in which XLA multiplies matrices on
        # Nvidia's GPUs uses TF32.
        return jax.lax.DotAlgorithmPreset.TF32_TF32_F32
    return convolution_precision(arithmetic)


def _compute_capability(device: Any) -> float:
    """Return the compute capability of an Nvidia GPU; 0 for any other device."""
    try:
        return float(getattr(device, "compute_capability", 0))
    except ValueError:  # AMD's are names
        return 0.0
