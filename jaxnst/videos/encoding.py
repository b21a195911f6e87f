"""Clips as they are written: films with sound, or folders of pictures."""

import contextlib
import io
import itertools
import json
import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnst._checks import check_choice, check_count, check_path, path_text, shown
from jaxnst._types import HostAlpha, HostImage
from jaxnst.images import EXTENSIONS, check_format, save_picture
from jaxnst.images.files import atomic_write, check_place
from jaxnst.images.metadata import TEXT_KEY
from jaxnst.images.save import quantize

from .source import Clip, av, find_pattern, open_film


# {ending: (FFmpeg's name of the container, codecs that it holds, the usual one first)}
CONTAINERS = {
    ".mp4": ("mp4", ("h264", "h265", "av1", "vp9")),
    ".m4v": ("mp4", ("h264", "h265")),
    ".mov": ("mov", ("h264", "h265", "prores")),
    ".mkv": ("matroska", ("h264", "h265", "vp9", "av1", "ffv1", "prores")),
    ".webm": ("webm", ("vp9", "av1")),
}
CODECS = ("h264", "h265", "vp9", "av1", "prores", "ffv1")
DEFAULT_QUALITY = 16
_MAX_QUALITY = 51
_PICTURES = "%06d.png"
# Kinds of streams that are copied.
_COPIED = ("audio", "subtitle")
# Always so many: the bytes depend on the number of threads.
_THREADS = 4


class _Codec(NamedTuple):
    """How a codec is called, and the pixels it gets."""

    name: str
    pixels: str
    with_alpha: str | None = None
    is_deep: bool = False


_ENCODERS = {
    "h264": _Codec("libx264", "yuv420p"),
    "h265": _Codec("libx265", "yuv420p"),
    "vp9": _Codec("libvpx-vp9", "yuv420p", "yuva420p"),
    "av1": _Codec("libsvtav1", "yuv420p10le", is_deep=True),
    "prores": _Codec("prores_ks", "yuv422p10le", "yuva444p10le", is_deep=True),
    "ffv1": _Codec("ffv1", "yuv444p16le", "bgra", is_deep=True),
}
_WITH_OPACITY = ", ".join(name for name, x in _ENCODERS.items() if x.with_alpha)


class Output(NamedTuple):
    """Where and how a clip is written.

    Attributes:
        codec: one of `CODECS`; None for pictures.
        pattern: file of each picture, with a place for its number; None for a film.
    """

    path: Path
    codec: str | None
    quality: int
    pattern: str | None

    @property
    def is_film(self) -> bool:
        """Whether one file is written."""
        return self.pattern is None

    def place(self, number: int) -> Path:
        """Return the file that a frame is written to."""
        if self.pattern is None:
            return self.path
        before, width, after = re.split(r"%(\d*)d", self.pattern, maxsplit=1)
        return self.path / f"{before}{number:0{width or 1}}{after}"

    def beside(self, ending: str) -> Path:
        """Return a path beside the film or the folder, with its name and an ending."""
        path = self.path
        if path.name in ("", ".."):  # the folder where the program runs, or its parent
            path = path.resolve()
        return path.with_name(f"{path.name}{ending}")


