"""The devices that JAX computes on."""

from typing import Any

import jax
import jax.extend


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
