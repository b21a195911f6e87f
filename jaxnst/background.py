"""Work in the background, which the interpreter waits for at its end."""

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable


_running: set[threading.Thread] = set()
# What a process ends with on Ctrl-C.
_EXIT_INTERRUPTED = 130


def start_thread(work: Callable[[], object]) -> None:
    """Do something in a thread; what goes wrong there is not said.

    At its end the interpreter waits for it, rather than tear XLA down under it; Ctrl-C
    then ends the process at once.
    """

    def run() -> None:
        try:
            with contextlib.suppress(Exception):
                work()
        finally:
            _running.discard(thread)

    # For threads that are not daemons the interpreter waits in its own way, and prints
    # a traceback on Ctrl-C.
    thread = threading.Thread(target=run, name="jaxnst-background", daemon=True)
    atexit.unregister(_wait)
    atexit.register(_wait)
    _running.add(thread)
    try:
        thread.start()
    except BaseException:
        _running.discard(thread)
        raise


def _wait() -> None:
    try:
        for thread in list(_running):
            thread.join()
    except KeyboardInterrupt:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(_EXIT_INTERRUPTED)
