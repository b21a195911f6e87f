"""The registry: every set of weights, described before it is loaded."""

import dataclasses
from types import MappingProxyType

from jaxnst._checks import check_choice
from jaxnst.networks import CAFFE, VGG19, Preprocessing, VGGArchitecture


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightSpec:
    """A file of weights and all that has to be known to use it.

    Attributes:
        name: what users call it.
        architecture: the network it fits.
        preprocessing: what the network was trained on.
        filename: the bundled file.
        sha256: of that file.
        license: of the weights.
        origin: who made them, and how they came here.
        paper: what to cite.
    """

    name: str
    architecture: VGGArchitecture
    preprocessing: Preprocessing
    filename: str
    sha256: str
    license: str
    origin: str
    paper: str


SPECS = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            WeightSpec(
                name="vgg19",
                architecture=VGG19,
                preprocessing=CAFFE,
                filename="vgg19_oxford_8bit.safetensors",
                sha256=(
                    "c9685e9ac63f9e5f5f555da810a9506294259c0b2130feaf84d8d1fd32dc68c9"
                ),
                license="CC BY 4.0",
                origin=(
                    "Visual Geometry Group, University of Oxford; the original "
                    "weights, as an 8-bit codebook"
                ),
                paper="Simonyan, Zisserman, ICLR 2015, arXiv:1409.1556",
            ),
        )
    }
)


def get_spec(name: str) -> WeightSpec:
    """Return the spec called `name`.

    Raises:
        ValueError: if there is none, with the nearest name.
    """
    return SPECS[check_choice("network", name, SPECS)]
