"""Make `vgg_references.npz`: what torch computes for the tests in `test_vgg.py`.

    pip install torch==2.13.0 safetensors pillow
    python tests/references/make_vgg_references.py

torch is needed for this alone, never by the library or its tests. All is computed in
float64, so that it is the truth for float32 on any machine.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import load_file


HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DEPTHS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}
WIDTHS = (64, 128, 256, 512, 512)
NUM_SAMPLES = 256

# name: (network, pooling, rescale, padding, preprocessing, height, width)
CASES = {
    "max_zeros": ("vgg19", "max", False, "zeros", "caffe", 47, 61),
    "average_zeros": ("vgg19", "average", False, "zeros", "caffe", 50, 33),
    "max_replicate": ("vgg19", "max", False, "replicate", "caffe", 35, 49),
    "rescaled_circular": ("vgg19", "average", True, "circular", "caffe", 37, 48),
    "vgg16_torchvision": ("vgg16", "max", False, "zeros", "torchvision", 41, 35),
}


def vgg19_weights():
    tensors = load_file(ROOT / "weights" / "vgg19_oxford_8bit.safetensors")
    for block, depth in enumerate(DEPTHS["vgg19"], start=1):
        for index in range(1, depth + 1):
            name = f"conv{block}_{index}"
            kernel = tensors[f"{name}.table"][tensors[f"{name}.codes"]]
            yield name, kernel.transpose(3, 2, 0, 1), tensors[f"{name}.bias"]


def random_weights(network, seed=0):
    """He's initialization; `test_vgg.py` makes the same ones."""
    generator = np.random.default_rng(seed)
    in_width = 3
    for block, depth in enumerate(DEPTHS[network], start=1):
        for index in range(1, depth + 1):
            width = WIDTHS[block - 1]
            kernel = generator.standard_normal((3, 3, in_width, width), np.float32)
            kernel *= np.float32((2 / (9 * in_width)) ** 0.5)
            bias = generator.standard_normal(width, np.float32) * np.float32(0.1)
            yield f"conv{block}_{index}", kernel.transpose(3, 2, 0, 1), bias
            in_width = width


def preprocess(rgb, convention):
    def column(*values):
        return torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1)

    if convention == "caffe":
        return rgb.flip(1) * 255 - column(103.939, 116.779, 123.68)
    return (rgb - column(0.485, 0.456, 0.406)) / column(0.229, 0.224, 0.225)


def convolve(x, weight, bias, name, padding):
    if padding == "circular":
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), weight, bias)
    if padding == "replicate" and name == "conv1_1":
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, bias)
    return F.conv2d(x, weight, bias, padding=1)


def activations(rgb, network, pooling, rescale, padding, convention):
    weights = vgg19_weights() if network == "vgg19" else random_weights(network)
    x = preprocess(rgb, convention)
    found = {}
    block = "1"
    for name, kernel, bias in weights:
        if name[4] != block:
            block = name[4]
            if pooling == "max":
                x = F.max_pool2d(x, 2)
            else:
                x = F.avg_pool2d(x, 2) * (2 if rescale else 1)
        weight = torch.from_numpy(np.ascontiguousarray(kernel)).double()
        x = convolve(x, weight, torch.from_numpy(bias).double(), name, padding)
        found[name] = x
        x = F.relu(x)
    return found


def main():
    photo = Image.open(ROOT / "examples" / "images" / "summer_palace.jpg")
    arrays = {}
    for case, (*settings, height, width) in CASES.items():
        crop = photo.crop((120, 150, 120 + 4 * width, 150 + 4 * height))
        pixels = np.asarray(crop.resize((width, height), Image.Resampling.BOX))
        rgb = torch.from_numpy(pixels.copy()).double().permute(2, 0, 1)[None] / 255
        rgb.requires_grad_()
        found = activations(rgb, *settings)
        arrays[f"{case}/image"] = pixels
        generator = np.random.default_rng(1)
        # A scalar in which every layer has the same say.
        total = sum(
            x.square().mean() / x.detach().square().mean() for x in found.values()
        )
        total.backward()
        arrays[f"{case}/gradient"] = rgb.grad[0].permute(1, 2, 0).numpy().astype("f4")
        for name, x in found.items():
            values = x.detach()[0].permute(1, 2, 0).numpy()
            picked = generator.integers(values.size, size=NUM_SAMPLES)
            arrays[f"{case}/{name}/rms"] = np.float64(np.sqrt(np.mean(values**2)))
            arrays[f"{case}/{name}/shape"] = np.asarray(values.shape)
            arrays[f"{case}/{name}/picked"] = picked.astype(np.int32)
            arrays[f"{case}/{name}/values"] = values.ravel()[picked].astype("f4")
    np.savez_compressed(HERE / "vgg_references.npz", **arrays)


if __name__ == "__main__":
    main()
