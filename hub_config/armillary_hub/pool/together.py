"""Asks that are of use only together, such as a GPU for each worker of a cluster: granted in one round, or none.

Two people who each need two GPUs of two would else get one each, and wait for each other for ever. Who asks names a
group: an id of their own and how many asks belong to it. To the scheduler those that wait are one ask for all of their
GPUs, at the place of the first. What its size is the newest of them says.

Nobody waits for a group that is not complete: it gets nothing and keeps nothing from others. Nor does a group wait for
ever for somebody who never asks or has left the queue: `PATIENCE` after the last ask it counts as complete as it is.
Once some of a group have GPUs, whoever asks anew in place of another is served alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from armillary_hub.pool.records import Lease
from armillary_hub.pool.situation import Situation

#: How long a group waits for the next one of its asks: more than an asker needs to find out that an answer was lost.
PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True)
class Ask:
    """What is served at once.

    Attributes
    ----------
    whole
        The lease that waits; for a group the first one, wanting what all of them want.
    members
        The leases that wait for it.
    is_complete
        Whether it may be served.
    """

    whole: Lease
    members: tuple[Lease, ...]
    is_complete: bool = True

    def split(self, devices: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the id of each lease and its part of the devices."""
        left = iter(devices)
        for lease in self.members:
            yield lease.id, tuple(next(left) for _ in range(lease.wanted))


def asks(situation: Situation) -> list[Ask]:
    """Return what is waited for: those that belong together as one."""
    begun = {lease.group for lease in situation.leases if lease.state != "queued"}
    groups: dict[tuple[str, str], list[Lease]] = defaultdict(list)
    alone: list[Ask] = []
    for lease in situation.leases:
        group = lease.group
        if lease.waiting_since is None:
            continue
        if group is None or lease.state != "queued" or group in begun:
            alone.append(Ask(lease, (lease,)))
        else:
            groups[group].append(lease)
    return [*alone, *(_together(situation, members) for members in groups.values())]


def ask_of(situation: Situation, lease: Lease) -> Ask:
    """Return the ask that a lease is part of."""
    if lease.together is None:
        return Ask(lease, (lease,))
    return next((ask for ask in asks(situation) if lease in ask.members), Ask(lease, (lease,)))


def _together(situation: Situation, members: Sequence[Lease]) -> Ask:
    by_number = sorted(members, key=lambda lease: lease.number)
    newest = by_number[-1]
    size = newest.together.size if newest.together else 1
    is_complete = len(members) >= size or situation.now - newest.asked_at >= PATIENCE
    return Ask(replace(by_number[0], wanted=sum(lease.wanted for lease in members)), tuple(by_number), is_complete)
