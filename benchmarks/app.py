"""How soon the app is there and shows a picture, and what it costs the painting.

pip install -e '.[app]' playwright       # and a Chromium or Chrome on the PATH
python benchmarks/app.py [--size 512] [--repeats 3] [--json FILE]

Three figures:

- start: a new process until it prints its address, and until the page answers;
- first preview: a click on Paint in Chromium until the picture is seen, the programs
  being compiled;
- slowdown: seconds of all steps with the page open in Chromium, over those of
  `jaxnst.stylize` in the same process, by turns. Chromium runs on the same machine.
"""

import argparse
import contextlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from _common import (
    make_parser,
    median_ratio,
    path_of,
    run_main,
    say_if_busy,
    size_of,
    write_json,
)


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PHOTO, PAINTING = "summer_palace", "hokusai_great_wave"
# Seconds that nothing may take.
_LONGEST = 1200


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--size", type=size_of, default=512, help="(%(default)s)")
    return parser.parse_args(argv)


def measure_start(folder: Path) -> tuple[float, float]:
    """Return the seconds until the address is told, and until the page answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jaxnst.app", "--no-browser", "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--output", folder], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[0]
        told = time.perf_counter() - started
        while time.perf_counter() - started < _LONGEST:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(address).read()
                return told, time.perf_counter() - started
            time.sleep(0.05)
        raise RuntimeError("the page did not answer")
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def opened_page(url: str) -> Iterator[Any]:
    """Yield the page in Chromium, with its two pictures."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise RuntimeError(
            "playwright is not installed: pip install playwright"
        ) from None
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise RuntimeError("there is no Chromium or Chrome on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(1000 * _LONGEST)
        page.goto(url)
        for place, name in (("photo", PHOTO), ("painting", PAINTING)):
            page.set_input_files(f"#{place} input[type=file]", path_of(name))
            page.wait_for_selector(f"#{place} img")
        yield page
        browser.close()


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    load = say_if_busy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starts = [measure_start(folder) for _ in range(args.repeats + 1)][1:]
        told, answered = (statistics.median(x) for x in zip(*starts, strict=True))
        print(f"start: address after {told:.2f} s, page after {answered:.2f} s")

        import jaxnst
        from jaxnst.app import launch

        app = launch(output=folder, block=False, quiet=True)
        previews, shown, alone = [], [], []
        with opened_page(app.url) as page:
            page.get_by_label("Size", exact=True).first.fill(str(args.size))
            page.keyboard.press("Enter")
            page.keyboard.press("Tab")
            page.wait_for_function(  # the estimate, which compiles the programs
                "document.querySelector('#forecast').innerText.includes('About')"
            )
            for _ in range(args.repeats):
                started = time.perf_counter()
                page.click("#paint")
                page.wait_for_selector("#stage img")
                previews.append(time.perf_counter() - started)
                page.wait_for_selector("#slider img")
                (session,) = app.studio.sessions
                made = session.results[-1]
                shown.append(made.record["seconds"]["run"])
                result = jaxnst.stylize(
                    path_of(PHOTO),
                    path_of(PAINTING),
                    progress=False,
                    preset=made.record["preset"],
                    size=args.size,
                    strength=made.record["settings"]["strength"],
                )
                alone.append(result.record["seconds"]["run"])
        app.close()
    preview, slowdown = statistics.median(previews), median_ratio(shown, alone)
    print(f"first preview at {args.size} px: {preview:.2f} s after the click")
    print(f"painting with the page open: {slowdown:.3f} of the time without it")
    rows = [
        {"what": "start, address", "seconds": told, "all": [x for x, _ in starts]},
        {"what": "start, page", "seconds": answered, "all": [x for _, x in starts]},
        {"what": "first preview", "seconds": preview, "all": previews},
        {"what": "slowdown", "ratio": slowdown, "shown": shown, "alone": alone},
    ]
    write_json(args.json, rows, size=args.size, load=load)


if __name__ == "__main__":
    run_main(main)
