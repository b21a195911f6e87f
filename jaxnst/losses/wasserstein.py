"""Distance of two clouds of features, each taken for a normal distribution."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnst._types import FeatureMap, GramMatrix, Scalar

from .gram import gram_matrix


# Of the mean variance of the target, added to every variance: matrices of more channels
# than there are pixels have no inverse.
_DAMPING = 1e-3


class Gaussian(NamedTuple):
    """Two means over the pixels of a feature map.

    Attributes:
        mean: of every channel.
        second: the Gram matrix.
    """

    mean: Float[Array, " channels"]
    second: GramMatrix


class GaussianTarget(NamedTuple):
    """A normal distribution that others are compared with.

    Attributes:
        mean: of every channel.
        covariance: damped.
        root: of the covariance.
        damping: that others get as well.
        size: mean square length of the features.
    """

    mean: Float[Array, " channels"]
    covariance: GramMatrix
    root: GramMatrix
    damping: Scalar
    size: Scalar


def fit_gaussian(features: FeatureMap) -> Gaussian:
    """Return mean and second moments of a feature map, in float32.

    Args:
        features: activations of one layer; any real range.
    """
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    return Gaussian(jnp.mean(features.astype(dtype), (0, 1)), gram_matrix(features))


def gaussian_target(gaussian: Gaussian) -> GaussianTarget:
    """Return a distribution ready to be compared with: its root is taken once."""
    covariance = _covariance(gaussian)
    width = covariance.shape[0]
    damping = _DAMPING * jnp.trace(covariance) / width
    damping += 1e-6 * jnp.trace(gaussian.second) / width + 1e-30
    covariance = covariance + damping * jnp.eye(width)
    values, vectors = _eigh(covariance)
    roots = jnp.sqrt(jnp.maximum(values, 0))
    root = _product(vectors * roots[None], vectors.T)
    size = jnp.trace(gaussian.second)
    return GaussianTarget(gaussian.mean, covariance, root, damping, size)


def wasserstein_distance(
    found: Gaussian, target: GaussianTarget, *, smoothing: float = 5e-3
) -> Scalar:
    r"""2-Wasserstein distance of two normal distributions, smooth at zero.

    .. math::
        W^2 = \|\mu - \mu'\|^2 + \mathrm{tr}\,\Sigma + \mathrm{tr}\,\Sigma'
        - 2\,\mathrm{tr}\,(\Sigma'^{1/2} \Sigma\, \Sigma'^{1/2})^{1/2}

    The shortest way to move the features until they are distributed as the painting's.
    Large variances count by their roots, so a few loud channels rule less than in the
    Gram matrix.

    Args:
        found: of the picture, at one layer.
        target: of `gaussian_target`, of the style picture at the same layer.
        smoothing: below this part of the target's norm it is a parabola.

    Returns:
        In feature units.

    References:
        Mroueh, "Wasserstein Style Transfer", AISTATS 2020, eq. 3 (there for a transform
        of features). Differs from it: the mean variance times 0.001 is added to every
        variance of both; the root of W^2, see `jaxnst.losses.gram_distance`.

    Examples:
        >>> one = Gaussian(jnp.zeros(1), jnp.ones((1, 1)))
        >>> other = Gaussian(3 * jnp.ones(1), 10 * jnp.ones((1, 1)))
        >>> wasserstein_distance(other, gaussian_target(one), smoothing=0.0).round(3)
        Array(3., dtype=float32)
    """
    own = _covariance(found) + target.damping * jnp.eye(found.mean.shape[0])
    inner = _product(_product(target.root, own), target.root)
    squared = jnp.trace(own) + jnp.trace(target.covariance) - 2 * trace_of_root(inner)
    squared = jnp.maximum(squared, 0)  # of equal ones, rounding
    squared += jnp.sum(jnp.square(found.mean - target.mean))
    epsilon_squared = target.size * smoothing**2 + jnp.finfo(squared.dtype).tiny
    return jnp.sqrt(squared + epsilon_squared) - jnp.sqrt(epsilon_squared)


@jax.custom_vjp
def trace_of_root(matrix: GramMatrix) -> Scalar:
    """Return the trace of the root of a symmetric positive matrix."""
    return _root_forward(matrix)[0]


def _root_forward(matrix: GramMatrix) -> tuple[Scalar, tuple[Array, Array]]:
    values, vectors = _eigh((matrix + matrix.T) / 2)
    # Rounding is all that there is below.
    values = jnp.maximum(values, 1e-7 * values[-1] + jnp.finfo(values.dtype).tiny)
    roots = jnp.sqrt(values)
    return jnp.sum(roots), (roots, vectors)


def _root_backward(
    kept: tuple[Array, Array], gradient: Scalar
) -> tuple[Float[Array, "_ _"]]:
    # Of the trace, so without differences of eigenvalues, which may be equal.
    roots, vectors = kept
    return (gradient * _product(vectors * (0.5 / roots)[None], vectors.T),)


trace_of_root.defvjp(_root_forward, _root_backward)


# One matrix after the other also where a batch is painted: on CPUs, programs that hold
# LAPACK's calls for batches were seen to hang.
@jax.custom_batching.sequential_vmap
def _eigh(matrix: GramMatrix) -> tuple[Float[Array, " channels"], GramMatrix]:
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors


def _covariance(gaussian: Gaussian) -> GramMatrix:
    return gaussian.second - jnp.outer(gaussian.mean, gaussian.mean)


def _product(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
