"""Where pretrained weights come from, and how they become a network."""

from .layouts import (
    PREPROCESSINGS as PREPROCESSINGS,
    UsedWeights as UsedWeights,
    Weights as Weights,
)
from .loading import (
    build_network as build_network,
    load_lpips_network as load_lpips_network,
    load_network as load_network,
    load_weights as load_weights,
)
from .registry import (
    LPIPS_SPEC as LPIPS_SPEC,
    SPECS as SPECS,
    BundledFile as BundledFile,
    FileSpec as FileSpec,
    HubFile as HubFile,
    OwnFile as OwnFile,
    WeightSpec as WeightSpec,
    find_network as find_network,
    get_spec as get_spec,
)
