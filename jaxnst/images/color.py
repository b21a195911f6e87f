"""Color profiles: whatever a file holds becomes sRGB, and sRGB is what is written."""

import functools
import io
import warnings

from PIL import Image as PILImage, ImageCms


# Bytes 24 to 35 of an ICC profile hold the time it was made.
_ICC_DATE = slice(24, 36)
_FIXED_DATE = bytes.fromhex("07d0 0001 0001 0000 0000 0000")  # 2000-01-01 00:00:00


@functools.cache
def srgb_profile() -> bytes:
    """Return an sRGB ICC profile that is the same bytes at any time.

    Little CMS stamps the current time into it, which would make two equal runs write
    different files.
    """
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    data = bytearray(profile.tobytes())
    data[_ICC_DATE] = _FIXED_DATE
    return bytes(data)


def to_srgb(image: PILImage.Image, label: str) -> PILImage.Image:
    """Convert to sRGB through the embedded profile, if there is one.

    A profile that cannot be used is left aside with a warning: the picture is still
    worth painting. Alpha is dropped where a profile was applied.
    """
    data = image.info.get("icc_profile")
    if not data:
        if image.mode == "LAB":
            return _transform(image, ImageCms.createProfile("LAB"))
        return image
    if image.mode in ("P", "1", "PA"):
        image = image.convert("RGB")
    elif image.mode in ("LA", "La"):
        image = image.convert("L")
    elif image.mode in ("RGBA", "RGBa", "RGBX"):
        image = image.convert("RGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        color_space = data[16:20].strip()  # of the ICC header
        if color_space == b"GRAY" and image.mode == "RGB":
            image = image.convert("L")
        return _transform(image, profile)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warnings.warn(
            f"{label}: its color profile cannot be used ({error}); "
            "its colors are read as sRGB.",
            stacklevel=2,
        )
        return image


def _transform(image: PILImage.Image, profile) -> PILImage.Image:
    # Relative colorimetric with black point compensation: what browsers and photo
    # editors use by default.
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
