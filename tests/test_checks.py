"""Checks of arguments: what they let pass, and how they say no."""

import numpy as np
import pytest

from jaxnst._checks import (
    check_choice,
    check_count,
    check_layer_weights,
    check_number,
    plain,
    shown,
    suggestion,
)
from jaxnst.config import make_config


def test_choice():
    assert check_choice("pooling", "max", ["max", "average"]) == "max"
    with pytest.raises(
        ValueError, match=r"^`pooling` is 'mac'\. Did you mean 'max'\? "
    ):
        check_choice("pooling", "mac", ["max", "average"])
    with pytest.raises(ValueError, match=r"is None\. Known: max\.$"):
        check_choice("pooling", None, ["max"])


def test_suggestion_is_silent_when_nothing_is_near():
    assert suggestion("xyz", ["relu1_1"]) == ""


def test_count():
    for five in (np.int64(5), 5.0, np.float32(5)):
        assert check_count("size", five) == 5
        assert type(check_count("size", five)) is int
    for value in (2.5, "5", True, None, np.inf, np.nan):
        with pytest.raises(TypeError, match="`size` must be a whole number"):
            check_count("size", value)
    with pytest.raises(ValueError, match="at least 3, got 2"):
        check_count("size", 2, minimum=3)
    for huge in (10**30, 1e30, 10**5000):
        with pytest.raises(ValueError, match="`size` must be 3 to 2147483647, got "):
            check_count("size", huge, minimum=3)


def test_values_are_cut_in_messages():
    for value in ("x" * 10**6, list(range(1000)), {"a": "y" * 500}, 10**5000):
        with pytest.raises(TypeError, match="must be True or False") as caught:
            make_config(normalize_activations=value)
        assert len(str(caught.value)) < 200
    assert shown("a\x1b[2J") == r"'a\x1b[2J'"
    assert plain("a\x1b\x9b\x7f\u202eé") == r"a\x1b\x9b\x7f\u202eé"


def test_number():
    assert check_number("weight", np.float32(0.5)) == 0.5
    assert check_number("weight", 0) == 0
    for value in (-1e-9, np.nan, np.inf):
        with pytest.raises(ValueError, match="must be finite and 0 or more"):
            check_number("weight", value)
    for value in (1e39, 10**400):
        with pytest.raises(ValueError, match="`weight` must be"):
            check_number("weight", value)
    with pytest.raises(ValueError, match="greater than 0, got 0"):
        check_number("rate", 0, positive=True)
    for value in ("1", True, None, [1]):
        with pytest.raises(TypeError, match="must be a number"):
            check_number("weight", value)


def test_layer_weights():
    known = ["relu1_1", "relu2_1"]
    assert check_layer_weights("layers", "relu1_1", known) == {"relu1_1": 1}
    assert check_layer_weights("layers", known, known) == {"relu1_1": 1, "relu2_1": 1}
    given = {"relu1_1": 0, "relu2_1": 2}
    assert check_layer_weights("layers", given, known) == given
