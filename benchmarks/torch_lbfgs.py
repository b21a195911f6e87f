"""The reference of `time_to_quality.py`: torch's L-BFGS on jaxnst's objective.

python benchmarks/torch_lbfgs.py PROBLEM.npz ANSWER.npz

As the classic scripts do it: one size, from the content picture, `torch.optim.LBFGS`
with one evaluation per step and no line search, pixels clipped before each evaluation:
left free, they go far beyond [0, 1], as contrasts cost no content. The problem says
everything else: pictures, weights of the network, settings.
"""

import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F


BLOCKS, MARGIN, SMOOTHING, FLOOR = (2, 2, 4, 4, 4), 8, 5e-3, 0.05
SHORTEST, NOTHING = 0.1, 1e-20


def features(image, weights, settings, wanted):
    mean = torch.tensor(settings["mean"]).reshape(1, 3, 1, 1)
    std = torch.tensor(settings["std"]).reshape(1, 3, 1, 1)
    x = (image * settings["scale"] - mean) / std
    if settings["channel_order"] == "BGR":
        x = x.flip(1)
    padding = settings["padding"]
    if padding == "reflect":
        x = F.pad(x, (MARGIN,) * 4, mode="reflect")
    # The picture itself lies as torch.optim.LBFGS wants it, the rest as is fastest.
    x = x.contiguous(memory_format=torch.channels_last)
    found = {}
    for block, depth in enumerate(BLOCKS, start=1):
        for index in range(1, depth + 1):
            name = f"conv{block}_{index}"
            one = (1, 1, 1, 1)
            if padding == "circular" or (padding == "replicate" and name == "conv1_1"):
                x = F.conv2d(F.pad(x, one, mode=padding), *weights[name])
            else:
                x = F.conv2d(x, *weights[name], padding=1)
            if name in wanted:
                found[name] = x
            x = F.relu(x)
            if f"relu{block}_{index}" in wanted:
                found[f"relu{block}_{index}"] = x
            if len(found) == len(wanted):
                return found
        pool = F.max_pool2d if settings["pooling"] == "max" else F.avg_pool2d
        x = pool(x, 2)
        if f"pool{block}" in wanted:
            found[f"pool{block}"] = x
    return found


def gram(x):
    flat = x.flatten(2)[0]
    return flat @ flat.T / flat.shape[1]


def content_loss(x, target):
    """Return the mean squared difference, `x` made as long at each place."""
    square = x.square().sum(1, keepdim=True)
    aim = target.square().sum(1, keepdim=True)
    longer = torch.maximum(square, SHORTEST**2 * aim)
    factor = torch.sqrt(aim) / torch.sqrt(longer + NOTHING)
    return F.mse_loss(factor * x, target)


class Objective:
    """`jaxnst.objective.perceptual_loss`, normalization "pair"."""

    def __init__(self, content, style, weights, settings):
        self.weights, self.settings = weights, settings
        self.content_layers = settings["content_layers"]
        self.style_layers = settings["style_layers"]
        self.wanted = {*self.content_layers, *self.style_layers}
        with torch.no_grad():
            photo = features(content, weights, settings, self.wanted)
            painting = features(style, weights, settings, set(self.style_layers))
        self.content = {name: photo[name] for name in self.content_layers}
        self.style = {name: gram(painting[name]) for name in self.style_layers}
        self.style_scale = {
            name: torch.sqrt(
                (gram(photo[name]) - target).square().sum()
                + target.square().sum() * FLOOR**2
            )
            for name, target in self.style.items()
        }

    def measure(self, image):
        found = features(image, self.weights, self.settings, self.wanted)
        content = style = 0.0
        for name, weight in self.content_layers.items():
            target = self.content[name]
            loss = content_loss(found[name], target) / target.square().mean()
            content = content + weight * loss
        for name, weight in self.style_layers.items():
            target = self.style[name]
            eps = target.square().sum() * SMOOTHING**2
            distance = torch.sqrt((gram(found[name]) - target).square().sum() + eps)
            style = style + weight * (distance - eps.sqrt()) / self.style_scale[name]
        content = content / sum(self.content_layers.values())
        style = style / sum(self.style_layers.values())
        tv = (image[:, :, 1:] - image[:, :, :-1]).square().mean()
        tv = tv + (image[..., 1:] - image[..., :-1]).square().mean()
        return (
            self.settings["content_weight"] * content
            + self.settings["style_weight"] * style
            + self.settings["tv_weight"] * tv
        )


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))[None]


def main():
    problem = dict(np.load(sys.argv[1]))
    settings = json.loads(str(problem["settings"]))
    torch.set_num_threads(os.cpu_count() or 1)
    weights = {}
    for name in {key.split("/")[0] for key in problem if "/" in key}:
        kernel = torch.from_numpy(
            problem[f"{name}/kernel"].transpose(3, 2, 0, 1).copy()
        )
        weights[name] = (
            kernel.contiguous(memory_format=torch.channels_last),
            torch.from_numpy(problem[f"{name}/bias"]),
        )
    content, style = tensor(problem["content"]), tensor(problem["style"])
    started = time.perf_counter()
    objective = Objective(content, style, weights, settings)
    image = content.clone()
    image.requires_grad_()
    # The classic scripts' losses are of this size: sums, or means times large weights.
    # On the bare mean the first step, of length 1 / |gradient|_1, would be 1 all over,
    # and later ones lost in the stopping tolerances, which are off here.
    scale = image.shape[2] * image.shape[3]
    optimizer = torch.optim.LBFGS(
        [image],
        lr=1.0,
        max_iter=1,
        max_eval=1,
        history_size=100,
        tolerance_grad=-1,
        tolerance_change=-1,
    )
    losses, seconds = [], []

    def closure():
        with torch.no_grad():
            image.clamp_(0, 1)
        optimizer.zero_grad()
        loss = scale * objective.measure(image)
        loss.backward()
        losses.append(loss.item() / scale)
        return loss

    for _ in range(settings["reference_steps"]):
        optimizer.step(closure)
        seconds.append(time.perf_counter() - started)
    with torch.no_grad():
        result = image.clamp(0, 1)
        final = objective.measure(result).item()
    np.savez(
        sys.argv[2],
        image=result[0].permute(1, 2, 0).numpy(),
        losses=losses,
        seconds=seconds,
        final=final,
        version=torch.__version__,
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
