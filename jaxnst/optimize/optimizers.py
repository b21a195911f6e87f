"""Optimizers by name.

Each is made once, so that equal settings meet the same compiled program, and with a
learning rate of 1: the step scales the update, so that a rate recompiles nothing.
"""

import functools

import optax

from jaxnst._checks import check_choice
from jaxnst.config import OPTIMIZERS


@functools.cache
def make_optimizer(name: str) -> optax.GradientTransformationExtraArgs:
    """Return the optimizer called `name`, the same object every time.

    Raises:
        ValueError: if the name is unknown.
    """
    check_choice("optimizer", name, OPTIMIZERS)
    return _LBFGS if name == "lbfgs" else _make_adam()


def is_lbfgs(optimizer: optax.GradientTransformation) -> bool:
    """Return whether an optimizer is that of `make_optimizer("lbfgs")`."""
    return optimizer is _LBFGS


# SciPy makes its steps, see `jaxnst.optimize.quasi_newton`; it carries no state from
# size to size.
_LBFGS = optax.with_extra_args_support(optax.identity())


def _make_adam() -> optax.GradientTransformationExtraArgs:
    # betas: of Crowson's style-transfer-pytorch; the short memory of the second moment
    # lets the step follow gradients that shrink as it settles.
    # eps: gradients of real pairs are 2 to 9 (root mean square, in the units of
    # `step`), so it changes nothing there; rounding alone, below 0.001, makes no full
    # steps.
    return optax.with_extra_args_support(optax.adam(1.0, b1=0.9, b2=0.99, eps=1e-2))
