"""Small pictures, short sounds and a few frames: what goes to a browser of a medium, however large that is."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from armillary.datasets.media import Medium, opened_sound, opened_video
from armillary.inputs import pictures

#: Sides of pictures, in pixels: in a list, and alone.
SMALL, LARGE = 192, 1024
#: Seconds of a sound that are sent, and the points of its waveform.
CLIP_SECONDS, POINTS = 30, 120
#: Frames of a video: in a list, and alone.
FEW_FRAMES, FRAMES = 4, 48
_FRAME_SIDE = 320
#: Samples that are read at each point of the waveform of a long sound.
_AT_A_POINT = 2048
_MAX_RATE = 48_000


@dataclass(frozen=True)
class Picture:
    """A small picture as JPEG or PNG, and the size of the original in pixels."""

    data: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Wave:
    """The waveform of a sound: the loudest sample at each point, from 0 to 1."""

    peaks: tuple[float, ...]
    seconds: float
    rate: int
    channels: int


@dataclass(frozen=True)
class Frames:
    """Frames from all over a video, as JPEG, with the second of each."""

    frames: tuple[bytes, ...]
    times: tuple[float, ...]
    seconds: float
    width: int
    height: int


def small_picture(medium: Medium, side: int = SMALL) -> Picture:
    """Return a picture whose longer side has at most so many pixels; a smaller one keeps its size.

    Raises
    ------
    BadPictureError
        When it is damaged, or too large to be decoded.
    """
    data = medium.read()
    picture = _reduced(data, side)
    if picture is None:
        picture = pictures.decode(data)
    width, height = pictures.upright_size(data)
    return Picture(_encoded(_shrunk(pictures.upright(picture), side)), width, height)


def _reduced(data: bytes, side: int) -> PillowImage.Image | None:
    """Return a JPEG decoded at a fraction of its size, which is many times quicker; None for the rest."""
    if data[:2] != b"\xff\xd8":
        return None
    try:
        picture = PillowImage.open(io.BytesIO(data), formats=["JPEG"])
        if picture.width * picture.height > pictures.MAX_PIXELS:
            return None
        picture.draft(None, (2 * side, 2 * side))
        picture.load()
    except Exception:  # Pillow's decoders raise many kinds; decoding the whole then says what is wrong
        return None
    return picture


def _shrunk(picture: PillowImage.Image, side: int) -> PillowImage.Image:
    factor = min(1.0, side / max(picture.size))
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return pictures.fitted(picture, size, pictures.channels_of(picture))


def _encoded(picture: PillowImage.Image) -> bytes:
    """Return a PNG of a tiny picture, whose pixels are looked at, and a JPEG of another."""
    if max(picture.size) <= 64:
        return pictures.encode_png(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def waveform(medium: Medium) -> Wave:
    """Return the waveform of a sound; of a long one it is read at some points only.

    Raises
    ------
    RuntimeError
        When it is damaged.
    """
    with opened_sound(medium) as sound:
        step = max(1, sound.frames // POINTS)
        peaks = [_peak(sound, point * step, min(step, _AT_A_POINT)) for point in range(min(POINTS, sound.frames))]
        seconds = sound.frames / sound.samplerate
        return Wave(tuple(peaks), seconds, int(sound.samplerate), int(sound.channels))


def _peak(sound: Any, first: int, frames: int) -> float:
    if sound.tell() != first:
        sound.seek(first)
    samples = sound.read(frames, dtype="float32", always_2d=True)
    return round(float(np.abs(samples).max(initial=0.0)), 3)


def short_sound(medium: Medium) -> bytes:
    """Return the first half minute of a sound as WAV, which every browser plays: one channel, 16 bits.

    Raises
    ------
    RuntimeError
        When it is damaged.
    """
    with opened_sound(medium) as sound:
        rate = int(sound.samplerate)
        samples = sound.read(CLIP_SECONDS * rate, dtype="float32", always_2d=True).mean(axis=1)
    every = -(-rate // _MAX_RATE)
    return _wav(samples[: len(samples) // every * every].reshape(-1, every).mean(axis=1), rate // every)


def _wav(samples: NDArray[np.float32], rate: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def frames(medium: Medium, number: int = FRAMES) -> Frames:
    """Return frames from all over a video, evenly.

    Raises
    ------
    OSError, ValueError
        When it is damaged.
    """
    with opened_video(medium) as video:
        stream = video.streams.video[0]
        stream.thread_type = "AUTO"
        seconds = (video.duration or 0) / 1_000_000
        found = list(_at(video, stream, seconds, number))
        shown = [_encoded(_shrunk(frame.to_image(), _FRAME_SIDE)) for frame in found]
        times = tuple(round(float(frame.time or 0), 2) for frame in found)
        return Frames(tuple(shown), times, seconds, int(stream.width), int(stream.height))


def _at(video: Any, stream: Any, seconds: float, number: int) -> Iterator[Any]:
    """Yield the frames that are shown at evenly spaced times; a long video is not decoded whole."""
    wanted = [seconds * (index + 0.5) / number for index in range(number)]
    apart = seconds / number
    last = None
    decoded = video.decode(stream)
    for time in wanted:
        if apart > 2:  # more than the usual distance of key frames: quicker to jump
            video.seek(int(time * 1_000_000))
            decoded = video.decode(stream)
        frame = next((each for each in decoded if each.time is None or each.time >= time), None)
        if frame is None:
            break
        last = frame
        yield frame
    if last is None:  # no length is given, or one frame
        video.seek(0)
        yield from (frame for frame, _ in zip(video.decode(stream), range(number), strict=False))
