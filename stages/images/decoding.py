"""An image file's bytes as an array. Shared by every stage that reads images."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repro.stages.errors import StageError
from repro.stages.images.depth import is_deep

Pixels = NDArray[np.uint8]

MODES = {1: "L", 3: "RGB"}


def decode(content: bytes, name: str, channels: int, size: tuple[int, int] | None = None) -> Pixels:
    """An image file as a uint8 array H x W x C; the first frame, EXIF ignored, transparency dropped.

    Args:
        content: of the file.
        name: for messages.
        channels: 1 (grey) or 3 (RGB).
        size: (height, width) to scale to, bilinear; None leaves it as it is.

    Raises:
        StageError: no image, a broken one, or one of more than 8 bits a channel.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            if not is_deep(image, content):
                return _pixels(image, MODES[channels], size)
    except MemoryError:
        raise
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        reason = str(error).partition("<_io")[0].strip()
        raise StageError(f"{name}: no readable image: {reason or type(error).__name__}") from error
    raise StageError(f"{name}: over 8 bits a channel (mode {image.mode}); convert it to 8 bits first")


def _pixels(image: Image.Image, mode: str, size: tuple[int, int] | None) -> Pixels:
    converted = image if image.mode == mode else image.convert(mode)
    if size is not None and (converted.height, converted.width) != size:
        converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(converted, dtype=np.uint8).reshape(converted.height, converted.width, -1)
