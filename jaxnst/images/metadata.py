"""The record of how a picture was made, inside the picture's file.

PNG holds it as text under the key `jaxnst`; JPEG, WebP and TIFF hold it in the
EXIF/TIFF tag ImageDescription, films in their comment. It is JSON, in ASCII. A file,
and so its record, may be anybody's: what each field may hold is checked when it is
read. Settings are checked by `jaxnst.config`, which declares them, once they are used.
"""

import contextlib
import io
import json
import os
import re
import struct
import warnings
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from types import NoneType
from typing import Any

from PIL import ExifTags, Image as PILImage
from PIL.ImageFile import ImageFile

from jaxnst._checks import check_path, no_such_file, path_text, shown


# What Pillow may try. A list of our own, because some of its other readers start
# programs (EPS starts Ghostscript) or are seldom fuzzed.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000")
# Endings of the pictures that jaxnst writes.
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
TEXT_KEY = "jaxnst"
# What FFmpeg may try, by its names: films, and what is often taken for one. Its other
# readers open lists of files, addresses or devices, or are seldom fuzzed.
_FILM_FORMATS = (
    *("mov", "matroska", "webm", "avi", "mpeg", "mpegts", "mpegvideo", "asf", "flv"),
    *("ogg", "mxf", "gif", "apng", "nut", "rm", "dv", "ivf", "yuv4mpegpipe", "m4v"),
    *("h264", "hevc", "av1", "obu", "vc1", "mjpeg", "wav", "mp3", "flac", "aac"),
    *("png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe"),
)
# Films that jaxnst writes.
FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
# Pillow needs a time that grows with the square of the number of these segments.
_MAX_EXIF_SEGMENTS = 64
# Bytes of a picture file that are read; a device may have no end.
MAX_FILE = 2**30
# Largest number of characters of a record; jaxnst writes some ten thousand.
_MAX_RECORD = 2_000_000


def read_record(path: str | os.PathLike[str] | io.BytesIO) -> dict[str, Any]:
    """Return the record that jaxnst wrote into a picture or a film, checked.

    A file may be anybody's: fields that jaxnst knows have their types and ranges, and
    all others a bounded depth and length. Escape texts before you show them.

    Args:
        path: picture file, or what is in one; or a film, or a folder of its frames.

    Raises:
        FileNotFoundError: if the file does not exist.
        ImportError: if it is a film and the extra `video` is not installed.
        ValueError: if the file is no picture, holds no record, or a field of it holds
            what it may not; the message names the field.
    """
    is_open = isinstance(path, io.BytesIO)
    name = "the picture" if is_open else path_text(check_path("path", path))
    try:
        if isinstance(path, io.BytesIO):
            text = _picture_text(path)
        elif Path(path).suffix.lower() in FILMS:
            text = _film_text(Path(path))
        else:
            is_folder = Path(path).is_dir()
            text = _picture_text(_first_picture(Path(path)) if is_folder else path)
        record = json.loads(text)[TEXT_KEY] if len(text) <= _MAX_RECORD else None
    except FileNotFoundError:
        raise FileNotFoundError(no_such_file(Path(name))) from None
    except IsADirectoryError:
        raise ValueError(f"{name} is a folder without pictures.") from None
    except ImportError:
        raise ImportError(
            "the record of a film needs PyAV; install it with: "
            "pip install 'jaxnst[video]'"
        ) from None
    except PILImage.UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture that can be read.") from None
    # As in `load_picture`: Pillow raises almost any exception on damaged files.
    except Exception:
        record = None
    if not isinstance(record, dict):
        raise ValueError(
            f"{name} holds no jaxnst record; only files saved by jaxnst do, and "
            "editors and messengers often strip it."
        )
    if not is_open and Path(path).is_dir() and record.get("kind") != "video":
        raise ValueError(f"{name} is a folder of pictures, not of a clip; give one.")
    try:
        return check_record(record)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _first_picture(folder: Path) -> Path:
    names = [x for x in folder.glob("[!.]*") if x.suffix.lower() in EXTENSIONS]
    if not names:
        raise IsADirectoryError
    return min(names)


