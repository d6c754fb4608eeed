"""How many bits a channel of an image file has, where Pillow itself would cut them to 8 without a word."""

import re
import struct
from typing import Any

DEEP = re.compile(r"(?<!BGR);16")  # in what Pillow calls the layout of raw pixels; "BGR;16" is 16 bits a pixel


def is_deep(image: Any, content: bytes) -> bool:
    """Whether an opened image (`PIL.Image.Image`) has more than 8 bits a channel; `content`: of its file."""
    if image.mode[0] in "IF" or any(DEEP.search(str(tile[3])) for tile in image.tile):
        return True
    match image.format:
        case "PPM":  # of a plain or raw one the greatest value stands beside the layout
            return any(isinstance(part, int) and part > 255 for tile in image.tile for part in _parts(tile[3]))
        case "JPEG2000":
            return max(_bits_of_jpeg2000(content), default=8) > 8
        case "AVIF" | "HEIF":
            return max(_bits_of_avif(content), default=8) > 8
    return False


def _parts(arguments: Any) -> tuple[Any, ...]:
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _bits_of_jpeg2000(content: bytes) -> list[int]:
    """By the marker SIZ of the code stream (ISO/IEC 15444-1, A.5.1): Ssiz of each component, its sign bit dropped."""
    start = content.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(content) < start + 42:
        return []
    (count,) = struct.unpack_from(">H", content, start + 40)
    return [(bits & 0x7F) + 1 for bits in content[start + 42 : start + 42 + 3 * count : 3]]


def _bits_of_avif(content: bytes) -> list[int]:
    """By the box `pixi` (ISO/IEC 23008-12, 6.5.6): version and flags, the number of channels, the bits of each."""
    start = content.find(b"pixi")
    return list(content[start + 9 : start + 9 + content[start + 8]]) if 0 <= start < len(content) - 9 else []
