"""How far a download is: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
from types import TracebackType
from typing import Any

from huggingface_hub.utils import are_progress_bars_disabled


# The reader is gone (rich turns that into SystemExit); download on.
_GONE = (BrokenPipeError, SystemExit)


class DownloadBar:
    """Shows on standard error how much of some weights has come.

    Args:
        name: of the weights.
        enabled: show anything at all; huggingface_hub's own switch
            (`HF_HUB_DISABLE_PROGRESS_BARS`) turns it off, too.
        console: of rich, where to; standard error by default.
    """

    def __init__(self, name: str, *, enabled: bool = True, console: Any = None):
        self._name = name
        self._enabled = enabled and not are_progress_bars_disabled()
        self._console = console
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "DownloadBar":
        """Begin; nothing is shown before it is known how much will come."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar down."""
        if self._bar is not None:
            with contextlib.suppress(*_GONE):
                self._bar.stop()

    def expect(self, num_bytes: int, file_size: int | None) -> None:
        """Say how much will come, of a file of which size."""
        if not self._enabled:
            return
        from rich.console import Console

        console = self._console or Console(file=sys.stderr, highlight=False)
        of = f" of {file_size / 1e6:.1f} MB" if file_size else ""
        with contextlib.suppress(*_GONE):
            console.print(
                f"{self._name}: downloading {num_bytes / 1e6:.1f} MB{of}",
                soft_wrap=True,
                markup=False,
            )
            if console.is_terminal:
                self._start(console, num_bytes)

    def _start(self, console: Any, num_bytes: int) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bar = Progress(
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            expand=True,
            transient=True,
        )
        self._task = self._bar.add_task("", total=num_bytes)
        self._bar.start()

    def advance(self, num_bytes: int) -> None:
        """Say that so much has come."""
        if self._bar is not None:
            with contextlib.suppress(*_GONE):
                self._bar.advance(self._task, num_bytes)
