"""LPIPS, all metrics of one picture, and their table."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnst._types import (
    FeatureMap,
    Features,
    HostImage,
    HostStyleImage,
    Image,
    Scalar,
    StyleImage,
)
from jaxnst.images import PictureSource, fitted_shape, load_picture, resize
from jaxnst.images.load import MIN_SIDE
from jaxnst.networks import LPIPSNetwork
from jaxnst.pretrained import load_lpips_network

from .artifacts import detail_ratio
from .gaps import bures_gap, gram_gap, palette_gap, wasserstein_gap


_MAX_ASPECT_DIFFERENCE = 0.02


class Metrics(NamedTuple):
    """How good a picture is; the content picture itself has lpips 0 and gaps 1.

    Attributes:
        lpips: perceptual distance to the content; 0 for the same picture, 0.7 for one
            in which the content cannot be recognized.
        gram_gap: distance from the style that is left, by Gram matrices; 0 for the
            style, 1 for the content picture.
        wasserstein_gap: distance from the style that is left, by the distribution of
            the features.
        bures_gap: distance from the style that is left, by means and covariances of the
            features.
        palette_gap: distance from the style that is left, by colors alone.
        style_detail: high-frequency energy over that of the style picture.
        content_detail: high-frequency energy over that of the content picture.
    """

    lpips: float | Scalar
    gram_gap: float | Scalar
    wasserstein_gap: float | Scalar
    bures_gap: float | Scalar
    palette_gap: float | Scalar
    style_detail: float | Scalar
    content_detail: float | Scalar


def measure(
    image: "PictureSource",
    content: "PictureSource",
    style: "PictureSource",
    *,
    judge: LPIPSNetwork | None = None,
) -> Metrics:
    """Return the metrics of a stylized picture, whatever program made it.

    The content picture is resized to the size of `image`; the style picture so that its
    longest side is that of `image`, or its own if that is less, as `stylize` does by
    default. Transparency is ignored.

    Args:
        image: stylized picture: a path, a PIL image or an array.
        content: content picture: a path, a PIL image or an array.
        style: style picture: a path, a PIL image or an array.
        judge: result of `load_lpips_network`; None loads it.

    Returns:
        The metrics as Python floats.

    Raises:
        ValueError, TypeError, OSError: if `load_picture` raises them, or if the aspect
            of `image` differs from that of `content` by more than 2 % (and more than a
            pixel).

    Examples:
        >>> photo = np.random.default_rng(0).random((64, 64, 3))
        >>> measure(photo, photo, np.zeros((64, 64, 3))).gram_gap
        1.0
    """
    picture = load_picture(image, argument="image").rgb
    shape = (picture.shape[0], picture.shape[1])
    photo = load_picture(content, argument="content").rgb
    painting = load_picture(style, argument="style").rgb
    pictures = picture, _content_at(photo, shape), _style_at(painting, shape)
    judge = load_lpips_network() if judge is None else judge
    found = compiled_metrics(judge, *map(jnp.asarray, pictures))
    return Metrics(*map(float, jax.device_get(found)))


def compute_metrics(
    judge: LPIPSNetwork, image: Image, content: Image, style: StyleImage
) -> Metrics:
    """Return the metrics of a picture as JAX scalars; works in `jax.jit`.

    Args:
        judge: AlexNet and its heads.
        image: stylized picture, sRGB, [0, 1].
        content: content picture, sRGB, [0, 1], of the same size.
        style: style picture, sRGB, [0, 1], of any size.

    Raises:
        ValueError: if `image` and `content` differ in shape, or a side of any picture
            is shorter than 31 pixels.
    """
    _check_same_shape(image, content, "content")
    of_image, of_content = judge.network(image), judge.network(content)
    of_style = judge.network(style)
    return Metrics(
        lpips=_lpips_of_features(judge, of_image, of_content),
        gram_gap=gram_gap(of_image, of_content, of_style),
        wasserstein_gap=wasserstein_gap(of_image, of_content, of_style),
        bures_gap=bures_gap(of_image, of_content, of_style),
        palette_gap=palette_gap(image, content, style),
        style_detail=detail_ratio(image, style),
        content_detail=detail_ratio(image, content),
    )


# Made once, so that every pair of sizes compiles only once.
compiled_metrics = jax.jit(compute_metrics)


def lpips(judge: LPIPSNetwork, image: Image, reference: Image) -> Scalar:
    r"""Return the LPIPS distance of two pictures.

    $$ \sum_l \frac{1}{H_l W_l} \sum_{hwc} w_{lc} (\hat F_{lhwc} - \hat P_{lhwc})^2 $$

    where the features of every pixel are scaled to length 1.

    Args:
        judge: AlexNet and its heads.
        image: RGB, [0, 1].
        reference: RGB, [0, 1].

    Returns:
        0 for equal pictures, about 0.1 for a visible change, 0.7 for a total one.

    Raises:
        ValueError: if the shapes of the pictures differ, or a side is shorter than 31
            pixels.

    References:
        Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep
        Features as a Perceptual Metric", CVPR 2018, eq. 1; version 0.1, AlexNet.
    """
    _check_same_shape(image, reference, "reference")
    return _lpips_of_features(judge, judge.network(image), judge.network(reference))


def _lpips_of_features(
    judge: LPIPSNetwork, features: Features, reference: Features
) -> Scalar:
    """Return the LPIPS distance of two pictures from their features."""
    distance = jnp.float32(0)
    for name, head in judge.heads.items():
        squared = jnp.square(
            _unit_length(features[name]) - _unit_length(reference[name])
        )
        distance = distance + jnp.sum(jnp.mean(squared, axis=(0, 1)) * head)
    return distance


def _unit_length(features: FeatureMap) -> FeatureMap:
    norm = jnp.sqrt(jnp.sum(jnp.square(features), axis=-1, keepdims=True))
    return features / (norm + 1e-10)  # as in LPIPS's own code


def _check_same_shape(image: Image, other: Image, name: str) -> None:
    if image.shape != other.shape:
        raise ValueError(
            f"`image` {image.shape} and `{name}` {other.shape} must have the same "
            "shape."
        )


def _content_at(content: HostImage, shape: tuple[int, int]) -> np.ndarray:
    fitted = fitted_shape(content.shape, max(shape))
    for found, expected in zip(shape, fitted, strict=True):
        if abs(found - expected) > max(1, _MAX_ASPECT_DIFFERENCE * expected):
            raise ValueError(
                f"`image` is {shape[1]} x {shape[0]} px, but the content picture "
                f"({content.shape[1]} x {content.shape[0]} px) would be "
                f"{fitted[1]} x {fitted[0]} px at that size; their aspects may differ "
                f"by {_MAX_ASPECT_DIFFERENCE:.0%}. Crop one of them."
            )
    return resize(content, shape)


def _style_at(style: HostStyleImage, shape: tuple[int, int]) -> np.ndarray:
    longest = min(max(shape), max(style.shape))
    # At least so large that something is left at the deepest layers.
    smallest = MIN_SIDE * max(style.shape[:2]) / min(style.shape[:2])
    return resize(style, fitted_shape(style.shape, round(max(longest, smallest))))


_HEADINGS = {
    "lpips": "lpips",
    "gram_gap": "gram",
    "wasserstein_gap": "wasserstein",
    "bures_gap": "bures",
    "palette_gap": "palette",
    "style_detail": "detail/s",
    "content_detail": "detail/c",
}
LEGEND = """\
lpips      distance from the content as people see it; 0: the same
gram, wasserstein, bures, palette
           style still to be reached; 0: reached, 1: as far as the content picture
detail/s, detail/c
           fine detail over that of style and content; << 1: blurred, >> 1: noisy"""


def format_table(rows: Mapping[str, Metrics]) -> str:
    """Return {name of a picture: its metrics} as a table, with a line of headings."""
    width = max(map(len, rows), default=0)
    lines = [" " * width + "".join(f"{text:>12}" for text in _HEADINGS.values())]
    for name, metrics in rows.items():
        cells = [f"{float(getattr(metrics, field)):12.3f}" for field in _HEADINGS]
        lines.append(f"{name:{width}}" + "".join(cells))
    return "\n".join(lines)
