"""Inputs of every kind: each made from its number alone, and a good corpus."""

import argparse
import contextlib
import csv
import dataclasses
import functools
import io
import json
import random
import shlex
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import mutators
from .corpus import Corpus
from .mutators import TEXTS, VALUES


@dataclasses.dataclass(kw_only=True)
class Case:
    """One input.

    Attributes:
        argv: the command line, without the program's name; None: `call` is called.
        call: a call of a function of jaxnst.
        title: the command line or the call, to be read.
        files: {path: bytes} of the folder in which it runs.
        may_change: files that a good command may replace: its output.
        may_ask: whether the input may name a host by itself.
        many_lines: whether several errors are listed, one a line.
        may_chat: whether progress is shown.
    """

    argv: list[str] | None = None
    call: Callable[[], Any] | None = None
    title: str
    files: Mapping[str, bytes]
    may_change: Sequence[str] = ()
    may_ask: bool = False
    many_lines: bool = False
    may_chat: bool = False


def make_case(kind: str, number: int, corpus: Corpus) -> Case:
    """Return the input of a kind that has this number."""
    return KINDS[kind](random.Random(f"{kind} {number}"), corpus)


def _command(
    argv: Sequence[str], files: Mapping[str, bytes], corpus: Corpus, **options: Any
) -> Case:
    files = {"content.png": corpus.content, "style.png": corpus.style} | dict(files)
    name = argv[0] if argv else ""
    is_quiet = "-q" in argv or "--quiet" in argv
    return Case(
        argv=[*argv],
        title="jaxnst " + shlex.join(argv),
        files=files,
        many_lines=name in ("batch", "sweep"),
        may_chat=name in _PAINTING and not is_quiet,
        **options,
    )


_PAINTING = ("stylize", "sweep", "batch", "texture", "explain")


# Picture files


def _picture_case(rng: random.Random, corpus: Corpus) -> Case:
    name, data = rng.choice([*corpus.pictures.items()])
    if rng.random() < 0.04:
        name, data = "bomb" + Path(name).suffix, mutators.bomb(rng)
    elif rng.random() < 0.97:
        data = mutators.mutate_picture(rng, data)
    if rng.random() < 0.1:  # the name of another format
        name = Path(name).stem + rng.choice((".png", ".jpg", ".tif", ".webp", ".gif"))
    files = {name: data}
    pair = ["content.png", "style.png", "--size", "48", "-q"]
    output = "out" + rng.choice((".png", ".jpg", ".tif", ".webp"))
    way = rng.randrange(12)
    if way < 5:
        filters = rng.choice(("--contrast", "--grain", "--levels", "--sharpen"))
        return _command(["finish", name, "-o", output, "-q", filters], files, corpus)
    argv = {
        5: ["show", name],
        6: ["stylize", name, "style.png", "--size", "48", "-q", "-o", output],
        7: ["stylize", "content.png", name, "--size", "48", "-q", "-o", output],
        8: ["stylize", *pair, "--mask", name, "-o", output],
        9: ["stylize", *pair, "--strength", name, "-o", output],
        10: ["stylize", *pair, "--init", name, "-o", output],
        11: ["compare", name, "--content", name, "--style", "style.png"],
    }[way]
    return _command(argv, files, corpus)


# Records inside pictures, and the other files of a sweep


# Names that only a record has: whatever opens or asks one followed the record.
_FROM_RECORDS = (
    *("canary.png", "./canary.png", "../canary", "/tmp/canary", "canary.safetensors"),
    *("vgg19.tv_in1k@refs/pr/1", "canary/canary@main", "file:///canary"),
    "https://canary.example/x.safetensors",
)
_IN_RECORDS = (*VALUES, *_FROM_RECORDS, *_FROM_RECORDS)


def _record_text(rng: random.Random, corpus: Corpus) -> str:
    record = mutators.mutate_json(rng, {"jaxnst": corpus.record}, _IN_RECORDS)
    if rng.random() < 0.2:  # settings that a command follows
        name = rng.choice(("init", "network", "strength", "masks", "content", "style"))
        with contextlib.suppress(TypeError, KeyError, AttributeError):
            record["jaxnst"]["settings"][name] = rng.choice(_FROM_RECORDS)
    return mutators.json_text(rng, record)


