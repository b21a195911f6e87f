"""The form of the page: settings as texts and numbers, and back.

What a field means and what it may hold is what `jaxnst.config` declares. Nothing here
knows of Gradio.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jaxnst import __version__
from jaxnst._checks import plain, shown
from jaxnst.config import (
    CLIP_SETTINGS,
    FLOWS,
    GROUPS,
    INITS,
    PRESETS,
    SETTINGS,
    Setting,
    make_config,
)
from jaxnst.pretrained.registry import SPECS
from jaxnst.transfer.result import settings_of


# The strength that the page begins with; the library has none.
USUAL_STRENGTH = 0.7
# In place of the names of files, which a page must not choose on the machine it runs
# on, only what jaxnst knows.
_NAMES = {
    "preset": tuple(PRESETS),
    "network": tuple(SPECS),
    "init": INITS,
    "flow": FLOWS,
    "tile": ("yes", "x", "y"),
    "normalize_activations": ("yes", "no"),
    "loop": ("yes", "no"),
}
# What the help says of files; for maps of strengths the page has a brush.
_FILES = (
    "; or a gray picture of strengths",
    ", or a picture file",
    "; or a file of weights",
    ", or .flo files as flow/%04d_%04d.flo",
)
# These have a place of their own on the page; all others are texts.
FIRST = ("strength", "preset", "size")
LOOK = ("color", "detail", "style_scale", "seed", "tile", "finish")
MIX = ("style_blend",)
# Settings that are numbers in the form: {name: least and most of the slider}.
SLIDERS = {"strength": (0.0, 1.0), "detail": (-1.0, 1.0), "style_scale": (0.25, 4.0)}
# A record that names pictures which are not in it, and what to do about it.
_PICTURES = {
    "masks": "it was painted with masks; draw them again",
    "strength": "it was painted with a map of strengths; draw it again",
    "init": "it started from a picture of its own, which the page cannot do",
}

# {name: text, number, or None where the setting is left to the preset}.
Values = dict[str, Any]


class Field(NamedTuple):
    """A setting as the page shows it.

    Attributes:
        label: its name in words.
        help: effect of it, in one line.
        choices: names that it may be; empty if it is a text or a number.
        placeholder: an empty field's meaning.
    """

    name: str
    label: str
    help: str
    choices: tuple[str, ...]
    placeholder: str


def field(name: str) -> Field:
    """Return the field of a setting of a picture or of a clip."""
    declared = declaration(name)
    default = declared.shown_default
    choices = _NAMES.get(name) or declared.choices
    text = declared.help
    for part in _FILES:
        text = text.replace(part, "")
    return Field(
        name=name,
        label=name.replace("_", " ").capitalize(),
        help=text[:1].upper() + text[1:],
        choices=choices,
        placeholder=default or "not set",
    )


def declaration(name: str) -> Setting:
    """Return the declaration of a setting of a picture or of a clip."""
    return SETTINGS[name] if name in SETTINGS else CLIP_SETTINGS[name]


def other_fields() -> Iterator[tuple[str, list[str]]]:
    """Yield (title, names) of the settings without a place of their own."""
    own = {*FIRST, *LOOK, *MIX}
    for group in GROUPS:
        names = [
            name
            for name, declared in SETTINGS.items()
            if declared.group == group and name not in own
        ]
        if names:
            yield group, names


def read_form(values: Mapping[str, Any], *, is_strength_on: bool) -> dict[str, Any]:
    """Return the settings of a form, as arguments of `jaxnst.stylize` or of a clip.

    Raises:
        ValueError: if a text cannot be read, or a value is out of range or unknown.
    """
    settings = {}
    for name, value in values.items():
        if value is None or value == "" or (name == "strength" and not is_strength_on):
            continue
        if name in _NAMES and value not in _NAMES[name]:
            raise ValueError(
                f"`{name}` is {shown(value)}. Known: {', '.join(_NAMES[name])}."
            )
        declared = declaration(name)
        if isinstance(value, str):
            try:
                value = declared.parse_fn(value.strip())
            except ValueError as error:
                raise ValueError(f"`{name}`: {error}.") from None
        if name == "strength" and isinstance(value, str):
            raise ValueError("`strength` must be a number from 0 to 1.")
        settings[name] = declared.check(name, value)
    return settings


def read_values(text: str, name: str) -> list[Any]:
    """Return the values of a setting in a text such as `0.3, 0.5, 0.7`.

    Raises:
        ValueError: if one cannot be read, or is out of range.
    """
    values = []
    for part in filter(None, map(str.strip, text.split(","))):
        (value,) = read_form({name: part}, is_strength_on=True).values()
        values.append(value)
    if not values:
        raise ValueError(f"`{name}`: give some values, with commas between them.")
    return values


def text_of(value: Any) -> str:
    """Return the text that means a value, as flags and tables have it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, Mapping):
        pairs = value.items()
        return ",".join(name if x == 1 else f"{name}:{x:.10g}" for name, x in pairs)
    if isinstance(value, list | tuple):
        rows = any(isinstance(each, list | tuple) for each in value)
        return ("/" if rows else ",").join(map(text_of, value))
    return {"xy": "yes"}.get(value, str(value))


