"""Compiled programs, kept: in memory, on disk, and made ready in the background.

JAX has a cache on disk too. It is global to the process, writes files in place (one cut
short is never mended) and asks for its own settings, so it is left as the user has it.
Here every program is a file of its own, see `jaxnst.program_files`.
"""

import contextlib
import hashlib
import pickle
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.core
from jax.experimental import serialize_executable

from .background import start_thread
from .fingerprints import fingerprint_of, surroundings
from .networks.devices import default_device
from .placing import device_of, mesh_of, part_of, place_of, placed
from .program_files import KNOWN, PROGRAM, cache_folder, read_file, write_file


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
        self._options = options
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

    def shapes_of(self, *args: Any, **static: Any) -> Any:
        """Return the shapes of what a call gives, as `jax.eval_shape` does.

        Args:
            args: as for `get`.
            static: likewise.
        """
        folder, device = cache_folder(), device_of(args)
        if folder is not None and device is not None:
            known = _read_known(folder, self._fingerprint(args, static, device))
            if known is not None:
                return known.shapes
        return self._jitted.eval_shape(*args, **static)

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
                return self._make(args, static, device, lowered)

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
            key, future, lambda: self._make(args, static, device_of(args))
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

    def _make(
        self,
        args: tuple[Any, ...],
        static: dict[str, Any],
        device: Any,
        lowered: jax.stages.Lowered | None = None,
    ) -> jax.stages.Compiled:
        """Load a program, or compile it; trace it only if it is not known."""
        folder = cache_folder()
        # Programs for many devices are bound to just these.
        if folder is None or device is None:
            return (lowered or self.lower(*placed(args), **static)).compile()
        fingerprint = self._fingerprint(args, static, device)
        in_tree = jax.tree.structure((args, {}))
        if lowered is None and (known := _read_known(folder, fingerprint)):
            out_tree = jax.tree.structure(known.shapes)
            program = _load(folder / known.program, in_tree, out_tree, device)
            if program is not None:
                return program
        lowered = lowered or self.lower(*placed(args), **static)
        path = folder / _name_of(lowered, device)
        program = _load(path, lowered.in_tree, lowered.out_tree, device)
        if program is None:
            program = lowered.compile()
            if _has_cache_of_jax():
                return program  # it may have come from there
            _store(path, program)
        if fingerprint is not None and lowered.in_tree == in_tree:
            # Found where it was traced; of a program, JAX tells less.
            shapes = self._jitted.eval_shape(*args, **static)
            _write_known(folder, fingerprint, _Known(path.name, shapes))
        return program

    def _fingerprint(
        self, args: tuple[Any, ...], static: dict[str, Any], device: Any
    ) -> str | None:
        leaves, structure = jax.tree.flatten(args)
        return fingerprint_of(
            self.function,
            leaves,
            structure,
            static,
            options=self._options,
            device=device,
        )

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


def _has_cache_of_jax() -> bool:
    """Whether JAX keeps programs, too, as the user has it.

    What it finds there runs on a CPU, but written to a file once more it does not (jax
    0.10: "Function ... not found").
    """
    config: Any = jax.config
    return bool(
        config.jax_enable_compilation_cache and config.jax_compilation_cache_dir
    )


class _Known(NamedTuple):
    """What came of tracing a call.

    Attributes:
        program: the name of its file.
        shapes: of what the call gives.
    """

    program: str
    shapes: Any


def _read_known(folder: Path, fingerprint: str | None) -> _Known | None:
    if fingerprint is None:
        return None
    data = read_file(folder / f"{fingerprint}{KNOWN}")
    if data is None:
        return None
    try:
        return _Known(*pickle.loads(data))
    except Exception:
        return None  # of a version that is not here any more


def _write_known(folder: Path, fingerprint: str, known: _Known) -> None:
    with contextlib.suppress(pickle.PicklingError, TypeError, AttributeError):
        write_file(folder / f"{fingerprint}{KNOWN}", pickle.dumps(tuple(known)))


def _name_of(lowered: jax.stages.Lowered, device: Any) -> str:
    """Return the name of a program's file."""
    known = (
        surroundings(device),
        repr(_settings()),
        *(str(argument) for argument in jax.tree.leaves(lowered.args_info)),
        lowered.as_text(),
    )
    digest = hashlib.sha256("\n".join(known).encode())
    return f"{digest.hexdigest()}{PROGRAM}"


def _load(
    path: Path, in_tree: Any, out_tree: Any, device: Any
) -> jax.stages.Compiled | None:
    data = read_file(path)
    if data is None:
        return None
    try:
        return serialize_executable.deserialize_and_load(
            data,
            in_tree,
            out_tree,
            backend=device.client,
            # Else it would ask for arguments on every device there is.
            execution_devices=[device],
        )
    except Exception:
        return None  # made by something that is not here any more


def _store(path: Path, program: jax.stages.Compiled) -> None:
    try:
        data, _, _ = serialize_executable.serialize(program)
    except Exception:
        return  # a backend that cannot: painting does not need it
    write_file(path, data)
