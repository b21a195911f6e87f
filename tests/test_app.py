"""The app: its form, its sessions, its guard, and all of it in a browser."""

import asyncio
import collections
import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import forgotten, load_tiny_weights, picture, use_small_judge
from PIL import Image
from test_report import CHROMIUM

import jaxnst
from jaxnst.cli.main import main
from jaxnst.config import CLIP_SETTINGS, SETTINGS, make_config
from jaxnst.transfer import setup


gradio = pytest.importorskip("gradio", reason="needs the extra app")

from jaxnst.app import events, form, tasks, views  # noqa: E402
from jaxnst.app.guard import LOCAL_HOSTS, MAX_FORM, Guard  # noqa: E402
from jaxnst.app.serving import launch  # noqa: E402
from jaxnst.app.session import Job, Studio, advice_of, clear_temporary  # noqa: E402


# Gradio's own, and those of what it leaves open.
pytestmark = pytest.mark.filterwarnings("default", "ignore:::(gradio|asyncio)")
TINY: dict[str, Any] = {"size": 48, "num_steps": 8, "min_size": 0}


@pytest.fixture(scope="module", autouse=True)
def tiny_vgg19_for_all():
    with pytest.MonkeyPatch.context() as patch:
        use_small_judge(patch)
        patch.setattr(setup, "load_weights", load_tiny_weights)
        patch.setattr(tasks, "measure", lambda *_: jaxnst.metrics.Metrics(*range(7)))
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    for name, array in {
        "photo": picture(40, 48, seed=1),
        "wave": picture(36, 50, seed=2),
        "dots": picture(36, 50, seed=3),
    }.items():
        pixels = np.round(array * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def studio(tmp_path):
    studio = Studio(tmp_path / "results")
    yield studio
    studio.close()


@pytest.fixture
def session(studio):
    return studio.session(None)


def finished(job: Job) -> Job:
    for _ in job.watch(interval=0.01):
        pass
    return job


def made(session, pictures, **settings):
    job = session.paint(
        pictures / "photo.png", [pictures / "wave.png"], TINY | settings
    )
    finished(job)
    assert job.error is None, job.error
    return job.value


def stopped_within(job: Job, words: str) -> Job:
    """Stop a job once these words are said of it."""
    for _ in job.watch(interval=0.001):
        if words in views.words(job):
            assert job.preview()
            job.stop()
    assert job.error is None, job.error
    return job


# The form


def record_of(preset="default", **settings):
    config = make_config(preset, **settings)
    return json.loads(
        json.dumps(
            {
                "jaxnst": jaxnst.__version__,
                "preset": preset,
                "settings": config.to_dict(),
                "inputs": {},
                "result": {"height": 32, "width": 32, "steps": 1},
            }
        )
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strength": 0.45, "size": 300},
        {"preset": "draft", "detail": -0.3, "style_scale": 6.5, "seed": 7},
        {"preset": "gatys2016", "size": 64},
        {"finish": {"grain": 0.2, "levels": 1.0}, "tile": "x", "padding": "circular_x"},
        {"tile": True, "style_blend": [[1.0, 0.0], [0.25, 0.75]]},
        {"style_layers": {"relu1_1": 0.5, "relu2_1": 1.0}, "style_loss": "wasserstein"},
        {"optimizer": "lbfgs", "normalize_activations": True, "max_seconds": 3.5},
        {"size": 64, "num_steps": 50, "style_size": 64, "content_weight": 1e-7},
        {
            "style_weight": 3.0,
            "network": "vgg16.tv_in1k",
            "init": "noise",
            "memory": "low",
        },
    ],
)
def test_a_record_fills_the_form(settings):
    record = record_of(**settings)
    values, is_on, notes = form.fill_form(record)
    assert notes == []
    assert {*values} == {*SETTINGS}
    again = make_config(**form.read_form(values, is_strength_on=is_on))
    assert again == make_config(**settings)


