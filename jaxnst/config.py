"""The settings of a transfer: each is declared once, here, and checked when it is set.

A field of `TransferConfig` says everything about a setting: its type, default and
range, how text is read, its help, and whether it changes the compiled program. The
flags of the commands, the columns of a table, the record in a picture and the table in
the README are made from these fields. Nothing here imports JAX.
"""

import contextlib
import dataclasses
import functools
import itertools
import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ._checks import (
    MAX_COUNT,
    MAX_SIDE,
    MIN_SIDE,
    check_blend,
    check_choice,
    check_convolution,
    check_count,
    check_layer_weights,
    check_list,
    check_names,
    check_number,
    check_range,
    parse_count,
    parse_number,
    shown,
)


LayerWeights = Mapping[str, float] | Iterable[str]

# Names that several packages share. Tests hold the registries equal to them.
COLORS = ("style", "content", "luminance", "match", "histogram", "palette-only")
CONVOLUTIONS = ("auto", "xla", "winograd")
DEVICES = ("all",)
FLOWS = ("dis", "deepflow", "none")
INITS = ("content", "recolored", "style", "noise")
# From most memory and least time to the reverse, see `jaxnst.networks.remat`.
NETWORK_MEMORY_LEVELS = ("fast", "balanced", "low")
# The last is of a whole step, see `jaxnst.optimize.tiles`.
MEMORY_LEVELS = (*NETWORK_MEMORY_LEVELS, "tiles")
NORMALIZATIONS = ("pair", "paper")
OPTIMIZERS = ("adam", "lbfgs")
PADDINGS = ("reflect", "replicate", "zeros", "circular", "circular_x", "circular_y")
POOLINGS = ("max", "average")
# See `jaxnst.networks.devices`.
PRECISIONS = ("auto", "float32", "tf32", "bfloat16", "float16")
SMOOTHINGS = ("none", "log", "softmax")
STYLE_LOSSES = (
    "gram",
    "moments",
    "wasserstein",
    "sliced_wasserstein",
    "nearest_neighbor",
)
# These need all positions of a layer at once.
WHOLE_STYLE_LOSSES = ("sliced_wasserstein",)
# These cannot be computed from parts of a picture that lie on several devices.
_ONE_DEVICE_STYLE_LOSSES = ("sliced_wasserstein", "nearest_neighbor")
# {directions in which the result tiles: the padding that makes it tile}.
TILINGS = MappingProxyType({"xy": "circular", "x": "circular_x", "y": "circular_y"})
# {normalization: style losses and their weights}. Gram matrices and moments together
# leave three quarters of the palette gap that Gram matrices alone leave, see
# benchmarks/README.md; the paper has Gram matrices.
DEFAULT_STYLE_LOSS = MappingProxyType(
    {"pair": {"gram": 1.0, "moments": 1.0}, "paper": {"gram": 1.0}}
)
# The layers of Gatys et al. 2016, which every VGG has. Weights of our own: more for
# strokes, less for the deepest layer, see benchmarks/README.md.
CONTENT_LAYERS = MappingProxyType({"relu4_2": 1.0})
STYLE_LAYERS = MappingProxyType(
    {"relu1_1": 1.0, "relu2_1": 2.0, "relu3_1": 2.0, "relu4_1": 1.0, "relu5_1": 0.5}
)
# Strokes of another size than these are of no use, and overflow sizes in pixels.
MAX_SCALE = 100
MAX_STEPS = 10_000_000
MAX_STEPS_PER_CALL = 10_000
# No frame is held by one further back.
_MAX_REACH = 10_000
# Settings about a content picture, which textures do not have.
NOT_FOR_TEXTURES = (
    "content_layers",
    "content_weight",
    "content_detail",
    "strength",
    "masks",
    "init",
    "color",
)
# What a record holds in place of objects that JSON cannot hold.
CUSTOM = "custom"  # a network or an optimizer of the user's own
INIT_IMAGE = "image"  # a picture to start from
STRENGTH_MAP = "map"  # a picture of strengths


