"""The pool's books as JSON: who sees what.

Everybody sees who holds GPUs, what for and since when, for that is what a person who waits must know. What exactly it
is (a notebook's name) and which process only its owner and admins see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from armillary_hub.pool.enforcement import UnleasedUse
from armillary_hub.pool.estimate import estimate
from armillary_hub.pool.reasons import reason_in_words
from armillary_hub.pool.records import BookedDevice, Change, Lease
from armillary_hub.pool.room import Room
from armillary_hub.pool.samples import DeviceSample
from armillary_hub.pool.scheduling import order, waits_for
from armillary_hub.pool.situation import Situation
from armillary_hub.web.identity import Identity


def may_see_details(identity: Identity, lease: Lease | Change) -> bool:
    """Return whether a person may see what exactly a lease is for."""
    return identity.admin or (identity.kind == "user" and identity.name == lease.user)


@dataclass(frozen=True)
class Beside:
    """What is known beside the books' situation.

    Attributes
    ----------
    lasted
        Seconds that recent leases held their GPUs, to estimate waits by.
    samples
        The last sample of each GPU, by UUID.
    suspended_since
        Since when each suspended lease has been so.
    unleased
        Use of GPUs that no lease covers.
    driver
        The version of the NVIDIA driver; empty where there is none.
    """

    lasted: Sequence[float] = ()
    samples: Mapping[str, DeviceSample] = field(default_factory=dict)
    suspended_since: Mapping[str, datetime] = field(default_factory=dict)
    unleased: Sequence[UnleasedUse] = ()
    driver: str = ""


class Books:
    """The books at one moment, as one person sees them.

    Parameters
    ----------
    situation
        The books as the scheduler sees them.
    identity
        Who looks.
    beside
        What else is known.
    """

    def __init__(self, situation: Situation, identity: Identity, beside: Beside = Beside()) -> None:
        self.situation = situation
        self.devices = situation.devices
        self.leases = situation.leases
        self.identity = identity
        self.beside = beside
        self._devices = {device.uuid: device for device in situation.devices}

    @cached_property
    def queue(self) -> list[Lease]:
        """Those who wait, the next in line first."""
        return order(self.situation)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {lease.id: place for place, lease in enumerate(self.queue, start=1)}

    @cached_property
    def _room(self) -> Room:
        return Room(self.situation)

    def state(self) -> dict[str, Any]:
        """Return everything: devices, leases and the queue."""
        waiting = {lease.id for lease in self.queue}
        return {
            "driver": self.beside.driver or None,
            "devices": [self.device(device) for device in self.devices],
            "leases": [self.lease(lease) for lease in self.leases if lease.id not in waiting],
            "queue": [self.lease(lease) for lease in self.queue],
            "unleased": [self.unleased(use) for use in self.beside.unleased],
        }

    def unleased(self, use: UnleasedUse) -> dict[str, Any]:
        """Return use of a GPU that no lease covers; the account is empty where it cannot be seen from here."""
        return {
            "pid": use.pid,
            "user": use.account,
            "device": self._devices[use.uuid].index if use.uuid in self._devices else None,
            "memory": use.memory * 2**20,
            "since": use.since.isoformat(),
            "reason": use.reason,
        }

    def device(self, device: BookedDevice) -> dict[str, Any]:
        """Return a GPU and the ids of the leases that hold it."""
        holders = [lease.id for lease in self.holders_of(device)]
        sample = self.beside.samples.get(device.uuid)
        return {
            "index": device.index,
            "uuid": device.uuid,
            "name": device.name,
            "memory": device.memory * 2**20,
            "memory_used": None if sample is None else sample.memory * 2**20,
            "utilisation": None if sample is None else sample.utilisation,
            "state": device.state,
            "trouble": device.trouble,
            "shared": device.shared * 2**20,
            "lease": holders[0] if holders else None,
            "leases": holders,
        }

    def find(self, lease_id: str) -> Lease | None:
        """Return a lease that stands; None for one that has ended."""
        return next((lease for lease in self.leases if lease.id == lease_id), None)

    def holders_of(self, device: BookedDevice) -> list[Lease]:
        """Return the leases that hold a GPU, several where it is shared."""
        return [lease for lease in self.leases if device.uuid in lease.devices]

    def position(self, lease: Lease) -> int:
        """Return a place in the queue; 1 is the next in line."""
        return self._places.get(lease.id, 1)

    def lease(self, lease: Lease) -> dict[str, Any]:
        """Return a lease; one that waits with its place and those who hold the GPUs."""
        shown: dict[str, Any] = {
            "id": lease.id,
            "state": lease.state,
            "step": lease.step,
            "user": lease.user,
            "purpose": lease.purpose,
            "label": self.label(lease),
            "wanted": lease.wanted,
            "memory": lease.memory,
            "since": lease.since.isoformat(),
            "devices": self.indices(lease),
            "idle_since": lease.idle_since.isoformat() if lease.idle_since else None,
            "lost": [self._devices[uuid].index for uuid in lease.devices if self._devices[uuid].state == "lost"],
            "reason": lease.reason,
            "why": reason_in_words(lease.reason),
        }
        if lease.id in self.beside.suspended_since:
            shown["suspended_since"] = self.beside.suspended_since[lease.id].isoformat()
        if lease.ends_at is not None:
            shown["restart_at"] = lease.ends_at.isoformat()
        if lease.together is not None:
            shown["together"] = {"id": lease.together.id, "size": lease.together.size}
        if lease.state == "granted":
            shown["environment"] = self.environment(lease)
        if lease.waiting_since is not None:
            shown |= {
                "position": self.position(lease),
                "waits_for": self.waits_for(lease),
                "estimate": self.estimate(lease),
                "holders": self._holders,
            }
        if may_see_details(self.identity, lease):
            shown["holder"] = {"pid": lease.holder.pid, "start_time": lease.holder.start_time, "in_use": lease.in_use}
        return shown

    def waits_for(self, lease: Lease) -> str:
        """Return what a lease in the queue waits for; see `armillary_hub.pool.scheduling.waits_for`."""
        return waits_for(self.situation, lease, self._room)

    def estimate(self, lease: Lease) -> float | None:
        """Return how many seconds a lease in the queue will probably wait; None where that cannot be said."""
        wait = estimate(self.situation, self.queue, lease, self.beside.lasted, self._room)
        return None if wait is None else wait.total_seconds()

    def label(self, lease: Lease) -> str:
        """Return what exactly a lease is for, or nothing to a person whom it does not concern."""
        return lease.label if may_see_details(self.identity, lease) else ""

    @cached_property
    def _holders(self) -> list[dict[str, Any]]:
        return self.holders()

    def holders(self) -> list[dict[str, Any]]:
        """Return who holds the GPUs."""
        return [
            {
                "user": lease.user,
                "label": self.label(lease),
                "since": lease.since.isoformat(),
                "devices": self.indices(lease),
            }
            for lease in self.leases
            if lease.devices
        ]

    def indices(self, lease: Lease) -> list[int]:
        """Return the indices of a lease's GPUs."""
        return [self._devices[uuid].index for uuid in lease.devices if uuid in self._devices]

    def environment(self, lease: Lease) -> dict[str, str]:
        """Return what the holder's environment must say; an empty list of GPUs hides them all."""
        visible = ",".join(_cuda_name(self._devices[uuid]) for uuid in lease.devices)
        environment = {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        if lease.memory is not None:
            environment["ARMILLARY_GPU_MEMORY_MIB"] = str(lease.memory)
            environment["ARMILLARY_GPU_TOTAL_MIB"] = str(sum(self._devices[uuid].memory for uuid in lease.devices))
        return environment

    def change(self, change: Change) -> dict[str, Any]:
        """Return a line of the audit."""
        return {
            "number": change.number,
            "at": change.at.isoformat(),
            "lease": change.lease_id,
            "user": change.user,
            "before": change.before,
            "after": change.after,
            "devices": [self._devices[uuid].index if uuid in self._devices else uuid for uuid in change.devices],
            "actor": change.actor,
            "reason": change.reason,
        }


def _cuda_name(device: BookedDevice) -> str:
    """Return what CUDA knows a device by: its UUID, for indices move when a GPU is lost; pretend ones have none."""
    return device.uuid if device.uuid.startswith(("GPU-", "MIG-")) else str(device.index)
