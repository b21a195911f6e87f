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
_HOMES = {
    "EXTENSIONS": "save",
    "Picture": "load",
    "PictureSource": "load",
    "check_format": "save",
    "check_output": "save",
    "check_picture": "load",
    "fitted_shape": "resizing",
    "load_picture": "load",
    "read_record": "metadata",
    "resize": "resizing",
    "resize_picture": "resizing",
    "save_picture": "save",
    "to_pil": "save",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