def test_what_a_record_cannot_say_is_told():
    record = record_of(strength=0.5) | {"jaxnst": "0.0.1"}
    record["settings"]["strength"] = "map"
    record["inputs"] = {"strength": {"name": "map.png", "sha256": "0" * 64}}
    _, is_on, notes = form.fill_form(record)
    assert not is_on
    assert "map of strengths" in notes[0]
    assert "0.0.1" in notes[1]
    for name, value in {"network": "../../x.pth", "init": "/etc/passwd"}.items():
        stranger = record_of()
        stranger["settings"][name] = value
        with pytest.raises(ValueError, match=f"`{name}`"):
            form.fill_form(stranger)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "/etc/passwd.pth"),
        ("init", "photo.png"),
        ("strength", "map.png"),
        ("flow", "f/%04d_%04d.flo"),
        ("size", "12"),
        ("finish", "blur"),
        ("style_layers", "relu9:x"),
    ],
)
def test_a_page_names_no_files_and_says_what_is_wrong(name, value):
    with pytest.raises(ValueError, match=f"`{name}"):
        form.read_form({name: value}, is_strength_on=True)


def test_the_page_says_what_the_library_says():
    for name, declared in {**SETTINGS, **CLIP_SETTINGS}.items():
        shown = form.field(name)
        start = declared.help.split(";")[0].split(",")[0]
        assert shown.help.lower().startswith(start.lower()), name
    shown = [*form.FIRST, *form.LOOK, *form.MIX]
    shown += [name for _, names in form.other_fields() for name in names]
    assert sorted(shown) == sorted(SETTINGS)


# Sessions


def test_a_picture_is_painted_shown_and_saved(session, pictures, tmp_path):
    job = session.paint(
        pictures / "photo.png", [pictures / "wave.png"], TINY | {"strength": 0.5}
    )
    seen = [(each.state, each.preview()) for each in job.watch(interval=0.01)]
    result = job.value
    assert [preview for _, preview in seen][-1].startswith("data:image/jpeg;base64,")
    assert result.path.parent.parent == tmp_path / "results"
    record = jaxnst.read_record(result.path)
    assert record["settings"]["strength"] == 0.5
    assert record["inputs"]["content"]["name"] == "photo.png"
    assert session.results == [result]
    with Image.open(result.before) as before, Image.open(result.after) as after:
        assert before.size == after.size == (48, 40)
    assert "8 steps" in views.caption(result)
    whole = jaxnst.stylize(
        pictures / "photo.png",
        pictures / "wave.png",
        progress=False,
        strength=0.5,
        **TINY,
    )
    painted = jaxnst.load_picture(result.path).rgb
    assert np.abs(whole.image - painted).max() < 1 / 255


def test_a_stop_keeps_what_a_callback_keeps(session, pictures):
    """Within one step, and with nobody who watches."""
    photo, wave = pictures / "photo.png", pictures / "wave.png"
    real, steps = Job.see, []

    def see(job, view):
        steps.append(view.step)
        if view.step == 3:
            job.stop()
        return real(job, view)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "see", see)
        job = session.paint(photo, [wave], TINY)
        while not job.is_over:
            time.sleep(0.01)
    assert steps == [1, 2, 3]
    stopped = jaxnst.stylize(
        photo, wave, progress=False, callback=lambda view: view.step == 3, **TINY
    )
    place = job.value.path.with_name("same.png")
    stopped.save(place)
    assert place.read_bytes() == job.value.path.read_bytes()
    assert "stopped by you" in views.caption(job.value)


def test_one_is_painted_and_the_others_wait(studio, pictures):
    gate = threading.Event()
    first = studio.session(None).begin("picture", lambda _: gate.wait(60))
    other = studio.session(None)
    second = other.paint(pictures / "photo.png", [pictures / "wave.png"], TINY)
    assert studio.place_of(second) == 1
    assert "1 before this one" in views.stage(second, 1)
    with pytest.raises(RuntimeError, match="already"):
        other.paint(pictures / "photo.png", [pictures / "wave.png"], TINY)
    second.stop()
    assert second.is_over  # and does not wait for the other one
    third = other.paint(pictures / "photo.png", [pictures / "wave.png"], TINY)
    assert studio.place_of(third) == 1
    for _ in range(30):  # of which one waits
        other.estimate("photo.png", ["wave.png"], {})
    third.stop()
    gate.set()
    assert second.value is None
    assert "nothing was painted" in views.stage(second)
    assert finished(first).value
    assert studio.session(other.token) is other
    assert studio.session("of another server") is not other


