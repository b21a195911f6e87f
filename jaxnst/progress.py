"""How far the painting is: a bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Any

from .optimize.loop import StepCallback, StepView
from .terminal import Screen


# Without a terminal: a line at least so often, in seconds.
_LINE_INTERVAL = 10.0
# On a terminal: reading the loss waits for the device, so not at every fast step.
_BAR_INTERVAL = 0.2


class ProgressCallback:
    """A callback that shows progress on standard error, then calls another one.

    Args:
        enabled: show anything at all.
        inner: the user's callback, whose answer is passed on.
        console: of rich, where to; standard error by default.

    Attributes:
        error: the MemoryError of the user's own callback, if it raised one.
    """

    def __init__(
        self,
        *,
        enabled: bool = True,
        inner: StepCallback | None = None,
        console: Any = None,
    ):
        self._screen = Screen(enabled=enabled, console=console)
        self._inner = inner
        self.error: MemoryError | None = None
        self._started = self._shown = 0.0
        self._first: tuple[float, float] | None = None
        self._unshown: StepView | None = None

    def __enter__(self) -> "ProgressCallback":
        """Say that work has begun; the first step comes only once it is compiled."""
        self._started = time.monotonic()
        if self._screen.is_terminal:
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

            # All of it has to fit into 80 columns.
            self._screen.start_bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[step]}"),
                TextColumn("{task.fields[loss]}"),
                TimeRemainingColumn(),
                TextColumn("left"),
                description="compiling",
                step="",
                loss="",
            )
        else:
            self._screen.print("compiling ...")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar down; a painting that ended early ends with a line, too."""
        if self._unshown is not None and kind is None:
            self._show(self._unshown, is_last=True)
        self._screen.stop()

    def __call__(self, view: StepView) -> object:
        """Show a step; return what the user's callback returns."""
        if self._screen.is_on:
            self._show(view)
        if self._inner is None:
            return None
        try:
            return self._inner(view)
        except MemoryError as error:
            self.error = error
            raise

    def notice(self, text: str) -> None:
        """Print a line that has to be seen, above the bar."""
        self._screen.print(text)

    def _show(self, view: StepView, *, is_last: bool = False) -> None:
        now = time.monotonic()
        is_last = is_last or view.step == view.num_steps
        interval = _BAR_INTERVAL if self._screen.has_bar else _LINE_INTERVAL
        if now - self._shown < interval and not is_last:
            self._unshown = view
            return
        self._shown, self._unshown = now, None
        terms = view.terms
        loss = f"content {float(terms.content):.3g} style {float(terms.style):.3g}"
        size = f"{view.shape[1]} x {view.shape[0]}"
        step = f"{view.step}/{view.num_steps}"
        if self._screen.has_bar:
            self._screen.update(
                description=size,
                completed=view.work_done,
                total=1.0,
                step=step,
                loss=loss,
            )
        else:
            total = f"loss {float(terms.total):.4g}"
            self._screen.print(
                f"{size}  step {step}  {total}  {loss}  {self._times(now, view)}"
            )

    def _times(self, now: float, view: StepView) -> str:
        """Say how long it took, and will take at the pace since the first step.

        The first step itself is left out: it was compiled.
        """
        elapsed = f"{now - self._started:.0f} s"
        if self._first is None:
            self._first = now, view.work_done
            return elapsed
        then, work = self._first
        left = (now - then) * (1 - view.work_done) / (view.work_done - work)
        return f"{elapsed}, about {left:.0f} s left"
