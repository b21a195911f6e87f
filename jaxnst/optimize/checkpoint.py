"""A painting under way, on disk: after a kill the same call goes on from there.

One file holds the picture, the optimizer's state, and all that decides the next steps,
so that what is painted from it is, to the last bit, what would have been painted
without the interruption. It holds arrays and JSON (safetensors), and nothing that is
executed when it is read.
"""

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from jaxnst import __version__
from jaxnst._checks import plain, shown
from jaxnst.images.files import (
    NEGLIGIBLE,
    atomic_write,
    check_place,
    named_errors,
    take_lock,
)
from jaxnst.objective import LossTerms

from .loop import KeepFn, Waiting
from .member import Member
from .stepping import KeptInfos, PackedInfos, StepInfo, TransferState


FILE, LOCK = "checkpoint.safetensors", ".lock"
# Seconds of painting from one checkpoint to the next; and writing takes at most one in
# so many of them.
_INTERVAL, _SHARE = 180.0, 20
_KEY = "jaxnst"
# Names of files begin so while they are written, see `atomic_write`.
_UNFINISHED = ".jaxnst-"


class Saved(NamedTuple):
    """What a checkpoint holds of a painting.

    Attributes:
        size_index: number of the size that was painted, from 0.
        identity: settings and hashes of inputs that decide the picture.
        memory: level of memory, on which its last bits depend.
    """

    size_index: int
    identity: Mapping[str, Any]
    memory: str
    member: Mapping[str, Any]
    state: Sequence[np.ndarray]
    waiting: Sequence[tuple[Mapping[str, Any], int, Sequence[int]]]

    @property
    def image(self) -> np.ndarray:
        """The picture, RGB, [0, 1]."""
        return self.state[0]

    def state_of(self, begun: TransferState) -> TransferState:
        """Return the state of the painting, with the structure of one that begins.

        Raises:
            ValueError: if it is of another optimizer.
        """
        leaves, structure = jax.tree.flatten(begun)
        if [np.shape(leaf) for leaf in leaves] != [np.shape(x) for x in self.state]:
            raise ValueError("its state is of another optimizer.")
        return jax.tree.unflatten(structure, map(jnp.asarray, self.state))

    @property
    def calls(self) -> Waiting:
        """The calls that were not awaited yet."""
        return [
            (_kept_infos(info, count), count, {*indices})
            for info, count, indices in self.waiting
        ]


