"""Who gets a GPU next, and whose idle GPU is taken for it. Pure functions of the books at one moment.

The rules, in the order in which they count:

1. Who is in a reservation comes first, for as many GPUs as it keeps. Nobody else gets those.
2. Then who has used least: recent GPU-seconds (`armillary_hub.pool.usage`) divided by the person's weight. A GPU held
   now counts as some use in advance (`Rules.charge`), so that people who ask at once take turns.
3. Waiting makes up for use (`Rules.ageing`), so that everybody's turn comes: whoever asks once a wait has made up for
   all of a person's use stands behind that person.
4. Who comes back from a suspension stands a little ahead of new asks (`Rules.head_start`).
5. Who is at a quota, or asks for more than there can be now, is passed over until that changes, and stops nobody.
6. The first who cannot be served keeps every device that would do: nobody behind takes one, so a large ask gathers
   what it needs, however many small ones come.
7. For those who cannot be served, idle leases are suspended, the longest idle first; but only where that is enough.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from armillary_hub.pool.quotas import QuotaRule, quota_of
from armillary_hub.pool.records import BookedDevice, Lease
from armillary_hub.pool.reservations import Reservation

#: GPUs are counted in parts; this much is nothing.
_NOTHING = 1e-9


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
        Seconds of use that a second of waiting makes up for.
    head_start
        Seconds of waiting that a lease which comes back from its suspension is given.
    idle_after
        Seconds for which a lease must be idle before it is suspended for others.
    lead
        Seconds before its start that a reservation begins to keep what becomes free.
    restart_warning
        Seconds of warning before an idle kernel that cannot be suspended is ended for others; None to end none.
    """

    half_life: float = 86400.0
    charge: float = 600.0
    ageing: float = 10.0
    head_start: float = 60.0
    idle_after: float = 600.0
    lead: float = 900.0
    restart_warning: float | None = None

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
        Recent GPU-seconds by user, what is held now included.
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


@dataclass(frozen=True)
class Decisions:
    """What is to be done now.

    Attributes
    ----------
    grants
        Ids of leases and the UUIDs of the devices that each gets.
    suspensions
        Ids of idle leases whose devices others wait for.
    """

    grants: tuple[tuple[str, tuple[str, ...]], ...] = ()
    suspensions: tuple[str, ...] = ()


def decide(situation: Situation) -> Decisions:
    """Return who gets which devices now, and which idle leases are suspended for those who get none."""
    if not situation.devices:
        # There is nothing to wait for on a machine without GPUs.
        return Decisions(tuple((lease.id, ()) for lease in situation.leases if lease.state == "queued"))
    return Decisions(_grants(situation), _suspensions(situation))


def order(situation: Situation) -> list[Lease]:
    """Return those who wait, in the order in which they would be served; those at a quota come last."""
    room = _Room(situation)
    served, passed_over = [], []
    for lease in room.line():
        if room.is_passed_over(lease):
            passed_over.append(lease)
        else:
            served.append(lease)
            room.hold(lease)
    return [*served, *passed_over]


def waits_for(situation: Situation, lease: Lease) -> Literal["turn", "quota", "devices"]:
    """Return what a lease waits for: its turn, its user's own quota, or devices that are not there or are reserved."""
    room = _Room(situation)
    if room.is_at_quota(lease):
        return "quota"
    return "devices" if room.is_passed_over(lease) else "turn"


def _grants(situation: Situation) -> tuple[tuple[str, tuple[str, ...]], ...]:
    room = _Room(situation)
    grants = []
    for lease in room.line():
        if room.is_full():
            break
        if room.is_passed_over(lease):
            continue
        if devices := room.choose(lease):
            room.hold(lease, devices)
            grants.append((lease.id, devices))
        else:
            room.close(lease)
    return tuple(grants)


def _suspensions(situation: Situation) -> tuple[str, ...]:
    """Return the leases to suspend: those with which more of the waiting can be served than without."""
    gone = {lease.id for lease in situation.leases if lease.step == "suspending"}
    idle = [lease for lease in situation.leases if _is_idle(situation, lease)]
    if not idle or all(lease.waiting_since is None for lease in situation.leases):
        return ()
    served = len(_grants(situation.without(frozenset(gone))))
    chosen: list[Lease] = []
    tried: list[Lease] = []
    for lease in sorted(idle, key=lambda one: (one.idle_since or situation.now, one.number)):
        tried.append(lease)
        grants = _grants(situation.without(frozenset(gone | {one.id for one in (*chosen, *tried)})))
        if len(grants) > served:
            served = len(grants)
            given = {device for _, devices in grants for device in devices}
            chosen += [one for one in tried if given & set(one.devices)]
            tried = [one for one in tried if one not in chosen]
    return tuple(lease.id for lease in chosen)


