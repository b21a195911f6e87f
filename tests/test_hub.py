"""Weights from the Hub: huggingface_hub's client against a server on this machine."""

import hashlib
import json
import resource
import shutil
import signal
import sys
import threading
import time

import huggingface_hub.constants as constants
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from conftest import TINY
from hub_server import HubServer, fail, part, whole
from huggingface_hub.utils import close_session

import jaxnst
import jaxnst.pretrained.cache as cache
import jaxnst.pretrained.hub as hub
import jaxnst.pretrained.layouts as layouts
from jaxnst.networks import TORCHVISION
from jaxnst.pretrained import HubFile, OwnFile, WeightSpec
from jaxnst.pretrained.registry import at_revision


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def make_tensors():
    rng = np.random.default_rng(0)
    # Of a size (He et al. 2015) with which a network can paint.
    return {
        key: (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:] or 2))).astype(
            np.float32
        )
        for key, shape in layouts.expected_shapes(TINY, "torchvision").items()
    }


TENSORS = make_tensors()
# Sorted by name, as on the Hub: the head lies behind all that is needed.
HEAD = {"head.fc.weight": np.zeros((5, 150_000), np.float32)}
BODY = safetensors.numpy.save({**TENSORS, **HEAD})
NEEDED = sum(tensor.nbytes for tensor in TENSORS.values())
# The first look of huggingface_hub at a file, and the length of the header.
FIRST_LOOK = 100_001 + 8


def spec_of(body=BODY, **changes):
    settings = {
        "name": "tiny.tv",
        "architecture": TINY,
        "preprocessing": TORCHVISION,
        "source": HubFile(
            repo="someone/tiny.tv",
            revision=COMMIT,
            filename="model.safetensors",
            sha256=hashlib.sha256(body).hexdigest(),
        ),
        "license": "none",
        "origin": "random numbers",
        "paper": "none",
    }
    return WeightSpec(**(settings | changes))


SPEC = spec_of()


@pytest.fixture(autouse=True)
def house(monkeypatch, tmp_path):
    """A home of its own, no proxies, no token."""
    monkeypatch.setattr(layouts, "ARCHITECTURES", (*layouts.ARCHITECTURES, TINY))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    close_session()
    yield
    close_session()


