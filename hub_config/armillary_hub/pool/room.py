"""What there is for those who wait: devices, quotas and reservations while a round of grants is worked out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import takewhile

from armillary_hub.pool.quotas import NOTHING, Quota, quota_of
from armillary_hub.pool.records import BookedDevice, Lease, gpus_of
from armillary_hub.pool.reservations import Reservation, kept
from armillary_hub.pool.situation import Situation
from armillary_hub.pool.together import Ask, asks


class Room:
    """What is left of the devices while a round of grants is worked out, and who holds the rest."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._devices = sorted((one for one in situation.devices if one.state == "working"), key=lambda one: one.index)
        self._kept = kept(situation.reservations, len(self._devices))
        self._kinds = {device.uuid: device.kind for device in situation.devices}
        self._apiece = {lease.id: lease.wanted for lease in situation.leases}  # of each in a group, too
        self._closed: set[str] = set()
        #: By lease how many free GPUs are kept for it until it has all that it wants.
        self.kept_for: dict[str, int] = {}
        self._whole: set[str] = set()
        self._shared: Counter[str] = Counter()
        self._holders: list[tuple[Lease, float]] = []
        self._held: Counter[str] = Counter()  # GPUs by user
        self._served: set[str] = set()  # users who got something in this round
        self._quotas: dict[tuple[str, tuple[str, ...]], Quota] = {}
        for lease in situation.leases:
            if lease.devices:
                self._book(lease, lease.devices, lease.gpus)

    # The line --------------------------------------------------------------------------------------------

    def line(self) -> Iterator[Ask]:
        """Yield what is asked for; whose turn is next depends on what those before were given."""
        waiting: dict[str, list[Ask]] = {}
        waited = sorted(asks(self._situation), key=lambda one: (self._waited(one.whole), -one.whole.number))
        for ask in waited:
            waiting.setdefault(ask.whole.user, []).append(ask)
        ranks: dict[str, tuple[bool, float, int]] = {}
        while waiting:
            ranks.update((name, self._rank(waiting[name][-1].whole)) for name in waiting.keys() - ranks.keys())
            user = min(waiting, key=ranks.__getitem__)
            yield waiting[user].pop()
            # What one person is given changes no other one's rank, unless they are in a reservation together.
            ranks.clear() if self._situation.reservations else ranks.pop(user)
            if not waiting[user]:
                del waiting[user]

    def _rank(self, lease: Lease) -> tuple[bool, float, int]:
        rules, user = self._situation.rules, lease.user
        weight = self._quota(lease).weight or 1.0
        used = (self._situation.recent.get(user, 0.0) + self._held[user] * rules.charge) / weight
        return not self._is_entitled(lease), used - self._aged(lease) * rules.ageing, lease.number

    def _quota(self, lease: Lease) -> Quota:
        key = (lease.user, lease.groups)
        if key not in self._quotas:
            self._quotas[key] = quota_of(*key, self._situation.quotas)
        return self._quotas[key]

    def _waited(self, lease: Lease) -> float:
        """Return for how long it has waited, which tells a person's own asks apart."""
        return self._since(lease.waiting_since) + self._head_start(lease)

    def _aged(self, lease: Lease) -> float:
        """Return how much of its waiting makes up for use: however many asks a person has, time passes but once."""
        since = None if lease.user in self._served else lease.ages_since
        return self._since(since) + self._head_start(lease)

    def _since(self, moment: datetime | None) -> float:
        return 0.0 if moment is None else (self._situation.now - moment).total_seconds()

    def _head_start(self, lease: Lease) -> float:
        return self._situation.rules.head_start if lease.state == "suspended" else 0.0

    # Who may -------------------------------------------------------------------------------------------------

    def is_passed_over(self, lease: Lease) -> bool:
        """Return whether it cannot be served now even if nobody else held anything."""
        return self.is_at_quota(lease) or not self._is_possible(lease)

    def is_at_quota(self, lease: Lease) -> bool:
        """Return whether what it wants would be more than its user may have."""
        quota = self._quota(lease)
        if quota.gpus is not None and self._held[lease.user] + self._amount(lease) > quota.gpus + NOTHING:
            return True
        return quota.gpu_hours is not None and self._situation.day_hours.get(lease.user, 0.0) >= quota.gpu_hours

    def _is_possible(self, lease: Lease) -> bool:
        candidates = self._candidates(lease)
        if self._came_back(lease) and not _matches(lease.came_from, candidates, self._kinds):
            return False
        return lease.wanted <= len(candidates) - sum(self._kept[one.id] for one in self._ahead(lease))

    def _is_entitled(self, lease: Lease) -> bool:
        """Return whether a reservation keeps devices for it."""
        return any(self._entitles(reservation, lease) for reservation in self._situation.reservations)

    def _entitles(self, reservation: Reservation, lease: Lease) -> bool:
        return reservation.is_for(lease.user, lease.groups) and lease.wanted <= self._missing(reservation)

    def _ahead(self, lease: Lease) -> list[Reservation]:
        """Return the reservations that keep devices from a lease: others' ones, those before its own if it has one."""
        before = takewhile(lambda one: not self._entitles(one, lease), self._situation.reservations)
        return [one for one in before if not one.is_for(lease.user, lease.groups)]

    def _missing(self, reservation: Reservation) -> int:
        """Return how many devices a reservation still has to keep free."""
        held = sum(gpus for lease, gpus in self._holders if reservation.is_for(lease.user, lease.groups))
        return max(0, math.ceil(self._kept[reservation.id] - held - NOTHING))

    # What there is ---------------------------------------------------------------------------------------

    def is_full(self) -> bool:
        """Return whether nothing is left for anybody."""
        return all(one.uuid in self._closed or one.uuid in self._whole for one in self._devices)

    def choose(self, lease: Lease, *, kept_too: bool = False) -> tuple[str, ...]:
        """Return the devices for a lease; none when they are not there now, or only if another did not keep them."""
        open_ = [device for device in self._candidates(lease) if kept_too or device.uuid not in self._closed]
        free = [device for device in open_ if self._is_free(device)]
        spare = self._spare(lease)
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
        self._served.add(lease.user)
        self._book(lease, devices, self._amount(lease))

    def close(self, lease: Lease) -> None:
        """Keep every device that would do for a lease from those behind it."""
        fresh = [device for device in self._candidates(lease) if device.uuid not in self._closed]
        self._closed.update(device.uuid for device in fresh)
        self.kept_for[lease.id] = max(0, min(sum(map(self._is_free, fresh)), lease.wanted, self._spare(lease)))

    def _spare(self, lease: Lease) -> int:
        """Return how many free devices no reservation keeps from a lease."""
        return sum(map(self._is_free, self._devices)) - sum(self._missing(one) for one in self._ahead(lease))

    def _book(self, lease: Lease, devices: Sequence[str], gpus: float) -> None:
        self._held[lease.user] += gpus  # type: ignore[assignment] # a Counter counts parts, too
        self._holders.append((lease, gpus))
        if lease.memory is None:
            self._whole.update(devices)
        else:
            self._shared.update(dict.fromkeys(devices, lease.memory))

    def _amount(self, lease: Lease) -> float:
        """Return the GPUs that a lease will hold at most."""
        return gpus_of(lease.wanted, lease.memory, self._candidates(lease))

    def _candidates(self, lease: Lease) -> list[BookedDevice]:
        """Return the working devices that would do, whoever holds them."""
        fitting = [one for one in self._devices if lease.memory is None or one.memory >= lease.memory]
        if not self._came_back(lease):
            several = self._apiece.get(lease.id, lease.wanted) > 1
            return [device for device in fitting if not (several and device.is_part)]
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
