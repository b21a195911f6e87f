"""Reading and writing of pictures: the only package that touches picture files.

Inside jaxnst a picture is RGB, float32, [0, 1], height x width x channels, encoded
in sRGB. Files of any other kind are converted on reading.
"""

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
