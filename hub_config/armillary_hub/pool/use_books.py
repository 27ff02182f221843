"""Writing down what was used of the GPUs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from armillary_hub.pool import rows
from armillary_hub.pool.database import leases, usage, uses
from armillary_hub.pool.records import Lease
from armillary_hub.pool.usage import Use, faded, recent_seconds


def count_anew(connection: Connection, lease: Lease, gpus: float, now: datetime, half_life: float) -> None:
    """Let a lease use another number of GPUs from now on; what it has used until now counts."""
    if gpus != lease.gpus:
        if lease.gpus:
            note_use(connection, lease, now, half_life)
        connection.execute(update(leases).where(leases.c.id == lease.id).values(gpus=gpus, counted_since=now))


def note_use(connection: Connection, lease: Lease, now: datetime, half_life: float) -> None:
    """Count what a lease has used since its GPUs were counted last; what was only kept free for it fades, no more."""
    use = rows.use_until(lease, now)
    seconds = use.seconds if lease.devices else 0.0
    if lease.devices:
        _write_use(connection, lease, use)
    recent = recent_seconds(use, now, half_life)
    before = connection.execute(select(usage).where(usage.c.user == use.user)).one_or_none()
    if before is None:
        connection.execute(insert(usage).values(user=use.user, at=now, recent=recent, total=seconds))
        return
    sums = {
        "recent": faded(before.recent, now - before.at, half_life) + recent,
        "total": before.total + seconds,
    }
    connection.execute(update(usage).where(usage.c.user == use.user).values(at=now, **sums))


def _write_use(connection: Connection, lease: Lease, use: Use) -> None:
    values = {"user": use.user, "gpus": use.gpus, "since": use.since, "until": use.until}
    connection.execute(insert(uses).values(lease_id=lease.id, purpose=lease.purpose, **values))