def _with_text(rng: random.Random, corpus: Corpus, text: str) -> tuple[str, bytes]:
    """Return a picture file that holds a text where its record is."""
    if rng.random() < 0.7:
        chunks = mutators.png_chunks(corpus.content)
        chunks.insert(1, mutators.png_text(text))
        return "old.png", mutators.join_png(chunks)
    exif = Image.Exif()
    exif[270] = text[:60000].encode("latin-1", "replace").decode("latin-1")
    form, name = rng.choice((("JPEG", "old.jpg"), ("WEBP", "old.webp")))
    stream = io.BytesIO()
    picture = Image.open(io.BytesIO(corpus.content))
    picture.save(stream, form, exif=exif)
    return name, stream.getvalue()


def _record_case(rng: random.Random, corpus: Corpus) -> Case:
    if rng.random() < 0.2:
        return _resumed_sweep(rng, corpus)
    name, data = _with_text(rng, corpus, _record_text(rng, corpus))
    files = {name: data, "canary.png": corpus.content, "canary.safetensors": b""}
    pair = ["content.png", "style.png"]
    way = rng.randrange(9)
    if way == 0:
        return _command(["show", name], files, corpus)
    if way == 1:
        return _command(["show", "--json", name], files, corpus)
    if way == 2:
        argv = ["finish", name, "-o", "out.png", "--grain", "-q"]
        return _command(argv, files, corpus)
    if way in (3, 4):
        argv = ["stylize", *pair, "--like", name, "-q"]
        return _command([*argv, *_repaired(rng)], files, corpus)
    if way == 5:
        argv = ["sweep", *pair, "--like", name, "-o", "out", "-q", "--detail", "0,1"]
        return _command(argv, files, corpus)
    table = b"content,style,output\ncontent.png,style.png,%s\n"
    if way == 6:
        files["jobs.csv"] = table % b"new.png"
        argv = ["batch", "jobs.csv", "--like", name, "-o", "out", "-q"]
        return _command([*argv, *_repaired(rng)], files, corpus)
    files["jobs.csv"] = table % name.encode()
    files[f"out/{name}"] = files.pop(name)
    argv = ["batch", "jobs.csv", "-o", "out", "--size", "48"]
    argv += rng.choice(([], ["--check"], ["--overwrite"]))
    return _command(argv, files, corpus, may_change=[f"out/{name}"])


def _repaired(rng: random.Random) -> list[str]:
    """Return flags beside --like, most often none."""
    more = (["--size", "48"], ["--strength", "0.5"], ["--init", "style"])
    return rng.choice(more) if rng.random() < 0.3 else []


def _resumed_sweep(rng: random.Random, corpus: Corpus) -> Case:
    """Return a sweep that goes on in a folder that somebody changed."""
    files = dict(corpus.swept)
    for name in rng.sample(sorted(files), rng.choice((1, 1, 2))):
        if name.endswith(".png") and rng.random() < 0.7:
            chunks = [c for c in mutators.png_chunks(files[name]) if c[0] != b"tEXt"]
            chunks.insert(1, mutators.png_text(_record_text(rng, corpus)))
            files[name] = mutators.join_png(chunks)
        elif name.endswith(".json") and rng.random() < 0.7:
            document = mutators.mutate_json(rng, json.loads(files[name]), _IN_RECORDS)
            files[name] = json.dumps(document).encode()
        else:
            files[name] = mutators.mutate_bytes(rng, files[name])
    argv = ["sweep", "content.png", "style.png", "--size", "48", "--detail", "0,1"]
    argv += ["-o", "swept", "-q"]
    return _command(argv, files, corpus, may_change=[*files])


def _report_case(rng: random.Random, corpus: Corpus) -> Case:
    """Return `explain` of a picture with a hostile record."""
    name, data = _with_text(rng, corpus, _record_text(rng, corpus))
    argv = ["explain", name, "--content", "content.png", "--style", "style.png"]
    argv += ["--no-ablations", "-o", "why.html"]
    return _command(argv, {name: data, "canary.png": corpus.content}, corpus)


# Command lines


@functools.cache
def _parsers() -> dict[tuple[str, ...], argparse.ArgumentParser]:
    """Return the parsers of all commands, those of `networks` among them."""
    from jaxnst.cli.main import build_parser

    found = {}

    def visit(names: tuple[str, ...], parser: argparse.ArgumentParser) -> None:
        found[names] = parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, inner in action.choices.items():
                    visit((*names, name), inner)

    visit((), build_parser())
    return found


