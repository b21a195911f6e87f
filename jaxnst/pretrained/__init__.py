"""Where pretrained weights come from, and how they become a network."""

from .judge import load_lpips_network as load_lpips_network
from .loading import load_network as load_network
from .specs import (
    LPIPS_SPEC as LPIPS_SPEC,
    SPECS as SPECS,
    FileSpec as FileSpec,
    WeightSpec as WeightSpec,
    get_spec as get_spec,
)
