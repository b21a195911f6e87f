"""Maps as colors, patches as pictures, pictures as text for a page."""

import base64
import io

import numpy as np
from PIL import Image as PILImage

from jaxnst._types import AnyHostImage
from jaxnst.images import fitted_shape, resize
from jaxnst.images.save import quantize

from .attribution import Map
from .correspondence import Link


# Dark to light through purple and orange: its lightness alone tells the order, also in
# gray print.
_STOPS = np.array(
    [
        [0.02, 0.02, 0.08],
        [0.23, 0.06, 0.44],
        [0.55, 0.16, 0.51],
        [0.87, 0.29, 0.41],
        [0.99, 0.62, 0.43],
        [0.99, 0.99, 0.75],
    ],
    np.float32,
)
# What of the picture's own lightness shows through a map, so that places are known.
_SEEN = 0.45
_QUALITY = 82


def heat(
    values: Map, image: AnyHostImage, *, low: float = 0.0, high: float | None = None
) -> AnyHostImage:
    """Return a map as colors, over the lightness of the picture that it is of.

    Args:
        values: of any resolution.
        image: the picture.
        low: what is drawn dark.
        high: what is drawn light; by default all but the highest hundredth is below.
    """
    if high is None:
        high = float(np.quantile(values, 0.99))
    part = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    shape = image.shape[:2]
    if part.shape != shape:
        part = np.clip(resize(part.astype(np.float32), shape), 0, 1)
    places = part * (len(_STOPS) - 1)
    colors = np.stack(
        [np.interp(places, np.arange(len(_STOPS)), stops) for stops in _STOPS.T], -1
    )
    gray = image.mean(-1, keepdims=True)
    return (colors * (1 - _SEEN + _SEEN * gray)).astype(np.float32)


def relative_pull(shares: Map, image: AnyHostImage) -> AnyHostImage:
    """Return a term's shares of the pulls, over their mean; light from twice it."""
    return heat(shares / max(float(shares.mean()), 1e-12), image, high=2.0)


def shrunk(image: AnyHostImage, longest: int) -> AnyHostImage:
    """Return a picture with no side longer than so many pixels; never enlarged."""
    image = np.asarray(image, np.float32)
    if max(image.shape) <= longest:
        return image
    return resize(image, fitted_shape(image.shape, longest))


def enlarged(image: AnyHostImage, longest: int) -> AnyHostImage:
    """Return a picture with a longest side of about so many pixels, in blocks."""
    factor = max(1, longest // max(image.shape))
    grown = np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)
    return np.asarray(grown, np.float32)


def crop(image: AnyHostImage, center: tuple[float, float], width: int) -> AnyHostImage:
    """Return a square of a picture; at the border it is moved inside."""
    top, left = (
        int(np.clip(round(middle - width / 2), 0, max(0, length - width)))
        for middle, length in zip(center, image.shape, strict=False)
    )
    return image[top : top + width, left : left + width]


def pair(
    link: Link,
    image: AnyHostImage,
    styles: tuple[AnyHostImage, ...],
    patch: int,
    size: int,
) -> tuple[AnyHostImage, AnyHostImage]:
    """Return a patch and where it comes from, enlarged; with as much around them."""
    here = crop(image, link.center, 2 * patch)
    there = crop(styles[link.style], link.source, 2 * patch)
    return _sized(here, size), _sized(there, size)


def _sized(image: AnyHostImage, size: int) -> AnyHostImage:
    large = to_uint8(image).resize((size, size), PILImage.Resampling.BICUBIC)
    return np.asarray(large, np.float32) / 255


def to_uint8(image: AnyHostImage) -> PILImage.Image:
    """Return a picture of 8 bits."""
    return PILImage.fromarray(quantize(np.asarray(image), None))


def data_url(image: AnyHostImage, quality: int = _QUALITY) -> str:
    """Return a picture as the address of itself: a JPEG in base64."""
    stream = io.BytesIO()
    to_uint8(image).save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
