"""Winograd's convolution against the direct sum in float64, and its adjoint."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from flax import nnx

from jaxnst.networks import Convolution, convolution
from jaxnst.networks.convolution import transform_kernel, winograd_convolution
from jaxnst.pretrained import load_network


# Of the largest value; float32 against float64.
TOLERANCE = 1e-4


def directly(x, kernel):
    """The definition in float64: a sum over the kernel, zeros beyond the border."""
    height, width, _ = x.shape
    padded = np.pad(x.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    parts = [
        padded[i : i + height, j : j + width] @ kernel[i, j].astype(np.float64)
        for i in range(3)
        for j in range(3)
    ]
    return np.sum(parts, axis=0)


def adjoint(y, kernel):
    """Its adjoint, also in float64: the kernel turned round, channels exchanged."""
    return directly(y, kernel[::-1, ::-1].swapaxes(2, 3))


def assert_near(found, expected):
    scale = np.abs(expected).max()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found / scale, expected / scale, atol=TOLERANCE)


def problem(rng, height, width, in_width, out_width):
    x = rng.standard_normal((height, width, in_width), np.float32)
    kernel = rng.standard_normal((3, 3, in_width, out_width), np.float32)
    y = rng.standard_normal((height, width, out_width), np.float32)
    return x, kernel, y


@jax.jit
def pull(x, points, y):
    """Return the convolution and what its gradient makes of `y`."""
    value, pull_fn = jax.vjp(winograd_convolution, x, points)
    return value, *pull_fn(y)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 5, 7),
        (1, 6, 2, 1),
        (3, 5, 5, 7),
        (4, 4, 3, 3),
        (17, 9, 7, 5),
        (8, 12, 1, 4),
        (6, 5, 128, 128),
    ],
)
def test_winograd_is_the_direct_sum_and_its_gradient_the_adjoint(rng, shape):
    x, kernel, y = problem(rng, *shape)
    points = transform_kernel(jnp.asarray(kernel))
    value, to_x, _ = pull(x, points, y)
    assert_near(value, directly(x, kernel))
    assert_near(to_x, adjoint(y, kernel))
    # <y, conv(x)> = <conv^T(y), x>, in the numbers that were computed.
    there = np.vdot(y.astype(np.float64), np.asarray(value, np.float64))
    back = np.vdot(np.asarray(to_x, np.float64), x.astype(np.float64))
    size = np.linalg.norm(y) * np.linalg.norm(np.asarray(value))
    assert abs(there - back) < 1e-6 * size


def test_gradient_of_the_transformed_kernel(rng):
    x, kernel, y = problem(rng, 7, 6, 3, 4)
    points = np.asarray(transform_kernel(jnp.asarray(kernel)))
    _, _, to_points = pull(x, points, y)
    # The result is linear in the points, so each value of the gradient is a product
    # with what that point alone gives.
    for index in [(0, 0, 0), (7, 2, 1), (20, 1, 3), (35, 0, 2)]:
        one = np.zeros_like(points)
        one[index] = 1
        alone, _, _ = pull(x, one, y)
        expected = np.vdot(y, np.asarray(alone))
        scale = np.abs(np.asarray(to_points)).max()
        assert abs(float(to_points[index]) - expected) < TOLERANCE * scale
    # All of them at once: what the gradient says of a change of the kernel itself.
    change = rng.standard_normal(kernel.shape, np.float32)
    changed = np.asarray(transform_kernel(jnp.asarray(change)))
    said = np.vdot(np.asarray(to_points, np.float64), changed.astype(np.float64))
    size = np.linalg.norm(y) * np.linalg.norm(directly(x, change))
    assert abs(said - np.vdot(y, directly(x, change))) < 1e-5 * size


def test_under_vmap_and_jit(rng):
    x, kernel, _ = problem(rng, 5, 9, 3, 2)
    points = transform_kernel(jnp.asarray(kernel))
    batch = np.stack([x, -2 * x, x[::-1]])
    together = jax.jit(jax.vmap(winograd_convolution, in_axes=(0, None)))(batch, points)
    for found, one in zip(together, batch, strict=True):
        assert_near(found, directly(one, kernel))

    def loss(x):
        return jnp.sum(jnp.square(winograd_convolution(x, points)))

    gradients = jax.jit(jax.vmap(jax.grad(loss)))(batch)
    for found, one in zip(gradients, batch, strict=True):
        assert_near(found, 2 * adjoint(directly(one, kernel), kernel))


@pytest.mark.parametrize("border", ["zeros", "circular", "none"])
@pytest.mark.parametrize("method", ["xla", "winograd"])
def test_borders(rng, border, method):
    x, kernel, _ = problem(rng, 7, 6, 5, 4)
    bias = rng.standard_normal(4, np.float32)
    convolution = Convolution(5, 4, method=method, rngs=nnx.Rngs(0))
    assert convolution.is_winograd == (method == "winograd")
    convolution.set_weights(kernel, bias)
    if border == "circular":
        wrapped = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="wrap")
        expected = directly(wrapped, kernel)[1:-1, 1:-1]
    elif border == "none":
        expected = directly(x, kernel)[1:-1, 1:-1]
    else:
        expected = directly(x, kernel)
    x = jnp.asarray(x)[None]
    found = convolution(x, vertical=border, horizontal=border)[0]
    assert_near(found, expected + bias.reshape(1, 1, 4))


@pytest.mark.parametrize("method", ["xla", "winograd"])
def test_a_border_may_go_around_one_way_only(rng, method):
    x, kernel, _ = problem(rng, 7, 6, 5, 4)
    convolution = Convolution(5, 4, method=method, rngs=nnx.Rngs(0))
    convolution.set_weights(kernel, np.zeros(4, np.float32))
    wrapped = np.pad(x, ((0, 0), (1, 1), (0, 0)), mode="wrap")
    expected = directly(wrapped, kernel)[:, 1:-1]
    x = jnp.asarray(x)[None]
    found = convolution(x, vertical="zeros", horizontal="circular")[0]
    assert_near(found, expected)
    with pytest.raises(AssertionError):
        assert_near(
            convolution(x, vertical="circular", horizontal="zeros")[0], expected
        )


def test_random_weights_are_the_same_either_way():
    x = jnp.asarray(picture(9, 6))[None, ..., :1].repeat(4, axis=3)
    found = [
        Convolution(4, 6, method=method, rngs=nnx.Rngs(3))(x)
        for method in ("xla", "winograd")
    ]
    assert_near(found[0], np.asarray(found[1]))


def test_auto_is_winograd_on_a_cpu_where_there_are_many_channels(monkeypatch):
    def is_winograd(*widths):
        return Convolution(*widths, rngs=nnx.Rngs(0)).is_winograd

    devices = iter(["cpu"] * 3 + ["gpu"])
    monkeypatch.setattr(
        convolution, "default_device", lambda: SimpleNamespace(platform=next(devices))
    )
    assert is_winograd(128, 128)
    assert not is_winograd(64, 128)
    assert not is_winograd(3, 64)
    assert not is_winograd(128, 128)


@pytest.mark.parametrize("built_on", ["cpu", "gpu"])
def test_a_convolution_suits_the_device_that_runs_it(built_on, monkeypatch, rng):
    """Made on one kind of device and run on the other, it has the same weights."""
    monkeypatch.setattr(
        convolution, "default_device", lambda: SimpleNamespace(platform=built_on)
    )
    monkeypatch.setattr(convolution, "_MIN_WIDTH", 4)
    made = Convolution(4, 6, precision="float32", rngs=nnx.Rngs(3))
    x = jnp.asarray(rng.standard_normal((1, 9, 6, 4)), jnp.float32)
    assert made.is_winograd == (built_on == "cpu")
    before = np.asarray(made(x))
    other = SimpleNamespace(platform="gpu" if built_on == "cpu" else "cpu")
    made.fit(other, "float32")
    assert made.is_winograd == (built_on == "gpu")
    assert_near(np.asarray(made(x)), before)


def test_vgg19_agrees_layer_by_layer():
    image = jnp.asarray(picture(48, 44))
    found = {}
    for conv in ("xla", "winograd"):
        network = load_network("vgg19", conv=conv)
        names = [x for x in network.layer_names if x.startswith("conv")]
        tells = [getattr(network, name).is_winograd for name in names]
        assert tells == [conv == "winograd" and name != "conv1_1" for name in names]

        # Zeros, added where a layer is: their gradient is that of the layer.
        @jax.jit
        def run(image, network, names=tuple(names)):
            def loss(image, shifts):
                x, total, features = network.prepare(image), 0.0, {}
                for layer in network.architecture:
                    x = network.apply_layer(layer, x)
                    if layer.name in names:
                        x = x + shifts[layer.name]
                        features[layer.name] = x
                        total += jnp.sqrt(jnp.mean(jnp.square(x)))
                return total, features

            _, shapes = jax.eval_shape(loss, image, dict.fromkeys(names, 0.0))
            shifts = {name: jnp.zeros(x.shape) for name, x in shapes.items()}
            grad_fn = jax.grad(loss, argnums=(0, 1), has_aux=True)
            return grad_fn(image, shifts)

        (to_image, to_layers), features = run(image, network)
        found[conv] = {"image": to_image, **to_layers}, features
    (gradients, features), (expected, activations) = found["winograd"], found["xla"]
    for name, value in activations.items():
        difference = np.abs(features[name] - value).max()
        assert difference < TOLERANCE * np.abs(value).max(), name
    for name, value in expected.items():
        # Where two values of a window or a value and zero are equal but for rounding,
        # it decides which of them gets the gradient: few do, and nothing else changes.
        difference = np.abs(gradients[name] - value)
        moved = difference > TOLERANCE * np.abs(value).max()
        assert moved.mean() < 0.02, name
        assert np.linalg.norm(difference) < 0.01 * np.linalg.norm(value), name
