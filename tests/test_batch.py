"""Batches: what is read, all that is refused, and what is painted, kept and told."""

import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import TINY, load_tiny, load_tiny_weights, picture
from PIL import Image
from test_cli import SHALLOW, TINY_COMMAND
from test_sweep import with_tests_on_path

import jaxnst
from jaxnst.cli.main import build_parser, main
from jaxnst.config import SETTINGS, make_config
from jaxnst.sweeps import runner
from jaxnst.sweeps.jobs import PictureJob, find_difference
from jaxnst.sweeps.table import place_paths, read_jobs
from jaxnst.transfer import setup
from jaxnst.transfer.progress import ProgressCallback
from jaxnst.transfer.setup import fit_config


# Random weights ask for smaller steps than real ones.
FEW = ["--size=48", "--min-size=0", "--num-steps=2", "--learning-rate=0.01"]
FEW_SETTINGS = {
    "size": 48,
    "min_size": 0,
    "num_steps": 2,
    "learning_rate": 0.01,
    "progress": False,
}


@pytest.fixture
def folder(files, tmp_path, monkeypatch, tiny_vgg19):
    """Return a folder with content.png, style.png and other.png, and go elsewhere."""
    array = np.round(picture(seed=7) * 255).astype(np.uint8)
    Image.fromarray(array).save(tmp_path / "other.png")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return tmp_path


@pytest.fixture
def write(folder):
    """Write a table with these rows, and return its path."""

    def write_rows(*rows, header="content,style"):
        path = folder / "jobs.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return str(path)

    return write_rows


def run_batch(*arguments):
    return main(["batch", *arguments, "-o", "out", *FEW])


def refuse(*_, **__):
    raise AssertionError("painted something")


# Reading.

TABLE = """\
Content;style ;Style-Weight;num steps;style_layers;#mine
# a "note" with a "quote;

a.png;b.png;2.5;;relu1_1,relu2_1:0.5;ask Ann
"c ""x"".png";"b.png";;7;;
"# a note; in a spreadsheet";;;;;
"""
ROWS = {
    4: {"content": "a.png", "style": "b.png", "style_weight": "2.5",
        "style_layers": "relu1_1,relu2_1:0.5"},
    5: {"content": 'c "x".png', "style": "b.png", "num_steps": "7"},
}  # fmt: skip


