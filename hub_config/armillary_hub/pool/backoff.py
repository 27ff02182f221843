"""When what failed is tried again: later after each failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class _Failure:
    until: float
    lasting: float
    why: str


class Backoff:
    """What failed lately. Threads may share it.

    Parameters
    ----------
    first, longest
        Seconds until it is tried again after the first failure, and at most; twice as long after each.
    clock
        The monotonic clock.
    """

    def __init__(self, first: float, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first = first
        self._longest = longest
        self._clock = clock
        self._failures: dict[Hashable, _Failure] = {}

    def add(self, what: Hashable, why: str) -> None:
        """Note that something failed once more."""
        now, before = self._clock(), self._failures.get(what)
        lasting = self._first if before is None else min(self._longest, 2 * before.lasting)
        # Long after its last failure a thing begins anew; most of those are gone by then.
        kept = {one: failure for one, failure in self._failures.items() if now < failure.until + self._longest}
        self._failures = {**kept, what: _Failure(now + lasting, lasting, why)}

    def forget(self, what: Hashable) -> None:
        """Note that something did not fail."""
        self._failures = {one: failure for one, failure in self._failures.items() if one != what}

    def why(self, what: Hashable) -> str | None:
        """Return why something failed, as long as it is not to be tried again; else None."""
        failure = self._failures.get(what)
        return failure.why if failure is not None and self._clock() < failure.until else None
