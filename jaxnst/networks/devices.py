"""The devices that JAX computes on."""

from typing import Any

import jax


def default_device() -> Any:
    """Return the device on which JAX puts arrays by default."""
    device = getattr(jax.config, "jax_default_device", None)
    if isinstance(device, str):
        return jax.local_devices(backend=device)[0]
    return device or jax.local_devices()[0]


def local_devices() -> list[Any]:
    """Return all local devices of the same platform as the default device."""
    return jax.local_devices(backend=default_device().platform)
