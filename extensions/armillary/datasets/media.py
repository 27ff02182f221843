"""Images, sounds and videos as encoded files: read, decoded, and checked before they are let in.

Sounds are decoded by soundfile (libsndfile), videos by PyAV (FFmpeg); both come with ``armillary[data]`` and are
imported when the first is decoded.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.durable_files import new_file
from armillary.datasets.features import Audio, Image, Video
from armillary.datasets.manifest import StoredFile
from armillary.datasets.places import Place
from armillary.datasets.verified_files import verified_file
from armillary.errors import DatasetError
from armillary.inputs import pictures

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_ = translator(__file__)

#: Larger files lie beside the shards, so that a row group fits into memory.
LARGEST_IN_A_SHARD = 8 * 2**20
FOLDER = "media"
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"})
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ogv"})
SUFFIXES: dict[type[Image | Audio | Video], frozenset[str]] = {
    Image: pictures.SUFFIXES,
    Audio: AUDIO_SUFFIXES,
    Video: VIDEO_SUFFIXES,
}
_BLOCK = 65_536
_MOST_SKIPPED = 64


class BadMediumError(ValueError):
    """A file that is no usable image, sound or video; the message says why."""


@dataclass(frozen=True)
class Medium:
    """One stored image, sound or video.

    Attributes
    ----------
    path
        The name it was imported by; of a long one, its name beside the shards.
    data
        Its bytes, None for a long one, whose bytes are in ``file``.
    """

    path: str
    data: bytes | None
    file: Path | None = None

    @classmethod
    def stored(cls, value: dict[str, Any], folder: Place, beside: tuple[StoredFile, ...]) -> Medium:
        """Return the medium of a stored value ``{"bytes", "path"}`` of the version in ``folder``."""
        if value["bytes"] is not None:
            return cls(value["path"] or "", value["bytes"])
        entry = next(file for file in beside if file.file == value["path"])
        return cls(value["path"], None, verified_file(folder, entry))

    def read(self) -> bytes:
        """Return the bytes of the file."""
        if self.data is None and self.file is not None:
            return self.file.read_bytes()
        return self.data or b""

    def image(self) -> Picture:
        """Return the decoded picture, upright."""
        return pictures.upright(pictures.decode(self.read()))

    def sound(self) -> tuple[NDArray[np.float32], int]:
        """Return samples ``(frames, channels)`` in [-1, 1] and the sampling rate in Hz."""
        with opened_sound(self) as sound:
            return sound.read(dtype="float32", always_2d=True), int(sound.samplerate)

    def frames(self, every: int = 1) -> Iterator[NDArray[np.uint8]]:
        """Yield every so many-th frame as ``(height, width, 3)``."""
        with opened_video(self) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index % every == 0:
                    yield frame.to_ndarray(format="rgb24")

    def sampled_frames(self, count: int) -> NDArray[np.uint8]:
        """Return so many frames ``(count, height, width, 3)``, evenly from the whole video; all of a shorter one."""
        with opened_video(self) as container:
            total = sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
        wanted = set(((np.arange(count) + 0.5) * total / count).astype(int).tolist())
        return np.stack(list(self.frames_at(wanted).values()))

    def sound_blocks(self) -> Iterator[tuple[NDArray[np.float32], int]]:
        """Yield the samples that `sound` returns in blocks, and the sampling rate with each."""
        with opened_sound(self) as sound:
            for block in sound.blocks(_BLOCK, dtype="float32", always_2d=True):
                yield block, int(sound.samplerate)

    def some_frames(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """Yield up to ``count`` frames ``(height, width, 3)`` from equal parts of a video, decoding few others.

        Where the frames that can be decoded by themselves are far apart, they come somewhat before their part begins.
        """
        with opened_video(self) as container:
            stream = container.streams.video[0]
            start, duration = stream.start_time or 0, stream.duration or 0
            for part in range(count if duration else 1):
                wanted = start + duration * part // count
                container.seek(wanted, stream=stream)
                frame = None
                for frame in islice(container.decode(stream), _MOST_SKIPPED):
                    if frame.pts is not None and frame.pts >= wanted:
                        break
                if frame is not None:
                    yield frame.to_ndarray(format="rgb24")

    def frame_count(self) -> int:
        """Return the number of frames of a video, by decoding all of them."""
        with opened_video(self) as container:
            return sum(1 for _frame in container.decode(video=0))

    def frames_at(self, wanted: Set[int]) -> dict[int, NDArray[np.uint8]]:
        """Return some frames of a video by their numbers, in order, each ``(height, width, 3)``."""
        with opened_video(self) as container:
            decoded = enumerate(islice(container.decode(video=0), max(wanted, default=-1) + 1))
            return {index: frame.to_ndarray(format="rgb24") for index, frame in decoded if index in wanted}

    def source(self) -> Any:
        """Return what libraries that read media open: a path or a file in memory."""
        return str(self.file) if self.data is None else io.BytesIO(self.data)


def opened_sound(medium: Medium) -> Any:
    """Return a ``soundfile.SoundFile``, to be closed."""
    return _soundfile().SoundFile(medium.source())


def opened_video(medium: Medium) -> Any:
    """Return PyAV's container of a video, to be closed."""
    return _av().open(medium.source())


