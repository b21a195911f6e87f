"""Calls of compiled programs: asked for by those who paint, made by those who run.

A painting is a generator. It yields every call that it needs from the device and is
sent what came of it; all else it does itself, in ordinary Python. So one painting is
run by making its calls one after the other, and many at once by making the same calls
of all of them together, see `jaxnst.sweeps.lanes`.
"""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from .compiling import KeptFunction


T = TypeVar("T")


class Call(NamedTuple):
    """A call of a compiled program.

    Attributes:
        function: what is called.
        args: with what; where it is only planned, shapes.
        static: its static arguments.
    """

    function: KeptFunction
    args: tuple[Any, ...]
    static: dict[str, Any]

    def make(self) -> Any:
        """Make it."""
        return self.function(*self.args, **self.static)


Calls = Generator[Call, Any, T]


def run_calls(painting: Calls[T], make_fn: Callable[[Call], Any] = Call.make) -> T:
    """Make every call of a painting, one after the other; return what it returns.

    Args:
        painting: in which an error is raised where it asked for the call that failed.
        make_fn: makes a call.
    """
    try:
        call = next(painting)
        while True:
            try:
                answer = make_fn(call)
            except BaseException as error:
                call = painting.throw(error)
            else:
                call = painting.send(answer)
    except StopIteration as end:
        return end.value