def fill_form(record: Mapping[str, Any]) -> tuple[Values, bool, list[str]]:
    """Return the values of a form, whether its strength counts, and what to know.

    Read again, the form gives the settings in the record.

    Args:
        record: record of a picture or of a clip, as `jaxnst.read_record` returns it.

    Raises:
        ValueError: if the page cannot have such settings; says why.
    """
    if record.get("kind") == "video":
        record = {**record, "kind": "picture"}
    inputs = record.get("inputs", {})
    made = record.get("result", {})
    kept = record.get("settings", {})
    missing = []
    if made.get("regions") and kept.get("strength") != "map":
        missing.append("masks")
    missing += [name for name in ("strength", "init") if name in inputs]
    settings = settings_of(record, given=missing)
    preset = settings.pop("preset")
    wanted = {name: x for name, x in settings.items() if x is not None}
    base = PRESETS[preset]
    own = {name: x for name, x in wanted.items() if x != getattr(base, name)}
    config = make_config(preset, **own)
    # What follows from others, such as the steps of a small picture, is said, too.
    own |= {name: x for name, x in wanted.items() if x != getattr(config, name)}
    values: Values = {name: text_of(own.get(name)) for name in SETTINGS}
    for name in SLIDERS:
        values[name] = wanted.get(name, USUAL_STRENGTH)
    values |= {"preset": preset, "color": wanted["color"]}
    values["size"], values["seed"] = str(wanted["size"]), str(wanted["seed"])
    notes = [_PICTURES[name] for name in missing]
    if moving := record.get("over_time"):
        names = ", ".join(map(plain, moving))
        notes.append(f"over time it changed {names}, which the page cannot do")
    if record.get("jaxnst") != __version__:
        notes.append(
            f"it was painted by jaxnst {plain(str(record.get('jaxnst')))}, and this is "
            f"{__version__}: the same settings may give another picture"
        )
    for name, allowed in _NAMES.items():
        if values.get(name) and values[name] not in allowed:
            raise ValueError(f"the record's `{name}` is {shown(values[name])}.")
    return values, "strength" in wanted, notes


def fill_clip(record: Mapping[str, Any]) -> Values:
    """Return the values of the settings of a clip, from its record.

    What only fits the clip that it was painted from, such as its cuts, is left out.

    Raises:
        ValueError: if the page cannot have such settings; says why.
    """
    from jaxnst.videos.jobs import settings_of_clip

    own = settings_of_clip(record, given=("masks", "strength", "init", "network"))[1]
    values: Values = dict.fromkeys(CLIP_SETTINGS, "")
    for name, value in own.items():
        if value != CLIP_SETTINGS[name].default:
            values[name] = text_of(value)
    values["steadiness"] = own.get("steadiness", CLIP_SETTINGS["steadiness"].default)
    return values