def check_output(
    output: str | os.PathLike[str],
    *,
    codec: str | None = None,
    quality: int = DEFAULT_QUALITY,
) -> Output:
    """Return where a clip can be written, and how.

    Raises:
        ValueError: if the ending is unknown, or its container does not hold the codec.
        OSError: if it cannot be written.
    """
    path = Path(check_path("output", output))
    check_count("quality", quality, minimum=0, maximum=_MAX_QUALITY)
    if codec is not None:
        check_choice("codec", codec, CODECS)
    ending = path.suffix.lower()
    if ending in CONTAINERS:
        _, codecs = CONTAINERS[ending]
        if codec is not None and codec not in codecs:
            holding = [x for x, (_, known) in CONTAINERS.items() if codec in known]
            raise ValueError(
                f"output {path_text(path)}: {ending} does not hold `codec` "
                f"{codec!r}; it holds {', '.join(codecs)}, and {codec} goes into "
                f"{', '.join(holding)}."
            )
        check_place(path)
        codec = codec or codecs[0]
        try:
            av.Codec(_ENCODERS[codec].name, "w")
        except ValueError:
            raise ValueError(
                f"output {path_text(path)}: PyAV's FFmpeg is built without "
                f"{_ENCODERS[codec].name}, which `codec` {codec!r} needs; use another "
                f"one of {', '.join(CODECS)}."
            ) from None
        return Output(path, codec, quality, None)
    if codec is not None:
        raise ValueError(
            f"output {path_text(path)}: pictures have no `codec`; leave it out, or "
            f"give a film ({', '.join(CONTAINERS)})."
        )
    pattern = _PICTURES
    if re.search(r"%\d*d", path.name):
        check_format(path)
        path, pattern = path.parent, path.name
    elif ending and not path.is_dir():
        known = f"{', '.join(CONTAINERS)}; or a folder, or a pattern as %04d.png"
        hint = " for a single picture" if ending in EXTENSIONS else ""
        raise ValueError(
            f"output {path_text(path)}: {shown(ending)} is no ending of a film{hint}; "
            f"known: {known}."
        )
    if path.is_file():
        raise ValueError(f"output {path_text(path)} is a file; give a folder.")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"output {path_text(path)}: no such folder; make it first."
        )
    found = Output(path, None, quality, pattern)
    if path.is_dir():
        check_place(found.place(0))
    return found


Frame = tuple[HostImage, HostAlpha | None]


def write_clip(
    frames: Iterable[Frame],
    output: Output,
    clip: Clip,
    *,
    record: Mapping[str, Any],
    audio: bool = True,
    folder: Path | None = None,
) -> Path:
    """Write painted frames with the time stamps and the sound of a clip.

    Until it is whole, a film is written in `folder`, so that nothing else is left where
    the program is killed.

    Raises:
        OSError: if it cannot be written.
    """
    try:
        if output.is_film:
            if folder is not None and folder.is_symlink():  # on another disk, perhaps
                folder = None
            with atomic_write(output.path, folder) as beside:
                _write_film(frames, beside, output, clip, record, audio=audio)
        else:
            output.path.mkdir(exist_ok=True)
            for number, (rgb, alpha) in zip(clip.numbers, frames, strict=True):
                save_picture(output.place(number), rgb, alpha, record=dict(record))
    except Exception as error:
        # PyAV's errors have a number, too, but are not all OSErrors; ours have none.
        if getattr(error, "errno", None) is None:
            raise
        fault = getattr(error, "strerror", error)
        raise OSError(
            f"output {path_text(output.path)} cannot be written: {fault}"
        ) from error
    return output.path


def check_streams(output: Output | None, clip: Clip, *, audio: bool) -> None:
    """Check that a film can keep the opacity and the sound that the clip has.

    Raises:
        ValueError: if it cannot, or if the output is the clip itself.
    """
    if output is None:
        return
    # A folder of the clip's pictures would hold the painted ones, too.
    is_file = output.is_film or clip.film is not None
    own = {each if is_file else each.parent for each in clip.files}
    # Not by names, of which some disks take `A.mp4` and `a.mp4` for the same.
    if output.path.exists() and any(map(output.path.samefile, own)):
        raise ValueError(
            f"output {path_text(output.path)} is where the clip itself is; give "
            "another name."
        )
    if output.pattern is not None:
        places = {output.place(number) for number in clip.numbers}
        others = {*find_pattern(output.path / output.pattern)} - places
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            warnings.warn(
                f"output {path_text(output.path)} holds pictures of another run, which "
                f"stay: {min(others).name}{more}.",
                stacklevel=3,
            )
    if output.codec is None:
        return
    if audio and clip.film is not None:
        with open_film(clip.film) as source:
            streams = _copied_streams(source)
            if len(streams) < sum(each.type in _COPIED for each in source.streams):
                warnings.warn(
                    f"{clip.name} has a track of a kind that FFmpeg does not know; it "
                    "is left out.",
                    stacklevel=3,
                )
            _check_held(streams, output.path)
    if clip.has_alpha and _ENCODERS[output.codec].with_alpha is None:
        raise ValueError(
            f"the clip has transparent parts, which `codec` {output.codec!r} cannot "
            f"hold; use one of {_WITH_OPACITY}, or a folder of pictures."
        )


