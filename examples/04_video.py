"""A clip, painted so that it does not flicker, beside frames painted by themselves.

    pip install -e '.[video]'
    python examples/04_video.py in.mp4 painting.jpg -o out.mp4

It writes the clip, its report, and a sheet of its first frames: the clip itself, frames
that are painted by themselves, and those of the painted clip; and how much changes from
one frame to the next.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np

import jaxnst
from jaxnst.images.contact_sheet import draw_pictures


IMAGES = Path(__file__).parent / "images"
NUM_SHOWN = 4


def paint(clip, style, output, **settings):
    """Paint a clip, and write it, its report and its sheet; return the result."""
    result = jaxnst.video(clip, style, output=output, keep=True, **settings)
    jaxnst.explain(result, progress=False).save(output.with_suffix(".why.html"))
    painted = list(itertools.islice(result, NUM_SHOWN))
    # A steadiness of 0 paints every frame by itself.
    settings |= {"stop": NUM_SHOWN, "steadiness": 0}
    alone = jaxnst.video(clip, style, **settings)
    frames = [x.rgb for x in result.clip.frames(0, NUM_SHOWN)]
    rows = {
        "the clip": frames,
        "frames by themselves": [*alone],
        "change": changes([*alone]),
        "the painted clip": painted,
        "its change": changes(painted),
    }
    labels = [f"frame {number}" for number in range(len(painted))]
    sheet = draw_pictures(rows, labels, longest=320)
    sheet.save(output.with_suffix(".jpg"), quality=88)
    return result


def changes(frames):
    """Return what changes from frame to frame, four times as bright."""
    return [
        np.clip(4 * np.abs(after - before), 0, 1)
        for before, after in itertools.pairwise([frames[0], *frames])
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Paint a clip.")
    parser.add_argument("clip", nargs="?", default=IMAGES / "big_buck_bunny.mp4")
    parser.add_argument("style", nargs="?", default=IMAGES / "hokusai_great_wave.jpg")
    parser.add_argument("-o", "--output", type=Path, default=Path("out.mp4"))
    parser.add_argument("--size", type=int, default=320)
    args = parser.parse_args()
    paint(args.clip, args.style, args.output, size=args.size)
