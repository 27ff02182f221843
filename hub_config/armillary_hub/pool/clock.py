"""The time that the books are kept in, which passes as fast as real time, whatever is done to the machine's clock.

It is counted by the clock that runs since the machine was started: nobody sets it, and a machine's sleep counts. The
books write a reading down every few seconds, and a pool that is started anew goes on from there. Where the machine's
time is another the books follow it, but no faster than by a tenth: a clock that is wrong for a moment, or for an hour,
makes nobody's use or idleness much longer. While the machine was off only its own clock ran, so that is believed at
the first start after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

#: Seconds between two readings that are written down.
READ_EVERY = 10.0

#: Seconds that a correction takes, and of how many it is at most.
_CORRECTED_WITHIN, _MOST_CORRECTED = 60.0, 6.0


def wall_clock() -> datetime:
    """Return the machine's time."""
    return datetime.now(UTC)


def since_boot() -> float:
    """Return the seconds since the machine was started, its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return what differs each time that the machine is started; empty where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Reading:
    """What the books' time was once, from which it can be told for any later moment until the machine is started anew.

    Attributes
    ----------
    boot
        What differs each time that the machine is started.
    since_boot
        Seconds between that and the reading.
    at
        The books' time then, in UTC.
    correction
        Seconds by which it gains, or loses, within a minute from then on.
    """

    boot: str
    since_boot: float
    at: datetime
    correction: float = 0.0

    def after(self, seconds: float) -> datetime:
        """Return the books' time some seconds later."""
        return self.at + timedelta(seconds=seconds + self.correction * min(1.0, seconds / _CORRECTED_WITHIN))


class BookClock:
    """The books' time.

    Parameters
    ----------
    wall
        The machine's time.
    monotonic
        The clock for deadlines; it may stand while the machine sleeps.
    uptime
        Seconds since the machine was started; its sleep counts.
    boot
        What differs each time that the machine is started; by default what the kernel says.
    """

    def __init__(
        self,
        wall: Callable[[], datetime] = wall_clock,
        monotonic: Callable[[], float] = time.monotonic,
        uptime: Callable[[], float] = since_boot,
        boot: str | None = None,
    ) -> None:
        self.wall = wall
        self.monotonic = monotonic
        self._uptime = uptime
        self._reading = Reading(boot_id() if boot is None else boot, uptime(), wall())

    def now(self) -> datetime:
        """Return the books' time, in UTC."""
        reading = self._reading
        return reading.after(max(0.0, self._uptime() - reading.since_boot))

    def go_on(self, kept: Reading | None, latest: datetime | None) -> bool:
        """Go on from what the books say last; returns whether the machine was started anew since the reading in them.

        If so, it is the moment until which the machine may have run; `follow` the machine's time after what ended then.
        """
        first, latest = self._reading, latest or datetime.min.replace(tzinfo=UTC)
        if kept is None:
            self._reading = replace(first, at=max(first.at, latest))
            return False
        was_off = kept.boot != first.boot or kept.since_boot > first.since_boot
        at = kept.after(READ_EVERY if was_off else first.since_boot - kept.since_boot)
        self._reading = replace(first, at=max(at, latest)) if was_off or at < latest else kept
        return was_off

    def follow(self) -> None:
        """Believe the machine's time, unless it is earlier than the books'."""
        self._reading = replace(self._reading, since_boot=self._uptime(), at=max(self.wall(), self.now()))

    @property
    def is_due(self) -> bool:
        """Whether a reading is to be written down."""
        return self._uptime() - self._reading.since_boot >= READ_EVERY

    def read(self) -> Reading:
        """Begin to correct what the books' time differs from the machine's; returns the reading to write down."""
        uptime = self._uptime()
        now = self._reading.after(max(0.0, uptime - self._reading.since_boot))
        behind = (self.wall() - now).total_seconds()
        correction = max(-_MOST_CORRECTED, min(_MOST_CORRECTED, behind))
        self._reading = Reading(self._reading.boot, uptime, now, correction)
        return self._reading