def point_to(url, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def server(monkeypatch):
    with HubServer(BODY, commit=COMMIT) as served:
        point_to(served.url, monkeypatch)
        yield served


def load(spec=SPEC, **options):
    return hub.load_kept(spec, progress=False, **options)


def at(revision, spec=SPEC):
    return at_revision(spec, revision)


def check(weights):
    expected = TENSORS["features.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(weights.layers["conv1_1"]["kernel"], expected)
    last = TENSORS[list(TENSORS)[-1]]
    np.testing.assert_array_equal(weights.layers["conv5_1"]["bias"], last)


def files_left(tmp_path):
    left = [path for path in (tmp_path / "assets").rglob("*") if path.is_file()]
    return [path for path in left if path.suffix != ".lock"]


def serve(server, tensors):
    """Let the server have another file; return its spec."""
    body = tensors if isinstance(tensors, bytes) else safetensors.numpy.save(tensors)
    server.body, server.sha256 = body, hashlib.sha256(body).hexdigest()
    return spec_of(body)


def test_only_what_is_needed_travels(server, tmp_path):
    weights, used = load()
    check(weights)
    assert weights.preprocessing == TORCHVISION
    place = f"/someone/tiny.tv/resolve/{COMMIT}/model.safetensors"
    assert {asked.path for asked in server.requests} == {place}
    # What the file is; the first look; the header's length; one run of neighbors.
    assert [asked.method for asked in server.requests] == ["HEAD", "GET", "GET", "GET"]
    assert server.num_sent == NEEDED + FIRST_LOOK < len(BODY) / 4
    path = cache.kept_path(SPEC)
    folder = tmp_path / f"assets/jaxnst/someone--tiny.tv/{COMMIT}"
    assert path == folder / "tiny.safetensors"
    data = path.read_bytes()
    assert len(data) < NEEDED + 10_000
    digest = hashlib.sha256(data).hexdigest()
    assert used == ("tiny.tv", digest)
    hash_path = folder / "tiny.safetensors.sha256"
    assert hash_path.read_text() == f"{digest}  tiny.safetensors\n"
    assert sorted(folder.iterdir()) == [path, hash_path]
    with safetensors.safe_open(path, "numpy") as file:
        described = file.metadata()
    assert described["source"] == "someone/tiny.tv/model.safetensors"
    assert described["source_sha256"] == hashlib.sha256(BODY).hexdigest()
    assert (described["commit"], described["revision"]) == (COMMIT, COMMIT)
    assert (described["architecture"], described["license"]) == ("tiny", "none")
    # The second time nothing is asked; a second download makes the same file.
    check(load()[0])
    assert len(server.requests) == 4
    hub.fetch(SPEC, renew=True, progress=False)
    assert len(server.requests) == 8
    assert path.read_bytes() == data


def test_order_in_the_file_does_not_matter(server):
    """Here needed tensors lie around one that is not, behind a long header."""
    names = list(reversed(TENSORS))
    names.insert(10, "head.fc.weight")
    tensors = {**TENSORS, **HEAD}
    header, end = {}, 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        shape = tensors[name].shape
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(dict(reversed(header.items()))).encode() + b" " * 110_000
    data = b"".join(tensors[name].tobytes() for name in names)
    check(load(serve(server, len(text).to_bytes(8, "little") + text + data))[0])
    assert server.num_sent == NEEDED + FIRST_LOOK + len(text)
    assert len(server.requests) == 6  # the rest of the header; before, behind the head


def test_half_precision(server):
    spec = serve(server, {k: x.astype(ml_dtypes.bfloat16) for k, x in TENSORS.items()})
    kernel = load(spec)[0].layers["conv1_1"]["kernel"]
    assert kernel.dtype == np.float32
    expected = TENSORS["features.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(kernel, expected, rtol=1e-2)


def test_trouble_that_passes(server, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.answers = [part, part, fail(503), part, fail(503), fail(503), part]
    check(load()[0])
    assert len(pauses) >= 3


ERRORS = {
    "401": (fail(401, X_Error_Code="RepoNotFound"), "no repository someone/tiny.tv"),
    "403": (fail(403), "give a `token`"),
    "gated": (fail(403, X_Error_Code="GatedRepo"), "wants its terms accepted"),
    "no repository": (fail(404, X_Error_Code="RepoNotFound"), "no repository"),
    "no revision": (fail(404, X_Error_Code="RevisionNotFound"), "no revision '0123"),
    "no file": (fail(404, X_Error_Code="EntryNotFound"), "no file model.safetensors"),
    "400": (fail(400), "status 400"),
    "500": (fail(500), "status 500"),
    "whole": (whole, "asked for 8 bytes of the file"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_of_servers_are_one_line(name, server, tmp_path):
    server.answer, message = ERRORS[name]
    with pytest.raises(OSError, match=r"'tiny\.tv' are not on disk and cannot") as got:
        load()
    text = str(got.value)
    assert message in text
    assert "\n" not in text
    assert "'vgg19' comes with jaxnst" in text
    assert len(server.requests) == (3 if name == "whole" else 1)
    assert files_left(tmp_path) == []


OTHER_FILES = {
    "missing features.0.bias": lambda x: x.pop("features.0.bias"),
    "not finite features.0.bias": lambda x: x["features.0.bias"].fill(np.nan),
    "features.0.bias is I32, expected floats": lambda x: x.update(
        {"features.0.bias": np.arange(4, dtype=np.int32)}
    ),
    "not those of a known network": lambda x: x.clear(),
}


@pytest.mark.parametrize("message", OTHER_FILES)
def test_files_of_other_networks(message, server, tmp_path):
    tensors = {name: x.copy() for name, x in TENSORS.items()}
    OTHER_FILES[message](tensors)
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be used") as got:
        load(serve(server, tensors))
    assert message in str(got.value)
    assert files_left(tmp_path) == []


def test_files_that_are_not_the_right_ones(server, tmp_path):
    with pytest.raises(ValueError, match=r"not the file of 'tiny\.tv'.*has sha256"):
        load(spec_of(b"another"))
    server.commit = COMMIT[::-1]
    with pytest.raises(ValueError, match=rf"is of commit {server.commit}, not 0123"):
        load()
    server.commit = COMMIT
    for body in (BODY[:-1], BODY + b"\0"):
        with pytest.raises(ValueError, match=r"damaged: it has .* its header needs"):
            load(serve(server, body))
    for body in (b"\xff" * 90, b"<!DOCTYPE html></html>", b"", b"\x02" + b"\0" * 7):
        with pytest.raises(ValueError, match="it is not a safetensors file"):
            load(serve(server, body))
    # The last tensor is said to begin with the first one's bytes.
    length = int.from_bytes(BODY[:8], "little")
    header = json.loads(BODY[8 : 8 + length])
    needed = [name for name in header if name in TENSORS]
    last = max(needed, key=lambda name: header[name]["data_offsets"])
    header[last]["data_offsets"][0] = 0
    text = json.dumps(header).encode()
    body = len(text).to_bytes(8, "little") + text + BODY[8 + length :]
    with pytest.raises(ValueError, match=rf"{last} is at 0 to \d+, but has \d+ bytes"):
        load(serve(server, body))
    assert files_left(tmp_path) == []


def test_tokens_and_revisions(server, tmp_path):
    weights, used = load(at("v1/beta"), token="hf_secret")
    check(weights)
    assert used.name == "tiny.tv@v1/beta"
    # A branch is looked up once; what follows is of one commit.
    paths = [asked.path.removeprefix("/someone/tiny.tv/") for asked in server.requests]
    file = "model.safetensors"
    assert paths == [f"resolve/v1%2Fbeta/{file}"] + [f"resolve/{COMMIT}/{file}"] * 3
    assert {asked.token for asked in server.requests} == {"Bearer hf_secret"}
    path = cache.kept_path(at("v1/beta"))
    assert path.parent.name == "v1--beta"
    assert b"hf_secret" not in path.read_bytes()
    assert cache.all_kept(SPEC) == [path]
    check(load(token=False)[0])
    assert server.requests[-1].token is None
    assert len(cache.all_kept(SPEC)) == 2
    assert at(COMMIT) is SPEC
    with pytest.raises(ValueError, match=r"tiny\.tv@main names one already"):
        at("other", at("main"))


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "connection"])
def test_being_offline_is_said_at_once(name, server, monkeypatch, tmp_path):
    if name == "connection":
        point_to("http://127.0.0.1:9", monkeypatch)  # nobody listens there
    else:
        monkeypatch.setattr(constants, name, True)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    with pytest.raises(ConnectionError, match=r"'tiny\.tv' are not on disk") as caught:
        load()
    text = str(caught.value)
    assert "'vgg19' comes with jaxnst and needs no download" in text
    assert (name if name != "connection" else "no connection") in text
    assert "\n" not in text
    assert server.requests == []
    assert files_left(tmp_path) == []


def test_offline_works_with_weights_on_disk(server, monkeypatch):
    load()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    check(load()[0])
    assert len(server.requests) == 4


@pytest.fixture
def full_disk():
    """No file may grow beyond 20 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_renewal_that_fails_leaves_what_was_there(server, request):
    load()
    server.answer = fail(404)
    with pytest.raises(OSError, match=r"on disk, but cannot be downloaded again .*404"):
        hub.fetch(SPEC, renew=True, progress=False)
    server.answer = part
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match="cannot be kept"):
        hub.fetch(at(COMMIT), renew=True, progress=False)
    check(load()[0])
    assert len(list(cache.kept_path(SPEC).parent.iterdir())) == 2


def test_a_full_disk(server, monkeypatch, tmp_path, full_disk):
    with pytest.raises(OSError, match=r"needs \d MB: .*Make room"):
        load()
    assert files_left(tmp_path) == []
    server.requests.clear()
    usage = shutil.disk_usage(tmp_path)._replace(free=NEEDED - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"needs \d MB: No space left"):
        load()
    assert server.requests == []  # found before anything is downloaded


@pytest.mark.parametrize(
    "place", ["assets", f"assets/jaxnst/someone--tiny.tv/{COMMIT}"]
)
def test_folders_that_cannot_be_written(place, server, tmp_path):
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    with pytest.raises(OSError, match=r"cannot be kept in .*set HF_HOME") as caught:
        load()
    assert "\n" not in str(caught.value)
    assert server.requests == []


def test_whole_files_in_huggingface_hub_s_cache_are_used(server, tmp_path):
    folder = tmp_path / "hub/models--someone--tiny.tv/snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(BODY)
    check(load()[0])
    assert server.requests == []


def test_damage_on_disk_is_found(server):
    load()
    path = cache.kept_path(SPEC)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged.*jaxnst networks get tiny\.tv"):
        load()
    path.with_name(f"{path.name}.sha256").unlink()
    with pytest.raises(ValueError, match="damaged"):
        load()


def test_interrupted_downloads_leave_nothing(server, tmp_path, interruptible):
    main_thread = threading.get_ident()

    def interrupt(request):
        signal.pthread_kill(main_thread, signal.SIGINT)

    server.answers = [part, part, part, interrupt]
    with pytest.raises(KeyboardInterrupt):
        load()
    assert files_left(tmp_path) == []
    # The remains of a killed process are removed, too.
    remains = cache.kept_path(SPEC).parent / ".jaxnst-1-1.part"
    remains.write_bytes(b"half")
    check(load()[0])
    assert not remains.exists()


def test_own_files_are_kept_under_a_name(tmp_path):
    source = tmp_path / "model.safetensors"
    source.write_bytes(BODY)
    path = hub.keep_own(SPEC, source)
    assert path == cache.kept_path(SPEC)
    check(load()[0])
    source.write_bytes(safetensors.numpy.save(TENSORS))
    with pytest.raises(ValueError, match=r"not the file of 'tiny\.tv'"):
        hub.keep_own(SPEC, source)
    own = spec_of(name="own", source=OwnFile(advice="bake it"))
    with pytest.raises(FileNotFoundError, match="'own' are not on disk, and bake it"):
        load(own)
    hub.keep_own(own, source)
    check(load(own)[0])
    assert cache.all_kept(own) == [cache.kept_path(own)]
    assert cache.all_kept(SPEC) == [path]
    for spec in (own, SPEC):
        cache.remove_kept(cache.kept_path(spec))
        assert cache.all_kept(spec) == []
    assert files_left(tmp_path) == []


def test_several_threads_download_once(server):
    threads = [threading.Thread(target=load) for _ in range(4)]
    with cache.lock_kept(cache.kept_path(SPEC)):
        for thread in threads:
            thread.start()
        threads[0].join(0.2)
        assert all(thread.is_alive() for thread in threads)
        assert server.requests == []
    for thread in threads:
        thread.join()
    assert len(server.requests) == 4
    check(load()[0])


@pytest.mark.parametrize("progress", [False, True])
def test_progress_is_shown_on_a_terminal(progress, server, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    hub.fetch(SPEC, progress=progress)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("tiny.tv: 100%" in printed.err) == progress


def test_the_registry_is_what_the_facts_say():
    for name, size in (("vgg19", 80), ("vgg16", 59), ("resnet50", 94)):
        spec = jaxnst.pretrained.get_spec(f"{name}.tv_in1k")
        assert isinstance(spec.source, HubFile)
        assert hub.is_commit(spec.source.revision)
        assert len(spec.source.sha256 or "") == 64
        assert round(layouts.expected_bytes(spec.architecture) / 1e6) == size
        assert spec.content_layers
        assert set(spec.style_layers) <= set(spec.architecture.layer_names)
