"""Pooling against Flax's, values and gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnst.networks.layers import Window, pool_windows


def max_pool(x):
    return pool_windows(x, Window(2, 2), "max", wraps=(False, False))


def average_pool(x):
    return pool_windows(x, Window(2, 2), "average", wraps=(False, False))


def flax_max_pool(x):
    return nnx.max_pool(x, (2, 2), strides=(2, 2))


@functools.partial(jax.jit, static_argnums=0)
def value_and_pull(pool_fn, x, y):
    value, pull_fn = jax.vjp(pool_fn, x)
    return value, pull_fn(y)[0]


compiled_windows = jax.jit(pool_windows, static_argnames=("window", "kind", "wraps"))


@pytest.mark.parametrize("shape", [(2, 2, 1), (4, 7, 2), (9, 9, 5)])
def test_max_pool_is_that_of_flax(rng, shape):
    x = jnp.asarray(rng.standard_normal((1, *shape), np.float32))
    pooled = (1, shape[0] // 2, shape[1] // 2, shape[2])
    y = jnp.asarray(rng.standard_normal(pooled, np.float32))
    for found, expected in zip(
        value_and_pull(max_pool, x, y),
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

    found = jax.jit(jax.vmap(jax.grad(lambda x: loss(max_pool, x))))(batch)
    expected_fn = jax.jit(jax.grad(lambda x: loss(flax_max_pool, x)))
    for mine, x in zip(found, batch, strict=True):
        expected = expected_fn(x)
        np.testing.assert_array_equal(mine, expected)


def test_average_pool_is_that_of_flax(rng):
    x = jnp.asarray(rng.standard_normal((1, 5, 6, 3), np.float32))
    y = jnp.asarray(rng.standard_normal((1, 2, 3, 3), np.float32))
    expected = value_and_pull(lambda x: nnx.avg_pool(x, (2, 2), strides=(2, 2)), x, y)
    for mine, value in zip(value_and_pull(average_pool, x, y), expected, strict=True):
        np.testing.assert_allclose(mine, value, atol=1e-6)


WINDOWS = [
    Window(3, 2, margin=1),
    Window(3, 2, is_ceil=True),
    Window(2, 2, is_ceil=True),
    Window(3, 1, margin=1),
    Window(3, 2),
]


def windows_of(length, window):
    """What torch's documentation says: (first, behind the last) pixel of each."""
    starts = range(-window.margin, length + window.margin, window.stride)
    if window.is_ceil:  # one may go over the end, but has to start inside
        starts = [s for s in starts if s < length]
        full = [s for s in starts if s + window.size <= length + window.margin]
        starts = starts[: len(full) + 1]
        if full and full[-1] + window.size == length + window.margin:
            starts = starts[: len(full)]
    else:
        starts = [s for s in starts if s + window.size <= length + window.margin]
    return [(max(s, 0), min(s + window.size, length)) for s in starts]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("kind", ["max", "average"])
def test_windows_pool_what_is_there(window, kind, rng):
    for shape in ((7, 6), (8, 9)):
        x = rng.standard_normal((1, *shape, 2)).astype(np.float32)
        rows, columns = (windows_of(length, window) for length in shape)
        pool = np.max if kind == "max" else np.mean
        expected = [
            [pool(x[0, a:b, c:d], axis=(0, 1)) for c, d in columns] for a, b in rows
        ]
        assert window.count(shape[0]) == len(rows)
        found = compiled_windows(jnp.asarray(x), window, kind, wraps=(False, False))
        np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", WINDOWS[:4], ids=str)
def test_gradient_of_windows_is_that_of_xla(window, rng):
    """Of equals, the first of each window takes it all."""
    x = jnp.asarray(rng.integers(0, 3, (1, 9, 8, 2)), jnp.float32)
    weights = [window.count(9), window.count(8), 2]
    weights = jnp.asarray(rng.standard_normal((1, *weights)), jnp.float32)
    reaches = [window.reach(9), window.reach(8)]

    def by_xla(x):
        pooled = jax.lax.reduce_window(
            x,
            -jnp.inf,
            jax.lax.max,
            (1, window.size, window.size, 1),
            (1, window.stride, window.stride, 1),
            ((0, 0), *reaches, (0, 0)),
        )
        return jnp.sum(weights * pooled)

    def own(x):
        return jnp.sum(weights * pool_windows(x, window, "max", wraps=(False, False)))

    gradients = [jax.jit(jax.grad(loss))(x) for loss in (own, by_xla)]
    np.testing.assert_allclose(*gradients, atol=1e-6)


def test_windows_that_see_the_opposite_border(rng):
    x = rng.standard_normal((1, 4, 6, 1)).astype(np.float32)
    around = np.pad(x[0, :, :, 0], 1, mode="wrap")
    for kind, pool in (("max", np.max), ("average", np.mean)):
        expected = [
            [pool(around[i : i + 3, j : j + 3]) for j in range(0, 6, 2)]
            for i in range(0, 4, 2)
        ]
        window = Window(3, 2, margin=1)
        found = compiled_windows(jnp.asarray(x), window, kind, wraps=(True, True))
        np.testing.assert_allclose(found[0, :, :, 0], expected, rtol=1e-5, atol=1e-6)


def test_windows_leave_nothing_of_too_little():
    assert Window(3, 2).count(2) == 0
    assert Window(3, 2, is_ceil=True).count(1) == 0
    assert Window(2, 2, is_ceil=True).count(1) == 1
