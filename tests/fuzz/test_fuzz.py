"""Some hundreds of bad inputs, the same in every run; the hour is `tests.fuzz`.

What the hour finds is mended, and becomes a test of its own.
"""

import dataclasses
import random
from collections import Counter

import pytest

from . import mutators
from .cases import KINDS
from .oracle import Seen, problems_of
from .runner import Report, fuzz


# Inputs of each kind; "reports" begins with half a minute of measuring.
INPUTS = 30


def test_bad_inputs(tmp_path):
    kinds = [kind for kind in KINDS if kind != "reports"]
    report = fuzz(kinds, seconds=240, inputs=INPUTS, found=tmp_path)
    assert all(count["inputs"] for count in report.counts.values()), report.table()
    assert not report.failures, "\n".join([report.table(), *report.lines()])


GOOD = Seen(code=0, out="out.png  (48 x 40)\n", err="jaxnst: warning: a gray picture\n")


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        (None, {}),
        (None, {"code": 2, "err": "jaxnst: error: `size` must be at least 32.\n"}),
        (
            "unforeseen",
            {"code": 2, "err": "jaxnst: error: x (--debug shows where)\n"},
        ),
        ("traceback", {"code": -1, "error": KeyError("x")}),
        ("traceback", {"code": None, "error": KeyError("x")}),
        (None, {"code": None, "error": ValueError("`size` is wrong.")}),
        ("several lines", {"code": None, "error": ValueError("a\nb")}),
        ("several lines", {"err": "TIFFReadDirectory: Warning\n"}),
        ("refused without a word", {"code": 2, "err": ""}),
        (
            "Python's own words",
            {"err": "jaxnst: error: 'a' has no attribute\n"},
        ),
        ("fills the screen", {"err": f"jaxnst: error: {'A' * 2000}\n"}),
        ("control character", {"err": "jaxnst: error: \x1b[2J\n"}),
        ("control character", {"out": "\u202egnp.exe\n"}),
        ("file left over", {"left": ["out/.jaxnst-1-2.png.part"]}),
        ("file left over", {"left": ["tmp/a.png"]}),
        (None, {"left": ["out.png"]}),
        ("half-written file", {"broken": ["out.png"]}),
        ("injected", {"injected": ["why.html"]}),
        ("input changed", {"changed": ["content.png"]}),
        ("opened what a record names", {"opened": ["canary.png"]}),
        ("host asked", {"asked": ["huggingface.co"]}),
        ("slow", {"seconds": 21.0}),
        ("memory", {"grown": 5 * 2**30}),
    ],
)
def test_oracle(what, seen):
    found = problems_of(dataclasses.replace(GOOD, **seen))
    assert [each.what for each in found] == ([] if what is None else [what])


def test_inputs_depend_on_their_number_alone():
    """So `--case` repeats them, in every process."""
    data = bytes(range(256)) * 4
    first, second = (
        [mutators.mutate_bytes(random.Random(f"x {i}"), data) for i in range(50)]
        for _ in range(2)
    )
    assert first == second
    assert len(set(first)) > 40


def test_a_worker_that_dies_is_a_failure():
    report = fuzz(["no such kind"], seconds=60, inputs=1)
    assert isinstance(report, Report)
    assert report.counts == {"no such kind": Counter(inputs=1, failures=1)}
    (key,) = report.failures
    assert key.startswith("crash")
