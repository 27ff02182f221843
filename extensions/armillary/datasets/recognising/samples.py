"""Some of the pictures that are to be imported, small, with the boxes that are drawn around their objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from armillary.datasets.importing.sources import BadFileError
from armillary.inputs.pictures import BadPictureError, decode, encode_png, fitted

THUMBNAIL_SIDE = 96
BOXED_SIDE = 152
_LINE, _EDGE = (23, 105, 170), (255, 255, 255)

Item = TypeVar("Item")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sample:
    """One picture of a preview: a small PNG, its class and its path; no bytes when it is damaged."""

    png: bytes
    class_name: str
    path: str


def evenly(items: Sequence[Item], number: int) -> list[Item]:
    """Return so many of the items, evenly from all of them."""
    return [items[index] for index in np.linspace(0, len(items) - 1, min(number, len(items))).astype(int)]


def sample(read: Callable[[str], bytes], path: str, class_name: str) -> Sample:
    """Return a picture of a preview."""
    try:
        return Sample(thumbnail(read(path)), class_name, path)
    except (BadPictureError, BadFileError):
        return Sample(b"", class_name, path)


def thumbnail(data: bytes) -> bytes:
    """Return a picture as PNG of at most 96 × 96 pixels; a smaller one keeps its size."""
    return encode_png(_small(decode(data), THUMBNAIL_SIDE))


def boxed_thumbnail(data: bytes, boxes: Sequence[Box]) -> bytes:
    """Return a picture as PNG of at most 152 × 152 pixels, with boxes ``(x, y, width, height)`` drawn into it."""
    picture = decode(data)
    small = _small(picture, BOXED_SIDE)
    scale = small.width / picture.width
    draw = ImageDraw.Draw(small)
    for x, y, width, height in boxes:
        corners = [x * scale, y * scale, max(x, x + width) * scale, max(y, y + height) * scale]
        draw.rectangle(corners, outline=_EDGE, width=4)
        draw.rectangle(corners, outline=_LINE, width=2)
    return encode_png(small)


def _small(picture: Image.Image, side: int) -> Image.Image:
    factor = min(1.0, side / max(picture.size))
    return fitted(picture, (max(1, round(picture.width * factor)), max(1, round(picture.height * factor))), 3)
