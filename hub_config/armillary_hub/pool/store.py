"""The books of the pool: leases, the GPUs they hold, what was used, and an audit of every change.

Each method is one transaction, so that a pool killed at any moment leaves books that balance.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from armillary_kernels.processes import Process
from armillary_kernels.together import Together
from sqlalchemy import Connection, delete, func, insert, select, update

from armillary_hub.pool import rows
from armillary_hub.pool.clock import BookClock, Reading
from armillary_hub.pool.database import audit, holdings, leases, readings
from armillary_hub.pool.opening import OpenDatabase
from armillary_hub.pool.queue_books import note_turns
from armillary_hub.pool.records import Change, Lease, State, gpus_held
from armillary_hub.pool.scheduling import Decisions
from armillary_hub.pool.situation import Rules, Situation
from armillary_hub.pool.use_books import count_anew, note_use

#: What the audit says of the steps of a suspension, and before the reason why one failed.
SUSPENDED, RESTORED, NOT_SUSPENDED, NOT_RESTORED = "suspended", "restored", "not suspended", "not restored"

#: What the audit says when a suspended lease joins the queue.
ASKED_BACK = "asks to come back"

#: Why all leases of before have ended after a start of the machine.
STARTED_ANEW = "the machine was started anew"


@dataclass(frozen=True)
class Settled:
    """What a round of the scheduler changed: leases that got devices, and those that are about to be suspended."""

    granted: tuple[Lease, ...] = ()
    suspending: tuple[Lease, ...] = ()


class LeaseStore:
    """The books.

    Parameters
    ----------
    url
        SQLAlchemy's URL of the database.
    clock
        The books' time.
    rules
        What the admin decided; here it is for how long use counts.

    Raises
    ------
    DatabaseInUseError, DatabaseFaultError
        If the database cannot be had; see `OpenDatabase`.
    """

    def __init__(self, url: str, clock: BookClock | None = None, rules: Rules = Rules()) -> None:  # noqa: B008 - frozen
        self.clock = clock or BookClock()
        self.rules = rules
        self.database = OpenDatabase(url)
        self._go_on()

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    # Time ----------------------------------------------------------------------------------------------------

    def keep_time(self) -> None:
        """Write the books' time down, once in a while."""
        if self.clock.is_due:
            with self.database.transaction() as connection:
                _keep(connection, self.clock.read())

    def _go_on(self) -> None:
        """Go on with the time in the books. Where the machine was started anew since, no holder of a lease lives."""
        with self.database.transaction() as connection:
            row = connection.execute(select(readings)).one_or_none()
            latest = connection.scalar(select(audit.c.at).order_by(audit.c.number.desc()).limit(1))
            if self.clock.go_on(Reading(**row._mapping) if row else None, latest):
                for lease in rows.standing_leases(connection):
                    self._end(connection, lease, "pool", STARTED_ANEW)
                self.clock.follow()
            _keep(connection, self.clock.read())

    # What leases go through ----------------------------------------------------------------------------------

    def ask(
        self,
        user: str,
        purpose: str,
        label: str,
        wanted: int,
        holder: Process,
        together: Together | None = None,
        *,
        memory: int | None = None,
        groups: Sequence[str] = (),
        asked_by: str = "",
        lease_id: str | None = None,
    ) -> Lease:
        """Put an ask into the queue: for ``wanted`` whole GPUs, or for ``memory`` MiB of one.

        Where it is not the user who asks, ``asked_by`` says who; the audit keeps it. A lease that has the id
        already is returned as it stands.
        """
        lease_id, now = lease_id or uuid.uuid4().hex, self.clock.now()
        values = {
            "id": lease_id,
            "user": user,
            "groups": list(groups),
            "purpose": purpose,
            "label": label,
            "wanted": wanted,
            "memory": memory,
            "state": "queued",
            "step": "",
            "pid": holder.pid,
            "start_time": holder.start_time,
            "in_use": False,
            "gpus": 0.0,
            "came_from": [],
            "asked_at": now,
            "waiting_since": now,
            "ages_since": now,
            "together": together and together.id,
            "together_size": together and together.size,
            "reason": "",
        }
        with self.database.transaction() as connection:
            if (known := rows.find_lease(connection, lease_id)) is not None:
                return known
            connection.execute(insert(leases).values(values))
            return self._note(connection, lease_id, None, asked_by or user, "asked")

    def settle(
        self, decide: Callable[[Situation], Decisions], suspendable: frozenset[str] = frozenset(), moves: bool = True
    ) -> Settled:
        """Let the scheduler decide on the books as they are, and write down what it decides.

        Parameters
        ----------
        decide
            `armillary_hub.pool.scheduling.decide`.
        suspendable
            Ids of the leases that can be suspended.
        moves
            Whether a suspended process may come back on another device of its kind.
        """
        with self.database.transaction() as connection:
            situation = rows.situation(connection, self.clock, self.rules, suspendable, moves)
            decisions = decide(situation)
            by_id = {lease.id: lease for lease in situation.leases}
            memories = {device.uuid: device.memory for device in situation.devices}
            granted = [self._grant(connection, by_id[one], given, memories) for one, given in decisions.grants]
            suspending = [self._begin(connection, by_id[one], "pool") for one in decisions.suspensions]
            note_turns(connection, situation.leases, decisions, self.clock.now())
            granted_now = {lease.id for lease in granted}
            for lease in situation.leases:
                if not lease.devices and lease.id not in granted_now:
                    self._count(connection, lease, float(decisions.kept_for.get(lease.id, 0)))
        return Settled(tuple(granted), tuple(suspending))

    def bind(self, lease_id: str, holder: Process, in_use: bool, actor: str = "") -> Lease | None:
        """Tie a lease to another process; None when it is neither granted nor queued.

        Nothing uses the GPUs of a queued one, whatever is said.
        """
        with self.database.transaction() as connection:
            before = rows.find_lease(connection, lease_id)
            if before is None or before.state not in ("granted", "queued"):
                return None
            used = in_use and before.state == "granted"
            held = {"pid": holder.pid, "start_time": holder.start_time, "in_use": used}
            _change(connection, lease_id, **held, step="", idle_since=None, ends_at=None)
            lease = rows.find_lease(connection, lease_id)
            if lease is not None and (lease.holder, used) != (before.holder, before.in_use):
                what = f"process {holder.pid} {'uses' if used else 'holds'} it"
                note(connection, lease, lease.state, self.clock.now(), actor or lease.user, what)
            return lease

    def note_activity(self, lease_id: str, busy: bool) -> Lease | None:
        """Note that the holder of a granted lease uses the GPUs, or does nothing from now on.

        A suspended one that does nothing no longer asks to come back. The audit has no line for each cell that is run:
        it says since when somebody was idle where that has a consequence, and where work calls one off.
        """
        chosen = update(leases).where(leases.c.id == lease_id, leases.c.state == "granted")
        if not busy:
            chosen = chosen.where(leases.c.idle_since.is_(None))
        with self.database.transaction() as connection:
            before = rows.find_lease(connection, lease_id)
            connection.execute(chosen.values(idle_since=None if busy else self.clock.now(), ends_at=None))
            lease = rows.find_lease(connection, lease_id)
            if busy and before is not None and before.ends_at is not None:
                return self._note(connection, lease_id, "granted", before.user, "is busy, and not restarted")
            if lease is None or busy or lease.state != "suspended" or lease.waiting_since is None:
                return lease
            self._count(connection, lease, 0.0)
            _change(connection, lease_id, waiting_since=None, ages_since=None)
            return self._note(connection, lease_id, "suspended", lease.user, "waits no longer")

    def begin_suspension(self, lease_id: str, actor: str) -> Lease | None:
        """Note that an idle lease is being suspended; it holds its devices until that is done. None if it cannot be."""
        with self.database.transaction() as connection:
            lease = rows.find_lease(connection, lease_id)
            if lease is None or lease.state != "granted" or lease.step or not lease.devices or not lease.in_use:
                return None
            # Who has said to be busy relies on its GPUs.
            return None if lease.idle_since is None else self._begin(connection, lease, actor)

    def end_suspension(self, lease: Lease, failure: str = "", saved: Mapping[str, int] | None = None) -> Lease | None:
        """Take the devices of a lease whose process is suspended now, or leave them to it where that failed.

        Parameters
        ----------
        lease
            The lease as it was when it began.
        failure
            Why it is not suspended.
        saved
            MiB of each device that the process needs to come back.

        Returns
        -------
        Lease or None
            The lease as it stands now; None when another process holds it meanwhile, or none.
        """
        with self.database.transaction() as connection:
            if (still := _still(connection, lease, "suspending")) is None:
                return None
            lease = still
            if failure:
                # It may be tried again after another while of doing nothing.
                _change(connection, lease.id, step="", idle_since=self.clock.now())
                return self._note(connection, lease.id, "granted", "pool", f"{NOT_SUSPENDED}: {failure}")
            self._take(connection, lease)
            kept = {"came_from": list(lease.devices), "saved": dict(saved or {})}
            _change(connection, lease.id, state="suspended", step="", gpus=0.0, ends_at=None, **kept)
            return self._note(connection, lease.id, "granted", "pool", SUSPENDED)

    def resume(self, lease_id: str, actor: str) -> Lease | None:
        """Put a suspended lease into the queue again; None when it is not suspended."""
        with self.database.transaction() as connection:
            lease = rows.find_lease(connection, lease_id)
            if lease is None or lease.state != "suspended":
                return None
            if lease.waiting_since is not None:
                return lease
            now = self.clock.now()
            _change(connection, lease_id, waiting_since=now, ages_since=now)
            return self._note(connection, lease_id, "suspended", actor, ASKED_BACK)

    def end_restoration(self, lease: Lease, failure: str = "") -> Lease | None:
        """Note that a suspended process runs again on its devices, or that it stays suspended for now.

        Returns
        -------
        Lease or None
            The lease as it stands now; None when another process holds it meanwhile, or none.
        """
        with self.database.transaction() as connection:
            if (still := _still(connection, lease, "restoring")) is None:
                return None
            lease = still
            if failure:
                self._take(connection, lease)
                _change(connection, lease.id, state="suspended", step="", gpus=0.0)
                return self._note(connection, lease.id, "granted", "pool", f"{NOT_RESTORED}: {failure}")
            _change(connection, lease.id, step="", came_from=[], saved={})
            return self._note(connection, lease.id, "granted", "pool", RESTORED)

    def release(
        self,
        lease_id: str,
        actor: str,
        reason: str,
        *,
        held_by: Process | None = None,
        only_in: State | None = None,
    ) -> Lease | None:
        """End a lease or an ask, and take its GPUs back.

        Parameters
        ----------
        lease_id
            Which one.
        actor, reason
            Who does it and why, for the audit.
        held_by
            If given, do it only while this is its holder.
        only_in
            If given, do it only while this is its state.

        Returns
        -------
        Lease or None
            The lease as it stands now, or None when nothing was ended.
        """
        with self.database.transaction() as connection:
            lease = rows.find_lease(connection, lease_id)
            if lease is None or lease.state == "released":
                return None
            if held_by not in (None, lease.holder) or only_in not in (None, lease.state):
                return None
            return self._end(connection, lease, actor, reason)

    # Looking -------------------------------------------------------------------------------------------------

    def get(self, lease_id: str) -> Lease | None:
        """Return a lease, released ones too."""
        with self.database.reading() as connection:
            return rows.find_lease(connection, lease_id)

    def asked_by(self, lease_id: str) -> str | None:
        """Return who asked for a lease: its user, or another for that user."""
        first = select(audit.c.actor).where(audit.c.lease_id == lease_id, audit.c.before.is_(None))
        with self.database.reading() as connection:
            return connection.scalar(first)

    def waiting(self, user: str) -> int:
        """Return how many leases of a user are in the queue."""
        states = leases.c.state.in_(("queued", "suspended"))
        chosen = select(func.count()).where(leases.c.user == user, states, leases.c.waiting_since.is_not(None))
        with self.database.reading() as connection:
            return connection.scalar(chosen) or 0

    def active(self) -> list[Lease]:
        """Return the leases and asks that stand, in the order in which they were asked for."""
        with self.database.reading() as connection:
            return rows.standing_leases(connection)

    def situation(self, suspendable: frozenset[str] = frozenset(), moves: bool = True) -> Situation:
        """Return what the scheduler decides on."""
        with self.database.reading() as connection:
            return rows.situation(connection, self.clock, self.rules, suspendable, moves)

    def changes(self, *, user: str | None = None, before: int | None = None, limit: int | None = None) -> list[Change]:
        """Return the audit, oldest first: all of it, or the last ``limit`` lines of a user before a line's number."""
        chosen = select(audit).order_by(audit.c.number.desc()).limit(limit)
        if user is not None:
            chosen = chosen.where(audit.c.user == user)
        if before is not None:
            chosen = chosen.where(audit.c.number < before)
        with self.database.reading() as connection:
            return rows.read_changes(connection, chosen)[::-1]

    def gpu_seconds(self) -> dict[str, float]:
        """Return the GPU-seconds of all time by user."""
        with self.database.reading() as connection:
            return rows.total_use(connection, rows.standing_leases(connection), self.clock.now())

    # Within a transaction ------------------------------------------------------------------------------------

    def _grant(self, connection: Connection, lease: Lease, given: Sequence[str], memories: dict[str, int]) -> Lease:
        gpus = gpus_held(lease.memory, [memories[uuid] for uuid in given])
        step = "restoring" if lease.state == "suspended" else ""
        now = self.clock.now()
        self._count(connection, lease, 0.0)  # nothing is kept for it any more
        _change(
            connection,
            lease.id,
            state="granted",
            step=step,
            gpus=gpus,
            granted_at=now,
            counted_since=now,
            waiting_since=None,
            ages_since=None,
            idle_since=None,
        )
        for position, device in enumerate(given):
            values = {"device": device, "lease_id": lease.id, "position": position, "memory": lease.memory}
            connection.execute(insert(holdings).values(values))
        return self._note(connection, lease.id, lease.state, "pool", "granted")

    def _end(self, connection: Connection, lease: Lease, actor: str, reason: str) -> Lease:
        self._take(connection, lease)
        ended = {"state": "released", "step": "", "released_at": self.clock.now(), "in_use": False, "gpus": 0.0}
        _change(connection, lease.id, **ended, waiting_since=None, ages_since=None, idle_since=None, ends_at=None)
        return self._note(connection, lease.id, lease.state, actor, reason)

    def _begin(self, connection: Connection, lease: Lease, actor: str) -> Lease:
        _change(connection, lease.id, step="suspending")
        since = f", idle since {lease.idle_since:%Y-%m-%d %H:%M} UTC" if lease.idle_since else ""
        return self._note(connection, lease.id, "granted", actor, f"is being suspended{since}")

    def _take(self, connection: Connection, lease: Lease) -> None:
        """Take a lease's devices and count their use."""
        connection.execute(delete(holdings).where(holdings.c.lease_id == lease.id))
        if lease.gpus:
            note_use(connection, lease, self.clock.now(), self.rules.half_life)

    def _count(self, connection: Connection, lease: Lease, gpus: float) -> None:
        count_anew(connection, lease, gpus, self.clock.now(), self.rules.half_life)

    def _note(self, connection: Connection, lease_id: str, before: State | None, actor: str, reason: str) -> Lease:
        """Write a change down; returns the lease as it stands now."""
        _change(connection, lease_id, reason=reason[:200])
        lease = rows.find_lease(connection, lease_id)
        if lease is None:
            raise LookupError(lease_id)
        return note(connection, lease, before, self.clock.now(), actor, reason)


def note(connection: Connection, lease: Lease, before: State | None, at: datetime, actor: str, reason: str) -> Lease:
    """Write a line of the audit."""
    line = {
        "at": at,
        "lease_id": lease.id,
        "user": lease.user,
        "before": before,
        "after": lease.state,
        "devices": list(lease.devices),
        "actor": actor,
        "reason": reason[:200],
    }
    connection.execute(insert(audit).values(line))
    return lease


def _still(connection: Connection, lease: Lease, step: str) -> Lease | None:
    """Return a lease as it stands now, where a step of the same process is still under way."""
    now = rows.find_lease(connection, lease.id)
    return now if now is not None and (now.step, now.holder) == (step, lease.holder) else None


def _keep(connection: Connection, reading: Reading) -> None:
    connection.execute(delete(readings))
    connection.execute(insert(readings).values(asdict(reading)))


def _change(connection: Connection, lease_id: str, **values: Any) -> None:
    connection.execute(update(leases).where(leases.c.id == lease_id).values(values))