def _copied_streams(source: Any) -> list[Any]:
    """Return the streams of sound and subtitles, but those of an unknown kind."""
    known = (each for each in source.streams if each.codec_context is not None)
    return [each for each in known if each.type in _COPIED]


def _check_held(streams: Sequence[Any], path: Path) -> None:
    """Check that a container can hold streams of sound and subtitles.

    Raises:
        ValueError: if it cannot.
    """
    ending = path.suffix.lower()
    other = next((x for x in streams if not _is_held(x, CONTAINERS[ending][0])), None)
    if other is None:
        return
    name = other.codec_context.codec.canonical_name
    what = "sound" if other.type == "audio" else "subtitles"
    holding = [
        each
        for each, (kind, _) in CONTAINERS.items()
        if all(_is_held(stream, kind) for stream in streams)
    ]
    advice = f"use {', '.join(holding)}, or leave it out" if holding else "leave it out"
    raise ValueError(
        f"output {path_text(path)}: {ending} cannot hold the clip's {what} ({name}); "
        f"{advice} (audio=False, --no-audio)."
    )


def _is_held(stream: Any, kind: str) -> bool:
    """Return whether a kind of container takes a stream, by beginning such a film."""
    try:
        with av.open(io.BytesIO(), "w", format=kind) as film:
            film.add_stream_from_template(stream)
            film.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _write_film(
    frames: Iterable[Frame],
    place: Path,
    output: Output,
    clip: Clip,
    record: Mapping[str, Any],
    *,
    audio: bool,
) -> None:
    assert output.codec is not None
    kind = CONTAINERS[output.path.suffix.lower()][0]
    flags = {"movflags": "use_metadata_tags+faststart", "fflags": "+bitexact"}
    options = flags if kind in ("mp4", "mov") else {"fflags": "+bitexact"}
    base = clip.time_base
    if kind in ("mp4", "mov") and base.numerator == 1:
        for name in ("video_track_timescale", "movie_timescale"):
            options[name] = str(base.denominator)
    frames = iter(frames)
    first = next(frames)
    encoder = _ENCODERS[output.codec]
    with contextlib.ExitStack() as stack:
        film = stack.enter_context(
            av.open(f"file:{place.absolute()}", "w", format=kind, options=options)
        )
        film.metadata["comment"] = json.dumps({TEXT_KEY: record}, separators=(",", ":"))
        rate = (1 / clip.duration).limit_denominator(100_000)
        stream = film.add_stream(encoder.name, rate=rate)
        _set_up(stream, encoder, first[0].shape, output, has_alpha=clip.has_alpha)
        stream.codec_context.time_base = base
        packets: Iterator[Any] = iter(())
        if clip.film is not None:
            source = stack.enter_context(open_film(clip.film))
            film.set_chapters([*_chapters_of(source, clip)])
            if audio:
                packets = _packets_of(source, _copy_streams(source, film), clip)
        waiting = next(packets, None)
        for number, (rgb, alpha) in enumerate(itertools.chain([first], frames)):
            time = clip.origin - clip.clock + clip.times[number] - clip.times[0]
            opacity = alpha if clip.has_alpha else None
            frame = _encodable(rgb, opacity, encoder, stream.pix_fmt)
            frame.pts, frame.time_base = round(time / base), base
            film.mux(stream.encode(frame))
            while waiting is not None and waiting.pts * waiting.time_base < time:
                film.mux(waiting)
                waiting = next(packets, None)
        film.mux(stream.encode(None))
        while waiting is not None:
            film.mux(waiting)
            waiting = next(packets, None)


