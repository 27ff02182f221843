"""Suspending and restoring leases: the books on one side, the processes on the other.

Both take seconds, so each runs in a thread; the books say before it begins what is under way, and after it what came of
it. A pool that is killed in between takes the same step again at its next start (`Suspensions.recover`): the processes
themselves say how far it got. So does one that cannot find out what came of a step: until it knows, the lease keeps its
GPUs and the step stays under way, for a process that may be on a GPU must not lose it.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from sqlalchemy import update

from armillary_hub.pool import rows
from armillary_hub.pool.backoff import Backoff
from armillary_hub.pool.database import leases as lease_table
from armillary_hub.pool.family import Family
from armillary_hub.pool.idleness import Idleness
from armillary_hub.pool.machine import Machine
from armillary_hub.pool.records import Lease
from armillary_hub.pool.store import LeaseStore, note
from armillary_hub.pool.suspender import Suspender, SuspensionError

_log = logging.getLogger(__name__)

#: Seconds until a step whose outcome is unknown is taken again, and until a lease that could not be restored may ask
#: for GPUs again, which others could have meanwhile; twice as long after each failure, up to the most.
FIRST_RETRY, LONGEST_RETRY = 2.0, 40.0

#: What the audit says before the reason why the outcome of a step is unknown.
NOT_KNOWN = {"suspending": "not known whether it is suspended", "restoring": "not known whether it is restored"}


def in_a_thread(task: Callable[[], None]) -> None:
    """Run a task beside everything else; it does not outlive the process."""
    threading.Thread(target=task, daemon=True).start()


def _is_used(lease: Lease) -> bool:
    return lease.in_use and bool(lease.devices)


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
        self._unknown = Backoff(FIRST_RETRY, LONGEST_RETRY, store.clock.monotonic)
        self._unrestored = Backoff(FIRST_RETRY, LONGEST_RETRY, store.clock.monotonic)

    def possible(self, leases: Sequence[Lease]) -> frozenset[str]:
        """Return the ids of the idle ones of all leases that could be suspended."""
        return frozenset(lease.id for lease in self._idle(leases) if self._suspender.refusal(lease.holder) is None)

    def impossible(self, leases: Sequence[Lease]) -> dict[str, str]:
        """Return the ids of the idle ones of all leases that cannot be suspended, and why not."""
        refusals = {lease.id: self._suspender.refusal(lease.holder) for lease in self._idle(leases)}
        return {lease_id: refusal for lease_id, refusal in refusals.items() if refusal is not None}

    def _idle(self, leases: Sequence[Lease]) -> list[Lease]:
        """Return the idle leases whose processes have no other one: that may be busy, or relied upon."""
        holders = Counter(lease.holder for lease in leases if _is_used(lease))
        return [lease for lease in self._idleness.quiet(leases) if holders[lease.holder] < 2]

    def refusal(self, lease: Lease) -> str | None:
        """Return why a lease cannot be suspended, or None when that can be tried."""
        others = (one for one in self._store.active() if one.id != lease.id and _is_used(one))
        if any(one.holder == lease.holder for one in others):
            return "its process uses the GPUs of another lease, too"
        return self._suspender.refusal(lease.holder)

    def may_come_back(self, lease: Lease) -> bool:
        """Return whether a suspended lease may ask for GPUs now: not at once after it could not be restored on some."""
        return self._unrestored.why(lease.id) is None

    def suspend(self, lease: Lease) -> None:
        """Suspend the process of a lease that the books have as ``"suspending"``."""
        self._run(lease, self._suspend)

    def restore(self, lease: Lease) -> None:
        """Restore the process of a lease that the books have as ``"restoring"``."""
        self._run(lease, self._restore)

    def end(self, lease: Lease, reason: str) -> None:
        """End the process of a lease that the books have as ``"suspending"`` instead, and the lease with it."""
        self._run(lease, lambda ending, again: self._end(ending, reason))

    def recover(self) -> None:
        """Take steps again whose outcome nobody knows: the pool was killed meanwhile, or could not find it out."""
        running = set(self._running)
        for lease in self._store.active():
            if lease.step and lease.id not in running and self._unknown.why(lease.id) is None:
                self._run(lease, self._suspend if lease.step == "suspending" else self._restore, again=True)

    def family(self, lease: Lease) -> Family:
        """Return the processes of a lease."""
        return Family.of(lease, self._store.active())

    def _run(self, lease: Lease, step: Callable[[Lease, bool], None], *, again: bool = False) -> None:
        def finish() -> None:
            try:
                step(lease, again)
            except Exception as error:  # the books, it may be; whatever it is, the step is taken again
                _log.exception("%s's %s: a step could not be finished", lease.user, lease.purpose)
                self._unknown.add(lease.id, str(error))
            finally:
                self._running.discard(lease.id)

        self._running.add(lease.id)
        self._start(finish)

    def _suspend(self, lease: Lease, again: bool) -> None:
        try:
            saved = self._suspender.suspend(self.family(lease), lease.devices, again=again)
        except SuspensionError as error:
            _log.warning("%s's %s keeps its GPU: %s", lease.user, lease.purpose, error)
            if error.outcome == "unchanged":
                self._store.end_suspension(lease, error.what)
            self._fail(lease, error)
        else:
            self._store.end_suspension(lease, saved=saved)
            self._unknown.forget(lease.id)
        self._grant()

    def _restore(self, lease: Lease, again: bool) -> None:
        devices = dict(zip(lease.came_from, lease.devices, strict=True))
        try:
            self._suspender.restore(self.family(lease), devices, lease.saved, again=again)
        except SuspensionError as error:
            _log.warning("%s's %s could not be restored: %s", lease.user, lease.purpose, error)
            if error.outcome == "unchanged":
                self._unrestored.add(lease.id, error.what)
                self._store.end_restoration(lease, error.what)
            self._fail(lease, error)
            self._grant()
        else:
            self._store.end_restoration(lease)
            self._unknown.forget(lease.id)
            self._unrestored.forget(lease.id)

    def _end(self, lease: Lease, reason: str) -> None:
        self._machine.end_family(self.family(lease))
        self._store.release(lease.id, "pool", reason, held_by=lease.holder)
        self._grant()

    def _fail(self, lease: Lease, error: SuspensionError) -> None:
        """Do what a failed step asks for, besides what the books say of one that changed nothing."""
        if error.outcome == "unknown":
            self._unknown.add(lease.id, error.what)
            self._note(lease, f"{NOT_KNOWN[lease.step]}: {error.what}")
            return
        self._unknown.forget(lease.id)
        if error.outcome == "lost":  # it would only hang
            self._machine.end_family(self.family(lease))
            self._store.release(lease.id, "pool", error.what, held_by=lease.holder)

    def _note(self, lease: Lease, reason: str) -> None:
        """Write down, once, why a step is still under way."""
        with self._store.database.transaction() as connection:
            now = rows.find_lease(connection, lease.id)
            if now is None or (now.step, now.holder) != (lease.step, lease.holder) or now.reason == reason[:200]:
                return
            connection.execute(update(lease_table).where(lease_table.c.id == lease.id).values(reason=reason[:200]))
            note(connection, now, now.state, self._store.clock.now(), "pool", reason)
