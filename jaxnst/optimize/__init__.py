"""The optimization of a picture: the compiled step, the sizes, the loop around them."""

from .batching import StepProgram as StepProgram
from .interrupt import deferred_interrupt as deferred_interrupt
from .loop import run_size as run_size
from .member import (
    Member as Member,
    Schedule as Schedule,
    SizeReport as SizeReport,
    StepCallback as StepCallback,
    StepView as StepView,
)
from .monitor import LossMonitor as LossMonitor
from .optimizers import is_lbfgs as is_lbfgs, make_optimizer as make_optimizer
from .programs import (
    Program as Program,
    compile_in_background as compile_in_background,
    use_program_cache as use_program_cache,
)
from .pyramid import pyramid_sizes as pyramid_sizes, resize_state as resize_state
from .quasi_newton import (
    Evaluation as Evaluation,
    LBFGSResult as LBFGSResult,
    minimize_lbfgs as minimize_lbfgs,
)
from .recovery import Method as Method, Recovery as Recovery
from .schedule import (
    Budget as Budget,
    Pace as Pace,
    learning_rate_at as learning_rate_at,
)
from .stepping import (
    Average as Average,
    StepInfo as StepInfo,
    TransferState as TransferState,
    averaged_image as averaged_image,
    compiled_loss_and_gradient as compiled_loss_and_gradient,
    compiled_step as compiled_step,
    compiled_steps as compiled_steps,
    init_average as init_average,
    init_state as init_state,
    loss_and_gradient as loss_and_gradient,
    step as step,
    steps as steps,
    update_average as update_average,
)
from .strength import Steering as Steering, Trimmed as Trimmed, Trimmer as Trimmer
