"""Contact sheet, page and manifest: what they show, and that nothing is cut off."""

import csv
import io
import json
import math
import random
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image, ImageFont

from jaxnst.images.contact_sheet import (
    MAX_SIDE,
    MIN_CELL,
    draw_pictures,
    fit_text,
    thumbnail,
)
from jaxnst.sweeps.axes import Axis, Row
from jaxnst.sweeps.manifest import manifest_csv, manifest_json
from jaxnst.sweeps.page import make_page
from jaxnst.sweeps.sheet import make_sheet, make_tables, read_thumbnail


WHITE = Image.new("RGB", (30, 30), (255, 255, 255))


def axis(name: str, *values) -> Axis:
    return Axis(name=name, values=values, labels=tuple(map(str, values)))


LONG = (
    "A photograph of a castle in winter, taken by my aunt in 2019 (edited, again).jpg"
)
SWEEPS: dict[str, tuple[list[Axis], str, list[tuple[int, int]]]] = {
    "one axis": ([axis("style_weight", 0.3, 1, 3, 10)], "product", [(512, 384)]),
    "table": (
        [axis("seed", 0, 1, 2), axis("style_weight", 0.3, 1, 3, 10)],
        "product",
        [(512, 384)],
    ),
    "three axes": (
        [axis("pooling", "max", "average"), axis("seed", 1, 2), axis("size", 1, 2, 3)],
        "product",
        [(300, 512)],
    ),
    "four axes": (
        [axis("a", 1, 2), axis("b", 1, 2), axis("c", 1, 2), axis("d", 1, 2, 3)],
        "product",
        [(400, 400)],
    ),
    "zip": (
        [axis("style_weight", *range(5)), axis("content_weight", *range(5))],
        "zip",
        [(512, 384)],
    ),
    "forty": ([axis("seed", *range(40))], "product", [(512, 384)]),
    "tall": (
        [axis("seed", *range(80)), axis("style_weight", 1, 2, 3)],
        "product",
        [(512, 384)],
    ),
    "wide": (
        [axis("preset", "default", "gatys2016"), axis("seed", *range(40))],
        "product",
        [(512, 384)],
    ),
    "mixed": (
        [axis("style", *"abcd"), axis("content", *"xyz")],
        "product",
        [(512, 340), (300, 512), (420, 420), (512, 52)],
    ),
    "long labels": (
        [axis("content", LONG, "b", "x" * 300), axis("style", "a", LONG * 3, "y" * 99)],
        "product",
        [(512, 384)],
    ),
    "long, one axis": ([axis("style", LONG, LONG * 4)], "product", [(90, 60)]),
    "small": ([axis("normalize_activations", 0, 1)], "product", [(40, 32)]),
    "one": ([axis("seed", 1)], "product", [(512, 384)]),
    "one of two": ([axis("seed", 1), axis("size", 512)], "product", [(64, 48)]),
    "one and two": ([axis("seed", 1), axis("size", 32, 64)], "product", [(64, 48)]),
    "nothing yet": ([axis("seed", 1, 2), axis("size", 32, 64)], "product", []),
    "zip of many": ([axis("a", *range(90)), axis("bb", *range(90))], "zip", [(512, 9)]),
}


def color_of(index: int) -> tuple[int, int, int]:
    return 40 + 13 * index % 200, 255 - 11 * index % 200, 7 * index % 256


def painted(
    axes: list[Axis], count: int, *, shape=(48, 32), missing=(), failed=()
) -> dict[int, Row]:
    rows = {}
    for index in set(range(count)) - set(missing):
        made: dict[str, Any] = {"file": f"{index}.png", "sha256": "0" * 64}
        if index in failed:
            made = {"error": "out of memory"}
        rows[index] = Row(
            index=index,
            labels={},
            settings={},
            width=shape[0],
            height=shape[1],
            steps=7,
            losses={"total": 2.0, "content": 0.25, "style": 0.125 * (index + 1)},
            seconds=1.5,
            **made,
        )
    return rows


