"""How a picture is painted: the compiled step, the sizes, the loop around them."""

from .interrupt import deferred_interrupt as deferred_interrupt
from .loop import (
    Schedule as Schedule,
    SizeRun as SizeRun,
    StepCallback as StepCallback,
    StepView as StepView,
    learning_rate_at as learning_rate_at,
    run_size as run_size,
)
from .optimizers import make_optimizer as make_optimizer
from .pyramid import pyramid_sizes as pyramid_sizes, resize_state as resize_state
from .step import (
    StepInfo as StepInfo,
    TransferState as TransferState,
    compiled_step as compiled_step,
    init_state as init_state,
    step as step,
)
