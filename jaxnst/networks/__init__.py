"""Frozen convolutional networks that measure pictures.

Every network takes one picture, RGB, float32, [0, 1], HWC, and returns a dict of named
activations, unbatched.
"""

from .alexnet import (
    ALEXNET_MIN_SIDE as ALEXNET_MIN_SIDE,
    AlexNet as AlexNet,
    LPIPSNetwork as LPIPSNetwork,
)
from .base import (
    MEMORY_LEVELS as MEMORY_LEVELS,
    PADDINGS as PADDINGS,
    POOLINGS as POOLINGS,
    SMOOTHINGS as SMOOTHINGS,
    Architecture as Architecture,
    ConvShape as ConvShape,
    Layer as Layer,
    Network as Network,
    check_smoothing as check_smoothing,
)
from .convolution import (
    CONVOLUTIONS as CONVOLUTIONS,
    PRECISIONS as PRECISIONS,
    Convolution as Convolution,
    check_convolution as check_convolution,
)
from .googlenet import (
    GOOGLENET as GOOGLENET,
    GoogLeNet as GoogLeNet,
    GoogLeNetArchitecture as GoogLeNetArchitecture,
    Inception as Inception,
)
from .measuring import (
    Measures as Measures,
    after as after,
    is_whole as is_whole,
    measure_features as measure_features,
)
from .preprocessing import (
    CAFFE as CAFFE,
    LPIPS as LPIPS,
    TENSORFLOW as TENSORFLOW,
    TORCHVISION as TORCHVISION,
    Preprocessing as Preprocessing,
)
from .resnet import (
    RESNET50 as RESNET50,
    ResNet as ResNet,
    ResNetArchitecture as ResNetArchitecture,
)
from .vgg import (
    VGG as VGG,
    VGG16 as VGG16,
    VGG19 as VGG19,
    VGGArchitecture as VGGArchitecture,
)
