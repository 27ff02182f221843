"""JPEG files decoded by simplejpeg, to the same pixels as by Pillow.

Both use libjpeg-turbo with the same settings (accurate DCT, smooth upsampling); simplejpeg does without Pillow's detour
over four bytes per pixel. What is turned by EXIF or damaged, and what simplejpeg refuses, is left to Pillow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

#: Channels of what simplejpeg calls a file's colours.
_CHANNELS = {"Gray": 1, "YCbCr": 3}


class PlainJpeg(NamedTuple):
    """What the head of a whole JPEG file says that is stored as one sees it."""

    height: int
    width: int
    channels: int


def plain_jpeg(data: bytes) -> PlainJpeg | None:
    """Return what a file's head says; None where it is no such file."""
    if data[:3] != b"\xff\xd8\xff" or data[-2:] != b"\xff\xd9" or b"Exif\0" in data:
        return None
    try:
        height, width, colours, _subsampling = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return PlainJpeg(height, width, _CHANNELS[colours]) if colours in _CHANNELS else None


def jpeg_pixels(data: bytes, plain: PlainJpeg, divisor: int = 1) -> NDArray[np.uint8] | None:
    """Return ``(height, width, channels)``, each side divided by 1, 2, 4 or 8; None where the file is damaged."""
    height, width = -(-plain.height // divisor), -(-plain.width // divisor)
    colours = "GRAY" if plain.channels == 1 else "RGB"
    try:
        return simplejpeg.decode_jpeg(data, colours, min_height=height, min_width=width, min_factor=1)
    except ValueError:
        return None
