"""Progress of a painting: a bar on a terminal, plain lines elsewhere."""

import datetime
import time
from typing import Any

from jaxnst._memory import foreign_errors
from jaxnst.optimize import StepCallback, StepView

from .terminal import Screen


# Seconds between two lines, where there is no terminal.
_LINE_INTERVAL = 10.0
# Seconds between two updates of the bar: reading the loss waits for the device.
_BAR_INTERVAL = 0.2
# From this many seconds on a time is shown in hours and minutes.
_MANY_SECONDS = 300


class Workload:
    """The work of one picture or many: how much is done, and how long the rest takes.

    Attributes:
        total: work of all pictures, in any unit, but for those that failed.
        before: work of the pictures that are done.
        started: time at which it began, on the clock of `time.monotonic`.
    """

    def __init__(self, total: float = 1.0):
        self.total = total
        self.before = 0.0
        self.started = time.monotonic()
        self._first: tuple[float, float] | None = None

    def left(self, now: float, done: float) -> float | None:
        """Return the seconds until the end; None if they are unknown yet.

        Work is timed from the end of the first step, as that step was compiled.
        """
        if self._first is None:
            self._first = now, done
            return None
        then, work = self._first
        if done <= work:
            return None
        return (now - then) * max(0.0, self.total - done) / (done - work)


class ProgressCallback:
    """A callback that shows progress on standard error, then calls the user's callback.

    Args:
        title: name of the picture, if there are many; its bar is removed at its end.
        workload: work of all pictures; by default of this picture alone.
        work: work of this picture, in the unit of `workload`.
    """

    def __init__(
        self,
        *,
        enabled: bool = True,
        inner: StepCallback | None = None,
        console: Any = None,
        title: str = "",
        workload: Workload | None = None,
        work: float = 1.0,
    ):
        self._screen = Screen(enabled=enabled, console=console)
        self._inner = inner
        self._title = title
        self._workload = workload or Workload()
        self._work = work
        self._shown = 0.0
        self._unshown: StepView | None = None
        self._step = 0

    def __enter__(self) -> "ProgressCallback":
        """Show that work has begun, before the first step is compiled."""
        workload = self._workload
        if self._screen.is_terminal:
            from rich.progress import BarColumn, TextColumn

            # The whole bar has to fit into 80 columns.
            fields = ("step", "loss", "left")
            self._screen.start_bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                *(TextColumn(f"{{task.fields[{name}]}}") for name in fields),
                is_transient=bool(self._title),
                description=self._title or "compiling",
                total=workload.total if workload.before else None,
                completed=workload.before,
                **dict.fromkeys(fields, ""),
            )
        else:
            self._screen.print(f"{self._title or 'compiling'} ...")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remove the bar; if the painting ended early, show its last step."""
        if self._unshown is not None and kind is None:
            self._show(self._unshown, is_last=True)
        self._screen.stop()

    def __call__(self, view: StepView) -> object:
        """Show a step, and return what the user's callback returns."""
        self._step = view.step
        if self._screen.is_on:
            self._show(view)
        if self._inner is None:
            return None
        with foreign_errors():
            return self._inner(view)

    def show_part(self, what: str, part: float) -> None:
        """Show which part is done of a "step", of "trimming" or of the "features"."""
        now = time.monotonic()
        if not self._screen.is_on or now - self._shown < self._interval:
            return
        self._shown = now
        name = {"step": f"step {self._step + 1}", "trimming": "a trimming step"}.get(
            what, "the features"
        )
        text = f"{part:.0%} of {name}"
        if self._screen.is_terminal:
            self._screen.update(step=text)
        else:
            self._screen.print(f"{self._title}  {text}" if self._title else text)

    @property
    def _interval(self) -> float:
        return _BAR_INTERVAL if self._screen.is_terminal else _LINE_INTERVAL

    def notice(self, text: str) -> None:
        """Print a line above the bar."""
        self._screen.print(text)

    def _show(self, view: StepView, *, is_last: bool = False) -> None:
        now = time.monotonic()
        is_last = is_last or view.step == view.num_steps
        if now - self._shown < self._interval and not is_last:
            self._unshown = view
            return
        self._shown, self._unshown = now, None
        terms = view.terms if is_last else view.known_terms
        loss = f"content {float(terms.content):.3g} style {float(terms.style):.3g}"
        size = f"{view.shape[1]} x {view.shape[0]}"
        step = f"{view.step}/{view.num_steps}"
        done = self._workload.before + self._work * view.work_done
        left = self._workload.left(now, done)
        if self._screen.is_terminal:
            clock = "" if left is None else f"{datetime.timedelta(0, round(left))} left"
            self._screen.update(
                description=self._title or size,
                completed=done,
                total=self._workload.total,
                step=step,
                loss=loss,
                left=clock,
            )
        else:
            title = f"{self._title}  " if self._title else ""
            total = f"loss {float(terms.total):.4g}"
            times = time_text(now - self._workload.started)
            if left is not None:
                times += f", about {time_text(left)} left"
            self._screen.print(f"{title}{size}  step {step}  {total}  {loss}  {times}")


def time_text(seconds: float) -> str:
    """Return a time as text: `12 s`, `1:02:03`."""
    if seconds < _MANY_SECONDS:
        return f"{seconds:.0f} s"
    return str(datetime.timedelta(0, round(seconds)))
