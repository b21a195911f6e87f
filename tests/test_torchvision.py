"""ResNet-50 and GoogLeNet against torchvision's own (float64, random weights)."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from references.random_weights import random_tensors

from jaxnst.networks import GOOGLENET, RESNET50, TENSORFLOW, TORCHVISION
from jaxnst.pretrained.layouts import convert, expected_shapes, recognize
from jaxnst.pretrained.loading import set_weights


HERE = Path(__file__).parent / "references"
# float32 against float64 through some fifty convolutions.
TOLERANCE = 1e-4
NETWORKS = {"resnet50": (RESNET50, TORCHVISION), "googlenet": (GOOGLENET, TENSORFLOW)}


@pytest.fixture(scope="module", params=NETWORKS)
def network_and_references(request):
    architecture, preprocessing = NETWORKS[request.param]
    network = nnx.eval_shape(
        lambda: architecture.build(
            preprocessing=preprocessing, padding="zeros", rngs=nnx.Rngs(0)
        )
    )
    tensors = random_tensors(expected_shapes(architecture, "torchvision"))
    set_weights(network, convert(architecture, "torchvision", tensors))
    return network, np.load(HERE / f"{request.param}_references.npz")


@pytest.mark.parametrize("case", ["odd", "even"])
def test_activations_and_gradient_are_those_of_torchvision(
    network_and_references, case
):
    network, references = network_and_references
    image = jnp.asarray(references[f"{case}/image"], jnp.float32) / 255

    def total(image, network):
        features = network(image)
        means = {name: jnp.mean(jnp.square(x)) for name, x in features.items()}
        loss = sum(mean / jax.lax.stop_gradient(mean) for mean in means.values())
        return loss, features

    if case == "even":  # half the time
        features = jax.jit(lambda *args: total(*args)[1])(image, network)
        gradient = None
    else:
        gradient, features = jax.jit(jax.grad(total, has_aux=True))(image, network)
    stored = {key.split("/")[1] for key in references if key.startswith(f"{case}/")}
    assert set(features) == stored - {"image", "gradient"}
    for name, activation in features.items():
        reference = f"{case}/{name}"
        found = np.asarray(activation, np.float64)
        assert found.shape == tuple(references[f"{reference}/shape"])
        scale = references[f"{reference}/rms"]
        picked = found.ravel()[references[f"{reference}/picked"]]
        error = np.abs(picked - references[f"{reference}/values"]).max() / scale
        assert error < TOLERANCE, name
        assert np.sqrt(np.mean(found**2)) == pytest.approx(scale, rel=TOLERANCE)
        assert abs(found.mean() - references[f"{reference}/mean"]) < TOLERANCE * scale
    if gradient is None:
        return
    expected = references[f"{case}/gradient"]
    # A ReLU or max pooling on the brink may go the other way in float32, so a pixel
    # here and there may differ: bound the norm, not the maximum.
    error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
    assert error < 10 * TOLERANCE


def test_names_and_shapes_are_those_of_torchvision(network_and_references):
    network, references = network_and_references
    shapes = {
        str(key): ast.literal_eval(str(shape))
        for key, shape in zip(references["keys"], references["shapes"], strict=True)
    }
    assert recognize(shapes) == (network.architecture, "torchvision")
    wanted = expected_shapes(network.architecture, "torchvision")
    assert wanted.items() <= shapes.items()
    rest = shapes.keys() - wanted.keys()
    assert {key.split(".")[0] for key in rest if "tracked" not in key} <= {
        "fc",
        "aux1",
        "aux2",
    }
