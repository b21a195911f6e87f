"""Frozen convolutional networks as feature extractors.

A network takes one picture, RGB, float32, [0, 1], HWC, and returns a dict of named
activations, unbatched.
"""

from jaxnst.config import NETWORK_MEMORY_LEVELS as NETWORK_MEMORY_LEVELS

from .alexnet import AlexNet as AlexNet, LPIPSNetwork as LPIPSNetwork
from .architecture import (
    CAFFE as CAFFE,
    LPIPS as LPIPS,
    TENSORFLOW as TENSORFLOW,
    TORCHVISION as TORCHVISION,
    ConvShape as ConvShape,
    Layer as Layer,
    Preprocessing as Preprocessing,
)
from .base import Architecture as Architecture, Network as Network
from .convolution import Convolution as Convolution
from .googlenet import (
    GOOGLENET as GOOGLENET,
    GoogLeNet as GoogLeNet,
    GoogLeNetArchitecture as GoogLeNetArchitecture,
    Inception as Inception,
)
from .layers import smooth as smooth
from .remat import measure_features as measure_features
from .resnet import (
    RESNET50 as RESNET50,
    ResNet as ResNet,
    ResNetArchitecture as ResNetArchitecture,
)
from .transforms import (
    cut_behind as cut_behind,
    device_mesh as device_mesh,
    filter_means as filter_means,
    normalize_activations as normalize_activations,
    spread_network as spread_network,
)
from .vgg import (
    VGG as VGG,
    VGG16 as VGG16,
    VGG19 as VGG19,
    VGGArchitecture as VGGArchitecture,
)