class FilterRange(NamedTuple):
    """The amounts that a filter of `jaxnst.finishing` accepts.

    Attributes:
        least: smallest amount.
        most: largest amount.
        usual: amount where none is given.
        help: effect of the filter, in one line.
        tiles: whether a tiled picture still tiles after it.
    """

    least: float
    most: float
    usual: float
    help: str
    tiles: bool = True


FILTERS: Mapping[str, FilterRange] = MappingProxyType(
    {
        "denoise": FilterRange(
            0, 1, 0.2, "less noise, sharp edges; needs 'jaxnst[finish]'"
        ),
        "sharpen": FilterRange(0, 3, 0.5, "stronger fine contrasts"),
        "contrast": FilterRange(-1, 1, 0.2, "more contrast; below 0 less"),
        "levels": FilterRange(0, 1, 1.0, "spread from black to white"),
        "saturation": FilterRange(
            -1, 1, 0.2, "stronger colors; below 0 paler, -1 gray"
        ),
        "grain": FilterRange(0, 1, 0.3, "film grain"),
        "vignette": FilterRange(0, 1, 0.5, "darker corners", tiles=False),
        "halftone": FilterRange(
            0, 1, 1.0, "printed dots of cyan, magenta, yellow and black", tiles=False
        ),
    }
)


# Reading text: the same for a flag of a command and for a cell of a table. All raise
# ValueError for text that they cannot read.

_YES_OR_NO = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


def _parse_word(text: str, meanings: Mapping[str, Any], wanted: str) -> Any:
    """Return what a word means."""
    if text.lower() not in meanings:
        raise ValueError(f"{shown(text)} is not {wanted}")
    return meanings[text.lower()]


_parse_flag = functools.partial(_parse_word, meanings=_YES_OR_NO, wanted="yes or no")
_parse_tile = functools.partial(
    _parse_word,
    meanings=_YES_OR_NO | {way: way for way in TILINGS},
    wanted="yes, no, x or y",
)


def _parse_pairs(
    text: str, *, noun: str, amount: str, usual: float | None
) -> dict[str, float | None]:
    """Return `a,b:0.5` as {name: number}; `usual` where there is no number."""
    pairs: dict[str, float | None] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition(":"))
        if name in pairs:
            raise ValueError(f"{noun} {name} is named twice")
        try:
            pairs[name] = float(value) if value else usual
        except ValueError:
            known = noun.upper()
            raise ValueError(
                f"{shown(f'{name}:{value}')} is not {known} or {known}:{amount.upper()}"
            ) from None
    return pairs


_parse_layers = functools.partial(
    _parse_pairs, noun="layer", amount="weight", usual=1.0
)
_parse_finish = functools.partial(
    _parse_pairs, noun="filter", amount="amount", usual=None
)


def _parse_blend(text: str) -> list[float] | list[list[float]]:
    """Return `3,1` as numbers, and `1,0/0,1` as rows; semicolons count as commas."""
    rows = [
        [parse_number(part.strip()) for part in row.replace(";", ",").split(",")]
        for row in text.split("/")
    ]
    return rows if len(rows) > 1 else rows[0]


def _parse_strength(text: str) -> float | str:
    """Return a number, or the path of a picture, which has an extension or a slash."""
    with contextlib.suppress(ValueError):
        return float(text)
    stem, point, extension = text.rpartition(".")
    if "/" in text or (stem and point and extension[:1].isalpha()):
        return text
    raise ValueError(f"{shown(text)} is neither a number nor a picture file")


# Checks that are only used here.


def check_filters(
    name: str, filters: object, *, tile: str | None = None
) -> dict[str, float]:
    """Return {filter: amount}, in the order in which the filters are applied.

    Args:
        name: the argument's name, for messages.
        filters: {filter: amount}, or names; an amount of None is the usual one.
        tile: directions in which the picture tiles; None: it does not tile.

    Raises:
        ValueError: if a filter is unknown or named twice, if an amount is out of range,
            or if a tiled picture would not tile after it.
        TypeError: if `filters` is of another kind, or an amount is not a number.
    """
    names = [check_choice(name, x, FILTERS) for x in check_names(name, filters)]
    if len(set(names)) < len(names):
        raise ValueError(f"`{name}` names a filter twice: {', '.join(names)}.")
    amounts = filters if isinstance(filters, Mapping) else dict.fromkeys(names)
    checked = {}
    for each, amount in amounts.items():
        known = FILTERS[each]
        if tile is not None and not known.tiles:
            raise ValueError(
                f"`{name}` {each} would show where a tiled picture repeats; leave it "
                "or `tile` out."
            )
        checked[each] = check_range(
            f"{name}[{each!r}]",
            known.usual if amount is None else amount,
            known.least,
            known.most,
        )
    return checked


