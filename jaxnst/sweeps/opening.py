"""Taking hold of a sweep's folder: made, writable, and in nobody else's hands."""

from pathlib import Path

import filelock


STATE = ".sweep"
SWEEP_FILE = "sweep.json"
PROBE = ".probe-"
# What systems leave in folders that are merely looked at.
_NEGLIGIBLE = {".DS_Store", "Thumbs.db", "desktop.ini"}


def make_folder(path: Path, process: int) -> None:
    """Make the folder and see that it can be written: tried, not asked.

    Args:
        path: of the folder; the one it lies in must be there.
        process: number of this process.

    Raises:
        NotADirectoryError: if a file lies in its place.
        FileNotFoundError: if there is no folder to make it in.
        FileExistsError: if it is full of other things.
        OSError: if it cannot be written.
    """
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"output {path} is a file; give a folder.")
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"output {path}: no such folder: {path.parent}; make it first"
            )
        path.mkdir(exist_ok=True)
        names = {entry.name for entry in path.iterdir()} - _NEGLIGIBLE - {STATE}
        # Another process of this run may be trying, too; or was killed while it did.
        others = {name for name in names if not name.startswith(PROBE)}
        # Before its description is there, a sweep writes nothing beside it.
        if others and not (path / STATE / SWEEP_FILE).is_file():
            raise FileExistsError(
                f"output {path} is not empty and holds no sweep (there is "
                f"{min(others)}); give a new folder, or an empty one."
            )
        (path / STATE).mkdir(exist_ok=True)
        for folder in (path / STATE, path):
            probe = folder / f"{PROBE}{process}"
            probe.write_bytes(b"")
            probe.unlink()
    except OSError as error:
        if error.errno is None:  # ours
            raise
        message = f"output {path} cannot be written: {error.strerror}"
        raise type(error)(message) from error


def take_lock(path: Path, process: int) -> filelock.BaseFileLock | None:
    """Take the lock of a process, which its death lets go; None where none can be.

    Args:
        path: of the sweep's folder.
        process: whose lock it is; those of one run have different numbers.

    Raises:
        BlockingIOError: if another process has it.
    """
    place = path / STATE / f"process-{process}.lock"
    lock = filelock.FileLock(place, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BlockingIOError(
            f"output {path}: another run is writing there; wait for it, or give "
            f"another folder. (If none is, remove {place}.)"
        ) from None
    except (OSError, NotImplementedError):
        return None  # the file system has no locks
    return lock


def numbered_paths(folder: Path, prefix: str, first: int) -> list[tuple[Path, int]]:
    """Return what is named `prefix` and a number from `first`, and that number."""
    found = [(path, path.name[len(prefix) :]) for path in folder.glob(f"{prefix}*")]
    return [
        (path, int(number))
        for path, number in found
        if number.isdecimal() and int(number) >= first
    ]
