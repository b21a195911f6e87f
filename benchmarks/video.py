"""How steady painted clips are, against frames that are painted by themselves.

pip install -e '.[video]'
python benchmarks/video.py [--clips pan tripod bunny layers] [--size 160]
    [--frames 12] [--alone 5] [--runs SETTINGS ...] [--style PICTURE] [-o FOLDER]
    [--memory SIZE] [--json FILE]

Four clips: a pan with known flow, a tripod shot with noise, Big Buck Bunny, and a disc
that moves over a photograph that moves, too. SETTINGS are of `jaxnst.video`, in JSON:
--runs '{}' '{"steadiness": 1}' '{"passes": 2}'.

"warp" is the change along the motion (the true one, where it is known) over that of
frames by themselves, "long" the same from the fifth frame before. LPIPS, Gram and
palette gaps are means of the same frames however they are painted. "seconds" is the
median of the frames after the first, over that of a frame by itself. The folder gets
each clip as a film.

--memory measures something else: the peak of a new process that paints Big Buck Bunny
at this size, from pictures to a film, above that of one which paints its first frame.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    IMAGES,
    count_of,
    make_parser,
    path_of,
    run_fresh,
    run_main,
    say_if_busy,
    size_of,
    write_json,
)

import jaxnst
from jaxnst.images import resize, save_picture
from jaxnst.metrics import measure
from jaxnst.pretrained import load_lpips_network
from jaxnst.videos.flow import farneback_flow, one_thread
from jaxnst.videos.measuring import measure_frames, summarize
from jaxnst.videos.source import open_clip


# Frames of a clip, and first frames of its shots; the first row is the picture.
MEMORY_RUNS = [(1, ()), (6, ()), (24, ()), (48, (24,)), (72, (24, 48))]
MEMORY = """
import json
import jaxnst
from _common import peak_memory
folder, size, style, count, cuts = *sys.argv[1:5], json.loads(sys.argv[5])
shared = dict(size=int(size), progress=False)
if count == "1":
    jaxnst.stylize(f"{folder}/00.png", style, **shared).save(f"{folder}/one.jpg")
else:
    film = f"{folder}/{count}.mp4"
    clip = f"{folder}/%02d.png"
    jaxnst.video(clip, style, stop=int(count), cuts=cuts, output=film, **shared)
