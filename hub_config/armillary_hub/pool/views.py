"""The pool's books as JSON: who sees what.

Everybody sees who holds GPUs, what for and since when, for that is what a person who waits must know. What exactly it
is (a notebook's name) and which process only its owner and admins see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from armillary_hub.pool.devices import Device
from armillary_hub.pool.pool import queue_of
from armillary_hub.pool.store import Lease
from armillary_hub.web.identity import Identity


def may_see_details(identity: Identity, lease: Lease) -> bool:
    """Return whether a person may see what exactly a lease is for."""
    return identity.admin or (identity.kind == "user" and identity.name == lease.user)


class Books:
    """The books at one moment, as one person sees them.

    Parameters
    ----------
    devices
        The GPUs that work.
    leases
        The leases and asks that stand, in the order in which they were asked for.
    identity
        Who looks.
    """

    def __init__(self, devices: Sequence[Device], leases: Sequence[Lease], identity: Identity) -> None:
        self.devices = devices
        self.leases = leases
        self.identity = identity
        self._indices: Mapping[str, int] = {device.uuid: device.index for device in devices}

    def state(self) -> dict[str, Any]:
        """Return everything: devices, leases and the queue."""
        return {
            "devices": [self.device(device) for device in self.devices],
            "leases": [self.lease(lease) for lease in self.leases if lease.state == "granted"],
            "queue": [self.lease(lease) for lease in queue_of(self.leases)],
        }

    def device(self, device: Device) -> dict[str, Any]:
        """Return a GPU and the id of the lease that holds it."""
        holder = self.holder_of(device)
        return {
            "index": device.index,
            "uuid": device.uuid,
            "name": device.name,
            "memory": device.memory,
            "lease": holder.id if holder else None,
        }

    def holder_of(self, device: Device) -> Lease | None:
        """Return the lease that holds a GPU."""
        return next((lease for lease in self.leases if device.uuid in lease.devices), None)

    def position(self, lease: Lease) -> int:
        """Return a place in the queue; 1 is the next in line."""
        waiting = [one.id for one in queue_of(self.leases)]
        return 1 + (waiting.index(lease.id) if lease.id in waiting else 0)

    def lease(self, lease: Lease) -> dict[str, Any]:
        """Return a lease; one that waits with its place and those who hold the GPUs."""
        shown: dict[str, Any] = {
            "id": lease.id,
            "state": lease.state,
            "user": lease.user,
            "purpose": lease.purpose,
            "label": self.label(lease),
            "wanted": lease.wanted,
            "since": (lease.granted_at or lease.asked_at).isoformat(),
            "devices": self.indices(lease),
            "reason": lease.reason,
        }
        if lease.state == "granted":
            shown["environment"] = self.environment(lease)
        if lease.state == "queued":
            shown |= {"position": self.position(lease), "holders": self.holders()}
        if may_see_details(self.identity, lease):
            shown["holder"] = {"pid": lease.holder.pid, "start_time": lease.holder.start_time, "in_use": lease.in_use}
        return shown

    def label(self, lease: Lease) -> str:
        """Return what exactly a lease is for, or nothing to a person whom it does not concern."""
        return lease.label if may_see_details(self.identity, lease) else ""

    def holders(self) -> list[dict[str, Any]]:
        """Return who holds the GPUs."""
        return [
            {
                "user": lease.user,
                "label": self.label(lease),
                "since": (lease.granted_at or lease.asked_at).isoformat(),
                "devices": self.indices(lease),
            }
            for lease in self.leases
            if lease.devices
        ]

    def indices(self, lease: Lease) -> list[int]:
        """Return the indices of a lease's GPUs, without those that no longer answer."""
        return [self._indices[uuid] for uuid in lease.devices if uuid in self._indices]

    def environment(self, lease: Lease) -> dict[str, str]:
        """Return what the holder's environment must say; an empty list of GPUs hides them all."""
        visible = ",".join(str(index) for index in self.indices(lease))
        return {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
