"""How a picture is painted: the compiled step, the sizes, the loop around them."""

from .interrupt import deferred_interrupt as deferred_interrupt
from .lbfgs import (
    Found as Found,
    LineSearched as LineSearched,
    Probe as Probe,
    compiled_direction as compiled_direction,
    compiled_try as compiled_try,
    make_lbfgs as make_lbfgs,
    search_length as search_length,
)
from .loop import (
    Attempt as Attempt,
    Schedule as Schedule,
    SizeRun as SizeRun,
    StepCallback as StepCallback,
    StepView as StepView,
    run_size as run_size,
)
from .optimizers import make_optimizer as make_optimizer
from .pyramid import pyramid_sizes as pyramid_sizes, resize_state as resize_state
from .recovery import (
    Method as Method,
    Recovery as Recovery,
    SizeResult as SizeResult,
    paint_size as paint_size,
)
from .schedule import (
    Budget as Budget,
    Pace as Pace,
    learning_rate_at as learning_rate_at,
)
from .stepper import (
    Problem as Problem,
    Stepper as Stepper,
    make_stepper as make_stepper,
)
from .stepping import (
    Average as Average,
    StepInfo as StepInfo,
    TransferState as TransferState,
    averaged_image as averaged_image,
    compiled_step as compiled_step,
    compiled_steps as compiled_steps,
    init_average as init_average,
    init_state as init_state,
    measure as measure,
    step as step,
    steps as steps,
    update_average as update_average,
)
from .strength import Steering as Steering, Trimmed as Trimmed