def _check_below_one(name: str, value: object) -> float:
    number = check_number(name, value)
    if number >= 1:
        raise ValueError(f"`{name}` must be 0 or more and below 1, got {number:g}.")
    return number


def _check_kind(name: str, value: object, kind: type, wanted: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"`{name}` must be {wanted}, got {shown(value)}.")
    return value


def _check_tile(name: str, value: object) -> str | None:
    if isinstance(value, bool):
        return "xy" if value else None
    return check_choice(name, value, TILINGS)


# {the first setting of a group: the title of the group}; the others follow in order.
_GROUP_STARTS = {
    "size": "first of all",
    "style_weight": "more control",
    "content_weight": "the loss",
    "style_size": "the painting",
    "network": "the network",
    "conv": "the machine",
}
GROUPS = tuple(_GROUP_STARTS.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """The declaration of a setting, beside its name and its type.

    Attributes:
        default: value where none is given; None also means that None may be given.
        help: description of the setting, in one line.
        group: title under which the help lists it, one of `GROUPS`.
        metavar: name of its value in the help.
        parse_fn: text -> value; raises ValueError.
        check_fn: (name, value) -> value in its one form; raises ValueError, TypeError.
        is_static: whether the value changes the compiled program; False if it is a
            number in the program, or is read by Python alone.
        default_text: the default in words, where its value says too little.
        stand_in: value that a record holds in place of an object of the user's.
    """

    default: Any
    help: str
    group: str = GROUPS[0]
    metavar: str = "NAME"
    parse_fn: Callable[[str], Any] = str
    check_fn: Callable[[str, Any], Any]
    is_static: bool = True
    default_text: str | None = None
    stand_in: str | None = None

    @property
    def shown_default(self) -> str:
        """The default in words, as the help shows it; empty if there is none."""
        if self.default_text is not None:
            return self.default_text
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, int | float):
            return f"{self.default:g}"
        return self.default or ""

    @property
    def choices(self) -> tuple[str, ...]:
        """The names that it may be; empty if it is no choice among names."""
        check_fn = self.check_fn
        if isinstance(check_fn, functools.partial) and check_fn.func is check_choice:
            return tuple(check_fn.keywords["known"])
        return ()

    def check(self, name: str, value: object) -> Any:
        """Return a value in its one form.

        Args:
            name: the setting's name, for messages.
            value: the value to check.

        Raises:
            ValueError: if it is out of range or unknown.
            TypeError: if it is of another kind.
        """
        if value is None and self.default is None:
            return None
        if isinstance(value, str) and value == self.stand_in:
            return value
        return self.check_fn(name, value)


