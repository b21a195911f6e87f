"""Which devices JAX computes on."""

from typing import Any

import jax


def default_device() -> Any:
    """Return where JAX puts arrays that nobody has put elsewhere."""
    device = getattr(jax.config, "jax_default_device", None)
    if isinstance(device, str):
        return jax.local_devices(backend=device)[0]
    return device or jax.local_devices()[0]


def local_devices() -> list[Any]:
    """Return all devices of this machine like the one that JAX computes on."""
    return jax.local_devices(backend=default_device().platform)
