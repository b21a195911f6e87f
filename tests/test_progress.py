"""Progress: a bar on a terminal, lines elsewhere, silence on request."""

import io
import re

import jax.numpy as jnp
from rich.console import Console

from jaxnst.objective import LossTerms
from jaxnst.optimize import StepInfo, StepView, TransferState
from jaxnst.optimize.stepper import Taken
from jaxnst.progress import ProgressCallback


def view(step, num_steps=3):
    value = jnp.float32(0.5)
    return StepView(
        step=step,
        num_steps=num_steps,
        shape=(32, 48),
        full_shape=(64, 96),
        work_done=step / num_steps,
        _taken=Taken(
            StepInfo(LossTerms(value, value, value, value, {}, {}), jnp.array(True))
        ),
        _state=TransferState(jnp.zeros((32, 48, 3)), ()),
    )


def shown(is_terminal, **options):
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=is_terminal, width=80 if is_terminal else 120
    )
    with ProgressCallback(console=console, **options) as callback:
        answers = [callback(view(step)) for step in (1, 2, 3)]
    return stream.getvalue(), answers


def test_lines_without_a_terminal():
    text, answers = shown(False)
    lines = text.splitlines()
    assert lines[0] == "compiling ..."
    assert lines[1].startswith("48 x 32  step 1/3  loss 0.5  content 0.5 style 0.5")
    assert "left" not in lines[1]  # nothing is known yet
    assert lines[-1].startswith("48 x 32  step 3/3")
    assert lines[-1].endswith("about 0 s left")
    assert "\x1b" not in text
    assert answers == [None] * 3


def test_a_painting_that_ends_early_ends_with_a_line():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=False, width=120)
    with ProgressCallback(console=console) as callback:
        for step in (1, 2, 3):
            callback(view(step, num_steps=9))
    lines = stream.getvalue().splitlines()
    assert [line.split()[4] for line in lines[1:]] == ["1/9", "3/9"]


def test_a_bar_on_a_terminal():
    text, _ = shown(True)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines()[-1]
    assert re.search(r"48 x 32 .+ 3/3 content 0.5 style 0.5 \d:\d\d:\d\d left", last)
    assert len(last.rstrip()) <= 80


def test_silence_and_the_answer_of_the_inner_callback():
    text, answers = shown(False, enabled=False, inner=lambda view: view.step == 2)
    assert text == ""
    assert answers == [False, True, False]


def test_a_reader_that_is_gone_does_not_stop_the_painting():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    seen = []
    with ProgressCallback(console=Console(file=Gone()), inner=seen.append) as callback:
        callback.notice("stopping")
        for step in (1, 2, 3):
            callback(view(step))
    assert len(seen) == 3