def _picture_text(path: str | os.PathLike[str] | io.BytesIO) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(path, io.BytesIO):
            data = path.getvalue()
        else:
            with Path(path).open("rb") as file:
                data = file.read(MAX_FILE)
        with open_picture(lean(data)) as image:
            text, limit = image.info.get(TEXT_KEY), PILImage.MAX_IMAGE_PIXELS
            # Behind the pixels of a PNG there may be more, but then all is decoded.
            is_large = image.width * image.height > (limit or 0)
            if text or (image.format == "PNG" and is_large):
                return text or ""
            text = getattr(image, "text", {}).get(TEXT_KEY)
            return text or image.getexif().get(ExifTags.Base.ImageDescription, "")


def open_picture(data: bytes) -> ImageFile:
    """Return a picture of any size, opened and not decoded.

    `PIL.Image.open` refuses large ones already then. Who decodes it checks its size.
    """
    PILImage.preinit()  # the most usual ones
    for name in FORMATS:
        if name not in PILImage.OPEN:
            PILImage.init()
        open_fn, accept_fn = PILImage.OPEN[name]
        if accept_fn is None or accept_fn(data[:16]) is True:
            # What Pillow takes for another format.
            with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
                return open_fn(io.BytesIO(data), "")
    raise PILImage.UnidentifiedImageError("no picture of a known format")


def open_container(path: Path) -> Any:
    """Return a film opened by PyAV; FFmpeg may open no other file."""
    import av

    options = {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(_FILM_FORMATS),
    }
    # Texts need not be UTF-8; from version 19 on PyAV keeps them, whatever they are.
    is_older = int(av.__version__.partition(".")[0]) < 19
    more: dict[str, Any] = {"metadata_errors": "replace"} if is_older else {}
    return av.open(f"file:{path.absolute()}", options=options, **more)


def _film_text(path: Path) -> str:
    """Return the comment in a film."""
    path.stat()  # raises the errors of files
    with open_container(path) as film:
        known = {name.lower(): text for name, text in film.metadata.items()}
    return known.get("comment", "")


def place_of_part(path: Path) -> Path:
    """Return where what was interrupted is written: never over anything finished."""
    if not path.exists():
        return path
    try:
        is_part = read_record(path)["result"]["stopped"] == "interrupted"
    except (KeyError, OSError, ValueError, ImportError):  # it is not jaxnst's
        is_part = False
    return path if is_part else path.with_stem(f"{path.stem}.partial")


# Bounds of everything in a record, known or not.
_MAX_DEPTH = 8
_MAX_ITEMS = 100_000
_MAX_TEXT = 1000
_MAX_KEY = 100
_MAX_NUMBER = 1e30


# A kind of value is a type, a range of whole numbers, a pattern of text, or a list or
# dict of kinds. A `float` may be a whole number; `Real` has no bounds, and may be NaN.
_WORD, _HASH = re.compile(r"[\w.+-]{1,60}"), re.compile("[0-9a-f]{1,64}")
_COUNT, _SIDE, _SHIFT = range(10**12 + 1), range(1, 65536), range(-65535, 65536)
_WANTED = {
    NoneType: "null",
    bool: "true or false",
    str: "text",
    float: "a number",
    Real: "a number",
    list: "a list",
    dict: "named values",
    _WORD: "a word",
    _HASH: "a hash in hex",
}
# A value, or one for each region.
_EACH = (float, [float])

# {field: kind}; "*" stands for all other names. A list holds any number of its only
# entry, and a tuple has alternatives.
_SCHEMA = {
    "jaxnst": str,
    "kind": _WORD,
    "preset": _WORD,
    "settings": {"*": object},
    "inputs": {"*": {"name": str, "sha256": _HASH}},
    "weights": (NoneType, {"name": str, "sha256": _HASH}),
    "result": {
        "height": _SIDE,
        "width": _SIDE,
        "steps": _COUNT,
        "stopped": (NoneType, str),
        "memory": _WORD,
        "precision": _WORD,
        "strength": {
            "asked": _EACH,
            "reached": (NoneType, *_EACH),
            "ratio": _EACH,
            "shares": [float],
            "trimming_steps": _COUNT,
        },
        "regions": range(_MAX_ITEMS + 1),
        "moved": [_SHIFT],
        "sizes": [
            {
                "size": _SIDE,
                "steps": _COUNT,
                "evaluations": _COUNT,
                "stopped": (NoneType, str),
                "is_averaged": bool,
            }
        ],
    },
    "clip": {"*": object},
    "shot_starts": [_COUNT],
    "over_time": {"*": list},
    "recoveries": [{"size": _SIDE, "step": _COUNT, "reason": str, "action": str}],
    "versions": {"*": _WORD},
    "device": {"platform": _WORD, "kind": str, "count": range(1, 10**6 + 1)},
    "seconds": {"*": float},
    "metrics": {"*": Real},
    "finish": {"*": (NoneType, float)},
    "trace": {"step": [_COUNT], "size": [_SIDE], "*": [(NoneType, float)]},
}


