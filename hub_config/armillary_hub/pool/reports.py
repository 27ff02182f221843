"""What pages and metrics ask of the books beside the leases that stand. Each method is one reading transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from armillary_hub.pool import rows
from armillary_hub.pool.database import audit, counted, leases, uses
from armillary_hub.pool.records import Change
from armillary_hub.pool.store import SUSPENDED, LeaseStore

#: Uses that tell how long a lease lasts.
_RECENT_USES = 200


class Reports:
    """Questions to the books of a store."""

    def __init__(self, store: LeaseStore) -> None:
        self._store = store

    def day_hours(self, user: str) -> float:
        """Return a user's GPU-hours in the last 24 hours, what is held now included."""
        with self._store.database.reading() as connection:
            standing = rows.standing_leases(connection)
            return rows.day_hours(connection, standing, self._store.clock.now()).get(user, 0.0)

    def lasted(self) -> list[float]:
        """Return for how many seconds the leases that ended last held their GPUs."""
        with self._store.database.reading() as connection:
            recent = select(uses.c.since, uses.c.until).order_by(uses.c.number.desc()).limit(_RECENT_USES)
            return [(until - since).total_seconds() for since, until in connection.execute(recent)]

    def suspended_since(self) -> dict[str, datetime]:
        """Return by lease since when it has been suspended."""
        latest = select(audit.c.lease_id, func.max(audit.c.at)).join(leases, leases.c.id == audit.c.lease_id)
        suspended = latest.where(leases.c.state == "suspended", audit.c.reason == SUSPENDED)
        with self._store.database.reading() as connection:
            found = connection.execute(suspended.group_by(audit.c.lease_id)).all()
            return {row.lease_id: row[1] for row in found}

    def changes_after(self, number: int, limit: int) -> list[Change]:
        """Return the lines of the audit after one of them, oldest first."""
        with self._store.database.reading() as connection:
            chosen = select(audit).where(audit.c.number > number).order_by(audit.c.number).limit(limit)
            return rows.read_changes(connection, chosen)

    def counted(self) -> tuple[int, dict[str, Any]]:
        """Return up to which line the audit is counted in the books, and the counts; 0 and none where it is not."""
        with self._store.database.reading() as connection:
            found = connection.execute(select(counted)).one_or_none()
            return (found.number, found.counts) if found else (0, {})
