"""The examples run, and show what they say they show."""

import ast
import functools
import importlib.util
import inspect
import json
import runpy
import urllib.request
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import forgotten, load_tiny
from PIL import Image

import jaxnst


EXAMPLES = Path(__file__).parent.parent / "examples"


def load_example(name):
    spec = importlib.util.spec_from_file_location("example", EXAMPLES / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.partial(jax.jit, static_argnames="layers")
def apply(network, image, layers):
    return network(image, layers)


def load_compiled(name, **options):
    """Return a network that is not run operation by operation."""
    return jax.tree_util.Partial(
        lambda network, image, layers: apply(network, image, tuple(layers)),
        load_tiny(name, **options),
    )


def test_gatys2016_is_the_example(files, tiny_vgg19, monkeypatch):
    """With a network of the shape of VGG-19, which each loads with its own options."""
    size = 64  # the painting is 50 px, so it is enlarged
    example = load_example("01_gatys.py")
    monkeypatch.setattr(example, "load_network", load_compiled)
    by_hand = example.paint(*files, size=size, num_steps=10)
    result = jaxnst.stylize(
        *files, preset="gatys2016", size=size, num_steps=10, progress=False
    )
    photo = jaxnst.images.resize_picture(jaxnst.load_picture(files[0]), size).rgb
    assert np.abs(by_hand - photo).mean() > 0.05
    # Two programs, two orders of summation; Adam makes more of it in the few pixels
    # whose gradient is next to nothing.
    difference = np.abs(result.image - by_hand)
    assert difference.mean() < 1 / 255
    assert np.mean(difference > 8 / 255) < 1e-3


@pytest.mark.usefixtures("small_judge")
def test_a_picture_is_explained(files, tiny_vgg19, tmp_path, monkeypatch):
    quick = functools.partial(jaxnst.explain, ablations=False)
    monkeypatch.setattr("jaxnst.explain", quick)
    example = load_example("02_explain.py")
    folder = tmp_path / "why"
    settings = {"size": 48, "min_size": 0, "num_steps": 4, "progress": False}
    explanation = example.explain(*files, folder, **settings)
    names = {path.name for path in folder.iterdir()}
    assert {"out.png", "why.html", "losses.csv", "attribution.png"} <= names
    assert explanation.advice


def test_every_example_picture_has_its_source():
    sources = (EXAMPLES / "images" / "SOURCES.md").read_text()
    pictures = sorted((EXAMPLES / "images").glob("*.jpg"))
    assert len(pictures) == 7
    for path in pictures:
        assert f"`{path.name}`" in sources
        jaxnst.load_picture(path)
    assert "`big_buck_bunny.mp4`" in sources


def test_a_clip_is_painted(files, tiny_vgg19, tmp_path, monkeypatch):
    example = load_example("04_video.py")
    monkeypatch.setattr(example, "NUM_SHOWN", 2)
    output = tmp_path / "out.mp4"
    clip = EXAMPLES / "images" / "big_buck_bunny.mp4"
    settings = {"size": 64, "min_size": 0, "num_steps": 3, "progress": False}
    example.paint(clip, files[1], output, stop=3, frame_steps=2, **settings)
    for path in (output, tmp_path / "out.jpg", tmp_path / "out.why.html"):
        assert path.stat().st_size > 1000


# What the notebooks do that a machine without a GPU and the registry cannot.
AWAY_FROM_COLAB = {
    "%pip": "# %pip",
    'sys.exit("no GPU': 'print("no GPU',
    'sys.exit("JAX': 'print("JAX',
}


@pytest.mark.filterwarnings("default")  # of Gradio's libraries
def test_the_app_is_there_from_the_notebook(tiny_vgg19, tmp_path, monkeypatch):
    """At an address of this machine, as tests ask no other."""
    pytest.importorskip("gradio", reason="needs the extra app")
    notebook = json.loads((EXAMPLES / "app_on_colab.ipynb").read_text())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jaxnst-0-none.whl").touch()
    changes = {**AWAY_FROM_COLAB, "share=True": "quiet=True"}
    scope = {}
    with forgotten(scope):
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                continue
            source = "".join(cell["source"])
            for before in [before for before in changes if before in source]:
                source = source.replace(before, changes.pop(before))
            if "make_archive" in source:
                with urllib.request.urlopen(scope["app"].url) as answer:
                    assert b"jaxnst" in answer.read()
                (tmp_path / "paintings").mkdir(exist_ok=True)
            exec(compile(source, "cell", "exec"), scope)
        assert not changes  # each was there to be changed
        assert scope["package"] == "./jaxnst-0-none.whl[app,video]"
        assert (tmp_path / "paintings.zip").exists()
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(scope["app"].url)


def test_the_space_calls_what_there_is(monkeypatch):
    """Its file is run as a Space runs it, but for the server."""
    serving = pytest.importorskip("jaxnst.app.serving")
    calls = []

    def launch(**options):
        inspect.signature(serving.launch).bind(**options)
        calls.append(options)

    monkeypatch.setattr("jaxnst.app.launch", launch)
    runpy.run_path(str(EXAMPLES / "space/app.py"), run_name="__main__")
    assert calls[0]["is_public"]
    header = (EXAMPLES / "space/README.md").read_text().split("---")[1]
    assert "sdk: gradio" in header
    assert "app_file: app.py" in header


def test_the_notebook_runs_from_top_to_bottom(tiny_vgg19, tmp_path, monkeypatch):
    """Small, and without what Colab installs; the sheet is what its cell shows."""
    notebook = json.loads((EXAMPLES / "sweep_on_colab.ipynb").read_text())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").symlink_to(EXAMPLES / "images")
    (tmp_path / "jaxnst-0-none.whl").touch()
    changes = {
        **AWAY_FROM_COLAB,
        "SIZE = 512": "SIZE = 64",
        '"default"': '"draft"',
    }
    scope, shown = {}, []
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        for before in [before for before in changes if before in source]:
            source = source.replace(before, changes.pop(before))
        tree = ast.parse(source)
        last = tree.body.pop() if tree.body else None
        if last is not None and not isinstance(last, ast.Expr):
            tree.body.append(last)
        exec(compile(tree, "cell", "exec"), scope)
        if isinstance(last, ast.Expr):
            expression = ast.Expression(last.value)
            shown.append(eval(compile(expression, "cell", "eval"), scope))
    assert not changes  # each was there to be changed
    sheet = next(x for x in shown if isinstance(x, jaxnst.SweepResult))
    assert len(sheet) == len(sheet.rows) == 12
    assert not sheet.errors
    assert sheet._repr_png_().startswith(b"\x89PNG")
    assert any(isinstance(x, Image.Image) for x in shown)
    assert (tmp_path / "grid.zip").stat().st_size > 10_000
