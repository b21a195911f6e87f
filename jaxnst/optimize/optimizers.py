"""Optimizers by name.

Each is made once, so that equal settings meet the same compiled program, and with a
learning rate of 1: the step scales the update, so that a rate recompiles nothing.
"""

import functools
from collections.abc import Callable
from types import MappingProxyType

import optax

from jaxnst._checks import check_choice


OPTIMIZERS: MappingProxyType[str, Callable[[], optax.GradientTransformation]] = (
    MappingProxyType(
        {
            # betas: of Crowson's style-transfer-pytorch; the short memory of the
            # second moment lets the step follow gradients that shrink as it settles.
            # eps: gradients of real pairs are 2 to 9 (root mean square, in the units
            # of `step`), what rounding leaves of none is below 0.001; so that, where
            # there is nothing to do, Adam does not paint noise.
            "adam": lambda: optax.adam(1.0, b1=0.9, b2=0.99, eps=1e-2),
        }
    )
)


@functools.cache
def make_optimizer(name: str) -> optax.GradientTransformationExtraArgs:
    """Return the optimizer called `name`, the same object every time.

    Raises:
        ValueError: if the name is unknown.
    """
    check_choice("optimizer", name, OPTIMIZERS)
    return optax.with_extra_args_support(OPTIMIZERS[name]())
