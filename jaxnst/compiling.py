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
import importlib.metadata
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import jax
import jax.core
from jax.experimental import serialize_executable

from ._version import __version__
from .background import start_thread
from .hardware import default_device
from .placing import device_of, mesh_of, part_of, place_of, placed


# The oldest programs go once there is more. A program is half a megabyte to a few.
MAX_CACHE_BYTES = 1_000_000_000
# Half-written files of processes that were killed go after an hour.
_STALE_SECONDS = 3600
_SUFFIX = ".program"
# What of JAX's configuration decides what a program is, besides what is called.
_SETTINGS = (
    "jax_default_matmul_precision",
    "jax_enable_x64",
    "jax_debug_nans",
    "jax_disable_most_optimizations",
    "jax_optimization_level",
    "jax_exec_time_optimization_effort",
    "jax_memory_fitting_level",
    "jax_memory_fitting_effort",
)


def cache_folder() -> Path | None:
    """Return where compiled programs are kept; None if they are not."""
    if os.environ.get("JAXNST_CACHE", "").strip().lower() in ("0", "off", "false"):
        return None
    try:
        if given := os.environ.get("JAXNST_CACHE_DIR"):
            return Path(given).expanduser()
        return _cache_base() / "jaxnst"
    except RuntimeError:  # a user without a home, as in some containers
        return None


def _cache_base() -> Path:
    if sys.platform == "win32":
        if given := os.environ.get("LOCALAPPDATA"):
            return Path(given)
        return Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given)
    return Path.home() / ".cache"


class KeptFunction:
    """A jitted function whose programs are kept.

    Called like a function of `jax.jit`, what is traced by position and what is static
    by name.

    Args:
        function: what is jitted.
        static_argnames: of `jax.jit`.
        options: others of `jax.jit`.

    Attributes:
        function: likewise.
        static_argnames: likewise.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        static_argnames: Sequence[str] = (),
        **options: Any,
    ):
        self.function = function
        self.static_argnames = tuple(static_argnames)
        # Of the arguments that are not used a program's text says nothing, so two that
        # use others would be taken for one.
        self._jitted: Any = jax.jit(
            function, keep_unused=True, static_argnames=self.static_argnames, **options
        )
        self._programs: dict[Hashable, Future[jax.stages.Compiled]] = {}
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **static: Any) -> Any:
        """Run the program for arguments like these, making it first if need be."""
        leaves, structure = jax.tree.flatten(args)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self._jitted(*args, **static)  # it becomes part of another program
        return self._get(_key(leaves, structure, static), args, static)(*args)

    def lower(self, *args: Any, **static: Any) -> jax.stages.Lowered:
        """Trace, and compile nothing."""
        return self._jitted.lower(*args, **static)

    def get(self, *args: Any, **static: Any) -> jax.stages.Compiled:
        """Return the program, waiting for it if it is being made.

        Args:
            args: what it will be called with, or `jax.ShapeDtypeStruct`s like that.
            static: its static arguments.

        Raises:
            jax.errors.JaxRuntimeError: if it does not compile.
        """
        leaves, structure = jax.tree.flatten(args)
        return self._get(_key(leaves, structure, static), args, static)

    def prepare(self, *args: Any, **static: Any) -> None:
        """Begin to make a program in the background, as for `get`.

        A thread does it; what goes wrong is not raised: it will be when the program is
        asked for.
        """
        key = _key(*jax.tree.flatten(args), static)
        future = self._claim(key)
        if future is None:
            return

        try:
            device = device_of(args)
            lowered = None
            if not _has_settings_of_threads():  # as in `with jax.default_device(...)`
                lowered = self.lower(*placed(args), **static)

            def make() -> jax.stages.Compiled:
                traced = lowered or self.lower(*placed(args), **static)
                return _make(traced, device)

            start_thread(lambda: self._fulfill(key, future, make))
        except BaseException as error:
            self._forget(key, future)
            if not isinstance(error, Exception):
                raise  # Ctrl-C

    def clear_cache(self) -> None:
        """Forget all programs in memory; those on disk stay."""
        with self._lock:
            self._programs.clear()

    def num_programs(self) -> int:
        """Return how many programs are in memory."""
        return len(self._programs)

    def _get(
        self, key: Hashable, args: tuple[Any, ...], static: dict[str, Any]
    ) -> jax.stages.Compiled:
        while (future := self._claim(key)) is None:
            # It may fail in the background; then it is made here, for all to see why.
            with contextlib.suppress(Exception):
                return self._programs[key].result()
        return self._fulfill(
            key,
            future,
            lambda: _make(self.lower(*placed(args), **static), device_of(args)),
        )

    def _claim(self, key: Hashable) -> "Future[jax.stages.Compiled] | None":
        """Return a future to fulfill, or None if someone else is at it or done."""
        with self._lock:
            if key in self._programs:
                return None
            future = self._programs[key] = Future()
            return future

    def _fulfill(
        self,
        key: Hashable,
        future: "Future[jax.stages.Compiled]",
        make_fn: Callable[[], jax.stages.Compiled],
    ) -> jax.stages.Compiled:
        try:
            program = make_fn()
        except BaseException:
            self._forget(key, future)
            raise
        future.set_result(program)
        return program

    def _forget(self, key: Hashable, future: "Future[jax.stages.Compiled]") -> None:
        """Let those who wait for a program make it, and see what went wrong."""
        with self._lock:
            if self._programs.get(key) is future:
                del self._programs[key]
        future.cancel()


def _key(
    leaves: Sequence[Any], structure: Hashable, static: dict[str, Any]
) -> Hashable:
    """What decides which program it is: like `jax.jit`'s own key."""
    mesh = mesh_of(leaves)
    shapes = tuple(
        (
            getattr(leaf, "shape", ()),
            getattr(leaf, "dtype", type(leaf)),
            getattr(leaf, "weak_type", False),
            place_of(leaf) if mesh is None else part_of(leaf),
        )
        for leaf in leaves
    )
    settings = default_device(), mesh, *_settings()
    return structure, shapes, tuple(sorted(static.items())), settings