# A good command line of each command, quick and quiet.
_GOOD: Mapping[tuple[str, ...], str] = {
    (): "--version",
    ("stylize",): "content.png style.png --size 48 -q",
    ("sweep",): "content.png style.png --size 48 -q -o out --seed 0..1",
    ("batch",): "jobs.csv -o out --size 48 -q",
    ("texture",): "style.png --size 48 -q",
    ("finish",): "content.png -o out.png -q --grain 0.3",
    ("explain",): "content.png --content content.png --style style.png -o why.html",
    ("compare",): "content.png --content content.png --style style.png",
    ("networks",): "--json",
    ("networks", "get"): "vgg19",
    ("networks", "path"): "vgg19",
    ("networks", "rm"): "vgg19",
    ("networks", "convert"): "a.safetensors b.safetensors",
    ("show",): "content.png",
}
# They take seconds or print much, and are not what is looked for.
_SELDOM = ("--estimate", "-h", "--help", "--help-all")
# Shows tracebacks, which count as failures here.
_NEVER = ("--debug",)


def _command_case(rng: random.Random, corpus: Corpus) -> Case:
    names = rng.choice([*_GOOD, ("stylize",), ("sweep",), ("batch",), ("texture",)])
    argv = _GOOD[names].split()
    parser = _parsers()[names]
    flags = [
        action
        for action in parser._actions
        if action.option_strings
        and action.option_strings[0] not in _NEVER
        and (action.option_strings[0] not in _SELDOM or rng.random() < 0.02)
    ]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        way = rng.randrange(12)
        if way == 0 and argv:
            del argv[rng.randrange(len(argv))]
        elif way == 1 and argv:
            argv[rng.randrange(len(argv))] = rng.choice(TEXTS)
        elif way == 2:
            argv.insert(rng.randrange(len(argv) + 1), rng.choice(TEXTS))
        elif way == 3 and argv:
            argv += rng.choices(argv, k=2)
        elif flags:
            argv += _flag(rng, rng.choice(flags))
    if rng.random() < 0.02:
        argv = [rng.choice(TEXTS), *argv]
    # What a shell hands on cannot hold a NUL; other wrong bytes are surrogates.
    argv = [text.replace("\0", "").replace("\ud800", "\udcff") for text in argv]
    files = {"jobs.csv": b"content,style\ncontent.png,style.png\n"}
    outputs = ("out.png", "content.png", "style.png", "jobs.csv", "x.png")
    return _command([*names, *argv], files, corpus, may_change=outputs, may_ask=True)


def _flag(rng: random.Random, action: argparse.Action) -> list[str]:
    """Return a flag with a value, sometimes with too few or too many."""
    name = rng.choice(action.option_strings)
    if action.nargs == 0 and rng.random() < 0.9:
        return [name]
    value = rng.choice(TEXTS)
    return rng.choice(([name, value], [name, value], [f"{name}={value}"], [name]))


# Tables


def _table_case(rng: random.Random, corpus: Corpus) -> Case:
    from jaxnst.sweeps.table import COLUMNS

    rows: list[dict[str, Any]] = [
        {"content": "content.png", "style": "style.png", "size": "48"}
        for _ in range(rng.choice((1, 1, 2, 4)))
    ]
    form = rng.choice(("csv", "csv", "tsv", "json", "toml"))
    for _ in range(rng.choice((1, 1, 2, 4))):
        column = rng.choice((*COLUMNS, "output", "style", rng.choice(TEXTS)))
        value = rng.choice(TEXTS if form in ("csv", "tsv", "toml") else VALUES)
        rng.choice(rows)[column] = value
    write = {"csv": _csv, "tsv": _csv, "json": _json_table, "toml": _toml}[form]
    data = write(rng, rows).encode("utf-8", "replace")
    way = rng.random()
    if way < 0.15:
        data = mutators.mutate_bytes(rng, data)
    elif way < 0.2:
        text = data.decode("utf-8", "replace")
        data = text.encode(rng.choice(("utf-16", "utf-8-sig", "utf-16-le", "utf-32")))
    argv = ["batch", f"jobs.{form}", "-o", "out"]
    argv += rng.choice((["--check"], ["--check"], ["-q", "--size", "48"]))
    return _command(argv, {f"jobs.{form}": data}, corpus, may_ask=True)


