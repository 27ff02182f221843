"""Keeping the books small: what is long over is forgotten, whole leases at a time.

A lease that ended before the time that the admin keeps goes with its lines of the audit and its use, so that the audit
still tells the state of every lease that the books have. Sums stay: GPU-seconds by user, and what the audit counted
(`armillary_hub.pool.audit_counts`), which is written down before anything is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select

from armillary_hub.pool.audit_counts import AuditCounts
from armillary_hub.pool.database import audit, counted, leases, uses
from armillary_hub.pool.store import LeaseStore

#: Leases that are forgotten in one transaction: nobody waits long for it.
_AT_ONCE = 200


class Pruning:
    """What is done once in a while.

    Parameters
    ----------
    store
        The books; its rules say how long what is over is kept.
    counts
        What was counted of the audit.
    """

    def __init__(self, store: LeaseStore, counts: AuditCounts) -> None:
        self._store = store
        self._counts = counts

    def prune(self) -> None:
        """Write down what the audit counts, and forget what is older than it is kept."""
        self._counts.read_on()
        self._keep_counts()
        if self._store.rules.keep is not None:
            # The machine's time may have been wrong when it was started: what either clock calls young is kept.
            before = min(self._store.clock.now(), self._store.clock.wall()) - timedelta(seconds=self._store.rules.keep)
            while old := self._ended(before):
                self._forget(old)

    def _keep_counts(self) -> None:
        number, counts = self._counts.plain()
        with self._store.database.transaction() as connection:
            connection.execute(delete(counted))
            connection.execute(insert(counted).values(number=number, counts=counts))

    def _ended(self, before: datetime) -> Sequence[str]:
        """Return some leases that ended before a moment; not that of the last line: time and numbers go on from it."""
        last = select(audit.c.lease_id).order_by(audit.c.number.desc()).limit(1).scalar_subquery()
        old = select(leases.c.id).where(leases.c.released_at < before, leases.c.id != last).limit(_AT_ONCE)
        with self._store.database.reading() as connection:
            return connection.scalars(old).all()

    def _forget(self, ids: Sequence[str]) -> None:
        with self._store.database.transaction() as connection:
            for table, column in ((audit, audit.c.lease_id), (uses, uses.c.lease_id), (leases, leases.c.id)):
                connection.execute(delete(table).where(column.in_(ids)))
