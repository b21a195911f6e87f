"""Which weights are on disk, and how to get, remove and convert them."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from jaxnst._checks import expand_home
from jaxnst.images.files import atomic_write, check_place, file_sha256

from .cache import all_kept, check_kept, kept_path, remove_kept
from .formats import naming, open_tensors
from .layouts import expected_bytes, save_weights, take_weights
from .registry import SPECS, BundledFile, HubFile, WeightSpec, bundled_path, get_spec


def megabytes(num_bytes: int) -> str:
    """Return a number of bytes in words, such as "20 MB"."""
    size = num_bytes / 1e6
    return f"{size:.0f} MB" if size >= 10 else f"{size:.1f} MB"


class InventoryEntry(NamedTuple):
    """Weights of the registry, and their files on disk.

    Attributes:
        paths: their files on disk, one for each revision; the first is used if no
            revision is given.
        size: bytes on disk; if there are no files, bytes to download.
    """

    spec: WeightSpec
    paths: tuple[Path, ...]
    size: int

    @property
    def state(self) -> str:
        """Where the weights are, in words."""
        size = megabytes(self.size)
        if isinstance(self.spec.source, BundledFile):
            return f"{size}, bundled" if self.paths else "missing: install jaxnst again"
        if self.paths:
            others = f", {len(self.paths)} revisions" if len(self.paths) > 1 else ""
            return f"{size}, on disk{others}"
        if isinstance(self.spec.source, HubFile):
            return f"not on disk, {size} to download"
        return "not on disk, needs a file of yours"


def list_weights() -> list[InventoryEntry]:
    """Return all weights of the registry, and their files on disk."""
    entries = []
    for spec in SPECS.values():
        paths: list[Path] = []
        missing = 0
        if isinstance(spec.source, BundledFile):
            with contextlib.suppress(FileNotFoundError):
                paths = [bundled_path(spec)]
        else:
            paths, missing = all_kept(spec), expected_bytes(spec.architecture)
        size = sum(path.stat().st_size for path in paths)
        entries.append(InventoryEntry(spec, tuple(paths), size or missing))
    return entries


def weights_path(name: str) -> Path:
    """Return the path of weights on disk; a FileNotFoundError says how to get them."""
    spec = get_spec(name)
    if isinstance(spec.source, BundledFile):
        return bundled_path(spec)
    path = kept_path(spec)
    if not path.exists():
        raise FileNotFoundError(
            f"the weights of {name!r} are not on disk. Get them: jaxnst networks get "
            f"{name}"
        )
    return path


def get_weights(
    name: str,
    *,
    source: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Path:
    """Return the path of weights, downloading them if they are not on disk.

    Undamaged weights of a commit are not downloaded again; a branch or tag is.
    `source` is a file to take them from instead; for use offline, or for networks that
    the Hub does not have.
    """
    from . import hub

    spec = get_spec(name)
    if isinstance(spec.source, BundledFile):
        if source is not None:
            raise ValueError(
                f"the weights of {name!r} are part of jaxnst, and taken from no file."
            )
        return bundled_path(spec)
    if source is not None:
        if spec.name not in SPECS:
            raise ValueError("give a revision or a file to take them from, not both")
        return hub.keep_own(spec, expand_home(source))
    if not isinstance(spec.source, HubFile) or hub.is_commit(spec.source.revision):
        path = kept_path(spec)
        with contextlib.suppress(OSError, ValueError):  # not there, or damaged
            check_kept(path)
            return path
    return hub.fetch(spec, progress=progress, renew=True)


def remove_weights(name: str) -> list[Path]:
    """Remove downloaded weights, and return the paths of the removed files.

    Without a revision in `name`, all revisions are removed.
    """
    spec = get_spec(name)
    if isinstance(spec.source, BundledFile):
        raise ValueError(f"the weights of {name!r} are part of jaxnst, and stay.")
    paths = all_kept(spec)
    if name not in SPECS:
        paths = [path for path in paths if path == kept_path(spec)]
    if not paths:
        raise FileNotFoundError(f"the weights of {name!r} are not on disk.")
    for path in paths:
        remove_kept(path)
    return paths


def convert_weights(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    preprocessing: str | None = None,
) -> Path:
    """Write the convolutions in a file as jaxnst keeps them, and return the path.

    The new file says the `preprocessing`, one of `PREPROCESSINGS`.
    """
    source, target = expand_home(source), expand_home(target)
    if target.suffix.lower() != ".safetensors":
        raise ValueError(f"output {target} must end in .safetensors.")
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"output {target} is the file to convert; choose another.")
    check_place(target)
    with naming(source):
        file = open_tensors(source)
        weights = take_weights(file, preprocessing=preprocessing)
    data = save_weights(weights, source=source.name, source_sha256=file_sha256(source))
    with atomic_write(target) as beside:
        beside.write_bytes(data)
    return target
