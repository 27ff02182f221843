"""The books at one moment, as the scheduler sees them, and what an admin decided about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from armillary_hub.pool.quotas import QuotaRule
from armillary_hub.pool.records import BookedDevice, Lease
from armillary_hub.pool.reservations import Reservation


@dataclass(frozen=True)
class Rules:
    """What an admin decides on.

    Attributes
    ----------
    half_life
        Seconds after which use counts half.
    charge
        Seconds of use that a GPU held now counts for in advance.
    ageing
        Seconds of use that a second of waiting makes up for; it counts anew with each grant to the same person.
    head_start
        Seconds of waiting that a lease which comes back from its suspension is given.
    most_waiting
        How many asks of one person may wait at once.
    idle_after
        Seconds for which a lease must be idle before it is suspended for others.
    lead
        Seconds before its start that a reservation begins to keep what becomes free.
    restart_warning
        Seconds of warning before an idle kernel that cannot be suspended is ended for others; None to end none.
    keep
        Seconds for which the books keep a lease that has ended, with its audit and its use; None for good.
    """

    half_life: float = 86400.0
    charge: float = 600.0
    ageing: float = 10.0
    head_start: float = 60.0
    most_waiting: int = 100
    idle_after: float = 600.0
    lead: float = 900.0
    restart_warning: float | None = None
    keep: float | None = None

    @property
    def lead_time(self) -> timedelta:
        """The lead of reservations."""
        return timedelta(seconds=self.lead)


@dataclass(frozen=True)
class Situation:
    """The books at one moment.

    Attributes
    ----------
    leases
        All that stand.
    devices
        All that the books know.
    now
        The books' time.
    recent
        Recent GPU-seconds by user, what is held, or kept free for them, now included.
    day_hours
        GPU-hours in the last 24 hours by user, what is held now included.
    quotas, reservations
        All quotas, and the reservations in force.
    suspendable
        Ids of the leases that can be suspended without losing anything.
    moves
        Whether a suspended process may come back on another device of the same kind.
    rules
        What the admin decided.
    """

    leases: Sequence[Lease]
    devices: Sequence[BookedDevice]
    now: datetime
    recent: Mapping[str, float] = field(default_factory=dict)
    day_hours: Mapping[str, float] = field(default_factory=dict)
    quotas: Sequence[QuotaRule] = ()
    reservations: Sequence[Reservation] = ()
    suspendable: frozenset[str] = frozenset()
    moves: bool = True
    rules: Rules = Rules()

    def without(self, gone: frozenset[str]) -> Situation:
        """Return the situation as if some leases had ended."""
        return replace(self, leases=[lease for lease in self.leases if lease.id not in gone])
