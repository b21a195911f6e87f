"""Pooling against Flax's, values and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnst.networks.pooling import average_pool, max_pool


def flax_max_pool(x):
    return nnx.max_pool(x, (2, 2), strides=(2, 2))


def value_and_pull(pool_fn, x, y):
    value, pull_fn = jax.vjp(pool_fn, x)
    return np.asarray(value), np.asarray(pull_fn(y)[0])


@pytest.mark.parametrize("shape", [(2, 2, 1), (5, 4, 3), (4, 7, 2), (9, 9, 5)])
def test_max_pool_is_that_of_flax(rng, shape):
    x = jnp.asarray(rng.standard_normal((1, *shape), np.float32))
    y = jnp.asarray(rng.standard_normal(flax_max_pool(x).shape, np.float32))
    for found, expected in zip(
        value_and_pull(jax.jit(max_pool), x, y),
        value_and_pull(flax_max_pool, x, y),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


def test_the_first_of_equals_gets_the_gradient(rng):
    # After a ReLU most pixels are equal: zero.
    x = jnp.asarray(rng.integers(0, 2, (1, 12, 14, 6)).astype(np.float32))
    y = jnp.asarray(rng.standard_normal((1, 6, 7, 6), np.float32))
    _, found = value_and_pull(max_pool, x, y)
    np.testing.assert_array_equal(found, value_and_pull(flax_max_pool, x, y)[1])
    _, flat = value_and_pull(max_pool, jnp.ones((1, 4, 4, 1)), jnp.ones((1, 2, 2, 1)))
    expected = np.zeros((1, 4, 4, 1))
    expected[:, ::2, ::2] = 1
    np.testing.assert_array_equal(flat, expected)


def test_an_odd_border_gets_no_gradient(rng):
    x = jnp.asarray(rng.standard_normal((1, 5, 7, 2), np.float32)).at[:, 4].set(9)
    _, to_x = value_and_pull(max_pool, x, jnp.ones((1, 2, 3, 2)))
    assert to_x.sum() == 12
    assert not to_x[:, 4].any()
    assert not to_x[:, :, 6].any()


def test_max_pool_under_vmap(rng):
    batch = jnp.asarray(rng.standard_normal((3, 1, 5, 6, 2), np.float32))

    def loss(pool_fn, x):
        return jnp.sum(jnp.square(pool_fn(x)))

    found = jax.vmap(jax.grad(lambda x: loss(max_pool, x)))(batch)
    for mine, x in zip(found, batch, strict=True):
        expected = jax.grad(lambda x: loss(flax_max_pool, x))(x)
        np.testing.assert_array_equal(mine, expected)


def test_average_pool_is_that_of_flax(rng):
    x = jnp.asarray(rng.standard_normal((1, 5, 6, 3), np.float32))
    y = jnp.asarray(rng.standard_normal((1, 2, 3, 3), np.float32))
    expected = value_and_pull(lambda x: nnx.avg_pool(x, (2, 2), strides=(2, 2)), x, y)
    for mine, value in zip(value_and_pull(average_pool, x, y), expected, strict=True):
        np.testing.assert_allclose(mine, value, atol=1e-6)
