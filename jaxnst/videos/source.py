"""Clips as they are read: films, folders and lists of pictures, arrays.

Frames come one by one, so a clip may have any length: upright, with square pixels, in
sRGB.
"""

import dataclasses
import hashlib
import importlib
import os
import re
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from jaxnst._checks import check_path, no_such_file, path_text, shown
from jaxnst._types import HostImage
from jaxnst.images import EXTENSIONS, Picture, fitted_shape, load_picture, resize
from jaxnst.images.files import file_sha256, sorted_naturally
from jaxnst.images.load import EXTENSIONS as READABLE, MAX_ASPECT, MIN_SIDE, Readable
from jaxnst.images.metadata import open_container


# Endings of files that are films; others are tried, too.
FILM_EXTENSIONS = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".gif"),
    *(".wmv", ".flv", ".ogv", ".3gp", ".mts", ".m2ts", ".mxf"),
)
# Frames a second where a clip of pictures or arrays says nothing.
DEFAULT_RATE = 25
# Codes of FFmpeg: the curves of HDR, and a matrix that is not stated.
_PQ, _HLG, _UNSTATED = 16, 18, 2
# Seconds by which a frame may be before the last one, and which may miss at the end.
_JITTER, _MISSING = 1, 0.5
# FFmpeg's names of containers whose clocks need not begin at 0.
_WITH_CLOCKS = ("mpegts", "mpeg")
# Films of so many rows have the matrix of HD where they state none, as players do.
_HD_ROWS = 720


class _Extra:
    """A module of the extra `video`, imported when it is first used."""

    def __init__(self, name: str, title: str):
        self._name, self._title = name, title

    def __getattr__(self, attribute: str) -> Any:
        try:
            module = importlib.import_module(self._name)
        except ImportError as error:
            raise ImportError(
                f"clips need {self._title}; install it with: "
                "pip install 'jaxnst[video]'"
            ) from error
        return getattr(module, attribute)


av: Any = _Extra("av", "PyAV")
cv2: Any = _Extra("cv2", "OpenCV")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """The frames of a clip, read again whenever they are asked for.

    Attributes:
        shape: height and width of the frames.
        times: time of each frame in seconds, from the first frame of the source.
        numbers: number of each frame in its source, from 0.
        sha256: hash of the file, or of all pictures.
        film: path of a film, from which sound is copied; None for pictures.
        files: paths of all files that are read.
        origin: time of the source's first frame, as its file has it.
        clock: time of the file at which the painted film begins. The clocks of
            broadcasts and cameras (MPEG streams) begin anywhere.
        time_base: unit of the time stamps, in seconds.
        has_alpha: whether a frame has transparent parts.
        is_part: whether the source goes on after the last frame.
    """

    name: str
    shape: tuple[int, int]
    times: tuple[Fraction, ...]
    numbers: tuple[int, ...]
    sha256: str
    film: Path | None
    files: tuple[Path, ...] = ()
    origin: Fraction
    time_base: Fraction
    has_alpha: bool
    clock: Fraction = Fraction(0)
    is_part: bool = False
    read_fn: Callable[[Sequence[int]], Iterator[Picture]]

    def __len__(self) -> int:
        return len(self.numbers)

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Picture]:
        """Yield the frames from one on."""
        return self.read_fn(self.numbers[first:stop])

    def part(self, start: float | None, stop: float | None, every: int = 1) -> "Clip":
        """Return every n-th frame from `start` to before `stop`.

        They are numbers of frames, or times in seconds if they are floats.

        Raises:
            ValueError: if they are beyond the end.
        """
        first = 0 if start is None else self.index_of("start", start)
        last = len(self) if stop is None else self.index_of("stop", stop, is_end=True)
        if first >= last:
            raise ValueError(
                f"`stop` {_moment(stop)} is not after `start` {_moment(start)}."
            )
        kept = slice(first, last, every)
        return dataclasses.replace(
            self,
            times=self.times[kept],
            numbers=self.numbers[kept],
            is_part=last < len(self),
        )

    def first(self, count: int) -> "Clip":
        """Return the first frames, of which there may be fewer."""
        return dataclasses.replace(
            self,
            times=self.times[:count],
            numbers=self.numbers[:count],
            is_part=self.is_part or count < len(self),
        )

    def index_of(self, name: str, moment: float, *, is_end: bool = False) -> int:
        """Return the first frame at or after a moment, in frames or seconds.

        A moment is the number of a frame in the source, or a time if it is a float.

        Raises:
            ValueError: if the clip ends before.
        """
        is_time = isinstance(moment, float)
        places = self.times if is_time else self.numbers
        end = places[-1] + (self.duration if is_time else 1)
        # Not exactly: 0.2 is more than a fifth.
        if moment > end + 1e-6 or (moment >= end - 1e-6 and not is_end):
            raise ValueError(
                f"`{name}` names {_moment(moment)}, but {path_text(self.name)} ends "
                f"after {self.numbers[-1] + 1} frames, "
                f"{float(self.times[-1] + self.duration):.2f} s."
            )
        later = (i for i, place in enumerate(places) if place >= moment - 1e-6)
        return next(later, len(self))

    @property
    def duration(self) -> Fraction:
        """Seconds of one frame, the mean of all."""
        if len(self) < 2:
            return Fraction(1, DEFAULT_RATE)
        return (self.times[-1] - self.times[0]) / (len(self) - 1)


