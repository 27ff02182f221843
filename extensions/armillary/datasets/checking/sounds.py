"""One look at a sound, block by block: its loudness by pitch and time, whether it is silent or clipped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.looks import Fault, Look
from armillary.datasets.checking.near import SIDE
from armillary.datasets.media import Medium

_ = translator(__file__)

_WINDOW = 1024
_BANDS = 32
_LOWEST, _HIGHEST = 60.0, 10_000.0
#: Of full scale: quieter than -60 dB is silence; so many samples at the peak after one another are no chance.
_SILENT, _CLIPPED_RUN, _CLIPPED_SHARE, _LOUD = 1e-3, 4, 1e-3, 0.9
#: A deep tone stays near its peak for some samples, but not as near as a cut one.
_FLAT = 2e-5
#: How much the mean level, the highest, its change, the loudness over time and the length differ between sounds (bels).
_SPREADS = (1.8, 1.6, 0.3, 1.2, 0.6)


def look_at_sound(medium: Medium) -> Look:
    """Return what is kept of a sound; no more than a block of it is in memory."""
    tracker = _Tracker()
    for block, rate in medium.sound_blocks():
        tracker.see(block, rate)
    return tracker.look()


class _Tracker:
    """Gathers what is known of a sound."""

    def __init__(self) -> None:
        self._levels: list[NDArray[np.float32]] = []
        self._rest = np.empty(0, np.float32)
        self._peak, self._frames, self._rate, self._channels = 0.0, 0, 0, 0
        self._runs: dict[float, int] = {}
        self._odd = 0

    def see(self, block: NDArray[np.float32], rate: int) -> None:
        """Look at the next frames ``(frames, channels)``."""
        self._rate, self._channels = rate, block.shape[1]
        odd = ~np.isfinite(block)
        if odd.any():
            self._odd += int(odd.sum())
            block = np.where(odd, 0, block)
        self._frames += len(block)
        peak = float(np.abs(block).max(initial=0))
        self._peak = max(self._peak, peak)
        if peak > _LOUD:
            self._count_clipped(block)
        mono = np.concatenate([self._rest, block.mean(axis=1)])
        windows = mono[: len(mono) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
        self._rest = mono[windows.size :]
        if len(windows):
            self._levels.append(_band_levels(windows, rate))

    def _count_clipped(self, block: NDArray[np.float32]) -> None:
        """Count the samples in runs at the block's own peaks, for a clipped sound may have been made quieter."""
        for channel in block.T:
            for top in (channel.max(), -channel.min()):
                level = round(float(top), 3)
                flat = np.abs(channel) >= top - _FLAT
                if level > _LOUD:
                    self._runs[level] = self._runs.get(level, 0) + _in_runs(flat)

    def look(self) -> Look:
        """Return what is known at the end."""
        if len(self._rest):
            window = np.zeros((1, _WINDOW), np.float32)
            window[0, : len(self._rest)] = self._rest
            self._levels.append(_band_levels(window, self._rate))
        levels = np.concatenate(self._levels) if self._levels else np.zeros((1, _BANDS), np.float32)
        seconds = self._frames / max(1, self._rate)
        return Look(
            thumbnail=_thumbnail(levels),
            features=_features(levels, seconds),
            measures={"seconds": seconds, "rate": float(self._rate), "channels": float(self._channels)},
            faults=tuple(self._faults()),
        )

    def _faults(self) -> Iterator[Fault]:
        if self._odd:
            yield Fault("broken", 1.0, _("{n} of its samples are no numbers.", n=f"{self._odd:,}"))
        if self._peak < _SILENT:
            loudest = _("silence") if self._peak == 0 else f"{20 * np.log10(self._peak):.0f} dB"
            yield Fault("blank", 1.0, _("There is nothing to hear (loudest: {level}).", level=loudest))
            return
        share = max(self._runs.values(), default=0) / max(1, self._frames * self._channels)
        if share > _CLIPPED_SHARE:
            yield Fault("clipped", min(1.0, 0.5 + 10 * share), _("{share:.2%} of it is cut off.", share=share))


def _in_runs(flat: NDArray[np.bool_]) -> int:
    """Return how many samples lie in runs that are too long to be chance."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= _CLIPPED_RUN].sum())


def _band_levels(windows: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Return the level of each band in each window ``(n, 32)``, in bels; the bands are equal steps of pitch."""
    power = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW).astype(np.float32), axis=1)) ** 2
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / rate)
    edges = np.geomspace(_LOWEST, _HIGHEST, _BANDS + 1)
    band = np.clip(np.searchsorted(edges, frequencies, side="right") - 1, 0, _BANDS - 1)
    summed = np.zeros((len(windows), _BANDS), np.float32)
    for index in range(_BANDS):
        summed[:, index] = power[:, band == index].sum(axis=1)
    return np.log10(summed + 1e-6)


def _over_time(levels: NDArray[np.float32], pieces: int) -> NDArray[np.float32]:
    """Return the mean levels ``(pieces, bands)`` of equal parts of the time."""
    at = np.linspace(0, len(levels), pieces + 1)
    return np.stack([levels[int(a) : max(int(a) + 1, int(b))].mean(axis=0) for a, b in pairwise(at)])


def _thumbnail(levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return time across and pitch down; how loud it is altogether does not matter."""
    picture = _over_time(levels, SIDE).reshape(SIDE, SIDE, -1).mean(axis=2).T
    return np.clip(255 * (1 + (picture - picture.max()) / 6), 0, 255).astype(np.uint8)


def _features(levels: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    """Return the timbre, its change and the course of the loudness ``(105,)``; each group weighs about the same."""
    loudness = levels.max(axis=1)
    shape = _over_time(loudness[:, None], 8)[:, 0] - loudness.max()
    level = levels - loudness.max()
    change = np.abs(np.diff(levels, axis=0)).mean(axis=0) if len(levels) > 1 else np.zeros(_BANDS)
    length = np.log10([seconds + 1e-3])
    groups = zip((level.mean(axis=0), level.max(axis=0), change, shape, length), _SPREADS, strict=True)
    return np.concatenate([group / (spread * np.sqrt(len(group))) for group, spread in groups]).astype(np.float32)
