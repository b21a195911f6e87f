"""The benchmarks start without torch, and their own arithmetic is right."""

import functools
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import load_tiny

from jaxnst.networks import VGGArchitecture


BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NAMES = sorted(
    path.stem
    for path in BENCHMARKS.glob("*.py")
    if not path.stem.startswith(("_", "torch_"))
)
PAIR = "coffee,van_gogh_auvers"
# No deeper than the default layers need: most of the time here goes into compiling.
SHALLOW = VGGArchitecture(name="tiny", depths=(1, 1, 1, 2, 1), widths=(2, 2, 2, 4, 4))

pytestmark = pytest.mark.skipif(
    not NAMES, reason="the benchmarks come with the repository only"
)


@pytest.fixture
def load(monkeypatch):
    """Import a benchmark where there is no torch."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setitem(sys.modules, "torch", None)
    yield importlib.import_module
    # "step" and the like are names for anything.
    for name in {"_common", "_steps", *NAMES} - before:
        sys.modules.pop(name, None)


@pytest.fixture
def shallow_vgg19(tiny_vgg19, monkeypatch):
    """Let "vgg19" be a smaller network still, also where only steps are timed."""
    monkeypatch.setattr("conftest.TINY", SHALLOW)
    load_fn = functools.partial(load_tiny, "vgg19")
    monkeypatch.setattr("jaxnst.load_network", load_fn)


@pytest.fixture
def common(load):
    return load("_common")


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_tells_its_options(name, load, capsys):
    benchmark = load(name)
    assert benchmark.parse_args([]).json is None
    with pytest.raises(SystemExit) as ended:
        benchmark.parse_args(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert benchmark.__doc__.splitlines()[0] in text
    assert f"python benchmarks/{name}.py" in text
    assert "--json" in text


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("step", ["--sizes", "16"], "'16' is not a size from 32 px up"),
        ("scaling", ["--repeats", "0"], "'0' is not a whole number from 1 up"),
        ("memory", ["--json", "no/such/file.json"], "there is no folder no/such"),
        ("peers", ["--pairs", "coffee"], "'coffee' is not CONTENT,STYLE"),
        ("recipe", ["--pairs", "cofee,coffee"], "there is no picture 'cofee'"),
        ("recipe", [":num_steps=2"], "has no name before its settings"),
        ("recipe", ["a:num_steps"], "'num_steps' is not NAME=VALUE"),
        ("time_to_quality", ["--set", "num_steps"], "'num_steps' is not NAME=VALUE"),
        ("blend", ["--shares", "0", "0.5"], "--shares must rise from 0 to 1"),
    ],
)
def test_wrong_options_are_told(name, options, message, load, capsys):
    with pytest.raises(SystemExit) as ended:
        load(name).parse_args(options)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_pairs_are_files_or_pictures_that_come_along(common, files):
    content, style = map(Path, files)
    assert common.pair_of(f"{content},{style}") == (content, style)
    for text in (PAIR, "coffee.jpg,van_gogh_auvers.jpg"):
        pair = common.pair_of(text)
        assert common.name_of(pair) == "coffee+van_gogh_auvers"
        assert all(path.parent == common.IMAGES for path in pair)


def test_places_are_counted_from_the_ends(load):
    assert load("blend").straighten([0.25, 0.375, 0.75]) == [0, 0.25, 1]


def test_seams_are_looked_for_where_they_would_be(load, rng):
    """Noise has none; a cut has one where the border was before it was moved."""
    noise = rng.random((80, 64, 3), np.float32)
    cut = noise.copy()
    cut[:40] += 1
    cut = np.roll(cut, -40 + 3, 0)
    down, across = load("seams").scores_of(cut, noise, [3, 0])
    assert down["junction"] > 1.2 > down["apart"] > 0.8
    assert across["junction"] == across["file"] == pytest.approx(1, abs=0.2)
    assert down["grid"] == pytest.approx(1, abs=0.3)
    assert load("seams").summary([1, 3]) == (2, 1)


def test_colors_that_a_style_lacks_are_counted(load):
    style = np.zeros((4, 4, 3), np.float32)
    style[::2] = (0.2, 0.4, 0.6)
    picture = np.tile(style, (2, 2, 1))
    assert load("textures").foreign_part(picture, style) == 0
    picture[0, :8] += 0.1  # further than 0.08 in all three
    picture[1, :8, 0] += 0.05
    assert load("textures").foreign_part(picture, style) == 8 / 64


def test_settings_are_read_as_json_where_they_are(common):
    assert common.setting_of("num_steps=30") == ("num_steps", 30)
    assert common.setting_of("optimizer=lbfgs") == ("optimizer", "lbfgs")


def test_a_command_ends_in_a_line(common):
    def fail():
        raise ValueError("there is something wrong")

    with pytest.raises(SystemExit) as ended:
        common.run_main(fail)
    assert ended.value.code == "error: there is something wrong"


def test_results_hold_machine_and_versions(common, tmp_path):
    path = tmp_path / "results.json"
    common.write_json(path, [{"size": 1}], torch="2.0", with_device=False, load=0.5)
    assert list(tmp_path.iterdir()) == [path]
    found = json.loads(path.read_text())
    assert found["rows"] == [{"size": 1}]
    assert found["load"] == 0.5
    assert found["machine"]["cpus"] == os.cpu_count()
    assert found["versions"]["torch"] == "2.0"
    assert found["versions"].keys() >= {"python", "jax", "jaxlib", "flax", "optax"}


def test_the_machine_is_known_in_full(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found = importlib.import_module("_common").machine()
    sys.modules.pop("_common")
    assert found["memory"] == psutil.virtual_memory().total
    assert found["platform"] == "cpu"


def test_what_fails_in_a_process_is_told_in_a_line(common):
    assert common.run_fresh("print('noise'); print(len(sys.argv))", "x") == 2
    with pytest.raises(RuntimeError) as raised:
        common.run_fresh("raise ValueError('no such thing')")
    assert str(raised.value) == "ValueError: no such thing"
    assert "Traceback" in raised.value.__notes__[0]
    with pytest.raises(RuntimeError, match="killed by signal 9"):
        common.run_fresh("import os; os.kill(os.getpid(), 9)")


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="others count the parent, too"
)
def test_peak_memory_is_that_of_the_process_alone(common):
    code = "import json; from _common import peak_memory\n"
    empty = common.run_fresh(code + "print(peak_memory())")
    # This process holds JAX.
    assert empty < 100e6
    code += "x = bytearray(200_000_000); del x\n"
    assert common.run_fresh(code + "print(peak_memory())") - empty == pytest.approx(
        200e6, rel=0.05
    )


def test_torch_that_is_missing_is_told(common, tmp_path):
    (tmp_path / "torch.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\")\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with pytest.raises(RuntimeError, match=r"torch is not installed.*--torch-python"):
        common.run_torch_step(sys.executable, 32, 1, environment=environment)


def test_ratios_are_medians_of_rounds(common):
    # In a round that was slow for both the ratio stays.
    assert common.median_ratio([1, 10, 3], [2, 20, 2]) == 0.5


def test_off_linear_is_cost_per_pixel_over_the_first_size(load):
    scaling = load("scaling")
    rows = scaling.rows_of({100: [1.0, 2.0], 200: [4.0, 8.0], 400: [20.0, 40.0]}, "low")
    assert [row["off_linear"] for row in rows] == pytest.approx([0, 0, 0.25])
    assert [row["per_megapixel"] for row in rows] == pytest.approx([150, 150, 187.5])


def test_scaling_runs(load, shallow_vgg19, tmp_path, capsys):
    path = tmp_path / "scaling.json"
    options = ["--sizes", "32", "48", "--steps", "1", "2", "--repeats", "2"]
    options += ["--memory", "fast"]  # which compiles sooner than the default
    load("scaling").main([*options, "--json", str(path)])
    found = json.loads(path.read_text())
    rows, paintings = found["rows"][:2], found["rows"][2:]
    assert [row["size"] for row in rows] == [32, 48]
    assert {row["memory"] for row in found["rows"]} == {"fast"}
    assert all(len(row["all"]) == 2 and min(row["all"]) > 0 for row in found["rows"])
    assert found["most_off_linear"] == rows[1]["off_linear"]
    assert [row["steps"] for row in paintings] == [1, 2]
    assert "most off linear in pixels, over 32 px" in capsys.readouterr().out


def test_memory_tells_what_does_not_fit(load, monkeypatch):
    memory = load("memory")
    peaks = iter([100, 80, 110, 77])

    def run_fresh(code, size, level, what, tile_size, **_):
        if level == "fast":
            raise RuntimeError("`size` 64 needs 9 GB")
        return [90, 0.6] if what == "forecast" else [next(peaks), 0.5]

    def run_torch_step(python, size, repeats):
        return {"peak": next(peaks), "version": "2.13.0"}

    monkeypatch.setattr(memory, "run_fresh", run_fresh)
    monkeypatch.setattr(memory, "run_torch_step", run_torch_step)
    torch, fast, low = memory.measure(64, ("fast", "low"), 2, "python", 512)
    assert memory.line_of(fast).endswith("`size` 64 needs 9 GB")
    assert torch["peak"] == 105
    assert low["peak"] == 78.5
    assert low["over_torch"] == pytest.approx((0.8 + 0.7) / 2)
    assert "0.75" in memory.line_of(low)
    assert memory.line_of(low).endswith("+20%")


def test_peers_are_compared_by_their_means(load):
    peers = load("peers")
    metrics = dict.fromkeys(peers.Metrics._fields, 0.5)
    records = [{"seconds": 10.0, "metrics": metrics}]
    records.append({"seconds": 30.0, "metrics": metrics | {"lpips": 1.0}})
    theirs = peers.mean_of(records)
    assert (theirs["seconds"], theirs["lpips"]) == (20.0, 0.75)
    assert theirs["first_seconds"] is None
    ours = theirs | {"seconds": 5.0}
    means = {"pastiche": theirs, "jaxnst default": ours}
    assert peers.ratios_of(means, ("seconds", "lpips")) == {
        "jaxnst default / pastiche": {"seconds": 0.25, "lpips": 1.0}
    }


def test_recipe_runs_and_paints_nothing_twice(load, shallow_vgg19, tmp_path, capsys):
    recipe = load("recipe")
    path, folder = tmp_path / "recipe.json", tmp_path / "recipe"
    options = ["--size", "48", "--pairs", PAIR, "-o", str(folder)]
    candidate = "quick:num_steps=2,min_size=0"
    recipe.main([candidate, *options, "--json", str(path)])
    (row,) = json.loads(path.read_text())["rows"]
    assert row["settings"] == {"num_steps": 2, "min_size": 0}
    assert row["pair"] == "coffee+van_gogh_auvers"
    assert 0 < row["lpips"] < 2
    assert (folder / "sheet_48.png").exists()
    picture = folder / "48" / "quick" / "coffee+van_gogh_auvers.png"
    painted = picture.stat().st_mtime_ns
    recipe.main([candidate, *options])
    assert picture.stat().st_mtime_ns == painted
    with pytest.raises(ValueError, match="pictures of other settings"):
        recipe.main(["quick:num_steps=3", *options])
    assert "quick" in capsys.readouterr().out


def test_a_row_that_fails_is_an_error_in_the_end(load, tmp_path, monkeypatch, capsys):
    (tmp_path / "torch.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\")\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = tmp_path / "gpu.json"
    options = ["--device", "cpu", "--only", "torch", "--json", str(path)]
    gpu = load("gpu")
    assert gpu.main(options) == 1
    (row,) = json.loads(path.read_text())["rows"]
    assert (row["section"], row["precision"]) == ("torch", "float32")
    assert "torch is not installed" in row["error"]
    assert gpu.main([*options, "--minutes", "0"]) == 1
    assert "no time was left" in capsys.readouterr().out


def test_jaxnst_need_not_be_installed_on_a_gpu(load, tmp_path, monkeypatch):
    gpu = load("gpu")

    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    environment = gpu.environment_for("gpu", tmp_path)
    assert environment["JAX_PLATFORMS"] == "cuda"
    monkeypatch.undo()
    environment |= {"JAX_PLATFORMS": "cpu"}
    code = "import jaxnst, json, importlib.metadata as about\n"
    code += "found = about.distribution('jaxnst').read_text('METADATA')\n"
    code += "print(json.dumps([jaxnst.__file__, found]))"
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    place, about = json.loads(done.stdout)
    assert Path(place).parent.parent == BENCHMARKS.parent
    assert "Name: jaxnst" in about


def test_a_benchmark_is_a_command():
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--repeats", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "'0' is not a whole number from 1 up" in done.stderr