def _moment(moment: float | None) -> str:
    if moment is None:
        return "not given"
    return f"{moment:g} s" if isinstance(moment, float) else f"frame {moment}"


def open_clip(
    source: Any, *, argument: str = "clip", rate: float | None = None
) -> Clip:
    """Return a clip, of which each frame was looked at once.

    Args:
        source: path of a film or of a folder of pictures; a pattern such as
            `frames/%04d.png` or `frames/*.png`; or an iterable of pictures or arrays.
        argument: name of the argument, for messages.
        rate: frames a second, of pictures and arrays.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no clip, or has fewer than two frames.
        TypeError: if it is of another kind.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(check_path(argument, source))
        if path.is_dir():
            pictures = [each for each in path.glob("[!.]*") if _is_picture(each)]
            if not pictures:
                raise ValueError(
                    f"`{argument}`: no pictures in folder {path_text(path)}."
                )
            return _of_pictures(sorted_naturally(pictures), path.name, argument, rate)
        if is_pattern(path):
            pictures = find_pattern(path)
            if not pictures:
                raise FileNotFoundError(
                    f"`{argument}`: no pictures like {path_text(path)}."
                )
            if "%" in path.name:
                _check_gaps(path, pictures)
            return _of_pictures(pictures, path.name, argument, rate)
        if not path.exists():
            raise FileNotFoundError(f"`{argument}`: {no_such_file(path)}")
        return _of_film(path, argument)
    if isinstance(source, bytes | bytearray | Readable) or not isinstance(
        source, Iterable
    ):
        raise TypeError(
            f"`{argument}` must be a path, or frames one after the other, got "
            f"{shown(source)}."
        )
    if getattr(source, "ndim", 4) != 4:
        shape = getattr(source, "shape", None)
        raise ValueError(
            f"`{argument}` must have shape (frames, height, width, channels), got "
            f"{shape}."
        )
    if isinstance(source, Iterator):  # it can be read only once
        source = _spooled(source, argument)
    return _of_pictures(source, argument, argument, rate)


def is_film(path: str | os.PathLike[str]) -> bool:
    """Return whether a file has the ending of a film."""
    return Path(path).suffix.lower() in FILM_EXTENSIONS


def is_pattern(path: Path) -> bool:
    """Return whether a path is a pattern of pictures, `%04d.png` or `*.png`."""
    return bool(re.search(r"%\d*d|[*?]", path.name)) and not path.exists()


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in READABLE


def find_pattern(path: Path) -> list[Path]:
    """Return the files of a pattern, `%04d.png` or `*.png`, in their order."""
    if not path.parent.is_dir():
        return []
    if "%" not in path.name:
        found = path.parent.glob(path.name)
        if not path.name.startswith("."):  # hidden files are left out, as in a shell
            found = (each for each in found if not each.name.startswith("."))
        return sorted_naturally(found)
    before, width, after = re.split(r"%(\d*)d", path.name, maxsplit=1)
    digits = rf"\d{{{int(width)},}}" if width else r"\d+"
    like = re.compile(f"{re.escape(before)}{digits}{re.escape(after)}")
    found = [each for each in path.parent.iterdir() if like.fullmatch(each.name)]
    return sorted_naturally(found)


def _check_gaps(path: Path, pictures: Sequence[Path]) -> None:
    """Warn of numbers that are missing among the files of a pattern."""
    before, _, after = re.split(r"%(\d*)d", path.name, maxsplit=1)
    texts = [x.name.removeprefix(before).removesuffix(after) for x in pictures]
    steps = np.diff([int(text) for text in texts])
    if len(steps) and (steps > steps.min()).any():
        last = pictures[int(np.argmax(steps > steps.min()))].name
        warnings.warn(
            f"frames are missing after {last}; time jumps there.", stacklevel=4
        )


def _spooled(frames: Iterator[Any], argument: str) -> list[Path]:
    """Return files of frames that can be read only once, kept while they are used."""
    files = _Files()
    for number, frame in enumerate(frames):
        path = files.folder.path / f"{number:06}.npy"
        np.save(path, as_array(load_picture(frame, argument=argument)))
        files.append(path)
    return files


def as_array(picture: Picture) -> np.ndarray:
    """Return a frame as an array, with its opacity as a fourth channel."""
    if picture.alpha is None:
        return picture.rgb
    return np.dstack([picture.rgb, picture.alpha])


class TemporaryFolder:
    """A folder that is there for as long as this object is."""

    def __init__(self, prefix: str):
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class _Files(list):
    """Files in a folder for as long as they are used."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryFolder("jaxnst-clip-")


