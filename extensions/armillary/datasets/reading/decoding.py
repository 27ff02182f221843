"""Stored pictures into their places in a batch, with the same pixels whatever decodes them.

Pillow decodes everything. PyTorch's users have torchvision's JPEG decoder too: the same libjpeg-turbo with the same
settings (accurate DCT, smooth upsampling), so the same pixels, without Pillow's detour over four bytes per pixel. It
gets whole JPEG files that are not turned by EXIF; the rest, and what it refuses, goes to Pillow.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armillary.inputs.input_spec import InputSpec, Layout
from armillary.inputs.pictures import as_array, decode_stored, fitted

Pixels = NDArray[np.uint8]
JpegDecoder = Callable[[bytes], Pixels]


class PictureDecoder:
    """Decodes pictures into the form that models take.

    Parameters
    ----------
    spec
        The raw form of a picture and its normalisation.
    layout
        Where the channels of a prepared picture are.
    jpeg
        Returns ``(height, width, channels)`` of a JPEG file, or raises RuntimeError; None: Pillow does it.
    """

    def __init__(self, spec: InputSpec, layout: Layout, jpeg: JpegDecoder | None = None) -> None:
        self.spec = spec
        self.layout: Layout = layout
        self._jpeg = jpeg

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
        if self._jpeg is not None and _is_plain_jpeg(data):
            try:
                pixels = self._jpeg(data)
            except RuntimeError:
                pixels = np.empty((0, 0, 0), np.uint8)
            if pixels.shape == self.spec.shape:
                return pixels
        height, width, channels = self.spec.shape
        return as_array(fitted(decode_stored(data), (width, height), channels))


def _is_plain_jpeg(data: bytes) -> bool:
    """Return whether a file begins and ends as a JPEG does and says nothing about how it is turned."""
    return data[:3] == b"\xff\xd8\xff" and data[-2:] == b"\xff\xd9" and b"Exif\0" not in data


def torch_jpeg_decoder() -> JpegDecoder | None:
    """Return torchvision's decoder, or None where it cannot be had.

    Importing torchvision (its triton) after TensorFlow ends the process with a segmentation fault.
    """
    if "tensorflow" in sys.modules and "torchvision" not in sys.modules:
        return None
    try:
        import torch
        from torchvision.io import decode_jpeg
    except ImportError:
        return None

    def pixels(data: bytes) -> Any:
        encoded = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
        return decode_jpeg(encoded).permute(1, 2, 0).numpy()

    return pixels
