"""Stored pictures into their places in a batch.

Pillow decodes everything. A JPEG file that has the form of the dataset already is decoded by simplejpeg: the same
libjpeg-turbo with the same settings (accurate DCT, smooth upsampling), so the same pixels, without Pillow's detour over
four bytes per pixel. What is turned by EXIF, and what simplejpeg refuses, goes to Pillow.
"""

from __future__ import annotations

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from armillary.inputs.input_spec import InputSpec, Layout
from armillary.inputs.pictures import as_array, decode_stored, fitted

Pixels = NDArray[np.uint8]

#: What simplejpeg calls the colours of a file that has so many channels, and those that are asked of it.
_COLOURS = {1: ("Gray", "GRAY"), 3: ("YCbCr", "RGB")}


class PictureDecoder:
    """Decodes pictures into the form that models take.

    Parameters
    ----------
    spec
        The raw form of a picture and its normalisation.
    layout
        Where the channels of a prepared picture are.
    """

    def __init__(self, spec: InputSpec, layout: Layout) -> None:
        self.spec = spec
        self.layout: Layout = layout

    def decode_into(self, place: NDArray[np.float32], data: bytes) -> None:
        """Write a picture, prepared, into its place in a batch.

        Raises
        ------
        BadPictureError
            When the file is no picture.
        """
        self.spec.prepare(self.pixels(data)[None], self.layout, out=place[None])

    def pixels(self, data: bytes) -> Pixels:
        """Return the raw picture ``(height, width, channels)``."""
        height, width, channels = self.spec.shape
        pixels = _of_plain_jpeg(data, (height, width, channels))
        return as_array(fitted(decode_stored(data), (width, height), channels)) if pixels is None else pixels


def _of_plain_jpeg(data: bytes, shape: tuple[int, int, int]) -> Pixels | None:
    """Return the pixels of a whole JPEG file that has this shape; None: it is something else."""
    if data[:3] != b"\xff\xd8\xff" or data[-2:] != b"\xff\xd9" or b"Exif\0" in data:
        return None
    height, width, channels = shape
    stored, wanted = _COLOURS[channels]
    try:
        if simplejpeg.decode_jpeg_header(data)[:3] != (height, width, stored):
            return None
        return simplejpeg.decode_jpeg(data, wanted)
    except ValueError:
        return None
