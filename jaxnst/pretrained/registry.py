"""The registry: every set of weights, described before it is loaded.

Bundled files are found, and checked, here too.
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from jaxnst._checks import (
    check_choice,
    check_path,
    expand_home,
    no_such_file,
    shown,
    suggestion,
)
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

from .formats import SUFFIXES


_REVISION = re.compile(r"\w[\w.\-/]*")
_PACKAGE = Path(__file__).parent.parent
# In an installed wheel the files lie inside the package, in a checkout beside it.
_FOLDERS = (_PACKAGE / "_weights", _PACKAGE.parent / "weights")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundledFile:
    """A file that comes with jaxnst.

    Attributes:
        filename: name of the file.
        sha256: hash of the file, in hex.
    """

    filename: str
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file on the Hugging Face Hub; only the tensors that are needed are downloaded.

    Attributes:
        repo: "owner/name".
        revision: commit, branch or tag; in the registry a commit, which cannot change.
        filename: path in the repository.
        sha256: hash of the whole file, in hex; None if it is not known.
    """

    repo: str
    revision: str
    filename: str
    sha256: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnFile:
    """A file that the user has to provide.

    Attributes:
        advice: advice on making or finding it.
    """

    advice: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSpec:
    """A file of weights, and its origin.

    Attributes:
        name: name in the registry.
        source: place of the file.
        license: license of the weights.
        origin: who made them, and how they came here.
        paper: publication to cite.
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
        architecture: network that the weights fit.
        preprocessing: input that the network was trained on.
    """

    architecture: Architecture
    preprocessing: Preprocessing

    @property
    def content_layers(self) -> Mapping[str, float]:
        """Default content layers, and their weights."""
        return self.architecture.content_layers

    @property
    def style_layers(self) -> Mapping[str, float]:
        """Default style layers, and their weights."""
        return self.architecture.style_layers


_VGG_PAPER = "Simonyan, Zisserman, ICLR 2015, arXiv:1409.1556"


def _on_hub(
    architecture: Architecture, *, revision: str, sha256: str, paper: str
) -> WeightSpec:
    """Return the spec of torchvision's weights as timm keeps them on the Hub."""
    name = f"{architecture.name}.tv_in1k"
    return WeightSpec(
        name=name,
        architecture=architecture,
        preprocessing=TORCHVISION,
        source=HubFile(
            repo=f"timm/{name}",
            revision=revision,
            filename="model.safetensors",
            sha256=sha256,
        ),
        license="BSD-3-Clause",
        origin="torchvision (IMAGENET1K_V1), trained anew; on the Hub by timm",
        paper=paper,
    )


_SPECS = (
    WeightSpec(
        name="vgg19",
        architecture=VGG19,
        preprocessing=CAFFE,
        source=BundledFile(
            filename="vgg19_oxford_8bit.safetensors",
            sha256="c9685e9ac63f9e5f5f555da810a9506294259c0b2130feaf84d8d1fd32dc68c9",
        ),
        license="CC BY 4.0",
        origin=(
            "Visual Geometry Group, University of Oxford; the original weights, as an "
            "8-bit codebook"
        ),
        paper=_VGG_PAPER,
    ),
    _on_hub(
        VGG19,
        revision="128d4708565b3a414bcbb9bbad440b2fe37b9f18",
        sha256="11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669",
        paper=_VGG_PAPER,
    ),
    _on_hub(
        VGG16,
        revision="3394518cba29aee1ea82a49d971be90d2dd1dab7",
        sha256="57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
        paper=_VGG_PAPER,
    ),
    _on_hub(
        RESNET50,
        revision="aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8",
        sha256="5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
        paper="He, Zhang, Ren, Sun, CVPR 2016, arXiv:1512.03385",
    ),
    WeightSpec(
        name="googlenet",
        architecture=GOOGLENET,
        preprocessing=TENSORFLOW,
        source=OwnFile(
            advice=(
                "the Hub is not known to have torchvision's GoogLeNet as safetensors; "
                "where torch and torchvision are installed, make the file once: python "
                '-c "import torchvision, safetensors.torch as s; s.save_file('
                "torchvision.models.googlenet(weights='IMAGENET1K_V1').state_dict(), "
                "'googlenet.safetensors')\"; then: jaxnst networks get googlenet "
                "--from googlenet.safetensors"
            )
        ),
        license="BSD-3-Clause",
        origin="torchvision (IMAGENET1K_V1), from TensorFlow; the user's file",
        paper="Szegedy et al., CVPR 2015, arXiv:1409.4842",
    ),
)
SPECS: Mapping[str, WeightSpec] = MappingProxyType({x.name: x for x in _SPECS})
# Not among them: it measures pictures and paints none.
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
    """Return the spec of another revision of the same file: a commit, branch or tag."""
    if not isinstance(spec.source, HubFile):
        raise ValueError(
            f"`revision` is {shown(revision)}, but {spec.name} has none to choose."
        )
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise ValueError(
            f"`revision` must be a commit, branch or tag, got {shown(revision)}."
        )
    if revision == spec.source.revision:
        return spec
    if "@" in spec.name:
        raise ValueError(
            f"`revision` is {shown(revision)}, but {spec.name} names one already."
        )
    return dataclasses.replace(
        spec,
        name=f"{spec.name}@{revision}",
        source=dataclasses.replace(spec.source, revision=revision, sha256=None),
    )


def find_network(network: str | os.PathLike[str]) -> WeightSpec | Path:
    """Return the spec or the file that a name stands for.

    Args:
        network: a name, as for `get_spec`, or the path of a file of weights.

    Raises:
        ValueError: if it is neither a name nor a file, with the nearest name; or if
            there is no such revision.
        FileNotFoundError: if it is a path, by its ending or its folders, without a
            file.
    """
    text = check_path("network", network)
    known = text.partition("@")[0]
    if isinstance(network, str) and known in SPECS:
        return get_spec(text)
    path = expand_home(text)
    # A folder called `vgg` is no answer to a slip of the finger.
    if path.is_file():
        return path
    is_path = not isinstance(network, str) or path.suffix.lower() in SUFFIXES
    if is_path or os.sep in text or "/" in text:
        raise FileNotFoundError(f"`network`: {no_such_file(path)}")
    raise ValueError(
        f"`network` is {shown(text)}.{suggestion(known, SPECS)} Known: "
        f"{', '.join(SPECS)}; or the path of a file of weights."
    )


def bundled_path(spec: FileSpec) -> Path:
    """Return the path of the bundled file of a spec."""
    assert isinstance(spec.source, BundledFile)
    filename = spec.source.filename
    for folder in _FOLDERS:
        if (folder / filename).is_file():
            return folder / filename
    raise FileNotFoundError(
        f"the weights of {spec.name!r} are missing: no {filename} in "
        f"{' or '.join(map(str, _FOLDERS))}. Install jaxnst again."
    )


def read_bundled(spec: FileSpec) -> bytes:
    """Return the bytes of the bundled file of a spec, if their hash is right."""
    assert isinstance(spec.source, BundledFile)
    path, expected = bundled_path(spec), spec.source.sha256
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise ValueError(
            f"the weights of {spec.name!r} are damaged: {path} ({len(data)} bytes) has "
            f"sha256 {digest}, expected {expected}. Install jaxnst again (in a "
            "checkout: git restore weights)."
        )
    return data
