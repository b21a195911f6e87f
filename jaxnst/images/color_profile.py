"""Color profiles: pictures are converted to sRGB on reading and tagged on writing."""

import functools
import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage, ImageCms


# Bytes 24 to 35 of an ICC profile hold the time it was made.
_ICC_DATE = slice(24, 36)
_FIXED_DATE = bytes.fromhex("07d0 0001 0001 0000 0000 0000")  # 2000-01-01 00:00:00


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


def to_srgb(image: PILImage.Image, label: str) -> PILImage.Image:
    """Return a picture converted to sRGB by its embedded profile, if it has one.

    A profile that cannot be used is ignored with a warning.

    Args:
        image: picture without alpha.
        label: name of the picture in the warning.
    """
    data = image.info.get("icc_profile")
    if not data:
        if image.mode == "LAB":
            return _transform(image, ImageCms.createProfile("LAB"))
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        return _transform(_in_space_of(data, image), profile)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warnings.warn(
            f"{label}: its color profile cannot be used ({error}); "
            "its colors are read as sRGB.",
            stacklevel=2,
        )
        return image


def gray_curve(image: PILImage.Image, label: str) -> NDArray[np.float32]:
    """Return the sRGB colors of 256 even levels of gray, (256, 3), [0, 1].

    Pillow passes no 16-bit picture to Little CMS, so deep gray is interpolated in this
    curve.

    Args:
        image: picture with the profile.
        label: name of the picture in a warning.
    """
    ramp = PILImage.fromarray(np.arange(256, dtype=np.uint8)[None])
    ramp.info["icc_profile"] = image.info.get("icc_profile")
    return np.asarray(to_srgb(ramp, label).convert("RGB"), np.float32)[0] / 255


def _in_space_of(profile: bytes, image: PILImage.Image) -> PILImage.Image:
    """Return a gray, palette or RGB picture in the color space of a profile."""
    space = profile[16:20].strip()  # field of the ICC header
    if space == b"GRAY" and image.mode != "L":
        return image.convert("L")
    if space == b"RGB" and image.mode in ("1", "L", "P", "RGBX"):
        return image.convert("RGB")
    return image


def _transform(image: PILImage.Image, profile) -> PILImage.Image:
    # Relative colorimetric with black point compensation is the default of browsers and
    # photo editors.
    converted = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if converted is None:
        raise ValueError("the color transform gave no picture")
    return converted
