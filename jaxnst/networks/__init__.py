"""Frozen convolutional networks as feature extractors.

A network takes one picture, RGB, float32, [0, 1], HWC, and returns a dict of named
activations, unbatched.
"""

from jaxnst.config import (
    CONVOLUTIONS as CONVOLUTIONS,
    DEVICES as DEVICES,
    MEMORY_LEVELS as MEMORY_LEVELS,
    PADDINGS as PADDINGS,
    POOLINGS as POOLINGS,
    PRECISIONS as PRECISIONS,
    SMOOTHINGS as SMOOTHINGS,
)

from .alexnet import (
    ALEXNET_MIN_SIDE as ALEXNET_MIN_SIDE,
    AlexNet as AlexNet,
    LPIPSNetwork as LPIPSNetwork,
)
from .architecture import (
    CAFFE as CAFFE,
    LPIPS as LPIPS,
    TENSORFLOW as TENSORFLOW,
    TORCHVISION as TORCHVISION,
    ConvShape as ConvShape,
    Layer as Layer,
    Preprocessing as Preprocessing,
)
from .base import (
    Architecture as Architecture,
    Network as Network,
)
from .convolution import (
    Convolution as Convolution,
)
from .googlenet import (
    GOOGLENET as GOOGLENET,
    GoogLeNet as GoogLeNet,
    GoogLeNetArchitecture as GoogLeNetArchitecture,
    Inception as Inception,
)
from .layers import (
    check_smoothing as check_smoothing,
    smooth as smooth,
)
from .remat import (
    Measures as Measures,
    after as after,
    is_whole as is_whole,
    measure_features as measure_features,
)
from .resnet import (
    RESNET50 as RESNET50,
    ResNet as ResNet,
    ResNetArchitecture as ResNetArchitecture,
)
from .transforms import (
    check_normalizable as check_normalizable,
    cut_behind as cut_behind,
    device_mesh as device_mesh,
    filter_means as filter_means,
    lay_by_rows as lay_by_rows,
    lay_whole as lay_whole,
    normalize_activations as normalize_activations,
    spread_network as spread_network,
)
from .vgg import (
    VGG as VGG,
    VGG16 as VGG16,
    VGG19 as VGG19,
    VGGArchitecture as VGGArchitecture,
)
