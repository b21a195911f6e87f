"""Wasserstein distance of two clouds of features, taken as normal distributions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnst._types import FeatureMap, GramMatrix, Scalar

from .gram import gram_matrix
from .numerics import smooth_root, widen


# This fraction of the target's mean variance is added to every variance: with more
# channels than pixels a covariance has no inverse.
_DAMPING = 1e-3


class Gaussian(NamedTuple):
    """Two means over the pixels of a feature map.

    Attributes:
        mean: mean of every channel.
        second: second moments, the Gram matrix.
    """

    mean: Float[Array, " channels"]
    second: GramMatrix


class GaussianTarget(NamedTuple):
    """A normal distribution, prepared to compare others with it.

    Attributes:
        covariance: covariance of the channels, plus the damping.
        damping: added to the variances of this and of the other distribution.
        size: mean square length of the features.
    """

    mean: Float[Array, " channels"]
    covariance: GramMatrix
    root: GramMatrix
    damping: Scalar
    size: Scalar


def fit_gaussian(features: FeatureMap) -> Gaussian:
    """Return the means and second moments of a feature map, in float32."""
    return Gaussian(jnp.mean(widen(features), (0, 1)), gram_matrix(features))


def gaussian_target(gaussian: Gaussian) -> GaussianTarget:
    """Return the target of `wasserstein_distance`, whose root is computed only once."""
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
    r"""Return the 2-Wasserstein distance of two normal distributions, smooth at zero.

    $$
    W^2 = \|\mu - \mu'\|^2 + \mathrm{tr}\,\Sigma + \mathrm{tr}\,\Sigma'
    - 2\,\mathrm{tr}\,(\Sigma'^{1/2} \Sigma\, \Sigma'^{1/2})^{1/2}
    $$

    It is the least distance that the features have to move to be distributed as the
    style's. Variances count by their roots, so a few channels of large variance
    dominate less than in the Gram matrix.

    Args:
        found: means and second moments of the image, at one layer.
        target: result of `gaussian_target` for the style picture, at the same layer.
        smoothing: fraction of the target's norm below which the distance is a parabola.

    Returns:
        0 or more, in feature units.

    References:
        Mroueh, "Wasserstein Style Transfer", AISTATS 2020, eq. 3 (there for a transform
        of features). Differs from it: 0.001 times the target's mean variance is added
        to every variance of both; the root of W^2, see `jaxnst.losses.gram_distance`.

    Examples:
        >>> one = Gaussian(jnp.zeros(1), jnp.ones((1, 1)))
        >>> other = Gaussian(3 * jnp.ones(1), 10 * jnp.ones((1, 1)))
        >>> wasserstein_distance(other, gaussian_target(one), smoothing=0.0).round(3)
        Array(3., dtype=float32)
    """
    own = _covariance(found) + target.damping * jnp.eye(found.mean.shape[0])
    inner = _product(_product(target.root, own), target.root)
    squared = jnp.trace(own) + jnp.trace(target.covariance) - 2 * _trace_of_root(inner)
    squared = jnp.maximum(squared, 0)  # negative by rounding, at the target
    squared += jnp.sum(jnp.square(found.mean - target.mean))
    return smooth_root(squared, target.size, smoothing)


@jax.custom_vjp
def _trace_of_root(matrix: GramMatrix) -> Scalar:
    """Return the trace of the square root of a symmetric positive matrix."""
    return _root_forward(matrix)[0]


def _root_forward(matrix: GramMatrix) -> tuple[Scalar, tuple[Array, Array]]:
    values, vectors = _eigh((matrix + matrix.T) / 2)
    # Smaller eigenvalues are rounding errors.
    values = jnp.maximum(values, 1e-7 * values[-1] + jnp.finfo(values.dtype).tiny)
    roots = jnp.sqrt(values)
    return jnp.sum(roots), (roots, vectors)


def _root_backward(
    kept: tuple[Array, Array], gradient: Scalar
) -> tuple[Float[Array, "_ _"]]:
    # The gradient of the trace needs no differences of eigenvalues, which may be equal.
    roots, vectors = kept
    return (gradient * _product(vectors * (0.5 / roots)[None], vectors.T),)


_trace_of_root.defvjp(_root_forward, _root_backward)


# One matrix after the other in a batch too: on CPUs, programs with LAPACK's batched
# calls were seen to hang.
@jax.custom_batching.sequential_vmap
def _eigh(matrix: GramMatrix) -> tuple[Float[Array, " channels"], GramMatrix]:
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors


def _covariance(gaussian: Gaussian) -> GramMatrix:
    return gaussian.second - jnp.outer(gaussian.mean, gaussian.mean)


def _product(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
