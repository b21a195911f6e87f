"""Clips as files: what is read, what is written, and what is refused."""

import sys
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture
from PIL import Image
from test_videos import QUICK

import jaxnst
from jaxnst.cli.main import main
from jaxnst.images.metadata import open_container
from jaxnst.insight.clips import _give_advice
from jaxnst.videos import encoding
from jaxnst.videos.encoding import check_output, check_streams, write_clip
from jaxnst.videos.previews import preview_clip
from jaxnst.videos.source import from_hdr, open_clip


av = pytest.importorskip("av")
BUNNY = Path(__file__).parent.parent / "examples" / "images" / "big_buck_bunny.mp4"
COLORS = np.array(
    [
        [0, 200, 0],
        [200, 0, 0],
        [0, 0, 200],
        [255, 255, 255],
        [90, 120, 30],
        [20, 20, 20],
    ],
    np.uint8,
)
FEW = ["--size", "64", "--min-size", "0", "--num-steps", "3", "--frame-steps", "2"]


def bars(height=48, width=96):
    """Return a picture of vertical bars, each of one color."""
    return np.repeat(COLORS[None], width // len(COLORS), 1).repeat(height, 0)


def encode(
    path,
    frames,
    *,
    codec="ffv1",
    pixels="bgr0",
    layout="rgb24",
    stamps=None,
    base=Fraction(1, 25),
    sound=(),
    change_fn=lambda stream: None,
    chapters=(),
):
    """Write a film with PyAV alone."""
    with av.open(str(path), "w") as film:
        film.set_chapters([*chapters])
        stream = film.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = base
        change_fn(stream)
        voices = [film.add_stream(each, rate=16_000, layout="mono") for each in sound]
        for number, frame in enumerate(frames):
            made = av.VideoFrame.from_ndarray(frame, format=layout)
            made = made.reformat(format=pixels, dst_colorspace="ITU709")
            made.colorspace = stream.codec_context.colorspace
            made.pts = number if stamps is None else stamps[number]
            made.time_base = base
            film.mux(stream.encode(made))
        film.mux(stream.encode(None))
        for voice in voices:
            tone = np.sin(np.arange(8000) / 20).astype(np.float32)[None]
            sample = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            sample.sample_rate, sample.pts = 16_000, 0
            sample.time_base = Fraction(1, 16_000)
            film.mux(voice.encode(sample))
            film.mux(voice.encode(None))
    return path


def state_colors(stream):
    stream.codec_context.colorspace = 1


def packets(path, kind):
    """Return the packets of sound or pictures of a film: times and bytes."""
    with av.open(str(path)) as film:
        return [
            (packet.stream.index, packet.pts * packet.time_base, bytes(packet))
            for packet in film.demux()
            if packet.pts is not None and packet.stream.type == kind
        ]


def copy(source, output, part=(None, None), **options):
    """Read a clip and write it again, unpainted."""
    clip = open_clip(source).part(*part)
    pictures = ((x.rgb, x.alpha) for x in clip.frames())
    record = {"jaxnst": "test", "settings": {}}
    place = check_output(output, **options)
    check_streams(place, clip, audio=True)
    write_clip(pictures, place, clip, record=record)
    return clip


def test_times_and_sound_stay_as_they_are(tmp_path):
    output = tmp_path / "out.mp4"
    copy(BUNNY, output)
    before, after = packets(BUNNY, "audio"), packets(output, "audio")
    assert len(before) == 46
    assert [each[1:] for each in before] == [each[1:] for each in after]
    assert open_clip(output).times == open_clip(BUNNY).times
    stamps = [0, 400, 900, 1000, 2600]
    base = Fraction(1, 12800)
    frames = [np.roll(bars(), 4 * i, 1) for i in range(5)]
    varying = encode(
        tmp_path / "in.mp4",
        frames,
        codec="libx264",
        pixels="yuv420p",
        stamps=stamps,
        base=base,
        sound=["aac", "aac"],
    )
    copy(varying, output)
    assert [each * 12800 for each in open_clip(output).times] == stamps
    assert {each[0] for each in packets(output, "audio")} == {1, 2}
    # A track that FFmpeg cannot name, as newer phones write, is left out, and told.
    data = bytearray(varying.read_bytes())
    for name in (b"mp4a", b"esds"):
        place = data.rfind(name)
        data[place : place + 4] = b"xxxx"
    strange = tmp_path / "strange.mp4"
    strange.write_bytes(data)
    with pytest.warns(UserWarning, match="a track of a kind that FFmpeg does not know"):
        copy(strange, output)
    assert {each[0] for each in packets(output, "audio")} == {1}
    # A film need not begin at 0.
    late = encode(
        tmp_path / "late.mp4",
        frames,
        codec="libx264",
        pixels="yuv420p",
        stamps=[each + 1000 for each in stamps],
        base=base,
    )
    origin = open_clip(late).origin
    assert origin > 0
    copy(late, output)
    assert open_clip(output).origin == origin
    part = open_clip(varying).part(0.03, None)
    assert part.numbers == (1, 2, 3, 4)
    assert part.times[0] * 12800 == 400


@pytest.mark.parametrize("part", [(None, None), (2, None)])
def test_a_recording_whose_clock_begins_anywhere_begins_at_once(tmp_path, part):
    hour = encode(
        tmp_path / "in.ts",
        [np.roll(bars(), 4 * i, 1) for i in range(6)],
        codec="libx264",
        pixels="yuv420p",
        stamps=[10**6 + i for i in range(6)],
        change_fn=lambda stream: setattr(stream, "options", {"bf": "0"}),
    )
    assert open_clip(hour).origin > 3600
    with_sound = tmp_path / "sound.ts"
    with av.open(str(hour)) as old, av.open(str(with_sound), "w") as film:
        video = film.add_stream_from_template(old.streams.video[0])
        voice = film.add_stream("aac", rate=16_000, layout="mono")
        tone = np.zeros((1, 8000), np.float32)
        sample = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        sample.sample_rate, sample.time_base = 16_000, Fraction(1, 16_000)
        sample.pts = 40_000 * 16_000
        sounds = [*voice.encode(sample), *voice.encode(None)]
        for packet in [each for each in old.demux() if each.dts is not None] + sounds:
            if packet not in sounds:
                packet.stream = video
            film.mux(packet)
    clip = copy(with_sound, tmp_path / "out.mp4", part=part)
    copied = open_clip(tmp_path / "out.mp4")
    assert 0 <= copied.origin < 0.1
    assert [x - clip.times[0] for x in clip.times] == [*copied.times]
    if part == (None, None):
        before, after = (
            packets(with_sound, "audio"),
            packets(tmp_path / "out.mp4", "audio"),
        )
        late = before[0][1] - clip.origin - (after[0][1] - copied.origin)
        assert abs(late) < 0.001


def test_a_subtitle_is_seen_from_the_start_on(tmp_path):
    text = tmp_path / "in.srt"
    lines = ("00:00:00,000 --> 00:00:00,200", "00:00:00,200 --> 00:00:00,400")
    text.write_text("".join(f"{i}\n{x}\nline {i}\n\n" for i, x in enumerate(lines, 1)))
    film = encode(tmp_path / "film.mkv", [bars()] * 12)
    source = tmp_path / "in.mkv"
    with (
        av.open(str(film)) as old,
        av.open(str(text)) as titles,
        av.open(str(source), "w") as made,
    ):
        both = [(x, made.add_stream_from_template(x.streams[0])) for x in (old, titles)]
        for each, copied in both:
            for packet in each.demux():
                if packet.dts is not None:
                    packet.stream = copied
                    made.mux(packet)
    copy(source, tmp_path / "out.mkv", part=(3, None))  # from second 0.12 on
    found = packets(tmp_path / "out.mkv", "subtitle")
    assert [(float(x[1]), x[2]) for x in found] == [(0, b"line 1"), (0.08, b"line 2")]


def test_sound_that_is_longer_is_no_damage(tmp_path):
    source = encode(
        tmp_path / "in.mp4",
        [bars()] * 2,
        codec="libx264",
        pixels="yuv420p",
        sound=["aac"],
    )
    slow = encode(tmp_path / "slow.mkv", [bars()] * 2, base=Fraction(2))
    for path in (source, slow):
        assert len(open_clip(path)) == 2  # warnings are errors here


def chapters_of(path):
    """Return begin, end and title of the chapters of a film."""
    with open_container(path) as film:
        return [
            (*(each[x] * each["time_base"] for x in ("start", "end")), each["metadata"])
            for each in film.chapters()
        ]


def test_chapters_languages_and_titles_are_kept(tmp_path):
    second = Fraction(1, 10)
    chapters = [
        {
            "id": number,
            "start": number,
            "end": number + 1,
            "time_base": second,
            "metadata": {"title": f"part {number}"},
        }
        for number in range(4)
    ]
    source = encode(
        tmp_path / "in.mkv",
        [bars()] * 10,
        sound=["libopus", "libopus"],
        chapters=chapters,
    )
    # As FFmpeg's files are often made: text that is not UTF-8.
    source.write_bytes(source.read_bytes().replace(b"part 3", b"part \xe9"))
    is_kept = int(av.__version__.partition(".")[0]) >= 19
    last = b"part \xe9".decode("utf-8", "surrogateescape" if is_kept else "replace")
    for ending in ("mp4", "mkv", "webm"):
        output = tmp_path / f"out.{ending}"
        copy(source, output)
        assert chapters_of(output)[:3] == chapters_of(source)[:3]
        copy(source, output, part=(4, 8))  # from second 0.16 to 0.32
        assert [(x[0], x[1], x[2]["title"]) for x in chapters_of(output)] == [
            (0, Fraction(1, 25), "part 1"),
            (Fraction(1, 25), Fraction(7, 50), "part 2"),
            (Fraction(7, 50), Fraction(4, 25), last),
        ]
        # Of both voices as much as of the pictures.
        ends = {index: pts for index, pts, _ in packets(output, "audio")}
        assert len(ends) == 2
        assert all(0.13 < each < 0.16 for each in ends.values())
    named = tmp_path / "named.mkv"
    with open_container(source) as old, av.open(str(named), "w") as film:
        copies = {
            each.index: film.add_stream_from_template(each, opaque=True)
            for each in old.streams
        }
        copies[2].metadata.update({"language": "fra", "title": "VF"})
        copies[2].disposition = av.stream.Disposition.forced.value
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                film.mux(packet)
    copy(named, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as film:
        known = film.streams[2]
        assert (known.metadata["language"], known.metadata["title"]) == ("fra", "VF")
        assert known.disposition & av.stream.Disposition.forced


def test_reading_from_the_middle_is_reading_the_whole(tmp_path):
    """Seeking is not exact everywhere."""
    frames = [np.roll(bars(), 3 * i, 1) for i in range(12)]

    def order(stream):
        stream.options = {"g": "5", "bf": "2"}

    for name, codec in (
        ("a.mpg", "mpeg1video"),
        ("a.flv", "libx264"),
        ("a.mkv", "libx264"),
    ):
        source = encode(
            tmp_path / name, frames, codec=codec, pixels="yuv420p", change_fn=order
        )
        clip = open_clip(source)
        whole = [each.rgb for each in clip.frames()]
        assert len(whole) == 12
        for first in range(1, 12):
            found = [each.rgb for each in clip.frames(first)]
            assert np.array_equal(found, whole[first:]), (name, first)


def test_time_stamps_that_go_back(tmp_path):
    def write(name, stamps):
        source = encode(tmp_path / "in.mkv", [bars()] * len(stamps))
        path = tmp_path / name
        with av.open(str(source)) as old, av.open(str(path), "w") as film:
            stream = film.add_stream_from_template(old.streams.video[0], opaque=True)
            for number, packet in enumerate(old.demux()):
                if packet.dts is not None:
                    packet.pts, packet.dts = stamps[number], number - 9000
                    packet.stream = stream
                    film.mux(packet)
        return path

    twice = write("twice.mkv", [0, 40, 40, 80])
    copy(twice, tmp_path / "out.mp4")
    times = open_clip(tmp_path / "out.mp4").times
    assert [each * 1000 for each in times] == [0, 40, 41, 80]
    back = write("back.mkv", [0, 40, 5000, 80])
    with pytest.raises(ValueError, match=r"frame 3 is 4\.9 s before the last one"):
        open_clip(back)


def test_colors_are_those_of_hd_and_said_to_be(tmp_path):
    frames = [bars()] * 3
    for name, codec, allowed in (
        ("a.mp4", "h264", 3),
        ("a.mkv", "ffv1", 1),
        ("a.webm", "vp9", 4),
    ):
        source = encode(tmp_path / f"in_{name}.mkv", frames)
        output = tmp_path / name
        copy(source, output, codec=codec, quality=4)
        with av.open(str(output)) as film:
            frame = next(film.decode(video=0))
            context = film.streams.video[0].codec_context
            assert (frame.colorspace, context.color_range) == (1, 1)
            assert (context.color_primaries, context.color_trc) == (1, 1)
        found = next(open_clip(output).frames()).rgb[24, 8::16] * 255
        assert np.abs(found - COLORS).max() <= allowed, name


def test_forms_of_frames(tmp_path):
    """Turned, with odd sides, with long pixels, of 10 bits, with opacity."""
    photo = np.round(255 * picture(40, 64, seed=1)).astype(np.uint8)
    odd = encode(tmp_path / "odd.mkv", [photo[:39, :63]] * 2)
    assert open_clip(odd).shape == (39, 63)
    copy(odd, tmp_path / "even.mp4")
    assert open_clip(tmp_path / "even.mp4").shape == (40, 64)
    assert np.abs(next(open_clip(odd).frames()).rgb * 255 - photo[:39, :63]).max() < 1

    def stretch(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)

    long = encode(
        tmp_path / "long.mp4",
        [photo] * 2,
        codec="libx264",
        pixels="yuv420p",
        change_fn=stretch,
    )
    assert open_clip(long).shape == (40, 96)
    deep = encode(
        tmp_path / "deep.mkv",
        [photo] * 2,
        codec="ffv1",
        pixels="yuv444p10le",
        change_fn=state_colors,
    )
    values = next(open_clip(deep).frames()).rgb * 1023
    assert np.abs(values / 1023 - photo / 255).max() < 4 / 255
    clear = np.dstack([photo, np.full((40, 64), 128, np.uint8)])
    clear[:, 32:, 3] = 255
    source = encode(tmp_path / "clear.mkv", [clear] * 2, pixels="bgra", layout="rgba")
    assert open_clip(source).has_alpha
    copy(source, tmp_path / "clear.webm")
    found = next(open_clip(tmp_path / "clear.webm").frames())
    assert found.alpha is not None
    assert np.abs(found.alpha[:, ::63] * 255 - [128, 255]).max() < 4
    # What could be transparent, but is not, goes into any film.
    full = np.dstack([photo, np.full((40, 64), 255, np.uint8)])
    source = encode(tmp_path / "full.mkv", [full] * 2, pixels="bgra", layout="rgba")
    assert not open_clip(source).has_alpha
    copy(source, tmp_path / "full.mp4")
    copy([full] * 2, tmp_path / "full.mp4")
    source = encode(tmp_path / "late.mkv", [full, clear], pixels="bgra", layout="rgba")
    copy(source, tmp_path / "late.webm")
    first, second = open_clip(tmp_path / "late.webm").frames()
    assert first.alpha is None
    assert second.alpha is not None


def test_opacity_of_frames_that_are_read_once_and_of_odd_sides(files, tmp_path):
    clear = np.dstack([bars()[:, :95], np.full((48, 95), 128, np.uint8)])
    source = (clear for _ in range(2))
    settings: dict[str, Any] = QUICK | {"strength": 0, "size": 95}
    output = tmp_path / "out.mkv"
    result = jaxnst.video(source, files[1], output=output, codec="ffv1", **settings)
    again = result.save(tmp_path / "again.mkv", codec="ffv1")
    for path in (output, again):
        alpha = next(open_clip(path).frames()).alpha
        assert alpha is not None
        assert np.allclose(alpha[:, :95], 128 / 255, atol=1 / 255)


def test_a_film_is_turned_and_mirrored(tmp_path):
    photo = np.round(255 * picture(40, 64, seed=1)).astype(np.uint8)
    for turn, flips, wanted in (
        (0, {"hflip": True}, photo[:, ::-1]),
        (0, {"vflip": True}, photo[::-1]),
        (90, {}, np.rot90(photo)),
        (180, {}, photo[::-1, ::-1]),
        (270, {}, np.rot90(photo, -1)),
        (90, {"hflip": True}, np.rot90(photo)[:, ::-1]),
        (90, {"vflip": True}, np.rot90(photo)[::-1]),
    ):
        source = encode(
            tmp_path / "in.mkv",
            [photo] * 2,
            change_fn=lambda x, turn=turn, flips=flips: x.set_display_rotation(
                turn, **flips
            ),
        )
        found = next(open_clip(source).frames()).rgb * 255
        assert np.abs(found - wanted).max() < 1, (turn, flips)


def test_lights_of_hdr_are_pressed_together():
    gray = np.full((2, 2, 3), 0.5, np.float32)
    for is_pq in (True, False):
        low, middle, high = (
            from_hdr(gray * factor, is_pq=is_pq).mean() for factor in (0.5, 1, 2)
        )
        assert 0 < low < middle < high <= 1


def test_pictures_in_and_out(files, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2, 10):
        Image.fromarray(np.roll(bars(), number, 1)).save(folder / f"f{number}.png")
    wanted = [np.roll(bars(), number, 1) for number in (1, 2, 10)]
    for source in (folder, f"{folder}/*.png", sorted_(folder)):
        clip = open_clip(source, rate=10)
        found = [np.round(255 * each.rgb) for each in clip.frames()]
        assert np.array_equal(found, wanted)
        assert clip.times == (0, Fraction(1, 10), Fraction(1, 5))
    spooled = open_clip(each for each in wanted)
    assert np.array_equal(
        [np.round(255 * x.rgb) for x in spooled.frames(1)], wanted[1:]
    )
    copy(folder, tmp_path / "out")
    copy(folder, tmp_path / "p_%03d.jpg")
    assert sorted(x.name for x in (tmp_path / "out").iterdir()) == [
        "000000.png",
        "000001.png",
        "000002.png",
    ]
    assert (tmp_path / "p_002.jpg").exists()
    with pytest.warns(UserWarning, match=r"which stay: 000000.png\."):
        copy(folder, tmp_path / "out", part=(1, 3))
    (folder / "._f1.png").write_bytes(b"of a disk of a Mac")
    assert len(open_clip(folder / "*.png")) == 3
    with pytest.warns(UserWarning, match=r"frames are missing after f2\.png"):
        assert len(open_clip(f"{folder}/f%d.png")) == 3
    Image.fromarray(bars(40, 96)).save(folder / "f11.png")
    with pytest.raises(ValueError, match=r"frame 3 \(f11.png\) is 96 x 40 px, but the"):
        open_clip(folder)
    del files


def sorted_(folder):
    return [folder / f"f{number}.png" for number in (1, 2, 10)]


def test_a_broken_tail_is_left_out(tmp_path):
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 255, (48, 96, 3), np.uint8) for _ in range(8)]
    whole = encode(tmp_path / "whole.mkv", frames, base=Fraction(1))
    data = whole.read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data[: len(data) // 2])
    # FFmpeg itself does not always say that it is damaged.
    with pytest.warns(UserWarning, match="it may be cut off|is damaged after frame"):
        clip = open_clip(broken)
    assert 2 <= len(clip) < 8
    assert len([*clip.frames()]) == len(clip)


def test_what_is_no_clip_is_told_in_one_line(files, tmp_path, monkeypatch):
    content, style = files
    text = tmp_path / "notes.txt"
    text.write_text("no film\n" * 50)
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    renamed = tmp_path / "renamed.mp4"
    renamed.write_bytes(content.read_bytes())
    one = encode(tmp_path / "one.mkv", [bars()])
    small = encode(tmp_path / "small.mkv", [bars(24, 96)] * 2)
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000))
    strange = encode(
        tmp_path / "strange.mp4", [bars()] * 2, codec="libx264", pixels="yuv420p"
    )
    data = strange.read_bytes().replace(b"avc1", b"xxxx").replace(b"avcC", b"xxxx")
    strange.write_bytes(data)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{BUNNY}\n#EXT-X-ENDLIST\n")
    for name, content_of in (("list.mp4", playlist.read_text()), ("join.mkv", None)):
        # Renamed, and another kind of list.
        joined = f"ffconcat version 1.0\nfile '{BUNNY.name}'\n"
        (tmp_path / name).write_text(content_of or joined)
    (tmp_path / "nothing").mkdir()
    song = tmp_path / "song.mp4"
    with av.open(str(song), "w") as film:
        voice = film.add_stream("aac", rate=16_000, layout="mono")
        cover = film.add_mux_stream("mjpeg", width=48, height=40)
        cover.disposition = av.stream.Disposition.attached_pic.value
        silence = np.zeros((1, 1024), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        sounds = [*voice.encode(frame), *voice.encode(None)]
        Image.new("RGB", (48, 40)).save(tmp_path / "cover.jpg")
        packet = av.Packet((tmp_path / "cover.jpg").read_bytes())
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        packet.time_base = Fraction(1, 25)
        film.mux([packet, *sounds])
    for source, message in (
        (tmp_path / "no.mp4", "no such file"),
        (text, "is not a film"),
        (empty, "is not a film that can be read"),
        (renamed, "is a picture; `jaxnst stylize` paints it"),
        (content, "is a picture; `jaxnst stylize` paints it"),
        (one, "has one frame only"),
        (small, "is 96 x 24 px; no side may be below 32 px"),
        (sound, "has sound, but no pictures"),
        (song, "has sound, but no pictures"),
        (strange, "has pictures of a kind that FFmpeg does not know"),
        (playlist, "is not a film"),
        (tmp_path / "list.mp4", "is not a film"),
        (tmp_path / "join.mkv", "is not a film"),
        (tmp_path / "nothing", "no pictures in folder"),
        (tmp_path / "%03d.png", "no pictures like"),
        ("", "which no file can be named"),
        (3, "must be a path, or frames"),
        ([], "has no frames"),
        ([bars()], "has one frame only"),
        (bars(), "must have shape (frames, height, width, channels)"),
        ([bars(), "no.png"], "no such file: no.png"),
    ):
        with pytest.raises((ValueError, TypeError, OSError)) as caught:
            jaxnst.video(source, style, **QUICK)
        assert message in str(caught.value), source
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    with pytest.raises(ValueError, match="320 x 180 px, has more than 0 megapixels"):
        open_clip(BUNNY)


def test_a_clip_is_not_written_over_itself(files, tmp_path):
    source = encode(tmp_path / "in.mkv", [bars()] * 2)
    (tmp_path / "link.mkv").symlink_to(source)
    (tmp_path / "same.mkv").hardlink_to(source)  # as another case of its name may be
    folder = tmp_path / "frames"
    copy(source, folder)
    for clip, output in (
        (source, source),
        (source, tmp_path / "link.mkv"),
        (source, tmp_path / "same.mkv"),
        (folder, folder),
        (f"{folder}/%06d.png", f"{folder}/%06d.png"),
        (f"{folder}/%d.png", f"{folder}/%03d.png"),
    ):
        with pytest.raises(ValueError, match="is where the clip itself is"):
            jaxnst.video(clip, files[1], output=output, **QUICK)
    assert len(open_clip(source)) == 2


def test_what_cannot_be_written_is_told_before_painting(files, tmp_path):
    _, style = files
    clear = np.dstack([bars(), np.full((48, 96), 128, np.uint8)])
    see_through = encode(
        tmp_path / "clear.mkv", [clear] * 2, pixels="bgra", layout="rgba"
    )
    opus = encode(tmp_path / "opus.mkv", [bars()] * 2, sound=["libopus"])
    (tmp_path / "file").write_text("")
    for source, output, options, message in (
        (BUNNY, "out.webm", {}, "sound (aac); use .mp4, .m4v, .mov, .mkv, or leave"),
        (opus, "out.mov", {}, ".mov cannot hold the clip's sound (opus); use .mp4"),
        (BUNNY, "no/such/%d.png", {}, "no such folder"),
        (BUNNY, "file", {}, "is a file; give a folder"),
        (BUNNY, "out.xyz", {}, "'.xyz' is no ending of a film"),
        (BUNNY, "out.png", {}, "no ending of a film for a single picture"),
        (BUNNY, "out.mp4", {"codec": "ffv1"}, ".mp4 does not hold `codec` 'ffv1'"),
        (BUNNY, "out.mp4", {"codec": "divx"}, "`codec` is 'divx'"),
        (BUNNY, "out.mp4", {"quality": 90}, "`quality` must be 0 to 51"),
        (BUNNY, "pictures", {"codec": "h264"}, "pictures have no `codec`"),
        (BUNNY, "no/such/out.mp4", {}, "no such folder"),
        (see_through, "out.mp4", {}, "transparent parts, which `codec` 'h264' cannot"),
    ):
        given: dict[str, Any] = QUICK | options
        with pytest.raises((ValueError, OSError)) as caught:
            jaxnst.video(source, style, output=tmp_path / output, **given)
        assert message in str(caught.value)
    assert not [*tmp_path.glob("*.frames")]


def test_without_the_extra_a_line_says_how_to_install_it(files, monkeypatch, tmp_path):
    for name, title in (("av", "PyAV"), ("cv2", "OpenCV")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(ImportError, match=f"{title}.*jaxnst.video"):
                jaxnst.video(BUNNY, files[1])
            with pytest.raises(ImportError, match=f"{title}.*jaxnst.video"):
                jaxnst.video([bars()] * 2, files[1], output=tmp_path / "o.mp4")
    none = encoding._Codec("libnone", "yuv420p")
    monkeypatch.setitem(encoding._ENCODERS, "h264", none)
    with pytest.raises(ValueError, match="FFmpeg is built without libnone"):
        jaxnst.video(BUNNY, files[1], output=tmp_path / "o.mp4")


def test_a_long_and_narrow_clip_has_a_preview(files, tmp_path, tiny_vgg19):
    frames = np.random.default_rng(0).random((2, 32, 288, 3), np.float32)
    settings = {"num_steps": 2, "coarse_steps": 1}
    place = preview_clip(frames, files[1], {}, settings, tmp_path / "sheet.png")
    assert jaxnst.load_picture(place).rgb.shape[1] > 256


def test_the_command(files, tmp_path, tiny_vgg19, capsys, monkeypatch):
    style, output = str(files[1]), tmp_path / "out.mp4"
    arguments = ["video", str(BUNNY), style, "-o", str(output), *FEW, "--stop", "4"]
    assert main([*arguments, "--check"]) == 0
    told = capsys.readouterr()
    assert "4 frames, 0.16 s, 1 shot, 64 x 36 px" in told.out
    assert told.err == "looking for cuts, and timing a few steps ...\n"
    assert main([*arguments, "--preview", "-q"]) == 0
    assert jaxnst.load_picture(tmp_path / "out.mp4.preview.png").rgb.shape[1] > 64
    assert not output.exists()
    assert main([*arguments, "--strength", "0:0.3; 3:0.8", "--steadiness", "0.7"]) == 0
    told = capsys.readouterr()
    assert f"{output}  (64 x 36, 4 frames, " in told.out
    assert "frame 4 of 4" in told.err
    assert not (tmp_path / "out.mp4.frames").exists()
    assert main(["show", str(output)]) == 0
    printed = capsys.readouterr().out
    changed = printed.partition("changed\n")[2].partition("\nsettings\n")[0]
    assert "steadiness         0.7" in changed
    assert "strength           0:0.3; 3:0.8" in changed
    assert len(packets(output, "audio")) < 12
    again = tmp_path / "again.mkv"
    arguments = ["video", str(BUNNY), style, "-o", str(again), "--like", str(output)]
    assert main([*arguments, "--stop", "3", "-q", "--no-audio"]) == 0
    record = jaxnst.read_record(again)
    assert record["clip"]["steadiness"] == 0.7
    assert record["over_time"] == {"strength": [[0, 0.3], [3, 0.8]]}
    assert packets(again, "audio") == []
    webm = ["video", str(BUNNY), style, "-o", str(tmp_path / "o.webm")]
    assert main([*webm, "--check"]) == main([*webm, "--preview"]) == 2
    assert "cannot hold the clip's sound (aac)" in capsys.readouterr().err
    assert main(["video", str(BUNNY), style, "-o", "-"]) == 2
    assert "and not -" in capsys.readouterr().err

    def interrupt(*_):
        raise KeyboardInterrupt

    # Ctrl-C while the frames are put together: nothing is lost, and nothing is left.
    late = tmp_path / "late.mp4"
    arguments = ["video", str(BUNNY), style, "-o", str(late), *FEW, "--stop", "2", "-q"]
    with monkeypatch.context() as patch:
        patch.setattr(encoding, "_encodable", interrupt)
        assert main(arguments) == 130
    assert "the frames painted so far are in" in capsys.readouterr().err
    assert sorted(x.name for x in tmp_path.glob("*late*")) == ["late.mp4.frames"]
    assert main(arguments) == 0
    assert len(open_clip(late)) == 2
    assert main(["video", str(BUNNY), style, "-o", str(output), "--reach", "5,1"]) == 2
    assert "`reach` must be growing" in capsys.readouterr().err
    assert main(["stylize", *map(str, files), "--like", str(output)]) == 2
    assert "`jaxnst video` makes" in capsys.readouterr().err


def test_a_clip_is_explained(files, tmp_path, tiny_vgg19, capsys):
    output, report = tmp_path / "out.mp4", tmp_path / "out.why.html"
    settings: dict[str, Any] = QUICK | {"stop": 4}
    result = jaxnst.video(BUNNY, files[1], output=output, **settings)
    found = jaxnst.explain(result, progress=False)
    assert len(found.frames) == 4
    assert len(found.worst) == 3
    assert found.summary["warp_error"] > 0
    assert main(["explain", str(output), "--content", str(BUNNY), "-q"]) == 0
    page = report.read_text()
    assert page.count("<figure>") == 12
    assert 'src="http' not in page
    frames = result.save(tmp_path / "frames")
    assert main(["explain", str(frames), "--content", str(BUNNY), "-q"]) == 0
    assert (tmp_path / "frames.why.html").read_text().count("<figure>") == 12
    assert main(["show", str(frames)]) == 0
    assert "kind       video" in capsys.readouterr().out
    assert main(["explain", str(output), "--content", str(files[0]), "-q"]) == 2
    assert "is a picture" in capsys.readouterr().err
    # A record may be anybody's.
    for changes, message in (
        (
            {"result": {"height": 60000, "width": 60000, "steps": 1}},
            "was scaled or cut",
        ),
        ({"clip": [1]}, "`clip` must be named values"),
        ({"clip": {"every": 0}}, "`every` must be at least 1"),
        ({"shot_starts": "x"}, "`shot_starts` must be a list"),
    ):
        record = {**result.record, **changes}
        frames = ((image, None) for image in result)
        write_clip(frames, check_output(output), result.clip, record=record)
        assert main(["explain", str(output), "--content", str(BUNNY), "-q"]) == 2
        assert message in capsys.readouterr().err


def test_a_change_that_was_asked_for_is_no_drift():
    assert "It drifts" in _give_advice({"drift_mean": 22.0}, is_changing=False)[0]
    assert "steady" in _give_advice({"drift_mean": 22.0}, is_changing=True)[0]
