"""Records from elsewhere: every field wrong in every way, and nothing is followed."""

import copy
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import load_tiny_weights, picture
from PIL import Image, PngImagePlugin

import jaxnst
from jaxnst.cli.main import main
from jaxnst.config import PRESETS
from jaxnst.images.metadata import check_record
from jaxnst.pretrained import SPECS, hub
from jaxnst.transfer import setup
from jaxnst.transfer.result import settings_of
from jaxnst.transfer.setup import settle_config


DEEP: list = []
for _ in range(500):
    DEEP = [DEEP]
PAGE = '"><meta http-equiv="refresh" content="0;url=https://example.org">'
WRONG = {
    "huge": 10**40,
    "below": -(10**15),
    "nan": math.nan,
    "deep": DEEP,
    "path": "/dev/zero",
    "page": PAGE,
    "escapes": "\x1b[2J\x1b]0;title\x07",
    "long": "a" * 5000,
    "named": {"\x1b[2J": {"\n": [None]}},
    "many": [0] * 20_000,
    "nothing": None,
}


@pytest.fixture(scope="module")
def record():
    """The record of a picture that was really painted, with all that it may hold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "load_weights", load_tiny_weights)
        result = jaxnst.stylize(
            picture(seed=1),
            picture(seed=2),
            size=48,
            min_size=0,
            num_steps=2,
            strength=0.5,
            finish={"grain": 0.1},
            style_blend=[[1.0], [2.0]],
            progress=False,
        )
    made = json.loads(json.dumps(dict(result.record)))
    made["trace"] = {"step": [1, 2], "size": [48, 48], "total": [1.5, None]}
    made["recoveries"] = [
        {"size": 48, "step": 1, "reason": "the loss rose", "action": "slower"}
    ]
    made["metrics"] = {"lpips": 0.1}
    made["result"]["moved"] = [1, 2]
    return made


def places(value, place=()):
    """Yield the path of every field of a record."""
    if place:
        yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*place, key))


def changed(record, place, value):
    """Return a record with another value in one place."""
    changed = copy.deepcopy(record)
    *way, last = place
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = value
    return changed


@pytest.fixture
def nothing_is_followed(monkeypatch):
    """Fail if a file is opened or a download is begun."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"opened {args}")

    for module, name in (("builtins", "open"), ("io", "open"), ("os", "open")):
        monkeypatch.setattr(f"{module}.{name}", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(hub, "hf_hub_download", refuse, raising=False)


def test_a_real_record_is_right(record):
    assert check_record(record) == record
    settings = settings_of(record)
    assert settle_config(**settings).to_dict()["size"] == 48


def test_what_is_given_takes_the_place_of_what_does_not_go_with_it(record):
    tiled = changed(record, ("settings", "tile"), "xy")
    tiled = changed(tiled, ("settings", "padding"), "circular")
    assert settings_of(tiled)["padding"] == "circular"
    for tile, kind in ((None, "reflect"), ("x", "circular_x")):
        settings = settings_of(tiled, ["tile"])
        settings["tile"] = tile
        assert settle_config(**settings).padding == kind
    scaled = changed(record, ("settings", "style_scale"), 0.5)
    settings = settings_of(scaled, ["style_size"])
    settings["style_size"] = 40
    assert settle_config(**settings).style_scale == 1
    assert record["settings"]["strength"] == 0.5
    for name in ("style_weight", "content_weight"):
        assert "strength" not in settings_of(record, [name])
    bounded = changed(record, ("settings", "optimizer"), "custom")
    bounded = changed(bounded, ("settings", "learning_rate"), 1.0)
    settings = settings_of(bounded, ["optimizer"])
    assert not settings.keys() & {"optimizer", "learning_rate", "decay"}
    same = settings_of(record, {"optimizer": record["settings"]["optimizer"]})
    assert same["learning_rate"] == record["settings"]["learning_rate"]


def test_the_usual_steps_are_those_of_the_size_that_is_given(record):
    """A picture of 48 px has more, as it has no smaller size before it."""
    usual = PRESETS["default"]
    alone = changed(record, ("settings", "num_steps"), usual.coarse_steps)
    alone = changed(alone, ("settings", "coarse_steps"), usual.coarse_steps)
    alone = changed(alone, ("settings", "min_size"), usual.min_size)
    assert settings_of(alone)["num_steps"] == usual.coarse_steps
    settings = settings_of(alone, ["size"])
    settings["size"] = 512
    assert settle_config(**settings).num_steps == usual.num_steps
    own = changed(alone, ("settings", "num_steps"), 7)
    assert settings_of(own, ["size"])["num_steps"] == 7


def test_a_strength_has_a_value_for_each_region(record):
    regional = changed(record, ("result", "strength", "asked"), [0.5, 0.4])
    check_record(changed(regional, ("result", "regions"), 2))
    with pytest.raises(ValueError, match="must have a value for each region"):
        check_record(changed(regional, ("result", "regions"), 3))


def test_every_field_may_be_wrong_in_every_way(record, nothing_is_followed):
    """It is refused in one clear line that shows nothing as it is, or is harmless."""
    count = 0
    for place in places(record):
        for value in WRONG.values():
            count += 1
            try:
                found = check_record(changed(record, place, value))
                settle_config(**settings_of(found))
            except (ValueError, TypeError) as error:
                text = str(error)
                assert text.isprintable(), text
                assert len(text) < 700, text
                assert "record" in text or text[0] == "`" or place[-1] == "kind", text
    assert count > 1000


@pytest.mark.parametrize("name", ["step", "size"])
def test_only_losses_of_a_trace_may_be_unknown(record, name):
    bad = changed(record, ("trace", name, 1), None)
    with pytest.raises(ValueError, match=rf"`trace.{name}\[1\]` must be a whole"):
        check_record(bad)


@pytest.mark.parametrize("name", ["height", "width", "steps"])
def test_a_result_has_its_size(record, name):
    bad = copy.deepcopy(record)
    del bad["result"][name]
    with pytest.raises(ValueError, match=f"the record's `result` has no {name}"):
        check_record(bad)


@pytest.mark.parametrize("value", ["wide", 0, 65536, 12.5, PAGE, None, True])
def test_sides_are_whole_numbers(record, value):
    with pytest.raises(
        ValueError, match=r"the record's `result.width` must be a whole"
    ):
        check_record(changed(record, ("result", "width"), value))


def test_unknown_fields_are_kept_within_bounds(record):
    later = {**record, "later": {"a": [1, "b", None, True, {"c": 2.5}]}}
    assert check_record(later) == later
    with pytest.raises(ValueError, match=r"`later.*` is nested too deeply"):
        check_record({**record, "later": DEEP})


def save(path, text):
    """Write a picture whose record is this text."""
    info = PngImagePlugin.PngInfo()
    info.add_text("jaxnst", text)
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(path, pnginfo=info)
    return path


@pytest.mark.parametrize(
    "text",
    [
        '{"jaxnst":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"jaxnst":{"a":' + "9" * 5000 + "}}",
        '{"jaxnst":{"a":"' + "a" * 2_100_000 + '"}}',
    ],
    ids=["deep", "number", "long"],
)
def test_bombs_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match="holds no jaxnst record"):
        jaxnst.read_record(save(tmp_path / "a.png", text))


