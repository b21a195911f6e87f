"""Measure how steady clips are, against frames that are painted by themselves.

Four clips: a pan with known flow, a tripod shot with noise, Big Buck Bunny, and two
layers of which one covers the other. Each line is one run, as JSON; frames painted by
themselves are kept in the folder, as they take most of the time.

    python benchmarks/video.py -o /tmp/video --clips pan tripod --steadiness 0.5
"""

import argparse
import json
import re
import time
from pathlib import Path

import numpy as np

import jaxnst
from jaxnst.images import resize
from jaxnst.metrics import measure
from jaxnst.pretrained import load_lpips_network
from jaxnst.videos.flow import farneback_flow, one_thread
from jaxnst.videos.measuring import measure_frames, summarize
from jaxnst.videos.painting import ShotPainter, rounded
from jaxnst.videos.source import open_clip


IMAGES = Path(__file__).parent.parent / "examples" / "images"
CLIPS = ("pan", "tripod", "bunny", "layers")


def photograph(name, width):
    """Return a photograph of this width."""
    rgb = jaxnst.load_picture(IMAGES / f"{name}.jpg").rgb
    return resize(rgb, (round(width * rgb.shape[0] / rgb.shape[1]), width))


def make_clip(name, size, count):
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
            top = front[20 : 20 + height, left : left + width]
            frames.append(np.where(disc[..., None], top, back))
    return [np.round(255 * np.clip(x, 0, 1)).astype(np.uint8) for x in frames]


def true_flow_fn(name, contents):
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


def contents_at(frames, shape):
    """Return the frames at the size of the painting."""
    return [resize(x / np.float32(255), shape) for x in frames]


def paint_first_once(image):
    """Let the first frame be one that is there, as it takes most of the time."""

    def paint_whole(self, index, job=None):
        del job
        first, started = rounded(image), time.perf_counter()
        return first, self._row(index, first, started, steps=0, ratios="")

    ShotPainter.paint_whole = paint_whole


def main():
    """Paint and measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--clips", nargs="+", default=CLIPS, choices=CLIPS)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--alone", type=int, default=5)
    parser.add_argument("--style", default="hokusai_great_wave")
    parser.add_argument("--settings", type=json.loads, nargs="+", default=[{}])
    args = parser.parse_args()
    args.output.mkdir(exist_ok=True)
    style = IMAGES / f"{args.style}.jpg"
    painting, judge = jaxnst.load_picture(style).rgb, load_lpips_network()
    for name in args.clips:
        frames = make_clip(name, args.size, args.frames)
        single, alone_seconds = [], []
        for index in range(args.alone):
            place = args.output / f"{name}_{args.size}_{args.style}_{index}.npy"
            if not place.exists():
                started = time.perf_counter()
                made = jaxnst.stylize(
                    frames[index], style, size=args.size, progress=False
                )
                np.save(place, made.image)
                alone_seconds.append(time.perf_counter() - started)
            single.append(np.load(place))
        shape = single[0].shape[:2]
        contents = contents_at(frames, shape)

        def show(label, paintings, rows, name=name, contents=contents, **more):
            flow_fn = true_flow_fn(name, contents) or farneback_flow
            with one_thread():
                used = contents[: len(paintings)]
                summary = summarize([*measure_frames(paintings, used, flow_fn=flow_fn)])
            # Of the same frames, however they were painted.
            judged = [
                measure(paintings[i], contents[i], painting, judge=judge)
                for i in range(
                    min(1, args.alone - 1), min(len(paintings), args.alone), 2
                )
            ]
            summary |= {
                each: float(np.mean([getattr(x, each) for x in judged]))
                for each in ("lpips", "gram_gap", "palette_gap")
            }
            if rows:
                later = rows[1:]
                summary["seconds"] = float(np.median([x["seconds"] for x in later]))
                summary["first_seconds"] = rows[0]["seconds"]
                summary["style"] = later[-1]["style"]
                summary["still"] = float(np.mean([x["still"] for x in later]))
            rounded = {
                k: float(f"{v:.4g}")
                for k, v in (summary | more).items()
                if v is not None
            }
            line = json.dumps({"clip": name, "run": label} | rounded)
            print(line, flush=True)
            with (args.output / "results.jsonl").open("a") as file:
                file.write(line + "\n")

        paint_first_once(single[0])
        seconds = float(np.median(alone_seconds)) if alone_seconds else None
        show("alone", single, [], alone_seconds=seconds)
        for settings in args.settings:
            result = jaxnst.video(
                frames, style, size=args.size, progress=False, **settings
            )
            label = json.dumps(settings)
            paintings = [*result]
            place = f"{name}_{re.sub('[^0-9a-z.]+', '_', label)}_last.npy"
            np.save(args.output / place, np.stack(paintings))
            show(label, paintings, result.rows)


if __name__ == "__main__":
    main()
