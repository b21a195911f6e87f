"""Which settings are lists, the members that they span, and what they are called."""

from pathlib import Path

import numpy as np
import pytest

from jaxnst.cli.main import build_parser
from jaxnst.sweeps.axes import make_members, split_axes


def axes_of(mode="product", **settings):
    pictures = {"content": "a.jpg", "style": "b.jpg"} | settings
    content, style = pictures.pop("content"), pictures.pop("style")
    axes, fixed = split_axes(content, style, pictures, mode=mode)
    return {axis.name: axis for axis in axes}, fixed


def test_lists_are_axes_in_the_order_of_the_arguments():
    axes, fixed = axes_of(
        style_weight=[0.3, 1], seed=range(3), size=64, tv_weight=None, style_size=[64]
    )
    assert list(axes) == ["style_weight", "seed", "style_size"]
    assert axes["seed"].values == (0, 1, 2)
    assert axes["style_weight"].labels == ("0.3", "1")
    assert fixed == {"content": "a.jpg", "style": "b.jpg", "size": 64}


def test_numbers_of_numpy_become_python_s():
    axes, _ = axes_of(style_weight=np.geomspace(1, 100, 3))
    assert axes["style_weight"].values == (1.0, 10.0, 100.0)
    assert type(axes["style_weight"].values[0]) is float


def test_what_is_a_list_already_is_one_value():
    layers = ["relu1_1", "relu2_1"]
    axes, fixed = axes_of(style_layers=layers, style_blend=[1, 2], style=["a", "b"])
    assert not axes
    assert fixed["style_layers"] == layers
    assert fixed["style"] == ["a", "b"]
    axes, _ = axes_of(
        style_layers=[layers, {"relu3_1": 2}],
        style_blend=[[1, 2], [2, 1]],
        style=[["a", "b"], ["c", "d"]],
    )
    assert list(axes) == ["style", "style_layers", "style_blend"]
    # All of them name the same layers, so that one program paints them.
    assert axes["style_layers"].values == (
        {"relu1_1": 1, "relu2_1": 1, "relu3_1": 0},
        {"relu1_1": 0, "relu2_1": 0, "relu3_1": 2},
    )
    assert axes["style_layers"].labels == ("relu1_1, relu2_1", "relu3_1 2")
    assert axes["style"].labels == ("a+b", "c+d")


def test_pictures_are_called_by_their_files():
    arrays = [np.zeros((40, 40, 3)), np.ones((40, 40, 3))]
    axes, _ = axes_of(content=["x/cat.jpg", Path("y/cat.jpg"), "dog.png"], style=arrays)
    assert axes["content"].labels == ("cat (1)", "cat (2)", "dog")
    assert axes["style"].labels == ("style 1", "style 2")


def test_labels_tell_numbers_apart():
    axes, _ = axes_of(style_weight=[1.0000001, 1.0000002])
    assert axes["style_weight"].labels == ("1.0000001", "1.0000002")


def test_members_of_a_product_and_of_lists_that_are_zipped():
    axes, _ = axes_of(style_weight=[0.3, 1], seed=[5, 6])
    members = make_members(list(axes.values()), "product")
    assert [dict(member.settings) for member in members] == [
        {"style_weight": 0.3, "seed": 5},
        {"style_weight": 0.3, "seed": 6},
        {"style_weight": 1, "seed": 5},
        {"style_weight": 1, "seed": 6},
    ]
    assert members[1].title == "style_weight 0.3, seed 6"
    assert [member.index for member in members] == [0, 1, 2, 3]
    members = make_members(list(axes.values()), "zip")
    assert [dict(member.settings) for member in members] == [
        {"style_weight": 0.3, "seed": 5},
        {"style_weight": 1, "seed": 6},
    ]


def test_lists_that_are_zipped_may_repeat():
    axes, _ = axes_of(style_weight=[1, 1, 2], seed=[1, 2, 2], mode="zip")
    assert axes["style_weight"].labels == ("1", "1", "2")
    with pytest.raises(ValueError, match="`seed` has 2 twice; give every value once"):
        axes_of(seed=[1, 2, 2])


def parsed(name: str, text: str):
    flag = f"--{name.replace('_', '-')}={text}"
    return vars(build_parser().parse_args(["sweep", "a", "b", "-o", "c", flag]))[name]


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("style_weight", "0.3,1, 3", [0.3, 1.0, 3.0]),
        ("style_weight", "2", 2.0),
        ("seed", "0..3", [0, 1, 2, 3]),
        ("seed", "3..1,7", [3, 2, 1, 7]),
        ("size", "64", 64),
        ("init", "content,noise", ["content", "noise"]),
        ("style_layers", "relu1_1,relu2_1:2", {"relu1_1": 1, "relu2_1": 2}),
        ("style_layers", "relu1_1; relu2_1", [{"relu1_1": 1}, {"relu2_1": 1}]),
        ("style_blend", "1,0; 1,1", [[1, 0], [1, 1]]),
        ("style_blend", "1,0", [1, 0]),
    ],
)
def test_values_of_flags(name, text, values):
    assert parsed(name, text) == values


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("seed", "0..x", "'x' is not a whole number"),
        ("seed", "0..1000000", "more than 10000 numbers"),
        ("style_weight", "1,,2", "'' is not a number"),
        ("style_weight", "1..3", "'1..3' is not a number"),
    ],
)
def test_values_of_flags_that_cannot_be_read(name, text, message, capsys):
    with pytest.raises(SystemExit):
        parsed(name, text)
    assert message in capsys.readouterr().err
