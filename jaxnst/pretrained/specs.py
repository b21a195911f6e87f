"""The registry: every set of weights, described before it is loaded."""

import dataclasses
from types import MappingProxyType

from jaxnst._checks import check_choice
from jaxnst.networks import CAFFE, VGG19, Architecture, Preprocessing


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSpec:
    """A file of weights, and where it is from.

    Attributes:
        name: what users call it.
        filename: the bundled file.
        sha256: of that file.
        license: of the weights.
        origin: who made them, and how they came here.
        paper: what to cite.
    """

    name: str
    filename: str
    sha256: str
    license: str
    origin: str
    paper: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightSpec(FileSpec):
    """The weights of a network that can paint, and all that is needed to use them.

    Attributes:
        architecture: the network it fits.
        preprocessing: what the network was trained on.
    """

    architecture: Architecture
    preprocessing: Preprocessing


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

# Not among them: it judges pictures and paints none.
LPIPS_SPEC = FileSpec(
    name="alexnet_lpips",
    filename="alexnet_lpips.safetensors",
    sha256="12a5607346834b44da43dc6838c1c091e3329076d058dae51300dfe6aa3f1753",
    license="BSD-3-Clause and BSD-2-Clause",
    origin="AlexNet of torchvision, in float16, and the heads of LPIPS 0.1",
    paper="Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018, arXiv:1801.03924",
)


def get_spec(name: str) -> WeightSpec:
    """Return the spec called `name`.

    Raises:
        ValueError: if there is none, with the nearest name.
    """
    return SPECS[check_choice("network", name, SPECS)]
