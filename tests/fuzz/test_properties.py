"""What must hold of any text and any JSON, by Hypothesis: a value, or a clear error."""

import json
import string

from hypothesis import HealthCheck, given, settings, strategies as st

from jaxnst.config import SETTINGS, TransferConfig
from jaxnst.images.metadata import check_record
from jaxnst.sweeps.table import COLUMNS, read_jobs
from jaxnst.transfer.result import settings_of

from .mutators import TEXTS, VALUES
from .oracle import Seen, problems_of


# The same examples in every run; `--hypothesis-seed` or HYPOTHESIS_PROFILE for others.
few = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
texts = st.text(max_size=30) | st.sampled_from(TEXTS)
numbers = st.integers() | st.floats() | st.booleans() | st.none()
names = st.sampled_from([*SETTINGS])
plain = st.recursive(
    numbers | texts | st.sampled_from(VALUES),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=6,
)


def tried(function, *arguments, **options):
    """Return what a function returns, or None if it refuses in one clear line."""
    seen = Seen()
    try:
        return function(*arguments, **options)
    except Exception as error:
        seen.error = error
    assert problems_of(seen) == []
    return None


@few
@given(name=names, text=st.text(string.printable, max_size=20) | texts)
def test_a_text_is_read_or_refused(name, text):
    tried(SETTINGS[name].parse_fn, text)


@few
@given(name=names, value=plain)
def test_a_setting_is_kept_or_refused(as_installed, name, value):
    del as_installed
    config = tried(TransferConfig, **{name: value})
    if config is not None:
        # What was accepted is in its one form: a record of it makes it again.
        assert TransferConfig(**config.to_dict()) == config


@few
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(COLUMNS) | texts, plain, max_size=4), max_size=3
    )
    | plain
)
def test_a_table_is_read_or_refused(tmp_path, rows):
    path = tmp_path / "jobs.json"
    path.write_text(json.dumps(rows))
    tried(read_jobs, path)


@few
@given(
    record=st.dictionaries(texts, plain, max_size=3)
    | st.fixed_dictionaries(
        {"settings": st.dictionaries(st.sampled_from([*SETTINGS]), plain, max_size=5)},
        optional={"preset": plain, "result": plain, "inputs": plain},
    )
)
def test_a_record_is_followed_or_refused(record):
    if (checked := tried(check_record, record)) is not None:
        tried(settings_of, checked)
