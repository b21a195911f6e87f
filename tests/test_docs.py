"""Every code block of the README and the pages runs, small; every link leads somewhere.

Commands and Python run as they are written, with the tiny network. What a picture takes
is cut down where its settings are checked, so that no page needs a setting for it.
"""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import load_tiny_weights, picture, use_small_judge
from PIL import Image

import jaxnst
from jaxnst.cli.main import build_parser, main
from jaxnst.config import ClipConfig, TransferConfig
from jaxnst.transfer import setup


ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# These need a server, a download or a file of weights; their flags are checked.
NOT_RUN = ("app", "networks get", "networks convert")
TOOLS = ("pytest", "ruff", "mkdocs", ".ci/run", "git")
SMALL = {
    "size": 64,
    "min_size": 0,
    "num_steps": 2,
    "coarse_steps": 1,
    "style_size": 48,
    "content_layers": {"relu2_2": 1.0},
    "style_layers": {"relu1_1": 1.0},
}
FEW_FRAMES = {"stop": 6, "frame_steps": 1}


def cut(patch, config, small):
    """Let the settings of a config be at most those."""
    check_fn = config.__post_init__

    def check_small(self):
        for name, value in small.items():
            given = getattr(self, name)
            if isinstance(given, int | None) and isinstance(value, int):
                # None has a meaning of its own for all but the end of a clip.
                is_less = given is not None and given < value
                if is_less or (given is None and name != "stop"):
                    continue
            object.__setattr__(self, name, value)
        check_fn(self)

    patch.setattr(config, "__post_init__", check_small)


def save(path, rgb):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.round(255 * rgb).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return a folder of the files that the pages name, made once."""
    folder = tmp_path_factory.mktemp("pages")
    names = ["photo.jpg", "painting.jpg", "one.jpg", "other.jpg", "wave.jpg"]
    for seed, name in enumerate(names):
        save(folder / name, picture(32, 48, seed=seed))
    for name in ("cup.png", "sky.png", "strengths.png"):
        save(folder / name, np.tile(np.linspace(0, 1, 48), (32, 1)))
    for number in range(6):
        save(folder / f"frames/{number:04d}.png", picture(32, 48, seed=number // 3))
    (folder / "jobs.csv").write_text("content,style\nphoto.jpg,painting.jpg\n")
    for name in ("docs", "examples"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("in.mp4", "other.mp4"):
        shutil.copy(ROOT / "examples/images/big_buck_bunny.mp4", folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "load_weights", load_tiny_weights)
        use_small_judge(patch)
        cut(patch, TransferConfig, SMALL)
        cut(patch, ClipConfig, FEW_FRAMES)
        explain_fn = jaxnst.explain

        def explain_quickly(*pictures, **options):
            return explain_fn(*pictures, **options | {"ablations": False})

        for home in (jaxnst, jaxnst.insight):
            patch.setattr(home, "explain", explain_quickly)
        patch.chdir(folder)
        jaxnst.stylize("photo.jpg", "painting.jpg", progress=False).save("out.png")
        yield folder


def command_of(line):
    """Return the words of a line without variables before and a comment behind."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return words


def run_line(line, extras):
    words = command_of(line)
    if not words:
        return
    program, *arguments = words
    if program == "jaxnst":
        if " ".join(arguments).startswith(NOT_RUN) or "--network" in arguments:
            build_parser().parse_args(arguments)
            return
        try:
            code = main(arguments)
        except SystemExit as end:  # of --version
            code = end.code
        assert not code, line
    elif program == "pip":
        for each in re.findall(r"\[([\w,]+)\]", line):
            assert "jax[" in line or extras.issuperset(each.split(",")), line
    elif program == "python":
        assert arguments[0] == "-m" or (ROOT / arguments[0]).is_file(), line
    else:
        assert program in TOOLS, line


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs(page, pictures, tmp_path, monkeypatch):
    shutil.copytree(pictures, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {*project["optional-dependencies"]}
    scope = {}
    for language, text in BLOCK.findall(page.read_text()):
        if language == "python":
            exec(compile(text, page.name, "exec"), scope)
        elif language in ("", "sh"):
            for line in text.replace("\\\n", " ").splitlines():
                run_line(line, extras)
        else:
            assert language == "text", f"a block of {language} is not run"


def test_guides_begin_with_a_picture_and_its_command():
    guides = [*(ROOT / "docs/guides").glob("*.md"), ROOT / "docs/app.md"]
    for guide in [*guides, ROOT / "docs/video.md"]:
        # A picture, or a table of pictures.
        beginning = r"# [^\n]+\n\n(\|[^`]*)?!\[[^`]*```sh\n"
        assert re.match(beginning, guide.read_text()), guide.name


def test_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    cited = dict(line.split(": ", 1) for line in lines if ": " in line)
    assert cited["version"] == project["version"]
    heading = f"\n## {cited['version']} - {cited['date-released']}\n"
    assert heading in (ROOT / "CHANGELOG.md").read_text()


def test_links_lead_somewhere():
    pages = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    pages += [ROOT / "benchmarks/README.md"]
    for page in pages:
        text = BLOCK.sub("", page.read_text())
        for link in re.findall(r"\]\(([^)\s#]+)", text):
            target = page.parent / link
            assert "://" in link or target.exists(), f"{page.name}: {link}"