def _settings() -> tuple[Any, ...]:
    config: Any = jax.config
    values = config.values
    return tuple(values.get(name) for name in _SETTINGS)  # not every version has all


def _has_settings_of_threads() -> bool:
    """Whether JAX's settings here are those of a thread that begins now."""
    config: Any = jax.config
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(dict(config.values)))
    thread.start()
    thread.join()
    return found == [dict(config.values)]


def _make(lowered: jax.stages.Lowered, device: Any) -> jax.stages.Compiled:
    folder = cache_folder()
    # Programs for many devices are bound to just these.
    if folder is None or device is None:
        return lowered.compile()
    known = (
        _surroundings(device),
        repr(_settings()),
        *(str(argument) for argument in jax.tree.leaves(lowered.args_info)),
        lowered.as_text(),
    )
    digest = hashlib.sha256("\n".join(known).encode())
    path = folder / f"{digest.hexdigest()}{_SUFFIX}"
    program = _load(path, lowered, device)
    if program is None:
        program = lowered.compile()
        _store(path, program)
    return program


@functools.cache
def _surroundings(device: Any) -> str:
    """All besides the program itself that decides what it compiles to."""
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


def _load(
    path: Path, lowered: jax.stages.Lowered, device: Any
) -> jax.stages.Compiled | None:
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        program = serialize_executable.deserialize_and_load(
            data[32:],
            lowered.in_tree,
            lowered.out_tree,
            backend=device.client,
            # Else it would ask for arguments on every device there is.
            execution_devices=[device],
        )
    except Exception:
        return None  # not there, or made by something that is not here any more
    with contextlib.suppress(OSError):  # a folder may be for reading only
        os.utime(path)  # for `_prune`: used just now
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