def _csv(rng: random.Random, rows: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    delimiter = rng.choice(",,;\t")
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.DictWriter(stream, names, delimiter=delimiter, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _json_table(rng: random.Random, rows: list[dict[str, Any]]) -> str:
    with_defaults = {"defaults": rows[0], "jobs": rows}
    document: Any = rng.choice((rows, {"jobs": rows}, with_defaults))
    if rng.random() < 0.4:
        document = mutators.mutate_json(rng, document, VALUES)
    return mutators.json_text(rng, document)


def _toml(rng: random.Random, rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        lines.append("[[jobs]]")
        for name, text in row.items():
            is_bare = rng.random() < 0.3
            value = text if is_bare else json.dumps(text)
            key = name if name.isidentifier() and name.isascii() else json.dumps(name)
            lines.append(f"{key} = {value}")
    return "\n".join(lines)


# Arrays and other values, given to functions


def _array(rng: random.Random) -> tuple[str, Any]:
    """Return (how it is made, a value) that may be given in place of a picture."""
    text = rng.choice(_ARRAYS)
    return text, eval(text, {"np": np, "Image": Image, "Path": Path, "io": io})


_SHAPES = (
    *("(40, 48, 3)", "(40, 48)", "(40, 48, 4)", "(40, 48, 1)", "(40, 48, 2)", "(3,)"),
    *("()", "(0,)", "(0, 48, 3)", "(40, 0, 3)", "(3, 40, 48)", "(1, 40, 48, 3)"),
    *("(1, 1, 3)", "(31, 48, 3)", "(40, 4800, 3)", "(40, 48, 0)", "(1, 1, 1, 1, 1)"),
)
_DTYPES = (
    *("'u1'", "'u2'", "'>u2'", "'u4'", "'i1'", "'i8'", "'f2'", "'f4'", "'>f4'", "'f8'"),
    *("'g'", "'c8'", "'?'", "'O'", "'S1'", "'U3'", "'M8[s]'", "'m8[s]'", "'V3'"),
    "[('r', 'u1'), ('g', 'f4')]",
)
_FILLS = ("0", "1", "0.5", "np.nan", "np.inf", "-np.inf", "-1", "255", "1e30", "1.0005")
_ARRAYS = (
    *(f"np.zeros({shape}, {dtype})" for shape in _SHAPES for dtype in _DTYPES),
    *(f"np.full({shape}, {x}, 'f4')" for shape in _SHAPES[:5] for x in _FILLS),
    *(f"np.full((40, 48, 3), {x})" for x in ("None", "'x'", "{}", "10**400")),
    *(f"np.full((40, 48, 3), {x}, 'f8')" for x in ("1e308", "1e-320", "-0.0")),
    "np.broadcast_to(np.float32(0.5), (10**6, 10**6, 3))",
    "np.broadcast_to(np.uint8(5), (20000, 20000, 3))",
    "np.ma.masked_all((40, 48, 3))",
    "np.zeros((40, 48, 3), 'f4', order='F')[::-1, ::-1]",
    "np.zeros((80, 96, 6), 'f4')[::2, ::2, ::2]",
    "np.asmatrix(np.zeros((40, 48)))",
    "np.zeros((40, 48, 3)).tolist()",
    *(f"Image.new('{m}', (48, 40))" for m in ("1", "L", "P", "RGB", "RGBA", "CMYK")),
    *(f"Image.new('{m}', (48, 40))" for m in ("YCbCr", "LAB", "HSV", "I", "F", "LA")),
    *(f"Image.new('{m}', (48, 40))" for m in ("PA", "La", "RGBa", "RGBX", "I;16")),
    *("Image.new('RGB', (0, 0))", "Image.new('L', (1, 40))", "Image.Image()"),
    *("Path('content.png')", "'content.png'", "b'content.png'", "io.StringIO('x')"),
    *("Path('no.png')", "'a\\0b'", "'\\ud800'", "''", "'\\x1b[2J'", "'A' * 5000"),
    "'.'",
    *("io.BytesIO(b'x')", "memoryview(b'xyz')", "bytearray(5)", "range(5)", "iter([])"),
    *("None", "True", "0", "1.5", "1j", "...", "[]", "{}", "()", "[None]", "object()"),
    *("print", "type", "np", "np.float32(1)", "np.array(None)", "{'a': 1}", "[[]]"),
)


def _array_case(rng: random.Random, corpus: Corpus) -> Case:
    import jaxnst
    from jaxnst.config import FILTERS, SETTINGS

    def setting() -> tuple[str, str, Any]:
        name = rng.choice((*SETTINGS, "masks", "preset", "nonsense"))
        if rng.random() < 0.4:
            return name, *_array(rng)
        value = rng.choice(VALUES)
        return name, repr(value)[:100], value

    name, text, value = setting()
    given: dict[str, Any] = {"size": 48, "progress": False, name: value}
    arrays = [_array(rng), _array(rng)]
    if rng.random() < 0.5:  # one wrong thing at a time
        arrays[rng.randrange(2)] = ("'content.png'", "content.png")
    (first, a), (second, b) = arrays
    good = ("content.png", "style.png")
    shown = f"size=48, {name}={text}"
    without = {key: x for key, x in given.items() if key != "progress"}
    twice: dict[str, Any] = given | {"detail": [0, 1]}
    amount = rng.choice(VALUES)
    way = rng.choice(tuple(FILTERS))
    by_setting = f"stylize('content.png', 'style.png', {shown})"
    calls: tuple[tuple[str, Callable[[], Any]], ...] = (
        (f"load_picture({first})", lambda: jaxnst.load_picture(a)),
        (f"load_picture({second})", lambda: jaxnst.load_picture(b)),
        (
            f"stylize({first}, {second}, size=48)",
            lambda: jaxnst.stylize(a, b, size=48, progress=False),
        ),
        (by_setting, lambda: jaxnst.stylize(*good, **given)),
        (by_setting, lambda: jaxnst.stylize(*good, **given)),
        (
            f"stylize(..., masks=[{first}], strength={second}, size=48)",
            lambda: jaxnst.stylize(
                *good, masks=[a], strength=b, size=48, progress=False
            ),
        ),
        (f"texture({first}, {shown})", lambda: jaxnst.texture(a, **given)),
        (f"TransferConfig({shown})", lambda: jaxnst.TransferConfig(**without)),
        (
            f"sweep({first}, {second}, {shown})",
            lambda: jaxnst.sweep(a, b, **given),
        ),
        (
            f"sweep('content.png', 'style.png', {shown}, detail=[0, 1])",
            lambda: jaxnst.sweep(*good, **twice),
        ),
        (
            f"batch([dict(content={first}, style={second}, {name}={text})], 'out')",
            lambda: [*jaxnst.batch([{"content": a, "style": b, name: value}], "out")],
        ),
        (
            f"batch({first}, 'out')",
            lambda: [*jaxnst.batch(a, "out")],
        ),
        (
            f"finish_picture({first}, {{{way!r}: {str(amount)[:50]!r}}})",
            lambda: _finish(a, {way: amount}),
        ),
        (f"read_record({first})", lambda: jaxnst.read_record(a)),
        (f"load_network({text})", lambda: jaxnst.load_network(value, progress=False)),
    )
    title, call = rng.choice(calls)
    files = {"content.png": corpus.content, "style.png": corpus.style}
    return Case(call=call, title=title, files=files, may_ask=True)


def _finish(image: Any, filters: Any) -> None:
    from jaxnst.finishing import check_filters, finish_picture

    # Only pictures of the kind that it says it takes.
    is_picture = isinstance(image, np.ndarray) and image.dtype == np.float32
    if not is_picture or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        image = np.full((40, 48, 3), 0.5, np.float32)
    finish_picture(image, check_filters("finish", filters))


# Weight files


def _weights_case(rng: random.Random, corpus: Corpus) -> Case:
    name, data = rng.choice([*corpus.weights.items()])
    if name.endswith(".safetensors") and rng.random() < 0.7:
        data = _mutate_safetensors(rng, data)
    elif rng.random() < 0.9:
        data = mutators.mutate_bytes(rng, data)
    if rng.random() < 0.1:
        suffix = rng.choice((".safetensors", ".pth", ".pt", ".h5", ".hdf5", ".bin"))
        name = Path(name).stem + suffix
    files = {name: data, "canary.h5": b"x"}
    argv = rng.choice(
        (
            ["stylize", "content.png", "style.png", "-q", "--network", name],
            ["networks", "convert", name, "out.safetensors"],
            ["networks", "convert", name, "out.safetensors"],
            ["networks", "get", "googlenet", "--from", name],
            ["sweep", "content.png", "style.png", "-o", "out", "--network", name],
        )
    )
    return _command(argv, files, corpus)


def _mutate_safetensors(rng: random.Random, data: bytes) -> bytes:
    """Change the header, and let its length be right."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    values = (*VALUES, "F32", "F64", "BF16", "I64", [2**40, 2**40], [0, 2**62], [-1])
    header = mutators.mutate_json(rng, header, values)
    text = mutators.json_text(rng, header).encode()
    claimed = len(text) if rng.random() < 0.9 else rng.choice((0, 2**40, 2**63))
    return struct.pack("<Q", claimed) + text + data[8 + length :]


# {kind: its inputs}. "reports" begins with half a minute of measuring.
KINDS: Mapping[str, Callable[[random.Random, Corpus], Case]] = {
    "pictures": _picture_case,
    "records": _record_case,
    "commands": _command_case,
    "tables": _table_case,
    "arrays": _array_case,
    "weights": _weights_case,
    "reports": _report_case,
}