def _set_up(
    stream: Any,
    encoder: _Codec,
    shape: tuple[int, ...],
    output: Output,
    *,
    has_alpha: bool,
) -> None:
    """Say how the pictures of a stream are: even sides, and the colors of HD."""
    height, width = shape[:2]
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = encoder.with_alpha if has_alpha else encoder.pixels
    context = stream.codec_context
    context.thread_count = _THREADS
    # BT.709 of limited range, as players take it.
    context.colorspace = context.color_primaries = context.color_trc = 1
    context.color_range = 1
    quality = output.quality
    if output.codec in ("h264", "h265"):
        stream.options = {"crf": str(quality), "preset": "medium"}
        if output.codec == "h265":
            stream.options |= {"x265-params": "log-level=error"}
            is_matroska = output.path.suffix.lower() == ".mkv"
            context.codec_tag = "HEVC" if is_matroska else "hvc1"
    elif output.codec in ("vp9", "av1"):
        os.environ.setdefault("SVT_LOG", "1")  # AV1's encoder tells errors alone
        stream.options = {"crf": str(round(8 + quality * 55 / _MAX_QUALITY))}
        if output.codec == "vp9":
            stream.options |= {"b": "0", "row-mt": "1", "cpu-used": "2"}


def _encodable(
    rgb: HostImage, alpha: HostAlpha | None, encoder: _Codec, pixels: str
) -> Any:
    """Return a frame as FFmpeg takes it; an odd side gets its last row again."""
    bits = 16 if encoder.is_deep and pixels != "bgra" else 8
    values = quantize(rgb, alpha, bits)
    height, width = rgb.shape[:2]
    values = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    layout = ("rgb" if alpha is None else "rgba") + {8: "24", 16: "48le"}[bits]
    layout = {"rgba24": "rgba", "rgba48le": "rgba64le"}.get(layout, layout)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format=layout)
    frame = frame.reformat(format=pixels, dst_colorspace="ITU709")
    frame.colorspace = frame.color_range = 1
    return frame


# What is known of a stream of sound or subtitles: its language and its title.
_TAGS = ("language", "title", "handler_name")


def _copy_streams(source: Any, film: Any) -> dict[int, Any]:
    """Return {index of a stream of sound or text: its copy}."""
    copied = {}
    for stream in _copied_streams(source):
        copy = film.add_stream_from_template(stream)
        copy.disposition = stream.disposition.value
        known = stream.metadata
        copy.metadata.update({name: known[name] for name in _TAGS if name in known})
        copied[stream.index] = copy
    return copied


def _span(clip: Clip) -> tuple[Fraction, Fraction | float]:
    """Return when the frames of a clip begin and end, from its source's first one."""
    end = clip.times[-1] + clip.duration
    return clip.times[0], end if clip.is_part else math.inf


def _chapters_of(source: Any, clip: Clip) -> Iterator[dict[str, Any]]:
    """Yield the chapters of a film, cut to the frames of a clip."""
    start, end = _span(clip)
    for chapter in source.chapters():
        base = Fraction(chapter["time_base"])
        first = chapter["start"] * base - clip.origin
        last = min(chapter["end"] * base - clip.origin, end)
        if start:
            first = max(first, start)
        if first < min(last, end):
            since = clip.origin - clip.clock - start
            edges = (round((x + since) / base) for x in (first, last))
            yield chapter | dict(zip(("start", "end"), edges, strict=True))


def _packets_of(source: Any, copied: Mapping[int, Any], clip: Clip) -> Iterator[Any]:
    """Yield the packets of sound of a clip, with their time from its start.

    Where the film is damaged they end, as its frames do.
    """
    start, end = _span(clip)
    streams = [source.streams[index] for index in copied]
    last: dict[int, int] = {}
    with contextlib.suppress(av.FFmpegError):
        for packet in source.demux(*streams) if streams else ():
            if packet.pts is None or packet.dts is None:
                continue
            base = Fraction(packet.time_base)
            since = packet.pts * base - clip.origin
            late = max(0, start - since) if start else 0
            if late:  # a subtitle is seen from there on
                length = (packet.duration or 0) * base
                if packet.stream.type != "subtitle" or late >= length:
                    continue
                packet.duration = round((length - late) / base)
                packet.pts = packet.dts = packet.pts + round(late / base)
            if since >= end:
                continue
            shift, index = round((start + clip.clock) / base), packet.stream.index
            # Some films' packets are out of order, which no container takes.
            packet.dts = last[index] = max(
                packet.dts - shift, last.get(index, packet.dts - shift)
            )
            packet.pts = max(packet.pts - shift, packet.dts)
            packet.stream = copied[index]
            yield packet
