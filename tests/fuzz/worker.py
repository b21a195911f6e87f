"""One process that is given inputs, one after the other, and tells what they did.

Painting is left out: `paint` gives back its first picture, VGG-19 is a tiny network and
measuring gives constants, so everything around them is what takes the time.
"""

import contextlib
import csv
import gc
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from .oracle import Problem, Seen, problems_of


CANARY = "canary"
# How PNG, JPEG, WebP and TIFF begin.
_PICTURES = (b"\x89PNG", b"\xff\xd8", b"RIFF", b"II*\0", b"MM\0*")
_REPOSITORY = Path(__file__).parents[2]


class Outcome(NamedTuple):
    """What became of one input; `output` is all that was printed or raised."""

    kind: str
    number: int
    is_accepted: bool
    problems: list[Problem]
    title: str
    output: str


class _Watch:
    """Notes canaries that are opened, and lets no host and no program be reached."""

    def __init__(self) -> None:
        self.is_on = False
        self.opened: list[str] = []
        self.asked: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event == "open" and CANARY in str(arguments[0]):
            self.opened.append(str(arguments[0]))
            raise PermissionError(13, "a canary")
        if event in ("socket.getaddrinfo", "socket.connect", "subprocess.Popen"):
            self.asked.append(f"{event} {str(arguments[:2])[:100]}")
            raise OSError("nothing is reached while fuzzing")


def serve(connection: Connection, folder: Path) -> None:
    """Answer every (kind, number) with an `Outcome`, until None comes."""
    worker = Worker(folder)
    connection.send(worker.base)
    while (message := connection.recv()) is not None:
        connection.send(worker.run(*message))


class Worker:
    """A process made ready: environment, stand-ins, captured output."""

    def __init__(self, folder: Path):
        self.folder = folder.absolute()
        self.case = self.folder / "case"
        self.temporary = self.folder / "tmp"
        for each in (self.folder, self.case, self.temporary):
            each.mkdir(exist_ok=True)
        _set_environment(self.folder)
        self.watch = _Watch()
        _put_stand_ins()
        os.chdir(self.case)
        from .cases import Corpus

        self.corpus = Corpus(self.folder)
        self.output = (self.folder / "out", self.folder / "err")
        self.base = _peak()

    def run(self, kind: str, number: int) -> Outcome:
        """Return what became of an input; its files stay until the next one."""
        from .cases import make_case

        os.chdir(self.folder)
        for each in (self.case, self.temporary):
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir()
        os.chdir(self.case)
        case = make_case(kind, number, self.corpus)
        for name, data in case.files.items():
            path = self.case / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (self.folder / "title").write_text(case.title, errors="backslashreplace")
        seen = self._seen(case)
        self._look_at_files(case, seen)
        output = f"{seen.out}{seen.err}"
        if case.argv is None and seen.error is not None:
            output += f"{type(seen.error).__name__}: {seen.error}"
        problems, is_accepted = problems_of(seen), seen.is_accepted
        seen.error = None  # its frames hold arrays
        gc.collect(1)
        return Outcome(kind, number, is_accepted, problems, case.title, output[-4000:])

    def _seen(self, case: Any) -> Seen:
        seen = Seen(
            may_ask=case.may_ask,
            many_lines=case.many_lines,
            may_chat=case.may_chat,
        )
        before, started = _peak(), time.process_time()
        self.watch.opened, self.watch.asked = [], []
        with _captured(self.output) as texts:
            self.watch.is_on = True
            try:
                if case.argv is not None:
                    seen.code = _command(case.argv, seen)
                else:
                    with warnings.catch_warnings(record=True) as warned:
                        warnings.simplefilter("always")
                        _call(case.call, seen)
                    # Python's own warnings are for developers, and are not shown.
                    seen.warned = [
                        str(each.message)
                        for each in warned
                        if each.category is UserWarning
                    ]
            finally:
                self.watch.is_on = False
        seen.out, seen.err = texts
        seen.seconds = time.process_time() - started
        seen.grown = _peak() - before
        seen.opened, seen.asked = self.watch.opened, self.watch.asked
        return seen

    def _look_at_files(self, case: Any, seen: Seen) -> None:
        there = {
            path.relative_to(self.case).as_posix(): path
            for path in self.case.rglob("*")
            if not path.is_dir() or not any(path.iterdir())
        }
        known = {Path(name).as_posix() for name in case.files}
        new = [name for name in there if name not in known]
        seen.left = [
            *new,
            *(f"tmp/{path.name}" for path in self.temporary.iterdir()),
        ]
        seen.broken = [
            name for name in new if not there[name].is_dir() and _is_broken(there[name])
        ]
        seen.injected = [
            name
            for name, path in there.items()
            if path.is_file()
            and path.read_bytes() != case.files.get(name)
            and _is_injected(path)
        ]
        seen.changed = [
            name
            for name, data in case.files.items()
            if name not in case.may_change
            and (
                not (self.case / name).is_file()
                or (self.case / name).read_bytes() != data
            )
        ]


def _command(argv: list[str], seen: Seen) -> int:
    """Run a command, note the error behind its message, and return its exit code."""
    from PIL import Image

    from jaxnst.cli import main

    inner, limit = main.error_text, Image.MAX_IMAGE_PIXELS

    def noting(error: Exception) -> str:
        seen.error, seen.where = error, where_of(error)
        return inner(error)

    main.error_text = noting
    try:
        return main.main(argv)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException as error:
        seen.error, seen.where = error, where_of(error)
        return -1
    finally:
        main.error_text = inner
        Image.MAX_IMAGE_PIXELS = limit  # `--max-megapixels` holds for one process


