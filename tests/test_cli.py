"""The command line as a user meets it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxnst
from jaxnst.cli.main import main
from jaxnst.transfer import driver


# Random weights ask for smaller steps than real ones.
FEW = ["--size=48", "--num-steps=2", "--coarse-steps=1", "--learning-rate=0.01"]
# Compiled in a part of the time that the default layers take.
SHALLOW = ["--content-layers", "relu2_2", "--style-layers", "relu1_1"]


# Every command here paints with the tiny network, under the name of VGG-19.
pytestmark = pytest.mark.usefixtures("tiny_vgg19")


@pytest.fixture
def command(files, tmp_path):
    """Return the arguments of a quick `stylize` and where its picture goes."""
    output = tmp_path / "out.png"
    return ["stylize", *map(str, files), "-o", str(output), *FEW], output


def save_record(path, record):
    """Return the path of a black picture that holds a record."""
    black = np.zeros((32, 32, 3), np.float32)
    return jaxnst.images.save_picture(path, black, record=record)


def test_stylize_says_where_the_picture_is(command, capsys):
    arguments, output = command
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{output}  (48 x 40, 2 steps, ")
    assert "step 1/2" in printed.err
    assert "loss" in printed.err
    with Image.open(output) as image:
        assert image.size == (48, 40)


def test_quiet_prints_nothing(command, capsys):
    arguments, output = command
    assert main([*arguments, "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""
    assert output.exists()


def test_flags_become_settings(command):
    arguments, output = command
    flags = [
        "--style-layers", "relu1_1,relu4_1:0.5", "--content-layers", "relu3_2",
        "--style-weight", "2.5", "--content-weight", "0.5", "--tv-weight", "0.1",
        "--init", "noise", "--seed", "7", "--pooling", "average", "--padding", "zeros",
        "--learning-rate", "0.02", "--decay", "0.3", "--style-size", "40",
        "--min-size", "0", "--content-detail", "0.25", "--optimizer", "adam",
        "--network", "vgg19", "--normalization", "pair", "--preset", "default",
        "--averaging", "0.5", "--tolerance", "0.01", "--max-seconds", "600",
        "--steps-per-call", "1", "--conv", "xla", "--precision", "float32",
        "--smoothing", "none", "--normalize-activations",
    ]  # fmt: skip
    assert main([*arguments, *flags, "--quiet"]) == 0
    settings = jaxnst.read_record(output)["settings"]
    assert settings["style_layers"] == {"relu1_1": 1, "relu4_1": 0.5}
    assert settings["content_layers"] == {"relu3_2": 1}
    assert (settings["init"], settings["seed"]) == ("noise", 7)
    assert (settings["pooling"], settings["padding"]) == ("average", "zeros")
    assert settings["learning_rate"] == 0.02
    assert settings["style_size"] == 40
    assert settings["min_size"] == 0
    assert (settings["averaging"], settings["tolerance"]) == (0.5, 0.01)
    assert (settings["max_seconds"], settings["steps_per_call"]) == (600, 1)
    assert (settings["conv"], settings["precision"]) == ("xla", "float32")
    assert (settings["smoothing"], settings["normalize_activations"]) == ("none", True)


def test_being_out_of_time_is_no_error(command, capsys):
    arguments, output = command
    many = ["--num-steps", "300", "--max-seconds", "0.01"]
    assert main([*arguments, *many, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    made = jaxnst.read_record(output)["result"]
    assert (made["width"], made["stopped"]) == (48, "out of time")
    assert 5 <= made["steps"] < 300


def test_names_that_a_terminal_cannot_show_are_written_all_the_same(files, tmp_path):
    output = tmp_path / "\u732b.png"
    arguments = ["finish", str(files[0]), "-o", str(output), "--levels"]
    found = subprocess.run(
        [sys.executable, "-m", "jaxnst", *arguments],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert "\\u732b.png" in found.stdout
    assert output.exists()


@pytest.mark.parametrize("where", ["2>/dev/full", ">&-", ">&- 2>&- <&-"])
def test_a_picture_is_written_where_nothing_can_be_told(files, tmp_path, where):
    output = tmp_path / "out.png"
    arguments = [*map(str, files), "-o", str(output), "--size", "48"]
    arguments = [sys.executable, "-m", "jaxnst", "stylize", *arguments]
    arguments += ["--color", "palette-only"]
    done = subprocess.run(f"{shlex.join(arguments)} {where}", shell=True)
    assert done.returncode == 0
    assert output.exists()


def test_recoveries_are_told(command, capsys):
    arguments, output = command
    wild = ["--num-steps", "40", "--learning-rate", "1000"]
    assert main([*arguments, *wild, "--quiet"]) == 0
    printed = capsys.readouterr().err
    assert "warning: the loss rose at 48 px, step " in printed
    assert "learning rate 0.1" in printed
    assert jaxnst.read_record(output)["recoveries"][0]["size"] == 48


def test_like_reuses_settings_and_flags_win(command, files, tmp_path):
    arguments, output = command
    assert main([*arguments, "--style-weight", "3", "--seed", "5", "--quiet"]) == 0
    again = tmp_path / "again.png"
    first = ["stylize", *map(str, files), "-o", str(again), "--like", str(output)]
    assert main([*first, "--quiet"]) == 0
    assert again.read_bytes() == output.read_bytes()
    assert main([*first, "--seed", "6", "--quiet"]) == 0
    settings = jaxnst.read_record(again)["settings"]
    assert (settings["style_weight"], settings["seed"]) == (3, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "custom"}, "`network` of the user's own"),
        ({"optimizer": "custom"}, "`optimizer` of the user's own"),
        ({"init": "image"}, "the record's `init` was a picture"),
        ({"network": "/etc/weights.npz"}, "`network` is '/etc/weights.npz', not a"),
        ({"network": ["vgg19"]}, "`network` is ['vgg19'], not a known one"),
        ({"network": "vgg19.tv_in1k@../x"}, "tv_in1k@../x', not a known one"),
        ({"init": "/etc/hostname"}, "`init` is '/etc/hostname', not a known one"),
        ({"seed": "x"}, "`seed` must be a whole number"),
        ({"magic": 3}, "does not know: magic; it was made by jaxnst 9"),
        (None, "holds no settings"),
    ],
)
def test_records_that_cannot_be_repeated(
    changes, message, command, tmp_path, capsys, as_installed
):
    settings = None if changes is None else {"size": 48} | changes
    record = {"jaxnst": "9"} | ({} if settings is None else {"settings": settings})
    path = save_record(tmp_path / "old.png", record)
    assert main([*command[0], "--like", str(path)]) == 2
    assert message in capsys.readouterr().err
    if changes == {"init": "image"}:
        arguments = [*command[0], "--like", str(path), "--init", "style", "--quiet"]
        assert main(arguments) == 0


def test_show_does_not_let_a_picture_steer_the_terminal(tmp_path, capsys):
    record = {"jaxnst": "\x1b]0;title\x07", "settings": {"\x1b[2J": "\r\x1b[1mbold"}}
    path = save_record(tmp_path / "evil.png", record)
    assert main(["show", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\\x1b[1mbold" in printed


def test_a_picture_that_cannot_be_saved_is_saved_elsewhere(
    command, tmp_path, monkeypatch, capsys
):
    arguments, output = command
    save = jaxnst.Result.save

    def full(self, path, **options):
        if path == output:
            raise OSError(28, "No space left on device")
        return save(self, path, **options)

    monkeypatch.setattr(jaxnst.Result, "save", full)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    assert main([*arguments, "--quiet"]) == 2
    printed = capsys.readouterr().err
    assert "No space left on device; the picture is in" in printed
    assert printed.count("\n") == 1
    (rescued,) = tmp_path.glob("jaxnst-*.png")
    assert str(rescued) in printed
    assert jaxnst.read_record(rescued)["settings"]["size"] == 48


def test_a_reader_that_is_gone_is_no_error(tmp_path):
    path = save_record(tmp_path / "made.png", {"jaxnst": "9"})
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(
        [sys.executable, "-m", "jaxnst", "show", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_show_prints_the_record(command, capsys):
    arguments, output = command
    main([*arguments, "--quiet"])
    assert main(["show", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "style_weight       1\n" in printed
    assert "content.png" in printed
    changed = printed.partition("changed\n")[2].partition("\nsettings\n")[0]
    assert [line.split() for line in changed.splitlines()] == [
        ["size", "48"],
        ["num_steps", "2"],
        ["coarse_steps", "1"],
        ["learning_rate", "0.01"],
    ]
    assert main(["show", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == jaxnst.read_record(output)


def test_networks_lists_them(capsys):
    assert main(["networks"]) == 0
    printed = capsys.readouterr().out
    assert "vgg19  (20 MB, bundled)" in printed
    assert "CC BY 4.0" in printed
    assert "relu5_1" in printed
    assert main(["networks", "--json"]) == 0
    network, *_ = json.loads(capsys.readouterr().out)
    assert network["name"] == "vgg19"


@pytest.mark.parametrize("name", ["out.jpg", "out.webp", "out.tif", "out.TIFF"])
def test_formats(command, name, tmp_path):
    arguments, _ = command
    output = tmp_path / name
    assert main([*arguments, "-o", str(output), "--quiet"]) == 0
    assert jaxnst.read_record(output)["settings"]["size"] == 48


def test_sixteen_bits(command):
    arguments, output = command
    assert main([*arguments, "--bits", "16", "--quiet"]) == 0
    assert output.read_bytes()[24] == 16  # the depth in the PNG header


ERRORS = {
    "no such file": (["none.png", "STYLE"], "`content`: no such file: none.png"),
    "nearly a file": (["contemt.png", "STYLE"], "contemt.png; there is content.png"),
    "address": (["https://a.org/b.png", "STYLE"], "so download the file first"),
    "no -o": (["CONTENT", "STYLE", "out.png"], "out.png. The output is given by -o."),
    "folder": ([".", "STYLE"], "`content` is a folder: ."),
    "not a picture": ([__file__, "STYLE"], "is not a picture that can be read"),
    "extension": (["CONTENT", "STYLE", "-o", "a.xyz"], "unknown extension '.xyz'"),
    "output folder": (["CONTENT", "STYLE", "-o", "."], "output . is a folder"),
    "no folder": (["CONTENT", "STYLE", "-o", "none/a.png"], "no such folder: none"),
    "over the input": (["CONTENT", "STYLE", "-o", "CONTENT"], "is the content picture"),
    "over the mask": (
        ["CONTENT", "CONTENT", "--mask", "STYLE", "-o", "STYLE"],
        "is the mask",
    ),
    "bits": (
        ["CONTENT", "STYLE", "-o", "a.jpg", "--bits", "16"],
        "cannot hold 16 bits",
    ),
    "quality": (["CONTENT", "STYLE", "--quality", "300"], "`quality` must be 1 to 100"),
    "digits": (["CONTENT", "STYLE", "--bits", "7" * 300], "`bits` must be 8 or 16"),
    "layer": (["CONTENT", "STYLE", "--style-layers", "relu1_7"], "Did you mean"),
    "weights": (["CONTENT", "STYLE", "--style-weight", "-1"], "`style_weight` must be"),
    "preset": (
        ["CONTENT", "STYLE", "--preset", "x"],
        "Known: default, draft, fine, gatys2016",
    ),
    "like": (["CONTENT", "STYLE", "--like", "STYLE"], "holds no jaxnst record"),
    "both": (
        ["CONTENT", "STYLE", "--like", "STYLE", "--preset", "default"],
        "not both",
    ),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_are_one_line_and_code_2(kind, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    arguments, message = ERRORS[kind]
    names: dict[str, str] = {"CONTENT": str(files[0]), "STYLE": str(files[1])}
    assert main(["stylize", *(names.get(item, item) for item in arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("jaxnst: error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stylize"], "required: CONTENT, STYLE"),
        (["stylize", "a", "b", "--size", "big"], "--size: 'big' is not a whole number"),
        (
            ["stylize", "a", "b", "--style-layers", "relu1_1:x"],
            "'relu1_1:x' is not LAYER",
        ),
        (["stylize", "a", "b", "--style-layers", "a,a"], "layer a is named twice"),
        (["stylize", "a", "b", "--styleweight", "1"], "unrecognized arguments"),
        (["explain", "a", "--sheets=--"], "--sheets: expected a value, got"),
        (["paint"], "invalid choice: 'paint'"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert message in printed


def test_wrong_usage_names_the_command(capsys):
    with pytest.raises(SystemExit):
        main(["stylize", "a", "b", "--styleweight", "1"])
    printed = capsys.readouterr().err
    assert "Did you mean '--style-weight'? (see jaxnst stylize --help)" in printed


def test_names_from_outside_do_not_steer_the_terminal(tmp_path, capsys):
    name = str(tmp_path / "a\x1b[2J\x9b\u202e.png")
    assert main(["finish", name, "-o", str(tmp_path / "out.png"), "--grain"]) == 2
    printed = capsys.readouterr().err
    assert r"a\x1b[2J\x9b\u202e.png" in printed
    assert printed[:-1].isprintable()
    assert (
        main(["finish", "x" * 10**5, "-o", str(tmp_path / "out.png"), "--grain"]) == 2
    )
    assert len(capsys.readouterr().err) < 500


def test_large_scans_are_read_when_asked(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    arguments = ["finish", str(files[0]), "-o", str(tmp_path / "out.png"), "--grain"]
    assert main(arguments) == 2
    assert "raise the limit (--max-megapixels" in capsys.readouterr().err
    assert main([*arguments, "--max-megapixels", "1"]) == 0


def test_only_files_that_are_named_may_be_large(files, tmp_path, monkeypatch, capsys):
    """Not what lies in a folder."""
    for place in ("PIL.Image.MAX_IMAGE_PIXELS", "jaxnst.images.load._USUAL_PIXELS"):
        monkeypatch.setattr(place, 1000)
    content, style = map(str, files)
    table = tmp_path / "jobs.json"
    table.write_text(json.dumps([{"content": content, "style": style}]))
    output = str(tmp_path / "out")
    assert main(["batch", str(table), "-o", output, "--check"]) == 0
    capsys.readouterr()
    assert main(["sweep", str(tmp_path), style, "-o", output]) == 2
    assert "content.png), 48 x 40 px, has more than 0 meg" in capsys.readouterr().err


def test_a_picture_too_large_for_its_format_is_named_first(files, tmp_path, capsys):
    """Before anything is painted, by every command that knows the size."""
    pair = [str(each) for each in files[:2]]
    table = tmp_path / "jobs.json"
    row = {"content": pair[0], "style": pair[1], "size": 20000, "output": "a.webp"}
    table.write_text(json.dumps([row]))
    out = str(tmp_path / "out.webp")
    sweep = ["sweep", *pair, "-o", str(tmp_path / "grid"), "--extension", "webp"]
    for arguments in (
        ["stylize", *pair, "-o", out, "--size", "20000"],
        ["texture", pair[1], "-o", out, "--size", "16000x20000"],
        [*sweep, "--size", "64,20000"],
        ["batch", str(table), "-o", str(tmp_path / "all"), "--check"],
    ):
        assert main(arguments) == 2
        printed = capsys.readouterr().err
        assert ".webp cannot hold 20000 px a side, only 16383; use .png" in printed
    assert sorted(tmp_path.iterdir()) == sorted([*files, table])


_CALLS = """
import sys, jaxnst
content, style = sys.argv[1:]
for paint_fn in (jaxnst.stylize, jaxnst.estimate, jaxnst.sweep, jaxnst.stylize):
    try:
        paint_fn(content, style, size=48)
    except ValueError as error:
        print(f"jaxnst: error: {error}", file=sys.stderr)
