"""Losses: analytic truths, NumPy in float64, gradients, jit = plain = vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxnst.losses import (
    content_loss,
    cosine_content_loss,
    gram_distance,
    gram_loss,
    gram_matrix,
    total_variation_loss,
)


def features(rng, height=5, width=7, channels=4):
    return rng.standard_normal((height, width, channels)).astype(np.float32)


def gram_numpy(array):
    flat = array.astype(np.float64).reshape(-1, array.shape[-1])
    return flat.T @ flat / len(flat)


def gram_distance_numpy(gram, target, smoothing=5e-3):
    difference = np.sum((gram.astype(np.float64) - target) ** 2)
    floor = smoothing**2 * np.sum(target.astype(np.float64) ** 2)
    return np.sqrt(difference + floor) - np.sqrt(floor)


def tv_numpy(image):
    image = image.astype(np.float64)
    return np.mean(np.diff(image, axis=0) ** 2) + np.mean(np.diff(image, axis=1) ** 2)


# Compiled as a whole: operation by operation it takes longer.
total_variation = jax.jit(total_variation_loss)

PAIRED = [content_loss, cosine_content_loss, gram_loss, gram_distance]


def arguments(loss, rng):
    """Two arrays of the kind that the loss compares."""
    if loss in (content_loss, cosine_content_loss):
        return features(rng), features(rng)
    return gram_numpy(features(rng)).astype("f4"), gram_numpy(features(rng)).astype(
        "f4"
    )


def test_gram_matrix_of_one_hot_pixels_counts_them():
    one_hot = jnp.zeros((2, 3, 4)).at[0, 0, 0].set(1).at[1, :, 2].set(2)
    expected = np.diag([1 / 6, 0, 3 * 4 / 6, 0])
    np.testing.assert_allclose(gram_matrix(one_hot), expected, rtol=1e-6)


def test_gram_matrix_against_numpy(rng):
    array = features(rng, 9, 8, 16)
    np.testing.assert_allclose(
        gram_matrix(jnp.asarray(array)), gram_numpy(array), rtol=1e-5, atol=1e-6
    )


def test_gram_matrix_ignores_order_and_size(rng):
    array = features(rng)
    shuffled = rng.permutation(array.reshape(-1, 4)).reshape(7, 5, 4)
    doubled = np.concatenate([array, array])
    for other in (shuffled, doubled, array[::-1, ::-1]):
        np.testing.assert_allclose(
            gram_matrix(jnp.asarray(other)),
            gram_matrix(jnp.asarray(array)),
            rtol=1e-5,
            atol=1e-6,
        )


def test_gram_matrix_is_symmetric_and_not_negative(rng):
    gram = np.asarray(gram_matrix(jnp.asarray(features(rng, 3, 1, 6))))
    np.testing.assert_array_equal(gram, gram.T)
    assert np.linalg.eigvalsh(gram).min() > -1e-6


def test_content_loss_truths(rng):
    array = jnp.asarray(features(rng))
    assert content_loss(array, array) == 0
    assert content_loss(array + 3, array) == pytest.approx(9, rel=1e-5)
    other = features(rng)
    expected = np.mean((np.asarray(array, np.float64) - other) ** 2)
    assert content_loss(array, jnp.asarray(other)) == pytest.approx(expected, rel=1e-5)


def test_cosine_content_loss_compares_directions_alone(rng):
    first, second = features(rng), features(rng)
    expected = np.mean(np.square(in_length_of(second, first) - second))
    found = cosine_content_loss(jnp.asarray(first), jnp.asarray(second))
    assert found == pytest.approx(expected, rel=1e-5)
    # 2 |P|^2 (1 - cos), over all places and channels.
    dots, lengths = np.sum(first * second, -1), np.linalg.norm(second, axis=-1)
    cosines = dots / np.linalg.norm(first, axis=-1) / lengths
    expected = 2 * np.mean(lengths**2 * (1 - cosines)) / second.shape[-1]
    assert found == pytest.approx(expected, rel=1e-5)
    for factor in (0.2, 1, 30):
        lengths = factor * rng.uniform(1, 2, (*second.shape[:2], 1)).astype("f4")
        stronger = jnp.asarray(lengths * second)
        assert cosine_content_loss(stronger, jnp.asarray(second)) < 1e-9


def test_cosine_content_loss_counts_what_is_gone(rng):
    array = jnp.asarray(features(rng))
    square = float(jnp.mean(jnp.square(array)))
    assert cosine_content_loss(0 * array, array) == pytest.approx(square, rel=1e-5)
    assert cosine_content_loss(-array, array) == pytest.approx(4 * square, rel=1e-5)
    # Where the content has nothing, nothing is compared.
    assert cosine_content_loss(array, 0 * array) < 1e-12


def test_gram_loss_is_the_paper_s_up_to_its_constant(rng):
    """E_l = sum (G - A)^2 / (4 N^2 M^2) with G, A sums over M pixels (eq. 4)."""
    image, style = features(rng), features(rng)
    num_pixels, num_channels = 35, 4
    literal = np.sum((gram_numpy(image) - gram_numpy(style)) ** 2 * num_pixels**2)
    literal /= 4 * num_channels**2 * num_pixels**2
    ours = gram_loss(gram_matrix(jnp.asarray(image)), gram_matrix(jnp.asarray(style)))
    assert ours / (4 * num_channels**2) == pytest.approx(literal, rel=1e-5)


def test_gram_distance_truths(rng):
    gram, target = arguments(gram_distance, rng)
    expected = gram_distance_numpy(gram, target)
    assert gram_distance(jnp.asarray(gram), jnp.asarray(target)) == pytest.approx(
        expected, rel=1e-5
    )
    assert gram_distance(jnp.asarray(target), jnp.asarray(target)) == 0
    plain = gram_distance(jnp.asarray(gram), jnp.asarray(target), smoothing=0.0)
    assert plain == pytest.approx(np.linalg.norm(gram - target), rel=1e-5)


@pytest.mark.parametrize("target", [jnp.zeros((3, 3)), jnp.eye(3)])
def test_gram_distance_has_a_gradient_at_its_target(target):
    value, gradient = jax.jit(jax.value_and_grad(gram_distance))(target, target)
    assert value == 0
    assert jnp.all(gradient == 0)


def test_total_variation_truths():
    checkerboard = jnp.indices((6, 8)).sum(0) % 2
    image = jnp.repeat(checkerboard[..., None], 3, axis=2).astype(jnp.float32)
    assert total_variation(image) == 2
    ramp = jnp.broadcast_to(jnp.linspace(0, 1, 11).reshape(1, 11, 1), (5, 11, 3))
    assert total_variation(ramp) == pytest.approx(0.01, rel=1e-5)
    assert total_variation(jnp.full((5, 11, 3), 0.3)) == 0


def test_total_variation_against_numpy_and_turned(rng):
    image = rng.random((9, 12, 3), np.float32)
    assert total_variation(jnp.asarray(image)) == pytest.approx(
        tv_numpy(image), rel=1e-5
    )
    turned = jnp.asarray(np.rot90(image).copy())
    assert total_variation(turned) == pytest.approx(tv_numpy(image), rel=1e-5)


@pytest.mark.parametrize("loss", PAIRED)
def test_jit_is_plain_is_vmap(loss, rng):
    pairs = [tuple(map(jnp.asarray, arguments(loss, rng))) for _ in range(3)]
    plain = jnp.stack([loss(*pair) for pair in pairs])
    jitted = jnp.stack([jax.jit(loss)(*pair) for pair in pairs])
    mapped = jax.vmap(loss)(*map(jnp.stack, zip(*pairs, strict=True)))
    np.testing.assert_allclose(jitted, plain, rtol=1e-6)
    np.testing.assert_allclose(mapped, plain, rtol=1e-6)


@pytest.mark.parametrize("function", [gram_matrix, total_variation_loss])
def test_jit_is_plain_is_vmap_of_one_argument(function, rng):
    batch = jnp.asarray(rng.random((2, 6, 5, 3), np.float32))
    plain = jnp.stack([function(image) for image in batch])
    np.testing.assert_allclose(jax.vmap(function)(batch), plain, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(function)(batch[0]), plain[0], rtol=1e-5)


def in_length_of(target, array):
    """The vectors of an array, as long as those of the target, in float64."""
    own, wanted = (np.linalg.norm(x.astype(float), axis=-1) for x in (array, target))
    return array * (wanted / own)[..., None]


def derivative(loss, first, second):
    """The gradient on paper, in float64."""
    difference = first.astype(np.float64) - second
    if loss is cosine_content_loss:  # the part of P across F, as F's length is free
        squares = np.sum(first.astype(np.float64) ** 2, -1, keepdims=True)
        along = np.sum(first * second, -1, keepdims=True) / squares * first
        factor = np.linalg.norm(second, axis=-1, keepdims=True) / np.sqrt(squares)
        return -2 * factor * (second - along) / first.size
    if loss is content_loss:
        return 2 * difference / first.size
    if loss is gram_loss:
        return 2 * difference
    floor = 5e-3**2 * np.sum(second.astype(np.float64) ** 2)
    return difference / np.sqrt(np.sum(difference**2) + floor)


@pytest.mark.parametrize("loss", PAIRED)
def test_gradients(loss, rng):
    first, second = arguments(loss, rng)
    found = jax.jit(jax.grad(loss))(jnp.asarray(first), jnp.asarray(second))
    expected = derivative(loss, first, second)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_gradient_of_gram_matrix_and_total_variation(rng):
    image = jnp.asarray(rng.random((5, 6, 3), np.float32))
    weights = jnp.asarray(rng.random((3, 3), np.float32))
    check_grads(
        jax.jit(lambda x: jnp.sum(weights * gram_matrix(x))),
        (image,),
        order=1,
        modes=["rev"],
    )
    check_grads(
        total_variation,
        (image,),
        order=1,
        rtol=1e-2,
        modes=["rev"],
    )


@pytest.mark.parametrize("loss", PAIRED)
def test_zero_input_is_finite(loss, rng):
    zeros = jnp.zeros_like(arguments(loss, rng)[0])
    for target in (zeros, zeros + 1):
        value, gradient = jax.jit(jax.value_and_grad(loss))(zeros, target)
        assert jnp.isfinite(value)
        assert jnp.all(jnp.isfinite(gradient))


def test_shapes_that_do_not_fit_are_named(as_installed):
    with pytest.raises(ValueError, match=r"\(5, 7, 4\).*\(5, 6, 4\).*same shape"):
        content_loss(jnp.zeros((5, 7, 4)), jnp.zeros((5, 6, 4)))
    with pytest.raises(ValueError, match=r"\(5, 7, 4\).*\(5, 6, 4\).*same shape"):
        cosine_content_loss(jnp.zeros((5, 7, 4)), jnp.zeros((5, 6, 4)))
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(3, 3\).*same shape"):
        gram_loss(jnp.zeros((4, 4)), jnp.zeros((3, 3)))
    with pytest.raises(ValueError, match="no pixels"):
        gram_matrix(jnp.zeros((0, 3, 2)))
    with pytest.raises(ValueError, match="at least 2 x 2"):
        total_variation_loss(jnp.zeros((1, 3, 3)))


def test_nothing_is_promoted(rng):
    """float32 in, float32 out, and no mixing of dtypes on the way."""
    with jax.numpy_dtype_promotion("strict"):
        for loss in PAIRED:
            pair = map(jnp.asarray, arguments(loss, rng))
            assert jax.eval_shape(loss, *pair).dtype == jnp.float32
        image = jnp.zeros((4, 4, 3))
        assert jax.eval_shape(total_variation_loss, image).dtype == jnp.float32
