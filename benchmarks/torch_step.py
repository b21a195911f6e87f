"""The step of `step.py` in torch: python benchmarks/torch_step.py SIZE REPEATS."""

import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F


DEPTHS, WIDTHS = (2, 2, 4, 4, 1), (64, 128, 256, 512, 512)


def make_weights():
    in_width = 3
    for block, depth in enumerate(DEPTHS, start=1):
        for index in range(1, depth + 1):
            width = WIDTHS[block - 1]
            kernel = torch.randn(width, in_width, 3, 3) * (2 / (9 * in_width)) ** 0.5
            yield (block, index), kernel.contiguous(memory_format=torch.channels_last)
            in_width = width


def features(image, weights):
    x, grams, content = image, [], None
    for (block, index), kernel in weights:
        if index == 1 and block > 1:
            x = F.max_pool2d(x, 2)
        x = F.relu(F.conv2d(x, kernel, padding=1))
        if index == 1:
            flat = x.flatten(2)[0]
            grams.append(flat @ flat.T / flat.shape[1])
        if (block, index) == (4, 2):
            content = x
    return content, grams


def main():
    size, repeats = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    weights = list(make_weights())
    with torch.no_grad():
        content, _ = features(torch.rand(1, 3, size, size), weights)
        _, grams = features(torch.rand(1, 3, size, size), weights)
    image = torch.rand(1, 3, size, size).contiguous(memory_format=torch.channels_last)
    image.requires_grad_()
    optimizer = torch.optim.Adam([image], 0.02, betas=(0.9, 0.99))
    seconds = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        optimizer.zero_grad()
        found, found_grams = features(image, weights)
        loss = F.mse_loss(found, content)
        for gram, target in zip(found_grams, grams, strict=True):
            loss = loss + (gram - target).norm()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1)
        seconds.append(time.perf_counter() - started)
    print(statistics.median(seconds[2:]))


if __name__ == "__main__":
    main()
