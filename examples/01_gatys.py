"""The method of Gatys, Ecker and Bethge (CVPR 2016) on one screen.

`jaxnst.stylize(content, style, preset="gatys2016")` gives the same picture.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnst.images import load_picture, resize_picture, to_pil
from jaxnst.losses import content_loss, gram_loss, gram_matrix
from jaxnst.optimize import make_optimizer
from jaxnst.pretrained import load_network


CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
STYLE_WEIGHT = 1000.0  # beta / alpha


def paint(content, style, size=512, num_steps=200):
    """Return `content` painted in the style of `style`, both paths."""
    network = load_network("vgg19", pooling="average", padding="zeros")
    photo, painting = load_picture(content), load_picture(style)
    content_image = jnp.asarray(resize_picture(photo, size).rgb)
    # A file smaller than the result is enlarged halfway, by the root of the factor.
    style_size = min(size, (size * max(painting.rgb.shape)) ** 0.5)
    style_image = jnp.asarray(resize_picture(painting, round(style_size)).rgb)
    content_target = network(content_image, [CONTENT_LAYER])[CONTENT_LAYER]
    style_features = network(style_image, STYLE_LAYERS)
    style_targets = {name: gram_matrix(style_features[name]) for name in STYLE_LAYERS}

    def loss_fn(image, network):
        features = network(image, [CONTENT_LAYER, *STYLE_LAYERS])
        loss = content_loss(features[CONTENT_LAYER], content_target)
        loss *= content_target.size / 2  # eq. 1: half the sum, not the mean
        for name, target in style_targets.items():
            difference = gram_loss(gram_matrix(features[name]), target)
            layer_loss = difference / (4 * target.shape[0] ** 2)  # eq. 4
            loss += STYLE_WEIGHT / len(STYLE_LAYERS) * layer_loss  # eq. 5 and 7
        return loss

    # In place of the paper's L-BFGS.
    optimizer = optax.chain(make_optimizer("adam"), optax.scale(0.05))

    @jax.jit
    def step(image, opt_state, network):
        gradient = jax.grad(loss_fn)(image, network)
        update, opt_state = optimizer.update(gradient, opt_state)
        return jnp.clip(image + update, 0, 1), opt_state

    image, opt_state = content_image, optimizer.init(content_image)
    for _ in range(num_steps):
        image, opt_state = step(image, opt_state, network)
    return np.asarray(image)


if __name__ == "__main__":
    to_pil(paint(sys.argv[1], sys.argv[2])).save(sys.argv[3])
