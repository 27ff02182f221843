"""Reading the books: rows of the tables as what they stand for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from armillary_kernels.processes import Process
from armillary_kernels.together import Together
from sqlalchemy import Connection, Row, Select, bindparam, select

from armillary_hub.pool.clock import BookClock
from armillary_hub.pool.database import audit, devices, holdings, leases, quotas, reservations, usage, uses
from armillary_hub.pool.quotas import Quota, QuotaRule
from armillary_hub.pool.records import BookedDevice, Change, Lease
from armillary_hub.pool.reservations import Reservation, in_force
from armillary_hub.pool.situation import Rules, Situation
from armillary_hub.pool.usage import Use, faded, recent_seconds

#: What counts towards a quota of GPU-hours.
DAY = timedelta(days=1)

# Made once: to put a statement together takes as long as to run it.
_ONE_LEASE = select(leases).where(leases.c.id == bindparam("id"))
_ONE_HOLDS = select(holdings.c.device).where(holdings.c.lease_id == bindparam("id")).order_by(holdings.c.position)
# By the states that stand: ``!= "released"`` would read every lease that ever was.
_STANDING_LEASES = (
    select(leases).where(leases.c.state.in_(("queued", "granted", "suspended"))).order_by(leases.c.number)
)
_ALL_HOLD = select(holdings.c.lease_id, holdings.c.device).order_by(holdings.c.position)
_DEVICES = select(devices).order_by(devices.c.index, devices.c.uuid)
_QUOTAS = select(quotas).order_by(quotas.c.scope, quotas.c.name)
_RESERVATIONS = select(reservations).order_by(reservations.c.starts, reservations.c.id)
_USAGE = select(usage)


def find_lease(connection: Connection, lease_id: str) -> Lease | None:
    """Return a lease, ended ones too."""
    row = connection.execute(_ONE_LEASE, {"id": lease_id}).one_or_none()
    if row is None:
        return None
    return _lease(row, connection.scalars(_ONE_HOLDS, {"id": lease_id}).all() if row.state == "granted" else ())


def standing_leases(connection: Connection) -> list[Lease]:
    """Return the leases and asks that stand, in the order in which they were asked for."""
    rows = connection.execute(_STANDING_LEASES).all()
    held: dict[str, list[str]] = defaultdict(list)
    if any(row.state == "granted" for row in rows):
        for lease_id, device in connection.execute(_ALL_HOLD):
            held[lease_id].append(device)
    return [_lease(row, held[row.id]) for row in rows]


def _lease(row: Row[Any], held: Sequence[str]) -> Lease:
    return Lease(
        id=row.id,
        number=row.number,
        user=row.user,
        groups=tuple(row.groups),
        purpose=row.purpose,
        label=row.label,
        wanted=row.wanted,
        memory=row.memory,
        state=row.state,
        step=row.step,
        holder=Process(row.pid, row.start_time),
        in_use=row.in_use,
        devices=tuple(held),
        gpus=row.gpus,
        counted_since=row.counted_since,
        came_from=tuple(row.came_from),
        saved=row.saved or {},
        asked_at=row.asked_at,
        granted_at=row.granted_at,
        waiting_since=row.waiting_since,
        ages_since=row.ages_since,
        idle_since=row.idle_since,
        ends_at=row.ends_at,
        together=Together(row.together, row.together_size) if row.together else None,
        reason=row.reason,
    )


def read_devices(connection: Connection) -> list[BookedDevice]:
    """Return the devices by index."""
    rows = connection.execute(_DEVICES).all()
    return [BookedDevice(**row._mapping) for row in rows]


def read_changes(connection: Connection, chosen: Select[Any]) -> list[Change]:
    """Return lines of the audit."""
    return [
        Change(**{**row._mapping, "devices": tuple(row.devices)})
        for row in connection.execute(chosen.with_only_columns(*audit.c)).all()
    ]


def read_quotas(connection: Connection) -> list[QuotaRule]:
    """Return all quotas by scope and name."""
    rows = connection.execute(_QUOTAS).all()
    return [QuotaRule(row.scope, row.name, Quota(row.gpus, row.gpu_hours, row.weight)) for row in rows]


def read_reservations(connection: Connection) -> list[Reservation]:
    """Return all reservations, the earliest first."""
    rows = connection.execute(_RESERVATIONS).all()
    times = ("starts", "ends")
    return [
        Reservation(**{**row._mapping, **{name: datetime.fromisoformat(getattr(row, name)) for name in times}})
        for row in rows
    ]


def use_until(lease: Lease, now: datetime) -> Use:
    """Return how a lease has used its GPUs since they were counted last."""
    return Use(lease.user, lease.gpus, lease.counted_since or now, now)


def recent_use(connection: Connection, standing: Sequence[Lease], now: datetime, half_life: float) -> dict[str, float]:
    """Return each user's recent GPU-seconds, with what is held, or kept free for them, now."""
    recent: dict[str, float] = defaultdict(float)
    for row in connection.execute(_USAGE).all():
        recent[row.user] = faded(row.recent, now - row.at, half_life)
    for lease in standing:
        if lease.gpus:
            recent[lease.user] += recent_seconds(use_until(lease, now), now, half_life)
    return dict(recent)


def total_use(connection: Connection, standing: Sequence[Lease], now: datetime) -> dict[str, float]:
    """Return each user's GPU-seconds of all time, with what is held now."""
    total: dict[str, float] = defaultdict(float)
    total.update((row.user, row.total) for row in connection.execute(_USAGE).all())
    for lease in standing:
        if lease.devices:
            total[lease.user] += use_until(lease, now).seconds
    return dict(total)


def day_hours(connection: Connection, standing: Sequence[Lease], now: datetime) -> dict[str, float]:
    """Return each user's GPU-hours in the last 24 hours, with what is held now."""
    ended = connection.execute(
        select(uses.c.user, uses.c.gpus, uses.c.since, uses.c.until).where(uses.c.until > now - DAY)
    )
    hours: dict[str, float] = defaultdict(float)
    for use in [*(Use(*row) for row in ended), *(use_until(lease, now) for lease in standing if lease.devices)]:
        hours[use.user] += use.after(now - DAY).seconds / 3600
    return dict(hours)


def situation(
    connection: Connection, clock: BookClock, rules: Rules, suspendable: frozenset[str], moves: bool
) -> Situation:
    """Return the books as the scheduler sees them; see `Situation`."""
    now, quotas, standing = clock.now(), read_quotas(connection), standing_leases(connection)
    hours = any(rule.quota.gpu_hours is not None for rule in quotas)
    return Situation(
        leases=standing,
        devices=read_devices(connection),
        recent=recent_use(connection, standing, now, rules.half_life),
        day_hours=day_hours(connection, standing, now) if hours else {},
        quotas=quotas,
        # Reservations are made by the clock on the wall.
        reservations=in_force(read_reservations(connection), clock.wall(), rules.lead_time),
        suspendable=suspendable,
        now=now,
        moves=moves,
        rules=rules,
    )
