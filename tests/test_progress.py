"""Progress: a bar on a terminal, lines elsewhere, silence on request."""

import io
import re

import jax.numpy as jnp
import pytest
from conftest import picture
from rich.console import Console

import jaxnst
from jaxnst.objective import LossTerms
from jaxnst.optimize import StepView
from jaxnst.transfer.progress import ProgressCallback, Workload
from jaxnst.transfer.terminal import Screen


def view(step, num_steps=3):
    value = jnp.float32(0.5)
    return StepView(
        step=step,
        num_steps=num_steps,
        shape=(32, 48),
        full_shape=(64, 96),
        work_done=step / num_steps,
        _image_fn=lambda: jnp.zeros((32, 48, 3)),
        _terms_fn=lambda: LossTerms(value, value, value, value, {}, {}, value[None]),
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


def test_other_work_is_told_as_long_as_it_takes():
    for is_terminal in (False, True):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=is_terminal, width=80)
        with Screen(console=console).working("measuring"):
            pass
        assert (stream.getvalue() == "measuring ...\n") is not is_terminal
        assert ("━" in stream.getvalue()) is is_terminal


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


def test_many_pictures_share_one_course(monkeypatch):
    """Of 10 units of work the second picture has 8; a step took 5 s."""
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    workload = Workload(10.0)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=False, width=120)
    for number, work in ((1, 2.0), (2, 8.0)):
        title = f"picture {number} of 2"
        options = {"title": title, "workload": workload, "work": work}
        with ProgressCallback(console=console, **options) as callback:
            for step in (1, 2):
                clock[0] += 20
                callback(view(step, num_steps=2))
        workload.before += work
    lines = stream.getvalue().splitlines()
    assert lines[0] == "picture 1 of 2 ..."
    assert lines[1].startswith("picture 1 of 2  48 x 32  step 1/2  loss 0.5")
    assert lines[1].endswith("  20 s")
    # One unit in 20 s; then 4 more in 20 s.
    assert lines[2].endswith("  40 s, about 160 s left")
    assert lines[4].endswith("  60 s, about 32 s left")
    assert lines[5].endswith("  80 s, about 0 s left")


def test_the_course_of_long_and_failing_work():
    workload = Workload(1000.0)
    assert workload.left(0.0, 10.0) is None
    assert workload.left(5.0, 10.0) is None  # nothing was done since
    assert workload.left(10.0, 20.0) == 980.0
    workload.total -= 480.0
    assert workload.left(10.0, 20.0) == 500.0


def test_the_bar_of_one_picture_among_many():
    """The title takes the place of the size; nothing of it stays."""
    text, _ = shown(True, title="picture 12 of 345", work=0.5)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    shows = [line for line in re.split(r"[\r\n]+", plain) if "3/3" in line]
    assert re.search(
        r"picture 12 of 345 .+ 3/3 content 0.5 style 0.5 \d:\d\d:\d\d left", shows[-1]
    )
    assert len(shows[-1].rstrip()) <= 80
    assert text.endswith("\x1b[2K")  # the line is erased


@pytest.mark.parametrize(
    ("own", "is_told"),
    [({}, True), ({"style_scale": 1.5}, False), ({"size": 64}, False)],
    ids=["small", "decided", "nearly_as_large"],
)
def test_a_style_picture_that_is_small_is_told_of(tiny_network, capsys, own, is_told):
    """The painting has 36 px; it is small from three times as many on."""
    options = {"network": tiny_network, "size": 110, "min_size": 0, "num_steps": 1}
    jaxnst.stylize(picture(110, 90), picture(33, 36), **options | own)
    told = "The style picture has 36 px, so in 110 px its strokes will be small and "
    told += "soft; a larger file of it would paint better."
    assert (told in " ".join(capsys.readouterr().err.split())) == is_told
