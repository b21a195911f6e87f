"""What a user may set, checked when it is set.

Everything here is read by Python alone and can be written into a picture's record.
What changes the compiled program (layers, pooling) and what does not (weights) is
sorted out by `jaxnst.transfer.plan`.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ._checks import (
    check_blend,
    check_choice,
    check_count,
    check_layer_weights,
    check_number,
    check_range,
    check_shares,
)
from .coloring import COLORS
from .finishing import check_filters
from .images.load import MIN_SIDE
from .losses.registry import PARTWISE, STYLE_LOSSES
from .networks import (
    DEVICES,
    MEMORY_LEVELS,
    PADDINGS,
    POOLINGS,
    VGG19,
    Architecture,
    check_convolution,
    check_normalizable,
    check_smoothing,
)
from .objective import NORMALIZATIONS
from .pretrained import get_spec


OPTIMIZERS = ("adam", "lbfgs")
INITS = ("content", "recolored", "style", "noise")
# What a record says of a strength that is a picture.
STRENGTH_MAP = "map"
# {how the result is to tile: the padding that makes it}.
TILINGS = MappingProxyType({"xy": "circular", "x": "circular_x", "y": "circular_y"})
MAX_SEED = 2**32 - 1
# {normalization: style losses and their weights}. Gram matrices and moments together
# leave half of the colors' distance that Gram matrices alone do, see
# benchmarks/README.md; the paper has Gram matrices.
DEFAULT_STYLE_LOSS = MappingProxyType(
    {"pair": {"gram": 1.0, "moments": 1.0}, "paper": {"gram": 1.0}}
)

LayerWeights = Mapping[str, float] | Iterable[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """The settings of one transfer.

    Attributes:
        size: longest side of the result, in pixels.
        style_size: longest side of the style picture, in pixels, at full size; smaller
            makes finer strokes. None: as `size`, but no larger than its file.
        style_scale: a factor on that, where `style_size` is None.
        style_blend: what each of several style pictures counts for; or such a row for
            the finest style layer, more for those behind it, and one for the coarsest,
            with layers in between taking their parts. None: all the same.
        min_size: longest side of the smallest size painted; the sizes double from
            about there up to `size`. 0: the full size only.
        network: name of pretrained weights, see `jaxnst.load_network`, or "custom".
        pooling: "max" or "average".
        padding: "reflect", "replicate", "zeros", "circular", "circular_x" or
            "circular_y".
        tile: "xy", "x" or "y": the result goes on at its other end; None: it does not.
        style_loss: {style loss: weight}, of `jaxnst.losses.registry`; a name
            becomes that, and None those of `DEFAULT_STYLE_LOSS`.
        content_layers: {layer: weight}; a list, to weigh them equally, becomes that,
            and None those that the network's architecture comes with.
        style_layers: likewise.
        detail: weighs the style layers from fine to coarse, -1 to 1: the finest by 4 to
            this power, the coarsest by 4 to the negative of it.
        strength: how much of the way from the content picture's style to the painting's
            the result goes, 0 to 1, see `jaxnst.optimize.strength`; None: as far as the
            weights take it; "map": as a picture says. With a strength the two weights
            have no effect.
        regions: how many the masks and the map of strengths make; jaxnst sets it.
        content_weight: of the content terms.
        style_weight: of the style terms.
        tv_weight: of total variation.
        color: "style": as it comes; "content", "luminance", "match" or "histogram":
            ways to keep the content's colors; "palette-only": nothing but the
            painting's colors. See `jaxnst.coloring`.
        finish: {filter: amount}, applied to the result in this order; names get their
            usual amounts. See `jaxnst.finishing`.
        normalization: "pair" or "paper", see `jaxnst.objective`.
        num_steps: at the full size.
        coarse_steps: at each smaller size.
        optimizer: name, or "custom".
        learning_rate: step of Adam, in units of pixel values; other optimizers bring
            their own, and it scales their updates (1: as they are).
        decay: part of the full size's steps over which the learning rate falls to
            zero along a cosine; 0 to 1.
        averaging: what past pictures count for in an average of them, per step: 0 to
            below 1; 0: no average. The result is the average where that has the lower
            loss.
        tolerance: a size ends when ten steps lower the loss by less than this part of
            it; 0: never. At the full size the learning rate then falls at once.
        max_seconds: after about so long the result is there, at its full size, with
            fewer steps where there is no time for all. None: no limit.
        steps_per_call: of the device; None: one on the CPU, some elsewhere.
        content_detail: part of the content's fine detail that is laid over the picture
            when it grows to the next size; 0 to 1.
        init: "content", "recolored" (the content picture in the style's colors, see
            `jaxnst.transfer.inputs`), "style" (the style picture, resized), "noise",
            or "image".
        seed: of the noise.
        smoothing: "none", "log" or "softmax", see `jaxnst.networks.smooth`; None: what
            the network's architecture comes with.
        normalize_activations: rescale the network's weights, so that every filter's
            mean activation over the two pictures is 1; VGGs only, see
            `jaxnst.networks.normalize_activations`.
        conv: "auto", "xla" or "winograd", see `jaxnst.networks.Network`.
        precision: "float32" or "bfloat16", of the network.
        memory: "fast", "balanced", "low", see `jaxnst.networks.remat`; or "auto",
            the first of them that fits; `record["result"]["memory"]` says which.
        devices: "all" of this machine, over which the rows of the picture are spread;
            None: one.

    Raises:
        ValueError: if a value is out of range or unknown.
        TypeError: if a value is of the wrong kind.
    """

    size: int = 512
    style_size: int | None = None
    style_scale: float = 1.0
    style_blend: Sequence[float] | Sequence[Sequence[float]] | None = None
    min_size: int = 128
    network: str = "vgg19"
    pooling: str = "max"
    padding: str = "reflect"
    tile: str | None = None
    # None is gone once `__post_init__` is through.
    style_loss: Mapping[str, float] = None  # type: ignore[assignment]
    content_layers: Mapping[str, float] = None  # type: ignore[assignment]
    style_layers: Mapping[str, float] = None  # type: ignore[assignment]
    detail: float = 0.0
    strength: float | str | None = None
    regions: int = 0
    content_weight: float = 0.25
    style_weight: float = 1.0
    tv_weight: float = 0.0
    color: str = "style"
    finish: Mapping[str, float] = ()  # type: ignore[assignment]
    normalization: str = "pair"
    num_steps: int = 50
    coarse_steps: int = 70
    optimizer: str = "adam"
    learning_rate: float = 0.03
    decay: float = 0.7
    averaging: float = 0.0
    tolerance: float = 0.0
    max_seconds: float | None = None
    steps_per_call: int | None = None
    content_detail: float = 0.5
    init: str = "content"
    seed: int = 0
    smoothing: str = None  # type: ignore[assignment]
    normalize_activations: bool = False
    conv: str = "auto"
    precision: str = "float32"
    memory: str = "auto"
    devices: str | None = None

    def __post_init__(self) -> None:
        """Check every value, and bring layers and numbers to one form."""
        # "custom" and "image" stand for objects that no record can hold.
        if self.network != "custom":
            architecture_of(self.network)
        if self.optimizer != "custom":
            check_choice("optimizer", self.optimizer, OPTIMIZERS)
        if self.init != "image":
            check_choice("init", self.init, INITS)
        check_choice("pooling", self.pooling, POOLINGS)
        check_choice("padding", self.padding, PADDINGS)
        check_convolution(self.conv, self.precision)
        check_choice("memory", self.memory, ("auto", *MEMORY_LEVELS))
        if self.devices is not None:
            check_choice("devices", self.devices, DEVICES)
        check_choice("normalization", self.normalization, NORMALIZATIONS)
        check_choice("color", self.color, COLORS)
        self._set("finish", check_filters("finish", self.finish, tile=self.tile))
        self._set("size", check_count("size", self.size, minimum=MIN_SIDE))
        if self.style_size is not None:
            style_size = check_count("style_size", self.style_size, minimum=MIN_SIDE)
            self._set("style_size", style_size)
        scale = check_number("style_scale", self.style_scale, positive=True)
        self._set("style_scale", scale)
        if self.style_size is not None and scale != 1:
            raise ValueError(
                "`style_size` is in pixels and `style_scale` a factor on the default; "
                "give one of them."
            )
        if self.style_blend is not None:
            self._set("style_blend", check_blend("style_blend", self.style_blend))
        self._check_style_loss()
        detail = check_range("detail", self.detail, -1, 1)
        self._set("detail", detail)
        if self.tile is not None:
            check_choice("tile", self.tile, TILINGS)
        self._set("regions", check_count("regions", self.regions, minimum=0))
        for name in ("num_steps", "coarse_steps"):
            self._set(name, check_count(name, getattr(self, name)))
        for name in ("min_size", "seed"):
            self._set(name, check_count(name, getattr(self, name), minimum=0))
        if self.seed > MAX_SEED:
            raise ValueError(f"`seed` must be at most {MAX_SEED}, got {self.seed}.")
        if self.strength is not None:
            self._check_strength()
        for name in ("content_weight", "style_weight", "tv_weight"):
            self._set(name, check_number(name, getattr(self, name)))
        if not (self.content_weight or self.style_weight or self.tv_weight):
            raise ValueError(
                "`content_weight`, `style_weight` and `tv_weight` are all 0, so there "
                "is nothing to paint; set one above 0."
            )
        rate = check_number("learning_rate", self.learning_rate, positive=True)
        self._set("learning_rate", rate)
        for name in ("decay", "content_detail"):
            self._set(name, check_range(name, getattr(self, name), 0, 1))
        for name in ("averaging", "tolerance"):
            self._set(name, check_number(name, getattr(self, name)))
            if getattr(self, name) >= 1:
                raise ValueError(
                    f"`{name}` must be 0 or more and below 1, "
                    f"got {getattr(self, name):g}."
                )
        if self.max_seconds is not None:
            seconds = check_number("max_seconds", self.max_seconds, positive=True)
            self._set("max_seconds", seconds)
        if self.steps_per_call is not None:
            count = check_count("steps_per_call", self.steps_per_call)
            self._set("steps_per_call", count)
        if not isinstance(self.normalize_activations, bool):
            raise TypeError(
                "`normalize_activations` must be True or False, got "
                f"{self.normalize_activations!r}."
            )
        # What is set for a network of the user's own is checked in `make_config`.
        if self.network == "custom":
            self.fit(VGG19, is_checked=False)
        else:
            self.fit(architecture_of(self.network))

    def _check_style_loss(self) -> None:
        losses = self.style_loss
        if losses is None:
            losses = DEFAULT_STYLE_LOSS[self.normalization]
        losses = check_shares("style_loss", losses, STYLE_LOSSES)
        self._set("style_loss", losses)
        others = ", ".join(name for name in losses if name != "gram")
        if others and self.normalization != "pair":
            raise ValueError(
                f"`style_loss` {others} needs `normalization` 'pair', got "
                f"{self.normalization!r}: the paper's sums are of Gram matrices."
            )
        whole = ", ".join(name for name in losses if name not in PARTWISE)
        if whole and self.memory not in ("auto", "fast"):
            raise ValueError(
                f"`style_loss` {whole} sorts all pixels of a layer at once, so it "
                f"needs `memory` 'fast' or 'auto', got {self.memory!r}."
            )
        if self.devices is not None and set(losses) & {
            "sliced_wasserstein",
            "nearest_neighbor",
        }:
            raise ValueError(
                f"`style_loss` {others} does not go with `devices`; leave one of them "
                "out."
            )

    def _check_strength(self) -> None:
        if self.strength != STRENGTH_MAP:
            self._set("strength", check_range("strength", self.strength, 0, 1))
        if self.normalization != "pair":
            raise ValueError(
                "`strength` is a part of the pair's own distance; it needs "
                f"`normalization` 'pair', got {self.normalization!r}."
            )
        if self.optimizer == "lbfgs":
            raise ValueError(
                "`strength` changes the weights from step to step, which the line "
                "searches of `optimizer` 'lbfgs' do not bear; take 'adam'."
            )

    def fit(self, architecture: Architecture, *, is_checked: bool = True) -> None:
        """Fill in what the architecture comes with, and check what is set.

        Args:
            architecture: of the network.
            is_checked: whether what is set is checked.

        Raises:
            ValueError: if the architecture does not have what is set.
        """
        for name in ("content_layers", "style_layers"):
            layers = getattr(self, name)
            if layers is None:
                self._set(name, dict(getattr(architecture, name)))
            elif is_checked:
                known = architecture.layer_names
                weights = check_layer_weights(name, layers, known)
                # From fine to coarse, which `detail` and `style_blend` count on.
                in_order = {
                    layer: weights[layer] for layer in known if layer in weights
                }
                self._set(name, in_order)
        if self.smoothing is None:
            self._set("smoothing", architecture.default_smoothing)
        elif is_checked:
            check_smoothing(self.smoothing, architecture.smoothings, architecture.name)
        if self.normalize_activations and is_checked:
            check_normalizable(architecture)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the class is frozen

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return dataclasses.asdict(self)


def architecture_of(network: str) -> Architecture:
    """Return the architecture of a network of that name."""
    return get_spec(network).architecture