def test_errors_are_sentences_and_advice_is_kept(session, pictures, monkeypatch):
    job = session.paint(pictures / "photo.png", [pictures / "wave.png"], {"size": 1})
    assert "`size`" in views.stage(finished(job))

    def run_out(*_, **__):
        raise jaxnst.OutOfMemory("`size` 2048 needs 9 GB", {"size": 640})

    with monkeypatch.context() as patch:
        patch.setattr("jaxnst.app.session.stylize", run_out)
        job = session.paint(pictures / "photo.png", [pictures / "wave.png"], TINY)
        assert "9 GB" in views.stage(finished(job))
    assert advice_of(job.error) == {"size": 640}
    (pictures / "no.png").write_bytes(b"\x89PNG no")
    job = session.paint(pictures / "no.png", [pictures / "wave.png"], TINY)
    assert "picture" in views.stage(finished(job))


def test_a_full_disk_loses_nothing(session, pictures, monkeypatch):
    monkeypatch.setattr(
        session.studio, "place_for", lambda _: Path("/proc/none/out.png")
    )
    result = made(session, pictures)
    assert "cannot be written" in views.caption(result)
    assert jaxnst.read_record(result.path)


def test_a_full_disk_under_the_page_names_the_picture(session, pictures, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(session, "_shown", fail)
    given = pictures / "photo.png", [pictures / "wave.png"]
    job = finished(session.paint(*given, TINY))
    (path,) = session.studio.folder.rglob("*.png")
    assert f"{path} is painted and saved, but" in str(job.error)
    assert jaxnst.read_record(path)
    whole = shutil.copyfile

    def copy_half(source, place):
        Path(place).write_bytes(Path(source).read_bytes()[:100])
        fail()

    monkeypatch.setattr(shutil, "copyfile", copy_half)
    with pytest.raises(OSError, match="No space"):
        session.keep(pictures / "dots.png")
    monkeypatch.setattr(shutil, "copyfile", whole)
    kept = session.keep(pictures / "dots.png")
    assert kept.read_bytes() == (pictures / "dots.png").read_bytes()


def test_what_is_refused_stays_told(session, pictures):
    """Not replaced by what was painted before."""
    widgets = collections.defaultdict(object)
    handlers = events.Events(session.studio, widgets)
    made(session, pictures)

    def refuse(_):
        raise ValueError("give a photo.")

    told = handlers._begin({"session": session}, refuse, "")
    assert "Give a photo" in told[widgets["stage"]]
    for answer in (*handlers._watch(told | {"session": session}),):
        assert answer == {widgets["stage"]: gradio.skip()}
    assert widgets["stage"] not in handlers._finish(told | {"session": session})


def test_a_painted_tiff_fills_the_form(session, pictures, tmp_path):
    widgets = collections.defaultdict(object, form={}, clip={})
    handlers = events.Events(session.studio, widgets)
    path = tmp_path / "painted.tif"
    given = pictures / "photo.png", pictures / "wave.png"
    jaxnst.stylize(*given, **TINY, progress=False).save(path)
    data = {"session": session, widgets["photo"]: {"path": str(path)}}
    answer = handlers._take(data, "photo")
    assert "settings of painted.tif" in answer[widgets["notice"]]
    accepted = handlers._accept({"session": session})[widgets["photo"]]
    data[widgets["photo"]] = {"path": accepted}  # which browsers show
    assert Path(accepted).suffix == ".png"
    assert widgets["as_photo"] in handlers._take(data, "photo")
    assert "photo" in session.given


def test_a_result_that_is_gone_breaks_no_page(session, pictures):
    """Removed by its owner, or of a server that ended while the page was open."""
    result, widgets = made(session, pictures), collections.defaultdict(object)
    handlers = events.Events(session.studio, widgets)
    result.path.unlink()
    assert handlers._show(session, result)[widgets["download"]] is None
    data = {"session": session}
    click = gradio.SelectData(None, {"index": 0, "value": ""})
    assert "no longer there" in handlers._choose(data, click)[widgets["notice"]]
    session.results.clear()
    assert list(handlers._choose(data, click)) == [widgets["notice"]]


def test_an_error_names_a_file_and_not_its_folder(studio):
    path = studio.temporary / "1f" / "a.mp4"
    for before, after in (("{}", "a.mp4"), ("({})", "(a.mp4)")):
        error = ValueError(f"`clip` {before.format(path)} is bad")
        assert views.error_text(error) == f"`clip` {after} is bad"


def test_a_grid_fills_and_a_tile_has_its_settings(session, pictures, slow):
    arguments = str(pictures / "photo.png"), [str(pictures / "wave.png")]
    job = tasks.paint_grid(
        session,
        *arguments,
        TINY | {"strength": 0.5},
        {"style_weight": [0.3, 3.0], "seed": [0, 1]},
    )
    finished(job)
    assert job.error is None, job.error
    assert len(job.tiles) == 4
    _, title, path = job.tiles[-1]
    assert title == "style_weight 3, seed 1"
    values, is_on, _ = form.fill_form(jaxnst.read_record(path))
    assert (values["style_weight"], values["seed"], is_on) == ("3", "1", False)
    assert (path.parent / "index.html").exists()
    with pytest.raises(ValueError, match="36 pictures"):
        tasks.paint_grid(
            session, *arguments, TINY, {"seed": range(6), "detail": [0] * 6}
        )
    job = tasks.paint_grid(session, *arguments, TINY, {"seed": [0, 1, 2]})
    assert len(stopped_within(job, "Picture 2 of 3 · step").tiles) == 1


def test_a_result_is_explained_and_two_are_compared(session, pictures):
    result = made(session, pictures, style_layers={"relu1_1": 1.0})
    job = finished(tasks.explain_picture(session, result))
    assert job.error is None, job.error
    assert 'sandbox="allow-scripts"' in views.report(job.value)
    job = finished(tasks.compare_pictures(session, [result, result]))
    titles, found = job.value
    assert "gram gap" in views.comparison(titles, found)


def test_a_clip_is_painted(session, pictures, tmp_path, slow):
    bunny = Path(__file__).parent.parent / "examples/images/big_buck_bunny.mp4"
    clip = shutil.copy(bunny, tmp_path)
    styles, settings = [str(pictures / "wave.png")], TINY | {"size": 64}
    given = clip, styles, settings
    job = tasks.paint_clip(session, *given, {"stop": 3, "frame_steps": 2})
    Path(clip).unlink()  # as Gradio removes what was uploaded long ago
    finished(job)
    shutil.copy(bunny, tmp_path)
    assert job.error is None, job.error
    assert job.frame is not None
    assert job.value.frames == job.frame.total == 3
    record = jaxnst.read_record(job.value.path)
    assert form.fill_clip(record)["frame_steps"] == "2"
    assert form.fill_form(record)[0]["size"] == "64"
    again = tasks.paint_clip(session, *given, {"stop": 3})
    assert stopped_within(again, "First frame · step").value is None
    assert not [*job.value.path.parent.glob("*.frames")]
    estimated = finished(tasks.forecast_clip(session, *given, {"stop": 3}))
    assert "3 frames" in views.forecast_of_clip(estimated.value)


def test_closing_keeps_the_picture_and_removes_the_rest(tmp_path, pictures):
    studio = Studio(tmp_path)
    job = studio.session(None).paint(
        pictures / "photo.png",
        [pictures / "wave.png"],
        TINY | {"num_steps": 100_000},
    )
    while job.reached is None:
        time.sleep(0.01)
    assert studio.is_busy
    studio.close()
    assert job.value.path.exists()
    assert not studio.temporary.exists()


def test_what_a_killed_process_left_is_cleared(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f"jaxnst-app-{number}-a" for number in (dead.pid, os.getpid(), "x")]
    for name in names:
        (tmp_path / name).mkdir()
    clear_temporary()
    assert sorted(x.name for x in tmp_path.iterdir()) == sorted(names[1:])


# The guard


def ask(guard, method="POST", path="/gradio_api/queue/join", body=b"{}", **headers):
    """Return the status of a request."""
    sent, pieces = [], [body[i : i + 1_000_000] for i in range(0, len(body), 10**6)]
    headers = {"host": "127.0.0.1:7860", "content-length": str(len(body))} | headers

    async def receive():
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [
            (name.replace("_", "-").encode(), value.encode())
            for name, value in headers.items()
        ],
    }
    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"]


