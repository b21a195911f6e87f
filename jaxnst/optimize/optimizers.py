"""Optimizers by name.

Each is made once, so that equal settings share a compiled program, and with a learning
rate of 1: the step scales the update, so that a new rate does not recompile it.
"""

import functools

import optax

from jaxnst._checks import check_choice
from jaxnst.config import OPTIMIZERS


@functools.cache
def make_optimizer(name: str) -> optax.GradientTransformationExtraArgs:
    """Return the optimizer called `name`, the same object every time.

    Raises:
        ValueError: if `name` is not one of `jaxnst.config.OPTIMIZERS`.
    """
    check_choice("optimizer", name, OPTIMIZERS)
    if name == "lbfgs":
        return _LBFGS
    # b1, b2: those of Crowson's style-transfer-pytorch; with the short memory of the
    # second moment the step follows gradients that shrink during convergence.
    # eps: far below the gradients of real pairs, 2 to 9 (root mean square, in the units
    # of `step`), and far above rounding errors, below 0.001, which so make small steps.
    return optax.with_extra_args_support(optax.adam(1.0, b1=0.9, b2=0.99, eps=1e-2))


def is_lbfgs(optimizer: optax.GradientTransformation) -> bool:
    """Return whether an optimizer is the object of `make_optimizer("lbfgs")`."""
    return optimizer is _LBFGS


# A marker: SciPy makes the steps, see `jaxnst.optimize.quasi_newton`, and no state is
# carried from size to size.
_LBFGS = optax.with_extra_args_support(optax.identity())