def with_commas(text):
    return (
        text.replace("relu1_1,relu2_1:0.5", '"relu1_1,relu2_1:0.5"')
        .replace(";", ",")
        .replace("note, in", "note; in")
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("change_fn", "newline"),
    [
        (str, "\n"),
        (with_commas, "\r\n"),
        (lambda text: text.replace(";", "\t"), "\r"),
    ],
    ids=["semicolons", "commas", "tabs"],
)
def test_tables_of_every_kind_say_the_same(encoding, change_fn, newline, tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_bytes(change_fn(TABLE).replace("\n", newline).encode(encoding))
    jobs = read_jobs(path)
    assert jobs.rows == ROWS
    assert jobs.problems == []
    assert (jobs.name, jobs.folder) == ("jobs.csv", tmp_path)
    assert jobs.place(4) == "jobs.csv row 4"


def test_a_cell_may_hold_lines_and_begin_with_a_hash(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text('content,style\n"a\n#b.png",s.png\n"#c.png",s.png\n')
    found = {number: row["content"] for number, row in read_jobs(path).rows.items()}
    assert found == {2: "a\n#b.png", 3: "#c.png"}


def test_json_toml_and_lists_say_the_same(tmp_path):
    entries = [
        {"content": "a.png", "style": "b.png", "size": 64},
        {"Content": "c.png", "style": "b.png", "style-layers": {"relu1_1": 2}},
    ]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    whole = {
        "defaults": {"seed": 3},
        "jobs": [{**entries[0], "decay": None}, entries[1]],
    }
    (tmp_path / "b.json").write_text(json.dumps(whole))
    (tmp_path / "c.toml").write_text(
        '[defaults]\nseed = 3\n[[jobs]]\ncontent = "a.png"\nstyle = "b.png"\n'
        'size = 64\n[[jobs]]\ncontent = "c.png"\nstyle = "b.png"\noutput = " "\n'
        "style_layers = { relu1_1 = 2 }\n"
    )
    rows = [{**entries[0], "decay": math.nan}, entries[1]]
    expected = {
        1: entries[0],
        2: {"content": "c.png", "style": "b.png", "style_layers": {"relu1_1": 2}},
    }
    for source in (tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.toml", rows):
        jobs = read_jobs(source)
        assert jobs.rows == expected
        assert jobs.problems == []
        is_whole = source in (tmp_path / "b.json", tmp_path / "c.toml")
        assert dict(jobs.defaults) == ({"seed": 3} if is_whole else {})
    assert read_jobs(rows).place(2) == "job 2"


UNREADABLE = {
    "missing": ("none.csv", None, "jobs: no such file: .*none.csv"),
    "folder": ("folder", None, "is a folder; give a file"),
    "extension": ("a.xls", b"", "unknown extension '.xls'; known: .csv, .tsv, .json"),
    "empty": ("a.csv", b"\n# note\n", "a.csv holds no rows to paint"),
    "no jobs": ("a.csv", b"content,style\n", "a.csv holds no rows to paint"),
    "device": ("/dev/null", None, "null holds no rows to paint"),
    "endless": ("/dev/zero", None, "/dev/zero is larger than 64 MiB"),
    "no header": ("a.csv", b"\na.png,b.png\n", "a.csv row 2 names no column that is"),
    "latin-1": ("a.csv", b"content,style\n\xfc.png,", "a.csv is not in UTF-8"),
    "quotes": ("a.csv", b'content,style\na,b\n"a"x,b\n', "a.csv row 3: .* its quotes"),
    "open quote": ("a.csv", b'content,style\n"a,b\n', "a.csv row 2: .* its quotes"),
    "json": ("a.json", b"[{]", "a.json is not JSON: .* line 1"),
    "twice": ("a.json", b'[{"size": 1, "size": 2}]', "'size' is there twice"),
    "no list": ("a.json", b"3", "a.json must be a list of jobs"),
    "part": ("a.json", b'{"job": []}', "has 'job'. Did you mean 'jobs'"),
    "form": ("a.json", b'{"jobs": {}}', "'jobs' must be a list"),
    "no json": ("a.json", b"[]", "a.json holds no jobs"),
    "deep": ("a.json", b"[" * 100_000, "nested too deeply"),
    "toml": ("a.toml", b"[[jobs", "a.toml is not TOML: "),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREADABLE)
def test_files_that_cannot_be_read(kind, tmp_path, capsys):
    name, data, message = UNREADABLE[kind]
    (tmp_path / "folder").mkdir()
    if data is not None:
        (tmp_path / name).write_bytes(data)
    before = sorted(tmp_path.iterdir())
    output = str(tmp_path / "out")
    assert main(["batch", str(tmp_path / name), "-o", output]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("jaxnst: error: ")
    assert printed.count("\n") == 1
    assert re.search(message, printed)
    assert sorted(tmp_path.iterdir()) == before


EXAMPLES = {
    float: ["0.5", "3", " 1e-3 "],
    int: ["64", "64.0", "6e1"],
    bool: ["yes", "TRUE", "0", "off"],
    dict: ["relu1_1", "relu1_1, relu2_1:0.5"],
}
# Settings of a kind of their own, and what texts mean for them.
OWN_EXAMPLES = {
    "tile": {"yes": True, "x": "x", "XY": "xy", "no": False},
    "finish": {"grain": {"grain": None}, "a:1, b:-0.5": {"a": 1.0, "b": -0.5}},
    "style_blend": {
        "3,1": [3.0, 1.0],
        "1; 0.5": [1.0, 0.5],
        "1,0/0,1": [[1, 0], [0, 1]],
    },
    "strength": {"0.5": 0.5, "1": 1.0, "map.png": "map.png", "./map": "./map"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_cells_are_read_as_flags_are(name):
    """By one table of functions; booleans, which are flags without a value, aside."""
    examples = OWN_EXAMPLES.get(name)
    kind = None if examples else type(next(iter(_values(name))))
    if not examples:
        texts = EXAMPLES.get(kind, ["some text"])
        examples = dict(zip(texts, _values(name), strict=True))
    for text, value in examples.items():
        assert SETTINGS[name].parse_fn(text.strip()) == value
        if kind is bool:
            flag = [f"--{'' if value else 'no-'}{name.replace('_', '-')}"]
        else:
            flag = [f"--{name.replace('_', '-')}", text.strip()]
        args = build_parser().parse_args(["batch", "jobs", "-o", "out", *flag])
        assert vars(args)[name] == value


def _values(name):
    """What the examples mean for a setting, after `TransferConfig`'s own kinds."""
    default = jaxnst.TransferConfig()
    kind = type(getattr(default, name, ""))
    if name in ("style_size", "steps_per_call"):
        kind = int
    if name == "max_seconds":
        kind = float
    return {
        float: [0.5, 3.0, 0.001],
        int: [64, 64, 60],
        bool: [True, True, False, False],
        dict: [{"relu1_1": 1.0}, {"relu1_1": 1.0, "relu2_1": 0.5}],
    }.get(kind, ["some text"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("size", "6.5", "'6.5' is not a whole number"),
        ("size", "inf", "'inf' is not a whole number"),
        ("decay", "2,5", "'2,5' is not a number; write 2.5 if that is meant"),
        ("decay", "a,b", "'a,b' is not a number$"),
        ("normalize_activations", "si", "'si' is not yes or no"),
        ("style_layers", "a,a", "layer a is named twice"),
        ("style_layers", "a:b", "'a:b' is not LAYER or LAYER:WEIGHT"),
    ],
)
def test_cells_that_cannot_be_read(name, text, message):
    with pytest.raises(ValueError, match=message):
        SETTINGS[name].parse_fn(text)


def test_paths_start_in_the_folder_of_the_jobs(tmp_path, monkeypatch):
    """Names of networks and of starts are none."""
    monkeypatch.setenv("HOME", "/home/ann")
    (tmp_path / "mine").write_bytes(b"")
    values = {"content": "a.png", "style": "/b.png", "init": "noise", "size": "64"}
    assert place_paths(values, tmp_path) == values | {
        "content": tmp_path / "a.png",
        "style": Path("/b.png"),
    }
    for name, place in {
        "vgg19": "vgg19",
        "vgg19.tv_in1k@refs/pr/1": "vgg19.tv_in1k@refs/pr/1",
        "vgg91": "vgg91",
        "a.pth": tmp_path / "a.pth",
        "set/a": tmp_path / "set/a",
        "mine": tmp_path / "mine",
        "~/a.pth": Path("/home/ann/a.pth"),
    }.items():
        assert place_paths({"network": name}, tmp_path) == {"network": place}
    array = np.zeros((32, 32, 3))
    placed = place_paths({"init": "a.png", "content": array}, tmp_path)
    assert placed["init"] == tmp_path / "a.png"
    assert placed["content"] is array


# Checking.

GOOD = "content.png,style.png"
BAD_ROWS = {
    "content": ("none.png,style.png", "", "`content`: no such file: .*none.png"),
    "style": ("content.png,jobs.csv", "", r"`style` \(.*jobs.csv\) is not a picture"),
    "folder": ("content.png,elsewhere", "", "`style` is a folder: "),
    "missing": ("content.png,", "", "`style` is missing"),
    "number": (f"{GOOD},big", ",size", "`size`: 'big' is not a whole number"),
    "range": (f"{GOOD},20", ",size", "`size` must be at least 32, got 20"),
    "choice": (f"{GOOD},mean", ",pooling", "`pooling` is 'mean'. Did you mean 'max'"),
    "layer": (f"{GOOD},relu1_11", ",style_layers", "Did you mean 'relu1_1'"),
    "network": (f"{GOOD},vgg91", ",network", "`network` is 'vgg91'. Did you mean"),
    "weights": (f"{GOOD},a.pth", ",network", "`network`: no such file: .*/a.pth"),
    "init": (f"{GOOD},nois", ",init", "no such file: .*nois. Did you mean 'noise'"),
    "output": (f"{GOOD},a.gif", ",output", "output .*a.gif: unknown extension '.gif'"),
    "above": (f"{GOOD},../a.png", ",output", "../a.png is outside of the folder"),
    "absolute": (f"{GOOD},/a.png", ",output", "output /a.png is outside"),
    "long": (f"{GOOD},{'a' * 300}.png", ",output", "a name may have 255 bytes"),
    "cells": (f"{GOOD},relu1_1", "", "'relu1_1' is one cell more than there are"),
    "nameless": (f"{GOOD},x,64", ",,size", "'x' is in a column without a name"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_is_named_and_nothing_is_done(
    kind, write, folder, capsys, monkeypatch
):
    monkeypatch.setattr(runner, "run_job", refuse)
    row, columns, message = BAD_ROWS[kind]
    path = write(GOOD, "", row, header=f"content,style{columns}")
    before = sorted(folder.rglob("*"))
    assert main(["batch", path, "-o", "out"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("jaxnst: error: jobs.csv row 4: ")
    assert re.search(message, printed.err)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("content,style,styel_weight", "'styel_weight'. Did you mean 'style_weight'?"),
        ("content,style,mood", "'mood'. Known: content, style, output, size,"),
        ("content,style,Style", "column 'Style' is there twice"),
    ],
)
def test_a_bad_column_is_named(header, message, write, capsys):
    assert main(["batch", write(GOOD, header=header), "-o", "out"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("jaxnst: error: jobs.csv row 1: ")
    assert printed.count("\n") == 1
    assert message in printed


def test_outputs_must_not_meet(write, folder, capsys):
    """Each other, a picture that is read, or a folder."""
    path = write(
        f"{GOOD},a.png",
        f"{GOOD},A.png",
        f"{GOOD},./a.png",
        f"{GOOD},other.png",
        "other.png,content.png,elsewhere.png",
        header="content,style,output",
    )
    (folder / "elsewhere.png").mkdir()
    assert main(["batch", path, "-o", str(folder)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"jaxnst: error: jobs.csv row 3: output {folder}/A.png is that of row 2, too "
        f"({folder}/a.png)",
        f"jaxnst: error: jobs.csv row 4: output {folder}/a.png is that of row 2, too",
        f"jaxnst: error: jobs.csv row 5: output {folder}/other.png is a content "
        "picture; choose another",
        f"jaxnst: error: jobs.csv row 6: output {folder}/elsewhere.png is a folder",
        "jaxnst: 4 problems; nothing was painted",
    ]


def test_all_that_is_wrong_is_said_at_once(write, capsys):
    rows = ["none.png,style.png,20,half,/a.png", *[f"{GOOD},{i},," for i in range(25)]]
    path = write(*rows, header="content,style,size,precision,output")
    assert main(["batch", path, "-o", "out"]) == 2
    *lines, more, summary = capsys.readouterr().err.splitlines()
    assert len(lines) == 20
    first = [line for line in lines if " row 2: " in line]
    for words in ("`size` must be", "`precision` is", "no such file", "is outside of"):
        assert any(words in line for line in first)
    assert len(first) == 4
    assert (more, summary) == (
        "jaxnst: error: and 9 more",
        "jaxnst: 29 problems; nothing was painted",
    )
    with pytest.raises(jaxnst.BadJobs) as caught:
        jaxnst.batch(path, "out")
    assert len(caught.value.problems) == 29
    assert len(str(caught.value).splitlines()) == 21


def test_what_is_wrong_with_every_row_is_said_once(write, capsys):
    path = write(GOOD, GOOD, "none.png,style.png")
    assert main(["batch", path, "-o", "out", "--pooling", "mean"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "jobs.csv, every row: `pooling` is 'mean'" in lines[0]
    assert "row 4: `content`: no such file" in lines[1]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"optimizer": 3}, "job 2: `optimizer` must be a name or an optax transf"),
        ({"output": 3}, "job 2: `output` must be text or a path, got 3"),
        ({"size": "64", "Size": 32}, "job 2: name 'Size' is there twice"),
        ({"size": 64.5}, "job 2: `size` must be a whole number, got 64.5"),
        ({"content": 3}, "job 2: `content` must be a path, a PIL image, an array"),
        ({"init": 3}, "job 2: `init` must be a path"),
        ({"sise": 3}, "job 2: unknown name 'sise'. Did you mean 'size'"),
        ({"style_weight": True}, "job 2: `style_weight` must be a number, got True"),
        (
            {"content_weight": 0, "style_weight": 0},
            "job 2: `content_weight`, `style_weight` and `tv_weight` are all 0",
        ),
    ],
)
def test_a_bad_job_of_json_is_named(entry, message, folder, as_installed, capsys):
    job = {"content": "content.png", "style": "style.png"}
    (folder / "jobs.json").write_text(json.dumps([job, job | entry]))
    assert main(["batch", str(folder / "jobs.json"), "-o", "out"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert printed.startswith(f"jaxnst: error: jobs.json {message}")


def test_bad_defaults_and_folders_are_named(folder, write, capsys):
    (folder / "jobs.json").write_text('{"defaults": {"output": "a"}, "jobs": [3]}')
    assert main(["batch", str(folder / "jobs.json"), "-o", "out"]) == 2
    printed = capsys.readouterr().err
    assert "jobs.json: defaults: `output` must be one for each job" in printed
    assert "jobs.json job 1: expected names and values, got 3" in printed
    path = write(GOOD)
    assert main(["batch", path, "-o", path]) == 2
    assert "jobs.csv is a file; give a folder" in capsys.readouterr().err
    assert main(["batch", path, "-o", f"{path}/a/b"]) == 2
    assert "jobs.csv is a file; give a folder" in capsys.readouterr().err
    assert main(["batch", path, "-o", "out", "--bits", "9"]) == 2
    assert capsys.readouterr().err == (
        "jaxnst: error: `bits` must be 8 or 16, got 9.\n"
    )
    assert main(["batch", path, "-o", "out", "--like", f"{folder}/style.png"]) == 2
    assert "holds no jaxnst record" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["batch", path])
    assert caught.value.code == 2
    assert "required: -o/--output" in capsys.readouterr().err


def test_a_check_paints_nothing(write, folder, capsys, monkeypatch):
    monkeypatch.setattr(runner, "run_job", refuse)
    path = write(
        GOOD, f"{folder}/other.png,style.png,a/b.jpg", header="content,style,output"
    )
    for flag in ("--check", "--dry-run"):
        assert run_batch(path, flag) == 0
        assert capsys.readouterr().out == (
            "row 2: out/002_content_style.png\nrow 3: out/a/b.jpg\n"
            "all is well: 2 of 2 to be painted\n"
        )
    assert run_batch(path, "--check", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert not Path("out").exists()


# Painting.


def test_a_batch_paints_what_stylize_paints(write, folder, capsys):
    """To the byte; a row's own settings come first."""
    path = write(
        "content.png,style.png,,,",
        'content.png,style.png,3,"relu1_1,relu3_1:0.5",set/b.png',
        "other.png,style.png,,,",
        header="content,style,style-weight,style_layers,output",
    )
    assert run_batch(path, "--style-weight", "2") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith("row 2: out/002_content_style.png  (48 x 40, 2 steps, ")
    assert lines[1].startswith("row 3: out/set/b.png  (48 x 40, 2 steps, ")
    assert lines[2].startswith("row 4: out/004_other_style.png  (48 x 40, 2 steps, ")
    assert lines[3] == "3 of 3 painted"
    for words in ("picture 1 of 3 ...", "picture 3 of 3  48 x 40  step 2/2  loss "):
        assert words in printed.err
    content, style, other = (
        str(folder / f"{name}.png") for name in ("content", "style", "other")
    )
    for name, flags in {
        "002_content_style.png": [content, style, "--style-weight", "2"],
        "set/b.png": [
            content, style, "--style-weight", "3",
            "--style-layers", "relu1_1,relu3_1:0.5",
        ],
        "004_other_style.png": [other, style, "--style-weight", "2"],
    }.items():  # fmt: skip
        assert main(["stylize", *flags, *FEW, "-o", "one.png", "--quiet"]) == 0
        assert Path("one.png").read_bytes() == Path("out", name).read_bytes()
    assert not list(Path("out").glob(".*"))


def test_defaults_of_the_file_come_last(folder):
    (folder / "jobs.toml").write_text(
        '[defaults]\nstyle = "style.png"\nseed = 1\ndecay = 0.1\n'
        'init = "other.png"\n[[jobs]]\ncontent = "content.png"\n'
        '[[jobs]]\ncontent = "content.png"\nseed = 3\n'
    )
    outcomes = jaxnst.batch(folder / "jobs.toml", "out", seed=2, **FEW_SETTINGS)
    found = [jaxnst.read_record(outcome.path) for outcome in outcomes]
    inputs, found = found[0]["inputs"], [record["settings"] for record in found]
    assert [settings["seed"] for settings in found] == [2, 3]
    assert [settings["decay"] for settings in found] == [0.1, 0.1]
    assert inputs["init"]["name"] == "other.png"


def test_like_gives_the_settings(write, folder, capsys):
    path = write(GOOD)
    assert run_batch(path, "--quiet", "--seed", "5", "--style-weight", "3") == 0
    first = Path("out/002_content_style.png")
    assert main(["batch", path, "-o", "two", "--like", str(first), "--quiet"]) == 0
    assert Path("two", first.name).read_bytes() == first.read_bytes()
    assert capsys.readouterr() == ("", "")
    path = write(f"{GOOD},draft", header="content,style,preset")
    assert main(["batch", path, "-o", "two", "--like", str(first)]) == 2
    assert "jobs.csv row 2 has a `preset`" in capsys.readouterr().err


def test_networks_are_loaded_once(write, monkeypatch):
    """Two of them in turn, too; and each painting knows which it has."""
    loaded, used = [], []

    def count(name, **options):
        loaded.append(name)
        return load_tiny_weights(name, **options)

    def look(prepared, *_, **__):
        assert prepared.weights is not None
        used.append((prepared.weights.name, prepared.network.pooling))
        raise ValueError("seen enough")

    monkeypatch.setattr(setup, "load_weights", count)
    monkeypatch.setattr(runner, "run_job", look)
    path = write(
        *[f"{GOOD},{kind}" for kind in ("max", "average", "max", "average")],
        header="content,style,pooling",
    )
    outcomes = jaxnst.batch(path, "out", **FEW_SETTINGS)
    assert [outcome.error for outcome in outcomes] == ["seen enough"] * 4
    assert loaded == ["vgg19", "vgg19"]
    assert used == [("vgg19", "max"), ("vgg19", "average")] * 2


def test_lists_may_hold_what_stylize_takes(content, style, tmp_path):
    jobs = [
        {"content": content, "style": Image.fromarray((style * 255).astype(np.uint8)),
         "size": "48"},
        {"content": content, "style": style, "size": 48.0, "decay": math.nan,
         "output": "b.tif"},
    ]  # fmt: skip
    settings = FEW_SETTINGS | {"size": 40, "network": load_tiny()}
    outcomes = jaxnst.batch(jobs, tmp_path / "a" / "b", bits=8, **settings)
    assert [outcome.status for outcome in outcomes] == ["painted"] * 2
    assert [outcome.number for outcome in outcomes] == [1, 2]
    assert outcomes[0].path == tmp_path / "a/b/001_content_style.png"
    assert jaxnst.read_record(outcomes[1].path)["settings"]["size"] == 48
    # Nothing tells whether it was this network.
    with pytest.raises(jaxnst.BadJobs, match="tell whether its `network` was this one"):
        jaxnst.batch(jobs, tmp_path / "a" / "b", **settings)


def test_defaults_are_arguments_of_stylize(folder):
    with pytest.raises(TypeError, match=r"'sise' is no setting.*mean 'size'"):
        jaxnst.batch([{}], "out", sise=3)


# Again.


def test_the_same_command_does_only_what_is_missing(write, capsys, monkeypatch):
    path = write(GOOD, "other.png,style.png")
    assert run_batch(path, "--quiet") == 0
    first, second = sorted(Path("out").iterdir())
    kept, again = first.stat().st_mtime_ns, second.read_bytes()
    second.unlink()
    capsys.readouterr()
    assert run_batch(path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"row 2: {first}  (already there)"
    assert lines[2] == "1 of 2 painted, 1 already there"
    assert first.stat().st_mtime_ns == kept
    assert second.read_bytes() == again
    monkeypatch.setattr(runner, "run_job", refuse)
    for flag in ("--overwrite", "--quiet"):
        assert run_batch(path, flag) == 0
    outcomes = jaxnst.batch(path, "out", **FEW_SETTINGS)
    assert [outcome.status for outcome in outcomes] == ["skipped"] * 2
    assert outcomes[0].record == jaxnst.read_record(first)
    assert run_batch(path, "--check") == 0
    assert "0 of 2 to be painted, 2 already there" in capsys.readouterr().out


def rewritten(path, change_fn):
    """Write the record of a picture anew."""
    record = jaxnst.read_record(path)
    change_fn(record)
    rgb = jaxnst.load_picture(path).rgb
    jaxnst.images.save_picture(path, rgb, record=record)


OTHERS = {
    "settings": (lambda r: r["settings"].update(seed=4), "its `seed` is 4, not 0;"),
    "more": (
        lambda r: r["settings"].update(seed=4, decay=0.1),
        r"its `decay` is 0.1, not 0.9 \(and 1 settings more\)",
    ),
    "unknown": (lambda r: r["settings"].update(magic=1), "`magic` is 1, not None"),
    "content": (
        lambda r: r["inputs"]["content"].update(sha256="0"),
        "it was made from another content picture",
    ),
    "init": (
        lambda r: r["inputs"].update(init={"sha256": "0"}),
        "it was made from another init picture",
    ),
    "callback": (
        lambda r: r["result"].update(stopped="callback"),
        r"it was ended early \(callback\)",
    ),
    "broken": (lambda r: r.pop("inputs"), "its record is not whole"),
    "wrong": (
        lambda r: r["result"].update(width="wide"),
        "the record's `result.width` must be a whole number from 1 to 65535, got",
    ),
}


@pytest.fixture
def painted(write):
    """Return a table of one row, and the picture painted for it."""
    path = write(GOOD)
    assert run_batch(path, "--quiet") == 0
    return path, Path("out/002_content_style.png")


@pytest.mark.parametrize("kind", OTHERS)
def test_something_else_is_not_overwritten_unless_asked_for(kind, painted, capsys):
    path, output = painted
    change_fn, message = OTHERS[kind]
    rewritten(output, change_fn)
    changed = output.read_bytes()
    assert run_batch(path) == 2
    printed = capsys.readouterr().err
    assert re.search(
        f"jobs.csv row 2: output {output} is there already, and .*{message}", printed
    )
    assert printed.count("\n") == 1
    assert output.read_bytes() == changed
    assert run_batch(path, "--overwrite", "--check") == 0
    assert "1 of 1 to be painted" in capsys.readouterr().out


def test_weights_of_a_file_are_told_from_others(painted):
    """By their hash; a network of the user's own, or an optimizer, by nothing."""
    _, output = painted

    def change_fn(record):
        record["settings"]["network"] = "custom"
        record["weights"] = {"name": "mine.pth", "sha256": "a"}

    rewritten(output, change_fn)
    record = jaxnst.read_record(output)

    def difference(weights, **settings):
        config = fit_config(make_config(**record["settings"]), TINY)
        job = PictureJob(
            number=1,
            place="job 1",
            arguments={},
            config=dataclasses.replace(config, **settings),
            sources={},
            shape=(40, 48),
            work=1.0,
            digests={name: x["sha256"] for name, x in record["inputs"].items()},
            weights=weights,
        )
        return find_difference(record, job)

    assert difference("a") is None
    assert difference("b") == "its network had other weights"
    assert "whether its `network` was this one" in str(difference(None))
    other = difference("a", optimizer="custom")
    assert "whether its `optimizer` was this one" in str(other)


def test_a_picture_of_somebody_else_is_overwritten_only_if_asked_for(
    painted, folder, capsys
):
    path, output = painted
    original = output.read_bytes()
    output.write_bytes((folder / "other.png").read_bytes())
    assert run_batch(path) == 2
    assert "is there already, and jaxnst did not make it;" in capsys.readouterr().err
    assert run_batch(path, "--overwrite", "--quiet") == 0
    assert output.read_bytes() == original


@pytest.mark.parametrize("stopped", ["interrupted", "not finite"])
def test_a_picture_that_was_not_finished_is_painted_again(stopped, painted, capsys):
    path, output = painted
    original = output.read_bytes()
    rewritten(output, lambda record: record["result"].update(stopped=stopped))
    assert run_batch(path, "--quiet") == 0
    assert output.read_bytes() == original


@pytest.mark.parametrize("change", ["out of time", "older"])
def test_a_picture_is_finished_all_the_same(change, painted, monkeypatch):
    """One that ran out of time, and one of a version that did not know a setting."""
    path, output = painted

    def change_fn(record):
        if change == "older":
            del record["settings"]["tolerance"]
        else:
            record["result"]["stopped"] = change

    rewritten(output, change_fn)
    monkeypatch.setattr(runner, "run_job", refuse)
    assert run_batch(path) == 0


# Failing.


def test_one_bad_picture_does_not_stop_the_others(write, folder, capsys):
    """Its header is fine, so it is found late."""
    data = (folder / "other.png").read_bytes()
    (folder / "broken.png").write_bytes(data[: len(data) // 2])
    path = write(GOOD, "broken.png,style.png", "other.png,style.png")
    assert run_batch(path, "--check", "--quiet") == 0
    assert run_batch(path, "--quiet") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    first, summary = printed.err.splitlines()
    assert first.startswith("jaxnst: error: jobs.csv row 3: `content` (")
    assert "is damaged or truncated" in first
    assert summary == "jaxnst: error: 2 of 3 painted, 1 failed: row 3"
    names = [path.name for path in sorted(Path("out").iterdir())]
    assert names == ["002_content_style.png", "004_other_style.png"]
    outcomes = jaxnst.batch(path, "out", **FEW_SETTINGS)
    assert [outcome.status for outcome in outcomes] == ["skipped", "failed", "skipped"]
    assert outcomes[1].error is not None
    assert "is damaged or truncated" in outcomes[1].error
    assert outcomes[1].record is None
    (folder / "broken.png").write_bytes(data)
    assert run_batch(path, "--quiet") == 0


def test_failures_of_every_kind_are_told(folder, monkeypatch, capsys):
    paint = runner.run_job
    errors = iter(
        [
            None,
            jaxnst.OutOfMemory("too\nlarge"),
            RuntimeError("odd"),
            OSError(28, "full"),
        ]
    )

    def fail(*arguments, **options):
        if error := next(errors):
            raise error
        return paint(*arguments, **options)

    monkeypatch.setattr(runner, "run_job", fail)
    job = {"content": "content.png", "style": "style.png"}
    (folder / "jobs.json").write_text(json.dumps([job] * 4))
    assert run_batch(str(folder / "jobs.json"), "--quiet") == 1
    assert capsys.readouterr().err == (
        "jaxnst: error: jobs.json job 2: too large\n"
        "jaxnst: error: jobs.json job 3: RuntimeError: odd\n"
        "jaxnst: error: jobs.json job 4: [Errno 28] full\n"
        "jaxnst: error: 1 of 4 painted, 3 failed: jobs 2, 3, 4\n"
    )
    errors = iter([RuntimeError("odd")] * 3)
    assert run_batch(str(folder / "jobs.json"), "--quiet", "--debug") == 1
    assert capsys.readouterr().err.count("Traceback (most recent call last)") == 3


def test_a_loss_that_is_not_finite_fails_and_keeps_the_last_good_picture(folder):
    bad = optax.stateless(
        lambda updates, _: jax.tree.map(lambda x: x * jnp.nan, updates)
    )
    job = {"content": folder / "content.png", "style": folder / "style.png"}
    first, second = jaxnst.batch([job | {"optimizer": bad}, job], "out", **FEW_SETTINGS)
    assert (first.status, second.status) == ("failed", "painted")
    assert first.error is not None
    assert re.match(
        r"stopped after \d steps \(not finite\); the last good", first.error
    )
    assert jaxnst.read_record(first.path)["result"]["stopped"] == "not finite"


def test_ctrl_c_keeps_what_is_finished(write, monkeypatch, interruptible, capsys):
    """The picture under way is given up, and the same command goes on."""
    show = ProgressCallback.__call__

    def interrupt(self, view):
        if "2 of 3" in self._title:
            os.kill(os.getpid(), signal.SIGINT)
        return show(self, view)

    path = write(GOOD, "other.png,style.png", "content.png,other.png")
    with monkeypatch.context() as patched:
        patched.setattr(ProgressCallback, "__call__", interrupt)
        assert run_batch(path) == 130
    printed = capsys.readouterr()
    assert "stopping after this step; what is finished is kept" in printed.err
    assert printed.err.splitlines()[-1] == (
        "jaxnst: interrupted; 1 of 3 painted; the same command again goes on from here"
    )
    assert [path.name for path in Path("out").iterdir()] == ["002_content_style.png"]
    assert run_batch(path) == 0
    assert capsys.readouterr().out.endswith("2 of 3 painted, 1 already there\n")


def test_a_reader_that_is_gone_does_not_stop_the_painting(write, folder):
    path = write(GOOD, "other.png,style.png")
    command = ["batch", path, "-o", "out", *FEW, *SHALLOW]
    with subprocess.Popen(
        [sys.executable, "-c", TINY_COMMAND, *command],
        env=with_tests_on_path(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 0, errors
    assert len(list(Path("out").iterdir())) == 2