def test_no_large_picture_is_decoded_for_its_record(record, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    decoded = "all of it was decoded"
    monkeypatch.setattr(
        PngImagePlugin.PngImageFile, "load", lambda *_: pytest.fail(decoded)
    )
    path = save(tmp_path / "a.png", json.dumps({"jaxnst": record}))
    assert jaxnst.read_record(path) == record
    with pytest.raises(ValueError, match="holds no jaxnst record"):
        jaxnst.read_record(save(path, ""))


@pytest.mark.parametrize("command", ["stylize", "show"])
def test_the_command_says_which_field(record, files, tmp_path, capsys, command):
    bad = changed(record, ("result", "width"), PAGE)
    path = save(tmp_path / "a.png", json.dumps({"jaxnst": bad}))
    arguments = [str(path)]
    if command == "stylize":
        output = str(tmp_path / "b.png")
        arguments = [*map(str, files), "-o", output, "--like", str(path)]
    assert main([command, *arguments]) == 2
    printed = capsys.readouterr().err
    assert "the record's `result.width` must be a whole number from 1 to" in printed
    assert printed.count("\n") == 1


def test_no_picture_that_a_record_names_is_opened(record, files, tmp_path, capsys):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)  # whoever opens it waits forever
    for name in ("strength", "init", "network"):
        bad = changed(record, ("settings", name), str(pipe))
        path = save(tmp_path / "a.png", json.dumps({"jaxnst": bad}))
        paint = ["stylize", *map(str, files), "-o", str(tmp_path / "b.png")]
        assert main([*paint, "--like", str(path)]) == 2
        printed = capsys.readouterr().err
        assert f"the record's `{name}`" in printed
        if name == "strength":
            assert "was a picture" in printed
            assert "give it with --strength" in printed


def test_only_the_registry_s_revision_is_used(record):
    name = "vgg19.tv_in1k"
    own = getattr(SPECS[name].source, "revision", "")
    found = settings_of(changed(record, ("settings", "network"), f"{name}@{own}"))
    assert found["network"] == f"{name}@{own}"
    for revision in ("refs/pr/1", "main", own[:7]):
        bad = changed(record, ("settings", "network"), f"{name}@{revision}")
        with pytest.raises(ValueError, match="not the revision that jaxnst knows"):
            settings_of(bad)
