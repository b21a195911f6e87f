"""Ctrl-C, between steps and not within them."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupt(
    notice_fn: Callable[[str], None] = lambda _: None,
) -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back until a step is done, so that the picture is not lost.

    Yields a function that says whether Ctrl-C came. A second one acts at once.
    Elsewhere than in the main thread, and where the program handles Ctrl-C in its own
    way, nothing is changed.

    Args:
        notice_fn: told at the first Ctrl-C what will happen.
    """
    flag = threading.Event()
    previous = signal.getsignal(signal.SIGINT)
    if (
        threading.current_thread() is not threading.main_thread()
        or previous is not signal.default_int_handler
    ):
        yield flag.is_set
        return

    def handler(signum: int, frame: object) -> None:
        del signum, frame
        flag.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        notice_fn("stopping after this step; Ctrl-C again to give up the picture")

    signal.signal(signal.SIGINT, handler)
    try:
        yield flag.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
