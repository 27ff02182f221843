"""How long somebody will wait: an estimate from how long leases have lasted, or none. A pure function.

Nobody knows when a kernel ends. What can be said is how long those lasted that had come as far: the median of what was
left of them. With too few such leases, or where none lasted as long as those that hold the GPUs now, nothing is said.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import timedelta

from armillary_hub.pool.records import Lease
from armillary_hub.pool.room import Room
from armillary_hub.pool.scheduling import waits_for
from armillary_hub.pool.situation import Situation
from armillary_hub.pool.together import ask_of

#: Ended uses that must have lasted as long as one that stands for the rest of that one to be guessed.
FEWEST = 5


def estimate(
    situation: Situation, queue: Sequence[Lease], lease: Lease, lasted: Sequence[float], room: Room | None = None
) -> timedelta | None:
    """Return how long a lease will probably wait, or None where that cannot be said.

    Parameters
    ----------
    situation
        The books now.
    queue
        Those who wait, in the order in which they will be served.
    lease
        One of them.
    lasted
        Seconds that recent leases held their GPUs.
    room
        As in `waits_for`.
    """
    if lease.memory is not None or waits_for(situation, lease, room) not in ("turn", "gathering"):
        return None
    members = {one.id for one in ask_of(situation, lease).members}
    last = max(place for place, one in enumerate(queue) if one.id in members)
    missing = sum(one.wanted for one in queue[: last + 1] if one.memory is None)
    held = {device for one in situation.leases for device in one.devices}
    missing -= sum(device.state == "working" and device.uuid not in held for device in situation.devices)
    if missing <= 0:
        return timedelta(0)
    for seconds, gpus in sorted(_ends(situation, lasted)):
        missing -= gpus
        if missing <= 0:
            return timedelta(seconds=seconds)
    return None


def _ends(situation: Situation, lasted: Sequence[float]) -> list[tuple[float, int]]:
    """Return in how many seconds each lease will probably end, and how many GPUs it frees."""
    ends = []
    for lease in situation.leases:
        if lease.devices and lease.memory is None and lease.granted_at is not None:
            age = (situation.now - lease.granted_at).total_seconds()
            left = [seconds - age for seconds in lasted if seconds > age]
            if len(left) >= FEWEST:
                ends.append((statistics.median(left), len(lease.devices)))
    return ends
