"""The record of how a picture was made, inside the picture's file.

PNG holds it as text under the key `jaxnst`; JPEG, WebP and TIFF hold it in the
EXIF/TIFF tag ImageDescription. It is JSON, in ASCII.
"""

import json
import os
import warnings
from typing import Any

from PIL import ExifTags, Image as PILImage, PngImagePlugin


# What Pillow may try. A list of our own, because some of its other readers start
# programs (EPS starts Ghostscript) or are seldom fuzzed.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000")
TEXT_KEY = "jaxnst"


def encode_record(record: dict[str, Any]) -> str:
    """Return a record as the text that files hold."""
    return json.dumps({TEXT_KEY: record}, separators=(",", ":"))


def png_text(text: str) -> PngImagePlugin.PngInfo:
    """Return the PNG text chunk that holds `text`."""
    info = PngImagePlugin.PngInfo()
    info.add_text(TEXT_KEY, text)
    return info


def exif(text: str, software: str) -> PILImage.Exif:
    """Return the EXIF block of a file that holds a record and names the program."""
    block = PILImage.Exif()
    block[ExifTags.Base.ImageDescription] = text
    block[ExifTags.Base.Software] = software
    return block


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the record that `Result.save` wrote into a picture.

    Args:
        path: picture file.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is no picture or holds no record.
    """
    name = os.fspath(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PILImage.open(path, formats=FORMATS) as image:
                text = getattr(image, "text", {}).get(TEXT_KEY)
                text = text or image.getexif().get(ExifTags.Base.ImageDescription, "")
        record = json.loads(text)[TEXT_KEY]
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {name}") from None
    except IsADirectoryError:
        raise ValueError(f"{name} is a folder, not a picture.") from None
    except PILImage.UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture that can be read.") from None
    # As in `load_picture`: Pillow raises almost any exception on damaged files.
    except Exception:
        record = None
    if not isinstance(record, dict):
        raise ValueError(
            f"{name} holds no jaxnst record; only pictures saved by jaxnst do, and "
            "editors and messengers often strip it."
        )
    return record
