"""`jaxnst video`: a clip, painted so that it does not flicker."""

import argparse
import dataclasses
import functools
import time
from typing import Any

from jaxnst._checks import one_or_all, path_text, shown
from jaxnst.config import CLIP_SETTINGS, OVER_TIME, SETTINGS, parse_moment

from .options import (
    EXIT_INTERRUPTED,
    LIMIT,
    QUIET,
    STANDARD,
    WHOLE,
    Command,
    flag,
    option,
    read_input,
    say,
    say_error,
    setting_option,
    setting_options,
)


_GROUP = "the clip"
_EXAMPLES = """\
examples:
  jaxnst video in.mp4 painting.jpg -o out.mp4
      every frame painted like the painting, with the sound of in.mp4; after a
      kill the same command goes on

  jaxnst video in.mp4 painting.jpg -o out.mp4 --check
      frames, shots, time and memory; paints nothing

  jaxnst video in.mp4 painting.jpg -o out.mp4 --preview
      a sheet of a few small frames, out.mp4.preview.png

  jaxnst video frames/%04d.png painting.jpg -o painted/
      pictures in, pictures out

  jaxnst video in.mp4 painting.jpg -o out.mp4 --strength "0:0.2; 3.5s:0.9"
      from frame 0 to second 3.5 more and more of the painting

  jaxnst video other.mp4 painting.jpg -o other_out.mp4 --like out.mp4
      another clip with the settings stored in out.mp4
"""
# Settings of pictures that a clip has not.
_WITHOUT = ("tile", "max_seconds", "like")
_PASSED_ON = ("output", "audio", "codec", "quality", "keep", "metrics")


def _parse_over_time(text: str, name: str) -> Any:
    """Return a value, or `0:0.2; 48:0.9` as {frame, or seconds as a float: value}."""
    parse_fn = SETTINGS[name].parse_fn
    points = [part.partition(":") for part in text.split(";") if part.strip()]
    if not any(colon for _, colon, _ in points) or not _is_moment(points[0][0]):
        return parse_fn(text)  # names of files may have colons
    if not all(colon for _, colon, _ in points):
        raise ValueError(f"{shown(text)} is not MOMENT:VALUE; MOMENT:VALUE; ...")
    found = {parse_moment(at): parse_fn(value.strip()) for at, _, value in points}
    if len(found) < len(points):
        raise ValueError(f"{shown(text)} names a moment twice")
    return found


def _is_moment(text: str) -> bool:
    try:
        parse_moment(text)
    except ValueError:
        return False
    return True


def _video(args: argparse.Namespace) -> int:
    given = {name: vars(args)[name] for name in (*SETTINGS, "masks") if name in args}
    own = {name: vars(args)[name] for name in CLIP_SETTINGS if name in args}
    if args.like is not None:
        if "preset" in args:
            raise ValueError("give --like or --preset, not both")
        from jaxnst.images import read_record
        from jaxnst.videos.jobs import settings_of_clip

        settings, of_clip = settings_of_clip(read_record(args.like), given=vars(args))
        given, own = settings | given, of_clip | own
    if STANDARD in (args.clip, args.output):
        raise ValueError("a clip is a file or a folder, and not -")
    from jaxnst.videos.encoding import check_output

    output = check_output(args.output, codec=args.codec, quality=args.quality)
    styles = one_or_all([read_input(name) for name in args.style])
    if args.check or args.preview:
        from jaxnst.videos.previews import estimate_clip, preview_clip

        form = {"output": output, "audio": args.audio, "is_quiet": args.quiet}
        if args.check:
            found = estimate_clip(args.clip, styles, own, given, **form)
            say(*str(found).split("\n"))
            return 0
        place = output.beside(".preview.png")
        preview_clip(args.clip, styles, own, given, place, **form)
        if not args.quiet:
            say(str(place))
        return 0

    from jaxnst.videos.driver import VideoInterrupted, video

    started = time.monotonic()
    result, is_interrupted = None, False
    try:
        result = video(
            args.clip,
            styles,
            **{name: vars(args)[name] for name in _PASSED_ON},
            progress=not args.quiet,
            **own,
            **given,
        )
    except VideoInterrupted as interrupted:
        result, is_interrupted = interrupted.result, True
    except KeyboardInterrupt:  # before the first frame of this run
        is_interrupted = True
    if is_interrupted:
        kept, there = output.beside(".frames"), "no frame was painted"
        if result is not None and result.path is not None:
            there = f"the {len(result)} frames painted so far are in {result.path}"
        elif any(kept.glob("*.png")):
            there = f"the frames painted so far are in {path_text(kept)}"
        say_error(f"interrupted; {there}; the same command again goes on from here")
        return EXIT_INTERRUPTED
    assert result is not None
    made = result.record["result"]
    if not args.quiet:
        say(
            f"{result.path}  ({made['width']} x {made['height']}, {len(result)} "
            f"frames, {time.monotonic() - started:.0f} s)",
            *(f"{name:20} {x:.5g}" for name, x in (result.metrics or {}).items()),
        )
    return 0


VIDEO = Command(
    run_fn=_video,
    help="paint a clip so that it does not flicker",
    usage="jaxnst video CLIP STYLE [STYLE ...] -o FILE [options]",
    description="""\
Paint CLIP in the style of STYLE: the first frame of each shot as a picture, all
others from the last painted one, carried along the motion.""",
    epilog=_EXAMPLES,
    shown=("output", "check", "preview", "steadiness", "frame_steps", "like"),
    options=(
        option("clip", "a film, or a folder or pattern of pictures", "CLIP"),
        option("style", "a picture in the style, or several", "STYLE", nargs="+"),
        option(
            "-o --output",
            ".mp4 .mov .mkv .webm; or a folder or pattern of pictures",
            "FILE",
            required=True,
        ),
        flag("--check", "say frames, shots, time and memory, and paint nothing"),
        flag("--preview", "paint only some small frames, into FILE.preview.png"),
        QUIET,
        flag("--metrics", "measure how steady the result is"),
        flag("--keep", "keep the folder of painted frames, FILE.frames"),
        option("--like", "use the settings kept in FILE", "FILE"),
        *(
            setting_option(name, declared, declared.parse_fn, _GROUP)
            for name, declared in CLIP_SETTINGS.items()
        ),
        option(
            "--no-audio",
            "leave sound and subtitles out",
            group=_GROUP,
            dest="audio",
            action="store_false",
        ),
        option(
            "--codec",
            "h264, h265, vp9, av1, prores or ffv1 (that of the ending)",
            "NAME",
            group=_GROUP,
        ),
        option(
            "--quality",
            "of the film, 0 (best) to 51 (default: %(default)s)",
            "N",
            group=_GROUP,
            type=WHOLE,
            default=16,
        ),
        *(
            setting_option(
                name,
                dataclasses.replace(
                    SETTINGS[name],
                    help=f"{SETTINGS[name].help}; over time MOMENT:VALUE; ...",
                ),
                functools.partial(_parse_over_time, name=name),
            )
            for name in OVER_TIME
        ),
        *setting_options(without=(*_WITHOUT, *OVER_TIME)),
        LIMIT,
    ),
)
