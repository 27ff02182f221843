"""Stored pictures into their places in a batch: plain JPEG files by simplejpeg, the rest by Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from armillary.inputs.input_spec import InputSpec, Layout
from armillary.inputs.jpegs import jpeg_pixels, plain_jpeg
from armillary.inputs.pictures import as_array, decode_stored, fitted

Pixels = NDArray[np.uint8]


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
        plain = plain_jpeg(data)
        pixels = jpeg_pixels(data, plain) if plain is not None and plain == self.spec.shape else None
        return as_array(fitted(decode_stored(data), (width, height), channels)) if pixels is None else pixels
