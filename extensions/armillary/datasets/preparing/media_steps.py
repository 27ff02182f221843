"""Steps for sounds and videos."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray
from PIL import Image as PillowImage

from armillary.datasets.features import Array, Audio, Feature, Image, Sequence, Video
from armillary.datasets.importing.rejects import BadExampleError
from armillary.datasets.media import Medium
from armillary.datasets.preparing.rows import Drawn, Sound
from armillary.datasets.preparing.step import Bound, Form, PictureForm, Row, Step

_ = translator(__file__)

#: Added to energies before their logarithm, so that silence has one.
_SILENCE = 1e-10


@dataclass(frozen=True)
class Resample(Step):
    """Bring sounds to one sampling rate, in Hz, and (unless ``mono`` is False) to one channel, their mean.

    Stored as FLAC of 16 bits.
    """

    name = "resample"
    travels = True
    rate: int = 16_000
    mono: bool = True

    def check(self) -> None:
        """Refuse rates below 1, and those that a FLAC file cannot have."""
        self.require_positive("rate")
        fits = self.rate <= 65_535 or (self.rate <= 655_350 and self.rate % 10 == 0)
        self.require(fits, "rate", _("Give a number up to 65,535, or a multiple of 10 up to 655,350."))

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a sound."""
        return isinstance(feature, Audio)

    def apply(self, row: Row, at: Bound) -> bool:
        """Resample the sounds of one row."""
        for column in at.columns:
            value = row.values[column]
            if value is not None:
                samples, rate = value.sound()
                samples = samples.mean(axis=1, keepdims=True, dtype=np.float32) if self.mono else samples
                row.values[column] = Sound(resampled(samples, rate, self.rate), self.rate, value.path)
        return True


def resampled(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """Return samples ``(frames, channels)`` at another rate, by a polyphase filter."""
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    common = gcd(rate, wanted)
    return np.asarray(resample_poly(samples, wanted // common, rate // common, axis=0), np.float32)


@dataclass(frozen=True)
class Spectrogram(Step):
    """Make mel spectrograms of sounds: an array ``(frames, mels)`` in the place of each.

    Parameters
    ----------
    window, hop
        Length of a frame and steps between frames, in samples.
    mels
        Bands, evenly spaced on the mel scale (O'Shaughnessy, 1987) from 0 Hz to half the sampling rate.
    log
        Whether to take the natural logarithm of the energies.
    """

    name = "spectrogram"
    travels = True
    window: int = 400
    hop: int = 160
    mels: int = 64
    log: bool = True

    def check(self) -> None:
        """Refuse lengths below 1."""
        self.require_positive("window", "hop", "mels")

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a sound."""
        return isinstance(feature, Audio)

    def form_after(self, at: Bound) -> Form:
        """Return the columns with arrays."""
        return at.before.with_features(dict.fromkeys(at.columns, Array((None, self.mels), "float32")))

    def apply(self, row: Row, at: Bound) -> bool:
        """Make the spectrograms of one row."""
        for column in at.columns:
            if row.values[column] is not None:
                samples, rate = row.values[column].sound()
                row.values[column] = self._of(samples.mean(axis=1), rate)
        return True

    def _of(self, samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        if len(samples) < self.window:
            samples = np.pad(samples, (0, self.window - len(samples)))
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.window)[:: self.hop]
        spectrum = np.fft.rfft(frames.astype(np.float64) * np.hanning(self.window + 1)[:-1], axis=1)
        energies = (np.abs(spectrum) ** 2) @ mel_filters(rate, self.window, self.mels)
        return (np.log(energies + _SILENCE) if self.log else energies).astype(np.float32)


@lru_cache(maxsize=16)
def mel_filters(rate: int, window: int, mels: int) -> NDArray[np.float64]:
    """Return triangular filters ``(frequencies, mels)`` that add up the energies of each band."""
    highest = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, mels + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(window, 1 / rate)[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


@dataclass(frozen=True)
class SampleFrames(Step):
    """Take so many pictures out of each video, evenly from its first frame to its last: a list of pictures."""

    name = "sample_frames"
    travels = True
    count: int = 8

    def check(self) -> None:
        """Refuse counts below 1."""
        self.require_positive("count")

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a video."""
        return isinstance(feature, Video)

    def form_after(self, at: Bound) -> Form:
        """Return the columns with lists of pictures."""
        pictures = dict.fromkeys(at.columns, Sequence(Image(), self.count))
        return at.before.with_features(pictures).with_pictures(at.columns, PictureForm())

    def apply(self, row: Row, at: Bound) -> bool:
        """Take the frames of one row's videos."""
        for column in at.columns:
            if row.values[column] is not None:
                row.values[column] = self._frames(row.values[column])
        return True

    def _frames(self, video: Medium) -> list[Drawn]:
        """Decode twice, first to count: headers are often wrong, and all frames would not fit into memory."""
        total = video.frame_count()
        if not total:
            raise BadExampleError(_("it has no pictures in it"))
        wanted = np.linspace(0, total - 1, self.count).round().astype(int).tolist()
        chosen: dict[int, Any] = video.frames_at(set(wanted))
        return [Drawn(PillowImage.fromarray(chosen[index]), f"{video.path}#{index}") for index in wanted]