def plain(row: Row, longest: int) -> Image.Image:
    picture = Image.new("RGB", (row.width, row.height), color_of(row.index))
    return thumbnail(picture, longest)


def find(sheet: Image.Image, color) -> tuple[int, int, int, int] | None:
    """Where a color is: left, top, width, height."""
    rows, columns = np.nonzero(np.all(np.asarray(sheet) == color, axis=-1))
    if not len(rows):
        return None
    left, top = int(columns.min()), int(rows.min())
    return left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize("with_inputs", [False, True])
def test_nothing_overlaps_or_is_cut_off(name, with_inputs):
    axes, mode, shapes = SWEEPS[name]
    tables = make_tables(axes, mode)
    numbers = sorted(i for table in tables for row in table.indices for i in row)
    lengths = [len(one.values) for one in axes]
    count = lengths[0] if mode == "zip" else math.prod(lengths)
    assert numbers == list(range(count))
    rows = {
        index: Row(index=index, labels={}, settings={}, file="x", width=w, height=h)
        for index in range(count if shapes else 0)
        for w, h in [shapes[index % len(shapes)]]
    }
    given = {"content": Image.new("RGB", (1000, 700), (0, 0, 255)), LONG: WHITE}
    places = []

    def picture(row: Row, longest: int) -> Image.Image:
        scale = min(1, longest / max(row.width, row.height))
        size = max(1, round(scale * row.width)), max(1, round(scale * row.height))
        places.append(size)
        return Image.new("RGB", size, (0, 255, 0))  # in no letter and in no frame

    sheet = make_sheet(
        axes,
        mode,
        rows,
        picture,
        inputs=given if with_inputs else {},
    )
    pixels = np.asarray(sheet)
    assert max(sheet.size) <= MAX_SIDE
    is_picture = np.all(pixels == (0, 255, 0), axis=-1)
    # None covers another one, and no text lies over one.
    assert is_picture.sum() == sum(w * h for w, h in places)
    assert find(sheet, (0, 0, 255)) is not None or not with_inputs
    border = np.ones(pixels.shape[:2], bool)
    border[12:-12, 12:-12] = False
    assert (pixels[border] == pixels[0, 0]).all()


def test_a_thousand_pictures_can_still_be_told_apart():
    axes = [axis("seed", *range(1000))]
    sides = set()

    def picture(row: Row, longest: int) -> Image.Image:
        sides.add(longest)
        return WHITE

    rows = painted(axes, 1000, shape=(512, 384))
    sheet = make_sheet(axes, "product", rows, picture)
    assert max(sheet.size) <= MAX_SIDE
    assert min(sides) >= MIN_CELL


def test_the_last_axis_runs_across_and_the_first_down():
    axes = [axis("seed", 0, 1, 2), axis("style_weight", 0.3, 1, 3, 10)]
    rows = painted(axes, 12, missing=[7], failed=[10])
    sheet = make_sheet(axes, "product", rows, plain)
    places = {index: find(sheet, color_of(index)) for index in range(12)}
    assert [index for index in places if places[index] is None] == [7, 10]
    found = {index: place for index, place in places.items() if place is not None}
    # Never enlarged, and no pixel lost.
    assert {place[2:] for place in found.values()} == {(48, 32)}
    lefts = [{found[i][0] for i in range(c, 12, 4) if i in found} for c in range(4)]
    tops = [
        {found[i][1] for i in range(4 * r, 4 * r + 4) if i in found} for r in range(3)
    ]
    assert all(len(places) == 1 for places in lefts + tops)
    assert [*map(min, lefts)] == sorted(map(min, lefts))
    assert [*map(min, tops)] == sorted(map(min, tops))


def test_three_axes_are_tables_beside_each_other():
    axes = [axis("pooling", "max", "mean"), axis("seed", 1, 2), axis("size", 1, 2, 3)]
    sheet = make_sheet(axes, "product", painted(axes, 12), plain)
    found = [find(sheet, color_of(index)) for index in range(12)]
    offsets = [
        (b[0] - a[0], b[1] - a[1])
        for a, b in zip(found[:6], found[6:], strict=True)
        if a and b
    ]
    assert len(offsets) == 6
    assert len(set(offsets)) == 1