def put_beside(folder: Path, data: bytes, path: str) -> StoredFile:
    """Write a long medium beside the shards of a version, named by its SHA-256; one that lies there stays."""
    place = f"{FOLDER}/{hashlib.sha256(data).hexdigest()}{PurePosixPath(path).suffix.lower()}"
    if (folder / place).exists():
        return StoredFile(place, 1, len(data), hashlib.sha256(data).hexdigest())
    (folder / FOLDER).mkdir(exist_ok=True)
    with new_file(folder / place) as file:
        file.write(data)
        return replace(file.commit(1), file=place)


def check_medium(feature: Image | Audio | Video, data: bytes, max_pixels: int = pictures.MAX_PIXELS) -> None:
    """Decode a file to see whether it is whole.

    A video's first frame is decoded and the rest walked through.

    Raises
    ------
    BadMediumError
        When it is empty, truncated, of another kind, or larger than ``max_pixels``.
    """
    if not data:
        raise BadMediumError(_("the file is empty"))
    if isinstance(feature, Image):
        try:
            pictures.decode(data, max_pixels)
        except pictures.BadPictureError as error:
            raise BadMediumError(str(error)) from error
    elif isinstance(feature, Audio):
        _check_sound(data)
    else:
        _check_video(data, max_pixels)


def _check_sound(data: bytes) -> None:
    soundfile = _soundfile()
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            frames = sum(len(block) for block in sound.blocks(_BLOCK, dtype="float32", always_2d=True))
            expected = sound.frames
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        reason = getattr(error, "error_string", error)
        raise BadMediumError(_("it is no sound in a known format, or damaged ({error})", error=reason)) from error
    if frames == 0:
        raise BadMediumError(_("it has no sound in it"))
    if frames < expected or _is_cut(data):
        raise BadMediumError(_("it is truncated"))


def _is_cut(data: bytes) -> bool:
    """Return whether a container that names its size or marks its end is shorter, which libsndfile passes over."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        declared = int.from_bytes(data[4:8], "little") + 8
        return len(data) < declared < 2**32 - 1
    if data[:4] == b"OggS":
        last = data.rfind(b"OggS")
        ends_here = len(data) > last + 26 and bool(data[last + 5] & 0x04)
        return not ends_here or len(data) < _end_of_ogg_page(data, last)
    return False


def _end_of_ogg_page(data: bytes, start: int) -> int:
    """Return where a page ends: its header (27 bytes), table of segments and segments (RFC 3533, section 6)."""
    table = data[start + 27 : start + 27 + data[start + 26]]
    return start + 27 + data[start + 26] + sum(table)


def _check_video(data: bytes, max_pixels: int) -> None:
    av = _av()
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.video:
                raise BadMediumError(_("it has no pictures in it"))
            stream = container.streams.video[0]
            if stream.width * stream.height > max_pixels:
                raise BadMediumError(_("it has more than the allowed {limit:,} pixels", limit=max_pixels))
            first = next(container.decode(stream), None)
            seconds = sum(float((packet.duration or 0) * packet.time_base) for packet in container.demux(stream))
            expected = float((stream.duration or 0) * stream.time_base)
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, BadMediumError):
            raise
        reason = getattr(error, "strerror", error)
        raise BadMediumError(_("it is no video in a known format, or damaged ({error})", error=reason)) from error
    if first is None:
        raise BadMediumError(_("it has no pictures in it"))
    if seconds < 0.5 * expected:
        raise BadMediumError(_("it is truncated"))


def duration(feature: Audio | Video, medium: Medium) -> float | None:
    """Return how long a sound or video is, in seconds, as its header says; None where it does not or is damaged."""
    try:
        if isinstance(feature, Audio):
            with opened_sound(medium) as sound:
                return float(sound.frames / sound.samplerate)
        with opened_video(medium) as container:
            return None if container.duration is None else container.duration / 1_000_000
    except (RuntimeError, ValueError, OSError):  # also FFmpeg's and libsndfile's errors
        return None


def medium_feature(path: str) -> Image | Audio | Video | None:
    """Return which kind of medium a file is by its name, if any."""
    suffix = PurePosixPath(path).suffix.lower()
    return next((kind() for kind, suffixes in SUFFIXES.items() if suffix in suffixes), None)


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise DatasetError(_("Sounds cannot be read: {error}.", error=error), _("Install armillary[data].")) from error
    return soundfile


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise DatasetError(_("Videos cannot be read: {error}.", error=error), _("Install armillary[data].")) from error
    return av
