"""The books of the pool: leases, the GPUs they hold, and an audit of every change of state.

Each method is one transaction, so that a pool killed at any moment leaves books that balance. GPUs go to those who
asked first; a large ask at the head of the queue is not overtaken by smaller ones, so nobody starves.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from armillary_kernels.processes import Process
from sqlalchemy import Connection, Row, delete, insert, select, update

from armillary_hub.pool.database import audit, holdings, leases, open_database

State = Literal["queued", "granted", "released"]


@dataclass(frozen=True)
class Lease:
    """The right of one process to use some GPUs, or its place in the queue for them.

    Attributes
    ----------
    id
        32 hexadecimal digits.
    user
        The hub user.
    purpose, label
        What for: ``"kernel"``, ``"worker"``, ``"app"`` or ``"job"``, and which one.
    wanted
        Number of GPUs asked for.
    state
        queued → granted → released.
    holder
        The process on whose life the lease depends.
    in_use
        Whether the holder is the one that uses the GPUs, rather than one that waits for them or starts their user.
    devices
        UUIDs of the GPUs held.
    asked_at, granted_at
        UTC.
    reason
        Why it ended.
    """

    id: str
    user: str
    purpose: str
    label: str
    wanted: int
    state: State
    holder: Process
    in_use: bool
    devices: tuple[str, ...]
    asked_at: datetime
    granted_at: datetime | None
    reason: str


@dataclass(frozen=True)
class Change:
    """One line of the audit."""

    at: datetime
    lease_id: str
    user: str
    before: State | None
    after: State
    devices: tuple[str, ...]
    actor: str
    reason: str


class LeaseStore:
    """The books.

    Parameters
    ----------
    url
        SQLAlchemy's URL of the database.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_database(url)

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def ask(self, user: str, purpose: str, label: str, wanted: int, holder: Process) -> Lease:
        """Put an ask at the end of the queue."""
        lease_id = uuid.uuid4().hex
        values = {
            "id": lease_id,
            "user": user,
            "purpose": purpose,
            "label": label,
            "wanted": wanted,
            "state": "queued",
            "pid": holder.pid,
            "start_time": holder.start_time,
            "in_use": False,
            "asked_at": datetime.now(UTC),
            "reason": "",
        }
        with self._engine.begin() as connection:
            connection.execute(insert(leases).values(values))
            lease = _one(connection, lease_id)
            _note(connection, lease, None, actor=user, reason="asked")
        return lease

    def grant_waiting(self, devices: Sequence[str], *, cpu_only: bool = False) -> list[Lease]:
        """Give free GPUs to those at the head of the queue.

        Parameters
        ----------
        devices
            UUIDs of all GPUs that work, in the order in which to give them.
        cpu_only
            The machine has no GPU: everybody in the queue gets a lease of none, for there is nothing to wait for.

        Returns
        -------
        list of Lease
            Those granted now.
        """
        granted = []
        with self._engine.begin() as connection:
            taken = set(connection.execute(select(holdings.c.device)).scalars())
            free = [device for device in devices if device not in taken]
            for lease in _active(connection, "queued"):
                count = 0 if cpu_only else lease.wanted
                if count > len(free):
                    break
                granted.append(_grant(connection, lease, free[:count]))
                free = free[count:]
        return granted

    def bind(self, lease_id: str, holder: Process, in_use: bool) -> Lease | None:
        """Tie a granted lease to another process; None when there is no such granted lease."""
        chosen = update(leases).where(leases.c.id == lease_id, leases.c.state == "granted")
        with self._engine.begin() as connection:
            changed = connection.execute(
                chosen.values(pid=holder.pid, start_time=holder.start_time, in_use=in_use)
            ).rowcount
            return _one(connection, lease_id) if changed else None

    def release(self, lease_id: str, actor: str, reason: str, *, held_by: Process | None = None) -> Lease | None:
        """End a lease or an ask, and take its GPUs back.

        Parameters
        ----------
        lease_id
            Which one.
        actor, reason
            Who does it and why, for the audit.
        held_by
            If given, do it only while this is its holder.

        Returns
        -------
        Lease or None
            The lease as it stands now, or None when nothing was ended.
        """
        with self._engine.begin() as connection:
            lease = _find(connection, lease_id)
            if lease is None or lease.state == "released" or held_by not in (None, lease.holder):
                return None
            connection.execute(delete(holdings).where(holdings.c.lease_id == lease_id))
            _change(connection, lease_id, state="released", released_at=datetime.now(UTC), in_use=False, reason=reason)
            ended = _one(connection, lease_id)
            _note(connection, ended, lease.state, actor, reason)
        return ended

    def get(self, lease_id: str) -> Lease | None:
        """Return a lease, released ones too."""
        with self._engine.connect() as connection:
            return _find(connection, lease_id)

    def active(self) -> list[Lease]:
        """Return the leases and asks that stand, in the order in which they were asked for."""
        with self._engine.connect() as connection:
            return _active(connection, "queued", "granted")

    def changes(self) -> list[Change]:
        """Return the whole audit, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(audit).order_by(audit.c.number)).all()
        return [_change_of(row) for row in rows]


def replay(changes: Iterable[Change]) -> dict[str, tuple[State, tuple[str, ...]]]:
    """Return the state and the GPUs of every lease, as the audit alone tells them."""
    return {change.lease_id: (change.after, change.devices) for change in changes}


def _grant(connection: Connection, lease: Lease, devices: Sequence[str]) -> Lease:
    for position, device in enumerate(devices):
        connection.execute(insert(holdings).values(device=device, lease_id=lease.id, position=position))
    _change(connection, lease.id, state="granted", granted_at=datetime.now(UTC))
    granted = _one(connection, lease.id)
    _note(connection, granted, "queued", actor="pool", reason="granted")
    return granted


def _change(connection: Connection, lease_id: str, **values: Any) -> None:
    connection.execute(update(leases).where(leases.c.id == lease_id).values(values))


def _note(connection: Connection, lease: Lease, before: State | None, actor: str, reason: str) -> None:
    line = {
        "at": datetime.now(UTC),
        "lease_id": lease.id,
        "user": lease.user,
        "before": before,
        "after": lease.state,
        "devices": list(lease.devices),
        "actor": actor,
        "reason": reason,
    }
    connection.execute(insert(audit).values(line))


def _find(connection: Connection, lease_id: str) -> Lease | None:
    row = connection.execute(select(leases).where(leases.c.id == lease_id)).one_or_none()
    return None if row is None else _lease_of(connection, row)


def _one(connection: Connection, lease_id: str) -> Lease:
    return _lease_of(connection, connection.execute(select(leases).where(leases.c.id == lease_id)).one())


def _active(connection: Connection, *states: State) -> list[Lease]:
    chosen = select(leases).where(leases.c.state.in_(states)).order_by(leases.c.number)
    return [_lease_of(connection, row) for row in connection.execute(chosen).all()]


def _lease_of(connection: Connection, row: Row[Any]) -> Lease:
    held = select(holdings.c.device).where(holdings.c.lease_id == row.id).order_by(holdings.c.position)
    return Lease(
        id=row.id,
        user=row.user,
        purpose=row.purpose,
        label=row.label,
        wanted=row.wanted,
        state=row.state,
        holder=Process(row.pid, row.start_time),
        in_use=row.in_use,
        devices=tuple(connection.execute(held).scalars()),
        asked_at=_utc(row.asked_at),
        granted_at=None if row.granted_at is None else _utc(row.granted_at),
        reason=row.reason,
    )


def _change_of(row: Row[Any]) -> Change:
    return Change(
        _utc(row.at), row.lease_id, row.user, row.before, row.after, tuple(row.devices), row.actor, row.reason
    )


def _utc(moment: datetime) -> datetime:
    """Return the moment with its zone, which SQLite drops."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
