"""`jaxnst sweep`."""

import contextlib
import importlib.util
import itertools
import json
import random
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from test_cli import SHALLOW, TINY_COMMAND
from test_sweep import files_of, with_tests_on_path

import jaxnst
from jaxnst.cli.main import main
from jaxnst.transfer.progress import ProgressCallback


FEW = ["--size", "48", "--min-size", "0", "--num-steps", "2"]


# Every command here paints with the tiny network, under the name of VGG-19.
pytestmark = pytest.mark.usefixtures("tiny_vgg19")


@pytest.fixture
def command(files, tmp_path):
    """Return the arguments of a quick sweep of two and where it goes."""
    folder = tmp_path / "grid"
    arguments = ["sweep", *map(str, files), "--style-weight", "0.3,3", "-o"]
    return [*arguments, str(folder), *FEW], folder


def test_a_folder_is_filled_and_completed(command, capsys):
    arguments, folder = command
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        *(
            f"{folder / name}  (48 x 40, 2 steps, {seconds})"
            for name, seconds in zip(
                ("0_style_weight-0.3.png", "1_style_weight-3.png"),
                [line.split(", ")[-1][:-1] for line in printed.out.splitlines()],
                strict=False,
            )
        ),
        f"2 of 2 painted: {folder / 'index.html'}",
    ]
    assert "picture 2 of 2" in printed.err
    rows = json.loads((folder / "manifest.json").read_text())
    assert len(rows["members"]) == 2
    (folder / "1_style_weight-3.png").unlink()
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("0 of 2 painted, 2 already there: ")
    assert main([*arguments, "--detail", "0,1"]) == 2
    assert "holds another sweep" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:content and style are the same picture")
def test_contents_styles_and_folders(files, tmp_path, capsys):
    content, style = map(str, files)
    more = tmp_path / "more"
    more.mkdir()
    for name in ("frame10.png", "Frame2.PNG"):
        Image.open(style).save(more / name, "PNG")
    is_read = importlib.util.find_spec("pillow_heif") is not None
    left_out = "notes.txt" if is_read else "phone.heic"
    (more / left_out).write_text("no picture")
    (more / ".hidden").write_text("")
    arguments = ["sweep", content, style, str(more), "--more-contents", style]
    assert main([*arguments, "-o", str(tmp_path / "grid"), *FEW]) == 0
    told = capsys.readouterr().err
    assert f"1 file left out: {left_out}" in told
    assert is_read or "pip install 'jaxnst[heic]'" in told
    assert sorted(path.name for path in (tmp_path / "grid").glob("*_*.png")) == [
        "0_content-content_style-style.png",
        "1_content-content_style-Frame2.png",
        "2_content-content_style-frame10.png",
        "3_content-style_style-style.png",
        "4_content-style_style-Frame2.png",
        "5_content-style_style-frame10.png",
    ]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["sweep", content, str(empty), "-o", str(tmp_path / "x"), *FEW]) == 2
    assert f"`style`: no pictures in folder {empty}" in capsys.readouterr().err


def test_files_are_written_as_asked_for(command):
    arguments, folder = command
    form = ["--extension", "jpg", "--quality", "50", "--mode", "zip"]
    assert main([*arguments, *form, "--seed", "1,2", "--quiet"]) == 0
    assert sorted(path.name for path in folder.glob("*.jpg")) == [
        "0_style_weight-0.3_seed-1.jpg",
        "1_style_weight-3_seed-2.jpg",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--style-weight", "1,x"], "argument --style-weight: 'x' is not a number"),
        (["--style-weight", "1"], "nothing is swept; give a list"),
        (["--style-weight", "1,2", "--mode", "zap"], "Did you mean 'zip'"),
        (["--style-weight", "1,2", "--extension", "gif"], "unknown extension '.gif'"),
        (["--style-weight", "1,2", "--batch-size", "0"], "`batch_size` must be"),
    ],
)
def test_wrong_usage_is_one_line(files, tmp_path, arguments, message, capsys):
    command = ["sweep", *map(str, files), "-o", str(tmp_path / "grid"), *arguments]
    with contextlib.suppress(SystemExit):
        assert main(command) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("jaxnst: error: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "grid").exists()


def at_step(number, act_fn):
    """Return a `ProgressCallback.__call__` that does something at one step of all."""
    numbers, call = itertools.count(1), ProgressCallback.__call__

    def wrapped(self, view):
        if next(numbers) == number:
            act_fn()
        return call(self, view)

    return wrapped


def test_a_picture_that_fails_is_told(command, monkeypatch, capsys):
    arguments, folder = command

    def fail():
        raise RuntimeError("the device\nwas lost")

    with monkeypatch.context() as patched:
        patched.setattr(ProgressCallback, "__call__", at_step(3, fail))
        assert main(arguments) == 1
    errors = capsys.readouterr().err
    assert "error: style_weight 3: RuntimeError: the device was lost\n" in errors
    assert errors.endswith("jaxnst: error: 1 of 2 painted, 1 failed\n")
    assert main(arguments) == 0
    assert "1 of 2 painted, 1 already there: " in capsys.readouterr().out
    assert (folder / "1_style_weight-3.png").is_file()


def test_ctrl_c_keeps_what_is_finished(command, monkeypatch, interruptible, capsys):
    arguments, folder = command

    def interrupt():
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(ProgressCallback, "__call__", at_step(3, interrupt))
        assert main(arguments) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "jaxnst: interrupted; 1 of 2 painted; the same command again goes on from here"
    )
    assert (folder / "index.html").is_file()


def test_killed_at_any_moment_and_taken_up(files, tmp_path):
    """The program itself, with SIGKILL; `sweep_killer.py` does it hundreds of times."""
    content, style = map(str, files)
    settings = ["--style-weight", "0.5,1", "--seed", "1,2", "--init", "noise", *FEW]
    settings += SHALLOW
    # As users have it: four processes compile the same.
    environment = with_tests_on_path(
        JAXNST_CACHE="1", JAXNST_CACHE_DIR=str(tmp_path / "programs")
    )

    def start(folder):
        arguments = ["sweep", content, style, *settings, "--quiet", "-o", str(folder)]
        return subprocess.Popen(
            [sys.executable, "-c", TINY_COMMAND, *arguments], env=environment
        )

    assert start(tmp_path / "whole").wait() == 0
    cut = tmp_path / "cut"
    process = start(cut)
    # As soon as there is something to lose, at some moment.
    while process.poll() is None and not list(cut.glob("[0-9]_*.png")):
        time.sleep(0.005)
    time.sleep(random.Random(0).random() * 0.05)
    process.kill()
    process.wait()
    assert start(cut).wait() == 0
    assert files_of(cut) == files_of(tmp_path / "whole")
    assert len(jaxnst.read_record(next(cut.glob("3_*.png")))["settings"]) > 10
