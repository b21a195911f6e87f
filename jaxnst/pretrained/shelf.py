"""Which weights are on disk; getting, removing and converting them."""

import os
from pathlib import Path
from typing import NamedTuple

from jaxnst.networks import Preprocessing

from .bundled import bundled_path
from .keys import expected_bytes
from .specs import SPECS, BundledFile, HubFile, WeightSpec, get_spec
from .store import all_kept, kept_path, kept_size, read_kept, remove_kept, write_file
from .tensors import file_sha256, naming, open_tensors
from .weights import save_weights, take_weights


def megabytes(num_bytes: int) -> str:
    """Return a size in words."""
    size = num_bytes / 1e6
    return f"{size:.0f} MB" if size >= 10 else f"{size:.1f} MB"


class ShelfEntry(NamedTuple):
    """Some weights, and what of them is on disk.

    Attributes:
        spec: of the registry.
        paths: their files on disk, one for each revision; the first is the one that is
            used if no revision is asked for.
        size: of these in bytes; if there are none, of what would be downloaded.
    """

    spec: WeightSpec
    paths: tuple[Path, ...]
    size: int

    @property
    def state(self) -> str:
        """Where they are, in words."""
        size = megabytes(self.size)
        if isinstance(self.spec.source, BundledFile):
            return f"{size}, bundled" if self.paths else "missing: install jaxnst again"
        if self.paths:
            others = f", {len(self.paths)} revisions" if len(self.paths) > 1 else ""
            return f"{size}, on disk{others}"
        if isinstance(self.spec.source, HubFile):
            return f"not on disk, {size} to download"
        return "not on disk, to be had from a file of yours"


def list_weights() -> list[ShelfEntry]:
    """Return all weights of the registry, and what of them is on disk."""
    return [_entry(spec) for spec in SPECS.values()]


def _entry(spec: WeightSpec) -> ShelfEntry:
    if isinstance(spec.source, BundledFile):
        try:
            path = bundled_path(spec)
        except FileNotFoundError:
            return ShelfEntry(spec, (), 0)
        return ShelfEntry(spec, (path,), path.stat().st_size)
    paths = all_kept(spec)
    own = kept_path(spec)
    paths.sort(key=lambda path: (path != own, path))
    if not paths:
        return ShelfEntry(spec, (), expected_bytes(spec.architecture))
    return ShelfEntry(spec, tuple(paths), sum(map(kept_size, paths)))


def weights_path(name: str) -> Path:
    """Return where weights lie on disk.

    Args:
        name: as for `get_spec`.

    Raises:
        ValueError: if there is no such name.
        FileNotFoundError: if they are not on disk.
    """
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
    token: str | bool | None = None,
    progress: bool = True,
) -> Path:
    """Have weights on disk, and return where.

    What is there and whole is left as it is, but a branch or tag is downloaded anew.

    Args:
        name: as for `get_spec`.
        source: take them from this file; where nothing can be downloaded, or for
            networks that the Hub does not have.
        token: as for `load_network`.
        progress: likewise.

    Raises:
        ValueError: if there is no such name, or the file is not the right one.
        OSError: if they cannot be had or kept.
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
        return hub.keep_own(spec, Path(source).expanduser())
    path = kept_path(spec)
    is_fixed = not isinstance(spec.source, HubFile) or hub.is_commit(
        spec.source.revision
    )
    if is_fixed and _is_whole(path):
        return path
    return hub.fetch(spec, token=token, progress=progress, renew=True)


def _is_whole(path: Path) -> bool:
    try:
        read_kept(path)
    except (OSError, ValueError):
        return False
    return True


def remove_weights(name: str) -> list[Path]:
    """Remove downloaded weights, and return which files those were.

    Args:
        name: as for `get_spec`; without a revision it means all of them.

    Raises:
        ValueError: if there is no such name, or they are bundled.
        FileNotFoundError: if they are not on disk.
        OSError: if they cannot be removed.
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
    preprocessing: str | Preprocessing | None = None,
) -> Path:
    """Write the weights in a file as jaxnst keeps them: the convolutions only.

    Args:
        source: a file of weights, as for `load_network`.
        target: where to; ends in .safetensors.
        preprocessing: as for `load_network`; the new file says it.

    Returns:
        The path of `target`.

    Raises:
        ValueError: if the source cannot be used, or is the target.
        OSError: if the target cannot be written; then it is as it was.
        ImportError: if a package that reads the source is not installed.
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    if target.suffix.lower() != ".safetensors":
        raise ValueError(f"output {target} must end in .safetensors.")
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"output {target} is the file to convert; choose another.")
    with naming(source):
        file = open_tensors(source)
        weights = take_weights(file, preprocessing=preprocessing)
    data = save_weights(weights, source=source.name, source_sha256=file_sha256(source))
    try:
        write_file(target, data)
    except OSError as error:
        message = f"output {target} cannot be written: {error.strerror or error}"
        raise type(error)(message) from error
    return target
