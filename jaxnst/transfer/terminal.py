"""Standard error as people see it: a bar on a terminal, lines elsewhere."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any


# The reader is gone; rich turns that into SystemExit.
_GONE = (BrokenPipeError, SystemExit)


class Screen:
    """Shows lines on standard error, and a bar where that is a terminal.

    When its reader has gone it falls silent: that is no reason to stop working.

    Args:
        enabled: show anything at all.
        console: of rich, where to; standard error by default.

    Attributes:
        is_on: whether anything is shown.
    """

    def __init__(self, *, enabled: bool = True, console: Any = None):
        self.is_on = enabled
        self._console = console
        self._bar: Any = None
        self._task: Any = None

    @property
    def is_terminal(self) -> bool:
        """Whether a bar would be seen."""
        return self.is_on and self._open_console().is_terminal

    @property
    def has_bar(self) -> bool:
        """Whether there is one."""
        return self._bar is not None

    def print(self, line: str) -> None:
        """Show a line, above the bar if there is one."""
        if self.is_on:
            with self._for_its_reader():
                self._open_console().print(line, soft_wrap=True, markup=False)

    def start_bar(
        self,
        *columns: Any,
        description: str = "",
        total: float | None = None,
        is_transient: bool = False,
        **fields: object,
    ) -> None:
        """Show a bar; for a terminal only.

        Args:
            columns: of rich, what it consists of.
            description: for a column of it.
            total: what it counts up to; None: not known yet.
            is_transient: whether nothing of it is left at its end.
            fields: for columns of it.
        """
        from rich.progress import Progress

        with self._for_its_reader():
            self._bar = Progress(
                *columns,
                console=self._open_console(),
                expand=True,
                transient=is_transient,
            )
            self._task = self._bar.add_task(description, total=total, **fields)
            self._bar.start()

    def update(self, **changes: Any) -> None:
        """Change what the bar shows, as `rich.progress.Progress.update` does."""
        if self.is_on and self._bar is not None:
            with self._for_its_reader():
                self._bar.update(self._task, **changes)

    def stop(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            with self._for_its_reader():
                self._bar.stop()

    def _open_console(self) -> Any:
        if self._console is None:
            # Here, as it takes a tenth of the time of importing JAX.
            from rich.console import Console

            self._console = Console(file=sys.stderr, highlight=False)
        return self._console

    @contextlib.contextmanager
    def _for_its_reader(self) -> Iterator[None]:
        try:
            yield
        except _GONE:
            self.is_on = False
