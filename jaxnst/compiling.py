"""Compiled programs, kept: in memory, on disk, and made ready in the background.

JAX has a cache on disk too. It is global to the process, writes files in place (one cut
short is never mended) and asks for its own settings, so it is left as the user has it.
Here every program is a file of its own, written beside its place and renamed, with a
checksum; what cannot be read is compiled again.

`JAXNST_CACHE_DIR` moves the folder, `JAXNST_CACHE=0` does without it.
"""

import contextlib
import functools
import hashlib
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import jax
import jaxlib
from jax.experimental import serialize_executable

from ._version import __version__


# The oldest programs go once there is more. A program is half a megabyte to a few.
MAX_CACHE_BYTES = 1_000_000_000
# Half-written files of processes that were killed go after an hour.
_STALE_SECONDS = 3600
_SUFFIX = ".program"

_programs: dict[Hashable, "Future[jax.stages.Compiled]"] = {}
_lock = threading.Lock()


def cache_folder() -> Path | None:
    """Return where compiled programs are kept; None if they are not."""
    if os.environ.get("JAXNST_CACHE", "").strip().lower() in ("0", "off", "false"):
        return None
    if given := os.environ.get("JAXNST_CACHE_DIR"):
        return Path(given).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "jaxnst"


def get_program(
    function: Callable[..., Any], *args: Any, **static: Any
) -> jax.stages.Compiled:
    """Return the compiled program of a jitted function, waiting if it is being made.

    Args:
        function: of `jax.jit`.
        args: what it will be called with, or `jax.ShapeDtypeStruct`s like it.
        static: its static arguments, by name.

    Raises:
        jax.errors.JaxRuntimeError: if it does not compile.
    """
    key = _key(function, args, static)
    future = _claim(key)
    if future is None:
        future = _programs[key]
        try:
            return future.result()
        except Exception:
            # It went wrong in the background; here the reason will be seen.
            return _make(function.lower(*args, **static))  # type: ignore[attr-defined]
    return _fulfill(key, future, lambda: function.lower(*args, **static))  # type: ignore[attr-defined]


def prepare_program(function: Callable[..., Any], *args: Any, **static: Any) -> None:
    """Begin to make a program in the background, for `get_program` to find.

    Tracing is done here, under the caller's settings; a thread compiles. Nothing that
    goes wrong is raised.
    """
    key = _key(function, args, static)
    future = _claim(key)
    if future is None:
        return
    try:
        lowered = function.lower(*args, **static)  # type: ignore[attr-defined]
    except Exception as error:
        _forget(key, future, error)
        return

    def compile_quietly() -> None:
        with contextlib.suppress(Exception):
            _fulfill(key, future, lambda: lowered)

    # Not a daemon: the interpreter waits for it, rather than tear XLA down under it.
    threading.Thread(target=compile_quietly, name="jaxnst-compile").start()


def forget_programs() -> None:
    """Forget all programs in memory; those on disk stay."""
    with _lock:
        _programs.clear()


def num_programs() -> int:
    """Return how many programs are in memory."""
    return len(_programs)


def _claim(key: Hashable) -> "Future[jax.stages.Compiled] | None":
    """Return a future to fulfill, or None if someone else is at it."""
    with _lock:
        if key in _programs:
            return None
        future = _programs[key] = Future()
        return future


def _forget(key: Hashable, future: Future, error: BaseException) -> None:
    with _lock:
        if _programs.get(key) is future:
            del _programs[key]
    future.set_exception(error)


def _fulfill(
    key: Hashable, future: Future, lower_fn: Callable[[], jax.stages.Lowered]
) -> jax.stages.Compiled:
    try:
        program = _make(lower_fn())
    except BaseException as error:
        _forget(key, future, error)
        raise
    future.set_result(program)
    return program


def _key(
    function: Callable[..., Any], args: tuple[Any, ...], static: dict[str, Any]
) -> Hashable:
    """What decides which program it is: like `jax.jit`'s own key."""
    leaves, structure = jax.tree.flatten(args)
    shapes = tuple(
        (
            jax.numpy.shape(leaf),
            jax.dtypes.result_type(leaf),
            getattr(leaf, "weak_type", False),
            leaf.sharding if getattr(leaf, "committed", False) else None,
        )
        for leaf in leaves
    )
    config = jax.config
    settings = (
        config.jax_default_device,
        config.jax_default_matmul_precision,
        config.jax_enable_x64,
        config.jax_debug_nans,
    )
    return function, structure, shapes, tuple(sorted(static.items())), settings


def _make(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    folder = cache_folder()
    if folder is None:
        return lowered.compile()
    digest = hashlib.sha256(f"{_surroundings()}\n{lowered.as_text()}".encode())
    path = folder / f"{digest.hexdigest()}{_SUFFIX}"
    program = _load(path, lowered)
    if program is None:
        program = lowered.compile()
        _store(path, program)
    return program


@functools.cache
def _surroundings() -> str:
    """All besides the program itself that decides what it compiles to."""
    device = jax.devices()[0]
    flags: list[str] = []
    with contextlib.suppress(OSError):
        # Folders in one home are shared by machines with other instructions.
        cpu = Path("/proc/cpuinfo").read_text()
        flags = [x for x in cpu.splitlines() if x.startswith(("flags", "Features"))][:1]
    known = (
        __version__,
        jax.__version__,
        jaxlib.__version__,
        getattr(device.client, "platform_version", ""),
        device.device_kind,
        jax.device_count(),
        os.cpu_count(),  # work is cut into as many parts
        platform.machine(),
        platform.processor(),
        os.environ.get("XLA_FLAGS"),
        os.environ.get("LIBTPU_INIT_ARGS"),
        *flags,
    )
    return repr(known)


def _load(path: Path, lowered: jax.stages.Lowered) -> jax.stages.Compiled | None:
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        program = serialize_executable.deserialize_and_load(
            data[32:], lowered.in_tree, lowered.out_tree
        )
        os.utime(path)  # for `_prune`: used just now
    except Exception:
        return None  # not there, or made by something that is not here any more
    return program


def _store(path: Path, program: jax.stages.Compiled) -> None:
    try:
        data, _, _ = serialize_executable.serialize(program)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
        _prune(path.parent)
    except Exception:
        return  # a full disk, a backend that cannot: painting does not need it


def _prune(folder: Path) -> None:
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < time.time() - _STALE_SECONDS:
                part.unlink()
    entries = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):  # another process was quicker
            status = path.stat()
            entries.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= MAX_CACHE_BYTES:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