def _call(call: Any, seen: Seen) -> None:
    try:
        call()
    except BaseException as error:
        seen.error, seen.where = error, where_of(error)


def where_of(error: BaseException) -> str:
    """Return the innermost line of jaxnst in an error's traceback."""
    inner: BaseException = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    found = ""
    for each in dict.fromkeys((error, inner)):
        for frame in traceback.extract_tb(each.__traceback__):
            if "/jaxnst/" in frame.filename:
                name = frame.filename.rpartition("/jaxnst/")[2]
                found = f"jaxnst/{name}:{frame.lineno} in {frame.name}"
    return found


@contextlib.contextmanager
def _captured(paths: tuple[Path, Path]):
    """Yield a list that holds all that was printed at the end, by C libraries too."""
    texts: list[str] = []
    kept = [os.dup(1), os.dup(2)]
    for number, path in enumerate(paths, start=1):
        file = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR)
        os.dup2(file, number)
        os.close(file)
    streams = sys.stdout, sys.stderr
    # As where the output is a file: UTF-8, which cannot hold lone surrogates.
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", encoding="utf-8", errors="backslashreplace", closefd=False
    )
    try:
        yield texts
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError):
                stream.flush()
        sys.stdout, sys.stderr = streams
        for number, file in enumerate(kept, start=1):
            os.dup2(file, number)
            os.close(file)
        found = [path.read_bytes() for path in paths]
        if found[0].startswith(_PICTURES):  # `-o -` writes it to standard output
            found[0] = b""
        texts += [data.decode("utf-8", "replace") for data in found]


def _is_broken(path: Path) -> bool:
    """Return whether a file that was written cannot be read."""
    import json

    from PIL import Image

    suffix = path.suffix.lower()
    is_json = suffix == ".json" or path.read_bytes()[:1] == b"{"  # `--json x.png`
    try:
        if is_json:
            json.loads(path.read_text())
        elif suffix in (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"):
            with Image.open(path) as image:
                image.load()
    except Exception:
        return True
    return False


def _is_injected(path: Path) -> bool:
    """Return whether a page or a table holds text of a record as code."""
    if path.suffix == ".html":
        text = path.read_text("utf-8", "replace")
        # As they are in `mutators`; escaped, they have &lt; in them.
        return '<meta http-equiv="refresh"' in text or "<b id=x>" in text
    if path.suffix != ".csv":
        return False
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    return any(cell.startswith(("=", "+", "@")) for cell in cells)


def _peak() -> int:
    """Return the peak of this process's memory, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _set_environment(folder: Path) -> None:
    """Let nothing be written outside of the folder; called before JAX is imported."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    for name in [*os.environ]:
        if name.startswith(("HF_", "JAXNST_", "XDG_")):
            del os.environ[name]
    os.environ |= {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "TMPDIR": str(folder / "tmp"),
        "JAX_PLATFORMS": "cpu",
        "NO_COLOR": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    tempfile.tempdir = None
    for place in (_REPOSITORY, _REPOSITORY / "tests"):
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))


def _put_stand_ins() -> None:
    """Put quick stand-ins in the place of painting, measuring and VGG-19."""
    import conftest
    import matplotlib.font_manager  # noqa: F401  # asks a program for fonts, once
    import numpy as np

    import jaxnst.metrics
    from jaxnst.networks import CAFFE, VGGArchitecture
    from jaxnst.pretrained import UsedWeights, Weights, loading
    from jaxnst.sweeps import runner
    from jaxnst.transfer import driver, setup
    from jaxnst.transfer.run import Painted

    # All layers of VGG-19.
    tiny = VGGArchitecture(name="vgg19", depths=(2, 2, 4, 4, 4), widths=(4, 8, 8, 8, 8))
    conftest.TINY = tiny
    weights = Weights(tiny, CAFFE, conftest.tiny_weights().layers)

    def load_weights(name: Any = "vgg19", **options: Any) -> Any:
        if name == "vgg19":
            return weights, UsedWeights("vgg19", "0" * 64)
        return loading.load_weights(name, **options)

    def paint(jobs: Any, plan: Any, **_: Any) -> list[Painted]:
        pictures = [job.inputs.content_at(job.inputs.shape) for job in jobs]
        return [Painted(np.asarray(x), [], None, "fast") for x in pictures]

    def measure(*_: Any, **__: Any) -> jaxnst.metrics.Metrics:
        return jaxnst.metrics.Metrics(*[0.5] * len(jaxnst.metrics.Metrics._fields))

    setup.load_weights = load_weights
    driver.paint = runner.paint = paint
    driver.measure = jaxnst.metrics.measure = measure
    _remember_explanations()


def _remember_explanations() -> None:
    """Let all explanations of the same layers have the figures of the first."""
    from jaxnst.insight import explanation

    def layers_of(arguments: Any) -> tuple[str, ...]:
        if (job := getattr(arguments[0], "job", None)) is None:
            return tuple(arguments[-1])
        return (*job.config.style_layers, "", *job.config.content_layers)

    def remembered(inner: Any) -> Any:
        kept: dict[Any, Any] = {}

        def call(*arguments: Any, **options: Any) -> Any:
            layers = layers_of(arguments)
            if layers not in kept:
                kept[layers] = inner(*arguments, **options)
            return kept[layers]

        return call

    for name in (
        "measure_attribution",
        "targets_of",
        "measure_terms",
        "measure_differences",
        "find_correspondences",
    ):
        setattr(explanation, name, remembered(getattr(explanation, name)))