"""


@pytest.mark.parametrize("cache", ["0", "1"])
@pytest.mark.parametrize(
    ("program", "options", "count"),
    [(["-m", "jaxnst", "stylize"], ["--estimate"], 1), (["-c", _CALLS], [], 4)],
)
def test_a_missing_platform_is_named(files, tmp_path, program, options, count, cache):
    folder = {"JAXNST_CACHE": cache, "JAXNST_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *program, *map(str, files), *options],
        env=os.environ | folder | {"JAX_PLATFORMS": "cuda"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert len(lines) == count
    for line in lines:
        assert line.startswith("jaxnst: error: JAX_PLATFORMS is 'cuda', which")
        assert "it has cpu" in line


def test_debug_shows_the_traceback(files):
    with pytest.raises(FileNotFoundError):
        main(["stylize", "none.png", str(files[1]), "--debug"])


def test_unforeseen_errors_say_what_they_were(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("out of\nmemory")

    path = save_record(tmp_path / "made.png", {"jaxnst": "9"})
    monkeypatch.setattr(json, "dumps", fail)
    assert main(["show", str(path), "--json"]) == 2
    assert capsys.readouterr().err == (
        "jaxnst: error: RuntimeError: out of memory (--debug shows where)\n"
    )


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["stylize", "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "examples:" in printed
    assert "--help-all" in printed
    assert "--color NAME" in printed


def test_alone_it_shows_the_help(capsys):
    assert main([]) == 0
    assert "stylize   paint a picture" in capsys.readouterr().out


def test_without_an_output_pictures_of_earlier_commands_stay(
    command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("texture.png").touch()
    arguments = ["texture", "style.png", *FEW, *SHALLOW[2:], "--quiet"]
    for name in ("texture-2.png", "texture-3.png"):
        assert main(arguments) == 0
        assert jaxnst.read_record(name)
    assert Path("texture.png").stat().st_size == 0


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["paint"], ["show"]])
def test_light_commands_do_not_import_jax(arguments, tmp_path):
    if arguments == ["show"]:
        arguments.append(str(save_record(tmp_path / "made.png", {"jaxnst": "9"})))
    code = (
        "import sys; from jaxnst.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert 'jax' not in sys.modules and 'flax' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# The command in a process of its own, with the tiny network under the name of VGG-19.
TINY_COMMAND = """
import runpy
import jaxnst.transfer.setup
from conftest import load_tiny_weights
jaxnst.transfer.setup.load_weights = load_tiny_weights
runpy.run_module("jaxnst", run_name="__main__")
"""


def test_no_input_is_written_over(files, tmp_path, tiny_vgg19, capsys):
    style, output = str(files[1]), tmp_path / "out.png"
    assert main(["texture", style, "-o", style]) == 2
    assert "is the style picture; choose another" in capsys.readouterr().err
    arguments = ["stylize", *map(str, files), "-o", str(output), "--trace"]
    for trace in (str(output), str(files[0])):
        assert main([*arguments, trace]) == 2
        assert "choose another" in capsys.readouterr().err


def test_an_interrupted_run_leaves_a_finished_picture(
    files, tmp_path, tiny_vgg19, monkeypatch, capsys
):
    output = tmp_path / "out.png"
    arguments = ["stylize", *map(str, files), "-o", str(output), "--size", "64"]
    arguments += ["--min-size", "0", "--num-steps", "2", *SHALLOW]
    assert main(arguments) == 0
    whole, stylize = output.read_bytes(), driver.stylize

    def interrupted(*args, **settings):
        raise jaxnst.Interrupted(stylize(*args, **settings))

    monkeypatch.setattr(driver, "stylize", interrupted)
    assert main(arguments) == 130
    assert f"is in {tmp_path / 'out.partial.png'}" in capsys.readouterr().err
    assert output.read_bytes() == whole


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_signals_save_the_picture_reached_so_far(number, code, files, tmp_path):
    output = tmp_path / "out.png"
    arguments = ["stylize", *map(str, files), "-o", str(output)]
    arguments += ["--size", "64", "--min-size", "0", "--num-steps", "100000", *SHALLOW]
    # Background jobs of shells ignore Ctrl-C, and heed SIGTERM nevertheless.
    is_ignored = number == signal.SIGTERM
    action = signal.SIG_IGN if is_ignored else signal.default_int_handler
    lines, rest = [], ""
    previous = signal.signal(signal.SIGINT, action)
    with subprocess.Popen(
        [sys.executable, "-c", TINY_COMMAND, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        signal.signal(signal.SIGINT, previous)
        assert process.stderr is not None
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        for line in process.stderr:
            lines.append(line)
            if "step" in line:
                if is_ignored:
                    process.send_signal(signal.SIGINT)
                time.sleep(0.5)
                process.send_signal(number)
                break
        rest = process.stderr.read()
        watchdog.cancel()
    assert process.returncode == code, (lines, rest)
    assert "interrupted after" in rest
    assert f"is in {output}" in rest
    assert "Traceback" not in rest
    record = jaxnst.read_record(output)
    assert record["result"]["stopped"] == "interrupted"
    assert 0 < record["result"]["steps"] < 100000
    with Image.open(output) as image:
        assert image.size == (64, 53)