def _setting(default: Any, help: str, **options: Any) -> Any:
    metadata = {"setting": Setting(default=default, help=help, **options)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _count(
    default: int | None,
    help: str,
    least: int = 1,
    most: int = MAX_COUNT,
    **options: Any,
) -> Any:
    check_fn = functools.partial(check_count, minimum=least, maximum=most)
    usual = {"metavar": "N", "parse_fn": parse_count, "check_fn": check_fn}
    return _setting(default, help, **(usual | options))


def _side(default: int | None, help: str, least: int = MIN_SIDE) -> Any:
    return _count(default, help, least, MAX_SIDE, metavar="PX")


def _choice(
    default: str | None, help: str, known: Iterable[str], **options: Any
) -> Any:
    check_fn = functools.partial(check_choice, known=known)
    return _setting(default, help, check_fn=check_fn, **options)


_positive = functools.partial(check_number, positive=True)
_part = functools.partial(check_range, least=0, most=1)
_number = functools.partial(
    _setting, metavar="W", parse_fn=parse_number, check_fn=check_number
)
_flag = functools.partial(
    _setting,
    False,
    metavar="",
    parse_fn=_parse_flag,
    check_fn=functools.partial(_check_kind, kind=bool, wanted="True or False"),
)
_fraction = functools.partial(_number, metavar="P", check_fn=_part)
_layers = functools.partial(
    _setting,
    metavar="L[:W],...",
    parse_fn=_parse_layers,
    check_fn=check_layer_weights,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """The settings of one transfer, checked and in one form.

    Every field is declared with its help and its checks; `jaxnst.stylize` describes
    them in full. Whether the network has the layers is checked once it is known, by
    `jaxnst.transfer.setup.fit_config`.

    Raises:
        ValueError: if a value is out of range or unknown, or two do not go together.
        TypeError: if a value is of the wrong kind.
    """

    size: int = _side(512, "longest side of the result")
    # The two weights have no effect with a strength.
    strength: float | str | None = _setting(
        None,
        "0: the photo, 1: all of the style; or a gray picture of strengths",
        metavar="S",
        parse_fn=_parse_strength,
        check_fn=_part,
        stand_in=STRENGTH_MAP,
        is_static=False,
    )
    style_scale: float = _number(
        1.0,
        "size of the strokes: 0.5 half as large, 2 twice as large",
        check_fn=functools.partial(_positive, most=MAX_SCALE),
        metavar="F",
    )
    style_weight: float = _number(
        1.0, "3: more of the painting, 0.3: more of the photo", is_static=False
    )
    color: str = _choice(
        "style",
        "style, or the photo's colors: content, luminance, match, histogram; or "
        "palette-only",
        COLORS,
    )
    detail: float = _number(
        0.0,
        "1: fine strokes of the style, -1: its coarse shapes",
        check_fn=functools.partial(check_range, least=-1, most=1),
        metavar="D",
        is_static=False,
    )
    style_blend: Sequence[float] | Sequence[Sequence[float]] | None = _setting(
        None,
        "weights of several styles; 1,0/0,1: fine strokes of the first, coarse shapes "
        "of the second",
        metavar="B,B,...",
        parse_fn=_parse_blend,
        check_fn=check_blend,
        is_static=False,
        default_text="equal",
    )
    tile: str | None = _setting(
        None,
        "yes: repeats without a seam; x, y: only across, only down",
        metavar="WAY",
        parse_fn=_parse_tile,
        check_fn=_check_tile,
        default_text="no",
    )
    finish: Mapping[str, float] = _setting(
        {},
        f"filters at the end: {', '.join(FILTERS)}",
        metavar="NAME:A,...",
        parse_fn=_parse_finish,
        check_fn=check_filters,
        is_static=False,
        default_text="none",
    )
    content_weight: float = _number(
        0.18, "weight of the photo's content", is_static=False
    )
    tv_weight: float = _number(
        0.0, "weight of smoothness (total variation)", is_static=False
    )
    content_layers: Mapping[str, float] = _layers(
        dict(CONTENT_LAYERS),
        "layers that keep the content, with weights",
        default_text="the network's; VGG: relu4_2",
    )
    style_layers: Mapping[str, float] = _layers(
        dict(STYLE_LAYERS),
        "layers that take on the style, with weights",
        default_text="the network's; VGG: relu1_1 to relu5_1",
    )
    # `__post_init__` replaces None.
    style_loss: Mapping[str, float] = _layers(
        None,
        f"what of the style is compared: {', '.join(STYLE_LOSSES)}",
        default_text="gram,moments; textures: wasserstein",
        metavar="NAME[:W],...",
        check_fn=functools.partial(check_layer_weights, known=STYLE_LOSSES),
    )
    normalization: str = _choice(
        "pair", "pair, or paper: the literal sums", NORMALIZATIONS
    )
    style_size: int | None = _side(
        None, "longest side of the style picture, in place of a scale"
    )
    num_steps: int = _count(
        25, "steps at the full size", most=MAX_STEPS, is_static=False
    )
    coarse_steps: int = _count(
        36, "steps at each smaller size", most=MAX_STEPS, is_static=False
    )
    min_size: int = _side(
        128, "longest side of the smallest size painted; 0: full size only", 0
    )
    optimizer: str = _choice("adam", "adam or lbfgs", OPTIMIZERS, stand_in=CUSTOM)
    learning_rate: float = _number(
        0.04,
        "step size of adam, in pixel values (0 to 1) per step",
        check_fn=_positive,
        metavar="R",
        is_static=False,
    )
    decay: float = _fraction(
        0.9,
        "part of the last steps in which the learning rate falls to 0",
        is_static=False,
    )
    averaging: float = _fraction(
        0.0,
        "average the steps' pictures: 0.9 some ten; 0: off; not with strength",
        check_fn=_check_below_one,
    )
    tolerance: float = _fraction(
        0.0,
        "end a size when ten steps gain less than this part; 0: never",
        check_fn=_check_below_one,
        is_static=False,
    )
    max_seconds: float | None = _number(
        None,
        "finish within this time",
        check_fn=_positive,
        metavar="S",
        is_static=False,
        default_text="no limit",
    )
    steps_per_call: int | None = _count(
        None,
        "steps in one call of the device",
        most=MAX_STEPS_PER_CALL,
        default_text="1 on the CPU, elsewhere 1 to 10",
    )
    content_detail: float = _fraction(
        1.0, "part of the photo's fine detail kept when sizes grow"
    )
    init: str = _choice(
        "recolored",
        "start from content, recolored, style, noise, or a picture file",
        INITS,
        stand_in=INIT_IMAGE,
        metavar="NAME|FILE",
    )
    seed: int = _count(
        0, "seed of the noise, where that is the start", 0, 2**32 - 1, is_static=False
    )
    network: str = _setting(
        "vgg19",
        "see `jaxnst networks`, NAME@REVISION; or a file of weights",
        metavar="NAME|FILE",
        # `jaxnst.transfer.setup` looks it up in the registry.
        check_fn=functools.partial(_check_kind, kind=str, wanted="a name here"),
    )
    pooling: str = _choice("max", "max or average", POOLINGS)
    padding: str = _choice("reflect", "reflect, replicate, zeros or circular", PADDINGS)
    smoothing: str = _choice(
        "none",
        "smoothing of activations, not for VGGs: none, log or softmax",
        SMOOTHINGS,
        default_text="the network's",
    )
    normalize_activations: bool = _flag(
        "rescale a VGG so that all its filters are equally loud"
    )
    conv: str = _choice("auto", "xla, winograd, or auto: the faster", CONVOLUTIONS)
    precision: str = _choice(
        "auto",
        "auto: the fastest as good as float32; or float32, tf32, bfloat16, float16",
        PRECISIONS,
    )
    memory: str = _choice(
        "auto",
        "fast, balanced, low, tiles, or auto: the first that fits",
        ("auto", *MEMORY_LEVELS),
    )
    tile_size: int = _side(1024, "side of a tile, with memory tiles")
    devices: str | None = _choice(
        None, "all: spread the picture over all devices", DEVICES, default_text="one"
    )

    def __post_init__(self) -> None:
        """Check every value, and bring it to its one form."""
        # The object is still being made; nothing changes it afterwards.
        for name, declared in _FIELDS.items():
            object.__setattr__(self, name, declared.check(name, getattr(self, name)))
        if self.style_loss is None:
            usual = dict(DEFAULT_STYLE_LOSS[self.normalization])
            object.__setattr__(self, "style_loss", usual)
        self._check_together()

    def _check_together(self) -> None:
        check_convolution(self.conv, self.precision)
        check_filters("finish", self.finish, tile=self.tile)
        if self.style_size is not None and self.style_scale != 1:
            raise ValueError(
                "`style_size` is in pixels and `style_scale` a factor on the default; "
                "give one of them."
            )
        if not (self.content_weight or self.style_weight or self.tv_weight):
            raise ValueError(
                "`content_weight`, `style_weight` and `tv_weight` are all 0, so there "
                "is nothing to paint; set one above 0."
            )
        others = ", ".join(name for name in self.style_loss if name != "gram")
        if others and self.normalization != "pair":
            raise ValueError(
                f"`style_loss` {others} needs `normalization` 'pair', got "
                f"{self.normalization!r}: the paper's sums are of Gram matrices."
            )
        whole = ", ".join(x for x in self.style_loss if x in WHOLE_STYLE_LOSSES)
        if self.precision == "float16" and self.normalization != "pair":
            raise ValueError(
                "`precision` 'float16' needs `normalization` 'pair', got "
                f"{self.normalization!r}, whose sums are too large for it; use 'auto'."
            )
        if whole and self.memory not in ("auto", "fast"):
            raise ValueError(
                f"`style_loss` {whole} sorts all pixels of a layer at once, so it "
                f"needs `memory` 'fast' or 'auto', got {self.memory!r}."
            )
        if self.memory == "tiles" and self.smoothing == "softmax":
            raise ValueError(
                "`smoothing` 'softmax' is over all values of a layer at once, so it "
                "does not go with `memory` 'tiles'; use 'log' or 'none'."
            )
        if self.devices is not None and {*self.style_loss} & {
            *_ONE_DEVICE_STYLE_LOSSES
        }:
            raise ValueError(
                f"`style_loss` {others} does not go with `devices`; leave one of them "
                "out."
            )
        if self.strength is None:
            return
        if self.normalization != "pair":
            raise ValueError(
                "`strength` is a part of the pair's own distance; it needs "
                f"`normalization` 'pair', got {self.normalization!r}."
            )
        if self.optimizer == "lbfgs":
            raise ValueError(
                "`strength` changes the weights every step, which L-BFGS does not "
                "support; use `optimizer` 'adam'."
            )
        if self.color == "palette-only" and self.strength != 0:
            raise ValueError(
                "`color` 'palette-only' paints nothing, so that `strength` does not go "
                "with it; leave one of them out."
            )

    @property
    def objective(self) -> str:
        """The normalization of `jaxnst.objective` that is painted with."""
        is_part = self.normalization == "pair" and self.strength is not None
        return "squared" if is_part else self.normalization

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in a form that JSON can hold."""
        return dataclasses.asdict(self)


def _declared(config: type) -> dict[str, Setting]:
    """Return {name: setting} of all fields, each with the title of its group."""
    found, group = {}, GROUPS[0]
    for field in dataclasses.fields(config):
        group = _GROUP_STARTS.get(field.name, group)
        found[field.name] = dataclasses.replace(field.metadata["setting"], group=group)
    return found


_FIELDS = _declared(TransferConfig)
# Everything that text can set: the fields of `TransferConfig`, and the preset.
SETTINGS: Mapping[str, Setting] = MappingProxyType(
    _FIELDS
    | {
        "preset": Setting(
            default="default",
            help="draft, default, fine; gatys2016: the paper's loss",
            check_fn=lambda name, value: check_choice(name, value, PRESETS),
        )
    }
)


def parse_moment(text: str) -> int | float:
    """Return a moment of a clip: a frame such as `48`, or seconds such as `2s`.

    Args:
        text: a flag's value.

    Raises:
        ValueError: if the text is neither.
    """
    text = text.strip()
    if text.isdecimal():
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text.removesuffix("s"))
    raise ValueError(f"{shown(text)} is neither a frame, as 48, nor a time, as 2s")


def check_moment(name: str, value: object) -> int | float:
    """Return a moment of a clip: a frame as an int, or seconds as a float.

    Args:
        name: the argument's name, for messages.
        value: the moment; numbers of NumPy are of either kind, too.

    Raises:
        ValueError: if it is below 0 or not finite.
        TypeError: if it is of another kind.
    """
    is_whole = isinstance(value, numbers.Integral)
    if isinstance(value, numbers.Real) and not is_whole:
        return check_number(name, float(value))
    return check_count(name, value, minimum=0)


def _parse_list(text: str, parse_fn: Callable[[str], Any]) -> tuple[Any, ...]:
    return tuple(parse_fn(part) for part in text.split(",") if part.strip())


def _parse_cuts(text: str) -> str | tuple[int | float, ...]:
    return text if text == "auto" else _parse_list(text, parse_moment)


def _check_cuts(name: str, value: Any) -> str | tuple[int | float, ...]:
    if isinstance(value, str):
        return check_choice(name, value, ("auto",))
    entries = check_list(name, value, "'auto', or a list of frames or seconds")
    return tuple(check_moment(f"{name}[{i}]", x) for i, x in enumerate(entries))


def _check_reach(name: str, value: Any) -> tuple[int, ...]:
    entries = check_list(name, value, "a list of numbers of frames")
    reach = tuple(
        check_count(f"{name}[{i}]", x, maximum=_MAX_REACH)
        for i, x in enumerate(entries)
    )
    if not reach or any(a >= b for a, b in itertools.pairwise(reach)):
        raise ValueError(
            f"`{name}` must be growing numbers of frames, got {shown(entries)}."
        )
    return reach


def is_flow_pattern(flow: Any) -> bool:
    """Return whether a setting `flow` is a pattern of files.

    Args:
        flow: value of the setting.
    """
    return isinstance(flow, str) and len(re.findall(r"%\d*d", flow)) == 2


def _check_flow(name: str, value: Any) -> str:
    if is_flow_pattern(value):
        return value
    return check_choice(name, value, (*FLOWS, "FOLDER/%04d_%04d.flo"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """The settings of a clip beside those of its frames, checked and in one form.

    Every field is declared with its help and its checks; `jaxnst.video` describes them
    in full.

    Raises:
        ValueError: if a value is out of range or unknown, or two do not go together.
        TypeError: if a value is of the wrong kind.
    """

    steadiness: float = _fraction(
        0.5,
        "0: every frame for itself, 1: held as still as can be",
        metavar="S",
        is_static=False,
    )
    frame_steps: int = _count(
        4, "steps for a frame that goes on from the last one", most=MAX_STEPS
    )
    temporal_weight: float | None = _number(
        None, "weight of the temporal term", default_text="from the steadiness"
    )
    frame_learning_rate: float | None = _number(
        None,
        "step size for a frame that goes on from the last one",
        check_fn=_positive,
        metavar="R",
        default_text="from the steadiness",
    )
    reach: Sequence[int] = _setting(
        (1,),
        "which frames before hold a frame; 1,5,24 is long-term",
        metavar="N,...",
        parse_fn=functools.partial(_parse_list, parse_fn=parse_count),
        check_fn=_check_reach,
        default_text="1",
    )
    passes: int = _count(1, "2 or more go back and forth over a shot", most=100)
    loop: bool = _flag("the last frame goes on in the first")
    flow: str = _setting(
        "dis",
        "dis, deepflow, none, or .flo files as flow/%04d_%04d.flo",
        check_fn=_check_flow,
        stand_in=CUSTOM,
    )
    cuts: str | Sequence[int | float] = _setting(
        "auto",
        "first frames of shots, in frames or seconds (2s); or auto",
        metavar="T,...",
        parse_fn=_parse_cuts,
        check_fn=_check_cuts,
    )
    start: int | float | None = _setting(
        None,
        "first frame, or seconds such as 1.5 or 2s",
        metavar="T",
        parse_fn=parse_moment,
        check_fn=check_moment,
        default_text="the first",
    )
    stop: int | float | None = _setting(
        None,
        "frame or seconds to stop before",
        metavar="T",
        parse_fn=parse_moment,
        check_fn=check_moment,
        default_text="the end",
    )
    every: int = _count(1, "paint every n-th frame only")
    rate: float | None = _number(
        None,
        "frames a second, of pictures and arrays",
        check_fn=functools.partial(_positive, most=1000),
        metavar="N",
        default_text="25",
    )

    def __post_init__(self) -> None:
        """Check every value, and bring it to its one form."""
        for name, declared in CLIP_SETTINGS.items():
            object.__setattr__(self, name, declared.check(name, getattr(self, name)))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in a form that JSON can hold."""
        return dataclasses.asdict(self)


CLIP_SETTINGS: Mapping[str, Setting] = MappingProxyType(_declared(ClipConfig))
# Settings of a picture that may change over the time of a clip.
OVER_TIME = ("strength", "style_weight", "style_blend", "detail")
# Settings that programs are the same for, whatever their values.
DYNAMIC = frozenset(name for name, each in _FIELDS.items() if not each.is_static)

PRESETS: Mapping[str, TransferConfig] = MappingProxyType(
    {
        # Chosen by `jaxnst.metrics` and by eye, see benchmarks/README.md.
        "default": TransferConfig(),
        # Large shapes and colors, with unsettled strokes. What lies deeper than relu4_1
        # takes a fifth of every step; without it there is time for more steps.
        "draft": TransferConfig(
            content_weight=0.1,
            num_steps=3,
            coarse_steps=10,
            learning_rate=0.06,
            content_layers={"relu4_1": 1.0},
            style_layers=dict(list(STYLE_LAYERS.items())[:4]),
        ),
        "fine": TransferConfig(num_steps=100, coarse_steps=100),
        # Gatys, Ecker, Bethge, CVPR 2016: the literal sums (eq. 1, 4, 7), their layers
        # and weights (w_l = 1/5, alpha/beta = 1e-3), average pooling, one size. Adam
        # replaces their L-BFGS, and the content picture their noise; their network was
        # rescaled to a mean activation of one.
        "gatys2016": TransferConfig(
            min_size=0,
            init="content",
            pooling="average",
            padding="zeros",
            style_layers={f"relu{block}_1": 0.2 for block in range(1, 6)},
            content_weight=1.0,
            style_weight=1000.0,
            normalization="paper",
            num_steps=200,
            learning_rate=0.05,
            decay=0.0,
        ),
    }
)


def make_config(preset: str = "default", **settings: Any) -> TransferConfig:
    """Return a preset with some settings changed; None keeps the preset's value.

    With another optimizer than the preset's, the learning rate and the decay are that
    optimizer's. If the size is so small that no smaller one is painted first, it gets
    as many steps as a smaller one would.

    Args:
        preset: one of `PRESETS`.
        settings: the settings to change.

    Raises:
        ValueError: if the preset or a value is unknown or out of range.
        TypeError: if a setting is unknown, or a value is of the wrong kind.
    """
    base = PRESETS[check_choice("preset", preset, PRESETS)]
    changed: dict[str, Any] = {
        name: _FIELDS[name].check(name, value) if name in _FIELDS else value
        for name, value in settings.items()
        if value is not None
    }
    if changed.get("optimizer", base.optimizer) != base.optimizer:
        changed = {"learning_rate": 1.0, "decay": 0.0} | changed
    if "strength" in changed:
        for name in ("content_weight", "style_weight"):
            if name in changed:
                raise ValueError(
                    f"`strength` finds the weights itself; leave `{name}` out, or "
                    "`strength`."
                )
    if tile := changed.get("tile"):
        padding = TILINGS[tile]
        if changed.setdefault("padding", padding) != padding:
            raise ValueError(
                f"`tile` {tile!r} needs `padding` {padding!r}, got "
                f"{changed['padding']!r}; leave `padding` out, or give a network that "
                "has it."
            )
    if changed.get("normalization") == "paper":
        # The default mix is not in the paper.
        changed.setdefault("style_loss", dict(DEFAULT_STYLE_LOSS["paper"]))
    config = dataclasses.replace(base, **changed)
    if "num_steps" not in changed:
        config = dataclasses.replace(config, num_steps=usual_steps(config))
    return config


def usual_steps(config: TransferConfig) -> int:
    """Return the steps at the full size if nothing else is said.

    Args:
        config: settings, whose `num_steps` are those of the preset.
    """
    # Then `jaxnst.optimize.pyramid_sizes` has no smaller size, which would have done
    # most of the work.
    is_alone = 0 < config.size / 2 < config.min_size / 2**0.5
    return max(config.num_steps, config.coarse_steps * is_alone)
