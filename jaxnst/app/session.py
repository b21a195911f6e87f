"""What a page has done: one job at a time, its previews, and its results.

The studio has one worker, and jobs wait for it in line. A job notes what it has reached
and goes on; who watches it is told of the latest, and misses the rest. Nothing here
knows of Gradio.
"""

import base64
import concurrent.futures
import contextlib
import dataclasses
import datetime
import io
import itertools
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxnst._checks import one_line, one_or_all
from jaxnst.images import load_picture, save_picture
from jaxnst.images.files import atomic_write, file_sha256
from jaxnst.optimize import StepView
from jaxnst.transfer.driver import estimate, stylize
from jaxnst.transfer.memory import Estimate, OutOfMemory
from jaxnst.transfer.progress import Workload
from jaxnst.transfer.result import Result


# Seconds between two previews, at least; and at most this part of the time goes into
# encoding them.
_INTERVAL = 0.5
_ENCODING_SHARE = 0.02
# Longest side of a preview and of what a page shows of a result, in pixels.
_PREVIEW_SIDE, _SHOWN_SIDE, _THUMB_SIDE = 1024, 2048, 320
# Most sessions that are remembered, and jobs that wait.
_MAX_SESSIONS, _MAX_LINE = 500, 20
_MAX_STEM = 40
# Names of folders for what goes at the end begin so.
TEMPORARY = "jaxnst-app-"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reached:
    """What a painting has reached, after one of its steps.

    Attributes:
        image: the picture at that step, RGB, [0, 1].
        size: height and width that are being painted.
        done: fraction of the work that is done.
        left: seconds that are left; None if unknown.
        strength: 1 less the style term; None where it has another meaning.
    """

    image: np.ndarray
    size: tuple[int, int]
    step: int
    num_steps: int
    done: float
    left: float | None
    strength: float | None


class Frame(NamedTuple):
    """The frame of a clip that was painted last.

    Attributes:
        file: its picture.
        done: number of frames that are painted, in all passes.
        total: number of frames that are to be painted.
        left: seconds that are left; None if unknown.
    """

    file: Path
    done: int
    total: int
    left: float | None


@dataclasses.dataclass(kw_only=True)
class Made:
    """A result of a session.

    Attributes:
        path: the file in the folder of results; in the studio's own where that could
            not be written.
        sources: arguments of `jaxnst.explain` that name what it was painted from.
        before: the photo, as large as the result, for the page.
        after: the result, for the page.
        thumb: the result, small.
        note: a warning for the user; or empty.
    """

    path: Path
    record: Mapping[str, Any]
    sources: Mapping[str, Any]
    before: Path
    after: Path
    thumb: Path
    note: str = ""

    @property
    def title(self) -> str:
        """Its name among the results."""
        return self.path.stem

    @property
    def time(self) -> str:
        """When it was painted, such as `19:47:02`, from its name."""
        found = re.match(r"(\d\d)(\d\d)(\d\d)_", self.title)
        return ":".join(found.groups()) if found else self.title


