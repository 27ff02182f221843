"""Values on their way: pictures and sounds stay decoded from step to step, and are encoded once, at the end."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as Picture

from armillary.datasets.features import Array, Feature, Sequence, Struct
from armillary.datasets.media import Medium
from armillary.datasets.plain_values import holds_media
from armillary.inputs.pictures import channels_of, flattened

#: Stores the bytes of a medium of that name (None: it lies beside the shards already), and returns what a shard keeps.
Keep = Callable[[bytes | None, str], dict[str, Any]]

#: How pictures are stored that a step has changed: without loss, quickly rather than as small as can be.
PNG: dict[str, Any] = {"format": "PNG", "compress_level": 3}
#: What a picture of a function of one's own may be, and a file of each format can hold.
_MODES = {"PNG": ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"), "JPEG": ("1", "L", "RGB", "CMYK")}


@dataclass(frozen=True)
class Drawn:
    """A picture that a step has made; ``path`` is the name of the file it came from."""

    picture: Picture
    path: str

    def image(self) -> Picture:
        """Return the picture."""
        return self.picture

    def read(self, options: Mapping[str, Any] = PNG) -> bytes:
        """Return it as a file, by these options of Pillow's ``save``; flat where the format cannot hold it as it is."""
        buffer, picture = io.BytesIO(), self.picture
        if picture.mode not in _MODES[options["format"]]:
            picture = flattened(picture, channels_of(picture))
        picture.save(buffer, **options)
        return buffer.getvalue()


@dataclass(frozen=True)
class Sound:
    """A sound that a step has made: ``samples`` ``(frames, channels)`` in [-1, 1] at ``rate`` Hz."""

    samples: NDArray[np.float32]
    rate: int
    path: str

    def sound(self) -> tuple[NDArray[np.float32], int]:
        """Return samples and rate, as `Medium` does."""
        return self.samples, self.rate

    def read(self) -> bytes:
        """Return it as FLAC of 16 bits."""
        import soundfile

        buffer = io.BytesIO()
        soundfile.write(buffer, np.clip(self.samples, -1, 1), self.rate, format="FLAC", subtype="PCM_16")
        return buffer.getvalue()


def stored(feature: Feature, value: Any, keep: Keep, options: Mapping[str, Any] = PNG) -> Any:
    """Return a value as a shard keeps it, changed pictures saved by these options."""
    if isinstance(value, np.ndarray):
        return _lists_of_arrays(value.astype(feature.dtype, copy=False) if isinstance(feature, Array) else value)
    if value is None or not holds_media(feature):
        return value
    if isinstance(feature, Sequence):
        return [stored(feature.feature, part, keep, options) for part in value]
    if isinstance(feature, Struct):
        return {name: stored(part, value[name], keep, options) for name, part in feature.parts}
    if isinstance(value, Medium) and value.data is None:
        return keep(None, value.path)
    return keep(value.read(options) if isinstance(value, Drawn) else value.read(), value.path)


def array_of(feature: Any, value: Any) -> NDArray[Any]:
    """Return a value of a column of arrays as one; a stored one without a row has its other axes, too."""
    return np.asarray(value, feature.dtype).reshape(len(value), *feature.shape[1:])


def _lists_of_arrays(array: NDArray[Any]) -> Any:
    """Return an array as Arrow takes it: lists of arrays of one axis; Python's numbers take ten times the memory."""
    return array if array.ndim <= 1 else [_lists_of_arrays(part) for part in array]
