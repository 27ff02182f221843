"""How the values of a column become a part of a batch: one reader for each kind of feature.

============================== ======================================================================================
number, truth value            ``(batch,)``: int64, bool, or float32 with NaN where it is missing
class                          int64 ``(batch,)``, -1 where it is missing
text, bytes                    ``batch`` of them: a list in PyTorch, a tensor in TensorFlow; empty where it is missing
array or list of one length    ``(batch, *shape)``
list                           padded: ``(batch, longest)``; classes with -100
image                          float32 in [0, 1], ``(batch, channels, height, width)`` in PyTorch, channels last in
                               TensorFlow; padded, unless the dataset has a form that models take
sound                          float32 in [-1, 1], its channels mixed, padded: ``(batch, longest)``; and ``rate`` in Hz
video                          so many frames, evenly from its whole length, padded: ``(batch, frames, …)`` as images
list of images                 as the frames of a video
boxes                          ``bbox`` ``(batch, most, 4)``, ``category`` ``(batch, most)`` and their ``mask``
translation, parts with names  a dictionary
============================== ======================================================================================

What is padded is a dictionary of ``values`` and ``mask``, which is True where there is a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets import features as f
from armillary.datasets.media import Medium
from armillary.datasets.reading.decoding import PictureDecoder
from armillary.datasets.reading.padding import IGNORED, padded
from armillary.inputs.pictures import as_array

_ = translator(__file__)

_WORDS = frozenset({"string", "large_string", "string_view", "binary", "large_binary", "binary_view"})
#: The largest number of each type that a column of larger ones may be read as.
_LARGEST: dict[Any, float] = {np.int64: np.iinfo(np.int64).max, np.float32: float(np.finfo(np.float32).max)}


class Column(Protocol):
    """Reads a column: each value by itself, then all values of a batch together."""

    def decode(self, value: pa.Scalar) -> Any:
        """Return what is kept of a stored value until its batch is whole; raises ValueError when it is missing."""

    def collate(self, items: Sequence[Any]) -> Any:
        """Return the arrays of a batch."""


@dataclass(frozen=True)
class Plain:
    """Values that are one element each; ``missing`` stands for one that is not there, None: there must be one."""

    dtype: Any
    missing: Any = None

    def decode(self, value: pa.Scalar) -> Any:
        """Return the value."""
        found = value.as_py() if value.is_valid else _given(self.missing)
        largest = _LARGEST.get(self.dtype)
        if largest is not None and (found > largest or found < -largest - 1) and math.isfinite(found):
            raise _too_large(found, self.dtype)
        return found

    def collate(self, items: Sequence[Any]) -> NDArray[Any]:
        """Return ``(batch,)``."""
        return np.array(items, self.dtype)


@dataclass(frozen=True)
class Grid:
    """Lists, or lists of lists; only the first axis may be of any length (None).

    Attributes
    ----------
    shape
        Of one value.
    filler
        Stands behind the end of a short one.
    """

    shape: tuple[int | None, ...]
    dtype: Any
    filler: Any = 0

    def decode(self, value: pa.Scalar) -> NDArray[Any]:
        """Return the array of a value."""
        if not value.is_valid:
            return self._empty if self.shape[0] is None else _given(None)
        flat = value.values
        while isinstance(flat, (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)):
            if flat.null_count:  # which flatten() leaves out
                return _given(None)
            flat = flat.flatten()
        if flat.null_count and not np.issubdtype(self.dtype, np.floating):
            return _given(None)
        array = _narrowed(flat.to_numpy(zero_copy_only=False), self.dtype)
        return array.reshape([-1 if size is None else size for size in self.shape])

    def collate(self, items: Sequence[NDArray[Any]]) -> Any:
        """Return ``(batch, *shape)``, padded where the lengths differ."""
        if self.shape[0] is None:
            return padded(items, self._empty, (0,), self.filler)
        return np.stack(items) if items else np.empty((0, *self.shape), self.dtype)  # type: ignore[arg-type]

    @property
    def _empty(self) -> NDArray[Any]:
        return np.empty((0, *self.shape[1:]), self.dtype)  # type: ignore[arg-type] # only the first is None


@dataclass(frozen=True)
class FormedImage:
    """Images in the form that models take."""

    decoder: PictureDecoder
    medium: Callable[[dict[str, Any]], Medium]

    def decode(self, value: pa.Scalar) -> NDArray[np.float32]:
        """Return a prepared picture."""
        if not value.is_valid:
            return _given(None)
        place = np.empty(self.decoder.spec.prepared_shape(self.decoder.layout), np.float32)
        self.decoder.decode_into(place, self.medium(value.as_py()).read())
        return place

    def collate(self, items: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the batch, with the channels where the framework has them."""
        shape = self.decoder.spec.prepared_shape(self.decoder.layout)
        return np.stack(items) if items else np.empty((0, *shape), np.float32)


