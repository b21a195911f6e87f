"""Optimizers by name.

Each is made once, so that equal settings share a compiled program, and for a learning
rate of 1: the step scales the update, so that a new rate does not recompile it.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from jaxnst._checks import check_choice
from jaxnst.config import OPTIMIZERS


def make_optimizer(name: str) -> optax.GradientTransformationExtraArgs:
    """Return the optimizer called `name`, the same object every time.

    Raises:
        ValueError: if `name` is not one of `jaxnst.config.OPTIMIZERS`.
    """
    check_choice("optimizer", name, OPTIMIZERS)
    return _LBFGS if name == "lbfgs" else scaled_adam()


@functools.cache
def scaled_adam(
    *, b1: float = 0.8, b2: float = 0.95, eps: float = 1.0
) -> optax.GradientTransformationExtraArgs:
    """Return Adam for gradients that are first scaled to a root mean square of 1.

    Such a gradient makes a step of about the learning rate. With an `eps` that is as
    large, pixels that matter little move little, which keeps more of the content at
    equal gaps (benchmarks/README.md). The scaling makes it as large for all weights,
    networks and pictures. Memories are short, as there are few steps.

    Args:
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: gradient that makes half the step of a large one.
    """
    adam = optax.adam(1 + eps, b1=b1, b2=b2, eps=eps)
    return optax.with_extra_args_support(
        optax.chain(optax.stateless(_scale_to_one), adam)
    )


def _scale_to_one(gradient: optax.Updates, params: object = None) -> optax.Updates:
    """Return a gradient with a root mean square of 1."""
    del params

    def scale(leaf: jax.Array) -> jax.Array:
        # Real pairs have 2 to 9 (in the units of `step`), rounding errors less than
        # 0.001, which so make small steps.
        return leaf / (jnp.sqrt(jnp.mean(leaf * leaf)) + 1e-2)

    return jax.tree.map(scale, gradient)


def is_lbfgs(optimizer: optax.GradientTransformation) -> bool:
    """Return whether an optimizer is the object of `make_optimizer("lbfgs")`."""
    return optimizer is _LBFGS


# A marker: SciPy makes the steps, see `jaxnst.optimize.quasi_newton`, and no state is
# carried from size to size.
_LBFGS = optax.with_extra_args_support(optax.identity())
