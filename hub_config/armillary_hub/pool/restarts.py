"""Idle kernels that cannot be suspended: where the admin allows it they are restarted for others, after a warning.

Nobody loses anything in silence: the lease says for minutes when it ends and why, its notebook shows that, and any
activity calls it off. So does a queue in which nobody waits for these GPUs any more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta

from armillary_kernels.restarts import RESTARTED
from sqlalchemy import update

from armillary_hub.pool import rows
from armillary_hub.pool.database import leases
from armillary_hub.pool.records import Lease
from armillary_hub.pool.scheduling import decide
from armillary_hub.pool.store import LeaseStore, note
from armillary_hub.pool.suspension import Suspensions

_log = logging.getLogger(__name__)


class Restarts:
    """The warnings, and what follows them.

    Parameters
    ----------
    store
        The books.
    suspensions
        Who cannot be suspended; and what ends processes.
    """

    def __init__(self, store: LeaseStore, suspensions: Suspensions) -> None:
        self._store = store
        self._suspensions = suspensions
        self._deadlines: dict[str, float] = {}  # by the monotonic clock

    def look(self) -> None:
        """Warn those whose GPUs others wait for, end those whose time is over, and call off what is not needed."""
        warning = self._store.rules.restart_warning
        standing = self._store.active()
        warned = [lease for lease in standing if lease.ends_at is not None]
        self._deadlines = {one.id: self._deadlines[one.id] for one in warned if one.id in self._deadlines}
        if warning is None or not (warned or any(lease.waiting_since for lease in standing)):
            return
        kernels = {lease.id for lease in standing if lease.purpose == "kernel"}
        refusals = {one: why for one, why in self._suspensions.impossible(standing).items() if one in kernels}
        needed = self._needed(refusals)
        for lease in standing:
            if lease.id in needed and lease.ends_at is None:
                self._warn(lease, refusals[lease.id], timedelta(seconds=warning))
            elif lease.id in needed:
                self._end_in_time(lease, refusals[lease.id], warning)
            elif lease.ends_at is not None and not lease.step:
                self._call_off(lease)

    def _needed(self, refusals: Mapping[str, str]) -> frozenset[str]:
        """Return the leases with whose GPUs somebody who waits could be served, and without them not."""
        return frozenset(decide(self._store.situation(frozenset(refusals))).suspensions) if refusals else frozenset()

    def _warn(self, lease: Lease, refusal: str, warning: timedelta) -> None:
        ends_at = self._store.clock.now() + warning
        why = f"others wait for its GPU, and it cannot be suspended: {refusal}"
        reason = f"will be restarted at {ends_at:%H:%M} UTC: {why}"
        if self._change(lease, reason, ends_at=ends_at):
            self._deadlines[lease.id] = self._store.clock.monotonic() + warning.total_seconds()
            _log.warning("%s's %s %s %s", lease.user, lease.purpose, lease.label, reason)

    def _end_in_time(self, lease: Lease, refusal: str, warning: float) -> None:
        """End a lease whose time is over; where the machine's clock was only set forward, it has what is left."""
        left = self._time_left(lease, warning)
        if left > 0:
            if lease.ends_at is not None and lease.ends_at <= self._store.clock.now():
                self._warn(lease, refusal, timedelta(seconds=left))
            return
        # From here on its kernel waits with the next cell, for a step is under way.
        if begun := self._change(lease, "is being restarted", step="suspending"):
            _log.warning("%s's %s %s is restarted", lease.user, lease.purpose, lease.label)
            why = "it was idle, could not be suspended, and others waited for its GPU"
            self._suspensions.end(begun, f"{RESTARTED}{why}")

    def _time_left(self, lease: Lease, warning: float) -> float:
        """Return the seconds that are left of a warning, by a clock that nobody sets.

        After a start of the pool it is not known how long the warning has stood: then what the books say counts, and
        where that is over the whole warning does, once more.
        """
        now = self._store.clock.monotonic()
        if lease.id not in self._deadlines and lease.ends_at is not None:
            said = (lease.ends_at - self._store.clock.now()).total_seconds()
            self._deadlines[lease.id] = now + (said if 0 < said <= warning else warning)
        return self._deadlines[lease.id] - now

    def _call_off(self, lease: Lease) -> None:
        self._change(lease, "is not restarted: nobody waits for its GPU any more", ends_at=None)

    def _change(self, lease: Lease, reason: str, **values: object) -> Lease | None:
        """Write something down for a lease to which nothing has happened since it was looked at; None where it has."""
        with self._store.database.transaction() as connection:
            now = rows.find_lease(connection, lease.id)
            # Who was busy meanwhile, if only for a moment, has been idle anew since: nobody has warned of that.
            if now is None or now.state != "granted" or now.step or not now.idle_since or _seen(now) != _seen(lease):
                return None
            connection.execute(update(leases).where(leases.c.id == lease.id).values(reason=reason[:200], **values))
            changed = rows.find_lease(connection, lease.id)
            return changed and note(connection, changed, now.state, self._store.clock.now(), "pool", reason)


def _seen(lease: Lease) -> tuple[object, ...]:
    return lease.holder, lease.idle_since, lease.ends_at
