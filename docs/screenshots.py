"""The pictures of the app and of the reports in the docs.

    pip install -e '.[app]' playwright       # and a Chromium or Chrome on the PATH
    python docs/screenshots.py [app] [palace] [astronaut]

Paints two pairs at 512 px and one of them again in the page, some five minutes.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import jaxnst
from jaxnst.app import launch


DOCS = Path(__file__).parent
IMAGES = DOCS.parent / "examples" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PALACE = IMAGES / "summer_palace.jpg", IMAGES / "hokusai_great_wave.jpg"
REPORTS = {
    "palace": PALACE,
    "astronaut": (IMAGES / "astronaut.jpg", IMAGES / "kandinsky_composition_viii.jpg"),
}
# Width, and height of each of the three parts of a report that are set side by side.
REPORT = 912, 1170
PAGE = 1280, 1000
PATIENCE = 600_000  # milliseconds
# A folder as users have it, for that in which the page writes here.
REPLACE = """folder => {
    const line = [...document.querySelectorAll('p')].find(
        each => each.innerText.includes(folder)
    );
    line.innerHTML = line.innerHTML.replace(folder, '/home/me/Pictures/jaxnst');
}"""


def shoot_app(browser, folder):
    """Take the page while it paints, and with its result."""
    app = launch(output=folder, block=False, quiet=True)
    page = browser.new_page(viewport={"width": PAGE[0], "height": PAGE[1]})
    page.set_default_timeout(PATIENCE)
    page.goto(app.url)
    for place, path in zip(("photo", "painting"), PALACE, strict=True):
        page.set_input_files(f"#{place} input[type=file]", path)
        page.wait_for_selector(f"#{place} img")
    page.wait_for_function(
        "document.querySelector('#forecast').innerText.includes('About')"
    )
    page.click("#paint")
    page.wait_for_function("/256 x/.test(document.body.innerText)")
    save(page, folder, DOCS / "app" / "painting.jpg")
    page.wait_for_selector("#slider img")
    page.evaluate(REPLACE, str(folder))
    save(page, folder, DOCS / "app" / "result.jpg")
    app.close()


def shoot_report(browser, folder, name):
    """Take the first three heights of a report, side by side."""
    result = jaxnst.stylize(*REPORTS[name])
    report = folder / f"{name}.html"
    jaxnst.explain(result).save(report)
    width, height = REPORT
    page = browser.new_page(viewport={"width": width, "height": 3 * height})
    page.goto(report.as_uri())
    path = folder / f"{name}.png"
    page.screenshot(path=path)
    sheet = Image.new("RGB", (3 * width, height))
    with Image.open(path) as found:
        for part in range(3):
            rows = found.crop((0, part * height, width, (part + 1) * height))
            sheet.paste(rows, (part * width, 0))
    small = sheet.resize((sheet.width * 2 // 3, sheet.height * 2 // 3))
    small.save(DOCS / "insight" / f"{name}.jpg", quality=85)


def save(page, folder, path):
    """Write what is seen of a page as JPEG."""
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(500)  # pictures that were sent are drawn
    page.screenshot(path=folder / "page.png")
    with Image.open(folder / "page.png") as found:
        found.thumbnail((1000, 1000))
        found.convert("RGB").save(path, quality=90)
    print(path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        chromium = next(filter(None, map(shutil.which, BROWSERS)))
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        for name in sys.argv[1:] or ["app", *REPORTS]:
            if name == "app":
                shoot_app(browser, folder)
            else:
                shoot_report(browser, folder, name)
        browser.close()