def test_sheets_are_the_same_bytes_in_whatever_order_rows_come():
    axes = [axis("seed", *range(9))]
    rows = painted(axes, 9)
    shuffled = list(rows.items())
    random.Random(1).shuffle(shuffled)
    inputs = {"content": Image.linear_gradient("L")}
    first = make_sheet(axes, "product", rows, plain, inputs=inputs)
    second = make_sheet(axes, "product", dict(shuffled), plain, inputs=inputs)
    assert first.tobytes() == second.tobytes()
    assert make_page(axes, "product", rows) == make_page(
        axes, "product", dict(shuffled)
    )


def test_large_pictures_are_averaged_not_sampled():
    stripes = np.zeros((600, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    small = np.asarray(thumbnail(Image.fromarray(stripes), 300))
    assert small.shape == (150, 300, 3)
    # Away from the edges: the mean of black and white.
    assert np.abs(small[5:-5, 5:-5].astype(int) - 127).max() <= 2


def test_transparent_parts_show_the_paper():
    axes = [axis("seed", 0, 1)]
    rows = painted(axes, 2)

    def half(row: Row, longest: int) -> Image.Image:
        picture = Image.new("RGBA", (48, 32), (255, 0, 0, 255))
        picture.paste((0, 255, 0, 0), (0, 0, 48, 16))
        return thumbnail(picture, longest)

    sheet = make_sheet(axes, "product", rows, half)
    place = find(sheet, (255, 0, 0))
    assert place is not None
    assert place[3] == 16
    assert find(sheet, (0, 255, 0)) is None


def test_mixed_shapes_are_centered_in_equal_cells():
    axes = [axis("style", "a", "b"), axis("content", "x", "y")]
    rows = painted(axes, 4)
    shapes = [(60, 30), (20, 60), (40, 40), (60, 10)]
    rows = {
        i: Row(index=i, labels={}, settings={}, file="x", sha256="", width=w, height=h)
        for i, (w, h) in enumerate(shapes)
    }
    sheet = make_sheet(axes, "product", rows, plain)
    places = [find(sheet, color_of(index)) for index in range(4)]
    centers = []
    for place, shape in zip(places, shapes, strict=True):
        assert place is not None
        assert place[2:] == shape
        centers.append((place[0] + place[2] / 2, place[1] + place[3] / 2))
    assert centers[0][0] == centers[2][0]
    assert centers[1][0] == centers[3][0]
    assert centers[0][1] == centers[1][1]
    assert centers[2][1] == centers[3][1]


def test_damaged_pictures_get_a_frame(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert read_thumbnail(tmp_path / "a.png", 100) is None
    assert read_thumbnail(tmp_path / "none.png", 100) is None
    axes = [axis("seed", 0, 1)]
    make_sheet(axes, "product", painted(axes, 2), lambda row, longest: None)


def test_deep_and_colored_pictures_become_thumbnails(tmp_path, content):
    from jaxnst.images import save_picture
    from jaxnst.images.color_profile import srgb_profile

    for name in ("a.png", "a.tif", "a.jpg", "a.webp"):
        bits = 16 if name in ("a.png", "a.tif") else 8
        path = save_picture(tmp_path / name, content, bits=bits)
        small = read_thumbnail(path, 24)
        assert small is not None
        assert small.size == (24, 20)
        assert small.info["icc_profile"] == srgb_profile()
        expected = content.mean(axis=(0, 1)) * 255
        assert np.abs(np.asarray(small).mean(axis=(0, 1)) - expected).max() < 3


def test_the_sheet_keeps_the_color_profile():
    axes = [axis("seed", 0, 1)]

    def tagged(row: Row, longest: int) -> Image.Image:
        picture = plain(row, longest)
        picture.info["icc_profile"] = b"profile"
        return picture

    sheet = make_sheet(axes, "product", painted(axes, 2), tagged)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    with Image.open(stream) as saved:
        assert saved.info["icc_profile"] == b"profile"


def drawn(label: str) -> bytes:
    return draw_pictures([WHITE], [label], longest=96).tobytes()


def test_text_keeps_to_what_the_font_has():
    typeset = "Straße in Münster \u2013 \u201cAbend\u201d \u00d72"
    assert drawn(typeset) == drawn('Strasse in Munster - "Abend" x2')
    assert drawn("日本.jpg\nb\t") == drawn("??.jpg\nb?")
    # Labels that would be equal are numbered.
    both = [WHITE, WHITE]
    assert (
        draw_pictures(both, ["日本", "中国"], longest=96).tobytes()
        == draw_pictures(both, ["1: ??", "2: ??"], longest=96).tobytes()
    )
    # The font has all of ASCII: no two letters look alike, as missing ones would.
    assert len({drawn(chr(code)) for code in range(33, 127)}) >= 93


@pytest.mark.parametrize(
    "text", ["seed", "a b " * 90, "x" * 400, LONG, "-", "", " " * 99]
)
def test_lines_fit_and_keep_beginning_and_end(text):
    lines = fit_text(text, 20, 150).split("\n")
    assert 1 <= len(lines) <= 3
    font = ImageFont.load_default(20)
    assert all(font.getlength(line) <= 150 for line in lines)
    joined, stripped = "".join(lines).replace(" ", ""), text.replace(" ", "")
    assert joined[:3] == stripped[:3]
    assert joined[-3:] == stripped[-3:]
    assert len(fit_text("a\nb", 20, 150).split("\n")) == 2


def test_labels_from_outside_take_one_line():
    tables = make_tables([axis("style", "a\n" * 90, "c")], "product")
    assert "\n" not in tables[0].column_labels[0]


def test_a_failure_is_shown():
    axes = [axis("seed", 0, 1)]
    failed = make_sheet(axes, "product", painted(axes, 2, failed=[1]), plain)
    missing = make_sheet(axes, "product", painted(axes, 2, missing=[1]), plain)
    assert failed.size == missing.size
    assert failed.tobytes() != missing.tobytes()


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def all(self, tag: str, attribute: str) -> list[str | None]:
        return [attributes[attribute] for name, attributes in self.tags if name == tag]


EVIL = '"><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>'


def test_the_page_shows_every_picture_and_its_losses():
    axes = [axis("seed", 0, 1, 2), axis("style_weight", 0.3, 1, 3, 10)]
    rows = painted(axes, 12, missing=[7], failed=[10])
    page = Page(make_page(axes, "product", rows))
    expected = [f"{index}.png" for index in range(12) if index not in (7, 10)]
    assert page.all("img", "src") == expected
    assert page.all("a", "href")[3:] == expected
    assert set(page.all("img", "loading")) == {"lazy"}
    assert page.all("img", "alt")[5] == "seed 1, style_weight 1"
    text = "".join(page.texts)
    assert "content 0.25" in text
    assert "style 1.5" in text  # of the last
    assert "failed: out of memory" in text
    assert "not there yet" in text
    assert "10 of 12 done, 1 failed" in text
    for label in ("seed 0", "style_weight 0.3", "style_weight 10"):
        assert label in text


@pytest.mark.parametrize("mode", ["product", "zip"])
def test_the_page_needs_nothing_from_outside(mode):
    axes = [axis("style", EVIL, "b", "ü 100% #1.png"), axis(EVIL, 1, 2, EVIL)]
    rows = painted(axes, 3)
    names = ["a b#1?.png", "100%.png", EVIL.replace("/", "") + ".png"]
    rows = {
        index: Row(index=index, labels={}, settings={}, file=name, sha256="", steps=1)
        for index, name in enumerate(names)
    }
    rows[2] = Row(index=2, labels={}, settings={}, error=EVIL)
    page = Page(make_page(axes, mode, rows))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href"):
            assert "://" not in (attributes.get(name) or "")
    assert [unquote(str(src)) for src in page.all("img", "src")] == names[:2]
    policy = next(
        a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a
    )
    assert str(policy).startswith("default-src 'none'; img-src 'self'")
    assert "http" not in str(policy)
    assert EVIL in "".join(page.texts)


def test_tiff_is_linked_not_shown():
    axes = [axis("seed", 0)]
    rows = {0: Row(index=0, labels={}, settings={}, file="0.tif", sha256="", steps=3)}
    page = Page(make_page(axes, "product", rows))
    assert not page.all("img", "src")
    assert "0.tif" in page.all("a", "href")


def test_how_a_picture_stopped_is_told():
    axes = [axis("seed", 0)]
    row = Row(
        index=0, labels={}, settings={}, file="0.png", steps=30, stopped="out of time"
    )
    text = "".join(Page(make_page(axes, "product", {0: row})).texts)
    assert "30 steps, out of time" in text


def table_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_the_table_has_a_line_for_each_member():
    axes = [axis("seed", 0, 1), axis("style_weight", 1 / 3, 1.0)]
    rows = painted(axes, 4, missing=[1], failed=[2])
    for index, row in rows.items():
        row.settings.update(size=512, steps_per_call=index, seed=9)  # type: ignore
    data = manifest_csv(axes, "product", rows)
    table = table_of(data)
    assert [line["status"] for line in table] == ["done", "missing", "failed", "done"]
    # Numbers are exact, though labels may not be.
    assert [float(line["style_weight"]) for line in table] == [1 / 3, 1.0] * 2
    assert "size" not in table[0]  # the same for all
    assert [line["steps_per_call"] for line in table] == ["0", "", "2", "3"]
    assert list(table[0])[:4] == ["index", "seed", "style_weight", "steps_per_call"]
    assert float(table[3]["style_loss"]) == 0.5
    assert table[2]["error"] == "out of memory"
    assert len({len(line) for line in csv.reader(io.StringIO(data.decode()))}) == 1


@pytest.mark.parametrize(
    "label",
    ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1"],
)
def test_labels_are_no_formulas(label):
    """An apostrophe stands before them; without it they are what they were."""
    axes = [axis("style", label, 'a "b", c', "two\nlines")]
    rows = painted(axes, 3, failed=[1])
    table = table_of(manifest_csv(axes, "product", rows))
    assert table[0]["style"] == f"'{label}"
    assert table[1]["style"] == 'a "b", c'
    assert table[2]["style"] == "two\nlines"
    # Numbers below zero stay numbers.
    axes = [axis("learning_rate", -1.5, np.float32(-2))]
    table = table_of(manifest_csv(axes, "product", {}))
    assert [line["learning_rate"] for line in table] == ["-1.5", "-2.0"]


def test_the_byte_order_mark_is_there_only_if_it_is_needed():
    assert manifest_csv([axis("style", "a")], "product", {}).startswith(b"index,style")
    data = manifest_csv([axis("style", "ü")], "product", {})
    assert data.startswith(b"\xef\xbb\xbfindex")
    assert table_of(data)[0]["style"] == "ü"


def test_the_manifest_is_json_that_all_can_read():
    axes = [axis("seed", 0, 1), axis("size", 32)]
    rows = painted(axes, 2, missing=[1])
    rows[0].losses.update(style=float("nan"), tv=float("inf"))  # type: ignore
    text = manifest_json(axes, "product", rows, identity={"version": "1"})

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    manifest = json.loads(text, parse_constant=refuse)
    first, second = manifest["members"]
    assert first["losses"] == {"total": 2.0, "content": 0.25, "style": None, "tv": None}
    assert second == {
        "index": 1,
        "status": "missing",
        "labels": {"seed": "1", "size": "32"},
    }
    assert manifest["axes"][0] == {"name": "seed", "labels": ["0", "1"]}
    assert manifest["identity"] == {"version": "1"}


@pytest.mark.parametrize("text", ["style_weight 0.3", "seed -12", "detail -0.75"])
def test_numbers_are_not_broken(text):
    """As narrow as it may be, a number stands on one line."""
    words = fit_text(text, 12, 70).split()
    assert text.split()[-1] in words
