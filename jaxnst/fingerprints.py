"""What a call will trace to, told without tracing it.

Tracing takes most of a second for each size, every time. What comes of it is decided by
the code, by what is below it, by settings and by the arguments; where all of these are
known, a digest of them stands for it. The code is known only where nobody can have
changed it since it was read: in a process of the command. In a process of the user's
own, functions may have been replaced, so there it is traced.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import io
import os
import pickle
import platform
import sys
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxnst import __version__

from .placing import place_of
from .trust import is_code_trusted


# All that is traced by or through.
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "jaxtyping")

# {id: (what closures cannot say of themselves, what it is)}.
_named: dict[int, tuple[object, str]] = {}


def name_object(value: object, name: str) -> None:
    """Let a name stand for an object that is the same in every process.

    Args:
        value: made of functions that pickle cannot name; it is kept.
        name: which no other has.
    """
    _named[id(value)] = (value, name)


def fingerprint_of(
    function: Callable[..., Any],
    leaves: Sequence[Any],
    structure: Hashable,
    static: dict[str, Any],
    *,
    options: dict[str, Any],
    device: Any,
) -> str | None:
    """Return a digest of all that decides what a call is traced to.

    Args:
        function: that is called.
        leaves: of its arguments.
        structure: of its arguments.
        static: its static arguments.
        options: of `jax.jit`.
        device: on which it will run.

    Returns:
        None if that is not known: a function of the user's own, say.
    """
    if not is_code_trusted():
        return None
    stream = io.BytesIO()
    try:
        # By pickle, functions and classes are what their names say, or an error.
        call = (function, structure, sorted(static.items()), sorted(options.items()))
        pickler = _Pickler(stream)
        # Else it would tell whether two equal names are one object.
        pickler.fast = True
        pickler.dump(call)
        code = _digest_of_code()
    except Exception:
        return None
    config: Any = jax.config
    known = (
        code,
        surroundings(device),
        *sorted(f"{name} {value!r}" for name, value in config.values.items()),
        *(
            f"{getattr(leaf, 'shape', ())} {getattr(leaf, 'dtype', type(leaf))} "
            f"{getattr(leaf, 'weak_type', False)} {place_of(leaf)!r}"
            for leaf in leaves
        ),
    )
    digest = hashlib.sha256(stream.getvalue())
    digest.update("\n".join(known).encode())
    return digest.hexdigest()


@functools.cache
def surroundings(device: Any) -> str:
    """Return all besides the program itself that decides what it compiles to."""
    flags: list[str] = []
    with contextlib.suppress(OSError):
        # Folders in one home are shared by machines with other instructions.
        cpu = Path("/proc/cpuinfo").read_text()
        flags = [x for x in cpu.splitlines() if x.startswith(("flags", "Features"))][:1]
    known = (
        __version__,
        jax.__version__,
        importlib.metadata.version("jaxlib"),
        getattr(device.client, "platform_version", ""),
        device.platform,
        device.device_kind,
        device.id,
        jax.device_count(),
        os.cpu_count(),  # work is cut into as many parts
        platform.machine(),
        platform.processor(),
        os.environ.get("XLA_FLAGS"),
        os.environ.get("LIBTPU_INIT_ARGS"),
        *flags,
    )
    return repr(known)


class _Pickler(pickle.Pickler):
    """Writes the names of objects that have one."""

    def persistent_id(self, obj: object) -> str | None:
        found = _named.get(id(obj))
        return None if found is None else found[1]


@functools.cache
def _digest_of_code() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for package in _PACKAGES:
        digest.update(f"{package} {importlib.metadata.version(package)} ".encode())
    folder = Path(__file__).parent
    paths = sorted(folder.rglob("*.py"))
    if not paths:
        raise FileNotFoundError("the code is not in files")
    for path in paths:
        data = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(data)} ".encode() + data)
    return digest.hexdigest()
