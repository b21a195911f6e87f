"""The report as a browser shows it, and the command that writes it."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from conftest import picture
from markupsafe import escape
from PIL import Image

import jaxnst
from jaxnst.cli.main import main
from jaxnst.insight.plots import draw_svg, plot_history, save_history
from jaxnst.insight.report import make_report
from jaxnst.sweeps.axes import Axis, Row
from jaxnst.sweeps.page import make_page
from jaxnst.transfer import setup


CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
        if (path := shutil.which(name))
    ),
    None,
)


@pytest.fixture(scope="module")
def tiny_vgg19_for_all():
    from conftest import load_tiny_weights, use_small_judge

    with pytest.MonkeyPatch.context() as patch:
        use_small_judge(patch)
        patch.setattr(setup, "load_weights", load_tiny_weights)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_vgg19_for_all):
    """Return a folder with a painting and what it was painted from."""
    folder = tmp_path_factory.mktemp("report")
    for name, array in {
        "content": picture(64, 72, seed=1),
        "style": picture(44, 60, seed=2),
    }.items():
        pixels = np.round(array * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    code = main(
        f"stylize {folder}/content.png {folder}/style.png -q -o {folder}/out.png "
        "--size 72 --min-size 32 --tile x --num-steps 6 --coarse-steps 4 "
        "--style-layers relu1_1,relu3_1 "  # each is painted with and without
        f"--trace {folder}/losses.csv".split()
    )
    assert code == 0
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return jaxnst.explain(
        folder / "out.png",
        folder / "content.png",
        folder / "style.png",
        progress=False,
    )


def explain(folder, *more):
    command = (
        f"explain {folder}/out.png --content {folder}/content.png "
        f"--style {folder}/style.png"
    )
    return main([*command.split(), *more])


# The file


def test_it_asks_for_nothing_from_outside(found):
    text = make_report(found, title="A <b> & C")
    assert len(text) < 5_000_000
    assert "<title>A &lt;b&gt; &amp; C</title>" in text
    assert "default-src 'none'" in text
    text = re.sub(r'xmlns(:xlink)?="[^"]*"', "", text)  # a name, which is not loaded
    for address in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert address.startswith(("data:", "#")), address
    assert all(name.startswith("#") for name in re.findall(r"url\(([^)]*)", text))
    assert "http://" not in text
    assert "https://" not in text
    for layer in found.gaps:
        assert f"{layer} alone" in text
        assert f"without {layer}" in text


def test_it_says_what_to_turn(found):
    text = make_report(found)
    assert "seam, x" in text  # it repeats across
    assert "seam, y" not in text
    assert escape(found.advice[0]) in text
    assert "content.png in the style of style.png" in text


def test_half_a_report_is_never_left(found, tmp_path, monkeypatch):
    target = tmp_path / "why.html"
    target.write_text("before")

    def fail(*_, **__):
        raise OSError("no room")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="no room"):
        found.save(target)
    assert [path.name for path in tmp_path.iterdir()] == ["why.html"]
    assert target.read_text() == "before"


def test_sheets_are_pictures(found, tmp_path):
    written = found.save_sheets(tmp_path / "new" / "figures")
    assert {path.name for path in written} == {
        "attribution.png",
        "differences.png",
        "correspondence.png",
        "pairs.png",
        "layers.png",
    }
    for path in written:
        with Image.open(path) as sheet:
            assert sheet.width > 600
            assert np.asarray(sheet).std() > 10


# Records from strangers

EVIL = (
    "\"'></title></style></script></pre><meta http-equiv=refresh content=0;url=//e.vil>"
    "<img src=x onerror=alert(1)><script>alert(2)</script>&lt;b&gt;{{ 7 * 7 }}\x1b"
)


class Elements(HTMLParser):
    """The elements of a page, as a browser finds them, and the text between them."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag != "wbr":  # where long names may be broken
            self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def shape(self):
        """Return the elements without the attributes that hold only text or places."""
        texts = {"alt", "aria-label"}
        places = {"d", "x", "y", "width", "height", "transform"}
        places |= {"id", "clip-path", "xlink:href"}  # hashes of places
        free = dict.fromkeys(("path", "use", "rect", "g", "text", "clippath"), places)
        return [
            (
                tag,
                [
                    (name, None if name in free.get(tag, texts) else value)
                    for name, value in attrs.items()
                ],
            )
            for tag, attrs in self.found
        ]


def poisoned(record: Any) -> Any:
    """Return a record with every name, text and number replaced."""
    if isinstance(record, dict):
        return {name: poisoned(value) for name, value in record.items()} | {EVIL: EVIL}
    return [poisoned(value) for value in record] if isinstance(record, list) else EVIL


def renamed(names):
    return {f"{name}{EVIL}": value for name, value in names.items()}


