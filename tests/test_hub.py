"""Weights from the Hub: the real client against a server on this machine."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import huggingface_hub.constants as constants
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from conftest import TINY
from hub_server import HubServer, Request, fail, part, whole
from huggingface_hub.utils import close_session

import jaxnst
import jaxnst.pretrained.hub as hub
import jaxnst.pretrained.keys as keys
import jaxnst.pretrained.layouts as layouts
import jaxnst.pretrained.ranges as ranges
import jaxnst.pretrained.store as store
from jaxnst.networks import TORCHVISION
from jaxnst.pretrained import HubFile, OwnFile, WeightSpec
from jaxnst.pretrained.ranges import RemoteFile
from jaxnst.pretrained.specs import at_revision


COMMIT = "0123456789abcdef0123456789abcdef01234567"
HEAD_BYTES = 3_000_000


def make_tensors():
    rng = np.random.default_rng(0)
    # Of a size (He et al. 2015) with which a network can paint.
    return {
        key: (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:] or 2))).astype(
            np.float32
        )
        for key, shape in keys.expected_shapes(TINY, "timm").items()
    }


TENSORS = make_tensors()
# Sorted by name, as on the Hub: the head lies behind all that is needed.
HEAD = {"head.fc.weight": np.zeros((5, HEAD_BYTES // 20), np.float32)}
BODY = safetensors.numpy.save({**TENSORS, **HEAD})
NEEDED = sum(tensor.nbytes for tensor in TENSORS.values())


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
assert isinstance(SPEC.source, HubFile)
SOURCE: HubFile = SPEC.source


@pytest.fixture(autouse=True)
def house(monkeypatch, tmp_path):
    """A home of its own, no proxies, no token, no pauses; returns the pauses."""
    monkeypatch.setattr(layouts, "ARCHITECTURES", (*layouts.ARCHITECTURES, TINY))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    pauses = []
    monkeypatch.setattr(ranges.time, "sleep", pauses.append)
    close_session()
    yield pauses
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
    last = TENSORS[keys.wanted_keys(TINY, "timm")[-1]]
    np.testing.assert_array_equal(weights.layers["conv5_1"]["bias"], last)


def nothing_is_left(tmp_path):
    left = [path for path in (tmp_path / "assets").rglob("*") if path.is_file()]
    return [path for path in left if path.name != "lock"] == []


def test_only_what_is_needed_travels(server, tmp_path):
    weights, used = load()
    check(weights)
    assert weights.preprocessing == TORCHVISION
    paths = {path for path, _, _ in server.requests}
    assert paths == {f"/someone/tiny.tv/resolve/{COMMIT}/model.safetensors"}
    # The start, with the header, and one run of neighbors.
    assert len(server.requests) == 2
    assert NEEDED <= server.num_sent <= NEEDED + 65_536 < len(BODY) / 5
    path = store.kept_path(SPEC)
    assert (
        path == tmp_path / f"assets/jaxnst/someone--tiny.tv/{COMMIT}/tiny.safetensors"
    )
    data = path.read_bytes()
    assert len(data) < NEEDED + 10_000
    digest = hashlib.sha256(data).hexdigest()
    assert used == ("tiny.tv", digest)
    assert path.with_name("tiny.safetensors.sha256").read_text() == (
        f"{digest}  tiny.safetensors\n"
    )
    assert sorted(x.name for x in path.parent.iterdir()) == [
        "tiny.safetensors",
        "tiny.safetensors.sha256",
    ]
    with safetensors.safe_open(path, "numpy") as file:
        described = file.metadata()
    assert described["source"] == "someone/tiny.tv/model.safetensors"
    assert described["source_sha256"] == SOURCE.sha256
    assert (described["commit"], described["revision"]) == (COMMIT, COMMIT)
    assert (described["architecture"], described["license"]) == ("tiny", "none")
    # The second time nothing is asked; a second download makes the same file.
    check(load()[0])
    assert len(server.requests) == 2
    hub.fetch(SPEC, renew=True, progress=False)
    assert len(server.requests) == 4
    assert path.read_bytes() == data


def test_order_in_the_file_is_of_no_matter(server):
    """Older files have any order; here what is needed lies around what is not."""
    names = list(reversed(TENSORS))
    names.insert(10, "head.fc.weight")
    tensors = {**TENSORS, **HEAD}
    header, reached = {}, 0
    for name in names:
        end = reached + tensors[name].nbytes
        header[name] = {
            "dtype": "F32",
            "shape": tensors[name].shape,
            "data_offsets": [reached, end],
        }
        reached = end
    shuffled = dict(reversed(header.items()))
    text = json.dumps(shuffled).encode() + b" " * 70_000  # longer than the first look
    body = len(text).to_bytes(8, "little") + text
    server.body = body + b"".join(tensors[name].tobytes() for name in names)
    server.sha256 = hashlib.sha256(server.body).hexdigest()
    weights, _ = load(spec_of(server.body))
    check(weights)
    assert server.num_sent < len(server.body) / 5
    asked = [asked for _, asked, _ in server.requests]
    assert asked[0] == "bytes=0-65535"
    assert len(asked) == 4  # start, rest of the header, before and behind the head


def test_servers_that_ignore_ranges(server):
    server.answer = whole
    weights, _ = load()
    check(weights)
    assert len(server.requests) == 2


def test_how_much_will_travel_is_known(server):
    spans = [(2_000, 3_000), (100, 600), (2_000_000, 2_000_100)]
    for answer, expected in ((part, 3_000), (whole, 2_000_100)):
        server.answer, server.num_sent = answer, 0
        remote = RemoteFile("a/b", "c", revision=COMMIT)
        remote.read_start(10)
        assert remote.num_bytes(spans) == expected
        parts = remote.read_spans(spans)
        assert parts == [server.body[start:end] for start, end in spans]
        if answer is part:  # with what is between the first two
            assert server.num_sent == 10 + expected


def test_a_server_that_ignores_only_later_ranges(server):
    server.answers = [part, whole]
    check(load()[0])


def test_a_server_without_content_length(server):
    def chunked(request):
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for at in range(0, len(BODY), 50_000):
            piece = BODY[at : at + 50_000]
            request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        request.wfile.write(b"0\r\n\r\n")

    server.answer = chunked
    check(load()[0])


def cut(length):
    """Answer honestly, but break off."""

    def answer(request: Request):
        start, end = request.span()
        total = len(request.hub.body)
        request.send_response(206)
        request.send_header("Content-Length", str(end - start))
        request.send_header("Content-Range", f"bytes {start}-{end - 1}/{total}")
        request.end_headers()
        request.wfile.write(request.hub.body[start : start + length])
        request.close_connection = True

    return answer


def short(length):
    """Answer with less than was asked for, and say so."""

    def answer(request: Request):
        start, _ = request.span()
        body = request.hub.body[start : start + length]
        span = f"bytes {start}-{start + len(body) - 1}/{len(request.hub.body)}"
        request.send(206, body, {**request.described(), "Content-Range": span})

    return answer


@pytest.mark.parametrize("answer", [cut, short])
def test_short_answers_are_continued(answer, server, house):
    server.answers = [part, answer(40_000), answer(30_000)]
    check(load()[0])
    starts = [int(asked[6:].split("-")[0]) for _, asked, _ in server.requests[1:]]
    assert starts[1] - starts[0] == 40_000
    assert starts[2] - starts[1] == 30_000
    assert house == []  # something came, so there is no reason to wait


@pytest.mark.parametrize("answer", [cut(0), short(0), cut(10), fail(503), fail(500)])
def test_servers_that_fail_are_given_up(answer, server, tmp_path, house):
    server.answers = [part]
    server.answer = answer
    with pytest.raises(OSError, match=r"tiny\.tv.*not on disk.*in 4 tries") as caught:
        load()
    assert "'vgg19' comes with jaxnst" in str(caught.value)
    assert len(server.requests) == 5
    assert house in ([1, 2, 4], [])
    assert nothing_is_left(tmp_path)


def test_trouble_that_passes(server, house):
    server.answers = [fail(500), part, fail(502), fail(429, Retry_After="7"), part]
    check(load()[0])
    assert house == [1, 1, 7]


def test_a_server_that_drips(server):
    """A limit on the size of an answer is no failure, however often it is met."""
    tensors = {**TENSORS, "features.0.weight": TENSORS["features.0.weight"]}
    server.body = safetensors.numpy.save(
        {**tensors, "aux1.x": np.zeros(3_000_000, np.float32)}
    )
    remote = RemoteFile("a/b", "c", revision=COMMIT)
    server.answer = short(1_000_000)
    (data,) = remote.read_spans([(5, 9_000_005)])
    assert data == server.body[5:9_000_005]
    assert len(server.requests) == 9


HTML = {"Content-Type": "text/html"}
ANSWERS = {
    "long pause": (fail(429, Retry_After="3600"), "asks to wait for 3600 s"),
    "401": (fail(401, X_Error_Code="RepoNotFound"), "no repository someone/tiny.tv"),
    "401, bare": (fail(401), "give a `token`"),
    "403": (fail(403), "give a `token`"),
    "gated": (fail(403, X_Error_Code="GatedRepo"), "wants its terms accepted"),
    "no repository": (fail(404, X_Error_Code="RepoNotFound"), "no repository"),
    "no revision": (fail(404, X_Error_Code="RevisionNotFound"), "no revision '0123"),
    "no file": (fail(404, X_Error_Code="EntryNotFound"), "no file model.safetensors"),
    "404": (fail(404), "status 404"),
    "400": (fail(400), "status 400"),
    "416": (fail(416), "status 416"),
    "204": (lambda r: r.send(204, b"", {}), "status 204 and no"),
    "no range": (lambda r: r.send(206, b"a" * 9, {}), "no proper Content-Range"),
    "other range": (lambda r: part(r, **{"Content-Range": "bytes 5-9/20"}), "from 5"),
    "packed": (lambda r: part(r, **{"Content-Encoding": "gzip"}), "a packed file"),
    "web page": (lambda r: r.send(200, b"<!DOCTYPE html>", {}), "a web page came"),
    "html": (lambda r: r.send(200, b"Hi", HTML), "a web page"),
    "page": (lambda r: r.send(403, b"f\xfcr", HTML), "status 403 and a web page"),
    "a list": (lambda r: r.send(404, b"[]", {}), "status 404"),
    "latin": (lambda r: r.send(400, b"\xe4", {}), "status 400"),
    "loop": (lambda r: r.send(302, b"", {"Location": r.path}), "redirects"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_what_servers_say(name, server, tmp_path, house):
    server.answer, message = ANSWERS[name]
    with pytest.raises(OSError, match=r"'tiny\.tv' are not on disk and cannot") as got:
        load()
    text = str(got.value)
    assert message in text
    assert "\n" not in text
    assert "'vgg19' comes with jaxnst" in text
    assert house == []
    assert len(server.requests) == 1 or name == "loop"
    assert nothing_is_left(tmp_path)


def test_files_that_change_while_they_are_read(server, tmp_path):
    def changed(request):
        part(request, **{"X-Linked-Etag": '"other"'})

    def grown(request):
        start, end = request.span()
        span = f"bytes {start}-{end - 1}/{len(BODY) + 1}"
        part(request, **{"Content-Range": span})

    for answer, what in ((changed, "etag"), (grown, "size")):
        server.answers = [part, answer]
        with pytest.raises(OSError, match=rf"changed on the server .*\({what}"):
            load()
        assert nothing_is_left(tmp_path)


def test_redirects_keep_the_range_and_drop_the_token(server, monkeypatch):
    with HubServer(BODY, commit="") as other:
        # Where it leads to, ETag looks like a hash but is another one.
        other.answer = lambda r: part(r, **{"X-Linked-Etag": "", "ETag": f'"{7:064d}"'})

        def redirect(request):
            place = {"Location": f"{other.url}/cdn/file?signed"}
            request.send(302, b"", {**request.described(), **place})

        server.answer = redirect
        check(load(token="hf_secret")[0])
        assert [headers["authorization"] for _, _, headers in server.requests] == [
            "Bearer hf_secret"
        ] * 2
        assert len(other.requests) == 2
        for (_, first, _), (path, second, headers) in zip(
            server.requests, other.requests, strict=True
        ):
            assert path == "/cdn/file?signed"
            assert first == second
            assert "authorization" not in {name.lower() for name in headers}
        assert server.num_sent == 0
    with safetensors.safe_open(store.kept_path(SPEC), "numpy") as file:
        assert file.metadata()["source_sha256"] == SOURCE.sha256
    assert b"hf_secret" not in store.kept_path(SPEC).read_bytes()


def test_tokens_and_revisions(server, tmp_path):
    weights, used = load(at("v1/beta"), token=False)
    check(weights)
    assert used.name == "tiny.tv@v1/beta"
    path, _, headers = server.requests[0]
    assert path == "/someone/tiny.tv/resolve/v1%2Fbeta/model.safetensors"
    assert "authorization" not in {name.lower() for name in headers}
    path = store.kept_path(at("v1/beta"))
    assert path.parent.name == "v1--beta"
    assert store.all_kept(SPEC) == [path]
    check(load()[0])
    assert len(store.all_kept(SPEC)) == 2
    assert at(COMMIT) is SPEC
    with pytest.raises(ValueError, match=r"tiny\.tv@main names one already"):
        at("v1", at("main"))
    for revision in ("../..", "", "/etc", "a b", "x\n"):
        with pytest.raises(ValueError, match="must be a commit, branch or tag"):
            at(revision)
    assert sorted(x.name for x in (tmp_path / "assets" / "jaxnst").iterdir()) == [
        ".locks",
        "someone--tiny.tv",
    ]


def test_the_server_must_have_the_very_file(server, tmp_path):
    other = spec_of(b"another file")
    with pytest.raises(ValueError, match=r"not the file of 'tiny\.tv': it has sha256"):
        load(other)
    # Of another revision nothing is known.
    check(load(at("main", other))[0])
    server.commit = COMMIT[::-1]
    with pytest.raises(ValueError, match=rf"of commit {COMMIT[::-1]}, not {COMMIT}"):
        load()
    assert len(store.all_kept(SPEC)) == 1


@pytest.mark.parametrize("problem", ["another network", "misfit", "hostile", "NaN"])
def test_files_that_are_not_what_they_should_be(problem, server, tmp_path):
    tensors = dict(TENSORS)
    body, message = None, ""
    if problem == "another network":
        tensors, message = {"a": np.ones(3, np.float32)}, "not those of a known network"
    elif problem == "misfit":
        del tensors["features.0.bias"], tensors["features.2.bias"]
        message = "missing features.0.bias, features.2.bias"
    elif problem == "NaN":
        tensors["features.0.bias"] = tensors["features.0.bias"] * np.nan
        message = "not finite features.0.bias"
    else:
        body, message = b"\xff" * 90, "its header would take"
    server.body = safetensors.numpy.save(tensors) if body is None else body
    server.sha256 = hashlib.sha256(server.body).hexdigest()
    with pytest.raises(
        ValueError, match=r"model\.safetensors cannot be used"
    ) as caught:
        load(spec_of(server.body))
    assert message in str(caught.value)
    if problem != "NaN":
        assert len(server.requests) == 1  # found in the header
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "connection"])
def test_being_offline_is_said_at_once(name, server, monkeypatch, tmp_path, house):
    if name == "connection":
        point_to("http://127.0.0.1:9", monkeypatch)  # nobody listens there
    else:
        monkeypatch.setattr(constants, name, True)
    with pytest.raises(ConnectionError, match=r"'tiny\.tv' are not on disk") as caught:
        load()
    text = str(caught.value)
    assert "'vgg19' comes with jaxnst and needs no download" in text
    assert ("TRANSFORMERS_OFFLINE" if name != "connection" else "no connection") in text
    assert (server.requests, house) == ([], [])
    assert nothing_is_left(tmp_path)


def test_offline_is_fine_with_what_is_on_disk(server, monkeypatch):
    load()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    check(load()[0])
    assert len(server.requests) == 2


def test_a_renewal_that_fails_leaves_what_was_there(server, monkeypatch):
    load()
    with monkeypatch.context() as patch:
        calls = []

        def full(file):
            calls.append(file)
            if len(calls) == 2:  # of two files
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(store.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            hub.fetch(SPEC, renew=True, progress=False)
    check(load()[0])
    assert len(list(store.kept_path(SPEC).parent.iterdir())) == 2
    server.answer = fail(404)
    with pytest.raises(OSError, match=r"on disk, but cannot be had anew from .* 404"):
        hub.fetch(SPEC, renew=True, progress=False)
    check(load()[0])


def test_weights_renewed_while_they_are_read(server, monkeypatch):
    load()
    read_fn, earlier = store._kept_hash, ["that of other weights"]
    monkeypatch.setattr(
        store, "_kept_hash", lambda path: earlier.pop() if earlier else read_fn(path)
    )
    check(load()[0])


def test_whole_files_in_huggingface_hub_s_cache_are_used(server, tmp_path):
    folder = tmp_path / "hub/models--someone--tiny.tv/snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(BODY)
    check(load()[0])
    assert server.requests == []


def test_damage_on_disk_is_found(server):
    load()
    path = store.kept_path(SPEC)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged.*jaxnst networks get tiny\.tv"):
        load()
    path.with_name(f"{path.name}.sha256").unlink()
    with pytest.raises(ValueError, match="damaged"):
        load()


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
    assert server.requests == []  # found before anything is downloaded


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_full_disk(when, server, monkeypatch, tmp_path):
    if when == "before":
        monkeypatch.setattr(store.shutil, "disk_usage", lambda _: os.statvfs_result)
        usage = type("Usage", (), {"free": NEEDED - 1})
        monkeypatch.setattr(store.shutil, "disk_usage", lambda _: usage)
    else:

        def full(file):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OSError, match=r"needs \d MB: No space left") as caught:
        load()
    assert "Make room" in str(caught.value)
    assert nothing_is_left(tmp_path)
    assert len(server.requests) == (0 if when == "before" else 2)
    monkeypatch.undo()


def test_interrupted_downloads_leave_nothing(server, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    remote_init = RemoteFile.__init__

    def init(self, *args, on_bytes, **options):
        remote_init(self, *args, on_bytes=interrupt, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RemoteFile, "__init__", init)
        with pytest.raises(KeyboardInterrupt):
            load()
    assert nothing_is_left(tmp_path)
    # What a killed process has left behind goes, too.
    part_file = store.kept_path(SPEC).parent / ".jaxnst-1-1.part"
    part_file.write_bytes(b"half")
    check(load()[0])
    assert not part_file.exists()


def test_own_files_are_kept_under_a_name(tmp_path):
    source = tmp_path / "model.safetensors"
    source.write_bytes(BODY)
    path = hub.keep_own(SPEC, source)
    assert path == store.kept_path(SPEC)
    check(load()[0])
    source.write_bytes(safetensors.numpy.save(TENSORS))
    with pytest.raises(ValueError, match=r"not the file of 'tiny\.tv'"):
        hub.keep_own(SPEC, source)
    own = spec_of(name="own", source=OwnFile(advice="bake it"))
    with pytest.raises(FileNotFoundError, match="'own' are not on disk, and bake it"):
        load(own)
    hub.keep_own(own, source)
    check(load(own)[0])
    assert store.all_kept(own) == [store.kept_path(own)]
    assert store.all_kept(SPEC) == [path]
    for spec in (own, SPEC):
        store.remove_kept(store.kept_path(spec))
        assert store.all_kept(spec) == []
    assert nothing_is_left(tmp_path)


def test_two_threads_download_once(server):
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 2
    check(load()[0])


def test_waiting_for_another_download_is_said(server, capsys, monkeypatch):
    monkeypatch.setattr(store, "_PATIENCE", 0.01)
    path = store.kept_path(SPEC)
    with store.keeping(path):
        waiting = threading.Thread(target=hub.load_kept, args=(SPEC,))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        assert server.requests == []
    waiting.join()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "tiny.tv: waiting for another process to get it"
    assert len(lines) == 2
    check(load()[0])


PROCESS = """
import sys
sys.path.insert(0, {tests!r})
import jaxnst.pretrained.layouts as layouts
from conftest import TINY
layouts.ARCHITECTURES = (*layouts.ARCHITECTURES, TINY)
import test_hub
print("ready", flush=True)
sys.stdin.readline()
weights, used = test_hub.load()
test_hub.check(weights)
print(used.sha256)
"""


def test_two_processes_download_once(server, tmp_path):
    def slowly(request):
        server.answer = part
        threading.Event().wait(0.3)
        part(request)

    server.answer = slowly
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    code = PROCESS.format(tests=str(Path(__file__).parent))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert answers[0] == answers[1] != ""
    assert len(server.requests) == 2
    (path,) = (tmp_path / "home").rglob("tiny.safetensors")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == answers[0]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_is_shown(is_terminal, server, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    hub.load_kept(SPEC)
    printed = capsys.readouterr()
    assert printed.out == ""
    size = f"{NEEDED / 1e6:.1f} MB of {len(BODY) / 1e6:.1f} MB"
    assert f"tiny.tv: downloading {size}" in printed.err
    assert ("\x1b[" in printed.err) == is_terminal
    hub.fetch(SPEC, renew=True, progress=False)
    assert capsys.readouterr().err == ""


def test_the_registry_is_what_the_facts_say():
    for name, size in (("vgg19", 80), ("vgg16", 59), ("resnet50", 94)):
        spec = jaxnst.pretrained.get_spec(f"{name}.tv_in1k")
        assert isinstance(spec.source, HubFile)
        assert hub.is_commit(spec.source.revision)
        assert len(spec.source.sha256 or "") == 64
        shapes = keys.expected_shapes(spec.architecture, "timm").values()
        assert round(sum(4 * np.prod(shape) for shape in shapes) / 1e6) == size
        assert spec.content_layers
        assert set(spec.style_layers) <= set(spec.architecture.layer_names)
