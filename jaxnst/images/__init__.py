"""Reading and writing of pictures: the only package that touches picture files.

Inside jaxnst a picture is RGB, float32, [0, 1], height x width x channels, encoded
in sRGB. Files of any other kind are converted on reading.
"""

import importlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .load import (
        Picture as Picture,
        PictureSource as PictureSource,
        check_picture as check_picture,
        load_picture as load_picture,
    )
    from .metadata import read_record as read_record
    from .resizing import (
        fitted_shape as fitted_shape,
        resize as resize,
        resize_picture as resize_picture,
    )
    from .save import (
        EXTENSIONS as EXTENSIONS,
        check_format as check_format,
        check_output as check_output,
        save_picture as save_picture,
        to_pil as to_pil,
    )

# Imported when first used (PEP 562), as `jaxnst show` needs a record and no JAX.
_NAMES = {
    "load": ("Picture", "PictureSource", "check_picture", "load_picture"),
    "metadata": ("read_record",),
    "resizing": ("fitted_shape", "resize", "resize_picture"),
    "save": ("EXTENSIONS", "check_format", "check_output", "save_picture", "to_pil"),
}


def __getattr__(name: str) -> Any:
    for home, names in _NAMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