def check_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record if every field holds what it may; unknown fields may be there."""
    fault = _fault(record, _SCHEMA, "")
    if fault is None and "result" in record:
        made = record["result"]
        counts = {len(x) for x in made.get("strength", {}).values() if type(x) is list}
        if counts and "regions" in made:
            counts.add(made["regions"])
        if len(counts) > 1:
            fault = "`result.strength` must have a value for each region"
        if missing := [x for x in ("height", "width", "steps") if x not in made]:
            fault = f"`result` has no {missing[0]}"
    if fault is not None:
        raise ValueError(f"the record's {fault}.")
    return dict(record)


def _fault(value: Any, schema: Any, place: str, depth: int = 0) -> str | None:
    """Return what is wrong, too deep, too long or too large; None if nothing is."""
    title = f"`{place}`" if place else "content"
    if depth > _MAX_DEPTH:
        return f"{title} is nested too deeply"
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return f"{title} has {len(value)} characters, more than {_MAX_TEXT}"
    if type(value) is int and abs(value) > _MAX_NUMBER:
        return f"{title} is a number above {_MAX_NUMBER:g}"
    if isinstance(value, dict | list) and len(value) > _MAX_ITEMS:
        return f"{title} has {len(value)} entries, more than {_MAX_ITEMS}"
    ways = schema if isinstance(schema, tuple) else (schema,)
    way = next((way for way in ways if _fits(value, way)), None)
    if way is None:
        wanted = " or ".join(map(_wanted, ways))
        return f"{title} must be {wanted}, got {shown(value)}"
    entries: list[tuple[str, Any, Any]] = []
    if isinstance(value, list):
        kind = way[0] if isinstance(way, list) else object
        entries = [(f"{place}[{i}]", each, kind) for i, each in enumerate(value)]
    elif isinstance(value, dict):
        if bad := [name for name in value if len(name) > _MAX_KEY]:
            return f"{title} has an entry named {shown(bad[0])}"
        kinds = way if isinstance(way, dict) else {}
        others = kinds.get("*", object)
        entries = [
            (f"{place}.{repr(name)[1:-1]}".lstrip("."), each, kinds.get(name, others))
            for name, each in value.items()
        ]
    faults = (_fault(each, kind, name, depth + 1) for name, each, kind in entries)
    return next(filter(None, faults), None)


def _wanted(kind: Any) -> str:
    """Return a kind of value in words."""
    if isinstance(kind, range):
        return f"a whole number from {kind[0]} to {kind[-1]}"
    return _WANTED[type(kind) if isinstance(kind, list | dict) else kind]


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value is of a kind; what is in a list or dict is not checked."""
    if isinstance(kind, range):
        return type(value) is int and value in kind
    if isinstance(kind, re.Pattern):
        return isinstance(value, str) and kind.fullmatch(value) is not None
    if kind is Real:
        return type(value) in (int, float)
    if kind is float:
        return _fits(value, Real) and abs(value) <= _MAX_NUMBER
    return isinstance(value, type(kind) if isinstance(kind, list | dict) else kind)


def lean(data: bytes) -> bytes:
    """Return a JPEG without its EXIF and Photoshop segments where they are too many."""
    if not data.startswith(b"\xff\xd8\xff"):
        return data
    pieces, last, count, place = [], 0, 0, 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        kind, (length,) = data[place + 1], struct.unpack_from(">H", data, place + 2)
        name = data[place + 4 : place + 10]
        if (kind == 0xE1 and name == b"Exif\0\0") or kind == 0xED:
            count += 1
            if count > 1:
                pieces.append(data[last:place])
                last = place + 2 + length
        place += 2 + length
    return b"".join([*pieces, data[last:]]) if count > _MAX_EXIF_SEGMENTS else data