class Job:
    """A job in the line of the studio.

    Attributes:
        kind: "picture", "grid", "clip", "forecast" of a clip, "report", "comparison"
            or "estimate".
        state: "waiting", "working", "done" or "failed".
        phase: its present stage, in words.
        is_stopping: whether it was told to stop.
        reached: the latest of a painting; None before its first step, and while
            frames of a clip go on from others.
        shape: height and width of the result; None before the first step.
        tiles: (small copy, title, file) of each picture of a grid that is there.
        num_tiles: number of pictures of a grid once it is done.
        frame: the last frame of a clip; None before the first.
        started: time at which the worker began, on the clock of `time.monotonic`.
        value: return value of its function.
        error: reason for a failure.
    """

    def __init__(self, kind: str, run_fn: Callable[["Job"], Any]):
        self.kind, self.state, self.phase = kind, "waiting", ""
        self.is_stopping = False
        self.reached: Reached | None = None
        self.shape: tuple[int, int] | None = None
        self.tiles: list[tuple[Path, str, Path]] = []
        self.num_tiles = 0
        self.frame: Frame | None = None
        self.value: Any = None
        self.error: Exception | None = None
        self.started: float | None = None
        self._run_fn = run_fn
        self._workload = Workload()
        self._changed = threading.Condition()
        self._version = 0
        self._num_watching = 0
        self._last = self._pause = 0.0
        self._encoding = threading.Lock()
        self._encoded: tuple[Any, str] = (None, "")

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "failed")

    @property
    def seconds(self) -> float:
        """How long it has been at work."""
        return 0.0 if self.started is None else time.monotonic() - self.started

    def note(self, **changes: Any) -> None:
        """Set attributes, and wake those who watch."""
        with self._changed:
            for name, value in changes.items():
                setattr(self, name, value)
            self._version += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Ask it to end, and to keep what it has; if it waits, it is over at once."""
        with self._changed:
            state = "done" if self.state == "waiting" else self.state
            self.note(is_stopping=True, state=state)

    def see(self, view: StepView) -> bool:
        """Note a step of a painting, and return whether to stop: its callback.

        A picture is only fetched if it is time for one and somebody watches.
        """
        now = time.monotonic()
        left = self._workload.left(now, view.work_done)
        is_due = now - self._last >= max(_INTERVAL, self._pause)
        if self.reached is None or (is_due and self._num_watching):
            self._last = now
            gap = float(view.terms.style)
            self.note(
                phase="painting",
                shape=view.full_shape,
                reached=Reached(
                    # The step after this one writes into the same memory.
                    image=np.array(view.image),
                    size=view.shape,
                    step=view.step,
                    num_steps=view.num_steps,
                    done=view.work_done,
                    left=left,
                    strength=1 - gap if 0 <= gap <= 1 else None,
                ),
            )
        return self.is_stopping

    def preview(self) -> str:
        """Return the latest picture as a data URL, encoded once; empty without one."""
        reached, frame = self.reached, self.frame
        source = reached or frame
        with self._encoding:
            if source is None or self._encoded[0] is source:
                return self._encoded[1]
            started = time.thread_time()
            if reached is not None:
                image = _to_pil(reached.image)
            else:
                assert frame is not None
                try:
                    with Image.open(frame.file) as picture:
                        image = picture.convert("RGB")
                except OSError:  # the clip is put together already
                    return self._encoded[1]
            image.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
            data = io.BytesIO()
            image.save(data, "JPEG", quality=80)
            text = base64.b64encode(data.getvalue()).decode()
            self._pause = (time.thread_time() - started) / _ENCODING_SHARE
            self._encoded = source, f"data:image/jpeg;base64,{text}"
            return self._encoded[1]

    def watch(self, interval: float = _INTERVAL) -> Iterator["Job"]:
        """Yield the job whenever it has changed, each second, and once it is over."""
        with self._changed:
            self._num_watching += 1
        try:
            seen = -1
            while True:
                with self._changed:
                    if self._version == seen:
                        self._changed.wait(timeout=1.0)
                    seen, is_over = self._version, self.is_over
                yield self
                if is_over:
                    return
                time.sleep(interval)
        finally:
            with self._changed:
                self._num_watching -= 1

    def run(self) -> None:
        """Do the job; called by the worker."""
        with self._changed:
            if self.is_over:
                return
            self.started = time.monotonic()
            self.note(state="working", phase="getting ready")
        try:
            value = self._run_fn(self)
        except Exception as error:
            self.note(state="failed", error=error)
        except BaseException as error:  # the process ends
            self.note(state="failed", error=RuntimeError(type(error).__name__))
            raise
        else:
            self.note(state="done", value=value)


def advice_of(error: Exception | None) -> dict[str, Any]:
    """Return settings that would fit into memory, each by itself."""
    return dict(error.advice) if isinstance(error, OutOfMemory) else {}


@contextlib.contextmanager
def saved_all_the_same(path: Path) -> Iterator[None]:
    """Say where a result is, if there is no room for what the page shows of it."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{path} is painted and saved, but cannot be shown: {one_line(error)}"
        ) from error


def make_temporary() -> Path:
    """Return a new folder, which has the number of this process in its name."""
    return Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{os.getpid()}-"))


