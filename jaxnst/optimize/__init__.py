"""The optimization of a picture: the compiled step, the sizes, the loop around them."""

from .member import StepCallback as StepCallback, StepView as StepView
from .optimizers import make_optimizer as make_optimizer
from .pyramid import pyramid_sizes as pyramid_sizes, resize_state as resize_state
from .stepping import (
    Average as Average,
    PackedInfos as PackedInfos,
    StepInfo as StepInfo,
    TransferState as TransferState,
    averaged_image as averaged_image,
    compiled_loss_and_gradient as compiled_loss_and_gradient,
    compiled_step as compiled_step,
    compiled_steps as compiled_steps,
    init_state as init_state,
    loss_and_gradient as loss_and_gradient,
    step as step,
    steps as steps,
)
