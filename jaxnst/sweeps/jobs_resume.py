"""Whether a picture that is there already is the one that is asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxnst.config import TransferConfig
from jaxnst.images import read_record
from jaxnst.transfer.result import FINISHED


# Of pictures that nobody meant to keep as they are.
_UNFINISHED = ("interrupted", "not finite")


def finished_record(
    path: Path,
    *,
    config: TransferConfig,
    digests: Mapping[str, str],
    weights: str | None,
) -> Mapping[str, Any] | None:
    """Return the record of a picture that is all that is asked for.

    Versions and devices are not compared, nor how its file was written.

    Args:
        path: of the picture.
        config: the settings that are asked for.
        digests: {"content": sha256, ...} of what it is to be painted from.
        weights: sha256 of the user's file of them; None for those of the registry,
            which their name tells from others, and for a network of the user's own.

    Returns:
        None, if it is that picture but was not finished.

    Raises:
        ValueError: if it is something else; says what.
        OSError: if it cannot be read.
    """
    try:
        record = read_record(path)
    except ValueError:
        raise ValueError("jaxnst did not make it") from None
    try:
        difference = _difference(record, config, digests, weights)
        stopped = record["result"]["stopped"]
    except (AttributeError, KeyError, TypeError):
        raise ValueError("its record is not whole") from None
    if difference is not None:
        raise ValueError(difference)
    if stopped in FINISHED:
        return record
    if stopped not in _UNFINISHED:
        raise ValueError(f"it was ended early ({stopped})")
    return None


def _difference(
    record: Mapping[str, Any],
    config: TransferConfig,
    digests: Mapping[str, str],
    weights: str | None,
) -> str | None:
    """Return in what a picture differs from the one asked for, if it does."""
    wanted = json.loads(json.dumps(config.to_dict()))
    for name in ("network", "optimizer"):
        if wanted[name] == "custom" and (name == "optimizer" or weights is None):
            return f"no record can tell whether its `{name}` was this one of yours"
    # What its version did not know had no effect, as the defaults have none.
    made = json.loads(json.dumps(TransferConfig().to_dict())) | record["settings"]
    different = [name for name in wanted | made if wanted.get(name) != made.get(name)]
    if different:
        name, *others = different
        more = f" (and {len(others)} settings more)" if others else ""
        return f"its `{name}` is {made.get(name)}, not {wanted.get(name)}{more}"
    for argument in {**digests, **record["inputs"]}:
        found = record["inputs"].get(argument, {}).get("sha256")
        if found != digests.get(argument):
            return f"it was made from another {argument} picture"
    if weights is not None and record["weights"]["sha256"] != weights:
        return "its network had other weights"
    return None
