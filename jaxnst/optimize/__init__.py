"""How a picture is painted: the compiled step, the sizes, the loop around them."""

from .averaging import (
    Average as Average,
    averaged_image as averaged_image,
    init_average as init_average,
    update_average as update_average,
)
from .budget import Budget as Budget
from .interrupt import deferred_interrupt as deferred_interrupt
from .lbfgs import (
    LineSearched as LineSearched,
    compiled_direction as compiled_direction,
    compiled_try as compiled_try,
    make_lbfgs as make_lbfgs,
)
from .linesearch import (
    Found as Found,
    Probe as Probe,
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
from .pace import Pace as Pace, learning_rate_at as learning_rate_at
from .pyramid import pyramid_sizes as pyramid_sizes, resize_state as resize_state
from .recovery import (
    Method as Method,
    Recovery as Recovery,
    SizeResult as SizeResult,
    paint_size as paint_size,
)
from .steering import Steering as Steering
from .step import (
    StepInfo as StepInfo,
    TransferState as TransferState,
    compiled_step as compiled_step,
    compiled_steps as compiled_steps,
    init_state as init_state,
    measure as measure,
    step as step,
    steps as steps,
)
from .stepper import (
    Problem as Problem,
    Stepper as Stepper,
    make_stepper as make_stepper,
)
from .trimming import Trimmed as Trimmed
