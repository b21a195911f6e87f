"""Settings: declared once, checked when they are set, fitted to a network."""

import dataclasses
import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jaxnst
from jaxnst import config as declared
from jaxnst.cli.main import build_parser
from jaxnst.config import (
    DYNAMIC,
    FILTERS,
    GROUPS,
    PRESETS,
    SETTINGS,
    TransferConfig,
    make_config,
)
from jaxnst.finishing import finish_picture
from jaxnst.losses.registry import PARTWISE, STYLE_LOSSES
from jaxnst.networks import GOOGLENET, RESNET50, VGG16, VGG19
from jaxnst.optimize import make_optimizer
from jaxnst.pretrained import get_spec
from jaxnst.transfer.setup import fit_config, settle_config


FIELDS = {field.name for field in dataclasses.fields(TransferConfig)}
# Arguments of `stylize` that are no settings.
OTHERS = {"content", "style", "preset", "masks", "metrics", "callback", "progress"}
OTHERS |= {"checkpoint", "more_steps"}


def test_the_config_needs_no_jax():
    code = (
        "import sys, jaxnst.config\n"
        "heavy = {'jax', 'flax', 'numpy', 'jaxtyping'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_stylize_has_an_argument_for_every_setting():
    signature = inspect.signature(jaxnst.stylize)
    assert set(signature.parameters) - OTHERS == FIELDS
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(jaxnst.stylize) or "", re.M)
    assert set(documented) >= FIELDS
    for name in FIELDS:
        assert signature.parameters[name].default is None, name


def test_every_setting_has_a_flag_with_its_help():
    assert set(SETTINGS) == FIELDS | {"preset"}
    assert {each.group for each in SETTINGS.values()} == set(GROUPS)
    args = build_parser().parse_args(["stylize", "a", "b"])
    assert not set(SETTINGS) & set(vars(args))  # nothing is set that was not given


