"""`jaxnst networks`: what there is, getting, finding, removing, converting."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import huggingface_hub.constants as constants
import numpy as np
import pytest
import safetensors.numpy
from conftest import TINY
from hub_server import HubServer
from test_hub import BODY, COMMIT, SPEC, TENSORS, at, house, point_to, server, spec_of

import jaxnst
import jaxnst.pretrained.cache as cache
import jaxnst.pretrained.hub as hub
import jaxnst.pretrained.inventory as inventory
import jaxnst.pretrained.loading as loading
import jaxnst.pretrained.registry as registry_module
from jaxnst.cli.main import main
from jaxnst.networks import CAFFE, TORCHVISION
from jaxnst.pretrained import OwnFile, load_network
from jaxnst.pretrained.loading import load_weights


__all__ = ["house", "server"]  # fixtures

OWN = spec_of(name="mine", source=OwnFile(advice="bake it"))


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """The registry, and two tiny networks besides."""
    known = MappingProxyType({**registry_module.SPECS, SPEC.name: SPEC, OWN.name: OWN})
    for module in (registry_module, inventory):
        monkeypatch.setattr(module, "SPECS", known)


def run(*arguments):
    return main(["networks", *map(str, arguments)])


def listed(capsys):
    assert run("--json") == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_the_list_says_all_there_is_to_know(capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    assert "vgg19  (20 MB, bundled)\n" in printed
    assert "vgg19.tv_in1k  (not on disk, 80 MB to download)\n" in printed
    assert "vgg16.tv_in1k  (not on disk, 59 MB to download)\n" in printed
    assert "resnet50.tv_in1k  (not on disk, 94 MB to download)\n" in printed
    assert "googlenet  (not on disk, needs a file of yours)\n" in printed
    for text in (
        "CC BY 4.0",
        "BSD-3-Clause",
        "arXiv:1512.03385",
        "relu5_1",
        "layer4.2",
    ):
        assert text in printed
    rows = listed(capsys)
    assert list(rows)[:5] == [
        "vgg19", "vgg19.tv_in1k", "vgg16.tv_in1k", "resnet50.tv_in1k", "googlenet"
    ]  # fmt: skip
    assert rows["vgg19"]["is_on_disk"]
    assert Path(rows["vgg19"]["file"]).stat().st_size == rows["vgg19"]["bytes"]
    row = rows["resnet50.tv_in1k"]
    assert row["architecture"] == "resnet50"
    assert row["repo"].startswith("timm/resnet50.tv_in1k@aa6c2d36")
    assert (row["is_on_disk"], row["file"], row["files"]) == (False, None, [])
    assert set(row["style_layers"]) <= set(row["layers"])


def test_listing_makes_nothing(tmp_path, capsys):
    run()
    assert list(tmp_path.iterdir()) == []


def test_get_path_rm(server, tmp_path, capsys):
    assert run("path", "tiny.tv") == 2
    assert (
        "not on disk. Get them: jaxnst networks get tiny.tv" in capsys.readouterr().err
    )
    assert run("get", "tiny.tv") == 0
    printed = capsys.readouterr()
    path = cache.kept_path(SPEC)
    assert printed.out == f"{path}  (0.1 MB)\n"
    assert printed.err == ""  # no terminal, no bar
    assert run("get", "tiny.tv", "--quiet") == 0  # it is there
    assert capsys.readouterr() == ("", "")
    assert len(server.requests) == 4
    assert run("path", "tiny.tv") == 0
    assert capsys.readouterr().out == f"{path}\n"
    row = listed(capsys)["tiny.tv"]
    assert row["is_on_disk"]
    assert (row["file"], row["bytes"]) == (str(path), path.stat().st_size)
    assert row["state"] == "0.1 MB, on disk"
    assert load_network("tiny.tv").architecture == TINY
    assert run("rm", "tiny.tv") == 0
    assert capsys.readouterr().out == f"removed {path}\n"
    assert not path.parent.parent.exists()
    assert run("rm", "tiny.tv") == 2
    assert "not on disk" in capsys.readouterr().err


def test_branches_are_asked_for_anew_and_commits_are_not(server, capsys):
    for revision, num_requests in (
        ("main", 4),
        ("main", 8),
        (COMMIT, 12),
        (COMMIT, 12),
    ):
        assert run("get", f"tiny.tv@{revision}", "-q") == 0
        assert len(server.requests) == num_requests
    main_path = cache.kept_path(at("main"))
    assert run("path", "tiny.tv@main") == 0
    assert capsys.readouterr().out == f"{main_path}\n"
    row = listed(capsys)["tiny.tv"]
    assert row["files"] == [str(cache.kept_path(SPEC)), str(main_path)]
    assert row["state"] == "0.2 MB, on disk, 2 revisions"
    load_network("tiny.tv@main")
    load_network("tiny.tv", revision="main")
    assert len(server.requests) == 12


def test_rm_takes_one_revision_or_all(server, capsys):
    for revision in (COMMIT, "main", "v1/beta"):
        run("get", f"tiny.tv@{revision}", "-q")
    assert run("rm", "tiny.tv@main") == 0
    assert capsys.readouterr().out == f"removed {cache.kept_path(at('main'))}\n"
    assert run("rm", "tiny.tv@main") == 2
    assert "'tiny.tv@main' are not on disk" in capsys.readouterr().err
    assert run("rm", "tiny.tv") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert cache.all_kept(SPEC) == []


def test_the_list_does_without_the_files_of_hashes(server, capsys):
    run("get", "tiny.tv", "-q")
    path = cache.kept_path(SPEC)
    path.with_name(f"{path.name}.sha256").unlink()
    assert listed(capsys)["tiny.tv"]["bytes"] == path.stat().st_size


REVISIONS = {
    "vgg19@main": "`revision` is 'main', but vgg19 has none to choose",
    "googlenet@main": "`revision` is 'main', but googlenet has none to choose",
    "tiny.tv@": "`revision` must be a commit, branch or tag, got ''",
    "tiny.tv@a b": "`revision` must be a commit, branch or tag, got 'a b'",
    "tiny.tw@main": "Did you mean 'tiny.tv'?",
}


@pytest.mark.parametrize("name", REVISIONS)
def test_revisions_that_cannot_be(name, files, capsys):
    paint = ["stylize", *map(str, files), "--network", name]
    for arguments in (["networks", "get", name], ["networks", "rm", name], paint):
        assert main(arguments) == 2
        printed = capsys.readouterr().err
        assert REVISIONS[name] in printed
        assert printed.count("\n") == 1


def test_get_mends_what_is_damaged(server, capsys):
    run("get", "tiny.tv", "-q")
    path = cache.kept_path(SPEC)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="damaged"):
        load_network("tiny.tv")
    assert run("get", "tiny.tv", "-q") == 0
    assert path.read_bytes() == whole
    assert len(server.requests) == 8


def test_get_from_a_file(tmp_path, capsys):
    file = tmp_path / "mine.safetensors"
    safetensors.numpy.save_file(TENSORS, file)
    assert run("get", "mine") == 2
    assert "'mine' are not on disk, and bake it" in capsys.readouterr().err
    assert run("get", "mine", "--from", file) == 0
    assert load_network("mine").architecture == TINY
    assert run("get", "mine") == 0  # it is there
    assert run("get", "tiny.tv", "--from", file) == 2
    assert "it is not the file of 'tiny.tv'" in capsys.readouterr().err
    file = tmp_path / "model.safetensors"
    file.write_bytes(BODY)
    assert run("get", "tiny.tv@main", "--from", file) == 2
    assert "not both" in capsys.readouterr().err
    assert run("get", "tiny.tv", "--from", file) == 0
    assert run("get", "tiny.tv", "--from", tmp_path / "none.safetensors") == 2
    assert "no file of weights" in capsys.readouterr().err


def test_bundled_weights(capsys):
    assert run("get", "vgg19") == 0
    assert run("path", "vgg19") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{lines[1]}  (20 MB)"
    assert run("get", "vgg19", "--from", lines[1]) == 2
    assert "are part of jaxnst, and taken from no file" in capsys.readouterr().err
    assert run("rm", "vgg19") == 2
    assert "are part of jaxnst, and stay" in capsys.readouterr().err


def test_unknown_names(capsys):
    for action in ("get", "path", "rm"):
        assert run(action, "vgg19.tv_in") == 2
        printed = capsys.readouterr().err
        assert "Did you mean 'vgg19.tv_in1k'? Known: vgg19, " in printed
        assert printed.count("\n") == 1


def test_wrong_usage_is_one_line(capsys):
    for arguments in (["get"], ["get", "vgg19", "--form", "x"], ["gte", "vgg19"]):
        with pytest.raises(SystemExit) as ended:
            run(*arguments)
        assert ended.value.code == 2
        printed = capsys.readouterr().err
        assert "(see jaxnst" in printed
        assert printed.endswith(" --help)\n")
        assert "|" not in printed
        assert printed.count("\n") == 1


def test_convert(tmp_path, capsys):
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    safetensors.numpy.save_file(TENSORS, source)
    assert run("convert", source, target, "--preprocessing", "caffe") == 0
    assert capsys.readouterr().out == f"{target}  (0.1 MB)\n"
    weights, _ = load_weights(target)
    original, _ = load_weights(source)
    assert (weights.preprocessing, original.preprocessing) == (CAFFE, TORCHVISION)
    for name, arrays in original.layers.items():
        for kind, array in arrays.items():
            np.testing.assert_array_equal(weights.layers[name][kind], array)
    tensors = safetensors.numpy.load_file(target)
    kinds = ("kernel", "bias")
    assert set(tensors) == {f"{n}.{kind}" for n in original.layers for kind in kinds}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in.safetensors",
        target.name,
    ]


def test_what_cannot_be_converted(tmp_path, capsys):
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    source.write_bytes(BODY)
    target.write_text("before")
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"nothing")
    (tmp_path / "file").write_text("in the way")
    cases = {
        (source, tmp_path / "out.npz"): "must end in .safetensors",
        (source, source): "is the file to convert",
        (
            bad,
            target,
        ): "bad.npz cannot be used: its name must end in one of .safetensors",
        (tmp_path / "none.h5", target): "no file of weights",
        (source, tmp_path / "none" / "out.safetensors"): "no such folder",
        (source, tmp_path / "file" / "out.safetensors"): "no such folder",
    }
    for arguments, message in cases.items():
        assert run("convert", *arguments) == 2
        printed = capsys.readouterr().err
        assert message in printed
        assert printed.count("\n") == 1
    assert target.read_text() == "before"
    assert source.read_bytes() == BODY


FEW = ["--size", "48", "--num-steps", "2", "--coarse-steps", "1", "--quiet"]


def count_calls(monkeypatch, module, name):
    """Return a list that grows with every call of a function."""
    calls = []
    function = getattr(module, name)

    def counted(*args, **options):
        calls.append(args)
        return function(*args, **options)

    monkeypatch.setattr(module, name, counted)
    return calls


def test_painting_with_a_file_of_weights(files, tmp_path, capsys, monkeypatch):
    hashed = count_calls(monkeypatch, loading, "file_sha256")
    content, style = map(str, files)
    weights, output = tmp_path / "mine.safetensors", tmp_path / "out.png"
    safetensors.numpy.save_file(TENSORS, weights)
    paint = ["stylize", content, style, "-o", str(output), *FEW]
    assert main([*paint, "--network", str(weights)]) == 0
    assert len(hashed) == 1
    record = jaxnst.read_record(output)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["weights"] == {"name": "mine.safetensors", "sha256": digest}
    assert str(tmp_path) not in json.dumps(record)
    # The same from Python: it is that network which paints.
    own = load_network(weights)
    again = jaxnst.stylize(
        content,
        style,
        network=own,
        size=48,
        num_steps=2,
        coarse_steps=1,
        progress=False,
    )
    again.save(tmp_path / "again.png")
    pictures = [
        jaxnst.load_picture(output),
        jaxnst.load_picture(tmp_path / "again.png"),
    ]
    np.testing.assert_array_equal(pictures[0].rgb, pictures[1].rgb)
    assert again.record["weights"] is None
    # The record names the file, and is repeated with it.
    assert main([*paint, "--like", str(output)]) == 2
    printed = capsys.readouterr().err
    assert f"a file 'mine.safetensors' of sha256 '{digest}'; give that file" in printed
    like = ["stylize", content, style, "-o", str(tmp_path / "like.png"), "--quiet"]
    assert main([*like, "--like", str(output), "--network", str(weights)]) == 0
    assert jaxnst.read_record(tmp_path / "like.png")["weights"] == record["weights"]


def test_painting_with_weights_from_the_hub(
    server, files, tmp_path, capsys, monkeypatch
):
    read = count_calls(monkeypatch, hub, "check_kept")
    paint = ["stylize", *map(str, files), "-o", str(tmp_path / "out.png"), *FEW]
    assert main([*paint, "--network", SPEC.name]) == 0
    assert capsys.readouterr() == ("", "")
    record = jaxnst.read_record(tmp_path / "out.png")
    digest = hashlib.sha256(cache.kept_path(SPEC).read_bytes()).hexdigest()
    assert record["weights"] == {"name": "tiny.tv", "sha256": digest}
    assert record["settings"]["network"] == "tiny.tv"
    assert len(read) == 1
    assert main([*paint, "--network", "tiny.tv@main"]) == 0
    record = jaxnst.read_record(tmp_path / "out.png")
    path = cache.kept_path(at("main"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["weights"] == {"name": "tiny.tv@main", "sha256": digest}
    assert record["settings"]["network"] == "tiny.tv@main"
    # A stranger's picture must not choose what is downloaded.
    like = [*paint, "--like", str(tmp_path / "out.png")]
    assert main(like) == 2
    assert "not the revision that jaxnst knows" in capsys.readouterr().err
    assert main([*like, "--network", "tiny.tv@main"]) == 0
    assert len(server.requests) == 8


def test_networks_that_cannot_paint(files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    safetensors.numpy.save_file({"a": np.zeros(3, np.float32)}, "other.safetensors")
    cases = {
        "vgg91": "`network` is 'vgg91'. Did you mean 'vgg19'? Known: vgg19, ",
        "none.safetensors": "no such file: none.safetensors",
        "other.safetensors": "cannot be used: the tensors are not those of a known",
        "googlenet": "googlenet' are not on disk, and the Hub is not known to have",
    }
    for network, message in cases.items():
        assert main(["stylize", *map(str, files), *FEW, "--network", network]) == 2
        printed = capsys.readouterr().err
        assert message in printed
        assert printed.count("\n") == 1


def test_errors_of_the_hub_are_one_line(monkeypatch, capsys):
    point_to("http://127.0.0.1:9", monkeypatch)
    assert run("get", "tiny.tv") == 2
    printed = capsys.readouterr().err
    assert printed.startswith("jaxnst: error: the weights of 'tiny.tv' are not on disk")
    assert printed.count("\n") == 1
    with pytest.raises(ConnectionError):
        run("get", "--debug", "tiny.tv")
    with pytest.raises(ConnectionError):
        run("--debug", "get", "tiny.tv")


def test_environment_of_huggingface_hub(tmp_path):
    """With nothing patched: its own variables apply."""
    command = [sys.executable, "-m", "jaxnst", "networks", "get", "vgg16.tv_in1k"]
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }

    def attempt(**variables):
        done = subprocess.run(
            command, env=environment | variables, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        return done.stderr

    with HubServer(BODY, commit=COMMIT) as served:
        said = attempt(HF_HUB_OFFLINE="1", HF_ENDPOINT=served.url)
        assert "is told to stay offline" in said
        assert "'vgg19' comes with jaxnst" in said
        assert served.requests == []
        said = attempt(HF_ENDPOINT=served.url, HF_TOKEN="hf_secret")
        assert "it is not the file of 'vgg16.tv_in1k'" in said
        assert served.requests[0].token == "Bearer hf_secret"
    assert "hf_secret" not in said


def test_kept_folder_is_that_of_huggingface_hub(tmp_path, server):
    import huggingface_hub

    run("get", "tiny.tv", "-q")
    folder = huggingface_hub.cached_assets_path(
        "jaxnst", "someone/tiny.tv", COMMIT, assets_dir=constants.HF_ASSETS_CACHE
    )
    assert cache.kept_path(SPEC).parent == folder