def _load(source: Any, argument: str) -> Picture:
    if isinstance(source, Path) and source.suffix == ".npy":
        source = np.load(source)
    return load_picture(source, argument=argument, is_named=False)


def _of_pictures(sources: Any, name: str, argument: str, rate: float | None) -> Clip:
    """Return a clip of pictures that can be read again."""
    digest, shape, count, has_alpha = hashlib.sha256(), None, 0, False
    files = []
    for number, source in enumerate(sources):
        picture = _load(source, argument)
        if isinstance(source, str | os.PathLike):
            files.append(Path(source))
        found = picture.rgb.shape[0], picture.rgb.shape[1]
        if shape not in (None, found):
            assert shape is not None
            raise ValueError(
                f"`{argument}`: frame {number} ({picture.name}) is {found[1]} x "
                f"{found[0]} px, but the first one {shape[1]} x {shape[0]} px."
            )
        shape, count = found, count + 1
        has_alpha = has_alpha or _is_clear(picture.alpha)
        digest.update(picture.sha256.encode())
    _check_count(count, name)
    assert shape is not None

    def read(numbers: Sequence[int]) -> Iterator[Picture]:
        if hasattr(sources, "__getitem__"):
            yield from (_load(sources[number], argument) for number in numbers)
            return
        wanted = {*numbers}
        for number, source in enumerate(sources):
            if number in wanted:
                yield _load(source, argument)

    length = 1 / Fraction(rate or DEFAULT_RATE).limit_denominator(100_000)
    return Clip(
        name=name,
        shape=shape,
        times=tuple(number * length for number in range(count)),
        numbers=tuple(range(count)),
        sha256=digest.hexdigest(),
        film=None,
        files=tuple(files),
        origin=Fraction(0),
        time_base=length,
        has_alpha=has_alpha,
        read_fn=read,
    )


def _check_count(count: int, name: str) -> None:
    if not count:
        raise ValueError(f"{path_text(name)} has no frames.")
    if count == 1:
        raise ValueError(
            f"{path_text(name)} has one frame only; `jaxnst stylize` paints pictures."
        )


