"""The processes of one sweep, where JAX runs in several (`jax.distributed`).

Each paints its share into one folder that all of them see; the first one writes the
manifest when the others are done. They meet once, at the beginning. At the end the
first one looks for files that the others leave, as one may be hours behind another.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np


_POLL_SECONDS = 0.5
_LEFT = "process-{}.done"


class Hosts(NamedTuple):
    """Which process this is, of how many.

    Attributes:
        process: its number, from 0.
        num_processes: how many there are.
    """

    process: int
    num_processes: int

    def agree(self, indices: Sequence[int], num_members: int) -> list[int]:
        """Return what the first process says is to be painted, once all are here.

        Args:
            indices: of the members that are missing, as this process sees it.
            num_members: how many there are in all.
        """
        if self.num_processes == 1:
            return list(indices)
        from jax.experimental import multihost_utils

        is_missing = np.zeros(num_members, np.int32)
        is_missing[list(indices)] = 1
        agreed = np.asarray(multihost_utils.broadcast_one_to_all(is_missing))
        return np.flatnonzero(agreed).tolist()

    def share(self, indices: Sequence[int]) -> list[int]:
        """Return those of this process: every so many-th, so that all end together."""
        return list(indices[self.process :: self.num_processes])

    def begin(self, folder: Path) -> None:
        """Forget which processes of an earlier run were done; before `agree`."""
        (folder / _LEFT.format(self.process)).unlink(missing_ok=True)

    def finish(self, folder: Path) -> None:
        """Say that this process is done; the first one waits for the others."""
        if self.num_processes == 1:
            return
        (folder / _LEFT.format(self.process)).write_bytes(b"")
        if self.process:
            return
        # If one dies, JAX's runtime ends this one as well.
        for other in range(self.num_processes):
            while not (folder / _LEFT.format(other)).exists():
                time.sleep(_POLL_SECONDS)
        for other in range(self.num_processes):
            (folder / _LEFT.format(other)).unlink(missing_ok=True)


def find_hosts() -> Hosts:
    """Return which process this is."""
    return Hosts(jax.process_index(), jax.process_count())