@dataclass(frozen=True)
class Pictured:
    """Images of any size, or frames of videos: arrays ``(…, height, width, 3)`` of 8 bits.

    Attributes
    ----------
    pixels
        Returns the array of a stored medium.
    axes
        The axes of what it returns that have a length of their own: 2 of an image, 3 of a video.
    """

    pixels: Callable[[Medium], NDArray[np.uint8]]
    axes: int
    channels_first: bool
    medium: Callable[[dict[str, Any]], Medium]

    def decode(self, value: pa.Scalar) -> NDArray[np.float32]:
        """Return the picture or frames in [0, 1]."""
        if not value.is_valid:
            return self._placed(np.empty((0,) * self.axes + (3,), np.uint8))
        return self._placed(self.pixels(self.medium(value.as_py())))

    def collate(self, items: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """Return the batch, padded at the right and at the bottom."""
        empty = self._placed(np.empty((0,) * self.axes + (3,), np.uint8))
        last = self.axes - 2 + self.channels_first
        return padded(items, empty, (*range(self.axes - 2), last, last + 1))

    def _placed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.channels_first:
            pixels = np.moveaxis(pixels, -1, -3)
        return np.multiply(pixels, np.float32(1 / 255), dtype=np.float32, order="C")


@dataclass(frozen=True)
class PicturedList(Pictured):
    """Lists of images, such as the frames that a recipe took of a video; a smaller one is padded as in a batch."""

    def decode(self, value: pa.Scalar) -> NDArray[np.float32]:
        """Return the pictures of a list in [0, 1]."""
        stored = value.as_py() or []
        pictures = [self.pixels(self.medium(each)) if each is not None else _given(None) for each in stored]
        return self._placed(padded(pictures, np.empty((0, 0, 3), np.uint8), (0, 1))["values"])


@dataclass(frozen=True)
class Sound:
    """Sounds of any length."""

    medium: Callable[[dict[str, Any]], Medium]

    def decode(self, value: pa.Scalar) -> tuple[NDArray[np.float32], int]:
        """Return samples ``(frames,)`` and their rate."""
        if not value.is_valid:
            return np.empty(0, np.float32), 0
        samples, rate = self.medium(value.as_py()).sound()
        return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32), rate

    def collate(self, items: Sequence[tuple[NDArray[np.float32], int]]) -> dict[str, NDArray[Any]]:
        """Return the padded samples with their rates."""
        samples = padded([item for item, _rate in items], np.empty(0, np.float32), (0,))
        return {**samples, "rate": np.array([rate for _item, rate in items], np.int64)}


@dataclass(frozen=True)
class Parts:
    """Values that consist of parts with names."""

    parts: Mapping[str, Column]

    def decode(self, value: pa.Scalar) -> dict[str, Any]:
        """Return each part; all of them are missing where the value is."""
        return {name: part.decode(value[name] if value.is_valid else pa.NA) for name, part in self.parts.items()}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return each part of the batch."""
        return {name: part.collate([item[name] for item in items]) for name, part in self.parts.items()}


class BoxParts(Parts):
    """Boxes: their sides and classes share one mask."""

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return ``bbox``, ``category`` and ``mask``."""
        parts = super().collate(items)
        return {name: part["values"] for name, part in parts.items()} | {"mask": parts["category"]["mask"]}


@dataclass(frozen=True)
class Media:
    """How images, sounds and videos are read.

    Attributes
    ----------
    decoder
        Of images in the form that models take; None where there is no such form.
    frames
        How many are taken of a video.
    medium
        Makes an object of a stored file.
    """

    decoder: PictureDecoder | None
    channels_first: bool
    frames: int
    medium: Callable[[dict[str, Any]], Medium]


