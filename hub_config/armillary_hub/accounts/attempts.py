"""How often somebody may get a password wrong before having to wait.

Counted at three widths: one name from one address, one address whatever the name, one name whatever the address.
An attempt counts when it begins, so that many at once get no further than one after the other. The counts live in
the hub's memory: a restart forgets them.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

#: Seconds for which a failed attempt counts.
WINDOW = 300.0

#: Failed attempts allowed within the window.
PER_NAME_AND_ADDRESS, PER_ADDRESS, PER_NAME = 5, 30, 50

#: Names and addresses remembered; the one untouched longest goes first.
LARGEST = 20_000

Key = tuple[str, str]


class Attempts:
    """Recent failed attempts.

    Parameters
    ----------
    clock
        Returns seconds; a test brings its own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._times: OrderedDict[Key, deque[float]] = OrderedDict()

    def seconds_to_wait(self, name: str, address: str) -> float:
        """Return how long until the next attempt is allowed; 0 when it is allowed now."""
        wait = 0.0
        for key, limit in self._limits(name, address):
            times = self._recent(key)
            if len(times) >= limit:
                wait = max(wait, times[-limit] + WINDOW - self.clock())
        return wait

    def begin(self, name: str, address: str) -> None:
        """Count an attempt, as a failed one until `succeed` says otherwise."""
        for key, _limit in self._limits(name, address):
            times = self._times.setdefault(key, deque(maxlen=PER_NAME))
            times.append(self.clock())
            self._times.move_to_end(key)
        while len(self._times) > LARGEST:
            self._times.popitem(last=False)

    def succeed(self, name: str, address: str) -> None:
        """Forget the failures of this name from this address; of the wider counts only the attempt itself."""
        narrow, *wide = (key for key, _limit in self._limits(name, address))
        self._times.pop(narrow, None)
        for key in wide:
            if times := self._times.get(key):
                times.pop()

    def _limits(self, name: str, address: str) -> list[tuple[Key, int]]:
        name = name[:64]
        return [((name, address), PER_NAME_AND_ADDRESS), (("", address), PER_ADDRESS), ((name, ""), PER_NAME)]

    def _recent(self, key: Key) -> deque[float]:
        times = self._times.get(key, deque())
        while times and times[0] + WINDOW <= self.clock():
            times.popleft()
        if not times:
            self._times.pop(key, None)
        return times
