"""Who gets a GPU next, and whose idle GPU is taken for it. Pure functions of the books at one moment.

The rules, in the order in which they count:

1. Who is in a reservation comes first, for as many GPUs as it keeps. Nobody else gets those. Where several keep more
   than there is, because a GPU was lost, each keeps what those that began before it leave.
2. Then who has used least: recent GPU-seconds (`armillary_hub.pool.usage`) divided by the person's weight. A GPU held
   now counts as some use in advance (`Rules.charge`), so that people who ask at once take turns.
3. Waiting makes up for use (`Rules.ageing`), so that everybody's turn comes: whoever asks once a wait has made up for
   all of a person's use stands behind that person. It counts from the person's last grant on, and not while the
   person's own quota has no room: a person's time passes once, however many asks wait.
4. Who comes back from a suspension stands a little ahead of new asks (`Rules.head_start`).
5. Who is at a quota, or asks for more than there can be now, is passed over until that changes, and stops nobody.
6. The first who cannot be served keeps every device that would do: nobody behind takes one, so a large ask gathers
   what it needs, however many small ones come. What is free meanwhile, and would do for somebody else, counts as used
   by whoever it is kept for, so that others come first after a while; towards quotas it does not count.
7. Asks that belong together count as one for all of this, and get everything in one round or nothing
   (`armillary_hub.pool.together`).
8. For those who cannot be served, idle leases are suspended, the longest idle first; but only where that is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

from armillary_hub.pool.records import Lease
from armillary_hub.pool.room import Room
from armillary_hub.pool.situation import Situation
from armillary_hub.pool.together import ask_of, asks


@dataclass(frozen=True)
class Decisions:
    """What is to be done now.

    Attributes
    ----------
    grants
        Ids of leases and the UUIDs of the devices that each gets.
    suspensions
        Ids of idle leases whose devices others wait for.
    at_quota
        Ids of leases that still wait then, for which their user's quota has no room.
    kept_for
        Ids of leases that still wait then, and how many free GPUs each keeps from others who could have them.
    """

    grants: tuple[tuple[str, tuple[str, ...]], ...] = ()
    suspensions: tuple[str, ...] = ()
    at_quota: frozenset[str] = frozenset()
    kept_for: Mapping[str, int] = field(default_factory=dict)


def decide(situation: Situation) -> Decisions:
    """Return who gets which devices now, and which idle leases are suspended for those who get none."""
    if not situation.devices:
        # There is nothing to wait for on a machine without GPUs.
        return Decisions(tuple((lease.id, ()) for lease in situation.leases if lease.state == "queued"))
    room = Room(situation)
    grants = _grants(situation, room)
    granted = {lease_id for lease_id, _ in grants}
    at_quota = _at_quota(situation, room, granted)
    return Decisions(grants, _suspensions(situation), at_quota, _kept_for(situation, room, granted))


def order(situation: Situation) -> list[Lease]:
    """Return those who wait, in the order in which they would be served; those at a quota come last."""
    room = Room(situation)
    served: list[Lease] = []
    passed_over: list[Lease] = []
    for ask in room.line():
        if room.is_passed_over(ask.whole):
            passed_over += ask.members
        else:
            served += ask.members
            room.hold(ask.whole)
    return [*served, *passed_over]


def waits_for(
    situation: Situation, lease: Lease, room: Room | None = None
) -> Literal["turn", "quota", "devices", "gathering"]:
    """Return what a lease waits for: its turn, its user's own quota, or devices that are not there or are reserved.

    Where devices that would do are free, they are kept for somebody ahead, who is gathering what they need.

    Who asks for many leases of one situation gives a ``room`` of it, which is not changed.
    """
    room, ask = room or Room(situation), ask_of(situation, lease)
    if room.is_at_quota(ask.whole):
        return "quota"
    if room.is_passed_over(ask.whole):
        return "devices"
    return "gathering" if ask.is_complete and room.choose(ask.whole) else "turn"


def _at_quota(situation: Situation, room: Room, granted: Set[str]) -> frozenset[str]:
    left = (ask for ask in asks(situation) if ask.whole.id not in granted)
    return frozenset(lease.id for ask in left if room.is_at_quota(ask.whole) for lease in ask.members)


def _kept_for(situation: Situation, room: Room, granted: Set[str]) -> dict[str, int]:
    if not any(room.kept_for.values()):
        return {}
    left = [ask.whole for ask in asks(situation) if ask.is_complete and ask.whole.id not in granted]
    could = {one.user for one in left if not room.is_passed_over(one) and room.choose(one, kept_too=True)}
    return {one.id: room.kept_for[one.id] for one in left if room.kept_for.get(one.id) and could - {one.user}}


def _grants(situation: Situation, room: Room | None = None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    room = room or Room(situation)
    grants: list[tuple[str, tuple[str, ...]]] = []
    for ask in room.line():
        if room.is_full():
            break
        if not ask.is_complete or room.is_passed_over(ask.whole):
            continue
        if devices := room.choose(ask.whole):
            room.hold(ask.whole, devices)
            grants += ask.split(devices)
        else:
            room.close(ask.whole)
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