async def _answer(scope, receive, send):
    received = await receive()
    status = 200 if scope["path"].endswith("upload") or received["body"] else 500
    await send({"type": "http.response.start", "status": status, "headers": []})


def test_the_guard_refuses_strangers():
    guard = Guard(_answer, "/up")
    assert ask(guard) == 200
    assert ask(guard, origin="http://127.0.0.1:7860") == 200
    assert ask(guard, host="localhost:7860", origin="http://localhost:7860") == 200
    assert ask(guard, host="evil.example") == 400
    assert ask(guard, host="127.0.0.1.evil.example:7860") == 400
    assert ask(guard, host="") == 400
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert ask(guard, origin=origin) == 403
        assert ask(guard, "GET", "/", origin=origin) == 403
    for site in ("cross-site", "same-site"):
        embedded: dict[str, Any] = {"sec_fetch_site": site, "sec_fetch_mode": "no-cors"}
        assert ask(guard, "GET", "/config", **embedded) == 403
        embedded["sec_fetch_mode"] = "navigate"
        assert ask(guard, "GET", "/", **embedded) == 200
    assert ask(guard, "GET", "/", sec_fetch_site="same-origin") == 200
    for path in (
        "run/x",
        "call/x",
        "process_recording",
        "run/upload",
        "component_server",
    ):
        assert ask(guard, path=f"/gradio_api/{path}") == 404
    others = Guard(_answer, "/up", ("*",))
    assert ask(others, host="any.example") == 200
    assert ask(others, host="any", origin="https://evil") == 403
    said: dict[str, Any] = {"origin": "https://evil", "x_forwarded_host": "evil"}
    assert ask(others, host="any", **said) == 403
    shared = Guard(_answer, "/up", ("*",), ["a1.gradio.live"])
    assert ask(shared, host="x", origin="https://a1.gradio.live") == 200
    assert ask(shared, host="x", origin="https://b2.gradio.live") == 403
    public = Guard(_answer, "/up", ("*",), ["*"])
    assert ask(public, host="x", origin="https://any") == 200
    assert "*" not in LOCAL_HOSTS


