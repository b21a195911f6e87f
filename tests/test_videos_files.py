"""Clips as files: what is read, what is written, and what is refused."""

import sys
import warnings
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
from jaxnst.videos.encoding import check_output, write_clip
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
):
    """Write a film with PyAV alone."""
    with av.open(str(path), "w") as film:
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


def copy(source, output, **options):
    """Read a clip and write it again, unpainted."""
    clip = open_clip(source)
    pictures = ((x.rgb, x.alpha) for x in clip.frames())
    record = {"jaxnst": "test", "settings": {}}
    write_clip(pictures, check_output(output, **options), clip, record=record)
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
    part = open_clip(varying).part(0.03, None)
    assert part.numbers == (1, 2, 3, 4)
    assert part.times[0] * 12800 == 400


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


def test_a_film_is_turned_upright(tmp_path, monkeypatch):
    photo = np.round(255 * picture(40, 64, seed=1)).astype(np.uint8)
    source = encode(tmp_path / "in.mkv", [photo] * 2)

    class Turned:
        """A frame that says how it is to be turned, as phones' films do."""

        def __init__(self, frame):
            self._frame = frame
            self.rotation = -90

        def __getattr__(self, name):
            return getattr(self._frame, name)

    from jaxnst.videos import source as module

    decode = module._decode
    monkeypatch.setattr(module, "_decode", lambda *args: map(Turned, decode(*args)))
    clip = open_clip(source)
    assert clip.shape == (64, 40)
    found = next(clip.frames()).rgb * 255
    assert np.abs(found - np.rot90(photo, -1)).max() < 1


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
    for source in (folder, f"{folder}/f%d.png", f"{folder}/*.png", sorted_(folder)):
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
    Image.fromarray(bars(40, 96)).save(folder / "f11.png")
    with pytest.raises(ValueError, match=r"frame 3 \(f11.png\) is 96 x 40 px, but the"):
        open_clip(folder)
    del files


def sorted_(folder):
    return [folder / f"f{number}.png" for number in (1, 2, 10)]


def test_a_broken_tail_is_left_out(tmp_path):
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 255, (48, 96, 3), np.uint8) for _ in range(8)]
    whole = encode(tmp_path / "whole.mkv", frames)
    data = whole.read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data[: len(data) // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where FFmpeg says that it is damaged
        clip = open_clip(broken)
    assert 2 <= len(clip) < 8
    assert len([*clip.frames()]) == len(clip)


def test_what_is_no_clip_is_told_in_one_line(files, tmp_path):
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
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{BUNNY}\n#EXT-X-ENDLIST\n")
    (tmp_path / "nothing").mkdir()
    for source, message in (
        (tmp_path / "no.mp4", "no such file"),
        (text, "is not a film"),
        (empty, "is not a film that can be read"),
        (renamed, "is a picture; `jaxnst stylize` paints it"),
        (content, "is a picture; `jaxnst stylize` paints it"),
        (one, "has one frame only"),
        (small, "is 96 x 24 px; no side may be below 32 px"),
        (sound, "has sound, but no pictures"),
        (playlist, "is not a film"),
        (tmp_path / "nothing", "no pictures in folder"),
        (tmp_path / "%03d.png", "no pictures like"),
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


def test_what_cannot_be_written_is_told_before_painting(files, tmp_path):
    _, style = files
    clear = np.dstack([bars(), np.full((48, 96), 128, np.uint8)])
    see_through = encode(
        tmp_path / "clear.mkv", [clear] * 2, pixels="bgra", layout="rgba"
    )
    for source, output, options, message in (
        (BUNNY, "out.webm", {}, ".webm cannot hold the clip's sound (aac)"),
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


def test_without_the_extra_a_line_says_how_to_install_it(files, monkeypatch):
    for name, title in (("av", "PyAV"), ("cv2", "OpenCV")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(ImportError, match=f"{title}.*jaxnst.video"):
                jaxnst.video(BUNNY, files[1])


def test_the_command(files, tmp_path, tiny_vgg19, capsys):
    style, output = str(files[1]), tmp_path / "out.mp4"
    arguments = ["video", str(BUNNY), style, "-o", str(output), *FEW, "--stop", "4"]
    assert main([*arguments, "--check"]) == 0
    printed = capsys.readouterr().out
    assert "4 frames, 0.16 s, 1 shot, 64 x 36 px" in printed
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
    assert "steadiness         0.7" in printed
    assert len(packets(output, "audio")) < 12
    again = tmp_path / "again.mkv"
    arguments = ["video", str(BUNNY), style, "-o", str(again), "--like", str(output)]
    assert main([*arguments, "--stop", "3", "-q", "--no-audio"]) == 0
    record = jaxnst.read_record(again)
    assert record["clip"]["steadiness"] == 0.7
    assert record["over_time"] == {"strength": [[0, 0.3], [3, 0.8]]}
    assert packets(again, "audio") == []
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
    assert main(["explain", str(output), "--content", str(files[0]), "-q"]) == 2
    assert "is a picture" in capsys.readouterr().err
