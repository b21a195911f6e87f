"""Wasserstein distance of two clouds of features, taken as normal distributions."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnst._types import FeatureMap, GramMatrix, Scalar

from .gram import gram_matrix
from .numerics import smooth_root, widen


# This fraction of the target's mean variance is added to every variance: with more
# channels than pixels a covariance has no inverse.
_DAMPING = 1e-3

# This fraction of all variance is added to every variance before a Cholesky
# decomposition, which fails where rounding leaves one below zero.
_ROUNDING = 3e-7


def _scalings(least: float) -> np.ndarray:
    """Return the factors between the iterations of `_polar_factor`.

    `least` is the smallest singular value that is brought to 1, of at most 1.
    """
    factors = []
    while least < 1 - 1e-6:
        factors.append((3 / (1 + least + least**2)) ** 0.5)
        scaled = factors[-1] * least
        least = scaled * (3 - scaled**2) / 2
    return np.asarray(factors, np.float32)


# The damping bounds the ratio of singular values by about this.
_SCALINGS = _scalings(1e-6)


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
        root: matrix R with R R^T = covariance.
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
    root = jax.lax.platform_dependent(
        covariance, cpu=_symmetric_root, default=jnp.linalg.cholesky
    )
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
    both = jnp.trace(own) + jnp.trace(target.covariance)
    squared = both - 2 * _trace_of_root(target.root, own)
    squared = jnp.maximum(squared, 0)  # negative by rounding, at the target
    squared += jnp.sum(jnp.square(found.mean - target.mean))
    return smooth_root(squared, target.size, smoothing)


@jax.custom_vjp
def _trace_of_root(root: GramMatrix, own: GramMatrix) -> Scalar:
    """Return the trace of the square root of R^T S R, for a root R and covariance S.

    CPUs compute its eigenvalues. GPUs and TPUs would wait for those, so that they take
    products of matrices instead.
    """
    return _root_forward(root, own)[0]


def _root_forward(root: GramMatrix, own: GramMatrix) -> tuple[Scalar, Any]:
    trace, kept = jax.lax.platform_dependent(
        root, own, cpu=_trace_by_eigenvalues, default=_trace_by_products
    )
    return trace, (root, own, kept)


def _root_backward(residuals: Any, gradient: Scalar) -> tuple[None, GramMatrix]:
    root, own, kept = residuals
    to_own = jax.lax.platform_dependent(
        root, own, kept, gradient, cpu=_gradient_by_eigenvalues, default=_scaled
    )
    return None, to_own  # targets are constants


_trace_of_root.defvjp(_root_forward, _root_backward)


def _symmetric_root(matrix: GramMatrix) -> GramMatrix:
    values, vectors = _eigh(matrix)
    roots = jnp.sqrt(jnp.maximum(values, 0))
    return _product(vectors * roots[None], vectors.T)


def _inner(root: GramMatrix, own: GramMatrix) -> GramMatrix:
    return _product(_product(root, own), root)


def _trace_by_eigenvalues(
    root: GramMatrix, own: GramMatrix
) -> tuple[Scalar, tuple[Float[Array, " channels"], GramMatrix]]:
    matrix = _inner(root, own)
    values, vectors = _eigh((matrix + matrix.T) / 2)
    # Smaller eigenvalues are rounding errors.
    values = jnp.maximum(values, 1e-7 * values[-1] + jnp.finfo(values.dtype).tiny)
    roots = jnp.sqrt(values)
    return jnp.sum(roots), (roots, vectors)


def _gradient_by_eigenvalues(
    root: GramMatrix, own: GramMatrix, kept: Any, gradient: Scalar
) -> GramMatrix:
    # The gradient of the trace needs no differences of eigenvalues, which may be equal.
    roots, vectors = kept
    to_inner = gradient * _product(vectors * (0.5 / roots)[None], vectors.T)
    _, pull = jax.vjp(functools.partial(_inner, root), own)
    return pull(to_inner)[0]


def _trace_by_products(
    root: GramMatrix, own: GramMatrix
) -> tuple[Scalar, tuple[Float[Array, " channels"], GramMatrix]]:
    r"""Return the trace, and its gradient with respect to the covariance S.

    With S = K K^T and the polar factor U of R^T K, the trace is that of U^T R^T K, and
    the gradient R U K^{-1} / 2. K is far better conditioned than R^T S R.
    """
    identity = jnp.eye(own.shape[0])
    lower = jnp.linalg.cholesky(own + _ROUNDING * jnp.trace(own) * identity)
    mixed = _product(root.T, lower)
    polar = _polar_factor(mixed)
    inverse = jax.scipy.linalg.solve_triangular(lower, identity, lower=True)
    half = _product(root, _product(polar, inverse)) / 4
    return jnp.sum(polar * mixed), (jnp.zeros(own.shape[0]), half + half.T)


def _scaled(_root: Any, _own: Any, kept: Any, gradient: Scalar) -> GramMatrix:
    return gradient * kept[1]


def _polar_factor(matrix: Float[Array, "_ _"]) -> Float[Array, "_ _"]:
    """Return the orthogonal matrix nearest to a square matrix.

    References:
        Chen, Chow, "A stable scaling of Newton-Schulz for improving the sign function
        computation of a Hermitian matrix", 2014.
    """

    def improve(x: Array, factor: Scalar) -> tuple[Array, None]:
        x = factor * x
        return 1.5 * x - 0.5 * _product(x, _product(x.T, x)), None

    length = jnp.sqrt(jnp.sum(jnp.square(matrix))) + jnp.finfo(matrix.dtype).tiny
    return jax.lax.scan(improve, matrix / length, jnp.asarray(_SCALINGS))[0]


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