def test_nothing_in_a_record_becomes_part_of_the_report(found):
    attribution, first, differences, ablations = (
        each._replace(**{name: renamed(getattr(each, name)) for name in names})
        for each, *names in (
            (found.attribution, "shares", "overall"),
            (found.first_attribution, "shares", "overall"),
            (found.differences, "content"),
            (found.ablations, "without", "alone", "effect"),
        )
    )
    inputs = {name: {"name": EVIL} for name in found.record["inputs"]}
    evil = dataclasses.replace(
        found,
        record={**poisoned(found.record), "inputs": inputs},
        history={n + EVIL * ("/" in n): x for n, x in found.history.items()},
        gaps=renamed(found.gaps),
        losses=renamed(found.losses),
        attribution=attribution,
        first_attribution=first,
        differences=differences,
        ablations=ablations,
        correspondences=[each._replace(layer=EVIL) for each in found.correspondences],
        seams=renamed(found.seams),
        advice=[EVIL for _ in found.advice],
    )
    good = Elements(make_report(found))
    for title in ("", EVIL):
        text = make_report(evil, title=title)
        page = Elements(text)
        assert page.shape() == good.shape()
        assert page.text.count(EVIL) > 20
    (data,) = re.findall(r'id="correspondence">(.*?)</script>', text)
    assert [each["layer"] for each in json.loads(data)["scales"]] == [EVIL, EVIL]


def test_nothing_in_a_record_becomes_part_of_a_sweep_s_page():
    values = ("0", "1", "2", "3")
    names = (EVIL, "//e.vil/x.png", "javascript:alert(1)//.png", "data:text/html,x.png")

    def page_of(text, names):
        rows = {
            index: Row(
                index=index,
                labels={},
                settings={text: text},
                file=name,
                width=64,
                height=48,
                stopped=text,
                losses={"style": 0.5, text: 0.5},
                metrics={"lpips": 0.5, "gram_gap": 0.1 * index, text: 0.5},
            )
            for index, name in enumerate(names)
        }
        rows[4] = Row(index=4, labels={}, settings={}, error=text)
        labels = tuple(f"{value} {text}" for value in (*values, 4))
        axes = [Axis(name=text, values=labels, labels=labels)]
        return Elements(make_page(axes, "product", rows)).found

    good, evil = page_of("x", values), page_of(EVIL, names)
    assert [(tag, list(each)) for tag, each in evil] == [
        (tag, list(each)) for tag, each in good
    ]
    for (_, before), (_, after) in zip(good, evil, strict=True):
        for address in (before.get("src"), before.get("href")):
            now = after.get("src", after.get("href"))
            if address in values:
                assert unquote(now) == names[int(address)]
                assert urlsplit(now)[:3] == ("", "", now)
            elif address is not None:
                assert now == address


