"""The step of `step.py` in torch: python benchmarks/torch_step.py SIZE REPEATS."""

import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from _common import peak_memory


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


def time_steps(size, repeats, device, *, calls, dtype, is_compiled):
    """Return the seconds of a step, of each repeat of so many calls, after two."""
    torch.manual_seed(0)
    weights = [(name, kernel.to(device)) for name, kernel in make_weights()]
    wait_fn = torch.cuda.synchronize if device == "cuda" else lambda: None

    def picture():
        image = torch.rand(1, 3, size, size).to(device)
        return image.contiguous(memory_format=torch.channels_last)

    with torch.no_grad():
        content, _ = features(picture(), weights)
        _, grams = features(picture(), weights)
    image = picture().requires_grad_()
    optimizer = torch.optim.Adam([image], 0.02, betas=(0.9, 0.99))

    def loss_of(image):
        with torch.autocast(device, dtype, enabled=dtype is not None):
            found, found_grams = features(image, weights)
        loss = F.mse_loss(found.float(), content)
        for gram, target in zip(found_grams, grams, strict=True):
            loss = loss + (gram.float() - target).norm()
        return loss

    if is_compiled:
        loss_of = torch.compile(loss_of, mode="reduce-overhead")
    seconds = []
    for _ in range(repeats + 2):
        wait_fn()
        started = time.perf_counter()
        for _ in range(calls):
            optimizer.zero_grad()
            loss_of(image).backward()
            optimizer.step()
            with torch.no_grad():
                image.clamp_(0, 1)
        wait_fn()
        seconds.append((time.perf_counter() - started) / calls)
    return seconds[2:]


def measure(size, repeats, device="cpu", precision="float32", calls=1):
    """Return seconds, peak memory and versions as JSON can hold them.

    Args:
        size: of the picture, a number or its text, as is the next.
        repeats: how many steps are timed.
        device: "cpu" or "cuda".
        precision: "float32", "tf32" or "bfloat16" (autocast); with " compiled" behind
            it, the loss is compiled, with CUDA graphs.
        calls: how many steps are made before the device is waited for.
    """
    is_gpu = device == "cuda"
    precision, _, how = precision.partition(" ")
    if is_gpu and not torch.cuda.is_available():
        sys.exit("torch sees no GPU")
    torch.set_num_threads(os.cpu_count() or 1)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    seconds = time_steps(
        int(size),
        int(repeats),
        device,
        calls=int(calls),
        dtype=torch.bfloat16 if precision == "bfloat16" else None,
        is_compiled=how == "compiled",
    )
    return {
        "seconds": statistics.median(seconds) if seconds else None,
        "all": seconds,
        "peak": torch.cuda.max_memory_allocated() if is_gpu else peak_memory(),
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