def open_film(path: Path, *, argument: str = "clip") -> Any:
    """Return an opened container; FFmpeg may open nothing but this file.

    Raises:
        ValueError: if it is no film.
        OSError: if it cannot be read.
    """
    name = path_text(path)
    if path.suffix.lower() in EXTENSIONS:
        raise ValueError(
            f"`{argument}` {name} is a picture; `jaxnst stylize` paints it."
        )
    is_error = av.FFmpegError  # raises an error if PyAV is not installed
    try:
        with path.open("rb") as stream:
            stream.read(1)
        container = open_container(path)
    except is_error:
        raise ValueError(
            f"`{argument}` {name} is not a film that can be read: it is cut off or "
            "damaged, or of a kind that is not known."
        ) from None
    except OSError as error:
        raise OSError(f"`{argument}`: cannot read {name}: {error.strerror}") from error
    kind = container.format.name
    fault = ""
    if kind.endswith("_pipe"):
        fault = "is a picture; `jaxnst stylize` paints it"
    elif _pictures_of(container) is None:
        fault = "has sound, but no pictures" if container.streams.audio else "is empty"
        if any(each.codec_context is None for each in container.streams.video):
            fault = "has pictures of a kind that FFmpeg does not know"
    if fault:
        container.close()
        raise ValueError(f"`{argument}` {name} {fault}.")
    return container


def _pictures_of(container: Any) -> Any:
    """Return the stream of pictures that is no cover; None if none can be read."""
    is_cover = av.stream.Disposition.attached_pic
    streams = (x for x in container.streams.video if x.codec_context is not None)
    return next((each for each in streams if not each.disposition & is_cover), None)


def _decode(path: Path, argument: str, stamp: int | None = None) -> Iterator[Any]:
    """Yield the frames of a film as PyAV has them, up to its end or its damage.

    With a `stamp` they begin at a frame from which that one can be decoded. Damage is
    yielded as text.
    """
    with open_film(path, argument=argument) as container:
        stream = _pictures_of(container)
        decoder = stream.codec_context
        tags = {name.lower(): text for name, text in stream.metadata.items()}
        if tags.get("alpha_mode") == "1":  # FFmpeg's own drops the opacity
            names = {"vp9": "libvpx-vp9", "vp8": "libvpx"}
            decoder = av.CodecContext.create(names.get(decoder.name, decoder.name), "r")
        try:
            if stamp is not None:
                container.seek(stamp, stream=stream, backward=True)
            for packet in container.demux(stream):
                if decoder is stream.codec_context:
                    yield from packet.decode()
                    continue
                for frame in decoder.decode(packet if packet.size else None):
                    frame.time_base = frame.time_base or stream.time_base
                    yield frame
        except av.FFmpegError as error:
            yield error.strerror or "damaged"