def _is_idle(situation: Situation, lease: Lease) -> bool:
    may_go = lease.state == "granted" and not lease.step and lease.in_use and lease.id in situation.suspendable
    if not may_go or not lease.devices or lease.idle_since is None:
        return False
    return (situation.now - lease.idle_since).total_seconds() >= situation.rules.idle_after


class _Room:
    """What is left of the devices while a round of grants is worked out, and who holds the rest."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._devices = sorted((one for one in situation.devices if one.state == "working"), key=lambda one: one.index)
        self._kinds = {device.uuid: device.kind for device in situation.devices}
        self._closed: set[str] = set()
        self._whole: set[str] = set()
        self._shared: Counter[str] = Counter()
        self._holders: list[tuple[Lease, float]] = []
        self._held: Counter[str] = Counter()  # GPUs by user
        for lease in situation.leases:
            if lease.devices:
                self._book(lease, lease.devices, lease.gpus)

    # The line --------------------------------------------------------------------------------------------

    def line(self) -> Iterator[Lease]:
        """Yield those who wait; whoever is next depends on what those before were given."""
        waiting: dict[str, list[Lease]] = {}
        for lease in sorted(self._situation.leases, key=lambda one: (-self._waited(one), one.number), reverse=True):
            if lease.waiting_since is not None:
                waiting.setdefault(lease.user, []).append(lease)
        while waiting:
            user = min(waiting, key=lambda name: self._rank(waiting[name][-1]))
            yield waiting[user].pop()
            if not waiting[user]:
                del waiting[user]

    def _rank(self, lease: Lease) -> tuple[bool, float, int]:
        rules, user = self._situation.rules, lease.user
        weight = quota_of(user, lease.groups, self._situation.quotas).weight or 1.0
        used = (self._situation.recent.get(user, 0.0) + self._held[user] * rules.charge) / weight
        return not self._is_entitled(lease), used - self._waited(lease) * rules.ageing, lease.number

    def _waited(self, lease: Lease) -> float:
        if lease.waiting_since is None:
            return 0.0
        head_start = self._situation.rules.head_start if lease.state == "suspended" else 0.0
        return (self._situation.now - lease.waiting_since).total_seconds() + head_start

    # Who may -------------------------------------------------------------------------------------------------

    def is_passed_over(self, lease: Lease) -> bool:
        """Return whether it cannot be served now even if nobody else held anything."""
        return self.is_at_quota(lease) or not self._is_possible(lease)

    def is_at_quota(self, lease: Lease) -> bool:
        """Return whether what it wants would be more than its user may have."""
        quota = quota_of(lease.user, lease.groups, self._situation.quotas)
        if quota.gpus is not None and self._held[lease.user] + self._amount(lease) > quota.gpus + _NOTHING:
            return True
        return quota.gpu_hours is not None and self._situation.day_hours.get(lease.user, 0.0) >= quota.gpu_hours

    def _is_possible(self, lease: Lease) -> bool:
        candidates = self._candidates(lease)
        if self._came_back(lease) and not _matches(lease.came_from, candidates, self._kinds):
            return False
        kept = 0 if self._is_entitled(lease) else sum(one.devices for one in self._others_reservations(lease))
        return lease.wanted <= len(candidates) - kept

    def _is_entitled(self, lease: Lease) -> bool:
        """Return whether a reservation keeps devices for it."""
        mine = (one for one in self._situation.reservations if one.is_for(lease.user, lease.groups))
        return any(lease.wanted <= self._missing(reservation) for reservation in mine)

    def _others_reservations(self, lease: Lease) -> list[Reservation]:
        return [one for one in self._situation.reservations if not one.is_for(lease.user, lease.groups)]

    def _missing(self, reservation: Reservation) -> int:
        """Return how many devices a reservation still has to keep free."""
        held = sum(gpus for lease, gpus in self._holders if reservation.is_for(lease.user, lease.groups))
        return max(0, math.ceil(reservation.devices - held - _NOTHING))

    # What there is ---------------------------------------------------------------------------------------

    def is_full(self) -> bool:
        """Return whether nothing is left for anybody."""
        return all(one.uuid in self._closed or one.uuid in self._whole for one in self._devices)

    def choose(self, lease: Lease) -> tuple[str, ...]:
        """Return the devices for a lease; none when they are not there now."""
        open_ = [device for device in self._candidates(lease) if device.uuid not in self._closed]
        free = [device for device in open_ if self._is_free(device)]
        spare = sum(map(self._is_free, self._devices))
        spare -= sum(self._missing(one) for one in self._others_reservations(lease))
        if lease.memory is not None:
            return self._choose_share(lease.memory, open_, free if spare >= 1 else [], lease)
        if spare < lease.wanted or len(free) < lease.wanted:
            return ()
        if self._came_back(lease):
            return _matches(lease.came_from, free, self._kinds)
        return _alike(free, lease.wanted)

    def _choose_share(
        self, memory: int, open_: Sequence[BookedDevice], free: Sequence[BookedDevice], lease: Lease
    ) -> tuple[str, ...]:
        """Return the device on which the least is left afterwards, one that is shared already if there is one."""
        shared = [one for one in open_ if self._shared[one.uuid] and self._room(one) >= memory]
        best = min(shared or free, key=lambda one: (one.uuid not in lease.came_from, self._room(one)), default=None)
        return () if best is None else (best.uuid,)

    def hold(self, lease: Lease, devices: tuple[str, ...] = ()) -> None:
        """Give a lease its devices; without them, count it as if it had some."""
        self._book(lease, devices, self._amount(lease))

    def close(self, lease: Lease) -> None:
        """Keep every device that would do for a lease from those behind it."""
        self._closed.update(device.uuid for device in self._candidates(lease))

    def _book(self, lease: Lease, devices: Sequence[str], gpus: float) -> None:
        self._held[lease.user] += gpus  # type: ignore[assignment] # a Counter counts parts, too
        self._holders.append((lease, gpus))
        if lease.memory is None:
            self._whole.update(devices)
        else:
            self._shared.update(dict.fromkeys(devices, lease.memory))

    def _amount(self, lease: Lease) -> float:
        """Return the GPUs that a lease will hold at most."""
        if lease.memory is None:
            return lease.wanted
        return lease.memory / min((device.memory for device in self._candidates(lease)), default=lease.memory)

    def _candidates(self, lease: Lease) -> list[BookedDevice]:
        """Return the working devices that would do, whoever holds them."""
        fitting = [one for one in self._devices if lease.memory is None or one.memory >= lease.memory]
        if not self._came_back(lease):
            return fitting
        if not self._situation.moves:
            return [device for device in fitting if device.uuid in lease.came_from]
        kinds = {self._kinds.get(uuid) for uuid in lease.came_from}
        return [device for device in fitting if device.kind in kinds]

    def _came_back(self, lease: Lease) -> bool:
        return lease.state == "suspended"

    def _is_free(self, device: BookedDevice) -> bool:
        return device.uuid not in self._whole and not self._shared[device.uuid]

    def _room(self, device: BookedDevice) -> int:
        return 0 if device.uuid in self._whole else device.memory - self._shared[device.uuid]


def _matches(
    came_from: Sequence[str], candidates: Sequence[BookedDevice], kinds: Mapping[str, tuple[str, int]]
) -> tuple[str, ...]:
    """Return for each device a candidate of its kind, itself where it can be; nothing where one has none."""
    left = {device.uuid: device.kind for device in candidates}
    chosen: dict[str, str] = {uuid: uuid for uuid in came_from if uuid in left}
    for uuid in chosen:
        del left[uuid]
    for uuid in came_from:
        if uuid not in chosen:
            found = next((other for other, kind in left.items() if kind == kinds.get(uuid)), None)
            if found is None:
                return ()
            chosen[uuid] = found
            del left[found]
    return tuple(chosen[uuid] for uuid in came_from)


def _alike(free: Sequence[BookedDevice], wanted: int) -> tuple[str, ...]:
    """Return devices of one kind where there are enough: of the kind that has the fewest to spare."""
    by_kind: dict[tuple[str, int], list[BookedDevice]] = {}
    for device in free:
        by_kind.setdefault(device.kind, []).append(device)
    enough = [devices for devices in by_kind.values() if len(devices) >= wanted]
    chosen = min(enough, key=len) if enough else free
    return tuple(device.uuid for device in chosen[:wanted])