# In a browser


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium or Chrome on the PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser, found, tmp_path):
    """Return the report, opened in a browser that is offline; with its complaints."""
    path = found.save(tmp_path / "why.html")
    context = browser.new_context(offline=True, viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("requestfailed", lambda request: page.complaints.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector(".source .frame")
    yield page
    assert page.complaints == []
    context.close()


def test_all_pictures_are_there(page):
    sizes = page.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(sizes) > 30
    assert min(sizes) > 0


def test_hovering_shows_the_source(page, found):
    for scale, nearest in enumerate(found.correspondences):
        page.locator(".switch button").nth(scale).click()
        for row, column in ((2, 3), (4, 5)):
            y, x = nearest.centers[row, column] / found.image.shape[:2]
            box = page.locator("#stage img").bounding_box()
            at = {"x": x * box["width"], "y": y * box["height"]}
            page.locator("#stage").hover(position=at)
            source = np.round(nearest.sources[row, column]).astype(int)
            shown = page.locator("#stage").get_attribute("data-source")
            assert shown == f"0 {source[0]} {source[1]}"
            assert f"{source[1]}, {source[0]}" in page.locator("#said").text_content()
            frame = page.locator(".source .frame").bounding_box()
            image = page.locator(".source img").bounding_box()
            middle = frame["y"] + frame["height"] / 2 - image["y"]
            expected = source[0] / found.styles[0].shape[0] * image["height"]
            assert middle == pytest.approx(expected, abs=1.5)


def test_arrow_keys_move_it(page):
    stage = page.locator("#stage")
    stage.focus()
    page.locator("#stage img").hover(position={"x": 20, "y": 20})
    before = page.locator("#stage .frame").bounding_box()
    for _ in range(3):
        stage.press("ArrowRight")
    assert page.locator("#stage .frame").bounding_box()["x"] > before["x"]


def test_it_is_readable_on_a_phone(page):
    page.set_viewport_size({"width": 360, "height": 740})
    widths = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths[0] <= widths[1]
    assert page.evaluate("getComputedStyle(document.body).fontSize") == "16px"


# Losses over the steps


def test_the_table_of_losses_is_the_history(folder):
    lines = (folder / "losses.csv").read_text().splitlines()
    names = lines[0].split(",")
    assert names[:3] == ["step", "size", "total"]
    values = np.asarray([line.split(",") for line in lines[1:]], float)
    np.testing.assert_array_equal(values[:, 0], np.arange(1, 11))
    record = jaxnst.read_record(folder / "out.png")
    sizes = [(size["size"], size["steps"]) for size in record["result"]["sizes"]]
    assert [steps for _, steps in sizes] == [4, 6]
    np.testing.assert_array_equal(values[:, 1], np.repeat(*np.transpose(sizes)))
    kept = record["trace"]
    np.testing.assert_allclose(
        values[:, names.index("style")], kept["style"], rtol=1e-3
    )


def test_losses_are_drawn_with_the_sizes_marked(folder, tmp_path):
    trace = jaxnst.read_record(folder / "out.png")["trace"]
    history = {name: np.asarray(values) for name, values in trace.items()}
    figure = plot_history(history)
    labels = [axis.get_legend_handles_labels()[1] for axis in figure.axes]
    assert labels[0][:3] == ["total", "content", "style"]
    assert labels[1] == ["relu1_1", "relu3_1"]
    assert [text.get_text().strip() for text in figure.axes[0].texts] == [
        "36 px",
        "72 px",
    ]
    for extension in (".png", ".svg", ".pdf"):
        path = save_history(history, tmp_path / f"losses{extension}")
        assert path.stat().st_size > 1000


def test_a_chart_has_a_line_for_each_size_and_series():
    values = np.linspace(1, 0.1, 6)
    history = {
        "step": np.arange(1, 7),
        "size": np.repeat([32, 64], 3),
        "total": values,
        "content": np.full(6, 0.5),
        "style": values,
        "tv": np.zeros(6),  # nothing that a logarithmic scale shows
        "style/b & c": values,
    }
    text = draw_svg(history)
    assert text == draw_svg(history)
    elements = Elements(text)
    curves = {color: [] for color in ("#0072b2", "#56b4e9", "#009e73")}
    for tag, attrs in elements.found:
        for color in curves:
            if tag == "path" and color in attrs.get("style", ""):
                curves[color].append(attrs["d"])
    # A curve, in each panel, and its sample in the legend.
    assert [len(each) for each in curves.values()] == [2 * 2, 2, 2]
    first = curves["#0072b2"][0].split()
    assert first.count("M") == 2  # a line for each size
    (left, top), (right, bottom) = (map(float, first[i : i + 2]) for i in (1, 7))
    assert left < right
    assert top < bottom
    for word in ("total", "style", "b & c", "32 px", "64 px", "step"):
        assert word in elements.text
    one = {name: each[:1] for name, each in history.items()}
    assert "nan" not in draw_svg(one)


# The command


def test_the_command_writes_report_and_sheets(folder, capsys):
    assert explain(folder, "--no-ablations", "--sheets", f"{folder / 'figures'}") == 0
    told = capsys.readouterr().out.splitlines()
    assert "out.why.html, 4 sheets" in told[-1]
    assert len(told) >= 2
    assert (folder / "out.why.html").read_text().startswith("<!DOCTYPE html>")
    assert not (folder / "figures" / "layers.png").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-o", "why.pdf"], "the report is a .html file, got 'why.pdf'"),
        (["-o", "nowhere/why.html"], "no such folder: nowhere"),
        (["--sheets", "{folder}/out.png"], "is a file; give a folder"),
        (["--mask", "{folder}/mask.png"], "was given as well"),
        (["--strength", "{folder}/content.png"], "was given as well"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, more, message):
    Image.new("L", (72, 64), 255).save(folder / "mask.png")
    code = explain(folder, *(each.format(folder=folder) for each in more))
    captured = capsys.readouterr()
    assert code == 2
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_the_wrong_pictures_are_told(folder, capsys):
    code = main(
        f"explain {folder}/out.png --content {folder}/style.png "
        f"--style {folder}/style.png".split()
    )
    assert code == 2
    assert "content: style.png is not the picture" in capsys.readouterr().err


def test_losses_go_nowhere_else(folder, capsys):
    pair = [f"{folder / 'content.png'}", f"{folder / 'style.png'}"]
    code = main(
        ["stylize", *pair, "-o", f"{folder / 'x.png'}", "--trace", "losses.txt"]
    )
    assert code == 2
    assert ".png, .svg, .pdf, .csv, got 'losses.txt'" in capsys.readouterr().err
    assert not (folder / "x.png").exists()


def test_show_is_short_about_losses(folder, capsys):
    assert main(["show", f"{folder / 'out.png'}"]) == 0
    assert "trace      of 10 steps, in --json" in capsys.readouterr().out
    assert main(["show", "--json", f"{folder / 'out.png'}"]) == 0
    assert len(json.loads(capsys.readouterr().out)["trace"]["total"]) == 10
