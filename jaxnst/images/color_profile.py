"""Color profiles: pictures are converted to sRGB on reading and tagged on writing."""

import functools
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage, ImageCms


# Bytes 24 to 35 of an ICC profile hold the time it was made.
_ICC_DATE = slice(24, 36)
_FIXED_DATE = bytes.fromhex("07d0 0001 0001 0000 0000 0000")  # 2000-01-01 00:00:00
# The gamma of PNG files that is that of sRGB, and how far off it may be, relatively.
_SRGB_GAMMA, _SLACK = 1 / 2.2, 0.05


@functools.cache
def srgb_profile() -> bytes:
    """Return an sRGB ICC profile whose bytes are always the same.

    Little CMS writes the current time into a profile, so two equal runs would write
    different files.
    """
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    data = bytearray(profile.tobytes())
    data[_ICC_DATE] = _FIXED_DATE
    return bytes(data)


def srgb_converter(
    info: Mapping[str, Any], label: str
) -> Callable[[PILImage.Image], PILImage.Image]:
    """Return a function that converts a picture without alpha to sRGB, mode RGB.

    It follows the embedded profile in Pillow's `info`, or else the gamma of a PNG. A
    profile that cannot be used is ignored with one warning.
    """
    profile = info.get("icc_profile")
    gamma = info.get("gamma") if not profile and "srgb" not in info else None
    curve = _gamma_curve(gamma)

    def convert(image: PILImage.Image) -> PILImage.Image:
        nonlocal profile
        if image.mode == "RGB" and profile == srgb_profile():  # nothing would change
            return image
        try:
            if profile:
                image = _in_space_of(profile, image)
            if profile or image.mode == "LAB":
                return _transform(profile, image.mode).apply(image)
        # Little CMS may raise any of these, for what is wrong with the profile.
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
            profile = None
            fault = "damaged" if isinstance(error, TypeError) else error
            warnings.warn(
                f"{label}: its color profile cannot be used ({fault}); "
                "its colors are read as sRGB.",
                stacklevel=2,
            )
        image = image.convert("RGB")
        return image if curve is None else image.point(curve * 3)

    return convert


def deep_converter(
    info: Mapping[str, Any], label: str
) -> Callable[[NDArray[np.uint16]], NDArray[np.float32]]:
    """Return a function that converts colors of 16 bits, (H, W, 3), to sRGB in [0, 1].

    As `srgb_converter` does with 8 bits; Little CMS is that of imagecodecs.
    """
    import imagecodecs

    profile = info.get("icc_profile")
    if profile == srgb_profile():  # nothing is lost
        profile = None
    gamma = info.get("gamma") if not profile and "srgb" not in info else None

    def convert(levels: NDArray[np.uint16]) -> NDArray[np.float32]:
        nonlocal profile
        if profile:
            try:
                levels = imagecodecs.cms_transform(
                    levels,
                    profile,
                    srgb_profile(),
                    colorspace="rgb",
                    outcolorspace="rgb",
                    intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
                    flags=imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION,
                )
            except (imagecodecs.CmsError, TypeError, ValueError) as error:
                profile = None
                warnings.warn(
                    f"{label}: its color profile cannot be used ({error}); "
                    "its colors are read as sRGB.",
                    stacklevel=2,
                )
        values = levels.astype(np.float32) / np.float32(65535)
        encoded = _from_gamma(values, gamma)
        return values if encoded is None else encoded

    return convert


def gray_curve(info: Mapping[str, Any], label: str) -> NDArray[np.float32]:
    """Return the sRGB colors of 256 even levels of gray, (256, 3), [0, 1].

    Pillow passes no 16-bit picture to Little CMS, so deep gray is interpolated in this
    curve.
    """
    ramp = PILImage.fromarray(np.arange(256, dtype=np.uint8)[None])
    return np.asarray(srgb_converter(info, label)(ramp), np.float32)[0] / 255


def _gamma_curve(gamma: float | None) -> list[int] | None:
    """Return the sRGB level of each of 256 levels; None if they are sRGB already."""
    encoded = _from_gamma(np.arange(256) / 255, gamma)
    return None if encoded is None else np.round(255 * encoded).astype(int).tolist()


def _from_gamma(values: np.ndarray, gamma: float | None) -> np.ndarray | None:
    """Return sRGB values for those of a gamma; None if they are sRGB already."""
    if not gamma or not 0.1 < gamma < 10 or abs(gamma / _SRGB_GAMMA - 1) < _SLACK:
        return None
    linear = values ** (1 / gamma)
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )


def _in_space_of(profile: bytes, image: PILImage.Image) -> PILImage.Image:
    """Return a gray, palette or RGB picture in the color space of a profile."""
    space = profile[16:20].strip()  # field of the ICC header
    if space == b"GRAY" and image.mode != "L":
        colors = np.reshape(image.getpalette() or [0, 1, 2], (-1, 3))
        if image.mode != "1" and np.ptp(colors, axis=1).any():
            raise ValueError("it is for gray pictures")
        return image.convert("L")
    if space == b"RGB" and image.mode in ("1", "L", "P", "RGBX"):
        return image.convert("RGB")
    return image


@functools.lru_cache(maxsize=4)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform:
    # Relative colorimetric with black point compensation is the default of browsers and
    # photo editors.
    return ImageCms.ImageCmsTransform(
        ImageCms.ImageCmsProfile(
            io.BytesIO(profile) if profile else ImageCms.createProfile("LAB")
        ),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
