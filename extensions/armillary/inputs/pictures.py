"""Single pictures: decoded safely, fitted to one size and number of channels, encoded."""

from __future__ import annotations

import io
import warnings

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from armillary.inputs.jpegs import jpeg_pixels, plain_jpeg

_ = translator(__file__)

# No format that runs other programs (EPS calls Ghostscript) or holds no pixels.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
#: EXIF orientations of which width and height change places.
_LYING = frozenset({5, 6, 7, 8})
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"}
)
MAX_PIXELS = 50_000_000
_KEPT_FORMATS = frozenset({"PNG", "JPEG"})
_GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "F"})
_MODES = {1: "L", 3: "RGB"}


class BadPictureError(ValueError):
    """A file that is no usable picture; the message says why."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the fully decoded picture.

    Raises
    ------
    BadPictureError
        When the bytes are empty, truncated, no picture, or it has more than ``max_pixels`` pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return decode_stored(data, max_pixels)


def decode_stored(data: bytes, max_pixels: int = MAX_PIXELS, at_least: int | None = None) -> Image.Image:
    """Return what `decode` does, in any thread: of a picture that was let in, there is no warning to be silenced.

    With ``at_least``, a JPEG is decoded at a half, a quarter or an eighth of its size where both sides keep so many
    pixels: libjpeg then leaves out the frequencies that nobody needs.
    """
    if not data:
        raise BadPictureError(_("the file is empty"))
    if at_least is not None and (small := _small_jpeg(data, max_pixels, at_least)) is not None:
        return small
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        _refuse_huge(picture, max_pixels)
        if at_least is not None and picture.format == "JPEG":
            picture.draft(None, (at_least, at_least))
        picture.load()
    except BadPictureError:
        raise
    except Image.DecompressionBombError as error:
        raise BadPictureError(_("it has more than the allowed {limit:,} pixels", limit=max_pixels)) from error
    except UnidentifiedImageError as error:
        raise BadPictureError(_("it is no picture in a known format")) from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise BadPictureError(_("it is damaged or truncated ({error})", error=error)) from error
    return picture


def _small_jpeg(data: bytes, max_pixels: int, at_least: int) -> Image.Image | None:
    """Return a plain JPEG, decoded as small as Pillow's ``draft`` decodes it; None of what is left to Pillow."""
    plain = plain_jpeg(data)
    if plain is None or plain.height * plain.width > max_pixels:
        return None
    divisor = next((one for one in (8, 4, 2) if min(plain.height, plain.width) // at_least >= one), 1)
    pixels = jpeg_pixels(data, plain, divisor)
    return None if pixels is None else Image.fromarray(pixels[..., 0] if plain.channels == 1 else pixels)


def _refuse_huge(picture: Image.Image, max_pixels: int) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        size = f"{width:,} × {height:,}"
        raise BadPictureError(_("{size} pixels are more than the allowed {limit:,}", size=size, limit=max_pixels))


def channels_of(picture: Image.Image) -> int:
    """Return 1 for a grey picture and 3 for one with colours."""
    return 1 if picture.mode in _GREY else 3


def upright(picture: Image.Image) -> Image.Image:
    """Return the picture turned as its EXIF orientation says; where it says nothing, the same, not a copy."""
    return ImageOps.exif_transpose(picture) if _orientation(picture) != 1 else picture


def upright_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a picture's file as one sees it; its pixels are not decoded."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        width, height = picture.size
        return (height, width) if _orientation(picture) in _LYING else (width, height)


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(0x0112, 1))
    except (TypeError, ValueError):  # some cameras and editors write nonsense
        return 1


def fitted(picture: Image.Image, size: tuple[int, int], channels: int) -> Image.Image:
    """Return the picture upright, in ``size`` (width, height) and grey (1) or RGB (3); transparency becomes white."""
    picture = flattened(picture, channels)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def flattened(picture: Image.Image, channels: int) -> Image.Image:
    """Return the picture upright, of 8 bits, grey (1) or RGB (3); transparency becomes white."""
    picture = _eight_bit(upright(picture))
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return picture if picture.mode == _MODES[channels] else picture.convert(_MODES[channels])


def _eight_bit(picture: Image.Image) -> Image.Image:
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.asarray(picture, dtype=np.float64)
    if picture.mode.startswith("I"):
        values = values / 257 if values.max() > 255 else values  # 65535 becomes 255
    return Image.fromarray(np.clip(values, 0, 255).round().astype(np.uint8))


def as_array(picture: Image.Image) -> NDArray[np.uint8]:
    """Return ``(height, width, channels)``."""
    array = np.asarray(picture, dtype=np.uint8)
    return array if array.ndim == 3 else array[..., None]


def encode_png(picture: Image.Image) -> bytes:
    """Return the picture as PNG, quickly rather than as small as can be."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def encode_array(array: NDArray[np.uint8]) -> bytes:
    """Return ``(height, width, channels)`` as PNG."""
    return encode_png(Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array))


def stored_bytes(data: bytes, size: tuple[int, int], channels: int, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return what a shard keeps: the file's own bytes when it has that form already, else a PNG in that form."""
    picture = decode(data, max_pixels)
    turned = _orientation(picture) != 1
    if picture.format in _KEPT_FORMATS and not turned and picture.size == size and picture.mode == _MODES[channels]:
        return data
    return encode_png(fitted(picture, size, channels))
