"""What the GPUs did in the last hour, minute by minute: for the page's charts, for programs and for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any

from armillary_hub.pool.samples import DeviceSample, SampleLog

#: Minutes of history.
MINUTES = 60

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Figures:
    """A quantity over the last hour: now, on average and at most; None where nothing is known."""

    now: float | None
    mean: float | None
    most: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Figures:
        """Return the figures of values, oldest first."""
        every = list(values)
        known = [value for value in every if value is not None]
        return cls(every[-1] if every else None, fmean(known) if known else None, max(known, default=None))


@dataclass(frozen=True)
class History:
    """One GPU over the last hour.

    Attributes
    ----------
    utilisation
        Of each minute, oldest first, the part in which it worked, 0 to 1; None where nothing is known.
    memory
        The most MiB that were in use in each minute.
    worked, used
        Utilisation (0 to 1) and memory (MiB) in figures, of all samples.
    """

    utilisation: tuple[float | None, ...]
    memory: tuple[float | None, ...]
    worked: Figures
    used: Figures

    @classmethod
    def of(cls, samples: Sequence[DeviceSample], now: datetime) -> History:
        """Return the history that a GPU's samples tell."""
        minutes: list[list[DeviceSample]] = [[] for _ in range(MINUTES)]
        for sample in samples:
            age = (now - sample.at) // _MINUTE
            if 0 <= age < MINUTES:
                minutes[MINUTES - 1 - age].append(sample)
        return cls(
            utilisation=tuple(Figures.of(one.utilisation for one in minute).mean for minute in minutes),
            memory=tuple(Figures.of(one.memory for one in minute).most for minute in minutes),
            worked=Figures.of(sample.utilisation for sample in samples),
            used=Figures.of(sample.memory for sample in samples),
        )

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it: minutes oldest first, memory in bytes."""
        return {
            "utilisation": [None if part is None else round(part, 3) for part in self.utilisation],
            "memory": [None if used is None else int(used) * 2**20 for used in self.memory],
        }


def history_of(log: SampleLog, uuid: str, now: datetime) -> History:
    """Return what a GPU did in the last hour."""
    return History.of(log.of(uuid), now)
