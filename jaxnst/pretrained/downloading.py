"""How far a download is: a bar on a terminal, a line elsewhere."""

from types import TracebackType
from typing import Any

from huggingface_hub.utils import are_progress_bars_disabled

from jaxnst.transfer.terminal import Screen


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
        self._screen = Screen(
            enabled=enabled and not are_progress_bars_disabled(), console=console
        )

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
        self._screen.stop()

    def wait(self) -> None:
        """Say that nothing comes yet: another process has begun with it."""
        self._screen.print(f"{self._name}: waiting for another process to get it")

    def expect(self, num_bytes: int, file_size: int | None) -> None:
        """Say how much will come, of a file of which size."""
        of = f" of {file_size / 1e6:.1f} MB" if file_size else ""
        self._screen.print(f"{self._name}: downloading {num_bytes / 1e6:.1f} MB{of}")
        if not self._screen.is_terminal:
            return
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._screen.start_bar(
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            total=num_bytes,
            is_transient=True,
        )

    def advance(self, num_bytes: int) -> None:
        """Say that so much has come."""
        self._screen.update(advance=num_bytes)