class Checkpoint:
    """The folder of one painting; opening it makes it, or finds what is in it.

    Args:
        path: folder; made if it is not there.
        now_fn: clock, in seconds.

    Attributes:
        saved: painting that was found; None if there is none yet.
        memory: level of memory of the painting, set before its first step.

    Raises:
        ValueError: if the file in it is damaged, or of another version of jaxnst.
        FileExistsError: if it is full of other things.
        BlockingIOError: if another run is writing there.
        OSError: if it cannot be made, read or written.
    """

    def __init__(self, path: Path, now_fn: Callable[[], float] = time.monotonic):
        self.path = path
        self.memory = ""
        self._identity: Mapping[str, Any] = {}
        self._now = now_fn
        self._pause = _INTERVAL
        self._last = now_fn()
        self._make()
        self._lock = take_lock(
            path / LOCK,
            f"{plain(str(path))}: another run is writing there; wait for it.",
        )
        try:
            for each in path.glob(f"{_UNFINISHED}*"):  # of a run that was killed
                each.unlink(missing_ok=True)
            check_place(path / FILE)
            self.saved = self._read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let other runs in."""
        self._lock.release()

    def _make(self) -> None:
        path = self.path
        with named_errors(f"checkpoint {plain(str(path))} cannot be made"):
            path.mkdir(exist_ok=True)
            others = {each.name for each in path.iterdir()} - {LOCK} - NEGLIGIBLE
        others = {name for name in others if not name.startswith(_UNFINISHED)}
        if others and FILE not in others:
            raise FileExistsError(
                f"checkpoint {plain(str(path))} is full of other things (there is "
                f"{plain(min(others))}); give an empty folder, or one that is not "
                "there yet."
            )

    def _read(self) -> Saved | None:
        place = self.path / FILE
        try:
            with safetensors.safe_open(place, "numpy") as file:
                names = list(file.keys())
                arrays = {name: file.get_tensor(name) for name in names}
                found = json.loads((file.metadata() or {})[_KEY])
            if found.pop("jaxnst") != __version__:
                raise ValueError("it is of another version of jaxnst")
            saved = Saved(**_unpacked(found, arrays))
            # The optimizer's own numbers may well be infinite.
            if not np.isfinite(saved.image).all():
                raise ValueError("its picture has values that are no numbers")
            return saved
        except FileNotFoundError:
            return None
        except OSError as error:
            raise type(error)(
                f"checkpoint {plain(str(place))} cannot be read: {error.strerror}"
            ) from error
        # Damage shows as nearly any exception.
        except Exception as error:
            raise ValueError(
                f"checkpoint {plain(str(place))} cannot be used: {error}. Remove it to "
                "begin again."
            ) from error

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Begin a painting, or go on with the one that was found.

        `identity` is what decides the picture: {name of a setting or input: value}.

        Raises:
            ValueError: if that of the painting that was found differs.
        """
        self._identity = json.loads(json.dumps(identity))
        if self.saved is None or self.saved.identity == self._identity:
            return
        was, now = self.saved.identity, self._identity
        names = [x for x in {*was, *now} if was.get(x) != now.get(x)]
        name = min(names, key=lambda x: (x == "num_steps", x))
        values = " and ".join(shown(each.get(name)) for each in (was, now))
        way = "Give another folder, or remove that one"
        if name == "num_steps":  # it may have been given more
            way = (
                f"Give {was[name]}, and `more_steps` to go on from there, or another "
                "folder"
            )
        raise ValueError(
            f"checkpoint {plain(str(self.path))} is of another painting: `{name}` "
            f"differs ({values}). {way}."
        )

    def more(self, num_steps: int) -> int:
        """Let a finished painting have more steps; return how many its full size has.

        One that is not finished goes on with its own.

        Raises:
            ValueError: if no painting was found.
        """
        if self.saved is None:
            raise ValueError(
                f"checkpoint {plain(str(self.path))} has no painting to go on with."
            )
        identity, member = dict(self.saved.identity), dict(self.saved.member)
        if member["is_finished"]:
            schedule = {**member["schedule"], "stopped": None, "finish": None}
            member["schedule"] = schedule
            identity["num_steps"] += num_steps
            self.saved = self.saved._replace(identity=identity, member=member)
        return identity["num_steps"]

    def keeper(
        self, index: int, member: Member, is_interrupted: Callable[[], bool]
    ) -> KeepFn:
        """Return a function for `run_size` that saves when it is time to.

        That is every few minutes, at an interruption, and after the last step. Where it
        cannot be written, a warning says so, and painting goes on.
        """

        def keep(state: TransferState, waiting: Waiting) -> None:
            is_due = self._now() - self._last >= self._pause
            if is_due or is_interrupted() or not member.schedule.num_left():
                try:
                    self.save(index, state, member, waiting)
                except OSError as error:
                    warnings.warn(str(error), stacklevel=2)

        return keep

    def save(
        self, index: int, state: TransferState, member: Member, waiting: Waiting
    ) -> None:
        """Write what the next steps start from, in place of what was there.

        Raises:
            OSError: if there is no room, or the optimizer's state cannot be kept; what
            was there stays.
        """
        started = self._last = self._now()
        saved = Saved(
            size_index=index,
            identity=self._identity,
            memory=self.memory,
            member=member.kept(),
            state=jax.tree.leaves(state),
            waiting=[(_info_kept(x), count, [*owners]) for x, count, owners in waiting],
        )
        arrays: dict[str, np.ndarray] = {}
        try:
            found = _packed(saved._asdict(), arrays) | {"jaxnst": __version__}
            with atomic_write(self.path / FILE) as beside:
                safetensors.numpy.save_file(arrays, beside, {_KEY: json.dumps(found)})
        # TypeError: of an optimizer whose state is no plain numbers.
        except (OSError, TypeError, safetensors.SafetensorError) as error:
            raise OSError(
                f"checkpoint {plain(str(self.path))} cannot be written: {error}"
            ) from error
        self._last = self._now()
        self._pause = max(_INTERVAL, _SHARE * (self._last - started))


def _kept_infos(info: Mapping[str, Any], count: int) -> KeptInfos:
    """Return the steps of a call; a call of one step has no axis of steps."""
    found = StepInfo(LossTerms(**info["terms"]), info["is_finite"])
    is_one = np.ndim(found.is_finite) == 0
    return KeptInfos(jax.tree.map(lambda x: x[None] if is_one else x[:count], found))


def _info_kept(info: StepInfo | PackedInfos | KeptInfos) -> dict[str, Any]:
    own = info.infos if isinstance(info, KeptInfos) else info
    own = own.unpack() if isinstance(own, PackedInfos) else own
    return {"terms": own.terms._asdict(), "is_finite": own.is_finite}


def _packed(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return a value as JSON has it, with its arrays by number."""
    if isinstance(value, Mapping):
        return {key: _packed(each, arrays) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(each, arrays) for each in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        name = str(len(arrays))
        arrays[name] = np.ascontiguousarray(value)
        # Of a number without axes it makes one with one.
        return {"array": name, "shape": list(np.shape(value))}
    return value


def _unpacked(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpacked(each, arrays) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"array", "shape"}:
        return arrays[value["array"]].reshape(value["shape"])
    return {key: _unpacked(each, arrays) for key, each in value.items()}