def _of_film(path: Path, argument: str) -> Clip:
    """Return the clip of a film's first stream of pictures."""
    name = path.name
    times: list[Fraction] = []
    stamps: list[int | None] = []
    shape, fault, has_alpha = None, None, False
    with open_film(path, argument=argument) as container:
        stream = _pictures_of(container)
        _check_size(stream, path, argument)
        square = Fraction(stream.sample_aspect_ratio or 1)
        rate = stream.average_rate or DEFAULT_RATE
        time_base = Fraction(stream.time_base or 1 / Fraction(rate))
        stated = Fraction(container.duration or 0, av.time_base)
        if stream.duration is not None:  # sound may be longer
            stated = stream.duration * time_base
        # Program streams have few time stamps, and others after a jump.
        is_exact = container.format.name != "mpeg"
        clock = Fraction(0)
        if container.format.name in _WITH_CLOCKS:
            clock = Fraction(container.start_time or 0, av.time_base)
    for frame in _decode(path, argument):
        if isinstance(frame, str):
            fault = frame
            break
        if frame.interlaced_frame:
            raise ValueError(
                f"`{argument}` {path_text(path)} is interlaced; make whole frames of "
                "it first: ffmpeg -i IN -vf bwdif -c:a copy OUT"
            )
        _check_size(frame, path, argument)
        if shape is None:
            shape = _shape_of(frame, square)
        if not has_alpha and _has_alpha(frame):
            has_alpha = _upright(frame, shape)[1] is not None
        stamps.append(frame.pts)
        time = len(times) / Fraction(rate)
        if frame.pts is not None and frame.time_base is not None:
            time = frame.pts * Fraction(frame.time_base)
        if times and time <= times[-1]:
            if time < times[-1] - _JITTER:
                raise ValueError(
                    f"`{argument}` {path_text(path)}: frame {len(times)} is "
                    f"{float(times[-1] - time):.1f} s before the last one; give its "
                    "frames new times first: ffmpeg -i IN -c copy OUT"
                )
            time = times[-1] + time_base
        times.append(time)
    if shape is None and fault:
        raise ValueError(f"`{argument}` {path_text(path)} cannot be decoded ({fault}).")
    _check_count(len(times), str(path))
    assert shape is not None
    if min(shape) < MIN_SIDE or max(shape) > MAX_ASPECT * min(shape):
        raise ValueError(
            f"`{argument}` {path_text(path)} is {shape[1]} x {shape[0]} px; no side "
            f"may be below {MIN_SIDE} px, or {MAX_ASPECT:g} times the other."
        )
    found = times[-1] - times[0]
    found *= Fraction(len(times), len(times) - 1)  # with the last frame
    if fault:
        warnings.warn(
            f"{name} is damaged after frame {len(times) - 1}; the frames before are "
            "painted.",
            stacklevel=3,
        )
    elif stated > 1.1 * max(found, times[-1]) + _MISSING:
        warnings.warn(
            f"{name} is said to take {float(stated):.1f} s, but its frames end after "
            f"{float(found):.1f} s; it may be cut off.",
            stacklevel=3,
        )
    digest = file_sha256(path)

    known = {stamp: number for number, stamp in enumerate(stamps)}
    is_seekable = is_exact and len(known) == len(stamps) and None not in known

    def decode(first: int) -> Iterator[tuple[int, Any]]:
        """Yield numbers and frames from the first one wanted on."""
        if first and is_seekable:
            is_begun = False
            for frame in _decode(path, argument, stamps[first]):
                if isinstance(frame, str):
                    break
                number = known.get(frame.pts)
                is_begun = is_begun or frame.key_frame
                if not is_begun or number is None or number > first:
                    break  # seeking is not exact here
                if number == first:
                    yield number, frame
                    first += 1
        if first < len(stamps):
            for number, frame in enumerate(_decode(path, argument)):
                if number >= first:
                    yield number, frame

    def read(numbers: Sequence[int]) -> Iterator[Picture]:
        wanted, last = {*numbers}, max(numbers, default=-1)
        for number, frame in decode(min(numbers, default=0)):
            if isinstance(frame, str):
                return
            if number in wanted:
                rgb, alpha = _upright(frame, shape)
                yield Picture(rgb=rgb, alpha=alpha, sha256=digest, name=name)
            if number >= last:
                return

    return Clip(
        name=name,
        shape=shape,
        times=tuple(time - times[0] for time in times),
        numbers=tuple(range(len(times))),
        sha256=digest,
        film=path,
        files=(path,),
        origin=times[0],
        clock=clock,
        time_base=time_base,
        has_alpha=has_alpha,
        read_fn=read,
    )


def _check_size(frame: Any, path: Path, argument: str) -> None:
    """Check that a frame, or a stream, has no more pixels than pictures may have."""
    count = frame.width * frame.height
    if count > (limit := PILImage.MAX_IMAGE_PIXELS or count):
        raise ValueError(
            f"`{argument}` {path_text(path)}, {frame.width} x {frame.height} px, has "
            f"more than {limit // 1_000_000} megapixels, which may be an attack; if "
            "you trust it, raise the limit (--max-megapixels of the commands, in "
            "Python `PIL.Image.MAX_IMAGE_PIXELS`)."
        )


def _shape_of(frame: Any, square: Fraction) -> tuple[int, int]:
    """Return height and width once a frame is upright and its pixels are square."""
    height, width = frame.height, frame.width
    if square > 1:
        width = round(width * square)
    elif 0 < square < 1:
        height = round(height / square)
    return (width, height) if _turns(frame) % 2 else (height, width)


def _turns(frame: Any) -> int:
    """Return how many quarters a frame is to be turned, to the left."""
    return round(frame.rotation / 90) % 4


