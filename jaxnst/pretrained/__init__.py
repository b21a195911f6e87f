"""Where pretrained weights come from, and how they become a network."""

from .loading import load_network as load_network
from .specs import SPECS as SPECS, WeightSpec as WeightSpec, get_spec as get_spec
