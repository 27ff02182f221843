"""Writing down from when waiting counts: anew with each grant to the same user, and not while a quota has no room."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, update

from armillary_hub.pool.database import leases
from armillary_hub.pool.records import Lease
from armillary_hub.pool.scheduling import Decisions


def note_turns(connection: Connection, standing: Sequence[Lease], decisions: Decisions, now: datetime) -> None:
    """Note what a round of the scheduler changes for those who wait on."""
    granted = {lease_id for lease_id, _ in decisions.grants}
    served = {lease.user for lease in standing if lease.id in granted}
    waiting = [lease for lease in standing if lease.waiting_since is not None and lease.id not in granted]
    stopped = [one.id for one in waiting if one.id in decisions.at_quota and one.ages_since is not None]
    begun = [
        one.id for one in waiting if one.id not in decisions.at_quota and (one.ages_since is None or one.user in served)
    ]
    _set(connection, stopped, None)
    _set(connection, begun, now)


def _set(connection: Connection, ids: Collection[str], moment: datetime | None) -> None:
    if ids:  # seldom: nothing is written for those for whom nothing changes
        connection.execute(update(leases).where(leases.c.id.in_(ids)).values(ages_since=moment))
