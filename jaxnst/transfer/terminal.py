"""Output on standard error: a bar on a terminal, lines elsewhere."""

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import Any

from jaxnst._checks import plain


class Screen:
    """Lines on standard error, and a bar if that is a terminal.

    If the reader of a pipe has gone, or a disk is full, nothing more is shown, and work
    goes on.
    """

    def __init__(self, *, enabled: bool = True, console: Any = None):
        self.is_on = enabled
        self._given = console
        self._bar: Any = None
        self._task: Any = None

    @property
    def is_terminal(self) -> bool:
        """Whether the output goes to a terminal, which can show a bar."""
        return self.is_on and self._console.is_terminal

    def print(self, line: str) -> None:
        """Show a line, above the bar if there is one."""
        if self.is_on:
            with self._for_its_reader():
                self._console.print(plain(line), soft_wrap=True, markup=False)

    @contextlib.contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Say what is being done while it is: a bar that moves, elsewhere a line."""
        if not self.is_terminal:
            self.print(f"{text} ...")
            yield
            return
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

        columns = TextColumn("{task.description}"), BarColumn(None), TimeElapsedColumn()
        self.start_bar(*columns, is_transient=True, description=text, total=None)
        try:
            yield
        finally:
            self.stop()

    def start_bar(self, *columns: Any, is_transient: bool, **task: Any) -> None:
        """Show a bar with one task, as `rich.progress.Progress.add_task` takes it."""
        from rich.progress import Progress

        with self._for_its_reader():
            self._bar = Progress(
                *columns,
                console=self._console,
                expand=True,
                transient=is_transient,
            )
            self._task = self._bar.add_task(**task)
            self._bar.start()

    def update(self, **changes: Any) -> None:
        """Change what the bar shows, as `rich.progress.Progress.update` does."""
        if self.is_on and self._bar is not None:
            with self._for_its_reader():
                self._bar.update(self._task, **changes)

    def stop(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            with self._for_its_reader():
                self._bar.stop()

    @functools.cached_property
    def _console(self) -> Any:
        # Imported late: it takes a tenth of the time of importing JAX.
        from rich.console import Console

        return self._given or Console(file=sys.stderr, highlight=False)

    @contextlib.contextmanager
    def _for_its_reader(self) -> Iterator[None]:
        try:
            yield
        except (OSError, SystemExit):  # rich turns a broken pipe into the second
            self.is_on = False