def clear_temporary() -> None:
    """Remove the folders of processes that were killed."""
    if os.name != "posix":  # elsewhere there is no harmless signal to ask with
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*-*"):
        try:
            os.kill(int(folder.name[len(TEMPORARY) :].partition("-")[0]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError, OverflowError):  # somebody else's
            pass


class Studio:
    """One worker and its line; the folders; the sessions.

    Attributes:
        folder: folder of the results, with a folder for each day.
        temporary: folder of what pages show; removed by `close`.
        known: {hash: path} of pictures that every session has.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.temporary = make_temporary()
        self._worker = concurrent.futures.ThreadPoolExecutor(
            1, thread_name_prefix="painting"
        )
        self.known: dict[str, str] = {}
        self._line: list[Job] = []
        self._mutex = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def know(self, path: Path) -> None:
        """Remember a picture for all sessions."""
        self.known[file_sha256(path)] = str(path)

    def session(self, token: str | None, page: str | None = None) -> "Session":
        """Return the session of a token; a new one, with its own, if it has none.

        A page that has no token yet always gets the same one.
        """
        with self._mutex:
            if token in self._sessions:
                return self._sessions[token]
            for known in self._sessions.values():
                if page is not None and known.page == page:
                    return known
            idle = [x for x in self._sessions.values() if not x.is_busy]
            if len(self._sessions) >= _MAX_SESSIONS and idle:
                left = self._sessions.pop(idle[0].token)
                shutil.rmtree(left.folder, ignore_errors=True)
            made = Session(self, secrets.token_urlsafe(24), page)
            self._sessions[made.token] = made
            return made

    @property
    def sessions(self) -> list["Session"]:
        """All sessions, the oldest first."""
        with self._mutex:
            return list(self._sessions.values())

    def submit(self, job: Job) -> Job:
        """Put a job into the line.

        Raises:
            RuntimeError: if too many wait already.
        """
        with self._mutex:
            if sum(not each.is_over for each in self._line) >= _MAX_LINE:
                raise RuntimeError(
                    f"{_MAX_LINE} jobs are waiting already; try again in a while."
                )
            self._line.append(job)

        def work() -> None:
            try:
                job.run()
            finally:
                with self._mutex:
                    self._line.remove(job)

        self._worker.submit(work)
        return job

    def place_of(self, job: Job) -> int:
        """Return how many jobs are done before this one, but for those that end."""
        with self._mutex:
            before = itertools.takewhile(lambda each: each is not job, self._line)
            return sum(not (each.is_over or each.is_stopping) for each in before)

    def place_for(self, name: str) -> Path:
        """Return a path in today's folder that no file has."""
        now = datetime.datetime.now()
        folder = self.folder / now.strftime("%Y-%m-%d")
        folder.mkdir(parents=True, exist_ok=True)
        stem, _, extension = name.rpartition(".")
        path = folder / f"{now:%H%M%S}_{name}"
        number = 1
        while path.exists():
            number += 1
            path = folder / f"{now:%H%M%S}_{stem}_{number}.{extension}"
        return path

    @property
    def is_busy(self) -> bool:
        """Whether something is painted, or waits to be."""
        with self._mutex:
            return any(not job.is_over for job in self._line)

    def close(self) -> None:
        """Stop what is painted, keep its picture, and remove the temporary files."""
        with self._mutex:
            line = list(self._line)
        for job in line:
            job.stop()
        try:
            self._worker.shutdown(wait=True)
        finally:  # a second Ctrl-C, too
            shutil.rmtree(self.temporary, ignore_errors=True)


class Session:
    """What one browser has given and got.

    Attributes:
        token: secret by which the browser names it.
        page: name of the opened page that it began with.
        results: pictures painted so far, the oldest first.
        job: the job that the page shows; None before the first.
        grid: the last grid; None before the first.
        shown: the result that the page shows; None before the first.
        given: {"photo" or "painting": (path, hash)} of what the page has.
        accepted: hashes of painted pictures that are to be taken for photos.
        offered: a painted picture that might be taken for a photo.
    """

    def __init__(self, studio: Studio, token: str, page: str | None = None):
        self.studio, self.token, self.page = studio, token, page
        self.results: list[Made] = []
        self.job: Job | None = None
        self.grid: Job | None = None
        self.shown: Made | None = None
        self.given: dict[str, tuple[str, str]] = {}
        self.accepted: set[str] = set()
        self.offered: tuple[str, str] | None = None
        self.folder = studio.temporary / secrets.token_hex(8)
        self._estimate: Job | None = None
        self._hashes: dict[str, str] = {}

    @property
    def is_busy(self) -> bool:
        """Whether something is painted for it, or waits to be."""
        return self.job is not None and not self.job.is_over

    def know(self, path: str | Path) -> str:
        """Return the hash of a picture that was given, and remember it."""
        digest = file_sha256(Path(path))
        self._hashes.setdefault(digest, str(path))
        return digest

    def find(self, sha256: str) -> str | None:
        """Return the path of a picture with this hash, if it is still there."""
        path = self._hashes.get(sha256, self.studio.known.get(sha256))
        return path if path is not None and Path(path).is_file() else None

    def begin(self, kind: str, run_fn: Callable[[Job], Any]) -> Job:
        """Put a job into the line; the page shows it from now on.

        Raises:
            RuntimeError: if another one of this session is not over.
        """
        if self.is_busy:
            raise RuntimeError("something is being painted already; stop it first.")
        if self._estimate is not None:
            self._estimate.stop()
        self.job = self.studio.submit(Job(kind, run_fn))
        return self.job

    def keep(self, path: str | Path) -> Path:
        """Return a copy of a picture or a clip that stays while the session does."""
        source = Path(path)
        digest = self.know(source)
        place = self.folder / digest[:16] / source.name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(place) as beside:
                shutil.copyfile(source, beside)
            self._hashes[digest] = str(place)
        return place

    def paint(
        self,
        content: str | Path,
        styles: Sequence[str | Path],
        settings: Mapping[str, Any],
    ) -> Job:
        """Begin a picture; the job's value is a `Made`, which is among the results."""
        photo, paintings = self.keep(content), [self.keep(path) for path in styles]
        name = f"{short_stem(photo)}_{short_stem(paintings[0])}.png"

        def run(job: Job) -> Made:
            style = one_or_all(paintings)
            result = stylize(photo, style, progress=False, callback=job.see, **settings)
            job.note(phase="finishing")
            names = ("masks", "strength", "init")
            guides = {x: settings[x] for x in names if _is_picture(settings.get(x))}
            sources = {"content": photo, "style": style, **guides}
            return self.add(result, name, sources)

        return self.begin("picture", run)

    def add(self, result: Result, name: str, sources: Mapping[str, Any]) -> Made:
        """Save a result, and add it to the results."""
        note = ""
        try:
            path = result.save(self.studio.place_for(name))
        except OSError as error:
            # Rather a copy that goes with the page than nothing after all the steps.
            path = result.save(self._place(name))
            note = (
                f"The folder of results cannot be written ({one_line(error)}); "
                "download the picture before you close jaxnst."
            )
        assert result.job is not None
        photo = result.job.inputs.content_at(result.image.shape[:2])
        self.know(path)
        with saved_all_the_same(path):
            made = Made(
                path=path,
                record=result.record,
                sources=sources,
                before=self._shown(photo, "before"),
                after=self._shown(result.image, "after"),
                thumb=self._shown(result.image, "thumb", _THUMB_SIDE),
                note=note,
            )
        self.results.append(made)
        self.shown = made
        return made

    def copy(self, path: Path) -> Path:
        """Return a copy of a file of results, which the page may have."""
        place = self._place(path.name)
        shutil.copyfile(path, place)
        return place

    def thumb(self, path: Path) -> Path:
        """Return a small copy of a picture, for the page."""
        with Image.open(path) as picture:
            picture.draft("RGB", (_SHOWN_SIDE, _SHOWN_SIDE))
            image = picture.convert("RGB")
        image.thumbnail((_SHOWN_SIDE // 2, _SHOWN_SIDE // 2))
        place = self._place("tile.jpg")
        image.save(place, "JPEG", quality=90)
        return place

    def estimate(
        self, content: str, styles: Sequence[str], settings: Mapping[str, Any]
    ) -> Job:
        """Begin an estimate of memory and time; one that waits already is dropped."""
        if self._estimate is not None:
            self._estimate.stop()

        def run(_: Job) -> Estimate:
            style = one_or_all(styles)
            return estimate(content, style, progress=False, **settings)

        self._estimate = self.studio.submit(Job("estimate", run))
        return self._estimate

    def as_png(self, path: str | Path) -> Path:
        """Return a PNG of a picture that browsers do not show."""
        picture = load_picture(path, is_named=False)
        place = self._place(f"{short_stem(Path(path))}.png")
        return save_picture(place, picture.rgb, picture.alpha)

    def save_gray(self, levels: np.ndarray, name: str) -> Path:
        """Return the path of a gray picture, a mask or a map; levels are 0 to 1."""
        place = self._place(f"{name}.png")
        pixels = np.round(np.clip(levels, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(place)
        return place

    def _shown(self, image: np.ndarray, name: str, side: int = _SHOWN_SIDE) -> Path:
        place = self._place(f"{name}.jpg")
        picture = _to_pil(image)
        picture.thumbnail((side, side))
        picture.save(place, "JPEG", quality=92)
        return place

    def _place(self, name: str) -> Path:
        folder = self.folder / secrets.token_hex(6)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name


def _to_pil(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.round(image * 255).astype(np.uint8))


def _is_picture(value: Any) -> bool:
    return isinstance(value, os.PathLike | list)


def short_stem(path: Path) -> str:
    """Return the name of a file without its extension, short and harmless."""
    return re.sub(r"[^\w-]+", "_", path.stem)[:_MAX_STEM].strip("_") or "picture"
