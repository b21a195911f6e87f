"""Make `resnet50_references.npz` and `googlenet_references.npz`: what torchvision's
networks compute, for the tests in `test_torchvision.py`.

    pip install torch==2.14.1 torchvision==0.29.1 pillow
    python tests/references/make_torchvision_references.py

torch is needed for this alone, never by the library or its tests. Weights are random,
made alike there and here; all is computed in float64, so that it is the truth for
float32 on any machine.
"""

from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from random_weights import random_tensor


HERE = Path(__file__).parent
PHOTO = HERE.parent.parent / "examples" / "images" / "summer_palace.jpg"
NUM_SAMPLES = 128
# name: (height, width)
SIZES = {"odd": (97, 75), "even": (64, 48)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resnet50():
    network = torchvision.models.resnet50(weights=None)
    names = {"relu": "relu1", "maxpool": "pool1"}
    for name, _ in network.named_modules():
        if name.count(".") == 1 and name.startswith("layer"):
            names[name] = name
    return network, names


def googlenet():
    network = torchvision.models.googlenet(
        weights=None, transform_input=True, init_weights=False, aux_logits=True
    )
    names = {name: name for name in ("conv1", "conv2", "conv3")}
    names |= {f"maxpool{k}": f"pool{k}" for k in (1, 2, 3, 4)}
    for name, _ in network.named_modules():
        if name.startswith("inception") and name.count(".") <= 1:
            names[name] = name
    return network, names


def run(network, names, rgb):
    """Return {our name: activation}, and the gradient of a scalar they all go into."""
    found = {}
    hooks = [
        module.register_forward_hook(
            lambda _, __, output, name=name: found.setdefault(names[name], output)
        )
        for name, module in network.named_modules()
        if name in names
    ]
    # In-place ReLUs would overwrite what a hook has seen.
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    mean = torch.tensor(MEAN, dtype=torch.float64).view(1, 3, 1, 1)
    std = torch.tensor(STD, dtype=torch.float64).view(1, 3, 1, 1)
    network((rgb - mean) / std)
    for hook in hooks:
        hook.remove()
    total = sum(x.square().mean() / x.detach().square().mean() for x in found.values())
    total.backward()
    return found


def main():
    photo = Image.open(PHOTO)
    for make_fn in (resnet50, googlenet):
        network, names = make_fn()
        state = network.state_dict()
        for key, tensor in state.items():
            if tensor.ndim:
                tensor.copy_(torch.from_numpy(random_tensor(key, tuple(tensor.shape))))
        network.load_state_dict(state)
        network.double().eval()
        arrays = {
            "keys": np.asarray(list(state)),
            "shapes": np.asarray([str(tuple(x.shape)) for x in state.values()]),
        }
        for case, (height, width) in SIZES.items():
            crop = photo.crop((120, 150, 120 + 4 * width, 150 + 4 * height))
            pixels = np.asarray(crop.resize((width, height), Image.Resampling.BOX))
            rgb = torch.from_numpy(pixels.copy()).double().permute(2, 0, 1)[None] / 255
            rgb.requires_grad_()
            found = run(network, names, rgb)
            arrays[f"{case}/image"] = pixels
            arrays[f"{case}/gradient"] = (
                rgb.grad[0].permute(1, 2, 0).numpy().astype("f4")
            )
            generator = np.random.default_rng(1)
            for name, x in found.items():
                values = x.detach()[0].permute(1, 2, 0).numpy()
                picked = generator.integers(values.size, size=NUM_SAMPLES)
                arrays[f"{case}/{name}/rms"] = np.float64(np.sqrt(np.mean(values**2)))
                arrays[f"{case}/{name}/mean"] = np.float64(values.mean())
                arrays[f"{case}/{name}/shape"] = np.asarray(values.shape)
                arrays[f"{case}/{name}/picked"] = picked.astype(np.int32)
                arrays[f"{case}/{name}/values"] = values.ravel()[picked].astype("f4")
                print(case, name, values.shape, float(arrays[f"{case}/{name}/rms"]))
        np.savez_compressed(HERE / f"{make_fn.__name__}_references.npz", **arrays)


if __name__ == "__main__":
    main()