def column_of(feature: f.Feature, media: Media) -> Column:
    """Return the reader of a feature.

    Raises
    ------
    ValueError
        When it has none: lists of lists of any length, lists of parts, times. The message says which it is.
    """
    if isinstance(feature, f.Boxes):
        return BoxParts({name: column_of(part, media) for name, part in feature.plain.parts})
    if isinstance(feature, f.Translation):
        return column_of(_parts_of(feature), media)
    if isinstance(feature, f.Struct):
        return Parts({name: column_of(part, media) for name, part in feature.parts})
    if isinstance(feature, (f.Image, f.Audio, f.Video)):
        return _media_column(feature, media)
    if isinstance(feature, (f.Value, f.ClassLabel)):
        return _plain(feature)
    if isinstance(feature, f.Sequence) and isinstance(feature.feature, f.Image):
        return PicturedList(_rgb, 3, media.channels_first, media.medium)
    shape, leaf = _grid(feature)
    element = _plain(leaf)
    keeps = isinstance(feature, f.Array) and not np.issubdtype(leaf.arrow_type.to_pandas_dtype(), np.floating)
    filler = IGNORED if isinstance(leaf, f.ClassLabel) else element.missing if element.dtype is object else 0
    return Grid(shape, leaf.arrow_type.to_pandas_dtype() if keeps else element.dtype, filler)


def _media_column(feature: f.Image | f.Audio | f.Video, media: Media) -> Column:
    if isinstance(feature, f.Audio):
        return Sound(media.medium)
    if isinstance(feature, f.Video):
        return Pictured(lambda video: video.sampled_frames(media.frames), 3, media.channels_first, media.medium)
    if media.decoder is not None:
        return FormedImage(media.decoder, media.medium)
    return Pictured(_rgb, 2, media.channels_first, media.medium)


def _rgb(image: Medium) -> NDArray[np.uint8]:
    return as_array(image.image().convert("RGB"))


def _parts_of(feature: f.Translation) -> f.Struct:
    text = f.Value("string")
    if feature.variable:
        return f.Struct((("language", f.Sequence(text)), ("translation", f.Sequence(text))))
    return f.Struct(tuple((language, text) for language in feature.languages))


def _plain(feature: f.Feature) -> Plain:
    if isinstance(feature, f.ClassLabel):
        return Plain(np.int64, -1)
    if isinstance(feature, f.Value):
        if feature.dtype in _WORDS:
            return Plain(object, b"" if "binary" in feature.dtype else "")
        if pa.types.is_boolean(feature.arrow_type):
            return Plain(np.bool_)
        if pa.types.is_integer(feature.arrow_type):
            return Plain(np.int64)
        if pa.types.is_floating(feature.arrow_type):
            return Plain(np.float32, np.nan)
    raise ValueError(_("{feature} has no form as a tensor", feature=feature))


def _grid(feature: f.Feature) -> tuple[tuple[int | None, ...], f.Feature]:
    """Return the shape of a list of lists, and the feature of what is in them."""
    if isinstance(feature, f.TokenLabels):
        return (None,), f.ClassLabel(feature.names)
    if isinstance(feature, f.Array):
        return feature.shape, f.Value(feature.dtype)
    if isinstance(feature, f.Sequence):
        inner, leaf = _grid(feature.feature)
        if None not in inner:
            return (feature.length if feature.length >= 0 else None, *inner), leaf
        raise ValueError(_("{feature} has no form as a tensor", feature=feature))
    return (), feature


def _narrowed(stored: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return an array of another type; raises ValueError where it cannot hold a number."""
    with np.errstate(over="ignore"):
        array = stored.astype(dtype)
    if not np.can_cast(stored.dtype, dtype):
        changed = ((array < 0) & (stored > 0)) | (np.isinf(array) & np.isfinite(stored))
        if changed.any():
            raise _too_large(stored[changed][0], dtype)
    return array


def _too_large(number: Any, dtype: Any) -> ValueError:
    return ValueError(_("{number} is too large for {dtype}", number=number, dtype=np.dtype(dtype).name))


def _given(missing: Any) -> Any:
    """Return what stands for a missing value.

    Raises
    ------
    ValueError
        When nothing does.
    """
    if missing is None:
        raise ValueError(_("there is no value"))
    return missing
