"""How much of the GPUs somebody has used: GPU-seconds, which fade with a half-life where fairness asks for them.

A GPU used for a second counts as one now, as a half after one half-life, as a quarter after two. Pure functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Use:
    """A time in which somebody held GPUs.

    Attributes
    ----------
    user
        The hub user.
    gpus
        How many; a share counts by its part of the memory.
    since, until
        UTC.
    """

    user: str
    gpus: float
    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        """GPU-seconds."""
        return self.gpus * max(0.0, (self.until - self.since).total_seconds())

    def after(self, moment: datetime) -> Use:
        """Return the part after a moment."""
        return Use(self.user, self.gpus, max(self.since, moment), max(self.until, moment))


def faded(seconds: float, age: timedelta, half_life: float) -> float:
    """Return what is left of some use after a while; ``half_life`` in seconds."""
    return seconds * 0.5 ** (max(0.0, age.total_seconds()) / half_life)


def recent_seconds(use: Use, now: datetime, half_life: float) -> float:
    """Return the faded GPU-seconds of a use: the integral of ``gpus · 2^(-(now - t) / half_life)`` over its time."""
    begun, ended = ((now - moment).total_seconds() / half_life for moment in (use.since, max(use.since, use.until)))
    return use.gpus * half_life / math.log(2) * (0.5 ** max(0.0, ended) - 0.5 ** max(0.0, begun))
