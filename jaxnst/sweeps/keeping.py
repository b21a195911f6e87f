"""Things that are made once, as long as they are asked for again soon."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar


T = TypeVar("T")


class Kept:
    """The last few things that were made, by what they were made from.

    Args:
        most: how many are held.
    """

    def __init__(self, most: int):
        self._most = most
        self._things: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make_fn: Callable[[], T]) -> T:
        """Return what was made from `key`, or make it."""
        if key not in self._things:
            while len(self._things) >= self._most:  # before more memory is taken
                self._things.popitem(last=False)
            self._things[key] = make_fn()
        self._things.move_to_end(key)
        return self._things[key]
