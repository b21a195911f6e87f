"""Results that are measured: on request, in sweeps, and drawn."""

import json
import re
from typing import Any

import numpy as np
import pytest

import jaxnst
from jaxnst.cli.main import main
from jaxnst.metrics import measure
from jaxnst.sweeps.axes import Axis, Row
from jaxnst.sweeps.page import make_page, pareto_front


FEW: dict[str, Any] = {
    "size": 48,
    "min_size": 0,
    "num_steps": 2,
    "content_layers": ["relu2_2"],
    "style_layers": ["relu1_1", "relu2_1"],
    "progress": False,
}


def row(index, lost, gap):
    return Row(
        index=index,
        labels={"seed": str(index)},
        settings={},
        file=f"{index} & co.png",
        metrics={"lpips": lost, "gram_gap": gap},
    )


def test_a_result_is_measured_on_request(tiny_network, content, style, judge):
    plain = jaxnst.stylize(content, style, network=tiny_network, **FEW)
    assert "metrics" not in plain.record
    result = jaxnst.stylize(content, style, network=tiny_network, metrics=True, **FEW)
    np.testing.assert_array_equal(result.image, plain.image)
    full = jaxnst.images.resize(content, result.image.shape[:2])
    expected = measure(result.image, full, style, judge=judge)._asdict()
    assert result.record["metrics"] == pytest.approx(expected, abs=1e-4)


def test_of_several_styles_it_is_the_mean(
    tiny_network, content, style, small_judge, rng
):
    other = rng.random(style.shape).astype(np.float32)
    result = jaxnst.stylize(
        content,
        [style, other],
        style_blend=[3, 1],
        network=tiny_network,
        metrics=True,
        **FEW,
    )
    full = jaxnst.images.resize(content, result.image.shape[:2])
    gaps = [
        measure(result.image, full, each, judge=small_judge).gram_gap
        for each in (style, other)
    ]
    expected = 0.75 * gaps[0] + 0.25 * gaps[1]
    assert result.record["metrics"]["gram_gap"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.usefixtures("small_judge")
def test_a_sweep_lists_and_draws_them(tiny_network, content, style, tmp_path):
    settings = FEW | {"network": tiny_network, "batch_size": 2}
    found = jaxnst.sweep(
        content,
        style,
        style_weight=[0.1, 10],
        metrics=True,
        output=tmp_path,
        **settings,
    )
    assert all(0 <= row.metrics["lpips"] < 1 for row in found.rows)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    kept = [member["metrics"] for member in manifest["members"]]
    assert kept == [dict(row.metrics) for row in found.rows]
    head = (tmp_path / "manifest.csv").read_text().splitlines()[0]
    assert "lpips,gram_gap,wasserstein_gap,bures_gap,palette_gap" in head
    page = (tmp_path / "index.html").read_text()
    assert page.count("<image ") == 2
    assert "Gram gap" in page
    # What is there is taken up again, measurements and all.
    again = jaxnst.sweep(
        content,
        style,
        style_weight=[0.1, 10],
        metrics=True,
        output=tmp_path,
        **settings,
    )
    assert again.rows == found.rows


def test_the_pareto_front_is_what_none_beats_in_both():
    rows = [row(0, 0.5, 0.3), row(1, 0.2, 0.6), row(2, 0.6, 0.4), row(3, 0.3, 0.6)]
    assert [each.index for each in pareto_front(rows)] == [1, 0]


def test_the_drawing_has_every_picture_and_escapes_names():
    rows = {index: row(index, 0.1 * index, 0.5 - 0.1 * index) for index in range(3)}
    axes = [Axis(name="seed", values=(0, 1, 2), labels=("0", "1", "2"))]
    drawing = make_page(axes, "product", rows)
    assert drawing.count("<image ") == 3
    assert "0%20%26%20co.png" in drawing
    points = re.search(r'points="([^"]+)"', drawing)
    assert points is not None
    assert len(points[1].split()) == 3
    assert "<svg" not in make_page(axes, "product", {0: rows[0]})
    same = {index: row(index, 0.4, 0.4) for index in range(2)}
    assert "nan" not in make_page(axes, "product", same)


@pytest.mark.usefixtures("small_judge")
def test_the_command_prints_them(files, tmp_path, tiny_vgg19, capsys):
    output = tmp_path / "out.png"
    few = ["--size", "48", "--min-size", "0", "--num-steps", "1", "--metrics"]
    assert main(["stylize", *map(str, files), "-o", str(output), *few]) == 0
    printed = capsys.readouterr().out
    assert "wasserstein" in printed
    assert f"{jaxnst.read_record(output)['metrics']['lpips']:.3f}" in printed
