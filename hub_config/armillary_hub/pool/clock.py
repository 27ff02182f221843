"""The time that the books are kept in, which never runs back, whatever the machine's clock does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def wall_clock() -> datetime:
    """Return the machine's time."""
    return datetime.now(UTC)


class BookClock:
    """The books' time: the machine's, but never earlier than what was written before.

    While the machine's clock is behind, time goes on by the monotonic clock, so that no use goes uncounted.

    Parameters
    ----------
    wall, monotonic
        The machine's clocks.
    """

    def __init__(
        self, wall: Callable[[], datetime] = wall_clock, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.wall = wall
        self.monotonic = monotonic
        self._lock = threading.Lock()
        self._latest, self._seen = wall(), monotonic()

    def not_before(self, moment: datetime | None) -> None:
        """Let no time be earlier than the last one in the books."""
        with self._lock:
            self._latest = max(self._latest, moment or self._latest)

    def now(self) -> datetime:
        """Return the books' time, in UTC."""
        with self._lock:
            seen = self.monotonic()
            advanced = self._latest + timedelta(seconds=max(0.0, seen - self._seen))
            self._seen, self._latest = seen, max(self.wall(), advanced)
            return self._latest
