"""Ctrl-C takes effect between steps, not within them."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupt(
    notice_fn: Callable[[str], None] = lambda _: None,
) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C came; only a second one interrupts.

    So a step can be completed after the first Ctrl-C, and the picture is not lost.
    Nothing changes outside the main thread, or if the program has its own handler of
    Ctrl-C. `notice_fn` shows a message at the first Ctrl-C.
    """
    flag = threading.Event()
    previous = signal.getsignal(signal.SIGINT)
    if (
        threading.current_thread() is not threading.main_thread()
        or previous is not signal.default_int_handler
    ):
        yield flag.is_set
        return

    def handler(*_: object) -> None:
        flag.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        notice_fn("stopping with the picture so far; Ctrl-C again to give it up")

    signal.signal(signal.SIGINT, handler)
    try:
        yield flag.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
