"""What the books say of the devices: which work, which fail, which were lost. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, update

from armillary_hub.pool import rows
from armillary_hub.pool.database import devices
from armillary_hub.pool.devices import Device
from armillary_hub.pool.records import BookedDevice, DeviceState, Lease, gpus_held
from armillary_hub.pool.store import LeaseStore, note
from armillary_hub.pool.use_books import count_anew

_WORDS: dict[DeviceState, str] = {"working": "works again", "failing": "is failing", "lost": "was lost"}


@dataclass(frozen=True)
class DeviceChange:
    """A device that was found in another state than before; None for one that is new."""

    device: BookedDevice
    before: DeviceState | None


class DeviceBooks:
    """The devices in the books of a store."""

    def __init__(self, store: LeaseStore) -> None:
        self._store = store

    def all(self) -> list[BookedDevice]:
        """Return the devices by index."""
        with self._store.database.reading() as connection:
            return rows.read_devices(connection)

    def see(self, found: Sequence[Device], *, anew: bool) -> list[DeviceChange]:
        """Write down what NVML said; one that is not there is lost, and the audit says so on its leases.

        Parameters
        ----------
        found
            Every device that is there, failing ones too.
        anew
            Whether the pool has just started: then devices are forgotten that are gone and that no lease needs.
        """
        with self._store.database.transaction() as connection:
            before = {device.uuid: device for device in rows.read_devices(connection)}
            for device in found:
                _write(connection, device, before.get(device.uuid))
            gone = sorted(before.keys() - {device.uuid for device in found})
            if anew:
                gone = self._forget(connection, gone)
            for uuid in gone:
                _set(connection, uuid, state="lost", trouble=before[uuid].trouble or "NVML does not list it")
            return self._note_changes(connection, before)

    def fail_all(self, trouble: str) -> list[DeviceChange]:
        """Write down that nothing is known of any device that worked, so that none is given away."""
        with self._store.database.transaction() as connection:
            before = {device.uuid: device for device in rows.read_devices(connection)}
            working = update(devices).where(devices.c.state == "working")
            connection.execute(working.values(state="failing", trouble=trouble[:200]))
            return self._note_changes(connection, before)

    def _forget(self, connection: Connection, gone: Sequence[str]) -> list[str]:
        """Forget the devices that no lease holds or came from; returns the others."""
        standing = rows.standing_leases(connection)
        needed = {uuid for lease in standing for uuid in (*lease.devices, *lease.came_from)}
        connection.execute(delete(devices).where(devices.c.uuid.in_(set(gone) - needed)))
        return [uuid for uuid in gone if uuid in needed]

    def _note_changes(self, connection: Connection, before: dict[str, BookedDevice]) -> list[DeviceChange]:
        now = rows.read_devices(connection)
        states = {uuid: device.state for uuid, device in before.items()}
        changes = [DeviceChange(one, states.get(one.uuid)) for one in now if one.state != states.get(one.uuid)]
        standing = rows.standing_leases(connection)
        if any("lost" in (change.before, change.device.state) for change in changes):
            self._count_anew(connection, standing, now)
        for change in changes:
            for lease in standing:
                if change.device.uuid in lease.devices:
                    reason = f"GPU {change.device.index} {_WORDS[change.device.state]}: {change.device.trouble}"
                    note(connection, lease, lease.state, self._store.clock.now(), "pool", reason.removesuffix(": "))
        return changes

    def _count_anew(self, connection: Connection, standing: Sequence[Lease], found: Sequence[BookedDevice]) -> None:
        """Let what was lost cost nobody anything from now on."""
        there = {device.uuid: device.memory for device in found if device.state != "lost"}
        for lease in standing:
            if lease.devices:
                gpus = gpus_held(lease.memory, [there[uuid] for uuid in lease.devices if uuid in there])
                count_anew(connection, lease, gpus, self._store.clock.now(), self._store.rules.half_life)


def _write(connection: Connection, device: Device, before: BookedDevice | None) -> None:
    values = {
        "index": device.index,
        "name": device.name[:200],
        "state": "failing" if device.trouble else "working",
        "trouble": device.trouble[:200],
    }
    mebibytes = device.memory // 2**20
    if before is None:
        new = {**values, "uuid": device.uuid, "memory": mebibytes, "exclusives": 0, "shared": 0}
        connection.execute(insert(devices).values(new))
        return
    # A device that fails may say nothing of its memory, or of its name.
    known = {"memory": mebibytes} if mebibytes >= max(1, before.shared) else {}
    if changed := {name: value for name, value in {**values, **known}.items() if value != getattr(before, name)}:
        _set(connection, device.uuid, **changed)


def _set(connection: Connection, uuid: str, **values: object) -> None:
    connection.execute(update(devices).where(devices.c.uuid == uuid).values(values))
