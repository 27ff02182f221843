"""Suspending and restoring leases: the books on one side, the processes on the other.

Both take seconds, so each runs in a thread; the books say before it begins what is under way, and after it what came of
it. A pool that is killed in between takes the same step again at its next start (`Suspensions.recover`): the processes
themselves say how far it got.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from armillary_hub.pool.idleness import Idleness
from armillary_hub.pool.machine import Machine
from armillary_hub.pool.records import Lease
from armillary_hub.pool.store import LeaseStore
from armillary_hub.pool.suspender import Suspender, SuspensionError

_log = logging.getLogger(__name__)


def in_a_thread(task: Callable[[], None]) -> None:
    """Run a task beside everything else; it does not outlive the process."""
    threading.Thread(target=task, daemon=True).start()


class Suspensions:
    """What is done with the processes of leases that the books want suspended or back.

    Parameters
    ----------
    store
        The books.
    suspender
        The mechanism.
    machine
        Ends processes that cannot run again.
    grant
        Is called when devices became free.
    idleness
        Tells which of the idle are so.
    start
        How a task is started.
    """

    def __init__(
        self,
        store: LeaseStore,
        suspender: Suspender,
        machine: Machine,
        grant: Callable[[], None],
        idleness: Idleness,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._store = store
        self._suspender = suspender
        self._machine = machine
        self._grant = grant
        self._idleness = idleness
        self._start = start or in_a_thread
        self._running: set[str] = set()

    def possible(self, leases: Sequence[Lease]) -> frozenset[str]:
        """Return the ids of the idle leases that could be suspended."""
        idle = self._idleness.quiet(leases)
        return frozenset(lease.id for lease in idle if self._suspender.refusal(lease.holder) is None)

    def impossible(self, leases: Sequence[Lease]) -> dict[str, str]:
        """Return the ids of the idle leases that cannot be suspended, and why not."""
        refusals = {lease.id: self._suspender.refusal(lease.holder) for lease in self._idleness.quiet(leases)}
        return {lease_id: refusal for lease_id, refusal in refusals.items() if refusal is not None}

    def suspend(self, lease: Lease) -> None:
        """Suspend the process of a lease that the books have as ``"suspending"``."""
        self._run(lease, self._suspend)

    def restore(self, lease: Lease) -> None:
        """Restore the process of a lease that the books have as ``"restoring"``."""
        self._run(lease, self._restore)

    def end(self, lease: Lease, reason: str) -> None:
        """End the process of a lease that the books have as ``"suspending"`` instead, and the lease with it."""
        self._run(lease, lambda ending: self._end(ending, reason))

    def recover(self) -> None:
        """Finish what nobody works on: the pool was killed meanwhile, or the end could not be written down."""
        running = set(self._running)
        for lease in self._store.active():
            if lease.step and lease.id not in running:
                (self.suspend if lease.step == "suspending" else self.restore)(lease)

    def _run(self, lease: Lease, step: Callable[[Lease], None]) -> None:
        def finish() -> None:
            try:
                step(lease)
            finally:
                self._running.discard(lease.id)

        self._running.add(lease.id)
        self._start(finish)

    def _suspend(self, lease: Lease) -> None:
        try:
            saved = self._suspender.suspend(lease.holder, lease.devices)
        except SuspensionError as error:
            _log.warning("%s's %s keeps its GPU: %s", lease.user, lease.purpose, error)
            if error.fatal:
                self._give_up(lease, error)
            else:
                self._store.end_suspension(lease, error.what)
        else:
            self._store.end_suspension(lease, saved=saved)
        self._grant()

    def _restore(self, lease: Lease) -> None:
        try:
            self._suspender.restore(lease.holder, dict(zip(lease.came_from, lease.devices, strict=True)), lease.saved)
        except SuspensionError as error:
            _log.warning("%s's %s could not be restored: %s", lease.user, lease.purpose, error)
            if error.fatal:
                self._give_up(lease, error)
            else:
                self._store.end_restoration(lease, error.what)
            self._grant()
        else:
            self._store.end_restoration(lease)

    def _end(self, lease: Lease, reason: str) -> None:
        self._machine.end(lease.holder)
        self._store.release(lease.id, "pool", reason, held_by=lease.holder)
        self._grant()

    def _give_up(self, lease: Lease, error: SuspensionError) -> None:
        """End a process whose state is lost: it would only hang."""
        self._machine.end(lease.holder)
        self._store.release(lease.id, "pool", error.what, held_by=lease.holder)