print(json.dumps(peak_memory()))
"""

CLIPS = ("pan", "tripod", "bunny", "layers")
COLUMNS = {
    "warp": "warp",
    "long": "long",
    "detail": "detail_kept",
    "mean": "drift_mean",
    "contrast": "drift_contrast",
    "LPIPS": "lpips",
    "Gram": "gram_gap",
    "palette": "palette_gap",
    "time": "time",
}


def photograph(name: str, width: int) -> Any:
    """Return a photograph of this width."""
    rgb = jaxnst.load_picture(IMAGES / f"{name}.jpg").rgb
    return resize(rgb, (round(width * rgb.shape[0] / rgb.shape[1]), width))


def make_clip(name: str, size: int, count: int) -> list[Any]:
    """Return the frames of a clip, in 8 bits."""
    height, width = round(size * 9 / 16), size
    generator = np.random.default_rng(0)
    frames = []
    film = open_clip(IMAGES / "big_buck_bunny.mp4")
    wide = photograph("summer_palace", size + 3 * 24 + 8)
    front = photograph("coffee", 2 * size)
    for index in range(count):
        if name == "bunny":
            frame = next(film.frames(index))
            frames.append(resize(frame.rgb, (height, width)))
        elif name == "pan":
            frames.append(wide[8 : 8 + height, 3 * index : 3 * index + width])
        elif name == "tripod":
            still = wide[8 : 8 + height, :width]
            frames.append(still + generator.normal(0, 2 / 255, still.shape))
        else:
            back = wide[8 : 8 + height, index : index + width]
            down, across = np.mgrid[:height, :width]
            center = 0.25 * width + 4 * index
            disc = np.hypot(down - height / 2, across - center) < 0.3 * height
            left = round(0.6 * size - center)
            if left < 0:
                raise ValueError(
                    f"the disc of 'layers' leaves the picture at frame {index}; give "
                    f"--frames {index} or fewer."
                )
            top = front[20 : 20 + height, left : left + width]
            frames.append(np.where(disc[..., None], top, back))
    return [np.round(255 * np.clip(x, 0, 1)).astype(np.uint8) for x in frames]


def true_flow_fn(name: str, contents: list[Any]) -> Callable[..., Any] | None:
    """Return the known flow between frames of a clip; None where it is not known."""
    known = {id(frame): index for index, frame in enumerate(contents)}

    def flow(one, other):
        a, b = known[id(one)], known[id(other)]
        height, width = one.shape[:2]
        found = np.zeros((height, width, 2), np.float32)
        if name == "pan":
            found[..., 0] = 3 * (a - b)
        elif name == "layers":
            down, across = np.mgrid[:height, :width]
            disc = np.hypot(down - height / 2, across - 0.25 * width - 4 * a)
            found[..., 0] = np.where(disc < 0.3 * height, 4 * (b - a), a - b)
        return found

    return None if name == "bunny" else flow


def contents_at(frames: list[Any], shape: tuple[int, int]) -> list[Any]:
    """Return the frames at the size of the painting."""
    return [resize(x / np.float32(255), shape) for x in frames]


def measures(
    name: str,
    contents: list[Any],
    paintings: list[Any],
    judged: Sequence[int],
    style: Any,
    judge: Any,
) -> dict[str, float]:
    """Return the measures of a clip, LPIPS and gaps of the frames `judged`."""
    flow_fn = true_flow_fn(name, contents) or farneback_flow
    with one_thread():
        used = contents[: len(paintings)]
        found = summarize([*measure_frames(paintings, used, flow_fn=flow_fn)])
    seen = [measure(paintings[i], contents[i], style, judge=judge) for i in judged]
    for each in ("lpips", "gram_gap", "palette_gap"):
        found[each] = statistics.fmean(float(getattr(x, each)) for x in seen)
    return found


def measure_memory(size: int, style: Path) -> list[dict[str, Any]]:
    """Print and return the peaks of processes that paint clips."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        most = MEMORY_RUNS[-1][0]
        for index, frame in enumerate(make_clip("bunny", size, 24) * (most // 24)):
            save_picture(Path(folder, f"{index:02}.png"), frame / np.float32(255))
        print("frames   shots   peak, MB   above the picture's")

        def run(count: int, cuts: Sequence[int]) -> float:
            return run_fresh(MEMORY, folder, size, style, count, json.dumps(cuts)) / 1e6

        run(*MEMORY_RUNS[1])  # compiles all programs, which takes memory of its own
        for count, cuts in MEMORY_RUNS:
            peak = run(count, cuts)
            above = peak - (rows[0]["peak"] if rows else peak)
            rows.append({"frames": count, "shots": len(cuts) + 1, "peak": peak})
            print(f"{count:6} {len(cuts) + 1:7} {peak:10.0f} {above:10.0f}", flush=True)
    return rows


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--clips", nargs="+", default=CLIPS, choices=CLIPS)
    add("--size", type=size_of, default=160, help="longest side (%(default)s)")
    add("--frames", type=count_of, default=12, help="of each clip (%(default)s)")
    add("--alone", type=count_of, default=5, help="by themselves (%(default)s)")
    add("--runs", type=json.loads, nargs="+", default=[{}], metavar="SETTINGS")
    add("--style", type=path_of, default=path_of("hokusai_great_wave"))
    add("--memory", type=size_of, metavar="SIZE", help="measure peaks instead")
    add("-o", "--output", type=Path, metavar="FOLDER", help="for the painted clips")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.memory is not None:
        write_json(args.json, measure_memory(args.memory, args.style), size=args.memory)
        return
    say_if_busy()
    pair = jaxnst.load_picture(args.style).rgb, load_lpips_network()
    rows: list[dict[str, Any]] = []
    print(f"{'':34}" + "".join(f"{x:>9}" for x in COLUMNS))
    for name in args.clips:
        frames = make_clip(name, args.size, args.frames)
        judged = range(min(1, args.alone - 1), min(args.frames, args.alone), 2)

        shared = {"size": args.size, "progress": False}
        alone = jaxnst.video(frames[: args.alone], args.style, steadiness=0, **shared)
        single = [*alone]
        contents = contents_at(frames, single[0].shape[:2])
        base = measures(name, contents, single, judged, *pair)
        base["seconds"] = statistics.median(x["seconds"] for x in alone.rows)
        for settings in [None, *args.runs]:
            found, label = base, "by themselves"
            if settings is not None:
                result = jaxnst.video(frames, args.style, **shared, **settings)
                found = measures(name, contents, [*result], judged, *pair)
                later = [x["seconds"] for x in result.rows[1:]]
                found["seconds"] = statistics.median(later)
                label = json.dumps(settings)
                if args.output is not None:
                    args.output.mkdir(parents=True, exist_ok=True)
                    result.save(args.output / f"{name}_{len(rows)}.mp4")
            row = found | {
                "warp": found["warp_error"] / base["warp_error"],
                "long": found.get("warp_error_5", 0) / base["warp_error_first"],
                "time": found["seconds"] / base["seconds"],
            }
            rows.append({"clip": name, "run": label, **row})
            print(
                f"{name:8}{label:26}"
                + "".join(f"{row[each]:9.3f}" for each in COLUMNS.values()),
                flush=True,
            )
    write_json(args.json, rows, size=args.size, frames=args.frames)


if __name__ == "__main__":
    run_main(main)
