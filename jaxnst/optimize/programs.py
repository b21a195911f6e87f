"""Compiled programs: compiled ahead of time, and cached on disk.

All programs are those of `jax.jit`. JAX's persistent compilation cache keeps them on
disk. `JAXNST_CACHE_DIR` moves its folder, `JAXNST_CACHE=0` disables it, and a cache
that the user has set up for JAX is used as it is.
"""

import atexit
import contextlib
import functools
import hashlib
import os
import platform
import signal
import stat
import sys
import threading
import warnings
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxnst.networks.devices import default_device


# Above this size JAX deletes the programs used least recently. A program takes half a
# megabyte to a few.
_MAX_CACHE_BYTES = 1_000_000_000


class Program(NamedTuple):
    """A jitted function with the arguments it will be called with.

    Arguments whose values are not known yet are `jax.ShapeDtypeStruct`s. `beside` are
    arrays that there are while it runs, which it does not read.
    """

    function: Any
    args: tuple[Any, ...]
    static: dict[str, Any]
    beside: Any = ()

    def compile(self) -> jax.stages.Compiled:
        """Return the compiled program.

        JAX caches it, so neither this nor a call of `function` with such arguments
        compiles it a second time.
        """
        return self.function.lower(*self.args, **self.static).compile()

    def shapes(self) -> Any:
        """Return the shapes of what the function returns."""
        return self.function.eval_shape(*self.args, **self.static)

    def run(self) -> Any:
        """Call the function, and return what it returns."""
        return self.function(*self.args, **self.static)


class Held:
    """A tree that is an argument of many calls, and is taken apart only once.

    A function that is called with it gets the tree itself. A network takes longer to
    take apart than all that is done on the host for a call besides.
    """

    def __init__(self, tree: Any):
        self._leaves, self._structure = jax.tree.flatten(tree)


jax.tree_util.register_pytree_node(
    Held,
    lambda held: (held._leaves, held._structure),
    lambda structure, leaves: jax.tree.unflatten(structure, leaves),
)

_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_is_ending = threading.Event()


def compile_in_background(programs: Iterable[Program]) -> threading.Thread:
    """Start a thread that compiles programs, and return it.

    A generator of programs runs in the thread. An error there need not be handled: the
    call of the program raises it again.
    """
    # `with jax.default_device(...)` holds for the calling thread alone. Without one,
    # none may be set here either: JAX would compile another program.
    device = getattr(jax.config, "jax_default_device", None)

    def work() -> None:
        context = contextlib.nullcontext() if not device else jax.default_device(device)
        with context, contextlib.suppress(Exception):
            for program in programs:
                if _is_ending.is_set():
                    return
                program.compile()

    thread = threading.Thread(target=work, name="jaxnst-compiler", daemon=True)
    _threads.add(thread)
    thread.start()
    return thread


@atexit.register
def _end_threads() -> None:
    """Wait for programs that are being compiled; Ctrl-C ends the process at once.

    XLA cannot be interrupted, and must not outlive the interpreter. Python waits by
    itself for threads that are no daemons, but prints a traceback at Ctrl-C.
    """
    _is_ending.set()
    threads = [thread for thread in _threads if thread.is_alive()]
    if threads and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with contextlib.suppress(OSError, ValueError):  # closed
            print(end="", flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for thread in threads:
        thread.join()


def use_program_cache() -> None:
    """Let JAX cache compiled programs in jaxnst's folder, if the user has set none.

    All programs are cached, however quickly they compile. Damaged entries (after a kill
    or a full disk, for example) are deleted; otherwise JAX would warn about them in
    every process.
    """
    folder = cache_folder()
    config: Any = jax.config
    if folder is None or config.jax_compilation_cache_dir is not None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_trusted(folder):
            return
        _delete_damaged(folder)
    except OSError:  # with a full disk or a read-only home, paint without a cache
        return
    config.update("jax_compilation_cache_dir", str(folder))
    config.update("jax_compilation_cache_max_size", _MAX_CACHE_BYTES)
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def compile_quickly() -> None:
    """Let XLA compile quickly for TPUs, unless the user has chosen a level for JAX.

    XLA then takes a minute, not eight, for a step's program of 512 px, and the step
    about a third longer (benchmarks/README.md). Elsewhere the level does not matter, or
    would do other things.
    """
    config: Any = jax.config
    level = getattr(config, "jax_optimization_level", None)
    if level == "UNKNOWN" and default_device().platform == "tpu":
        config.update("jax_optimization_level", "O1")


@functools.cache
def _is_trusted(folder: Path) -> bool:
    """Return whether only this user can write to a folder; warn once if not.

    Cached programs are machine code that this process would run.
    """
    if sys.platform == "win32":
        return True
    status, above = folder.stat(), folder.parent.stat()
    if status.st_uid != os.geteuid():
        reason = "belongs to another user"
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        reason = "can be written to by other users"
    # They could put another folder in its place, except in those like /tmp.
    elif above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        reason = "lies in a folder that can be written to by other users"
    else:
        return True
    warnings.warn(
        f"compiled programs are not cached, because {folder} {reason}; set "
        "JAXNST_CACHE_DIR to a folder of your own.",
        stacklevel=3,
    )
    return False


def cache_folder() -> Path | None:
    """Return the folder of the compiled programs; None if they are not cached."""
    if os.environ.get("JAXNST_CACHE", "").strip().lower() in ("0", "off", "false"):
        return None
    try:
        given = os.environ.get("JAXNST_CACHE_DIR")
        base = Path(given).expanduser() if given else _cache_base() / "jaxnst"
    except RuntimeError:  # a user without a home, as in some containers
        return None
    platform = default_device().platform
    kind = _processor() if platform == "cpu" else platform
    return base / f"programs-{kind}"


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


@functools.cache
def _processor() -> str:
    """Return a name for this kind of processor.

    Machines with different processors may share a home folder, and JAX's cache keys do
    not contain the processor. For an accelerator they contain all that matters: its
    kind, the plugin, CUDA and cuDNN; and of the host nothing.
    """
    flags: list[str] = []
    with contextlib.suppress(OSError):
        cpu = Path("/proc/cpuinfo").read_text().splitlines()
        flags = [x for x in cpu if x.startswith(("flags", "Features"))][:1]
    known = (platform.machine(), platform.processor(), os.cpu_count(), *flags)
    return hashlib.sha256(repr(known).encode()).hexdigest()[:12]


def _delete_damaged(folder: Path) -> None:
    """Delete entries that are not complete, or were changed.

    JAX writes an entry, then the time of its last use into a file beside it. So an
    entry without that file, or newer than it, is damaged.
    """
    for entry in folder.glob("*-cache"):
        used = entry.with_name(entry.name.removesuffix("-cache") + "-atime")
        try:
            is_whole = entry.stat().st_mtime_ns <= used.stat().st_mtime_ns
        except FileNotFoundError:
            is_whole = False
        if not is_whole:
            entry.unlink(missing_ok=True)
            used.unlink(missing_ok=True)
