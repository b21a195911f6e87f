"""The registry: every set of weights, described before it is loaded."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from jaxnst._checks import check_choice, suggestion
from jaxnst.networks import (
    CAFFE,
    GOOGLENET,
    RESNET50,
    TENSORFLOW,
    TORCHVISION,
    VGG16,
    VGG19,
    Architecture,
    Preprocessing,
)

from .tensors import SUFFIXES


_REVISION = re.compile(r"\w[\w.\-/]*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundledFile:
    """A file that comes with jaxnst.

    Attributes:
        filename: its name.
        sha256: of the file.
    """

    filename: str
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file on the Hugging Face Hub, of which the part that is needed is downloaded.

    Attributes:
        repo: "owner/name".
        revision: in the registry a commit, so that it cannot change.
        filename: its path there.
        sha256: of the whole file; None if it is not known.
    """

    repo: str
    revision: str
    filename: str
    sha256: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnFile:
    """A file that the user has to bring.

    Attributes:
        advice: where it may be had.
    """

    advice: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSpec:
    """A file of weights, and where it is from.

    Attributes:
        name: what users call it.
        source: where the file is.
        license: of the weights.
        origin: who made them, and how they came here.
        paper: what to cite.
    """

    name: str
    source: BundledFile | HubFile | OwnFile
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

    @property
    def content_layers(self) -> Mapping[str, float]:
        """Layers that keep the content if nobody says otherwise, and their weights."""
        return self.architecture.content_layers

    @property
    def style_layers(self) -> Mapping[str, float]:
        """Layers that take on the style, likewise."""
        return self.architecture.style_layers


_VGG_PAPER = "Simonyan, Zisserman, ICLR 2015, arXiv:1409.1556"
_RETRAINED = "torchvision (IMAGENET1K_V1), trained anew; on the Hub by timm"

SPECS: Mapping[str, WeightSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            WeightSpec(
                name="vgg19",
                architecture=VGG19,
                preprocessing=CAFFE,
                source=BundledFile(
                    filename="vgg19_oxford_8bit.safetensors",
                    sha256="c9685e9ac63f9e5f5f555da810a95062"
                    "94259c0b2130feaf84d8d1fd32dc68c9",
                ),
                license="CC BY 4.0",
                origin=(
                    "Visual Geometry Group, University of Oxford; the original "
                    "weights, as an 8-bit codebook"
                ),
                paper=_VGG_PAPER,
            ),
            WeightSpec(
                name="vgg19.tv_in1k",
                architecture=VGG19,
                preprocessing=TORCHVISION,
                source=HubFile(
                    repo="timm/vgg19.tv_in1k",
                    revision="128d4708565b3a414bcbb9bbad440b2fe37b9f18",
                    filename="model.safetensors",
                    sha256="11aea017b543ff59233749d8f1cf544c"
                    "da749378f5790d2fedab841fb86b7669",
                ),
                license="BSD-3-Clause",
                origin=_RETRAINED,
                paper=_VGG_PAPER,
            ),
            WeightSpec(
                name="vgg16.tv_in1k",
                architecture=VGG16,
                preprocessing=TORCHVISION,
                source=HubFile(
                    repo="timm/vgg16.tv_in1k",
                    revision="3394518cba29aee1ea82a49d971be90d2dd1dab7",
                    filename="model.safetensors",
                    sha256="57b026918159a6bf9faf8405c3a55190"
                    "3768e7138989d9c6224a14227203fad8",
                ),
                license="BSD-3-Clause",
                origin=_RETRAINED,
                paper=_VGG_PAPER,
            ),
            WeightSpec(
                name="resnet50.tv_in1k",
                architecture=RESNET50,
                preprocessing=TORCHVISION,
                source=HubFile(
                    repo="timm/resnet50.tv_in1k",
                    revision="aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8",
                    filename="model.safetensors",
                    sha256="5d061a3c593d795bfe682d9b152bafbc"
                    "f550579873492def3515b46db1189888",
                ),
                license="BSD-3-Clause",
                origin=_RETRAINED,
                paper="He, Zhang, Ren, Sun, CVPR 2016, arXiv:1512.03385",
            ),
            WeightSpec(
                name="googlenet",
                architecture=GOOGLENET,
                preprocessing=TENSORFLOW,
                source=OwnFile(
                    advice=(
                        "the Hub is not known to have torchvision's GoogLeNet as "
                        "safetensors; where torch and torchvision are installed, make "
                        'the file once: python -c "import torchvision, '
                        "safetensors.torch as s; s.save_file(torchvision.models."
                        "googlenet(weights='IMAGENET1K_V1').state_dict(), "
                        "'googlenet.safetensors')\"; then: jaxnst networks get "
                        "googlenet --from googlenet.safetensors"
                    )
                ),
                license="BSD-3-Clause",
                origin="torchvision (IMAGENET1K_V1), from TensorFlow; the user's file",
                paper="Szegedy et al., CVPR 2015, arXiv:1409.4842",
            ),
        )
    }
)