def _is_mirrored(frame: Any) -> bool:
    """Return whether a frame is to be turned upside down, too, before its turn."""
    data = frame.side_data.get(av.sidedata.sidedata.Type.DISPLAYMATRIX)
    if data is None:
        return False
    (a, b), (c, d) = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2] / 65536
    return bool(a * d < b * c)


def _is_clear(alpha: np.ndarray | None) -> bool:
    """Return whether a picture has transparent parts, once it has 8 bits."""
    return alpha is not None and bool(alpha.min() < 254.5 / 255)


def _has_alpha(frame: Any) -> bool:
    kinds = frame.format.components
    return any(kind.is_alpha for kind in kinds) or frame.format.has_palette


def _upright(frame: Any, shape: tuple[int, int]) -> tuple[HostImage, np.ndarray | None]:
    """Return a frame in sRGB, turned upright, with square pixels, and its opacity."""
    kinds = frame.format.components
    is_deep = max(kind.bits for kind in kinds) > 8
    has_alpha = _has_alpha(frame)
    layout = ("rgba64le" if has_alpha else "rgb48le") if is_deep else "rgb24"
    layout = "rgba" if has_alpha and not is_deep else layout
    matrix = None
    if frame.format.is_rgb is False and frame.colorspace == _UNSTATED:
        matrix = "ITU709" if min(frame.height, frame.width) >= _HD_ROWS else "ITU601"
    values = frame.reformat(format=layout, src_colorspace=matrix).to_ndarray()
    pixels = values.astype(np.float32) / np.float32(65535 if is_deep else 255)
    if frame.color_trc in (_PQ, _HLG):
        pixels[..., :3] = from_hdr(pixels[..., :3], is_pq=frame.color_trc == _PQ)
    pixels = pixels[::-1] if _is_mirrored(frame) else pixels
    pixels = np.rot90(pixels, _turns(frame))
    if pixels.shape[:2] != shape:
        pixels = resize(np.ascontiguousarray(pixels), shape)
    pixels = np.ascontiguousarray(pixels)
    alpha = np.ascontiguousarray(pixels[..., 3]) if has_alpha else None
    return np.ascontiguousarray(pixels[..., :3]), alpha if _is_clear(alpha) else None


# From the primaries of BT.2020 to those of sRGB, in linear light (ITU-R BT.2087).
_TO_SRGB = np.array(
    [
        [1.6605, -0.5876, -0.0728],
        [-0.1246, 1.1329, -0.0083],
        [-0.0182, -0.1006, 1.1187],
    ],
    np.float32,
)
# Light of a white page in HDR films, in candela per square meter (ITU-R BT.2408).
_WHITE = 203.0
# Above this part of it lights are compressed.
_KNEE = 0.7


def from_hdr(rgb: HostImage, *, is_pq: bool) -> HostImage:
    """Return a frame of HDR in sRGB: lights above white are compressed.

    References:
        ITU-R BT.2100: the curves of PQ and HLG, the latter at 1000 cd/m2.
    """
    if is_pq:
        root = rgb ** (1 / 78.84375)
        part = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        light = 10_000 * part ** (1 / 0.1593017578125) / _WHITE
    else:
        high = (np.exp((rgb - 0.55991073) / 0.17883277) + 0.28466892) / 12
        scene = np.where(rgb <= 0.5, rgb**2 / 3, high)
        luma = scene @ np.array([0.2627, 0.678, 0.0593], np.float32)
        light = 1000 * scene * np.maximum(luma, 1e-6)[..., None] ** 0.2 / _WHITE
    light = np.maximum(light @ _TO_SRGB.T, 0)
    peak = np.maximum(light.max(-1, keepdims=True), 1e-6)
    bent = _KNEE + (1 - _KNEE) * (1 - np.exp((_KNEE - peak) / (1 - _KNEE)))
    light = light * np.where(peak > _KNEE, bent, peak) / peak
    encoded = np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
    )
    return np.clip(encoded, 0, 1).astype(np.float32)


def small_shape(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Return a shape of at most this longest side, and no side below the least."""
    least = MIN_SIDE * max(shape[:2]) / min(shape[:2])
    return fitted_shape(shape, round(min(max(shape[:2]), max(longest, least))))
