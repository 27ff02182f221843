"""Waiting for GPUs: until when, told to whom, and how it ends without any.

::

    LeaseError
    ├── NoGpuFreeError             the wait was over before a GPU was free
    └── WaitInterruptedError       the person interrupted it
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from armillary_kernels.leases import Lease, LeaseError, PoolUnreachableError, QueuePlace
from armillary_kernels.texts import translator

_ = translator(__file__)

#: Seconds between two questions to the pool: soon at first, for most waits are short.
FIRST_INTERVAL, POLL_INTERVAL = 0.05, 0.5

#: Seconds in which a pool that died is started again, on a machine that is busy with other things too.
RETURN_OF_POOL = 60.0

#: What somebody who waits is told: how the lease stands, or that the pool does not answer.
Standing = Lease | QueuePlace | PoolUnreachableError


class NoGpuFreeError(LeaseError):
    """The wait was over before a GPU was free.

    Parameters
    ----------
    place
        The place in the queue at the end; None where it was not in the queue.
    waited
        Seconds.
    """

    def __init__(self, place: QueuePlace | None, waited: float) -> None:
        summary = _("No GPU became free within {seconds:.0f} s.", seconds=waited)
        super().__init__(summary, _("Run the cell again to ask anew."))
        self.place = place


class WaitInterruptedError(LeaseError):
    """The person interrupted the wait."""


class Wait:
    """One wait, which several may watch, and which ends when it is cancelled or takes too long.

    Parameters
    ----------
    seconds
        How long it may take in the queue; None for as long as it takes.
    patience
        How long the pool may be silent.
    """

    def __init__(self, seconds: float | None = None, patience: float = RETURN_OF_POOL) -> None:
        self._seconds = seconds
        self._patience = patience if seconds is None else min(patience, seconds)
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._watchers: list[Callable[[Standing], None]] = []
        self._begun = time.monotonic()
        self._interval = FIRST_INTERVAL
        self._silent_since: float | None = None
        self._last: Standing | None = None

    def cancel(self) -> None:
        """End it."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether it was ended."""
        return self._cancelled.is_set()

    def watch(self, watcher: Callable[[Standing], None]) -> None:
        """Tell somebody how the lease stands, now and after each change; called from several threads."""
        with self._lock:
            self._watchers.append(watcher)
            if self._last is not None:
                watcher(self._last)

    def report(self, standing: Standing) -> None:
        """Tell all who watch."""
        with self._lock:
            self._last = standing
            for watcher in self._watchers:
                watcher(standing)

    def go_on(self, standing: Lease | QueuePlace) -> None:
        """Report a standing with which nothing can run yet, and pause.

        Raises
        ------
        NoGpuFreeError, WaitInterruptedError
            If the wait is over.
        """
        self._silent_since = None
        self.report(standing)
        waited = time.monotonic() - self._begun
        if self._seconds is not None and waited >= self._seconds:
            raise NoGpuFreeError(standing if isinstance(standing, QueuePlace) else None, waited)
        self._pause()

    def bear(self, silence: PoolUnreachableError) -> None:
        """Report that the pool does not answer, and pause; raise what it was when it lasts too long."""
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._silent_since >= self._patience:
            raise silence
        self.report(silence)
        self._pause()

    def _pause(self) -> None:
        pause, self._interval = self._interval, min(POLL_INTERVAL, 2 * self._interval)
        if self._cancelled.wait(pause):
            raise WaitInterruptedError(_("Interrupted while waiting for a GPU."), _("Run the cell again to ask anew."))