# Not among them: it judges pictures and paints none.
LPIPS_SPEC = FileSpec(
    name="alexnet_lpips",
    source=BundledFile(
        filename="alexnet_lpips.safetensors",
        sha256="12a5607346834b44da43dc6838c1c091e3329076d058dae51300dfe6aa3f1753",
    ),
    license="BSD-3-Clause and BSD-2-Clause",
    origin="AlexNet of torchvision, in float16, and the heads of LPIPS 0.1",
    paper="Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018, arXiv:1801.03924",
)


def get_spec(name: str) -> WeightSpec:
    """Return the spec called `name`.

    Args:
        name: one of `SPECS`; or NAME@REVISION, another revision of its file on the Hub:
            a commit, branch or tag.

    Raises:
        ValueError: if there is none, with the nearest name; or no such revision.
    """
    known, at, revision = str(name).partition("@")
    spec = SPECS[check_choice("network", known, SPECS)]
    return at_revision(spec, revision) if at else spec


def at_revision(spec: WeightSpec, revision: str) -> WeightSpec:
    """Return the spec of another revision of the same file.

    Args:
        spec: of the registry.
        revision: a commit, branch or tag.

    Raises:
        ValueError: if the file is not on the Hub, or the revision cannot be one.
    """
    if not isinstance(spec.source, HubFile):
        raise ValueError(
            f"`revision` is {revision!r}, but {spec.name} has none to choose."
        )
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise ValueError(
            f"`revision` must be a commit, branch or tag, got {revision!r}."
        )
    if revision == spec.source.revision:
        return spec
    if "@" in spec.name:
        raise ValueError(
            f"`revision` is {revision!r}, but {spec.name} names one already."
        )
    return dataclasses.replace(
        spec,
        name=f"{spec.name}@{revision}",
        source=dataclasses.replace(spec.source, revision=revision, sha256=None),
    )


def find_network(network: str | os.PathLike[str]) -> WeightSpec | Path:
    """Return what a name stands for: weights of the registry, or the user's file.

    Args:
        network: a name, as for `get_spec`, or a path; what is neither a name nor a file
            but ends like one is taken for a path.

    Raises:
        ValueError: if it is no name and no file, with the nearest name; or if there is
            no such revision.
        FileNotFoundError: if it is a path without a file.
    """
    text = os.fspath(network)
    known = text.partition("@")[0]
    if isinstance(network, str) and known in SPECS:
        return get_spec(text)
    path = Path(text)
    with contextlib.suppress(RuntimeError):  # the home of nobody known
        path = path.expanduser()
    # A folder called `vgg` is no answer to a slip of the finger.
    if path.is_file():
        return path
    is_path = not isinstance(network, str) or path.suffix.lower() in SUFFIXES
    if is_path or os.sep in text or "/" in text:
        raise FileNotFoundError(f"`network`: no such file: {text}")
    raise ValueError(
        f"`network` is {text!r}.{suggestion(known, SPECS)} Known: {', '.join(SPECS)}; "
        "or the path of a file of weights."
    )