def test_the_guard_bounds_forms_and_lets_only_uploads_be_named(tmp_path):
    guard = Guard(_answer, str(tmp_path))
    assert ask(guard, body=b"x" * (MAX_FORM + 1)) == 413
    assert ask(guard, body=b"x" * (MAX_FORM + 1), content_length="7") == 413
    assert ask(guard, body=b"{}", content_length="many") == 413
    assert ask(guard, path="/gradio_api/upload", body=b"x" * (MAX_FORM + 1)) == 200
    (tmp_path / "link").symlink_to("/etc")
    for path, status in {
        f"{tmp_path}/a/b.png": 200,
        None: 200,
        "/etc/passwd": 403,
        f"{tmp_path}/../b.png": 403,
        f"{tmp_path}x/b.png": 403,
        f"{tmp_path}/link/passwd": 403,
        "http://169.254.169.254/latest": 403,
        "": 403,
        "\0": 403,
    }.items():
        form = {"data": [1, {"image": {"path": path}}]}
        assert ask(guard, body=json.dumps(form).encode()) == status, path
    assert ask(guard, body=b"[" * 100_000) == 200


# The server, and a browser


@pytest.fixture(scope="module")
def looked_up():
    """Yield the names that the process looks up while the server is there."""
    names, real = [], socket.getaddrinfo

    def watched(host, *args, **options):
        names.append(host)
        return real(host, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", watched)
        yield names


@pytest.fixture(scope="module")
def app(tmp_path_factory, looked_up):
    app = launch(output=tmp_path_factory.mktemp("results"), block=False, quiet=True)
    with forgotten(vars(app)):
        yield app
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        assert uploads.exists()
        app.close()
        assert not app.studio.temporary.exists()
        assert not uploads.exists()


def bomb(side=30_000) -> bytes:
    """Return a PNG of some hundred kB that is gigabytes once it is decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(side * 300), 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    )


def test_the_server_refuses_attacks(app, pictures):
    import httpx

    with httpx.Client(base_url=app.url) as client:
        assert client.get("/").status_code == 200
        assert client.get("/", headers={"host": "evil.example"}).status_code == 400
        rebound = {"host": "evil.example", "origin": "https://evil.example"}
        answer = client.get("/", headers=rebound)
        assert answer.status_code == 400
        assert answer.text == "this address is not the app's\n"
        strange = {"origin": "https://evil.example"}
        png = (pictures / "photo.png").read_bytes()
        files = {"files": ("a.png", png)}
        for path in ("upload", "queue/join"):
            answer = client.post(f"/gradio_api/{path}", headers=strange, files=files)
            assert answer.status_code == 403
        for path in ("/etc/passwd", str(Path.cwd() / "pyproject.toml"), "../../x"):
            answer = client.get(f"/gradio_api/file={path}")
            assert answer.status_code in (403, 404), path
        foreign = {"data": [None, {"path": str(pictures / "photo.png")}]}
        assert client.post("/gradio_api/queue/join", json=foreign).status_code == 403
        inside = app.studio.session(None).copy(pictures / "photo.png")
        assert client.get(f"/gradio_api/file={inside}").status_code in (403, 404)
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert client.get(path).status_code in (403, 404), path
        assert client.get("/monitoring").status_code in (403, 404)
        big = {"files": ("a.png", bytes(106_000_000))}
        assert client.post("/gradio_api/upload", files=big).status_code == 413
        page = {"files": ("a.html", b"<script>alert(1)</script>")}
        (path,) = client.post("/gradio_api/upload", files=page).json()
        answer = client.get(f"/gradio_api/file={path}")
        assert answer.headers["content-disposition"].startswith("attachment")
        info = client.get("/gradio_api/info").json()
        assert not info["named_endpoints"]


def test_others_are_asked_for_a_password(tmp_path, capsys):
    import httpx

    app = launch(host="0.0.0.0", output=tmp_path, block=False, quiet=True)
    name, password = capsys.readouterr().out.split()[1::2]
    with (
        forgotten(vars(app)),
        contextlib.closing(app),
        httpx.Client(base_url=app.url) as client,
    ):
        for path in ("/config", "/gradio_api/info", "/gradio_api/file=x"):
            assert client.get(path).status_code == 401, path
        form = {"username": name, "password": "wrong"}
        assert client.post("/login", data=form).status_code == 400
        form["password"] = password
        assert client.post("/login", data=form).status_code == 200
        assert client.get("/config").status_code == 200


def test_the_command_begins_and_ends(tmp_path):
    """Its address is there at once; at its end nothing temporary is left."""
    command = [sys.executable, "-m", "jaxnst.app", "--no-browser", "-o", str(tmp_path)]
    own = tmp_path / "temporary"
    own.mkdir()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(own)},
    )
    assert process.stdout is not None
    url = process.stdout.readline().split()[0]
    end = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url).close()
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.2)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    assert not list(own.iterdir())


def test_the_command_says_what_is_wrong(app, capsys, monkeypatch):
    for options, words in (
        ("--auth me", "NAME:PASSWORD"),
        (f"--port {app.url.rpartition(':')[2]}", "is taken"),
        ("--port 70000", "65535"),
        ("--host 256.0.0.1", "`host`"),
        (f"--output {__file__}", "no folder"),
    ):
        try:
            code = main(["app", *options.split()])
        except SystemExit as ended:
            code = ended.code
        assert code == 2
        assert words in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["app"]) == 2
    assert "jaxnst[app]" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium or Chrome on the PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(app, browser):
    """Return the page, which notes its complaints and the addresses it asks."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(app.url)
    page.wait_for_selector("#paint")
    yield page
    assert page.errors == []
    own = (app.url, "data:", "blob:", "about:")
    assert [url for url in page.asked if not url.startswith(own)] == []
    context.close()


def give(page, pictures, size=64):
    """Give two pictures, a size and few enough steps to see them."""
    for name, file in (("photo", "photo.png"), ("painting", "wave.png")):
        page.set_input_files(f"#{name} input[type=file]", pictures / file)
        page.wait_for_selector(f"#{name} img")
    choose(page, "Size", str(size))
    page.wait_for_function(
        "document.querySelector('#forecast').innerText.includes('About')"
    )


def choose(page, label, text):
    widget = page.get_by_label(label, exact=True).first
    widget.fill(text)
    widget.press("Enter")
    widget.press("Tab")


def enter(field, text):
    """Type as a person does: only once the section of a field has opened."""
    field.click()
    field.fill(text)


def told(page) -> str:
    page.wait_for_selector("#notice p, #notice div[role=alert]")
    return page.inner_text("#notice")


@pytest.fixture
def slow(monkeypatch):
    """Paint slowly enough to be seen."""
    real = Job.see

    def see(job, view):
        time.sleep(0.03)
        return real(job, view)

    monkeypatch.setattr(Job, "see", see)


def test_a_picture_goes_through_the_page(page, pictures, tmp_path, slow, looked_up):
    """Drop, paint, see it grow, stop, download, and drop it back."""
    give(page, pictures)
    page.get_by_label("number input for Strength").first.fill("0.45")
    page.get_by_role("button", name="Color and strokes").click()
    enter(page.get_by_label("number input for Detail"), "-0.5")
    page.get_by_role("button", name="All settings").click()
    page.get_by_role("button", name="The painting").click()
    enter(page.get_by_label("Num steps"), "2000")
    page.click("#paint")
    page.wait_for_selector("#stage img")
    first = page.get_attribute("#stage img", "src")
    page.wait_for_function(
        "src => document.querySelector('#stage img').src !== src", arg=first
    )
    assert "of 2000" in page.inner_text("#stage")
    page.click("#stop")
    page.wait_for_selector("#slider img")
    with page.expect_download() as waiting:
        page.click("#download")
    file = tmp_path / "mine.png"
    waiting.value.save_as(file)
    record = jaxnst.read_record(file)
    assert record["result"]["stopped"] == "callback"
    settings = record["settings"]
    assert (settings["strength"], settings["detail"]) == (0.45, -0.5)

    page.reload()  # the session is still there, with its result
    page.wait_for_selector("#slider img")
    page.wait_for_selector("#photo img")
    assert page.get_by_label("number input for Strength").first.input_value() == "0.45"
    page.get_by_label("Remove Image").first.click()
    page.wait_for_selector("#photo input[type=file]", state="attached")
    page.set_input_files("#photo input[type=file]", file)
    assert "settings of mine.png are in the form" in told(page)
    page.wait_for_selector("#photo img")  # it knew the photo, too
    assert page.get_by_label("number input for Strength").first.input_value() == "0.45"
    page.get_by_role("button", name="Color and strokes").click()
    assert page.get_by_label("number input for Detail").input_value() == "-0.5"
    page.get_by_role("button", name="All settings").click()
    page.get_by_role("button", name="The painting").click()
    assert page.get_by_label("Num steps").input_value() == "2000"
    assert page.get_by_label("Size", exact=True).first.input_value() == "64"
    assert {*looked_up} <= {"127.0.0.1", "localhost", None}


def test_its_own_pictures_are_there_wherever_it_was_started(
    page, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    for name in ("photo", "painting"):
        page.locator(f"#{name}s button").first.click()
        page.wait_for_selector(f"#{name} img")


def test_a_closed_page_loses_nothing(app, page, pictures, slow):
    give(page, pictures)
    before = {*app.studio.folder.rglob("*.png")}
    page.click("#paint")
    page.wait_for_selector("#stage img")
    page.close()
    assert before == {*app.studio.folder.rglob("*.png")}
    end = time.monotonic() + 60
    while before == {*app.studio.folder.rglob("*.png")}:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_what_is_no_picture_is_refused_in_a_sentence(page, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "bomb.png").write_bytes(bomb())
    for name, words in (("text.png", "not a picture"), ("bomb.png", "megapixels")):
        page.set_input_files("#photo input[type=file]", tmp_path / name)
        page.wait_for_function(
            "text => document.querySelector('#notice').innerText.includes(text)",
            arg=name,
        )
        assert words in told(page)
        assert "/tmp" not in told(page)
        assert page.locator(".toast-wrap .error").count() == 0
        page.wait_for_selector("#photo img", state="detached")
    page.click("#paint")
    page.wait_for_function(
        "document.querySelector('#stage').innerText.includes('Give a photo')"
    )


def test_everybody_can_read_it(page):
    """axe-core, where it is installed: nothing serious in light and in dark."""
    axe = pytest.importorskip("axe_playwright_python", reason="needs axe-core")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text()
    for name in ("Color and strokes", "More paintings", "Draw", "All settings"):
        page.get_by_role("button", name=name).click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for tab in ("Picture", "Grid"):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_timeout(300)
            page.evaluate(script)
            found = page.evaluate("axe.run(document)")["violations"]
            bad = [x["id"] for x in found if x["impact"] in ("serious", "critical")]
            assert bad == [], scheme


def test_a_phone_has_room_for_it(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