def test_help_shows_what_is_declared(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["stylize", "--help-all"])
    printed = " ".join(capsys.readouterr().out.split())
    for name, each in SETTINGS.items():
        assert f"--{name.replace('_', '-')}" in printed
        # Lines are broken at hyphens, too.
        assert each.help.replace(" ", "") in printed.replace(" ", ""), name
    with pytest.raises(SystemExit):
        build_parser().parse_args(["finish", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    for name, each in FILTERS.items():
        assert f"--{name} " in printed
        assert f"({each.least:g} to {each.most:g})" in printed


def test_names_that_are_declared_are_there(as_installed, content):
    assert tuple(STYLE_LOSSES) == declared.STYLE_LOSSES
    assert set(declared.WHOLE_STYLE_LOSSES) == set(STYLE_LOSSES) - set(PARTWISE)
    for name in declared.OPTIMIZERS:
        make_optimizer(name)
    for name in FILTERS:
        finish_picture(content, {name: FILTERS[name].usual})
    default = TransferConfig()
    assert default.content_layers == dict(VGG19.content_layers)
    assert default.style_layers == dict(VGG19.style_layers)
    assert default.smoothing == VGG19.default_smoothing
    assert default.network == get_spec("vgg19").name


def test_tables_in_the_docs_are_as_declared():
    script = Path(__file__).parent.parent / "docs" / "settings_table.py"
    functions = runpy.run_path(str(script))
    texts = [page.read_text() for page in functions["pages"]()]
    assert "| `style_scale` | 1 | " in texts[0]
    for text in texts:
        assert functions["with_tables"](text) == text, f"run python {script.name}"


def test_static_settings_are_those_that_are_not_dynamic():
    assert set(PRESETS["fine"].to_dict()) == FIELDS
    assert FIELDS > DYNAMIC >= {"style_weight", "learning_rate", "num_steps", "seed"}
    assert not {"pooling", "style_layers", "size", "optimizer", "memory"} & DYNAMIC


def test_values_come_in_one_form(as_installed):
    settings: dict[str, Any] = {
        "style_layers": ["relu2_1", "relu1_1"],
        "style_loss": "moments",
        "finish": ["grain"],
        "style_weight": 2,
        "tile": True,
    }
    config = TransferConfig(**settings)
    assert make_config(**settings, padding="circular").finish == config.finish
    assert config.style_layers == {"relu2_1": 1.0, "relu1_1": 1.0}
    assert config.style_loss == {"moments": 1.0}
    assert config.finish == {"grain": FILTERS["grain"].usual}
    assert isinstance(config.style_weight, float)
    assert config.tile == "xy"
    assert TransferConfig(**config.to_dict()) == config
    assert make_config(tile=False).tile is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.size = 64  # type: ignore[misc]


def test_none_keeps_the_preset_s_value():
    assert make_config("draft", num_steps=None) == PRESETS["draft"]
    assert make_config("draft", num_steps=7).num_steps == 7


def test_another_optimizer_brings_its_own_rate():
    config = make_config(optimizer="lbfgs")
    assert (config.learning_rate, config.decay) == (1.0, 0.0)
    assert make_config(optimizer="lbfgs", decay=0.5).decay == 0.5


def test_a_size_that_is_painted_alone_gets_the_steps_of_a_smaller_one():
    assert make_config(size=128).num_steps == make_config().coarse_steps
    assert make_config(size=128, num_steps=5).num_steps == 5
    assert make_config(size=256).num_steps == make_config().num_steps


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 31}, "`size` must be at least 32, got 31"),
        ({"size": "64"}, "`size` must be a whole number"),
        ({"seed": 2**32}, "`seed` must be 0 to 4294967295"),
        ({"style_scale": 1e6}, "`style_scale` must be at most 100"),
        ({"color": "palette-only", "strength": 0.5}, "'palette-only' paints nothing"),
        ({"averaging": 1}, "`averaging` must be 0 or more and below 1, got 1"),
        ({"decay": 1.5}, "`decay` must be between 0 and 1"),
        ({"learning_rate": 0}, "`learning_rate` must be finite and greater than 0"),
        ({"pooling": "mac"}, "`pooling` is 'mac'. Did you mean 'max'"),
        ({"optimizer": "adams"}, "Known: adam, lbfgs."),
        ({"conv": "winograd", "precision": "bfloat16"}, "use `conv` 'auto' or 'xla'"),
        ({"tile": "xy", "padding": "zeros"}, "`tile` 'xy' needs `padding` 'circular'"),
        ({"tile": "z"}, "`tile` is 'z'"),
        ({"finish": "vignette", "tile": "xy"}, "would show where a tiled picture"),
        ({"strength": 2}, "`strength` must be between 0 and 1"),
        ({"strength": 0.5, "style_weight": 1}, "`strength` finds the weights itself"),
        ({"strength": 0.5, "optimizer": "lbfgs"}, "use `optimizer` 'adam'"),
        ({"strength": 0.5, "normalization": "paper"}, "needs `normalization` 'pair'"),
        ({"style_weight": 0, "content_weight": 0}, "set one above 0"),
        ({"normalize_activations": "yes"}, "must be True or False, got 'yes'"),
        ({"network": 3}, "`network` must be a name"),
        ({"vigor": 1}, "vigor"),
    ],
)
def test_values_that_cannot_be_are_told(as_installed, settings, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        make_config(**settings)


NUMBERS = [
    name
    for name, each in SETTINGS.items()
    if isinstance(each.default, int | float) or each.metavar in ("N", "PX", "S")
    if not isinstance(each.default, bool)
]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_beyond_all_measure_are_told_with_the_range(name):
    for value in (10**30, 10**400, 10**5000, 1e300, float("inf"), float("nan"), -1e30):
        settings: dict[str, Any] = {name: value}
        with pytest.raises((ValueError, TypeError), match=f"^`{name}` must be ") as no:
            make_config(**settings)
        assert len(str(no.value)) < 200
    for text in ("9" * 300, "9" * 5000, "1e300", "1e400", "inf", "nan"):
        with pytest.raises((ValueError, TypeError)):
            SETTINGS[name].check(name, SETTINGS[name].parse_fn(text))


def test_whole_floats_are_whole_numbers():
    assert make_config(size=96.0) == make_config(size=96)
    assert type(make_config(size=96.0).size) is int


@pytest.mark.parametrize("architecture", [VGG19, VGG16, RESNET50, GOOGLENET])
def test_layers_and_smoothing_follow_the_network(architecture):
    config = fit_config(TransferConfig(), architecture, given=())
    assert config.content_layers == dict(architecture.content_layers)
    assert config.style_layers == dict(architecture.style_layers)
    assert config.smoothing == architecture.default_smoothing
    assert fit_config(config, architecture) == config


def test_a_preset_s_layers_are_kept_where_the_network_has_them():
    paper = PRESETS["gatys2016"]
    assert set(fit_config(paper, VGG16, given=()).style_layers.values()) == {0.2}
    other = fit_config(paper, RESNET50, given=())
    assert other.style_layers == dict(RESNET50.style_layers)
    own = settle_config(
        network="resnet50.tv_in1k", style_layers=["relu1"], smoothing="none"
    )
    assert (own.style_layers, own.smoothing) == ({"relu1": 1}, "none")
    config = settle_config(style_layers=["relu5_1", "relu1_1"])
    assert list(config.style_layers) == ["relu1_1", "relu5_1"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"network": "resnet50.tv_in1k", "style_layers": ["relu1_1"]},
            "`style_layers` is 'relu1_1'.*Known: relu1,",
        ),
        ({"smoothing": "softmax"}, "which vgg19 cannot have; it can have none"),
        (
            {"network": "googlenet", "normalize_activations": True},
            "is for VGGs, and this is googlenet",
        ),
        ({"network": "vgg91"}, "vgg91"),
        ({"optimizer": 3}, "must be a name or an optax transformation"),
    ],
)
def test_settings_that_do_not_fit_the_network_are_told(as_installed, settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        settle_config(**settings)
