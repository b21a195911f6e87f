"""Whether the code of this process is what its files say.

It is in a process of the command; in one of the user's own, functions may have been
replaced by others.
"""

import threading


_is_trusted = threading.Event()


def trust_code() -> None:
    """Take the code for what its files say, from now on."""
    _is_trusted.set()


def is_code_trusted() -> bool:
    """Return whether it is."""
    return _is_trusted.is_set()
